"""All rows of one database into another, between SQLite and PostgreSQL in both directions."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables

__all__ = ["copy_tables"]

CHUNK = 5000  # rows copied at once


def copy_tables(source: Connection, target: Connection) -> dict[str, int]:
    """Copy every table, inside the callers' transactions.

    Parameters
    ----------
    source : Connection
        In a transaction that sees one state of all tables.
    target : Connection
        With the same tables, empty.

    Returns
    -------
    dict of str to int
        Rows by table.
    """
    counts = {}
    for table in tables.metadata.sorted_tables:
        counts[table.name] = 0
        result = source.execute(sa.select(table).execution_options(yield_per=CHUNK))
        for rows in result.mappings().partitions():
            target.execute(sa.insert(table), [dict(row) for row in rows])
            counts[table.name] += len(rows)
        if target.dialect.name == "postgresql" and "id" in table.c:
            # Rows came with their keys, of which the table's own counter knows nothing.
            newest = sa.func.max(table.c.id)
            counter = sa.func.pg_get_serial_sequence(table.name, "id")
            target.execute(
                sa.select(sa.func.setval(counter, sa.func.coalesce(newest, 1), newest.is_not(None))).select_from(table)
            )
    return counts
