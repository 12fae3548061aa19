"""The researcher's page: how the study is going; fool rates only once somebody has said that looking is meant."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Request, Response, abort, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.wrappers import Response as AnyResponse

from evalkit.errors import InputError
from evalkit.wording import needs_package
from turing_test.database.study_record import is_logged_out, log_out, unlock, unlocked_at
from turing_test.results.export import raw_trials
from turing_test.results.monitoring import look_at
from turing_test.sessions.tokens import keyed_digest, new_token
from turing_test.web.context import Context, context
from turing_test.web.dashboard_password import password_digest, password_is

if TYPE_CHECKING:
    from analysis.trials.trial_table import RawTable

__all__ = ["add_dashboard"]

blueprint = Blueprint("dashboard", __name__, url_prefix="/dashboard")
STAY_S = 12 * 3600
RATES_KEPT_S = 30.0


def add_dashboard(app: Flask, public_url: str) -> None:
    """Register the dashboard and its cookie.

    Parameters
    ----------
    app : Flask
    public_url : str
        With ``https``, the cookie is sent over HTTPS alone; so it is when a trusted proxy says HTTPS.
    """
    server: Context = app.extensions["turing_test"]
    app.secret_key = keyed_digest(server.study.key, "cookie")
    app.session_interface = _Cookie(public_url.startswith("https://"))
    app.config.update(
        SESSION_COOKIE_NAME="evalkit-dashboard",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=STAY_S,
    )
    app.extensions["dashboard_rates"] = {}
    app.register_blueprint(blueprint)


class _Cookie(SecureCookieSessionInterface):
    """Signed; ``Secure`` wherever the page came by HTTPS."""

    def __init__(self, always: bool) -> None:
        self._always = always

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Participants have no cookie, and an answer has no time to make the keys that would check one.
        if "Cookie" not in request.headers:
            return SecureCookieSession()
        return super().open_session(app, request)

    def get_cookie_path(self, app: Flask) -> str:
        return f"{request.script_root}/dashboard"

    def get_cookie_secure(self, app: Flask) -> bool:
        return self._always or request.is_secure


# --- who may look ------------------------------------------------------------------------------------------------


def _is_in(server: Context) -> bool:
    if password_digest(server.study.folder) is None:
        return False
    is_marked = hmac.compare_digest(str(session.get("in", "")), _mark(server))
    return is_marked and not server.storage.read(lambda c: is_logged_out(c, str(session.get("login", ""))))


def _mark(server: Context) -> str:
    """Changes with the password, so that a new one ends all logins."""
    return keyed_digest(server.study.key, "login", password_digest(server.study.folder) or "")


def _form_token() -> str:
    """What a form must send back: another site cannot know it."""
    if "form" not in session:
        session["form"] = secrets.token_urlsafe(18)
    return str(session["form"])


def _check_form() -> None:
    sent, own = request.form.get("form_token", ""), str(session.get("form", ""))
    if not own or not hmac.compare_digest(sent.encode(), own.encode()):
        abort(_login_page("The form was too old; please try again.", 400))


def _login_page(message: str = "", status: int = 200) -> Response:
    server = context()
    closed = password_digest(server.study.folder) is None
    page = render_template(
        "dashboard_login.html", study=server.study, message=message, closed=closed, form_token=_form_token()
    )
    return Response(page, status, mimetype="text/html")


@blueprint.post("/login")
def login() -> AnyResponse:
    """Check the password."""
    _check_form()
    server = context()
    wait = server.limits.logins.wait(request.remote_addr or "")
    if wait:
        response = _login_page(f"Too many attempts; please wait {int(wait) + 1} seconds.", 429)
        response.headers["Retry-After"] = str(int(wait) + 1)
        return response
    if not password_is(server.study.folder, request.form.get("password", "")):
        return _login_page("That is not the password.", 403)
    session.clear()
    session.permanent = True
    session["in"] = _mark(server)
    session["login"] = new_token()
    return redirect(url_for("dashboard.show"), 303)


@blueprint.post("/logout")
def logout() -> AnyResponse:
    """End the login, also for whoever has a copy of the cookie."""
    _check_form()
    server, login_token = context(), str(session.get("login", ""))
    if _is_in(server):
        log_out(server.storage, login_token)
    session.clear()
    return redirect(url_for("dashboard.show"), 303)


# --- the page ----------------------------------------------------------------------------------------------------


@blueprint.get("")
def show() -> Response:
    """The page, or the form for the password."""
    server = context()
    if not _is_in(server):
        return _login_page()
    simulated = request.args.get("simulated") == "1"
    progress, unlocked = server.storage.read(
        lambda connection: (look_at(connection, server.study, simulated=simulated), unlocked_at(connection))
    )
    rates, problem = ([], "") if unlocked is None and not simulated else _rates(server, simulated)
    page = render_template(
        "dashboard.html", study=server.study, protocol=server.study.protocol, progress=progress, simulated=simulated,
        unlocked=_date(unlocked), rates=rates, problem=problem, form_token=_form_token(), date=_date,
    )  # fmt: skip
    return Response(page, mimetype="text/html")


@blueprint.post("/unlock")
def show_rates() -> AnyResponse:
    """Show fool rates from now on."""
    server = context()
    if not _is_in(server):
        return _login_page("", 403)
    _check_form()
    unlock(server.storage)
    return redirect(url_for("dashboard.show"), 303)


def _rates(server: Context, simulated: bool) -> tuple[list[Any], str]:
    """Rates by method as `evalkit analyze` gives them, and why there are none."""
    kept: dict[bool, tuple[float, tuple[list[Any], str]]] = _extension("dashboard_rates")
    if simulated in kept and time.monotonic() - kept[simulated][0] < RATES_KEPT_S:
        return kept[simulated][1]
    try:
        rates = _analyse(raw_trials(server.storage, server.study, simulated=simulated)), ""
    except InputError as error:
        rates = [], str(error)
    except ImportError as error:
        rates = [], needs_package(error.name or "scipy", "rates", "report")
    kept[simulated] = time.monotonic(), rates
    return rates


def _analyse(raw: RawTable) -> list[Any]:
    from analysis.study.rates import fool_rates
    from analysis.trials.exclusions import apply_exclusions
    from analysis.trials.trial_table import check_trials

    table = check_trials(raw)
    if table.preset == "preference":
        raise InputError("A preference study has no fool rates; export it and use evalkit analyze.")
    return list(fool_rates(apply_exclusions(table, ())))


def _date(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _extension(name: str) -> Any:
    from flask import current_app

    return current_app.extensions[name]
