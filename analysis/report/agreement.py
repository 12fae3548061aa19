"""Does any metric predict the fool rate? Rank correlations over images and over methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.records import Row
from analysis.report.score_folder import ScoreFolder
from analysis.statistics.reliability import RankCorrelation, rank_correlation
from analysis.study.rates import FoolRates
from evalkit.arrays import FloatArray

__all__ = ["MetricAgreement", "image_pairs_of", "metric_agreement"]

MINIMUM_METHODS = 4
"""Fewer methods always agree perfectly with some metric."""


@dataclass(frozen=True)
class MetricAgreement:
    """One metric against the fool rate.

    Attributes
    ----------
    metric : str
        Its name.
    over : str
        ``methods``, or ``images of METHOD``.
    correlation : RankCorrelation
        Spearman's, with interval and number of pairs.
    """

    metric: str
    over: str
    correlation: RankCorrelation

    def row(self) -> Row:
        """Columns of ``metric_agreement.csv``."""
        pairs = self.correlation
        return {
            "metric": self.metric,
            "over": self.over,
            "rank_correlation": pairs.rho,
            "ci_low": pairs.ci_low,
            "ci_high": pairs.ci_high,
            "n": pairs.n,
        }


def metric_agreement(scores: ScoreFolder, rates: FoolRates, images: list[Row]) -> list[MetricAgreement]:
    """Correlate every metric with fool rates, over methods and over the images of each method.

    Parameters
    ----------
    scores : ScoreFolder
        Metric scores.
    rates : FoolRates
        Fool rates of methods.
    images : list of rows
        Of `analysis.study.breakdowns.image_rows`; shrunken rates are used, raw ones of few answers are mostly noise.

    Returns
    -------
    list of MetricAgreement
        Pairs without a value on either side are left out and do not count in ``n``.
    """
    by_method = {record.method: record.mean.estimate for record in rates if record.mean}
    common = [method for method in scores.methods if method in by_method]
    agreement = []
    for metric in scores.metrics:
        if len(common) >= MINIMUM_METHODS:
            values = [
                scores.summary[method, metric].value if (method, metric) in scores.summary else np.nan
                for method in common
            ]
            correlation = rank_correlation(values, [by_method[method] for method in common])
            agreement.append(MetricAgreement(metric, "methods", correlation))
        for method in common:
            x, y = image_pairs_of(scores, images, metric, method)
            if x.size > 1:
                agreement.append(MetricAgreement(metric, f"images of {method}", rank_correlation(x, y)))
    return agreement


def image_pairs_of(scores: ScoreFolder, images: list[Row], metric: str, method: str) -> tuple[FloatArray, FloatArray]:
    """Metric value and shrunken rate of the images that have both."""
    if metric not in scores.per_image:
        return np.empty(0), np.empty(0)
    mine = scores.per_image["method"] == method
    value = dict(zip(scores.per_image["image"][mine].tolist(), scores.per_image[metric][mine].tolist(), strict=True))
    rows = [row for row in images if row["method"] == method and str(row["image"]) in value]
    x = np.array([value[str(row["image"])] for row in rows], dtype=np.float64)
    y = np.array([row["shrunken_rate"] for row in rows], dtype=np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    return x[keep], y[keep]
