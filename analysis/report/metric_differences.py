"""Metric scores of methods against a baseline: paired differences, tests, and their adjustment for multiplicity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.records import Row
from analysis.statistics.comparison import mcnemar
from evalkit.arrays import FloatArray
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.score_comparison import Difference, compare_methods
from evalkit.scoring.score_folder import ScoreFolder

__all__ = ["MetricDifference", "metric_differences"]


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """One method against the baseline on one metric.

    Attributes
    ----------
    compared : Difference
        Method minus baseline, with its paired interval over images and the label-swap test.
    test : {"label swap", "McNemar"}
        McNemar's where every image is right or wrong (classification accuracy).
    p_value : float
        Of that test; NaN where the metric is unscored.
    p_holm : float
        Adjusted for all methods and metrics of the table, as `evalkit compare` does.
    cautions : tuple of str
        What a reader of the difference should know: of the run, of both methods, of both numbers.
    """

    compared: Difference
    test: str
    p_value: float
    p_holm: float
    cautions: tuple[str, ...] = ()

    @property
    def p_is_bound(self) -> bool:
        """Whether the p-values are at most what they say: no random swap went as far as what was observed."""
        return self.test == "label swap" and self.compared.is_at_floor

    def row(self) -> Row:
        """Columns of ``metric_differences.csv``."""
        return {
            "method": self.compared.other_method,
            "baseline": self.compared.method,
            "metric": self.compared.metric,
            "n_images": self.compared.n_images,
            "difference": self.compared.difference,
            "std_error": self.compared.std_error,
            "ci_low": self.compared.ci_low,
            "ci_high": self.compared.ci_high,
            "test": self.test,
            "p_value": self.p_value,
            "p_holm": self.p_holm,
            "p_is_bound": self.p_is_bound,
            "cautions": "; ".join(self.cautions),
        }


def metric_differences(
    scores: ScoreFolder, baseline: str, *, n_resamples: int = 2_000, seed: int = 0
) -> list[MetricDifference]:
    """Compare every method of a run with a baseline, metric by metric.

    Parameters
    ----------
    scores : ScoreFolder
        A run with its statistics.
    baseline : str
        One of its methods.
    n_resamples : int
        Bootstrap replicates of the interval; the test has `evalkit.resampling.swap_tests.N_SWAPS` label swaps.
    seed : int
        Not negative.

    Returns
    -------
    list of MetricDifference
        By method, then metric; all of them are one family of Holm's adjustment.

    Raises
    ------
    InputError
        As `evalkit.scoring.score_comparison.compare_methods`.
    """
    differences = compare_methods(scores.folder, baseline, n_bootstrap=n_resamples, seed=seed)
    tested = []
    for found in differences:
        mine = _right_or_wrong(scores, found.metric, found.other_method)
        theirs = _right_or_wrong(scores, found.metric, baseline)
        if mine is not None and theirs is not None and not math.isnan(found.difference):
            tested.append(("McNemar", mcnemar(int((mine > theirs).sum()), int((theirs > mine).sum())).p_value))
        else:
            tested.append(("label swap", found.p_value))
    adjusted = holm([p for _, p in tested])
    return [
        MetricDifference(
            compared=found,
            test=test,
            p_value=p,
            p_holm=float(p_holm),
            cautions=found.cautions,
        )
        for found, (test, p), p_holm in zip(differences, tested, adjusted, strict=True)
    ]


def _right_or_wrong(scores: ScoreFolder, metric: str, method: str) -> FloatArray | None:
    """The metric of each image, in name order, where it is 1 or 0 for all of them."""
    if metric not in scores.per_image:
        return None
    mine = scores.per_image["method"] == method
    order = np.argsort(scores.per_image["image"][mine])
    values: FloatArray = scores.per_image[metric][mine][order]
    return values if values.size and np.isin(values, (0.0, 1.0)).all() else None
