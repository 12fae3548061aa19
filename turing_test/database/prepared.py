"""Statements compiled once: the few that run with every answer."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

__all__ = ["Prepared", "named"]


class Prepared:
    """A statement whose parameters are all named by ``sqlalchemy.bindparam``, run by the driver itself.

    SQLAlchemy keeps compiled statements, but finding one again costs more than SQLite needs to run it. Rows come as the
    driver gives them, as plain tuples: on SQLite, truth values are 0 and 1.

    Parameters
    ----------
    statement : sqlalchemy.sql.Executable
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def all(self, connection: Connection, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run it and fetch all rows."""
        cursor = self._execute(connection, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return rows

    def run(self, connection: Connection, **parameters: Any) -> None:
        """Run a statement that gives no rows."""
        self._execute(connection, parameters).close()

    def _execute(self, connection: Connection, parameters: dict[str, Any]) -> Any:
        dialect = connection.dialect.name
        if dialect not in self._compiled:
            compiled = self._statement.compile(dialect=connection.dialect)
            order = list(compiled.positiontup) if compiled.positional else None
            self._compiled[dialect] = (str(compiled), order, dict(compiled.params))
        text, order, constants = self._compiled[dialect]
        values = {**constants, **parameters}
        cursor = connection.connection.cursor()
        cursor.execute(text, values if order is None else [values[name] for name in order])
        return cursor


def named(*columns: sa.Column[Any]) -> dict[str, sa.BindParameter[Any]]:
    """Values of an UPDATE: each column from the parameter ``new_COLUMN`` (names of columns are taken)."""
    return {column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in columns}
