"""Places of a study: how many sessions each arm has or is about to have, and whether there is room for one more.

A completed session that the declared rules keep has its place for good. One that goes on has it until nothing has come from
its participant for `place_idle_s`; then the place may be lent to somebody else. Whoever comes back while the session itself
has not expired goes on all the same, so an arm may end with a few sessions more than were asked for.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.sessions.assignment import Arm, arms
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import invalid_sessions
from turing_test.study.study_folder import Study

__all__ = ["has_room", "holds_a_place", "images_shown", "sessions_by_arm"]

_S, _T, _L = tables.session, tables.trial, tables.link


def sessions_by_arm(connection: Connection, holding: sa.ColumnElement[bool]) -> dict[Arm, int]:
    """Sessions that hold a place (`holds_a_place`), by arm; arms without any are absent."""
    rows = connection.execute(
        sa.select(_S.c.method, _S.c.other_method, sa.func.count())
        .where(holding)
        .group_by(_S.c.method, _S.c.other_method)
    )
    return {(method, other_method): count for method, other_method, count in rows}


def images_shown(connection: Connection, arm: Arm, holding: sa.ColumnElement[bool]) -> dict[tuple[str, str], int]:
    """How often the sessions of an arm that hold a place show an image, by kind of trial and image."""
    rows = connection.execute(
        sa.select(_T.c.kind, _T.c.image, sa.func.count())
        .join_from(_S, _T, _T.c.session_id == _S.c.id)
        .where(holding)
        .where(_S.c.method == arm[0], _S.c.other_method.is_not_distinct_from(arm[1]))
        .where(_T.c.state != "replaced", _T.c.phase == "test")
        .group_by(_T.c.kind, _T.c.image)
    )
    return {(kind, image): count for kind, image, count in rows}


def has_room(connection: Connection, study: Study, counts: dict[Arm, int], *, by_link: bool, simulated: bool) -> bool:
    """Whether one more session is wanted.

    Parameters
    ----------
    connection : Connection
    study : Study
    counts : dict of Arm to int
        From `sessions_by_arm`.
    by_link : bool
        Whoever comes by a one-time link takes the place that every unused link keeps free.
    simulated : bool
        No link keeps places from simulated participants.
    """
    wanted = study.protocol.sessions_per_method
    free = sum(max(0, wanted - counts.get(arm, 0)) for arm in arms(study))
    if by_link or simulated or not free:
        return free > 0
    unused = connection.execute(sa.select(sa.func.count()).select_from(_L).where(_L.c.used_at.is_(None))).scalar_one()
    return bool(free > unused)


def holds_a_place(connection: Connection, study: Study, *, simulated: bool, now: float) -> sa.ColumnElement[bool]:
    """The condition that a session holds a place; asked for once, because it looks through all completed sessions."""
    protocol = study.protocol
    idle_s = min(protocol.place_idle_s, protocol.session_timeout_s)
    is_running = _S.c.state.in_(ACTIVE) & (_S.c.updated_at >= now - idle_s)
    invalid = invalid_sessions(connection, protocol)
    condition = ((_S.c.state == "completed") | is_running) & (_S.c.simulated == simulated)
    return condition & _S.c.id.not_in(invalid) if invalid else condition
