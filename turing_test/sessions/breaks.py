"""Breaks of the test: while somebody rests, the session does not count as idle."""

from __future__ import annotations

import sqlalchemy as sa

from turing_test.study.protocol import Protocol

__all__ = ["break_allowance"]


def break_allowance(position: sa.ColumnElement[int], protocol: Protocol) -> sa.ColumnElement[int] | int:
    """Seconds that a session may be silent at a position beyond what counts as idle, for a query of sessions.

    As `turing_test.study.protocol.Protocol.has_break_before` has it.
    """
    if not protocol.break_every:
        return 0
    into_test = position - protocol.practice_trials - 1
    is_at_break = (into_test > 0) & (into_test < protocol.shown_test_trials) & (into_test % protocol.break_every == 0)
    return sa.case((is_at_break, protocol.break_allowed_s), else_=0)
