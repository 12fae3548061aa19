"""Fool rates of all methods of a study: the labelled layer above `analysis.statistics.fool_rate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from analysis.records import Row, Table
from analysis.statistics.bootstrap import (
    BootstrapDistribution,
    BootstrapSummary,
    nested_bootstrap,
    nested_bootstrap_samples,
    pigeonhole_samples,
    pigeonhole_variance,
    summarise_samples,
)
from analysis.statistics.crossed import Estimand
from analysis.statistics.equivalence import equivalence
from analysis.statistics.fool_rate import CrossedMean, crossed_mean
from analysis.statistics.sensitivity import dprime
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError

__all__ = [
    "VIGILANCE",
    "FoolRates",
    "MethodRate",
    "Scheme",
    "bootstrap_rate",
    "fool_rates",
    "paper_bootstrap",
    "vigilance_accuracy",
]

VIGILANCE = "vigilance"
"""Name of the row of vigilance trials."""
Scheme = Literal["zhang2016", "participants", "pigeonhole"]


@dataclass(frozen=True, kw_only=True)
class MethodRate:
    """One row of the table of fool rates.

    Attributes
    ----------
    method : str
        Name; ``vigilance`` for the vigilance trials of all methods.
    mean : CrossedMean or None
        Estimate and interval; None where there are too few trials (see `note`).
    paper : BootstrapDistribution or None
        The bootstrap of Zhang et al.; None for ratings and where answers are fractions.
    n_trials : int
        Scored trials.
    vigilance_accuracy : float
        Share of vigilance trials found fake by the method's participants; NaN without any.
    equivalence_p : float
        p-value of equivalence with 50 % at the declared margin; NaN for ratings.
    note : str
        What a reader has to know; empty when there is nothing to say.
    subset : str
        ``all`` or ``after exclusions``.
    """

    method: str
    mean: CrossedMean | None
    paper: BootstrapDistribution | None
    n_trials: int
    vigilance_accuracy: float
    equivalence_p: float
    note: str = ""
    subset: str = "all"

    def row(self) -> Row:
        """Columns of ``fool_rates.csv``."""
        mean, paper = self.mean, self.paper
        low, high = paper.interval(mean.confidence) if paper and mean else (math.nan, math.nan)
        is_rate = mean is not None and mean.interval != "linear-t"
        return {
            "method": self.method,
            "fool_rate": mean.estimate if mean else math.nan,
            "std_error": mean.std_error if mean else math.nan,
            "ci_low": mean.ci_low if mean else math.nan,
            "ci_high": mean.ci_high if mean else math.nan,
            "df": mean.df if mean else math.nan,
            "std_error_zhang2016": paper.std_error if paper else math.nan,
            "ci_low_zhang2016": low,
            "ci_high_zhang2016": high,
            "n_participants": mean.n_participants if mean else 0,
            "n_images": mean.n_images if mean else 0,
            "n_trials": self.n_trials,
            "dprime": float(dprime(mean.estimate)) if mean and is_rate else math.nan,
            "vigilance_accuracy": self.vigilance_accuracy,
            "equivalence_p": self.equivalence_p,
            "estimand": mean.estimand if mean else "",
            "confidence": mean.confidence if mean else math.nan,
            "participant_mean": mean.participant_mean if mean else math.nan,
            "interval": mean.interval if mean else "",
            "subset": self.subset,
            "note": self.note,
        }


@dataclass(frozen=True)
class FoolRates(Table[MethodRate]):
    """Fool rates of a study, highest first, vigilance last."""

    def __getitem__(self, key: int | str) -> MethodRate:
        """By position or by method."""
        if isinstance(key, int):
            return self.records[key]
        for record in self.records:
            if record.method == key:
                return record
        raise KeyError(key)


def fool_rates(
    trials: TrialTable,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
    equivalence_margin: float = 0.05,
    strict: bool = True,
    subset: str = "all",
) -> FoolRates:
    """Rate of every method with the crossed interval, and the paper's bootstrap beside it.

    Parameters
    ----------
    trials : TrialTable
        Real-vs-fake, naturalness or rating trials; practice, vigilance and catch trials enter no rate.
    estimand : {"participants+images", "participants"}
        What the intervals generalise to.
    confidence : float
        Nominal coverage.
    equivalence_margin : float
        Around 50 %, as a fraction.
    strict : bool
        True refuses methods with a single participant (or image); False keeps their row with a note.
    subset : str
        Written into every row.

    Returns
    -------
    FoolRates
        Highest first; the row ``vigilance`` last where there are such trials.

    Raises
    ------
    InputError
        For a preference study, no scored test trials, or (strict) a method with too few trials, naming its row.
    """
    if trials.preset == "preference":
        raise InputError(f"{trials.source} is a preference study; it has a scale and a win matrix, no fool rates.")
    test, vigilance = trials.of_kind("test"), trials.of_kind("vigilance")
    if len(test) == 0:
        raise InputError(f"{trials.source} has no scored test trials; answers of kind test are needed.")
    claim: dict[str, Any] = {
        "estimand": estimand,
        "confidence": confidence,
        "margin": equivalence_margin,
        "subset": subset,
    }
    records = []
    for method in test.methods:
        one = trials.of_method(method)
        accuracy = vigilance_accuracy(vigilance, one)
        records.append(_method_rate(method, one, accuracy, strict=strict, **claim))
    records.sort(key=lambda record: -record.mean.estimate if record.mean else math.inf)
    if len(vigilance):
        name = VIGILANCE if VIGILANCE not in test.methods else "vigilance trials"
        accuracy = 1.0 - float(vigilance.value.mean())
        records.append(_method_rate(name, vigilance, accuracy, strict=False, **claim))
    return FoolRates(tuple(records))


def vigilance_accuracy(vigilance: TrialTable, trials: TrialTable) -> float:
    """Share of vigilance trials in which the participants of `trials` were right; NaN without any."""
    if not len(vigilance):
        return math.nan
    watched = np.isin(vigilance.design.participants, trials.design.participants)[vigilance.design.participant]
    return 1.0 - float(vigilance.value[watched].mean()) if watched.any() else math.nan


def _method_rate(
    name: str,
    trials: TrialTable,
    accuracy: float,
    *,
    estimand: Estimand,
    confidence: float,
    margin: float,
    strict: bool,
    subset: str,
) -> MethodRate:
    is_rating = trials.preset == "rating"
    try:
        mean = crossed_mean(
            trials.value,
            trials.design,
            scale="linear" if is_rating else "logit",
            estimand=estimand,
            confidence=confidence,
        )
    except InputError as error:
        if strict:
            raise InputError(
                f"{trials.source} row {trials.row[0]}: method {name} ({len(trials)} scored "
                f"{'trial' if len(trials) == 1 else 'trials'}) cannot be analysed. {error}"
            ) from error
        return MethodRate(
            method=name,
            mean=None,
            paper=None,
            n_trials=len(trials),
            vigilance_accuracy=accuracy,
            equivalence_p=math.nan,
            note=str(error),
            subset=subset,
        )
    p = math.nan if is_rating else equivalence(mean.estimate, mean.std_error, mean.df, margin=margin).p_value
    return MethodRate(
        method=name,
        mean=mean,
        paper=paper_bootstrap(trials),
        n_trials=len(trials),
        vigilance_accuracy=accuracy,
        equivalence_p=p,
        note=mean.note,
        subset=subset,
    )


def paper_bootstrap(trials: TrialTable) -> BootstrapDistribution | None:
    """The paper's bootstrap of one method's trials; None where answers are not all yes or no."""
    counts = _counts(trials)
    return nested_bootstrap(*counts) if counts else None


def bootstrap_rate(
    trials: TrialTable,
    scheme: Scheme,
    *,
    n_resamples: int = 0,
    seed: int = 0,
    confidence: float = 0.95,
) -> BootstrapSummary:
    """One method's rate bootstrapped by a scheme, to stand beside the headline interval.

    Parameters
    ----------
    trials : TrialTable
        Scored trials of one method.
    scheme : {"zhang2016", "participants", "pigeonhole"}
        Participants then their trials; participants only; participants and images independently.
    n_resamples : int
        0 for the exact distribution (pigeonhole: exact standard error, interval from 10,000 resamples), else seeded
        Monte Carlo with so many resamples.
    seed : int
        Seed of the generator.
    confidence : float
        Of the percentile interval.

    Returns
    -------
    BootstrapSummary
        ``n_resamples`` is 0 where nothing is random.

    Raises
    ------
    InputError
        Fractional answers where counts are needed.
    """
    if scheme == "pigeonhole":
        design = trials.design
        samples = pigeonhole_samples(trials.value, design, n_resamples=n_resamples or 10_000, seed=seed)
        summary = summarise_samples(samples, confidence=confidence)
        return (
            summary if n_resamples else replace(summary, std_error=math.sqrt(pigeonhole_variance(trials.value, design)))
        )
    counts = _counts(trials)
    if counts is None:
        raise InputError(f"The bootstrap {scheme} needs answers that are yes or no; {trials.source} has fractions.")
    nested = scheme == "zhang2016"
    if n_resamples:
        samples = nested_bootstrap_samples(*counts, n_resamples=n_resamples, seed=seed, resample_trials=nested)
        return summarise_samples(samples, confidence=confidence)
    exact = nested_bootstrap(*counts, resample_trials=nested)
    return BootstrapSummary(exact.mean, exact.std_error, *exact.interval(confidence), n_resamples=0)


def _counts(trials: TrialTable) -> Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]] | None:
    """Fooled and all trials per participant, shape (P,) each; None where answers are fractions."""
    if trials.preset == "rating" or np.any((trials.value != 0) & (trials.value != 1)):
        return None
    person = trials.design.participant
    return np.bincount(person, trials.value).astype(np.int64), np.bincount(person).astype(np.int64)
