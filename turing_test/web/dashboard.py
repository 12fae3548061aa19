"""The researcher's page: how the study is going; fool rates only once somebody has said that looking is meant."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Request, Response, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from werkzeug.wrappers import Response as AnyResponse

from evalkit.errors import InputError
from evalkit.wording import needs_package
from turing_test.database.storage import StorageUnavailable
from turing_test.database.study_record import is_logged_out, log_out, unlock, unlocked_at
from turing_test.results.export import raw_trials
from turing_test.results.monitoring import look_at, state_of
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.tokens import keyed_digest, new_token
from turing_test.web.context import Context, context
from turing_test.web.dashboard_password import password_digest, password_is
from turing_test.web.limits import Limits

if TYPE_CHECKING:
    from analysis.trials.trial_table import RawTable

__all__ = [
    "TOO_OLD",
    "add_dashboard",
    "date",
    "form_token",
    "is_login",
    "is_own_form",
    "login_cookie",
    "login_mark",
    "login_page",
    "use_cookie",
]

blueprint = Blueprint("dashboard", __name__, url_prefix="/dashboard")
STAY_S = 12 * 3600
RATES_KEPT_S = 30.0
TOO_OLD = "The form was too old; please try again."


def add_dashboard(app: Flask, public_url: str) -> None:
    """Register the dashboard and its cookie.

    Parameters
    ----------
    app : Flask
    public_url : str
        With ``https``, the cookie is sent over HTTPS alone; so it is when a trusted proxy says HTTPS.
    """
    server: Context = app.extensions["turing_test"]
    use_cookie(app, keyed_digest(server.study.key, "cookie"), always_secure=public_url.startswith("https://"))
    app.extensions["dashboard_rates"] = {}
    app.register_blueprint(blueprint)


def use_cookie(app: Flask, secret: str | bytes, *, always_secure: bool) -> None:
    """Keep who is logged in in a signed cookie that goes to the dashboard alone."""
    app.secret_key = secret
    app.session_interface = _Cookie(always_secure)
    app.config.update(
        SESSION_COOKIE_NAME="evalkit-dashboard",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=STAY_S,
    )


class _Cookie(SecureCookieSessionInterface):
    """Signed; ``Secure`` wherever the page came by HTTPS."""

    def __init__(self, always: bool) -> None:
        self._always = always

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Participants have no cookie, and an answer has no time to make the keys that would check one.
        if "Cookie" not in request.headers:
            return SecureCookieSession()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_path(self, app: Flask) -> str:
        return f"{request.script_root}/dashboard"

    def get_cookie_secure(self, app: Flask) -> bool:
        return self._always or request.is_secure


# --- who may look ------------------------------------------------------------------------------------------------


def _is_in(server: Context) -> bool:
    if password_digest(server.study.folder) is None:
        return False
    is_marked = hmac.compare_digest(str(session.get("in", "")), login_mark(server))
    return is_marked and is_login(server, str(session.get("login", "")))


def is_login(server: Context, login_token: str) -> bool:
    """Whether nobody has ended a login; its mark says that there was one."""
    return not server.storage.read(lambda connection: is_logged_out(connection, login_token))


def login_cookie(app: Flask, answer: AnyResponse, login_token: str, root: str) -> None:
    """Log somebody in to the dashboard of a study by an answer of another page of this host.

    Parameters
    ----------
    app : Flask
        Of the study.
    answer : Response
    login_token : str
    root : str
        The path that the study is under.
    """
    cookie: Any = app.session_interface
    values = {"in": login_mark(app.extensions["turing_test"]), "login": login_token, "_permanent": True}
    answer.set_cookie(
        cookie.get_cookie_name(app),
        cookie.get_signing_serializer(app).dumps(values),
        max_age=STAY_S,
        path=f"{root}/dashboard",
        secure=cookie.get_cookie_secure(app),
        httponly=cookie.get_cookie_httponly(app),
        samesite=cookie.get_cookie_samesite(app),
    )


def login_mark(server: Context) -> str:
    """Changes with the password, so that a new one ends all logins."""
    return keyed_digest(server.study.key, "login", password_digest(server.study.folder) or "")


def form_token() -> str:
    """What a form must send back: another site cannot know it."""
    if "form" not in session:
        session["form"] = secrets.token_urlsafe(18)
    return str(session["form"])


def is_own_form() -> bool:
    """Whether this page has made the form that is sent, for this very visitor."""
    sent, own = request.form.get("form_token", ""), str(session.get("form", ""))
    return bool(own) and hmac.compare_digest(sent.encode(), own.encode())


def _login_page(message: str = "", status: int = 200) -> Response:
    study = context().study
    return login_page(study.protocol.name, message, status, closed=password_digest(study.folder) is None)


def login_page(name: str, message: str, status: int, *, closed: bool) -> Response:
    """The form for the password of what has a name, or where it is closed, how to set one."""
    page = render_template("dashboard_login.html", name=name, message=message, closed=closed, form_token=form_token())
    return Response(page, status, mimetype="text/html")


def refused_attempt(limits: Limits, page: Callable[[str, int], Response]) -> Response | None:
    """What somebody gets whose password is not even looked at: the form is not ours, or they try too often; else None."""
    if not is_own_form():
        return page(TOO_OLD, 400)
    wait = limits.logins.wait(request.remote_addr or "")
    if not wait:
        return None
    response = page(f"Too many attempts; please wait {int(wait) + 1} seconds.", 429)
    response.headers["Retry-After"] = str(int(wait) + 1)
    return response


@blueprint.post("/login")
def login() -> AnyResponse:
    """Check the password."""
    server = context()
    refused = refused_attempt(server.limits, _login_page)
    if refused is not None:
        return refused
    if not password_is(server.study.folder, request.form.get("password", "")):
        return _login_page("That is not the password.", 403)
    session.clear()
    session.permanent = True
    session["in"] = login_mark(server)
    session["login"] = new_token()
    return redirect(url_for("dashboard.show"), 303)


@blueprint.post("/logout")
def logout() -> AnyResponse:
    """End the login, also for whoever has a copy of the cookie."""
    if not is_own_form():
        return _login_page(TOO_OLD, 400)
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
    state, unlocked = server.storage.read(
        lambda connection: (state_of(connection, server.study), unlocked_at(connection))
    )
    has_rates = server.study.protocol.methods_per_trial == 1
    tag, shows_rates = f"{state}-{simulated:d}", has_rates and (simulated or unlocked is not None)
    if tag in request.if_none_match and not (shows_rates and _are_older(simulated, state)):
        return _tagged(Response(status=304), tag)
    with suppress(StorageUnavailable):  # sessions that are over are counted once; without it, at every look
        count_places(server.storage, server.study)
    progress = server.storage.read(lambda connection: look_at(connection, server.study, simulated=simulated))
    rates, problem = _rates(server, simulated, state) if shows_rates else ([], "")
    page = render_template(
        "dashboard.html", study=server.study, protocol=server.study.protocol, progress=progress, simulated=simulated,
        unlocked=date(unlocked), rates=rates, problem=problem, form_token=form_token(), date=date,
    )  # fmt: skip
    response = Response(page, mimetype="text/html")
    return response if shows_rates and _are_older(simulated, state) else _tagged(response, tag)


def _tagged(response: Response, tag: str) -> Response:
    """Named, so that the page can ask whether anything has changed: that costs far less than counting everything."""
    response.set_etag(tag)
    return response


@blueprint.post("/unlock")
def show_rates() -> AnyResponse:
    """Show fool rates from now on."""
    server = context()
    if not _is_in(server):
        return _login_page("", 403)
    if not is_own_form():
        return _login_page(TOO_OLD, 400)
    unlock(server.storage)
    return redirect(url_for("dashboard.show"), 303)


@dataclass(frozen=True)
class _Rates:
    """Rates that were analysed, when (by the monotonic clock), and of which state of the study."""

    at: float
    state: str
    content: tuple[list[Any], str]


def _are_older(simulated: bool, state: str) -> bool:
    """Whether the rates that are shown are of an earlier state."""
    kept: _Rates | None = _extension("dashboard_rates").get(simulated)
    return kept is None or kept.state != state


def _rates(server: Context, simulated: bool, state: str) -> tuple[list[Any], str]:
    """Rates by method as `evalkit analyze` gives them, and why there are none; a little late while answers come in."""
    kept: dict[bool, _Rates] = _extension("dashboard_rates")
    if simulated in kept and (kept[simulated].state == state or time.monotonic() - kept[simulated].at < RATES_KEPT_S):
        return kept[simulated].content
    try:
        rates = _analyse(raw_trials(server.storage, server.study, simulated=simulated)), ""
    except InputError as error:
        rates = [], str(error)
    except ImportError as error:
        rates = [], needs_package(error.name or "scipy", "rates", "report")
    kept[simulated] = _Rates(time.monotonic(), state, rates)
    return rates


def _analyse(raw: RawTable) -> list[Any]:
    from analysis.study.rates import fool_rates
    from analysis.trials.exclusions import apply_exclusions
    from analysis.trials.trial_table import check_trials

    table = check_trials(raw)
    return list(fool_rates(apply_exclusions(table, ())))


def date(seconds: float | None) -> str:
    """A moment in UTC, to the minute; "" for none."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _extension(name: str) -> Any:
    from flask import current_app

    return current_app.extensions[name]
