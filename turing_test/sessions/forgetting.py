"""Deleting a participant."""

from __future__ import annotations

import sqlite3
import time

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions.tokens import keyed_digest
from turing_test.study.study_folder import Study

__all__ = ["find_person", "forget"]


def find_person(connection: Connection, study: Study, platform: str, worker: str) -> str | None:
    """Label of the session of a platform's worker; None when there is none."""
    label: str | None = connection.execute(
        sa.select(tables.session.c.label).where(
            tables.session.c.person_hash == keyed_digest(study.key, platform, worker)
        )
    ).scalar()
    return label


def forget(
    storage: Storage, study: Study, *, participant: str | None = None, platform: str = "", worker: str = ""
) -> int:
    """Delete a participant: session, answers, display times, and the digest of the worker id.

    Parameters
    ----------
    storage : Storage
    study : Study
    participant : str, optional
        ``participant`` or ``session`` of the exported table.
    platform, worker : str
        Or a platform's worker.

    Returns
    -------
    int
        Trials that were deleted.

    Raises
    ------
    InputError
        When there is no such participant.
    """

    def work(connection: Connection) -> int:
        label = find_person(connection, study, platform, worker) if participant is None else participant[1:]
        session_id = connection.execute(
            sa.select(tables.session.c.id).where(tables.session.c.label == (label or ""))
        ).scalar()
        if session_id is None:
            who = f"worker {worker!r} of {platform}" if participant is None else repr(participant)
            raise InputError(f"{study.folder}: there is no participant {who}; nothing was deleted.")
        if storage.is_sqlite:  # overwrite what is deleted
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        trials = connection.execute(sa.delete(tables.trial).where(tables.trial.c.session_id == session_id)).rowcount
        connection.execute(sa.delete(tables.event).where(tables.event.c.session_id == session_id))
        connection.execute(sa.delete(tables.session).where(tables.session.c.id == session_id))
        connection.execute(sa.insert(tables.event).values(at=time.time(), kind="forgotten"))
        return int(trials)

    deleted = storage.write(work)
    if storage.is_sqlite:  # the log before the deletion goes as well
        with storage.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            connection.rollback()
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return deleted
