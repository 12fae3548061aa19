"""A session as one query finds it: where it stands and what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.sessions import clock
from turing_test.sessions.further_images import read_further
from turing_test.sessions.refusal import Refused
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import digest
from turing_test.study.protocol import Protocol

__all__ = [
    "AHEAD",
    "SESSION_COLUMNS",
    "TRIAL_COLUMNS",
    "Snapshot",
    "Upcoming",
    "find_session",
    "find_sessions_to_change",
    "first_snapshot",
    "snapshot_of",
]

AHEAD = 2
"""Trials read beyond the current one: after an answer, the next two."""


# Several are made with every request: a named tuple takes a fifth of the time of a frozen dataclass.
class Upcoming(NamedTuple):
    """A trial that is to be done, without what participants must not learn but for the true position."""

    number: int
    position: int
    phase: str
    kind: str
    real_position: str | None
    first_sha: str
    second_sha: str | None
    first_token: str
    second_token: str
    state: str
    load: str | None
    begun_at: float | None
    flags: str | None
    further: str | None = None

    @property
    def tokens(self) -> tuple[str, ...]:
        """Of all images, in order of their places; one too many where a trial has a single image."""
        return (self.first_token, self.second_token, *(image.token for image in read_further(self.further)))

    @property
    def shas(self) -> tuple[str, ...]:
        """Digests of all images, in order of their places."""
        pair = (self.first_sha,) if self.second_sha is None else (self.first_sha, self.second_sha)
        return (*pair, *(image.sha for image in read_further(self.further)))


class Snapshot(NamedTuple):
    """Where a session stands.

    Attributes
    ----------
    id : int
        Never leaves the server.
    state : str
        One of `ACTIVE` or `ENDED`; expiry by time is included (`effective_state`).
    position, n_trials : int
        The trial to do next, from 1, and how many there are.
    upcoming : tuple of Upcoming
        The current trial and those after it; a trial that was spoiled when the reserve was empty is left out.
    """

    id: int
    state: str
    platform: str
    simulated: bool
    method: str | None
    other_method: str | None
    position: int
    n_trials: int
    refresh_hz: float | None
    device: str | None
    completion_code: str
    arrival: str | None
    updated_at: float
    upcoming: tuple[Upcoming, ...]

    @property
    def current(self) -> Upcoming | None:
        """The trial to do next."""
        return self.upcoming[0] if self.upcoming and self.upcoming[0].position == self.position else None

    def expired(self, protocol: Protocol, now: float | None = None) -> bool:
        """Whether nothing came for so long that the session's place is given to somebody else."""
        idle = (clock.now() if now is None else now) - self.updated_at
        return self.state in ACTIVE and idle > protocol.idle_allowed_s(self.position)

    def effective_state(self, protocol: Protocol) -> str:
        """The state, with expiry by time taken into account before it is written down."""
        return "expired" if self.expired(protocol) else self.state

    def changed(self, **changes: Any) -> Snapshot:
        """A copy with changes."""
        return self._replace(**changes)


_S, _T = tables.session.c, tables.trial.c
SESSION_COLUMNS = Snapshot._fields[:-1]
"""Columns of the session; `snapshot_of` wants their values in this order."""

TRIAL_COLUMNS = Upcoming._fields
"""Columns of a trial; in rows they follow those of the session."""

_FIND = Prepared(
    sa.select(*(_S[name] for name in SESSION_COLUMNS), *(_T[name] for name in TRIAL_COLUMNS))
    .select_from(
        tables.session.outerjoin(
            tables.trial,
            (_T.session_id == _S.id)
            & (_T.position >= _S.position)
            & (_T.position <= _S.position + AHEAD)
            & (_T.state != "replaced"),
        )
    )
    .where(_S.token_hash == sa.bindparam("token_hash"))
    .order_by(_T.position)
)
# Two requests of one session wait for each other. On PostgreSQL this must be a statement of its own: after the wait,
# a join would combine the new session with old trials. SQLite has a single writer anyway.
_LOCK = Prepared(sa.select(_S.id).where(_S.token_hash == sa.bindparam("token_hash")).with_for_update())

# Of many sessions those that nobody else is changing: whoever stores many steps waits for no single session.
_LOCK_FREE = Prepared(
    sa.select(_S.token_hash)
    .where(_S.token_hash == sa.any_(sa.bindparam("token_hashes", type_=postgresql.ARRAY(sa.Text))))
    .with_for_update(skip_locked=True)
)


def snapshot_of(rows: Sequence[Sequence[Any]]) -> Snapshot:
    """The session that rows of a query describe.

    Parameters
    ----------
    rows : sequence of sequences
        One per upcoming trial, at least one: values of `SESSION_COLUMNS`, then of `TRIAL_COLUMNS`, which are all None
        when no trial is left.
    """
    n = len(SESSION_COLUMNS)
    upcoming = tuple([Upcoming._make(row[n:]) for row in rows if row[n] is not None])
    return Snapshot._make((*rows[0][:n], upcoming))


def first_snapshot(session: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Snapshot:
    """As `find_session` gives it, of a session that was stored just now.

    Parameters
    ----------
    session : mapping
        By column; columns without a value are absent.
    trials : sequence of mapping
        The first trials by column, `AHEAD` beyond the current one.
    """
    rows = [tuple(trial.get(name) for name in TRIAL_COLUMNS) for trial in trials]
    own = tuple(session.get(name) for name in SESSION_COLUMNS)
    return snapshot_of([(*own, *row) for row in rows])


def find_session(connection: Connection, token: str, *, to_change: bool = False) -> Snapshot:
    """Find the session of a token.

    Parameters
    ----------
    connection : Connection
    token : str
    to_change : bool
        Keep other writers off this session until the transaction ends.

    Raises
    ------
    Refused
        404 when there is none.
    """
    token_hash = digest(token)
    if to_change and connection.dialect.name != "sqlite":
        _LOCK.all(connection, token_hash=token_hash)
    rows = _FIND.all(connection, token_hash=token_hash)
    if not rows:
        raise Refused(404, "There is no such session; open the link of the study again.", reason="unknown_session")
    return snapshot_of(rows)


def find_sessions_to_change(connection: Connection, tokens: Sequence[str]) -> list[Snapshot | None]:
    """Find sessions, and keep other writers off them until the transaction ends.

    Returns
    -------
    list
        None for a session that is not there, or that another transaction is changing.
    """
    hashes = [digest(token) for token in tokens]
    own = set(hashes)
    if connection.dialect.name != "sqlite":
        own = {token_hash for (token_hash,) in _LOCK_FREE.all(connection, token_hashes=hashes)}
    each = _FIND.each(connection, [{"token_hash": token_hash} for token_hash in hashes])
    return [
        snapshot_of(rows) if rows and token_hash in own else None for token_hash, rows in zip(hashes, each, strict=True)
    ]
