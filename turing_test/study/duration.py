"""How long a session takes: the number that participants are told, and that payment per hour follows from."""

from __future__ import annotations

import math

from evalkit.wording import counted
from turing_test.study.protocol import Protocol

__all__ = ["duration_sentence", "session_minutes"]

ANSWER_MS = 1500
"""How long people think about a trial, for the duration that is announced; Zhang et al. set no limit."""

UNTIMED_MS = 5000
"""How long they look and think where images stay until the answer, for the same purpose."""

BREAK_S = 30
"""How long they rest, unless a break is shorter."""


def session_minutes(protocol: Protocol) -> int:
    """Whole minutes that a session takes, answers included, rounded up."""
    n_exposures = 2 if protocol.sequential else 1
    if protocol.limit_ms == math.inf:
        exposures = float(UNTIMED_MS)
    else:
        exposures = n_exposures * (protocol.limit_ms + protocol.mask_ms) + protocol.gap_ms
        exposures += ANSWER_MS if protocol.answer_ends else protocol.answer_delay_ms + ANSWER_MS
    n_breaks = sum(map(protocol.has_break_before, range(1, protocol.session_trials + 1)))
    total = protocol.session_trials * (protocol.blank_ms + exposures) + protocol.practice_trials * protocol.feedback_ms
    total += 1000 * n_breaks * min(BREAK_S, protocol.break_allowed_s)
    return max(1, math.ceil(total / 60_000))


def duration_sentence(protocol: Protocol) -> str:
    """How long a session takes, and what the reward, where one is stated, comes to per hour.

    Examples
    --------
    >>> duration_sentence(Protocol())
    'about 5 minutes per participant'
    >>> duration_sentence(Protocol(reward="1.50 GBP"))
    'about 5 minutes per participant, so that a reward of 1.50 GBP is 18.00 GBP per hour'
    """
    minutes = session_minutes(protocol)
    said = f"about {counted(minutes, 'minute')} per participant"
    if not protocol.reward:
        return said
    amount, _, currency = protocol.reward.partition(" ")
    per_hour = f"{float(amount) * 60 / minutes:.2f} {currency}".rstrip()
    return f"{said}, so that a reward of {protocol.reward} is {per_hour} per hour"
