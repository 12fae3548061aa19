"""Choices among several images at once, taken apart into wins over the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.trials.columns import PLACES
from analysis.trials.trial_table import TrialTable
from evalkit.arrays import BoolArray, IntArray, TextArray

__all__ = ["as_pairs", "chosen_methods", "is_shown", "n_shown"]


def as_pairs(test: TrialTable) -> TrialTable:
    """Trials of a preference study with two methods each: a choice among N becomes N - 1 wins of the chosen one.

    Parameters
    ----------
    test : TrialTable
        Scored trials; those that show two methods stay as they are.

    Returns
    -------
    TrialTable
        Of each pair, the one in the earlier place is the first. Rows that come from one trial share its participant and image.

    Notes
    -----
    By Luce's choice axiom [1]_ the odds of choosing A rather than B do not depend on what else is shown, so that given one of
    the two is chosen, it is A with the probability of the Bradley-Terry model: worth of A / (worth of A + worth of B). The model
    fitted to the wins is hence consistent for the worths [2]_, and where all trials show the same methods its estimate is that
    of the full likelihood. The wins of one trial are not independent; they share a cell of participant and image, which the
    two-way sandwich takes for one observation.

    References
    ----------
    .. [1] R. D. Luce, "Individual Choice Behavior", Wiley 1959.
    .. [2] A. Khetan, S. Oh, "Data-driven Rank Breaking for Efficient Rank Aggregation", JMLR 17, 2016.
    """
    if test.n_alternatives == 2:
        return test
    shown = np.stack([test[name] for name in test.method_columns], axis=1)
    place = np.array([PLACES.index(answer) if answer in PLACES else -1 for answer in test["response"].tolist()])
    is_several = shown[:, 2] != ""
    trial, other = np.nonzero((shown != "") & is_several[:, None] & (np.arange(shown.shape[1]) != place[:, None]))
    row = np.concatenate([np.flatnonzero(~is_several), trial])
    order = np.argsort(row, kind="stable")
    row = row[order]
    pairs = test.take(row)
    n_plain = int((~is_several).sum())
    low = np.concatenate([np.zeros(n_plain, np.int64), np.minimum(other, place[trial])])[order]
    high = np.concatenate([np.ones(n_plain, np.int64), np.maximum(other, place[trial])])[order]
    won = np.concatenate([test.value[~is_several], (place[trial] < other).astype(np.float64)])[order]
    return replace(
        pairs,
        columns={
            **{name: column for name, column in pairs.columns.items() if name not in test.method_columns},
            "method_first": shown[row, low],
            "method_second": shown[row, high],
            "response": np.where(won == 0.5, "tie", np.where(won == 1.0, "first", "second")),
        },
        value=won,
    )


def chosen_methods(test: TrialTable) -> TextArray:
    """The method that each trial chose, shape (n,); "" for a tie."""
    chosen = np.full(len(test), "", dtype=test["method_first"].dtype)
    for place, name in zip(PLACES, test.method_columns, strict=False):
        chosen = np.where(test["response"] == place, test[name], chosen)
    return chosen


def is_shown(test: TrialTable, method: str) -> BoolArray:
    """Whether each trial shows the method, shape (n,)."""
    return np.asarray(np.any([test[name] == method for name in test.method_columns], axis=0))


def n_shown(test: TrialTable) -> IntArray:
    """Methods that each trial shows, shape (n,)."""
    return np.asarray(np.sum([test[name] != "" for name in test.method_columns], axis=0))
