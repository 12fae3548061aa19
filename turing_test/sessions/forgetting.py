"""Deleting a participant."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from evalkit.wording import agree, counted
from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.identifiers import Identifier, find_sessions
from turing_test.sessions.place_counters import release
from turing_test.sessions.turn import Turn
from turing_test.study.study_folder import Study

__all__ = ["NOTICED_WITHIN_S", "forget", "last_forgotten"]

NOTICED_WITHIN_S = 1.0
"""How long a running server may go on with what it read of somebody before (seconds)."""

_E = tables.event
_LAST_FORGOTTEN = Prepared(
    # Events of no session are few, and are found by their index.
    sa.select(sa.func.coalesce(sa.func.max(_E.c.id), 0)).where(_E.c.session_id.is_(None), _E.c.kind == "forgotten")
)


def last_forgotten(connection: Connection) -> int:
    """A number that grows whenever somebody is forgotten; 0 before the first."""
    number: int = _LAST_FORGOTTEN.all(connection)[0][0]
    return number


def forget(storage: Storage, study: Study, identifier: Identifier) -> int:
    """Delete a participant: session, answers, display times, and the digest of the worker id.

    Parameters
    ----------
    storage : Storage
    study : Study
    identifier : Identifier
        Whatever the person or the platform can say.

    Returns
    -------
    int
        Trials that were deleted.

    Raises
    ------
    InputError
        When there is no such participant, or more than one.
    """

    def work(connection: Connection) -> int:
        storage.lock_assignment(connection)
        keys = find_sessions(connection, study, identifier)
        if not keys:
            raise InputError(f"{study.folder}: there is no {identifier}; nothing was deleted.")
        if len(keys) > 1:
            raise InputError(
                f"{study.folder}: {counted(len(keys), 'session')} {agree(len(keys), 'fits', 'fit')} {identifier}; name one by --label."
            )
        if storage.is_sqlite:  # overwrite what is deleted
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        release(connection, study, keys[0])
        Turn.end(connection)
        trials = connection.execute(sa.delete(tables.trial).where(tables.trial.c.session_id == keys[0])).rowcount
        connection.execute(sa.delete(tables.event).where(tables.event.c.session_id == keys[0]))
        connection.execute(sa.delete(tables.session).where(tables.session.c.id == keys[0]))
        connection.execute(sa.insert(tables.event).values(at=clock.now(), kind="forgotten"))
        return int(trials)

    deleted = storage.write(work)
    if storage.is_sqlite:  # the log before the deletion goes as well
        with storage.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            connection.rollback()
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return deleted
