"""Does any metric predict what people say? Rank correlations over images and over methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.records import Row
from analysis.statistics.reliability import (
    CorrectedCorrelation,
    RankCorrelation,
    corrected_rank_correlation,
    rank_correlation,
)
from analysis.study.analysis import SubsetAnalysis
from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.metrics import load_metric
from evalkit.scoring.score_folder import ScoreFolder

__all__ = ["ImagePairs", "MetricAgreement", "best_metric", "image_pairs_of", "metric_agreement"]

MINIMUM_METHODS = 4
"""Fewer methods always agree perfectly with some metric."""


@dataclass(frozen=True, kw_only=True)
class MetricAgreement:
    """One metric against the fool rate.

    Attributes
    ----------
    metric : str
        Its name.
    over : str
        ``methods``, or ``images of METHOD``.
    correlation : RankCorrelation or CorrectedCorrelation
        Spearman's over methods; over images, with the correction for the noise of few answers.
    cautions : tuple of str
        What a reader of it should know: of the run, of the methods behind it, of their numbers.
    """

    metric: str
    over: str
    correlation: RankCorrelation | CorrectedCorrelation
    cautions: tuple[str, ...] = ()

    @property
    def observed(self) -> float:
        """With the rates as they were measured."""
        pairs = self.correlation
        return pairs.rho if isinstance(pairs, RankCorrelation) else pairs.observed

    @property
    def best_estimate(self) -> float:
        """Over images the corrected one."""
        pairs = self.correlation
        return pairs.rho if isinstance(pairs, RankCorrelation) else pairs.corrected

    def row(self) -> Row:
        """Columns of ``metric_agreement.csv``."""
        pairs = self.correlation
        ceiling = pairs.noise_ceiling if isinstance(pairs, CorrectedCorrelation) else math.nan
        return {
            "metric": self.metric,
            "over": self.over,
            "rank_correlation": self.observed,
            "noise_ceiling": ceiling,
            "corrected": math.nan if isinstance(pairs, RankCorrelation) else pairs.corrected,
            "ci_low": pairs.ci_low,
            "ci_high": pairs.ci_high,
            "n": pairs.n,
            "cautions": "; ".join(self.cautions),
        }


def metric_agreement(scores: ScoreFolder, study: SubsetAnalysis) -> list[MetricAgreement]:
    """Correlate every metric with fool rates, over methods and over the images of each method.

    Parameters
    ----------
    scores : ScoreFolder
        Metric scores.
    study : SubsetAnalysis
        Rates of methods, and the answers about each image.

    Returns
    -------
    list of MetricAgreement
        Pairs without a value on either side are left out and do not count in ``n``.
    """
    by_method = {record.method: record.mean.estimate for record in study.rates or () if record.mean}
    common = [method for method in scores.methods if method in by_method and method in study.trials.methods]
    agreement = []
    for metric in scores.metrics:
        if len(common) >= MINIMUM_METHODS:
            values = [
                scores.summary[method, metric].value if (method, metric) in scores.summary else np.nan
                for method in common
            ]
            correlation = rank_correlation(values, [by_method[method] for method in common])
            agreement.append(
                MetricAgreement(
                    metric=metric,
                    over="methods",
                    correlation=correlation,
                    cautions=scores.cautions_about(metric, common),
                )
            )
        for method in common if metric in scores.per_image else ():
            trials = study.trials.of_method(method)
            value = _by_image(scores, metric, method)
            x = np.array([value.get(str(image), np.nan) for image in trials.design.images])
            if np.isfinite(x).sum() > 1:
                corrected = corrected_rank_correlation(x, trials.value, trials.design.image)
                agreement.append(
                    MetricAgreement(
                        metric=metric,
                        over=f"images of {method}",
                        correlation=corrected,
                        cautions=scores.cautions_about(metric, (method,)),
                    )
                )
    return agreement


def best_metric(agreement: Sequence[MetricAgreement]) -> str:
    """The metric that orders images most as people do, in the direction in which it is meant; "" where none is shown to.

    It is one whose interval leaves out 0 on the right side for the images of every method, and of these the one with the
    highest mean; numbers that only describe (colourfulness) are none.
    """
    means: dict[str, float] = {}
    for metric in dict.fromkeys(entry.metric for entry in agreement):
        sign = _direction(metric)
        pairs = [entry.correlation for entry in agreement if entry.metric == metric and entry.over != "methods"]
        limits = [(pair.ci_low if sign > 0 else -pair.ci_high) for pair in pairs]
        if sign and pairs and all(limit > 0 for limit in limits):
            estimates = [
                entry.best_estimate for entry in agreement if entry.metric == metric and entry.over != "methods"
            ]
            means[metric] = float(np.mean([sign * estimate for estimate in estimates]))
    return max(means, key=lambda name: means[name], default="")


def _direction(metric: str) -> int:
    """1 where more is better, -1 where less is, 0 for descriptions and for metrics that are not installed."""
    try:
        better = load_metric(metric).better
    except InputError:
        return 0
    return {"higher": 1, "lower": -1}.get(better, 0)


def _by_image(scores: ScoreFolder, metric: str, method: str) -> dict[str, float]:
    own = scores.per_image["method"] == method
    return dict(zip(scores.per_image["image"][own].tolist(), scores.per_image[metric][own].tolist(), strict=True))


@dataclass(frozen=True)
class ImagePairs:
    """Images of one method that have both a metric's value and a rate.

    Attributes
    ----------
    images : tuple of str
        Names, in the order of the values.
    values, rates : float array, shape (n_images,)
        The metric in its own unit; the shrunken rate, 0 to 1.
    """

    images: tuple[str, ...]
    values: FloatArray
    rates: FloatArray

    def __len__(self) -> int:
        return len(self.images)


def image_pairs_of(scores: ScoreFolder, images: list[Row], metric: str, method: str) -> ImagePairs:
    """Metric value and shrunken rate of the images that have both."""
    value = _by_image(scores, metric, method) if metric in scores.per_image else {}
    rows = [row for row in images if row["method"] == method and str(row["image"]) in value]
    pairs = [(str(row["image"]), value[str(row["image"])], float(row["shrunken_rate"])) for row in rows]
    finite = [pair for pair in pairs if math.isfinite(pair[1]) and math.isfinite(pair[2])]
    return ImagePairs(
        images=tuple(pair[0] for pair in finite),
        values=np.array([pair[1] for pair in finite], dtype=np.float64),
        rates=np.array([pair[2] for pair in finite], dtype=np.float64),
    )
