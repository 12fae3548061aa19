"""Places of a study: how many sessions each arm has or is about to have, and whether there is room for one more.

A completed session that the declared rules keep has its place for good. One that goes on has it until nothing has come from
its participant for `place_idle_s`; then the place may be lent to somebody else. Whoever comes back while the session itself
has not expired goes on all the same, so an arm may end with a few sessions more than were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.sessions.assignment import Arm, Judged, arm_of_trial, arms, from_columns, per_arm
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import invalid_sessions
from turing_test.study.study_folder import Study

__all__ = ["has_room", "holds_a_place", "images_shown", "sessions_by_arms"]

_S, _T, _L = tables.session, tables.trial, tables.link


def sessions_by_arms(connection: Connection, study: Study, holding: sa.ColumnElement[bool]) -> dict[Judged, int]:
    """Sessions that hold a place (`holds_a_place`), by the arms that they judge; what has none is absent."""
    rows = connection.execute(
        sa.select(_S.c.method, _S.c.other_method, sa.func.count())
        .where(holding, _S.c.method.is_not(None))
        .group_by(_S.c.method, _S.c.other_method)
    )
    return {from_columns(study, method, other_method): count for method, other_method, count in rows}


def images_shown(
    connection: Connection, study: Study, judged: Judged, holding: sa.ColumnElement[bool]
) -> Counter[tuple[Arm | None, str, str]]:
    """How often sessions that hold a place show an image, by arm, kind of trial and image.

    Of sessions that judge one arm each, those of that arm; otherwise of all sessions.
    """
    query = (
        sa.select(_T.c.method, _T.c.other_method, _T.c.kind, _T.c.image, sa.func.count())
        .join_from(_S, _T, _T.c.session_id == _S.c.id)
        .where(holding)
        .where(_T.c.state != "replaced", _T.c.phase == "test")
        .group_by(_T.c.method, _T.c.other_method, _T.c.kind, _T.c.image)
    )
    if len(judged) == 1:
        method, other_method = judged[0]
        query = query.where(_S.c.method == method, _S.c.other_method.is_not_distinct_from(other_method))
    shown: Counter[tuple[Arm | None, str, str]] = Counter()
    for method, other_method, kind, image, count in connection.execute(query):
        shown[arm_of_trial(study, method, other_method), kind, image] += count
    return shown


def has_room(
    connection: Connection, study: Study, sessions: Mapping[Judged, int], *, by_link: bool, simulated: bool
) -> bool:
    """Whether one more session is wanted.

    Parameters
    ----------
    connection : Connection
    study : Study
    sessions : mapping of Judged to int
        From `sessions_by_arms`.
    by_link : bool
        Whoever comes by a one-time link takes the place that every unused link keeps free.
    simulated : bool
        No link keeps places from simulated participants.
    """
    wanted, every, counts = study.protocol.sessions_per_method, arms(study), per_arm(sessions)
    missing = sum(max(0, wanted - counts[arm]) for arm in every)
    free = -(-missing // study.protocol.arms_per_person(len(every)))
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
