"""Which completed sessions the declared rules leave out: always derived from the answers, never stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.sessions.right_answers import is_right_answer
from turing_test.sessions.timing_flags import SUSPECT
from turing_test.study.protocol import Protocol

__all__ = ["broken_rule", "has_rules", "invalid_sessions", "rule_counts"]


def has_rules(protocol: Protocol) -> bool:
    """Whether a study declares any rule."""
    return any((protocol.vigilance_min, protocol.catch_pass, protocol.suspect_trials))


def broken_rule(protocol: Protocol, counts: Mapping[str, int]) -> str | None:
    """The declared rule that leaves a completed session out, in words; None when it counts.

    Parameters
    ----------
    protocol : Protocol
    counts : mapping of str to int
        Of the session, as `rule_counts` has them.
    """
    rules = (("vigilance", protocol.vigilance_min, protocol.vigilance_trials),
             ("catch", protocol.catch_pass, protocol.catch_trials))  # fmt: skip
    for kind, least, total in rules:
        if counts.get(kind, 0) < least:
            return f"fewer than {least} of {total} {kind} trials right"
    if 0 < protocol.suspect_trials <= counts.get("suspect", 0):
        return f"{protocol.suspect_trials} or more trials that no page of the study sends"
    return None


def rule_counts(connection: Connection, session_ids: Collection[int] | None = None) -> dict[int, dict[str, int]]:
    """What the rules ask for, by session (key); of some sessions, or of all completed ones.

    Returns
    -------
    dict
        Right answers by kind (``vigilance``, ``catch``), and under ``suspect`` the trials with a flag of
        `turing_test.sessions.timing_flags.SUSPECT`; what is absent is 0.
    """
    session, trial = tables.session.c, tables.trial.c
    is_right = trial.kind.in_(("vigilance", "catch")) & is_right_answer()
    is_suspect = sa.or_(*(trial.flags.contains(flag, autoescape=True) for flag in SUSPECT))
    query = (
        sa.select(
            trial.session_id,
            trial.kind,
            sa.func.sum(sa.case((is_right, 1), else_=0)),
            sa.func.sum(sa.case((is_suspect, 1), else_=0)),
        )
        .join_from(tables.trial, tables.session, session.id == trial.session_id)
        .where(trial.state == "answered", is_right | is_suspect)
        .group_by(trial.session_id, trial.kind)
    )
    query = query.where(session.state == "completed" if session_ids is None else session.id.in_(session_ids))
    counts: dict[int, dict[str, int]] = {}
    for key, kind, n_right, n_suspect in connection.execute(query):
        of_session = counts.setdefault(key, {})
        if n_right:
            of_session[kind] = int(n_right)
        if n_suspect:
            of_session["suspect"] = of_session.get("suspect", 0) + int(n_suspect)
    return counts


def invalid_sessions(connection: Connection, protocol: Protocol) -> set[int]:
    """Keys of completed sessions that a declared rule leaves out; empty without rules."""
    if not has_rules(protocol):
        return set()
    completed = connection.execute(
        sa.select(tables.session.c.id).where(tables.session.c.state == "completed")
    ).scalars()
    counts = rule_counts(connection)
    return {key for key in completed if broken_rule(protocol, counts.get(key, {})) is not None}
