"""Which methods can be told apart on one metric: those that share the first rank of a run, and every pair of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evalkit.arrays import BoolArray, FloatArray
from evalkit.metrics.base import SumMetric, exact_sum
from evalkit.resampling.intervals import jackknife_p_value
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.estimates import Estimate, leave_one_out_of

__all__ = ["LEVEL", "PairTest", "first_rank", "pair_tests"]

LEVEL = 0.05
"""A difference counts where its adjusted p-value is below this."""


def first_rank(estimates: Mapping[str, Estimate]) -> tuple[str, ...]:
    """Methods that share the first rank of one metric.

    All are scored on the images that all have (an infinite PSNR is nobody's gain); the best is compared with each other
    method by the t-ratio of the paired jackknife, adjusted by Holm for the number of methods beside it.

    Parameters
    ----------
    estimates : mapping of str to Estimate
        By method, of one metric on the same images.

    Returns
    -------
    tuple of str
        The best first; alone where it is better than every other beyond doubt. Empty where fewer than two methods are
        scored or the metric has no direction.
    """
    scored = {method: one for method, one in estimates.items() if not np.isnan(one.value)}
    metrics = [one.metric for one in scored.values()]
    if len(scored) < 2 or not isinstance(metrics[0], SumMetric) or metrics[0].better == "neither":
        return ()
    common = np.logical_and.reduce([np.isfinite(one.per_image) for one in scored.values()])
    if not common.any():
        return ()
    values = {method: _value_on(one, common) for method, one in scored.items()}
    without = {method: leave_one_out_of(one, common) for method, one in scored.items()}
    best = (max if metrics[0].better == "higher" else min)(values, key=values.__getitem__)
    others = [method for method in values if method != best]
    p_values = [
        _p_value(values[best] - values[other], without[best] - without[other], scored[best], scored[other], common)
        for other in others
    ]
    # A difference that nothing can be said about (a single image) is none.
    adjusted = np.nan_to_num(holm(p_values), nan=1.0)
    return (best, *(other for other, p in zip(others, adjusted, strict=True) if p >= LEVEL))


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """Two methods on one metric, paired over the images on which both have a finite value.

    Attributes
    ----------
    first, second : str
        Methods.
    n_images : int
        Images that carry both.
    difference : float
        First minus second on these images; NaN where there is none.
    p_value : float
        Two-sided, not adjusted; NaN where nothing can be tested.
    """

    first: str
    second: str
    n_images: int
    difference: float
    p_value: float


def pair_tests(estimates: Mapping[str, Estimate]) -> list[PairTest]:
    """Test every pair of methods on one metric, by the t-ratio of the paired jackknife as in `first_rank`.

    Parameters
    ----------
    estimates : mapping of str to Estimate
        By method, of one metric on the same images in the same order, from one run or from several.

    Returns
    -------
    list of PairTest
        In the order of the methods; empty for metrics of whole sets, which have no paired test.
    """
    tests = []
    # Pairs mostly share their images, and the leave-one-out values of a method are the same for all of these.
    leave_one_out: dict[tuple[str, bytes], FloatArray] = {}
    for (first, one), (second, two) in itertools.combinations(estimates.items(), 2):
        if not isinstance(one.metric, SumMetric):
            continue
        common = np.isfinite(one.per_image) & np.isfinite(two.per_image)
        difference = p_value = np.nan
        if common.any():
            difference = _value_on(one, common) - _value_on(two, common)
            without = []
            for method, estimate in ((first, one), (second, two)):
                key = (method, common.tobytes())
                if key not in leave_one_out:
                    leave_one_out[key] = leave_one_out_of(estimate, common)
                without.append(leave_one_out[key])
            p_value = _p_value(difference, without[0] - without[1], one, two, common)
        tests.append(
            PairTest(
                first=first, second=second, n_images=int(common.sum()), difference=difference, p_value=float(p_value)
            )
        )
    return tests


def _value_on(one: Estimate, images: BoolArray) -> float:
    """The value on some of the images; of metrics whose terms are too wide to keep, on all."""
    if one.terms is None or not isinstance(one.metric, SumMetric):
        return one.value
    return float(one.metric.score(exact_sum(one.terms[images])))


def _p_value(difference: float, leave_one_out: FloatArray, one: Estimate, two: Estimate, images: BoolArray) -> float:
    p_value = jackknife_p_value(difference, leave_one_out)
    # No test by swapping labels could give less where so few images differ, however even the differences are.
    n_differing = int(np.count_nonzero(one.per_image[images] != two.per_image[images]))
    return min(max(p_value, 2.0 ** (1 - n_differing)), 1.0) if p_value == p_value else p_value
