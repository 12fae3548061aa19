"""From the statistics of one method to its numbers: value, values of single images, interval, what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, FloatArray
from evalkit.errors import InputError, check_whole
from evalkit.metrics.base import ImageStatistics, Metric, SetMetric, SumMetric, exact_sum
from evalkit.metrics.blocks import BlockMetric
from evalkit.resampling.intervals import (
    Interval,
    interval,
    jackknife_interval,
    leave_one_out_scores,
    paired_ratio_interval,
    wilson_interval,
)
from evalkit.resampling.replicates import FEW_IMAGES, replicate_scores
from evalkit.wording import agree, counted

__all__ = ["Estimate", "check_n_bootstrap", "estimate", "intervals", "leave_one_out_of"]

PART = 512
"""Images whose class matrices are dense at a time: 3 MB with 313 classes, however many images there are."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One metric of one method.

    Attributes
    ----------
    metric : Metric
    value : float
        NaN where it is unscored.
    per_image : ndarray, shape (n,)
        The metric on each image alone; NaN where it has none.
    terms : ndarray, shape (n, k), or None
        Additive terms, where the interval comes from resampled sums of them.
    leave_one_out : ndarray, shape (n,), or None
        The value without each image, where the interval comes from these.
    n_scored : int
        Images that have a value, infinite ones included.
    n_images, n_pixels : int
        Images that carry the value, and their pixels.
    reason : str
        Why the value is missing, or what was left out of it; empty otherwise.
    """

    metric: Metric
    value: float
    per_image: FloatArray
    terms: npt.NDArray[np.generic] | None
    leave_one_out: FloatArray | None
    n_scored: int
    n_images: int
    n_pixels: int
    reason: str


def check_n_bootstrap(n_bootstrap: int) -> None:
    """Refuse numbers of replicates that give no interval; 0 leaves the intervals out."""
    check_whole("n_bootstrap", n_bootstrap)
    if n_bootstrap != 0 and n_bootstrap < 100:
        raise InputError(
            f"{counted(n_bootstrap, 'bootstrap replicate')} {agree(n_bootstrap, 'is', 'are')} too few for an interval; allowed: 0 or at least 100"
        )


def estimate(metric: Metric, statistics: ImageStatistics) -> Estimate:
    """Compute one metric from the statistics of one method."""
    n = len(statistics)
    terms = leave_one_out = None
    per_image = np.full(n, np.nan)
    if isinstance(metric, SetMetric):
        of_set = metric.set_score(statistics)
        value, leave_one_out = of_set.value, of_set.leave_one_out
        is_scored = np.full(n, not np.isnan(value))
        carries = is_scored
    elif isinstance(metric, SumMetric):
        if metric.interval != "jackknife":
            terms = metric.terms(statistics)
            value, per_image = float(metric.score(exact_sum(terms))), metric.per_image(statistics)
        else:
            value, per_image, leave_one_out = _in_parts(metric, statistics)
        is_scored = ~np.isnan(per_image)
        carries = np.isfinite(per_image)
    else:
        raise TypeError(f"metric {metric.name} is neither a SumMetric nor a SetMetric")
    return Estimate(
        metric=metric,
        value=value,
        per_image=per_image,
        terms=terms,
        leave_one_out=leave_one_out,
        n_scored=int(is_scored.sum()),
        n_images=int(carries.sum()),
        n_pixels=int(statistics.n_pixels[carries].sum()),
        reason=_reason(metric, statistics, is_scored, value),
    )


def _in_parts(metric: SumMetric, statistics: ImageStatistics) -> tuple[float, FloatArray, FloatArray]:
    """Value, values of single images and leave-one-out values of integer terms, one pair of columns per class: too wide
    to hold for all images at once."""  # noqa: D205, D209
    n = len(statistics)
    parts = [statistics.part(range(start, min(start + PART, n))) for start in range(0, n, PART)]
    total = np.sum([exact_sum(metric.terms(part)) for part in parts], axis=0)
    per_image, leave_one_out = [], []
    for part in parts:
        terms = metric.terms(part)
        per_image.append(metric.score(terms))
        leave_one_out.append(metric.score(total - terms))
    return float(metric.score(total)), np.concatenate(per_image), np.concatenate(leave_one_out)


def intervals(estimates: Sequence[Estimate], n_bootstrap: int, seed: int) -> list[Interval]:
    """Interval of each estimate of one method; one shared stream of image weights, so that all replicates are paired.

    Shares of images that are right or wrong have Wilson's interval, ratios of two such shares Bonett and Price's; numbers on
    fewer than 100 images, and those that replicates do not cover, the jackknife's with Student's t; the rest the
    percentiles of the bootstrap.

    Parameters
    ----------
    estimates : sequence of Estimate
        On the same images.
    n_bootstrap : int
        Replicates; 0 leaves the intervals out.
    seed : int
    """
    if n_bootstrap == 0:
        return [Interval.missing("no interval was asked for (--bootstrap 0)") for _ in estimates]
    resampled = [one for one in estimates if _is_resampled(one)]
    columns = [(one.terms, _sum_metric(one).score) for one in resampled if one.terms is not None]
    replicates = replicate_scores(columns, n_bootstrap, seed).T if columns else ()
    by_replicates = {id(one): interval(one.value, values) for one, values in zip(resampled, replicates, strict=True)}
    return [by_replicates.get(id(one)) or _closed_form(one) for one in estimates]


def _is_resampled(one: Estimate) -> bool:
    return (
        isinstance(one.metric, SumMetric)
        and one.metric.interval == "bootstrap"
        and one.terms is not None
        and one.n_images >= FEW_IMAGES
    )


def _sum_metric(one: Estimate) -> SumMetric:
    if not isinstance(one.metric, SumMetric):
        raise TypeError(f"{one.metric.name} is no SumMetric")
    return one.metric


def _closed_form(one: Estimate) -> Interval:
    if isinstance(one.metric, SetMetric):
        if one.leave_one_out is None:
            return Interval.missing("this metric has no interval")
        return jackknife_interval(one.value, one.leave_one_out)
    metric = _sum_metric(one)
    if metric.interval == "share" and one.terms is not None:
        right, answered = exact_sum(one.terms)
        return wilson_interval(int(right), int(answered))
    if metric.interval == "ratio of shares" and one.terms is not None:
        return paired_ratio_interval(one.terms[:, 0], one.terms[:, 1])
    return jackknife_interval(one.value, leave_one_out_of(one), scale=metric.scale)


def leave_one_out_of(one: Estimate, images: BoolArray | None = None) -> FloatArray:
    """The value without each image that carries it.

    Parameters
    ----------
    one : Estimate
    images : ndarray of bool, shape (n,), optional
        These images alone; by default those with a finite value.
    """
    if one.leave_one_out is not None:
        return one.leave_one_out
    if one.terms is None:
        return np.empty(0)
    chosen = np.isfinite(one.per_image) if images is None else images
    return leave_one_out_scores(one.terms[chosen], _sum_metric(one).score) if chosen.any() else np.empty(0)


def _reason(metric: Metric, statistics: ImageStatistics, is_scored: BoolArray, value: float) -> str:
    if isinstance(metric, BlockMetric) and metric.setup.reason:
        return f"unscored: {metric.setup.reason}"
    n = len(statistics)
    n_infinite = sum(int(np.isposinf(statistics.columns[name]).sum()) for name in metric.columns)
    n_unscored = n - int(is_scored.sum()) - n_infinite
    reasons = []
    if n_infinite:
        reasons.append(
            f"{n_infinite} of {counted(n, 'image')} {agree(n_infinite, 'is', 'are')} identical to the truth (infinite, counted apart)"
        )
    if n_unscored > 0:
        reasons.append(
            f"{n_unscored} of {counted(n, 'image')} {agree(n_unscored, 'is', 'are')} unscored ({metric.unscored_because})"
        )
    if np.isnan(value) and not reasons:
        reasons.append(f"unscored: {metric.undefined_because}")
    return "; ".join(reasons)
