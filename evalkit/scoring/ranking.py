"""Which methods of a table share its first rank: the best, and those that cannot be told apart from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evalkit.metrics.base import SumMetric, exact_sum
from evalkit.resampling.intervals import jackknife_p_value
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.estimates import Estimate, leave_one_out_of

__all__ = ["LEVEL", "first_rank"]

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
    metric = metrics[0]
    common = np.logical_and.reduce([np.isfinite(one.per_image) for one in scored.values()])
    if not common.any():
        return ()
    if metric.interval == "jackknife":
        values = {method: one.value for method, one in scored.items()}
    else:
        values = {
            method: float(metric.score(exact_sum(one.terms[common])))
            for method, one in scored.items()
            if one.terms is not None
        }
    without = {method: leave_one_out_of(one, common) for method, one in scored.items()}
    best = (max if metric.better == "higher" else min)(values, key=values.__getitem__)
    others = [method for method in values if method != best]
    # No test by swapping labels could give less on so few images, however even the differences are.
    floor = 2.0 ** (1 - int(common.sum()))
    p_values = [
        max(jackknife_p_value(values[best] - values[other], without[best] - without[other]), floor) for other in others
    ]
    # A difference that nothing can be said about (a single image) is none.
    adjusted = np.nan_to_num(holm(p_values), nan=1.0)
    return (best, *(other for other, p in zip(others, adjusted, strict=True) if p >= LEVEL))
