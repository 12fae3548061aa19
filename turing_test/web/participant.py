"""The participant's page and its JSON interface; the sessions themselves are in `turing_test.sessions.lifecycle`."""

from __future__ import annotations

import hmac
import logging
import time
from typing import Any

from flask import Blueprint, Response, g, render_template, request

from evalkit.errors import InputError
from turing_test.sessions import lifecycle as sessions
from turing_test.sessions import presentation
from turing_test.sessions.recruiters import PLATFORMS, QUERY_NAMES, Arrival, Voucher, check_admitted, find_recruiter
from turing_test.sessions.refusal import Refused
from turing_test.sessions.signed_arrivals import PROLIFIC_TOKEN, SignedArrival, opened_before, opening_stamp
from turing_test.sessions.snapshot import Snapshot
from turing_test.sessions.views import images_ahead
from turing_test.web.bodies import read_body
from turing_test.web.context import Context, context
from turing_test.web.openapi import describe
from turing_test.web.replies import answer_reply, begin_reply, session_view, shown_reply
from turing_test.web.security import json_response

__all__ = ["START_PATH", "blueprint"]

START_PATH = "/api/sessions"
"""Where a page asks for a session."""

blueprint = Blueprint("participant", __name__)

_log = logging.getLogger(__name__)


# --- pages -------------------------------------------------------------------------------------------------------


@blueprint.get("/")
@blueprint.get("/l/<link>")
def start_page(link: str = "") -> str:
    """The page of somebody who comes; nothing is stored."""
    server = context()
    g.frame_ancestors = find_recruiter(request.args).frame_ancestors(server.study.protocol)
    return _page(server, link=link, opened=_opened(server))


@blueprint.get("/s/<session>")
def session_page(session: str) -> str:
    """The page of a session that goes on, after a reload; possibly inside a platform's frame.

    The address holds the name that the browser gave the session, which opens nothing elsewhere; where the browser keeps
    nothing, the token itself.
    """
    server = context()
    # Whatever the name: an unknown one is told by the interface, and the page itself holds nothing.
    g.frame_ancestors = PLATFORMS["mturk"].frame_ancestors(server.study.protocol)
    return _page(server, session=session)


def _page(server: Context, *, session: str = "", link: str = "", opened: str = "") -> str:
    visit = {"session": session, "link": link, "opened": opened}
    return render_template("participant.html", **visit, **server.page)


# --- the JSON interface ------------------------------------------------------------------------------------------


@blueprint.before_request
def note_beginning() -> None:
    """When the request came, as `ask_anew` needs it."""
    g.asked_at = time.monotonic()


@blueprint.after_request
def ask_anew(response: Response) -> Response:
    """What a session may fetch may have changed with it: what it was told now says so, else the database is asked."""
    if request.method == "POST" and request.view_args and "token" in request.view_args:
        token, snapshot = request.view_args["token"], g.pop("snapshot", None)
        if snapshot is None:
            context().admitted.end(token)
        else:
            context().admitted.keep(token, snapshot, asked_at=g.asked_at)
    return response


@blueprint.get("/api/openapi.json")
def openapi() -> Response:
    """The description of this interface."""
    return json_response(describe(context().study.protocol, request.script_root))


@blueprint.post(START_PATH)
def start_session() -> Response:
    """Consent or decline."""
    server = context()
    body = _body(server, "start")
    link = body["link"] or None
    arrival = _arrival(server, body, link)
    _limit(server, arrival, consents=body["consent"])
    if not body["consent"]:
        token, snapshot = sessions.decline(server.storage, arrival)
    elif body["consent_hash"] != server.page["consent_hash"]:
        raise Refused(409, "The consent text has changed; please load the page again.", reason="consent_changed")
    else:
        token, snapshot = sessions.start(
            server.storage, server.study, arrival, body["consent_hash"], link, body.get("attempt")
        )
    return json_response({"token": token, **_view(server, token, snapshot)}, 201)


@blueprint.get("/api/s/<token>")
def look_up(token: str) -> Response:
    """Where the session stands."""
    server = context()
    return json_response(_view(server, token, sessions.look_up(server.storage, token)))


@blueprint.get("/api/s/<token>/ahead")
def ahead(token: str) -> Response:
    """Images further ahead than the next trial, for slow lines."""
    server = context()
    snapshot = sessions.look_up(server.storage, token)
    return json_response(
        {
            "images": images_ahead(
                server.storage, token, snapshot, server.study.protocol.images_per_trial, root=request.script_root
            )
        }
    )


@blueprint.post("/api/s/<token>/device")
def device(token: str) -> Response:
    """What the display is like."""
    server = context()
    body = _body(server, "device")
    return json_response(_view(server, token, sessions.record_device(server.storage, server.study, token, body)))


@blueprint.post("/api/s/<token>/vision")
def vision(token: str) -> Response:
    """Answers to the plates."""
    server = context()
    answers = _body(server, "vision")["answers"]
    return json_response(_view(server, token, sessions.record_vision(server.storage, server.study, token, answers)))


@blueprint.post("/api/s/<token>/withdraw")
def withdraw(token: str) -> Response:
    """Stop taking part."""
    server = context()
    _body(server, "withdraw")
    return json_response(_view(server, token, sessions.withdraw(server.storage, server.study, token)))


@blueprint.post("/api/s/<token>/trials/<int:position>/begin")
def begin(token: str, position: int) -> Response:
    """A trial's images are about to be shown."""
    server = context()
    body = _body(server, "begin")
    begun = presentation.begin(server.storage, server.study, token, position, body["load"])
    g.snapshot = begun.snapshot
    return json_response(begin_reply(server, token, begun, request.script_root))


@blueprint.post("/api/s/<token>/trials/<int:position>/shown")
def shown(token: str, position: int) -> Response:
    """Measured display times."""
    server = context()
    body = _body(server, "shown")
    times = presentation.DisplayTimes.of(body)
    g.snapshot = presentation.shown(server.storage, server.study, token, position, times)
    return json_response(shown_reply())


@blueprint.post("/api/s/<token>/trials/<int:position>/answer")
def answer(token: str, position: int) -> Response:
    """An answer."""
    server = context()
    body = _body(server, "answer")
    given = presentation.GivenAnswer.of(token, position, body)
    answered = presentation.answer(server.storage, server.study, given)
    g.snapshot = answered.snapshot
    return json_response(answer_reply(server, token, answered, request.script_root))


def _limit(server: Context, arrival: Arrival, *, consents: bool) -> None:
    if arrival.platform == sessions.SIMULATED.platform:
        return  # they know a key, and come all from one address
    limit = server.limits.starts if consents else server.limits.declines
    wait = limit.wait(request.remote_addr or "")
    if wait:
        raise Refused(429, "Too many participants begin at this moment; please wait.", retry_after=int(wait) + 1)


def _body(server: Context, name: str) -> dict[str, Any]:
    return read_body(server.validators[name])


def _opened(server: Context) -> str:
    """Says later that the address was signed and had not expired when the page was opened; empty where nothing is signed."""
    token = request.args.get(PROLIFIC_TOKEN, "")
    if server.prolific_keys is None or not token:
        return ""
    try:
        arrival = server.prolific_keys.verify(token, server.study.protocol.public_url)
    except InputError:  # told when the participant agrees, as every refusal
        return ""
    return opening_stamp(server.study.key, arrival, time.time())


def _voucher(server: Context, opened: str) -> Voucher | None:
    """How a token of Prolific is checked; None for a study that has no keys."""
    keys = server.prolific_keys
    if keys is None:
        return None

    def vouch(token: str) -> SignedArrival:
        ago = opened_before(server.study.key, opened, token, time.time())
        try:
            return keys.verify(token, server.study.protocol.public_url, opened_ago_s=ago)
        except InputError as error:  # the owner should know: perhaps Prolific has new keys
            _log.warning("Somebody from Prolific was not admitted: %s", error)
            raise

    return vouch


def _arrival(server: Context, body: dict[str, Any], link: str | None) -> Arrival:
    key = body.get("simulated_key")
    if key is not None:
        if server.simulation_key is None or not hmac.compare_digest(key.encode(), server.simulation_key.encode()):
            raise Refused(403, "This server takes no simulated participants with that key.")
        return sessions.SIMULATED
    query = {name: body["query"][name] for name in QUERY_NAMES if name in body["query"]}
    try:
        recruiter = find_recruiter(query)
        if link is None:
            check_admitted(recruiter.platform, server.study.protocol)
        arrival = recruiter.arrive(query, link, server.study.protocol, _voucher(server, body.get("opened", "")))
    except InputError as error:
        raise Refused(403, str(error), reason="not_admitted") from None
    if arrival.preview:
        raise Refused(403, "This is a preview; accept the task on the platform to begin.", reason="preview")
    return arrival


def _view(server: Context, token: str, snapshot: Snapshot) -> dict[str, Any]:
    g.snapshot = snapshot
    return session_view(server, token, snapshot, request.script_root)
