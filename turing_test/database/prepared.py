"""Statements compiled once: the few that run with every answer or every start.

Why this exists: on SQLite, finding the session of a token takes 36 microseconds through SQLAlchemy's ``execute`` and 6.8
by a `Prepared`, and every answer needs three such statements while all others wait for the one writer. On PostgreSQL, many
rows at once (`PreparedRows`) save a message for each. SQLAlchemy still writes the statements, for both databases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["NEW", "Prepared", "PreparedRows", "named"]

NEW = "new_"
"""What the parameters of `named` begin with."""


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

    def each(self, connection: Connection, parameters: Sequence[dict[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """Run it with several sets of parameters and fetch all rows of each; in a pipeline all are sent first."""
        cursors = [self._execute(connection, values) for values in parameters]
        rows = [cursor.fetchall() for cursor in cursors]
        for cursor in cursors:
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


class PreparedRows:
    """An INSERT of many rows at once, by the driver itself: one statement on PostgreSQL, one call on SQLite.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns that each row has a value for, in the order of the table; the values are what JSON can hold.
    add_to : str, optional
        A column that is added to where there is a row of the same primary key.
    """

    def __init__(self, table: sa.Table, names: Sequence[str], add_to: str | None = None) -> None:
        self._table, self._names, self._add_to = table, tuple(names), add_to
        self._texts: dict[str, str] = {}

    def insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Run it."""
        dialect = connection.dialect
        if dialect.name not in self._texts:
            self._texts[dialect.name] = self._text(dialect)
        text = self._texts[dialect.name]
        cursor: Any = connection.connection.cursor()
        if dialect.name == "sqlite":
            cursor.executemany(text, rows)
        elif self._add_to is None:
            with cursor.copy(text) as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.execute(text, {"rows": _rows_as_json(self._names, rows)})
        cursor.close()

    def _text(self, dialect: sa.Dialect) -> str:
        """What PostgreSQL gets as COPY it reads with half of the work of JSON, but it cannot add."""
        if dialect.name == "sqlite":
            statement = self._adding(sqlite.insert(self._table))
            compiled: Any = statement.compile(dialect=dialect, column_keys=list(self._names))
            assert tuple(compiled.positiontup) == self._names
            return str(compiled)
        if self._add_to is None:
            quote = dialect.identifier_preparer.quote
            return f"COPY {quote(self._table.name)} ({', '.join(map(quote, self._names))}) FROM STDIN"
        # As JSON the driver converts no single value, and the server reads the types from the table.
        parameter = sa.cast(sa.bindparam("rows", type_=sa.Text), postgresql.JSON)
        populated = sa.func.json_populate_recordset(sa.literal_column(f"NULL::{self._table.name}"), parameter)
        columns = (sa.column(name, self._table.c[name].type) for name in self._names)
        rows = populated.table_valued(*columns).alias("new_rows")
        selected = sa.select(*(rows.c[name] for name in self._names))
        return str(
            self._adding(postgresql.insert(self._table).from_select(self._names, selected)).compile(dialect=dialect)
        )

    def _adding(self, insert: Any) -> Any:
        name = self._add_to
        if name is None:
            return insert
        total = {name: self._table.c[name] + insert.excluded[name]}
        return insert.on_conflict_do_update(index_elements=list(self._table.primary_key.columns), set_=total)


def _rows_as_json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    content = [dict(zip(names, row, strict=True)) for row in rows]
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def named(*columns: sa.Column[Any]) -> dict[str, sa.BindParameter[Any]]:
    """Values of an UPDATE for `Prepared.update`: each column from a parameter of its own.

    SQLAlchemy keeps the names of columns for itself, hence the prefix.
    """
    return {column.name: sa.bindparam(f"{NEW}{column.name}", type_=column.type) for column in columns}
