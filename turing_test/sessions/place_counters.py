"""Who holds a place and what those show, counted as it changes, so that a start costs the same however many came before.

`settle` brings the counters up to date before somebody is assigned. It looks at the sessions that are due: those that ended,
came back or lost a trial since (whoever changes a session so sets its `check_at` to `CHECK_NOW`), and those of which nothing
may have come for too long, breaks not counted. An answer moves nothing: a session that was due is looked at again when its place would be lent
by its last request. All functions run under `Storage.lock_assignment`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared, PreparedRows
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.assignment import (
    Arm,
    BlockOrder,
    Judged,
    PlannedTrial,
    arm_of_planned,
    arm_of_trial,
    from_columns,
)
from turing_test.sessions.breaks import break_allowance
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.summaries import write_summaries
from turing_test.sessions.validity import broken_rule, has_rules, rule_counts
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import Study

__all__ = [
    "ADD_TO_COUNTERS",
    "CHECK_IF_BACK",
    "CHECK_NOW",
    "arm_key",
    "count_places",
    "exposures",
    "idle_limit_s",
    "is_in_test",
    "place_key",
    "read_place_key",
    "release",
    "settle",
    "should_hold",
]

_S, _T = tables.session, tables.trial

CHECK_NOW = 0.0
"""`check_at` of a session whose place or trials have changed."""

CHECK_IF_BACK = sa.case((_S.c.holds_place, _S.c.check_at), else_=CHECK_NOW)
"""`check_at` of a session from which something came: only one whose place was lent is due now."""

AT_ONCE = 64
"""Sessions looked at together; the earliest due ones are looked at even before their time."""

_DUE = (
    _S.c.id,
    _S.c.state,
    _S.c.updated_at,
    _S.c.position,
    _S.c.holds_place,
    _S.c.simulated,
    _S.c.method,
    _S.c.other_method,
    _S.c.block_order,
)


@lru_cache(8)
def _due_now(protocol: Protocol) -> Prepared:
    """Keys of those of the earliest due sessions of which anything may differ from what is counted."""
    now, oldest, oldest_holder = (sa.bindparam(name, type_=sa.Double) for name in ("now", "oldest", "oldest_holder"))
    columns = _S.c.id, _S.c.state, _S.c.updated_at, _S.c.position, _S.c.check_at, _S.c.holds_place
    earliest = (
        sa.select(*columns)
        .where(_S.c.check_at.is_not(None))
        .order_by(_S.c.check_at)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .subquery()
        .c
    )
    is_over = sa.and_(*(earliest.state != state for state in ACTIVE))
    heard_at = earliest.updated_at + break_allowance(earliest.position, protocol)
    has_changed = sa.or_(is_over, earliest.holds_place == (heard_at < oldest_holder), heard_at < oldest)
    return Prepared(sa.select(earliest.id).where((earliest.check_at < now) | has_changed))


is_in_test = (_T.c.phase == "test") & (_T.c.state != "replaced")
"""Of trials: whether those are counted of a session that holds a place."""


def count_places(storage: Storage, study: Study) -> None:
    """Bring the counters up to date at the start of a server; those of an older version's database are filled so."""

    def work(connection: Connection) -> None:
        storage.lock_assignment(connection)
        settle(connection, study, clock.now())

    storage.write(work)


def settle(connection: Connection, study: Study, now: float) -> None:
    """Bring the counters up to date, and write down which sessions have expired."""
    protocol = study.protocol
    limits = {"oldest": now - protocol.session_timeout_s, "oldest_holder": now - idle_limit_s(protocol)}
    while True:
        due = [key for (key,) in _due_now(protocol).all(connection, now=now, most=AT_ONCE, **limits)]
        n_checked = _check(connection, study, due, now) if due else 0
        if len(due) < AT_ONCE or not n_checked:
            return


def exposures(study: Study, judged: Judged, trials: Sequence[PlannedTrial]) -> Counter[tuple[Arm | None, str, str]]:
    """How often a session shows an image in its test, by arm, kind of trial and image."""
    return Counter(
        (judged[0] if len(judged) == 1 else arm_of_planned(study, trial), trial.kind, trial.image)
        for trial in trials
        if trial.phase == "test"
    )


def release(connection: Connection, study: Study, session_id: int) -> None:
    """Count a session no more, whatever it is; before it is deleted."""
    row = connection.execute(sa.select(*_DUE).where(_S.c.id == session_id).with_for_update()).one()
    _apply(connection, study, [row], holding=set())


@lru_cache(1024)
def arm_key(arms: Arm | Judged | None) -> str:
    """An arm, or several, as the counters name them."""
    return json.dumps(arms)


def place_key(judged: Judged, block_order: BlockOrder) -> str:
    """What a session judges, and the order of its blocks of images where it has them, as the counter of places names it."""
    if block_order is None:
        return arm_key(judged)
    return json.dumps({"judged": judged, "block_order": block_order})


def read_place_key(key: str) -> tuple[Judged, BlockOrder]:
    """The reverse of `place_key`."""
    content = json.loads(key)
    named = content if isinstance(content, dict) else {"judged": content, "block_order": None}
    return tuple(map(tuple, named["judged"])), named["block_order"]


def idle_limit_s(protocol: Protocol) -> float:
    """Seconds without a request after which a place may be lent."""
    return min(protocol.place_idle_s, protocol.session_timeout_s)


def _check(connection: Connection, study: Study, session_ids: Sequence[int], now: float) -> int:
    """Look at sessions, locked, as they are now, but for those that somebody changes at this moment; how many they were."""
    protocol = study.protocol
    oldest = now - protocol.session_timeout_s
    rows = connection.execute(
        sa.select(*_DUE).where(_S.c.id.in_(session_ids)).order_by(_S.c.id).with_for_update(skip_locked=True)
    ).all()
    heard_at = _heard_at(protocol, rows)
    active = {row.id: row for row in rows if row.state in ACTIVE and heard_at[row.id] >= oldest}
    expired = [row.id for row in rows if row.state in ACTIVE and row.id not in active]
    if expired:
        connection.execute(sa.update(_S).where(_S.c.id.in_(expired)).values(state="expired", ended_at=now))
    holding = should_hold(connection, study, rows, now)
    _apply(connection, study, rows, holding)
    idle_s = idle_limit_s(protocol)
    again = [
        {"key": key, "at": heard_at[key] + (idle_s if key in holding else protocol.session_timeout_s)} for key in active
    ]
    over = [row.id for row in rows if row.id not in active]
    if over:
        write_summaries(connection, over)
        connection.execute(sa.update(_S).where(_S.c.id.in_(over)).values(check_at=None))
    if again:
        statement = sa.update(_S).where(_S.c.id == sa.bindparam("key")).values(check_at=sa.bindparam("at"))
        connection.execute(statement, again)
    return len(rows)


def should_hold(connection: Connection, study: Study, rows: Sequence[Any], now: float) -> set[int]:
    """Keys of those sessions that are to hold a place: completed and valid, or going on and heard of lately.

    Parameters
    ----------
    connection : Connection
    study : Study
    rows : sequence
        Sessions with ``id``, ``state``, ``updated_at`` and ``position``.
    now : float
        Seconds since 1970.
    """
    protocol = study.protocol
    heard_at, oldest = _heard_at(protocol, rows), now - idle_limit_s(protocol)
    completed = [row.id for row in rows if row.state == "completed"]
    counts = rule_counts(connection, completed) if completed and has_rules(protocol) else {}
    return {row.id for row in rows if row.state in ACTIVE and heard_at[row.id] >= oldest} | {
        key for key in completed if broken_rule(protocol, counts.get(key, {})) is None
    }


def _heard_at(protocol: Protocol, rows: Sequence[Any]) -> dict[int, float]:
    """When each session was heard of; whoever rests in a break is as if heard of at its end."""
    return {row.id: row.updated_at + protocol.idle_allowed_s(row.position) - protocol.session_timeout_s for row in rows}


def _apply(connection: Connection, study: Study, rows: Sequence[Any], holding: set[int]) -> None:
    """Let exactly those of the sessions in `rows` be counted that are in `holding`, with the trials that they show now."""
    judged = {row.id: from_columns(study, row.method, row.other_method) for row in rows if row.method is not None}
    places: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        if row.id in judged:
            places[row.simulated, place_key(judged[row.id], row.block_order)] += (row.id in holding) - bool(
                row.holds_place
            )
    _add(connection, tables.places_taken, places)
    for holds in (True, False):
        changed = [row.id for row in rows if (row.id in holding) == holds and bool(row.holds_place) != holds]
        if changed:
            connection.execute(sa.update(_S).where(_S.c.id.in_(changed)).values(holds_place=holds))
    shown: Counter[tuple[Any, ...]] = Counter()
    simulated = {row.id: row.simulated for row in rows}
    is_holder = _T.c.session_id.in_([key for key in judged if key in holding])
    differs = _T.c.session_id.in_(list(judged)) & (_T.c.counted != (is_holder & is_in_test))
    trials = connection.execute(
        sa.select(
            _T.c.session_id, _T.c.method, _T.c.other_method, _T.c.further, _T.c.kind, _T.c.image, _T.c.counted
        ).where(differs)
    ).all()
    for trial in trials:
        key = trial.session_id
        arm = _arm(study, judged[key], trial)
        shown[simulated[key], arm_key(arm), trial.kind, trial.image] += -1 if trial.counted else 1
    if trials:
        _add(connection, tables.images_shown, shown)
        connection.execute(sa.update(_T).where(differs).values(counted=~_T.c.counted))


def _arm(study: Study, judged: Judged, trial: Any) -> Arm | None:
    if len(judged) == 1:
        return judged[0]
    return arm_of_trial(study, trial.method, trial.other_method, trial.further)


def _add(connection: Connection, table: sa.Table, changes: Mapping[tuple[Any, ...], int]) -> None:
    """Add to the counters of a table, by its key."""
    rows = [(*key, change) for key, change in changes.items() if change]
    if rows:
        ADD_TO_COUNTERS[table.name].insert(connection, rows)


ADD_TO_COUNTERS = {
    table.name: PreparedRows(table, table.columns.keys(), add_to="times")
    for table in (tables.places_taken, tables.images_shown)
}
