"""Statements compiled once: the few that run with every answer.

Why this exists: on SQLite, finding the session of a token takes 36 microseconds through SQLAlchemy's ``execute`` and 6.8
by a `Prepared`, and every answer needs three such statements while all others wait for the one writer. SQLAlchemy still
writes the statements, for both databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

__all__ = ["Prepared", "named"]

NEW = "new_"


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

    def update(self, connection: Connection, *, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Run an UPDATE.

        Parameters
        ----------
        connection : Connection
        row : mapping
            Which row: values of the statement's own parameters.
        values : mapping
            What it gets, by column; the statement names them with `named`.
        """
        self._execute(connection, {**row, **{f"{NEW}{column}": value for column, value in values.items()}}).close()

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
    """Values of an UPDATE for `Prepared.update`: each column from a parameter of its own.

    SQLAlchemy keeps the names of columns for itself, hence the prefix.
    """
    return {column.name: sa.bindparam(f"{NEW}{column.name}", type_=column.type) for column in columns}
