"""Carrying a study's answers from one database to another, and removing them for a new start."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from evalkit.files import write_atomically
from turing_test.database import schema as tables
from turing_test.database.backup import back_up
from turing_test.database.copying import copy_tables
from turing_test.database.storage import Storage, as_unavailable
from turing_test.study.study_folder import MOVED, Study

__all__ = ["Moved", "move", "reset"]

Moved = dict[str, int]
"""Rows carried over, by table."""


def move(study: Study, source: Storage, target: Storage) -> Moved:
    """Carry everything from one database to another; the first is marked, so that no server uses it again.

    Parameters
    ----------
    study : Study
        No server may run: the caller holds the folder's lock.
    source, target : Storage
        SQLite or PostgreSQL, both with tables of this version; the target without answers.

    Returns
    -------
    dict of str to int

    Raises
    ------
    InputError
        When the target holds sessions or links, belongs to another study, or is the source.
    StorageUnavailable
        When either cannot be used; then nothing was moved.
    """
    if source.url == target.url:
        raise InputError("the answers are in that database already.")
    with as_unavailable(), source.connect_to_change() as reading, reading.begin():
        _keep_writers_off(reading)
        with target.connect_to_change() as writing, writing.begin():
            _refuse_used(writing, study)
            for table in tables.metadata.sorted_tables[::-1]:
                writing.execute(sa.delete(table))
            counts = copy_tables(reading, writing)
        reading.execute(sa.update(tables.study).values(admission="moved"))
        reading.execute(sa.insert(tables.event).values(at=time.time(), kind="moved", detail=shown_url(target)))
    _mark(study, source, target)
    return counts


def reset(study: Study, storage: Storage) -> Path:
    """Remove all answers of a study, after a copy of them was written.

    Parameters
    ----------
    study : Study
        No server may run: the caller holds the folder's lock.
    storage : Storage
        Unusable afterwards.

    Returns
    -------
    Path
        The copy.
    """
    copy = study.folder / f"before-reset-{_stamp()}.db"
    back_up(storage, copy)
    if storage.is_sqlite:
        storage.close()
        _sqlite_files(storage, lambda path: path.unlink(missing_ok=True))
    else:
        with as_unavailable(), storage.connect_to_change() as connection, connection.begin():
            tables.metadata.drop_all(connection)
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
        storage.close()
    return copy


def _refuse_used(target: Connection, study: Study) -> None:
    """What a target holds is deleted, so it must be nothing that anybody needs: no answers, no links that were sent out."""
    for table, name in ((tables.session, "sessions"), (tables.link, "one-time links")):
        if target.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():
            raise InputError(f"the target holds {name} already; name an empty database.")
    owner = target.execute(sa.select(tables.study.c.name, tables.study.c.manifest)).first()
    if owner is not None and (owner.name, owner.manifest) != (study.protocol.name, study.manifest.digest):
        raise InputError(f"the target belongs to the study {owner.name!r}; name an empty database.")


def shown_url(storage: Storage) -> str:
    """The database's URL without its password; of a file its whole path, which is true from every folder."""
    url = storage.url.set(drivername="sqlite" if storage.is_sqlite else "postgresql")
    if storage.is_sqlite and url.database:
        url = url.set(database=str(Path(url.database).resolve()))
    return url.render_as_string(hide_password=True)


def _keep_writers_off(connection: Connection) -> None:
    """SQLite's BEGIN IMMEDIATE has done it."""
    if connection.dialect.name != "sqlite":
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        connection.execute(sa.text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _mark(study: Study, source: Storage, target: Storage) -> None:
    """Say in the folder where the answers are, and put the old file out of the way."""
    marker = study.folder / MOVED
    if target.is_sqlite and Path(target.url.database or "").resolve() == study.database.resolve():
        marker.unlink(missing_ok=True)
    else:
        content: dict[str, Any] = {"to": shown_url(target), "at": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomically(marker, json.dumps(content, indent=1) + "\n")
    if source.is_sqlite:
        source.close()
        _sqlite_files(source, lambda path: path.exists() and path.rename(f"{path}.moved-{_stamp()}"))


def _sqlite_files(storage: Storage, work: Any) -> None:
    for end in (
        "-wal",
        "-shm",
        "",
    ):  # the file itself last: without it the others are never taken for those of a new one
        work(Path(f"{storage.url.database}{end}"))


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
