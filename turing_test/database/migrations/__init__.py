"""How the tables came to be, version by version (alembic), so that a study survives an upgrade of the toolkit."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from evalkit.errors import InputError

__all__ = ["current_revision", "newest_revision", "upgrade"]

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps its context in a global, and a server may upgrade the databases of several studies at the same time."""


def _config() -> Config:
    config = Config()
    # Alembic reads the option with % interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def current_revision(connection: Connection) -> str | None:
    """Revision of the tables in the database; None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str:
    """Revision that this version of the toolkit works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def upgrade(connection: Connection) -> None:
    """Run the migrations that the database lacks, inside the caller's transaction.

    Raises
    ------
    InputError
        When the database is of a newer version of the toolkit.
    """
    config = _config()
    current = current_revision(connection)
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in revisions:
        raise InputError(
            f"the database has tables of revision {current}, which this version of the toolkit does not know (its newest "
            f"is {newest_revision()}); install the version that made the database, or a newer one."
        )
    if current == newest_revision():
        return  # without the lock: most databases are up to date, and one that hangs must not keep the others waiting
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")
