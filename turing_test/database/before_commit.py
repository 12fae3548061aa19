"""What a transaction has put off, and does all at once before it ends."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Transaction

__all__ = ["do_before_commit", "finish"]

_KEY = "evalkit_before_commit"

Action = Callable[[], None]


def do_before_commit(connection: Connection, action: Action) -> None:
    """Let the transaction that is under way run an action before it is committed; it never runs if that is rolled back."""
    transaction, actions = _put_off(connection)
    connection.info[_KEY] = transaction, [*actions, action]


def finish(connection: Connection) -> None:
    """Run what the transaction has put off, in order."""
    _, actions = _put_off(connection)
    connection.info.pop(_KEY, None)
    for action in actions:
        action()


def _put_off(connection: Connection) -> tuple[Transaction | None, list[Action]]:
    """The connection's transaction, and its actions; those of one that ended otherwise are nobody's."""
    current = connection.get_transaction()
    transaction, actions = connection.info.get(_KEY, (None, []))
    return current, actions if transaction is current else []
