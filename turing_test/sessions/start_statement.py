"""A new session with its trials and what it adds to the counters: on PostgreSQL one statement, on SQLite one call per table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.prepared import NEW, Prepared, PreparedRows, json_rows, named, rows_as_json
from turing_test.sessions.place_counters import ADD_TO_COUNTERS

__all__ = ["SESSION_VALUES", "TRIAL_VALUES", "store_start"]

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
"""Columns that its trials have, in the order in which `store_start` wants them."""

_NEW_SESSION = sa.insert(_S).values(named(*(_S.c[name] for name in SESSION_VALUES))).returning(_S.c.id)
_SESSION = Prepared(_NEW_SESSION)
_TRIALS = PreparedRows(_T, ["session_id", *TRIAL_VALUES])


def _at_once() -> Prepared:
    new = _NEW_SESSION.cte("new_session")
    rows = json_rows(_T, TRIAL_VALUES, "trials")
    trials = sa.insert(_T).from_select(
        ["session_id", *TRIAL_VALUES], sa.select(new.c.id, *(rows.c[name] for name in TRIAL_VALUES))
    )
    stored = [
        insert.returning(sa.literal_column("1")).cte(name)
        for name, insert in (
            ("new_trials", trials),
            ("taken", _TAKEN.on_postgresql("places_taken")),
            ("shown", _SHOWN.on_postgresql("images_shown")),
        )
    ]
    return Prepared(sa.select(new.c.id).add_cte(*stored))


_AT_ONCE = _at_once()


def store_start(
    connection: Connection,
    session: Mapping[str, Any],
    *,
    trials: Sequence[Sequence[Any]],
    places_taken: Sequence[Sequence[Any]],
    images_shown: Sequence[Sequence[Any]],
) -> int:
    """Store a session.

    Parameters
    ----------
    connection : Connection
    session : mapping
        Of `SESSION_VALUES`.
    trials : sequence of sequences
        Values of `TRIAL_VALUES`.
    places_taken, images_shown : sequence of sequences
        Rows of these tables, to be added to what is there.

    Returns
    -------
    int
        Key of the session.
    """
    values = {f"{NEW}{name}": session[name] for name in SESSION_VALUES}
    if connection.dialect.name != "sqlite":
        rows = {
            "trials": rows_as_json(TRIAL_VALUES, trials),
            "places_taken": rows_as_json(tables.places_taken.columns.keys(), places_taken),
            "images_shown": rows_as_json(tables.images_shown.columns.keys(), images_shown),
        }
        return int(_AT_ONCE.all(connection, **values, **rows)[0][0])
    session_id = int(_SESSION.all(connection, **values)[0][0])
    _TRIALS.insert(connection, [(session_id, *trial) for trial in trials])
    _TAKEN.insert(connection, places_taken)
    _SHOWN.insert(connection, images_shown)
    return session_id
