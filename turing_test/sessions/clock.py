"""The time by which sessions are idle, begun and ended: it never jumps, whatever is done to the clock of the machine.

A clock that is corrected, or a machine that slept, would otherwise make every running session look as if nobody had been
there for an hour. Within a process, time goes on from where it was when the process started, by the monotonic clock. Between
two runs of a server, the time that passed is nobody's idle time: `resume` moves the sessions along.
"""

from __future__ import annotations

import logging
import threading
import time

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions.breaks import break_allowance
from turing_test.sessions.states import ACTIVE
from turing_test.study.study_folder import Study

__all__ = ["JUMP_S", "now", "resume"]

JUMP_S = 30.0
"""Difference between the machine's clock and ours that is said to the operator, and that counts as a stop of the server."""

_log = logging.getLogger(__name__)
_S = tables.session


class _Clock:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = time.time() - time.monotonic()
        self._told = 0.0

    def now(self) -> float:
        current = self._offset + time.monotonic()
        jump = time.time() - current
        if abs(jump - self._told) > JUMP_S:
            self._tell(jump)
        return current

    def _tell(self, jump: float) -> None:
        with self._lock:
            if abs(jump - self._told) <= JUMP_S:
                return
            self._told = jump
        if abs(jump) > JUMP_S:
            _log.warning(
                "the clock of this machine jumped: it is %+.0f s off from the time of this server, which goes on as if "
                "nothing had happened; start the server again to take over the clock's time", jump,
            )  # fmt: skip
        else:
            _log.warning("the clock of this machine is right again")


_clock = _Clock()


def now() -> float:
    """Seconds since 1970 by the clock of the machine when this process began, and the monotonic clock since then."""
    return _clock.now()


def resume(storage: Storage, study: Study) -> float:
    """Take the time between the last request and now out of the idle time of running sessions, at the start of a server.

    Returns
    -------
    float
        Seconds that sessions were moved along; 0 when there was no gap.
    """

    def work(connection: Connection) -> float:
        last = connection.execute(sa.select(sa.func.max(_S.c.updated_at)).where(_S.c.state.in_(ACTIVE))).scalar()
        if last is None or abs(now() - last) <= JUMP_S:
            return 0.0
        gap: float = now() - last
        is_running, oldest = _S.c.state.in_(ACTIVE), last - study.protocol.session_timeout_s
        # By the clock of then, which is not the clock of now.
        expired = {"state": "expired", "ended_at": last, "check_at": 0.0}
        heard_at = _S.c.updated_at + break_allowance(_S.c.position, study.protocol)
        connection.execute(sa.update(_S).where(is_running, heard_at < oldest).values(expired))
        connection.execute(sa.update(_S).where(is_running).values(updated_at=_S.c.updated_at + gap, check_at=0.0))
        connection.execute(sa.insert(tables.event).values(at=now(), kind="resumed", detail=f"{gap:.0f}"))
        return gap

    return storage.write(work)
