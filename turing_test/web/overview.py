"""One page over several studies of a server: how each is, and the way to its own dashboard.

Each study keeps its password, database and cookie. Whoever logs in here sees the numbers of those studies whose password
it is, and is logged in to their dashboards too.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import sqlalchemy as sa
from flask import Blueprint, Flask, Response, current_app, redirect, render_template, request, session, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from turing_test.database import schema as tables
from turing_test.database.storage import StorageUnavailable
from turing_test.database.study_record import admission, log_out
from turing_test.sessions.assignment import arms
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import new_token
from turing_test.study.study_folder import Study
from turing_test.web.context import Context
from turing_test.web.dashboard import (
    TOO_OLD,
    date,
    form_token,
    is_login,
    is_own_form,
    login_cookie,
    login_mark,
    login_page,
    refused_attempt,
    use_cookie,
)
from turing_test.web.dashboard_password import password_digest, password_is
from turing_test.web.limits import Limits
from turing_test.web.security import json_response, protect

__all__ = ["RESERVED", "Hosted", "create_overview"]

RESERVED = ("dashboard", "health", "static")
"""First parts of the overview's own addresses: no study can have such a name."""

PATIENCE_S = 3.0
"""How long a study's database has to answer; the page of all does not wait for the slowest."""

T = TypeVar("T")
_S = tables.session.c

blueprint = Blueprint("dashboard", __name__)


class Hosted(Protocol):
    """A study of the server."""

    @property
    def application(self) -> Flask | None:
        """None as long as it cannot be served."""

    @property
    def problem(self) -> str:
        """Why it cannot be served."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a study is.

    Attributes
    ----------
    state : str
        Key of `turing_test.database.study_record.ADMISSIONS`.
    completed, running, wanted : int
        Sessions of people.
    last : float or None
        When a session last went on (seconds since 1970).
    """

    state: str
    completed: int
    running: int
    wanted: int
    last: float | None


class _Studies:
    """The studies of the server, each looked at in threads of its own: a database that hangs holds up no other study."""

    def __init__(self, hosted: Mapping[str, Hosted]) -> None:
        self.hosted = hosted
        self.limits = Limits()
        self._threads = {name: ThreadPoolExecutor(2, f"look at {name}") for name in hosted}

    def contexts(self) -> dict[str, Context]:
        """Of those that are served."""
        served = {name: one.application for name, one in self.hosted.items()}
        return {name: app.extensions["turing_test"] for name, app in served.items() if app is not None}

    def look(self, look: Callable[[Context], T], contexts: Mapping[str, Context]) -> dict[str, T]:
        """What is found in each study; those whose database does not answer are left out."""
        looks = {name: self._threads[name].submit(look, server) for name, server in contexts.items()}
        latest = time.monotonic() + PATIENCE_S
        found = {}
        for name, future in looks.items():
            try:
                found[name] = future.result(max(0.0, latest - time.monotonic()))
            except (TimeoutError, StorageUnavailable):
                future.cancel()
        return found


def create_overview(hosted: Mapping[str, Hosted], secret: bytes) -> Flask:
    """The application beside the studies of a server.

    Parameters
    ----------
    hosted : mapping of str to Hosted
        By name.
    secret : bytes
        Signs the cookie; the same in all processes of the server.
    """
    app = Flask("turing_test.web")
    app.url_map.merge_slashes = False
    app.extensions["studies"] = _Studies(hosted)
    protect(app)
    use_cookie(app, secret, always_secure=False)
    app.register_blueprint(blueprint)
    return app


def _studies() -> _Studies:
    studies: _Studies = current_app.extensions["studies"]
    return studies


@blueprint.get("/health")
def health() -> Response:
    """Which studies can store answers; 503 when none can."""
    studies = _studies()
    answering = studies.look(lambda server: server.storage.read(admission), studies.contexts())
    each = {name: name in answering for name in studies.hosted}
    return json_response({"healthy": all(each.values()), "studies": each}, 200 if any(each.values()) else 503)


@blueprint.post("/dashboard/login")
def login() -> AnyResponse:
    """Check the password, and log in to every study that it opens."""
    studies = _studies()
    refused = refused_attempt(studies.limits, _login_page)
    if refused is not None:
        return refused
    password = request.form.get("password", "")
    opened = {
        name: server
        for name, server in studies.contexts().items()
        if password_digest(server.study.folder) is not None and password_is(server.study.folder, password)
    }
    if not opened:
        return _login_page("That is the password of no study.", 403)
    login_token = new_token()
    session.clear()
    session.permanent = True
    session["login"] = login_token
    session["in"] = {name: login_mark(server) for name, server in opened.items()}
    answer = redirect(url_for("dashboard.show"), 303)
    for name in opened:
        app = studies.hosted[name].application
        assert app is not None
        login_cookie(app, answer, login_token, f"{request.script_root}/{name}")
    return answer


@blueprint.post("/dashboard/logout")
def logout() -> AnyResponse:
    """End the login, in each study too."""
    if not is_own_form():
        return _login_page(TOO_OLD, 400)
    login_token = str(session.get("login", ""))
    _studies().look(lambda server: log_out(server.storage, login_token), _opened())
    session.clear()
    return redirect(url_for("dashboard.show"), 303)


@blueprint.get("/dashboard")
def show() -> Response:
    """The page, or the form for the password."""
    studies = _studies()
    opened = _opened()
    if not opened:
        return _login_page()
    rows = studies.look(lambda server: server.storage.read(lambda c: _row(c, server.study)), opened)
    page = render_template(
        "overview.html",
        names=list(studies.hosted),
        problems={name: _problem(name, studies, opened, rows) for name in studies.hosted},
        rows=rows,
        form_token=form_token(),
        date=date,
        now=time.time(),
    )
    return Response(page, mimetype="text/html")


def _opened() -> dict[str, Context]:
    """Studies whose numbers this visitor may see; a database that does not answer says nothing against a login."""
    marks = session.get("in")
    if not isinstance(marks, dict):
        return {}
    contexts = {
        name: server
        for name, server in _studies().contexts().items()
        if password_digest(server.study.folder) is not None
        and hmac.compare_digest(str(marks.get(name, "")), login_mark(server))
    }
    login_token = str(session.get("login", ""))
    is_in = _studies().look(lambda server: is_login(server, login_token), contexts)
    return {name: server for name, server in contexts.items() if is_in.get(name, True)}


def _login_page(message: str = "", status: int = 200) -> Response:
    closed = all(password_digest(server.study.folder) is None for server in _studies().contexts().values())
    return login_page("Studies", message, status, closed=closed)


def _problem(name: str, studies: _Studies, opened: Mapping[str, Context], rows: Mapping[str, Row]) -> str:
    application = studies.hosted[name].application
    if application is None:
        return f"not served: {studies.hosted[name].problem}" if opened else "not served"
    if name not in opened:
        is_closed = password_digest(application.extensions["turing_test"].study.folder) is None
        return "closed until it has a password" if is_closed else "has a password of its own"
    return "" if name in rows else "its database does not answer"


def _row(connection: Connection, study: Study) -> Row:
    counts = connection.execute(
        sa.select(_S.state, sa.func.count(), sa.func.max(_S.updated_at)).where(~_S.simulated).group_by(_S.state)
    ).all()
    n_arms = len(arms(study))
    return Row(
        state=admission(connection),
        completed=sum(count for state, count, _ in counts if state == "completed"),
        running=sum(count for state, count, _ in counts if state in ACTIVE),
        wanted=study.protocol.sessions_per_method * n_arms // study.protocol.arms_per_person(n_arms),
        last=max((at for *_, at in counts), default=None),
    )
