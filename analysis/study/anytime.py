"""Intervals that hold however often one looks: stop when they leave out what would change the conclusion."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from analysis.records import Row
from analysis.statistics.sequential import betting_confidence_sequence
from analysis.trials.choices import as_pairs
from analysis.trials.trial_table import TrialTable
from evalkit.arrays import FloatArray, TextArray
from evalkit.errors import InputError

__all__ = ["AnytimeDifference", "AnytimeResults", "AnytimeSequence", "anytime_results"]


@dataclass(frozen=True, kw_only=True)
class AnytimeSequence:
    """One method's rate (preference: one pair's share) after every participant.

    Attributes
    ----------
    method : str
        Name; ``A over B`` for the share of A in a preference study.
    participants : ndarray of str, shape (P,)
        In the order of arrival.
    participant_mean, mean, ci_low, ci_high : ndarray of float64, shape (P,)
        Each one's own rate; mean of all so far; interval so far.
    """

    method: str
    participants: TextArray
    participant_mean: FloatArray
    mean: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray


@dataclass(frozen=True, kw_only=True)
class AnytimeDifference:
    """Difference of two rates at the last participant so far.

    Attributes
    ----------
    method_a, method_b : str
        A minus B.
    difference, ci_low, ci_high : float
        Means of participants' means, and the interval that holds at all times.
    """

    method_a: str
    method_b: str
    difference: float
    ci_low: float
    ci_high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.ci_low > 0 or self.ci_high < 0


@dataclass(frozen=True, kw_only=True)
class AnytimeResults:
    """All sequences of a study; they hold together, at all times, with the nominal confidence.

    Attributes
    ----------
    sequences : tuple of AnytimeSequence
        One per method or pair.
    differences : tuple of AnytimeDifference
        All pairs of methods, or every method against the baseline; none for preference studies.
    confidence : float
        That every statement is true at every look.
    """

    sequences: tuple[AnytimeSequence, ...]
    differences: tuple[AnytimeDifference, ...]
    confidence: float

    def rows(self) -> list[Row]:
        """Rows of ``anytime.csv``."""
        return [
            {
                "method": sequence.method,
                "n_participants": k + 1,
                "participant": sequence.participants[k],
                "participant_mean": sequence.participant_mean[k],
                "mean": sequence.mean[k],
                "ci_low": sequence.ci_low[k],
                "ci_high": sequence.ci_high[k],
            }
            for sequence in self.sequences
            for k in range(sequence.mean.size)
        ]

    def difference_rows(self) -> list[Row]:
        """Rows of ``anytime_differences.csv``."""
        return [
            {
                "method_a": entry.method_a,
                "method_b": entry.method_b,
                "difference": entry.difference,
                "ci_low": entry.ci_low,
                "ci_high": entry.ci_high,
                "is_sure": entry.is_sure,
            }
            for entry in self.differences
        ]


def anytime_results(trials: TrialTable, *, baseline: str | None = None, confidence: float = 0.95) -> AnytimeResults:
    """Betting confidence sequences of all methods of a study that may still be recruiting.

    Parameters
    ----------
    trials : TrialTable
        Answers so far; the first row of a participant says when he or she came. Those who are still answering count with
        the trials they have.
    baseline : str
        Compare every other method with this one; by default all pairs.
    confidence : float
        That all statements about all methods are true at all looks together: each sequence holds with
        1 - (1 - confidence) / number of methods, so differences need no further adjustment.

    Returns
    -------
    AnytimeResults
        About new participants on these images; the mean of participants' means.

    Raises
    ------
    InputError
        For ratings, which have no bounds, without scored test trials, or an unknown baseline.
    """
    if trials.preset == "rating":
        raise InputError(
            f"{trials.source} holds ratings; an interval for all times needs answers that are yes or no (or two to choose from)."
        )
    test = trials.of_kind("test")
    if len(test) == 0:
        raise InputError(f"{trials.source} has no scored test trials; answers of kind test are needed.")
    test = as_pairs(test)
    labels, value = _labels(test)
    methods = tuple(np.unique(labels).tolist())
    if baseline is not None and baseline not in test.methods:
        raise InputError(
            f"The baseline {baseline!r} is not a method of {trials.source}; it has {', '.join(test.methods)}."
        )
    each = 1.0 - (1.0 - confidence) / len(methods)
    sequences = {}
    for method in methods:
        own = labels == method
        people, first, code = np.unique(test["participant"][own], return_index=True, return_inverse=True)
        arrival = np.argsort(test.row[own][first], kind="stable")
        means = (np.bincount(code, value[own]) / np.bincount(code))[arrival]
        low, high = betting_confidence_sequence(means, confidence=each)
        sequences[method] = AnytimeSequence(
            method=method,
            participants=people[arrival],
            participant_mean=means,
            mean=np.cumsum(means) / np.arange(1, means.size + 1),
            ci_low=low,
            ci_high=high,
        )
    differences: list[AnytimeDifference] = []
    if trials.preset != "preference":
        pairs = itertools.combinations(methods, 2)
        for a, b in [(m, baseline) for m in methods if m != baseline] if baseline else pairs:
            one, two = sequences[a], sequences[b]
            differences.append(
                AnytimeDifference(
                    method_a=a,
                    method_b=b,
                    difference=float(one.mean[-1] - two.mean[-1]),
                    ci_low=float(one.ci_low[-1] - two.ci_high[-1]),
                    ci_high=float(one.ci_high[-1] - two.ci_low[-1]),
                )
            )
    return AnytimeResults(sequences=tuple(sequences.values()), differences=tuple(differences), confidence=confidence)


def _labels(test: TrialTable) -> tuple[TextArray, FloatArray]:
    """What each trial is about, and its value; of a preference study the pair, with the share of the first in the alphabet."""
    if test.preset != "preference":
        return test["method"], test.value
    swapped = test["method_first"] > test["method_second"]
    one = np.where(swapped, test["method_second"], test["method_first"])
    two = np.where(swapped, test["method_first"], test["method_second"])
    return np.char.add(np.char.add(one, " over "), two), np.where(swapped, 1.0 - test.value, test.value)
