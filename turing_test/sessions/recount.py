"""A full count of what the constant-time counters say, and how to mend them where they differ.

The counters move with the rows that they count, in the same transaction; they can differ only where somebody has changed the
database by hand, or a disk or a copy has damaged it. A full count reads every session and trial, so nothing but
`evalkit study doctor` does it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.wording import agree, counted
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.assignment import arm_of_trial, from_columns
from turing_test.sessions.place_counters import arm_key, is_in_test, place_key, settle, should_hold
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.summaries import read_trials, summarise
from turing_test.study.study_folder import Study

__all__ = ["counter_differences", "mend_counters"]

_S, _T, _M = tables.session, tables.trial, tables.summary


def counter_differences(connection: Connection, study: Study, now: float) -> list[str]:
    """What the counters and summaries say otherwise than a full count, one sentence each; empty where all is well.

    Parameters
    ----------
    connection : Connection
        Of one transaction that sees the database as it is at one moment; nothing is changed.
    study : Study
    now : float
        Seconds since 1970.
    """
    return [
        *_wrong_places(connection, study),
        *_wrong_exposures(connection, study),
        *_wrong_flags(connection, study, now),
        *_wrong_summaries(connection),
    ]


def mend_counters(storage: Storage, study: Study) -> None:
    """Count everything anew, as the start of a server does with the database of a version that had no counters.

    A running server may go on: whoever comes meanwhile waits.
    """

    def work(connection: Connection) -> None:
        storage.lock_assignment(connection)
        connection.execute(sa.update(_S).where(_S.c.method.is_not(None)).values(holds_place=False, check_at=0.0))
        connection.execute(sa.update(_T).where(_T.c.counted).values(counted=False))
        for table in (tables.places_taken, tables.images_shown, tables.summary):
            connection.execute(sa.delete(table))
        settle(connection, study, clock.now())

    storage.write(work)


def _wrong_places(connection: Connection, study: Study) -> Iterator[str]:
    holders: Counter[tuple[bool, str]] = Counter()
    query = (
        sa.select(_S.c.simulated, _S.c.method, _S.c.other_method, _S.c.block_order, sa.func.count())
        .where(_S.c.holds_place, _S.c.method.is_not(None))
        .group_by(_S.c.simulated, _S.c.method, _S.c.other_method, _S.c.block_order)
    )
    for simulated, method, other_method, block_order, number in connection.execute(query):
        holders[bool(simulated), place_key(from_columns(study, method, other_method), block_order)] += number
    stored = {
        (bool(row.simulated), row.judged): row.times for row in connection.execute(sa.select(tables.places_taken))
    }
    for key, true, said in _different(holders, stored):
        yield f"places_taken says {said} for {_words(*key)}, and {counted(true, 'session')} {agree(true, 'holds', 'hold')} a place"


def _wrong_exposures(connection: Connection, study: Study) -> Iterator[str]:
    shown: Counter[tuple[bool, str, str, str]] = Counter()
    columns = (
        _S.c.simulated, _S.c.method.label("judged"), _S.c.other_method.label("other_judged"), _T.c.method, _T.c.other_method,
        _T.c.further, _T.c.kind, _T.c.image,
    )  # fmt: skip
    query = (
        sa.select(*columns, sa.func.count().label("number"))
        .join_from(_T, _S, _S.c.id == _T.c.session_id)
        .where(_T.c.counted)
        .group_by(*columns)
    )
    for row in connection.execute(query):
        judged = from_columns(study, row.judged, row.other_judged)
        arm = judged[0] if len(judged) == 1 else arm_of_trial(study, row.method, row.other_method, row.further)
        shown[bool(row.simulated), arm_key(arm), row.kind, row.image] += row.number
    stored = {
        (bool(row.simulated), row.arm, row.kind, row.image): row.times
        for row in connection.execute(sa.select(tables.images_shown))
    }
    for key, true, said in _different(shown, stored):
        yield f"images_shown says {said} for {_words(*key)}, and {counted(true, 'trial')} {agree(true, 'shows', 'show')} it"


def _wrong_flags(connection: Connection, study: Study, now: float) -> Iterator[str]:
    """Sessions and trials that are counted and should not be, or the other way round; those that are due are not settled yet."""
    sessions = connection.execute(
        sa.select(_S.c.id, _S.c.label, _S.c.state, _S.c.updated_at, _S.c.position, _S.c.holds_place)
        .where(_S.c.method.is_not(None), _S.c.check_at.is_(None))
        .order_by(_S.c.id)
    ).all()
    holding = should_hold(connection, study, sessions, now)
    for session in sessions:
        if session.state in ACTIVE:
            yield f"session s{session.label} goes on, and would never be looked at again (check_at is empty)"
        elif bool(session.holds_place) != (session.id in holding):
            said, true = ("holds a place", "should not") if session.holds_place else ("holds no place", "should")
            yield f"session s{session.label} ({session.state}) {said}, and {true}"
    wrong = connection.execute(
        sa.select(_S.c.label, sa.func.count())
        .join_from(_T, _S, _S.c.id == _T.c.session_id)
        .where(_S.c.check_at.is_(None), _T.c.counted != (_S.c.holds_place & is_in_test))
        .group_by(_S.c.label)
    )
    for label, number in wrong:
        yield f"{counted(number, 'trial')} of session s{label} {agree(number, 'is', 'are')} counted otherwise than the session"


def _wrong_summaries(connection: Connection) -> Iterator[str]:
    over = {
        row.id: row
        for row in connection.execute(
            sa.select(_S.c.id, _S.c.label, _M.c.content, _M.c.durations_ms)
            .select_from(_S.outerjoin(_M, _M.c.session_id == _S.c.id))
            .where(_S.c.method.is_not(None), _S.c.check_at.is_(None), _S.c.state.not_in(ACTIVE))
        )
    }
    for key, trials in read_trials(connection, over):
        row, true = over[key], summarise(trials).as_columns()
        if row.content is None:
            yield f"session s{row.label} is over and has no summary"
        elif json.loads(row.content) != json.loads(true["content"]) or bytes(row.durations_ms) != true["durations_ms"]:
            yield f"the summary of session s{row.label} does not say what its trials say"


def _different(true: Mapping[Any, int], said: Mapping[Any, int]) -> Iterator[tuple[Any, int, int]]:
    for key in sorted({*true, *said}):
        if true.get(key, 0) != said.get(key, 0):
            yield key, true.get(key, 0), said.get(key, 0)


def _words(simulated: bool, key: str, kind: str = "", image: str = "") -> str:
    """A counter's key in words."""
    own = "simulated participants' " if simulated else ""
    of = f"{image} ({kind}) of " if image else ""
    return f"{own}{of}{key}"
