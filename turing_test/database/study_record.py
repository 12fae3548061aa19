"""The one row that says which study a database belongs to, and whether its fool rates may be looked at."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, package_version
from turing_test.study.study_folder import Study

__all__ = ["register", "unlock", "unlocked_at"]

_R = tables.study


def register(storage: Storage, study: Study) -> None:
    """Write down which study a new database belongs to, and check it in one that was used before.

    Raises
    ------
    InputError
        When it belongs to another study, or the study was changed since the first answers.
    """
    identity = {
        "name": study.protocol.name, "manifest": study.manifest.digest, "protocol": study.protocol.digest,
    }  # fmt: skip

    def work(connection: Connection) -> None:
        storage.lock_assignment(connection)
        row = connection.execute(sa.select(_R)).mappings().first()
        if row is None:
            connection.execute(
                sa.insert(_R).values(**identity, id=1, version=package_version(), created_at=time.time())
            )
            return
        changed = [name for name, value in identity.items() if row[name] != value]
        if not changed:
            return
        if connection.execute(sa.select(sa.func.count()).select_from(tables.session)).scalar_one():
            what = {"name": "its name", "manifest": "its stimuli", "protocol": "its study file"}
            raise InputError(
                f"{study.folder}: the database holds sessions of the study {row['name']!r}, from which this one differs by "
                f"{' and '.join(what[name] for name in changed)}; serve the study as it was, or name another --database."
            )
        connection.execute(sa.update(_R).values(**identity, version=package_version(), unlocked_at=None))

    storage.write(work)


def unlocked_at(connection: Connection) -> float | None:
    """When the fool rates were first looked at (seconds since 1970); None while they are hidden."""
    at: float | None = connection.execute(sa.select(_R.c.unlocked_at)).scalar()
    return at


def unlock(storage: Storage) -> None:
    """Show fool rates from now on, and write down when: looking early is part of the record."""

    def work(connection: Connection) -> None:
        now = time.time()
        updated = connection.execute(sa.update(_R).where(_R.c.unlocked_at.is_(None)).values(unlocked_at=now))
        if updated.rowcount:
            connection.execute(sa.insert(tables.event).values(at=now, kind="unlocked"))

    storage.write(work)
