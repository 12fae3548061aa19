"""Which completed sessions the declared rules leave out: always derived from the answers, never stored."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from analysis.trials.columns import is_fooled
from turing_test.database import schema as tables
from turing_test.study.protocol import Protocol

__all__ = ["broken_rule", "invalid_sessions", "right_answers"]


def broken_rule(protocol: Protocol, right: Mapping[str, int]) -> str | None:
    """The declared rule that leaves a completed session out, in words; None when it counts.

    Parameters
    ----------
    protocol : Protocol
    right : mapping of str to int
        Right answers of the session by kind (``vigilance``, ``catch``).
    """
    rules = (("vigilance", protocol.vigilance_min, protocol.vigilance_trials),
             ("catch", protocol.catch_pass, protocol.catch_trials))  # fmt: skip
    for kind, least, total in rules:
        if right.get(kind, 0) < least:
            return f"fewer than {least} of {total} {kind} trials right"
    return None


def right_answers(connection: Connection, session_id: int | None = None) -> dict[int, dict[str, int]]:
    """Right vigilance and catch answers by session (key) and kind; of one session, or of all completed ones."""
    session, trial = tables.session.c, tables.trial.c
    query = (
        sa.select(trial.session_id, trial.kind, sa.func.count())
        .join_from(tables.trial, tables.session, session.id == trial.session_id)
        .where(trial.kind.in_(("vigilance", "catch")), trial.state == "answered")
        .where(~is_fooled(trial.response, trial.real_position))
        .group_by(trial.session_id, trial.kind)
    )
    query = query.where(session.state == "completed" if session_id is None else session.id == session_id)
    counts: dict[int, dict[str, int]] = {}
    for key, kind, count in connection.execute(query):
        counts.setdefault(key, {})[kind] = count
    return counts


def invalid_sessions(connection: Connection, protocol: Protocol) -> set[int]:
    """Keys of completed sessions that a declared rule leaves out; empty without rules."""
    if not protocol.vigilance_min and not protocol.catch_pass:
        return set()
    completed = connection.execute(
        sa.select(tables.session.c.id).where(tables.session.c.state == "completed")
    ).scalars()
    right = right_answers(connection)
    return {key for key in completed if broken_rule(protocol, right.get(key, {})) is not None}
