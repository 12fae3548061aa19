"""People who press one button: by the share of their commonest answer and by the longest run; no arrays, so that a server can ask."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["STRAIGHT_LINING", "StraightLining", "straight_lining"]

STRAIGHT_LINING = 0.001
"""Chance below which a participant's answers are called nearly always the same."""


@dataclass(frozen=True)
class StraightLining:
    """How one-sided the answers of one participant are, whatever was right.

    Attributes
    ----------
    share : float
        Of the answer given most often.
    longest_run : int
        Answers of the same kind in a row, at most.
    chance : float
        Of a share or a run at least as extreme, were each answer drawn at random (one of two: by a coin): the smaller of
        the two, doubled.
    """

    share: float
    longest_run: int
    chance: float

    @property
    def is_flagged(self) -> bool:
        """Whether somebody who looks would hardly ever answer so."""
        return self.chance < STRAIGHT_LINING


def straight_lining(answers: Sequence[str], n_kinds: int = 2) -> StraightLining:
    """Find somebody who presses one button: by the share of the commonest answer and by the longest run.

    Where the real photo is first in half of the trials at random, answers of somebody who looks are near half and half
    and in no order, whether they are right or not; so this says nothing about who is hard to fool.

    Parameters
    ----------
    answers : sequence of str
        Answers in the order given; one at least.
    n_kinds : int
        How many kinds of answers there are to choose from, each as likely as any other for who does not look.

    Returns
    -------
    StraightLining

    Examples
    --------
    >>> straight_lining(["first"] * 20)
    StraightLining(share=1.0, longest_run=20, chance=3.814697265625e-06)
    """
    n = len(answers)
    commonest = max(Counter(answers).values())
    run = max(sum(1 for _ in same) for _, same in itertools.groupby(answers))
    tail = sum(math.comb(n, k) * (n_kinds - 1) ** k for k in range(n - commonest + 1))  # k are of other kinds
    by_share = min(n_kinds * tail / n_kinds**n, 1.0)
    by_run = min((n - run + 1) * float(n_kinds) ** (1 - run), 1.0)  # the union bound over where the run begins
    return StraightLining(commonest / n, run, min(2.0 * min(by_share, by_run), 1.0))
