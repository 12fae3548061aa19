"""Looking after a study's data: a consistent copy while it is served, and deleting a participant."""

from __future__ import annotations

import secrets
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions.tokens import keyed_digest
from turing_test.study.study_folder import Study

__all__ = ["back_up", "find_person", "forget"]

CHUNK = 5000  # rows copied at once


def back_up(storage: Storage, out: Path) -> int:
    """Write a consistent copy of the database to a SQLite file, also while the study is served.

    Parameters
    ----------
    storage : Storage
        SQLite or PostgreSQL; the copy is SQLite, and can be served and exported like the original.
    out : Path
        A new file.

    Returns
    -------
    int
        Sessions in the copy.

    Raises
    ------
    InputError
        When the file exists.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; name a new file for --out, or delete it first.")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(8)}.part")
    try:
        if storage.is_sqlite:
            with storage.engine.connect() as connection:
                raw = connection.connection.driver_connection
                assert isinstance(raw, sqlite3.Connection)
                connection.rollback()  # VACUUM runs outside transactions
                raw.execute("VACUUM INTO ?", (str(partial),))
        else:
            _copy_to_sqlite(storage, partial)
        copy = Storage(f"sqlite:///{partial.resolve()}")
        try:
            sessions = copy.read(
                lambda connection: connection.execute(
                    sa.select(sa.func.count()).select_from(tables.session)
                ).scalar_one()
            )
        finally:
            copy.close()
        partial.replace(out)
        return int(sessions)
    finally:
        for leftover in (partial, *(partial.with_name(partial.name + end) for end in ("-wal", "-shm"))):
            leftover.unlink(missing_ok=True)


def _copy_to_sqlite(storage: Storage, path: Path) -> None:
    copy = Storage(f"sqlite:///{path.resolve()}")
    try:
        copy.upgrade()
        # One state of the database for all tables.
        with (
            storage.engine.connect().execution_options(isolation_level="REPEATABLE READ") as source,
            copy.engine.connect().execution_options(evalkit_begin="BEGIN IMMEDIATE") as target,
            target.begin(),
        ):
            for table in tables.metadata.sorted_tables:
                result = source.execution_options(yield_per=CHUNK).execute(sa.select(table))
                for rows in result.mappings().partitions():
                    target.execute(sa.insert(table), [dict(row) for row in rows])
    finally:
        copy.close()


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
