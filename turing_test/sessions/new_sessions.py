"""New sessions with their trials and what they add to the counters.

A crowd's sessions are stored together, whatever their number with one COPY per table: of what PostgreSQL spends on sessions
that are stored one by one, two thirds go to reading trials from JSON and to counting the same images again for everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.prepared import NEW, Prepared, PreparedRows, named
from turing_test.sessions.place_counters import ADD_TO_COUNTERS

__all__ = ["SESSION_VALUES", "TRIAL_VALUES", "NewSession", "new_keys", "store_session", "store_sessions"]

_S, _T = tables.session, tables.trial
_TAKEN, _SHOWN = (ADD_TO_COUNTERS[table.name] for table in (tables.places_taken, tables.images_shown))

SESSION_VALUES = (
    "token_hash", "label", "state", "platform", "person_hash", "arrival_hash", "arrival", "verified", "simulated", "method",
    "other_method", "seed", "n_trials", "position", "completion_code", "consent_hash", "created_at", "updated_at",
    "holds_place", "check_at", "block_order",
)  # fmt: skip
"""Columns that a session has when it begins."""

TRIAL_VALUES = (
    "number", "position", "phase", "kind", "image", "method", "other_method", "real_position", "first_sha", "second_sha",
    "first_token", "second_token", "state", "counted", "further",
)  # fmt: skip
"""Columns that its trials have, in the order of `NewSession.trials`."""

_SESSION = Prepared(sa.insert(_S).values(named(*(_S.c[name] for name in SESSION_VALUES))).returning(_S.c.id))
_SESSIONS = PreparedRows(_S, ["id", *SESSION_VALUES])
_TRIALS = PreparedRows(_T, ["session_id", *TRIAL_VALUES])
_NEW_KEYS = Prepared(
    sa.select(sa.func.nextval(sa.func.pg_get_serial_sequence(_S.name, "id"))).select_from(
        sa.func.generate_series(1, sa.bindparam("count", type_=sa.Integer))
    )
)


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session that is about to be stored.

    Attributes
    ----------
    values : mapping
        Of `SESSION_VALUES`.
    trials : sequence of sequences
        Values of `TRIAL_VALUES`.
    place : tuple
        Key of the row of ``places_taken`` that it adds one to.
    images_shown : mapping
        What it adds to the rows of ``images_shown``, by their key.
    """

    values: Mapping[str, Any]
    trials: Sequence[Sequence[Any]]
    place: tuple[bool, str]
    images_shown: Mapping[tuple[bool, str, str, str], int]


def new_keys(connection: Connection, count: int) -> list[int]:
    """Keys for sessions that will be stored on PostgreSQL; nobody else gets them."""
    return [int(key) for (key,) in _NEW_KEYS.all(connection, count=count)]


def store_session(connection: Connection, session: NewSession) -> int:
    """Store one session under the key that the database gives it, and return that."""
    values = {f"{NEW}{name}": session.values[name] for name in SESSION_VALUES}
    key = int(_SESSION.all(connection, **values)[0][0])
    _store_what_belongs_to(connection, {key: session})
    return key


def store_sessions(connection: Connection, sessions: Mapping[int, NewSession]) -> None:
    """Store sessions under the keys that `new_keys` gave.

    Parameters
    ----------
    connection : Connection
    sessions : mapping of int to NewSession
        By key.
    """
    rows = [(key, *(session.values[name] for name in SESSION_VALUES)) for key, session in sessions.items()]
    _SESSIONS.insert(connection, rows)
    _store_what_belongs_to(connection, sessions)


def _store_what_belongs_to(connection: Connection, sessions: Mapping[int, NewSession]) -> None:
    places: Counter[tuple[bool, str]] = Counter()
    images: Counter[tuple[bool, str, str, str]] = Counter()
    for session in sessions.values():
        places[session.place] += 1
        images.update(session.images_shown)
    _TRIALS.insert(connection, [(key, *trial) for key, session in sessions.items() for trial in session.trials])
    _TAKEN.insert(connection, [(*key, times) for key, times in places.items()])
    _SHOWN.insert(connection, [(*key, times) for key, times in images.items()])
