"""PostgreSQL through a pooler such as PgBouncer, which lends a connection to its server for one transaction at a time.

What a session was told at its beginning (how long to wait for a lock, that a commit is on disk) and statements that it has
prepared belong to a connection of the server, and the next transaction may get another one. So behind a pooler every
transaction brings its settings, and nothing is prepared; without one, each connection is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

__all__ = ["Settings"]


class Settings:
    """What PostgreSQL is told, each connection once, or behind a pooler each transaction.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of psycopg; its connections are made by this object from now on.
    values : mapping of str to str
        Settings by name, as ``pg_settings`` shows them.

    Attributes
    ----------
    is_pooled : bool
        Whether a pooler was met; False as long as nothing is connected.
    """

    def __init__(self, engine: Engine, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self._options = " ".join(f"-c {name}={value}" for name, value in self._values.items())
        self.is_pooled = False
        self._is_known = False
        calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in self._values.items())
        self.statement = f"SELECT {calls}"
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "begin", self._begin)

    def _connect(self, dialect: Any, _record: object, arguments: Any, options: Mapping[str, Any]) -> Any:
        import psycopg

        if not self.is_pooled:
            try:
                connection = dialect.connect(*arguments, **options, options=self._options)
            except psycopg.OperationalError as error:
                # PgBouncer's words for what it cannot pass on to whichever connection a transaction will get.
                if "unsupported startup parameter" not in str(error):
                    raise
            else:
                if self._is_known or self._holds(connection):
                    self._is_known = True
                    return connection
                connection.close()  # the pooler was told to ignore what it cannot pass on
            self.is_pooled = True
        return dialect.connect(*arguments, **options, prepare_threshold=None)

    def _holds(self, connection: Any) -> bool:
        names = list(self._values)
        rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (names,)).fetchall()
        connection.rollback()
        return dict(rows) == self._values

    def _begin(self, connection: Connection) -> None:
        if self.is_pooled:
            connection.execute(sa.text(self.statement))
