"""Differences between the methods of a study, adjusted for their number: labels above `analysis.statistics.comparison`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from analysis.records import Row, Table
from analysis.statistics.bootstrap import probability_less
from analysis.statistics.comparison import Difference, compare
from analysis.statistics.crossed import Estimand
from analysis.statistics.equivalence import equivalence
from analysis.statistics.multiplicity import holm
from analysis.study.rates import VIGILANCE, paper_bootstrap
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError

__all__ = ["Comparison", "Comparisons", "comparisons"]


@dataclass(frozen=True)
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
    equivalence_p : float
        p-value of equivalence of the two methods at the declared margin.
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
    note: str = ""
    subset: str = "all"

    def row(self) -> Row:
        """Columns of ``comparisons.csv``."""
        found = self.result
        return {
            "method_a": self.method_a,
            "method_b": self.method_b,
            "difference": found.difference if found else math.nan,
            "std_error": found.std_error if found else math.nan,
            "ci_low": found.ci_low if found else math.nan,
            "ci_high": found.ci_high if found else math.nan,
            "df": found.df if found else math.nan,
            "p_value": found.p_value if found else math.nan,
            "p_holm": self.p_holm,
            "equivalence_p": self.equivalence_p,
            "probability_less_zhang2016": self.probability_less,
            "n_shared_participants": found.n_shared_participants if found else 0,
            "n_shared_images": found.n_shared_images if found else 0,
            "estimand": found.estimand if found else "",
            "subset": self.subset,
            "note": self.note,
        }


@dataclass(frozen=True)
class Comparisons(Table[Comparison]):
    """Comparisons of a declared family."""


def comparisons(
    trials: TrialTable,
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
    trials : TrialTable
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
    test = trials.of_kind("test")
    methods = test.methods
    if baseline is not None and baseline not in methods:
        raise InputError(f"The baseline {baseline!r} is not a method of {trials.source}; it has {', '.join(methods)}.")
    pairs = [(m, baseline) for m in methods if m != baseline] if baseline else list(itertools.combinations(methods, 2))
    groups = {method: test.where(test["method"] == method) for method in methods}
    papers = {method: paper_bootstrap(group) for method, group in groups.items()}
    records = []
    for a, b in pairs:
        record = _compare(a, groups[a], b, groups[b], estimand, confidence, equivalence_margin, subset)
        paper_a, paper_b = papers[a], papers[b]
        if paper_a and paper_b and record.result and record.result.n_shared_participants == 0:
            record = replace(record, probability_less=probability_less(paper_a, paper_b))
        records.append(record)
    adjusted = holm([record.result.p_value if record.result else math.nan for record in records])
    records = [replace(record, p_holm=float(p)) for record, p in zip(records, adjusted, strict=True)]
    vigilance = trials.of_kind("vigilance")
    if baseline and len(vigilance):
        one = _compare(
            VIGILANCE, vigilance, baseline, groups[baseline], estimand, confidence, equivalence_margin, subset
        )
        note = "; ".join(filter(None, [one.note, "not in the family of Holm's adjustment"]))
        records.append(replace(one, note=note))
    return Comparisons(tuple(records))


def _compare(
    name_a: str,
    a: TrialTable,
    name_b: str,
    b: TrialTable,
    estimand: Estimand,
    confidence: float,
    margin: float,
    subset: str,
) -> Comparison:
    try:
        found = compare(
            a.value,
            a["participant"],
            a["image"],
            b.value,
            b["participant"],
            b["image"],
            estimand=estimand,
            confidence=confidence,
        )
    except InputError as error:
        return Comparison(name_a, name_b, None, math.nan, math.nan, math.nan, str(error), subset)
    p = math.nan
    if a.preset != "rating":
        p = equivalence(found.difference, found.std_error, found.df, margin=margin, target=0.0).p_value
    note = found.note.replace(" A ", f" {name_a} ").replace(" B ", f" {name_b} ")
    return Comparison(name_a, name_b, found, math.nan, p, math.nan, note, subset)
