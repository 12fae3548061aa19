"""Fool rates of all methods of a study: the labelled layer above `analysis.statistics.fool_rate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
from analysis.statistics.crossed import Estimand, check_inference
from analysis.statistics.equivalence import equivalence
from analysis.statistics.fool_rate import CrossedMean, crossed_mean
from analysis.statistics.sensitivity import dprime
from analysis.study.rate_plot import draw_rates
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError, NoSuchResultError
from evalkit.plotting import chosen_axes
from evalkit.resampling.multiplicity import holm
from evalkit.wording import counted, unknown_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "VIGILANCE",
    "FoolRates",
    "MethodRate",
    "Scheme",
    "bootstrap_rate",
    "fool_rates",
    "no_evidence",
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
        p-value of equivalence with 50 % at the declared margin; NaN for ratings, and where nothing shows that people
        could tell any fake (see `note`).
    equivalence_p_holm : float
        The same, adjusted for all methods that have one.
    verdict_withheld : bool
        Whether `equivalence_p` is missing because nothing shows that people could tell any fake.
    note : str
        What a reader has to know; empty when there is nothing to say.
    subset : str
        ``all`` or ``after exclusions``.
    """

    method: str
    mean: CrossedMean | None
    paper: BootstrapDistribution | None = field(repr=False)
    n_trials: int
    vigilance_accuracy: float
    equivalence_p: float
    equivalence_p_holm: float = math.nan
    verdict_withheld: bool = False
    note: str = ""
    subset: str = "all"

    @property
    def is_vigilance(self) -> bool:
        """Whether this is the row of the vigilance trials, which are obvious fakes: what counts is how many were found."""
        return self.method == VIGILANCE

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
            "dprime_ci_low": float(dprime(mean.ci_high)) if mean and is_rate else math.nan,
            "dprime_ci_high": float(dprime(mean.ci_low)) if mean and is_rate else math.nan,
            "equivalence_p_holm": self.equivalence_p_holm,
            "subset": self.subset,
            "note": self.note,
        }


@dataclass(frozen=True, repr=False)
class FoolRates(Table[MethodRate]):
    """Fool rates of a study, highest first, vigilance last."""

    shown: ClassVar[tuple[str, ...]] = (
        "method", "fool_rate", "ci_low", "ci_high", "n_participants", "n_images", "n_trials", "vigilance_accuracy", "note",
    )  # fmt: skip

    def shown_title(self) -> str:
        """What was asked of people, and how sure the intervals are."""
        kinds = {record.mean.interval for record in self.records if record.mean}
        levels = {record.mean.confidence for record in self.records if record.mean}
        what = "Mean ratings" if kinds == {"linear-t"} else "Rates as fractions"
        return what + "".join(f", with {100 * level:g} % intervals" for level in sorted(levels))

    def plot(self, ax: Axes | None = None, *, target: float | None = None, margin: float = 0.05) -> Axes:
        """Draw every rate with its interval, as the report does.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            pyplot's current ones by default.
        target : float, optional
            What rates are compared with; by default that of the row ``truth``, else 50 %. Ratings have none.
        margin : float
            Half the width of the band of equivalence, as a fraction.

        Returns
        -------
        matplotlib Axes
            Those that were drawn on.

        Raises
        ------
        InputError
            If matplotlib is not installed.
        """
        axes = chosen_axes(ax)
        rating = any(record.mean is not None and record.mean.interval == "linear-t" for record in self.records)
        truth = [record.mean.estimate for record in self.records if record.method == "truth" and record.mean]
        own_target = None if rating else (truth[0] if truth else 0.5)
        draw_rates(axes, self.records, target=own_target if target is None else target, margin=margin, rating=rating)
        return axes

    def _named(self, key: object) -> MethodRate:
        """By method."""
        if not isinstance(key, str):
            raise InputError(f"rates[{key!r}]: give a method, rates['mine'], or a position")
        for record in self.records:
            if record.method == key:
                return record
        raise NoSuchResultError(f"in these rates {unknown_name('method', key, self._keys())}")

    def _keys(self) -> list[str]:
        return [record.method for record in self.records]


def fool_rates(
    trials: TrialTable | pd.DataFrame,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
    equivalence_margin: float = 0.05,
    subset: str = "all",
) -> FoolRates:
    """Rate of every method with the crossed interval, and the paper's bootstrap beside it.

    Parameters
    ----------
    trials : TrialTable or pandas.DataFrame
        Real-vs-fake, naturalness or rating trials, of a frame under the columns of a trial file; practice, vigilance and catch trials enter no rate.
    estimand : {"participants+images", "participants"}
        What the intervals generalise to.
    confidence : float
        Nominal coverage.
    equivalence_margin : float
        Around 50 %, as a fraction.
    subset : str
        Written into every row.

    Returns
    -------
    FoolRates
        Highest first; the row ``vigilance`` last where there are such trials.

    Raises
    ------
    InputError
        For a preference study, no scored test trials, or when no method has two participants and two images; where only
        some have too few, their row says so.
    """
    check_inference(estimand, confidence)
    trials = as_trials(trials)
    if trials.seeks_real:
        raise InputError(
            f"{trials.source} is a search for the real photo among {counted(trials.n_alternatives, 'image')}; it has shares against "
            "chance (choice_shares.csv), no fool rates, which are of two."
        )
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
        records.append(_method_rate(method, one, vigilance_accuracy(vigilance, one), **claim))
    if all(record.mean is None for record in records):
        first = test.of_method(records[0].method)
        raise InputError(
            f"{trials.source} row {first.row[0]}: method {records[0].method} ({counted(len(first), 'scored trial')}) cannot "
            f"be analysed{', nor can any other' if len(records) > 1 else ''}. {records[0].note}"
        )
    if trials.preset == "real-vs-fake":
        records = [_with_evidence(record, trials, records) for record in records]
        adjusted = holm([record.equivalence_p for record in records]).tolist()
        records = [replace(record, equivalence_p_holm=p) for record, p in zip(records, adjusted, strict=True)]
    records.sort(key=lambda record: -record.mean.estimate if record.mean else math.inf)
    if len(vigilance):
        name = VIGILANCE if VIGILANCE not in test.methods else "vigilance trials"
        accuracy = 1.0 - float(vigilance.value.mean())
        records.append(_method_rate(name, vigilance, accuracy, **claim))
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
    p = (
        math.nan
        if trials.preset != "real-vs-fake"
        else equivalence(mean.estimate, mean.std_error, mean.df, margin=margin).p_value
    )
    return MethodRate(
        method=name,
        mean=mean,
        paper=paper_bootstrap(trials),
        n_trials=len(trials),
        vigilance_accuracy=accuracy,
        equivalence_p=p,
        note="; ".join(filter(None, [mean.note, _informative_numbers(mean, is_rating)])),
        subset=subset,
    )


def _informative_numbers(mean: CrossedMean, is_rating: bool) -> str:
    """A warning where people with more trials answered otherwise, so that trials and people have different means."""
    if not abs(mean.participant_mean - mean.estimate) > mean.std_error:  # also where there is no standard error
        return ""
    of_people, of_trials = (
        (f"{mean.participant_mean:.2f}", f"{mean.estimate:.2f}")
        if is_rating
        else (f"{100 * mean.participant_mean:.1f} %", f"{100 * mean.estimate:.1f} %")
    )
    return (
        f"the mean of the participants' own means is {of_people}, more than a standard error from {of_trials} over trials: "
        "people with more trials answered otherwise, and it is for you to say which of the two is meant"
    )


def _with_evidence(record: MethodRate, trials: TrialTable, records: Sequence[MethodRate]) -> MethodRate:
    """Without its verdict on 50 % where nothing shows that people could have told any fake from a photo."""
    if math.isnan(record.equivalence_p):
        return record
    doubt = no_evidence(trials, record.method, records)
    if not doubt:
        return record
    note = "; ".join(filter(None, [record.note, f"no verdict on 50 %: {doubt}"]))
    return replace(record, equivalence_p=math.nan, verdict_withheld=True, note=note)


def no_evidence(trials: TrialTable, method: str, records: Sequence[MethodRate]) -> str:
    """Why a rate near 50 % may only say that nobody looked; empty where people showed that they can tell fakes.

    What counts are the vigilance and catch trials of the method's own participants; in a study without any, another
    method whose fool rate lies clearly below 50 %.

    Parameters
    ----------
    trials : TrialTable
        All trials of the study.
    method : str
        The method with the rate near 50 %.
    records : sequence of MethodRate
        Of all methods.
    """
    own = trials.of_method(method)
    checks = [trials.of_kind(kind) for kind in ("vigilance", "catch")]
    seen = [(kind, _of_people(kind, own)) for kind in checks if len(kind)]
    answered = [(str(kind["kind"][0]), of_own) for kind, of_own in seen if of_own is not None]
    if not answered:
        if any(other.mean is not None and other.mean.ci_high < 0.5 for other in records if other.method != method):
            return ""
        return "the study has no vigilance or catch trials of these people, and no other method lies clearly below it"
    for _, of_own in answered:
        try:
            if crossed_mean(of_own.value, of_own.design.one_image_per_trial(), estimand="participants").ci_high < 0.5:
                return ""
        except InputError:
            continue
    kind, of_own = answered[0]
    share = 100 * (1.0 - float(of_own.value.mean()))
    return f"{share:.0f} % of {len(of_own)} {kind} trials right is not clearly above chance"


def _of_people(checks: TrialTable, own: TrialTable) -> TrialTable | None:
    """The check trials of the participants of `own`; None when they had none."""
    theirs = np.isin(checks.design.participants, own.design.participants)[checks.design.participant]
    return checks.where(theirs) if theirs.any() else None


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
    low, high = exact.interval(confidence)
    return BootstrapSummary(mean=exact.mean, std_error=exact.std_error, ci_low=low, ci_high=high, n_resamples=0)


def _counts(trials: TrialTable) -> Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]] | None:
    """Fooled and all trials per participant, shape (P,) each; None where answers are fractions."""
    if trials.preset == "rating" or np.any((trials.value != 0) & (trials.value != 1)):
        return None
    person = trials.design.participant
    return np.bincount(person, trials.value).astype(np.int64), np.bincount(person).astype(np.int64)
