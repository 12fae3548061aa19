"""Steps of trials that come while others are stored: one thread stores them together, past Flask.

Why this exists: a thread of its own for each costs more processor time in handing over, to the thread, to the database and back,
than the step itself. What anything is wrong with is left to the ordinary way, which says what.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turing_test.database.storage import StorageUnavailable
from turing_test.sessions import presentation
from turing_test.sessions.presentation import Answered, Begun, GivenAnswer
from turing_test.sessions.refusal import Refused
from turing_test.sessions.snapshot import Snapshot
from turing_test.sessions.tokens import TOKEN_PATTERN
from turing_test.web.bodies import check_body
from turing_test.web.context import Context
from turing_test.web.replies import answer_reply, begin_reply, shown_reply
from turing_test.web.security import DATA_HEADERS, RETRY_AFTER_S, UNAVAILABLE_BODY, encode_json

__all__ = ["AskedStep", "Reply", "read_step", "take_steps"]

Reply = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and content."""

_ADDRESS = re.compile(rf"/api/s/({TOKEN_PATTERN})/trials/([0-9]{{1,6}})/(begin|shown|answer)")

WAITED_S = 1.0
"""Seconds after which a database that cannot be used has been waited for, and is not waited for again."""

_NOT_NOW = encode_json(UNAVAILABLE_BODY)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedStep:
    """A step of a trial that somebody asks to store.

    Attributes
    ----------
    kind : {"begin", "shown", "answer"}
    token : str
        Of the session.
    position : int
        The trial as the participant counts, from 1.
    body : mapping
        Of the described form.
    root : str
        The path that the study is served under for those who come from outside.
    asked_at : float
        When, by `time.monotonic`.
    """

    kind: str
    token: str
    position: int
    body: Mapping[str, Any]
    root: str
    asked_at: float


def read_step(server: Context, path: str, root: str, content_type: str, body: bytes) -> AskedStep | None:
    """Read a POST request that may be a step of a trial.

    Parameters
    ----------
    server : Context
    path : str
        Below the root.
    root : str
    content_type : str
    body : bytes

    Returns
    -------
    AskedStep or None
        None for any other request, and for a body of another form.
    """
    address = _ADDRESS.fullmatch(path)
    if address is None:
        return None
    token, position, kind = address.groups()
    mimetype = content_type.partition(";")[0].strip().lower()
    try:
        checked = check_body(mimetype, body, server.validators[kind])
    except Refused:
        return None
    return AskedStep(kind=kind, token=token, position=int(position), body=checked, root=root, asked_at=time.monotonic())


def take_steps(server: Context, asked: Sequence[AskedStep]) -> list[Reply | None]:
    """Store steps of one kind, of different sessions; each is on disk when this returns.

    Returns
    -------
    list
        What is answered; None for those that were not stored, and must be asked for in the ordinary way.

    Raises
    ------
    StorageUnavailable
        When the database fails at once, as one that has ended its connections does: by themselves, they may be stored.
    """
    began = time.monotonic()
    try:
        taken = _take(server, asked)
    except StorageUnavailable as error:
        if time.monotonic() - began < WAITED_S:
            raise
        _log.error("%s", error)  # each by itself would wait as long again
        return [(503, _headers(_NOT_NOW, ("Retry-After", str(RETRY_AFTER_S))), _NOT_NOW)] * len(asked)
    return [None if result is None else _reply(server, step, result) for step, result in zip(asked, taken, strict=True)]


def _take(server: Context, asked: Sequence[AskedStep]) -> Sequence[Begun | Snapshot | Answered | None]:
    storage, study = server.storage, server.study
    match asked[0].kind:
        case "begin":
            begins = [(step.token, step.position, step.body["load"]) for step in asked]
            return presentation.begin_together(storage, study, begins)
        case "shown":
            reported = [(step.token, step.position, presentation.DisplayTimes.of(step.body)) for step in asked]
            return presentation.shown_together(storage, study, reported)
        case _:
            answers = [GivenAnswer.of(step.token, step.position, step.body) for step in asked]
            return presentation.answer_together(storage, study, answers)


def _reply(server: Context, asked: AskedStep, taken: Begun | Snapshot | Answered) -> Reply | None:
    snapshot = taken if isinstance(taken, Snapshot) else taken.snapshot
    server.admitted.keep(asked.token, snapshot, asked_at=asked.asked_at)
    try:
        content = encode_json(_told(server, asked, taken))
    except Exception:  # it is stored, and acknowledged when it is asked for again
        _log.exception("a trial's %s was stored, and what comes next could not be told", asked.kind)
        return None
    return 200, _headers(content), content


def _headers(content: bytes, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("Content-Length", str(len(content))), *more, *DATA_HEADERS]


def _told(server: Context, asked: AskedStep, taken: Begun | Snapshot | Answered) -> dict[str, Any]:
    if isinstance(taken, Begun):
        return begin_reply(server, asked.token, taken, asked.root)
    if isinstance(taken, Answered):
        return answer_reply(server, asked.token, taken, asked.root)
    return shown_reply()
