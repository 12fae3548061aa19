"""Differences between the methods of a study, adjusted for their number: labels above `analysis.statistics.comparison`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from analysis.records import PairTable, Row
from analysis.statistics.bootstrap import probability_less
from analysis.statistics.comparison import Difference, OddsRatio, compare_designs, odds_ratio
from analysis.statistics.crossed import Estimand
from analysis.statistics.equivalence import equivalence
from analysis.statistics.omnibus import OmnibusTest, equal_means
from analysis.statistics.rank_comparison import Superiority, superiority_of_designs
from analysis.study.rates import VIGILANCE, paper_bootstrap
from analysis.trials.columns import TRUTH
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError
from evalkit.resampling.multiplicity import holm

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Comparison",
    "Comparisons",
    "MethodsTogether",
    "against_truth",
    "comparisons",
    "methods_together",
]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of ``comparisons.csv``.

    Attributes
    ----------
    method_a, method_b : str
        A minus B; with a baseline, B is the baseline.
    result : Difference or None
        None where it cannot be computed (see `note`).
    p_holm : float
        Adjusted for the family of all rows of the table; NaN without a test.
    equivalence_p, equivalence_p_holm : float
        p-value of equivalence of the two methods at the declared margin, and the same adjusted for the family.
    odds : OddsRatio or None
        Of rates: the odds of A over those of B.
    superiority : Superiority or None
        Of ratings: how often a rating of A is higher than one of B, by their order alone.
    superiority_p_holm : float
        Its p-value, adjusted for the family.
    probability_less : float
        P(A < B) of the paper's bootstrap, ties counting as no; not a p-value. NaN for methods that share participants.
    note : str
        What a reader has to know.
    subset : str
        ``all`` or ``after exclusions``.
    """

    method_a: str
    method_b: str
    result: Difference | None
    p_holm: float
    equivalence_p: float
    probability_less: float
    equivalence_p_holm: float = math.nan
    odds: OddsRatio | None = None
    superiority: Superiority | None = None
    superiority_p_holm: float = math.nan
    note: str = ""
    subset: str = "all"

    def row(self) -> Row:
        """Columns of ``comparisons.csv``."""
        result = self.result
        return {
            "method_a": self.method_a,
            "method_b": self.method_b,
            "difference": result.difference if result else math.nan,
            "std_error": result.std_error if result else math.nan,
            "ci_low": result.ci_low if result else math.nan,
            "ci_high": result.ci_high if result else math.nan,
            "df": result.df if result else math.nan,
            "p_value": result.p_value if result else math.nan,
            "p_holm": self.p_holm,
            "equivalence_p": self.equivalence_p,
            "equivalence_p_holm": self.equivalence_p_holm,
            "odds_ratio": self.odds.ratio if self.odds else math.nan,
            "odds_ratio_ci_low": self.odds.ci_low if self.odds else math.nan,
            "odds_ratio_ci_high": self.odds.ci_high if self.odds else math.nan,
            "superiority": self.superiority.probability if self.superiority else math.nan,
            "superiority_ci_low": self.superiority.ci_low if self.superiority else math.nan,
            "superiority_ci_high": self.superiority.ci_high if self.superiority else math.nan,
            "superiority_p": self.superiority.p_value if self.superiority else math.nan,
            "superiority_p_holm": self.superiority_p_holm,
            "probability_less_zhang2016": self.probability_less,
            "n_shared_participants": result.n_shared_participants if result else 0,
            "n_shared_images": result.n_shared_images if result else 0,
            "estimand": result.estimand if result else "",
            "subset": self.subset,
            "note": self.note,
        }


@dataclass(frozen=True, repr=False)
class Comparisons(PairTable[Comparison]):
    """Comparisons of a declared family: ``comparisons['mine', 'theirs']``, or by position."""

    title: ClassVar[str] = "Differences of rates, A minus B, as fractions; p adjusted for the family (Holm)"
    shown: ClassVar[tuple[str, ...]] = (
        "method_a", "method_b", "difference", "ci_low", "ci_high", "p_value", "p_holm", "note",
    )  # fmt: skip

    def blank_row(self) -> Row:
        """The columns of no comparison: of one method there is none."""
        return Comparison(
            method_a="", method_b="", result=None, p_holm=math.nan, equivalence_p=math.nan, probability_less=math.nan
        ).row()


def comparisons(
    trials: TrialTable | pd.DataFrame,
    *,
    baseline: str | None = None,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
    equivalence_margin: float = 0.05,
    subset: str = "all",
) -> Comparisons:
    """Image-paired two-way tests between methods, with Holm's adjustment.

    Parameters
    ----------
    trials : TrialTable or pandas.DataFrame
        Real-vs-fake, naturalness or rating trials.
    baseline : str
        Compare every other method (and the vigilance trials, outside the family) with this one; by default all pairs.
    estimand, confidence : see `analysis.statistics.comparison.compare`
        Claim and coverage.
    equivalence_margin : float
        For the equivalence of two methods.
    subset : str
        Written into every row.

    Returns
    -------
    Comparisons
        Empty for a single method.

    Raises
    ------
    InputError
        When the baseline is not a method of the study.
    """
    trials = as_trials(trials)
    test = trials.of_kind("test")
    methods = test.methods
    if baseline is not None and baseline not in methods:
        raise InputError(f"The baseline {baseline!r} is not a method of {trials.source}; it has {', '.join(methods)}.")
    pairs = [(m, baseline) for m in methods if m != baseline] if baseline else list(itertools.combinations(methods, 2))
    groups = {method: trials.of_method(method) for method in methods}
    papers = {method: paper_bootstrap(group) for method, group in groups.items()}
    claim: dict[str, Any] = {
        "estimand": estimand,
        "confidence": confidence,
        "margin": equivalence_margin,
        "subset": subset,
    }
    records = []
    for a, b in pairs:
        record = _compare(a, groups[a], b, groups[b], **claim)
        paper_a, paper_b = papers[a], papers[b]
        if paper_a and paper_b and record.result and record.result.n_shared_participants == 0:
            record = replace(record, probability_less=probability_less(paper_a, paper_b))
        records.append(record)
    adjusted = holm([record.result.p_value if record.result else math.nan for record in records])
    equal = holm([record.equivalence_p for record in records])
    by_order = holm([record.superiority.p_value if record.superiority else math.nan for record in records])
    records = [
        replace(record, p_holm=float(p), equivalence_p_holm=float(q), superiority_p_holm=float(r))
        for record, p, q, r in zip(records, adjusted, equal, by_order, strict=True)
    ]
    vigilance = trials.of_kind("vigilance")
    if baseline and len(vigilance):
        one = _compare(VIGILANCE, vigilance, baseline, groups[baseline], **claim)
        note = "; ".join(filter(None, [one.note, "not in the family of Holm's adjustment"]))
        records.append(replace(one, note=note))
    return Comparisons(tuple(records))


def _compare(
    name_a: str,
    a: TrialTable,
    name_b: str,
    b: TrialTable,
    *,
    estimand: Estimand,
    confidence: float,
    margin: float,
    subset: str,
) -> Comparison:
    try:
        result = compare_designs(a.value, a.design, b.value, b.design, estimand=estimand, confidence=confidence)
    except InputError as error:
        return Comparison(
            method_a=name_a,
            method_b=name_b,
            result=None,
            p_holm=math.nan,
            equivalence_p=math.nan,
            probability_less=math.nan,
            note=str(error),
            subset=subset,
        )
    p, by_order, odds = math.nan, None, None
    if a.preset == "rating":
        by_order = _by_order(a, b, estimand, confidence)
    else:
        odds = odds_ratio(a.value, a.design, b.value, b.design, estimand=estimand, confidence=confidence)
        p = equivalence(result.difference, result.std_error, result.df, margin=margin, target=0.0).p_value
    notes = [result.note.replace(" A ", f" {name_a} ").replace(" B ", f" {name_b} ")]
    if result.n_shared_images == 0 and name_a != VIGILANCE:
        notes.append(
            "no image was shown for both, so nothing of the images cancels: the interval is as wide as that of two "
            "separate sets of images"
        )
    return Comparison(
        method_a=name_a,
        method_b=name_b,
        result=result,
        p_holm=math.nan,
        equivalence_p=p,
        probability_less=math.nan,
        odds=odds,
        superiority=by_order,
        note="; ".join(filter(None, notes)),
        subset=subset,
    )


def _by_order(a: TrialTable, b: TrialTable, estimand: Estimand, confidence: float) -> Superiority | None:
    try:
        return superiority_of_designs(a.value, a.design, b.value, b.design, estimand=estimand, confidence=confidence)
    except InputError:  # all ratings are the same, or too few people: the difference of means says so
        return None


def against_truth(trials: TrialTable, **options: Any) -> Comparisons | None:
    """Every method against the photos themselves, where those were judged like a method.

    Parameters
    ----------
    trials : TrialTable
        A naturalness study or ratings; others have no such rows.
    **options
        Of `comparisons`.

    Returns
    -------
    Comparisons or None
        None without a method called ``truth``, or without another one.
    """
    methods = trials.of_kind("test").methods
    if trials.preset not in ("naturalness", "rating") or TRUTH not in methods or len(methods) < 2:
        return None
    return comparisons(trials, baseline=TRUTH, **options)


@dataclass(frozen=True, kw_only=True)
class MethodsTogether:
    """Whether any two methods of a study differ, in one test; the row of ``omnibus.csv``.

    Attributes
    ----------
    methods : tuple of str
        That were tested together.
    left_out : tuple of str
        Those that were not: the photos themselves, and methods that cannot enter.
    test : OmnibusTest
        Of equal rates (or mean ratings).
    note : str
        Why methods were left out, or why there is no test.
    subset : str
        ``all`` or ``after exclusions``.
    """

    methods: tuple[str, ...]
    left_out: tuple[str, ...]
    test: OmnibusTest
    note: str
    subset: str

    def row(self) -> Row:
        """Columns of ``omnibus.csv``."""
        return {
            "methods": "; ".join(self.methods),
            "left_out": "; ".join(self.left_out),
            "omnibus_f": self.test.statistic,
            "omnibus_df_numerator": self.test.df_numerator,
            "omnibus_df_denominator": self.test.df_denominator,
            "omnibus_p": self.test.p_value,
            "subset": self.subset,
            "note": self.note,
        }


def methods_together(
    trials: TrialTable, *, estimand: Estimand = "participants+images", subset: str = "all"
) -> MethodsTogether | None:
    """Test all methods at once, whether their rates (or mean ratings) are the same.

    Parameters
    ----------
    trials : TrialTable
        Real-vs-fake, naturalness or rating trials.
    estimand : {"participants+images", "participants"}
        What the claim generalises to.
    subset : str
        Written into the row.

    Returns
    -------
    MethodsTogether or None
        None below three methods: two have their comparison. Methods whose answers never vary, or with a single
        participant, are left out by name.
    """
    groups = {method: trials.of_method(method) for method in trials.of_kind("test").methods}
    reasons = {}
    if trials.preset != "real-vs-fake" and TRUTH in groups:
        reasons[TRUTH] = f"{TRUTH} stands for the photos themselves, with which every method is compared by itself"
    if len(groups) - len(reasons) < 3:
        return None
    for method, group in groups.items():
        if method in reasons:
            continue
        if group.design.n_participants < 2:
            reasons[method] = f"{method} has one participant"
        elif bool(np.ptp(group.value) == 0):
            reasons[method] = f"every answer of {method} is {group.value[0]:g}"
    tested = tuple(method for method in groups if method not in reasons)
    note = "; ".join(reasons.values())
    test = OmnibusTest.missing(len(tested) - 1)
    try:
        test = equal_means([(groups[method].value, groups[method].design) for method in tested], estimand=estimand)
    except InputError as error:
        note = "; ".join(filter(None, [note, str(error)]))
    return MethodsTogether(methods=tested, left_out=tuple(reasons), test=test, note=note, subset=subset)
