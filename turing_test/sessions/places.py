"""Places of a study: how many sessions each arm has or is about to have, and whether there is room for one more.

A completed session that the declared rules keep has its place for good. One that goes on has it until nothing has come from
its participant for `place_idle_s`, breaks not counted; then the place may be lent to somebody else. Whoever comes back while
the session itself has not expired goes on all the same, so an arm may end with a few sessions more than were asked for.
`turing_test.sessions.place_counters` counts them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.sessions.assignment import Arm, BlockOrder, Judged, arms, per_arm
from turing_test.sessions.place_counters import arm_key, read_place_key
from turing_test.study.study_folder import Study

__all__ = ["has_room", "images_shown", "sessions_by_arms", "sessions_by_order", "unused_links"]

_L, _TAKEN, _SHOWN = tables.link, tables.places_taken.c, tables.images_shown.c

_OF_SIMULATED = sa.bindparam("of_simulated", type_=sa.Boolean)
_PLACES_TAKEN = Prepared(
    sa.select(_TAKEN.judged, _TAKEN.times).where(_TAKEN.simulated == _OF_SIMULATED, _TAKEN.times > 0)
)
_ALL_SHOWN = sa.select(_SHOWN.arm, _SHOWN.kind, _SHOWN.image, _SHOWN.times).where(
    _SHOWN.simulated == _OF_SIMULATED, _SHOWN.times > 0
)
_SHOWN_OF_ALL = Prepared(_ALL_SHOWN)
_SHOWN_OF_ARM = Prepared(_ALL_SHOWN.where(_SHOWN.arm == sa.bindparam("of_arm")))
_UNUSED_LINKS = Prepared(sa.select(sa.func.count()).select_from(_L).where(_L.c.used_at.is_(None)))


def sessions_by_arms(connection: Connection, *, simulated: bool) -> dict[Judged, int]:
    """Sessions that hold a place, by the arms that they judge; what has none is absent."""
    sessions: Counter[Judged] = Counter()
    for (judged, _), times in sessions_by_order(connection, simulated=simulated).items():
        sessions[judged] += times
    return dict(sessions)


def sessions_by_order(connection: Connection, *, simulated: bool) -> dict[tuple[Judged, BlockOrder], int]:
    """The same by arms and the order of the blocks of images."""
    rows = _PLACES_TAKEN.all(connection, of_simulated=simulated)
    return {read_place_key(key): times for key, times in rows}


def images_shown(
    connection: Connection, judged: Judged | None, *, simulated: bool
) -> Counter[tuple[Arm | None, str, str]]:
    """How often sessions that hold a place show an image, by arm, kind of trial and image.

    Of sessions that judge one arm each, those of that arm; of all sessions for several arms, and for None.
    """
    if judged is not None and len(judged) == 1:
        rows = _SHOWN_OF_ARM.all(connection, of_simulated=simulated, of_arm=arm_key(judged[0]))
    else:
        rows = _SHOWN_OF_ALL.all(connection, of_simulated=simulated)
    arms_by_key = {key: _arm_of_key(key) for key in {row[0] for row in rows}}
    return Counter({(arms_by_key[key], kind, image): times for key, kind, image, times in rows})


def _arm_of_key(key: str) -> Arm | None:
    arm = json.loads(key)
    return None if arm is None else tuple(arm)


def unused_links(connection: Connection) -> int:
    """One-time links that nobody has used; each keeps a place free."""
    count: int = _UNUSED_LINKS.all(connection)[0][0]
    return count


def has_room(study: Study, sessions: Mapping[Judged, int], kept: int) -> bool:
    """Whether one more session is wanted.

    Parameters
    ----------
    study : Study
    sessions : mapping of Judged to int
        From `sessions_by_arms`.
    kept : int
        Places that are kept free for others: one for every unused link, none from whoever comes by a link or is simulated.
    """
    wanted, every, counts = study.protocol.sessions_per_method, arms(study), per_arm(sessions)
    missing = sum(max(0, wanted - counts[arm]) for arm in every)
    return -(-missing // study.protocol.arms_per_person(len(every))) > kept
