"""One-time links: an identity for participants who come without a platform."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions import clock
from turing_test.sessions.tokens import digest, new_token

__all__ = ["make_links"]


def make_links(storage: Storage, count: int, address: str) -> list[str]:
    """Make links that each admit one participant.

    Parameters
    ----------
    storage : Storage
    count : int
    address : str
        Where participants reach the server, for example ``https://study.example.org``.

    Returns
    -------
    list of str
        Complete addresses. Only digests are stored: lost links cannot be shown again.
    """
    tokens = [new_token() for _ in range(count)]
    rows = [{"token_hash": digest(token), "created_at": clock.now()} for token in tokens]

    def work(connection: Connection) -> None:
        connection.execute(sa.insert(tables.link), rows)

    storage.write(work)
    return [f"{address.rstrip('/')}/l/{token}" for token in tokens]
