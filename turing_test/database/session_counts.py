"""How many sessions a database holds, asked before a study is changed: no table is made or upgraded for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from evalkit.errors import InputError

__all__ = ["sessions_in_database", "sessions_in_file"]


def sessions_in_file(database: Path) -> tuple[int, int]:
    """Sessions of people and of simulated observers in a SQLite file; by the standard library alone.

    Raises
    ------
    InputError
        When the file is no database.
    """
    if not database.exists():
        return 0, 0
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT simulated, count(*) FROM session GROUP BY simulated").fetchall()
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            return 0, 0
        raise InputError(f"{database}: cannot be read ({error}), so nothing was changed.") from None
    counts = {bool(simulated): count for simulated, count in rows}
    return counts.get(False, 0), counts.get(True, 0)


def sessions_in_database(url: str) -> tuple[int, int]:
    """The same, for a database with a URL.

    Raises
    ------
    InputError
        When it cannot be used now.
    """
    import sqlalchemy as sa

    from turing_test.database import schema as tables
    from turing_test.database.storage import Storage, StorageUnavailable

    def count(connection: sa.Connection) -> tuple[int, int]:
        if not sa.inspect(connection).has_table("session"):
            return 0, 0
        simulated = tables.session.c.simulated
        rows = connection.execute(sa.select(simulated, sa.func.count()).group_by(simulated)).all()
        counts = {bool(key): int(n) for key, n in rows}
        return counts.get(False, 0), counts.get(True, 0)

    storage = Storage(url, connections=1)
    try:
        return storage.read(count)
    except StorageUnavailable as error:
        raise InputError(f"{error} So nothing was changed.") from None
    finally:
        storage.close()
