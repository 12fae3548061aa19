"""A consistent copy of a study's database while it is served."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from evalkit.errors import InputError
from turing_test.database import schema as tables
from turing_test.database.copying import copy_tables
from turing_test.database.storage import Storage, as_unavailable, private_file

__all__ = ["back_up"]


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
    StorageUnavailable
        When the disk is full, or the database cannot be used.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; name a new file for --out, or delete it first.")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(8)}.part")
    try:
        private_file(partial)  # answers are nobody else's business; VACUUM fills an empty file
        with as_unavailable():
            if storage.is_sqlite:
                _vacuum_into(storage, partial)
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


def _vacuum_into(storage: Storage, path: Path) -> None:
    with storage.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        connection.rollback()  # VACUUM runs outside transactions
        raw.execute("VACUUM INTO ?", (str(path),))


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
            copy_tables(source, target)
    finally:
        copy.close()
