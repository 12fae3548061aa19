"""Ratings compared by their order alone: how often a rating of A beats one of B."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics.comparison import compare_designs, t_two_sided
from analysis.statistics.crossed import CrossedDesign, Estimand, Labels
from analysis.statistics.fool_rate import t_quantile
from evalkit.arrays import FloatArray
from evalkit.errors import InputError

__all__ = ["Superiority", "superiority", "superiority_of_designs"]


@dataclass(frozen=True, kw_only=True)
class Superiority:
    """Probability that a rating of A is higher than one of B, a tie counting half.

    Attributes
    ----------
    probability : float
        0.5 where neither is rated higher.
    std_error : float
        For the estimand; NaN where every rating of one method beats every one of the other.
    ci_low, ci_high : float
        t interval on the logit scale; 0 to 1 where there is no standard error.
    df : float
        Satterthwaite degrees of freedom.
    p_value : float
        Two-sided, against 0.5; not adjusted. NaN where there is no standard error.
    """

    probability: float
    std_error: float
    ci_low: float
    ci_high: float
    df: float
    p_value: float


def superiority(
    values_a: npt.ArrayLike,
    participant_a: Labels,
    image_a: Labels,
    values_b: npt.ArrayLike,
    participant_b: Labels,
    image_b: Labels,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> Superiority:
    """Mann-Whitney's statistic of two methods' ratings, for new participants and new images.

    It uses the order of the ratings only, so it does not take the step from 1 to 2 to be as long as that from 6 to 7.

    Parameters
    ----------
    values_a, values_b : array_like, shapes (n_a,) and (n_b,)
        Ratings.
    participant_a, participant_b, image_a, image_b : sequence
        Labels; the same label means the same participant or image in A and B.
    estimand : {"participants+images", "participants"}
        New people and new images (default), or new people on these images.
    confidence : float
        Nominal coverage.

    Returns
    -------
    Superiority
        For A against B.

    Raises
    ------
    InputError
        See `analysis.statistics.comparison.compare`.

    Notes
    -----
    With F_A and F_B the mid-distribution functions, the probability is the mean of F_B over the ratings of A, and its
    influence is that of mean F_B(a) - mean F_A(b): so the two-way variance of `compare`, applied to these placements, is
    its variance. One rating per person and the estimand ``participants`` make it Brunner and Munzel's test [1]_.

    References
    ----------
    .. [1] Brunner, Munzel, The nonparametric Behrens-Fisher problem, Biometrical Journal 2000.
    """
    return superiority_of_designs(
        np.asarray(values_a, dtype=np.float64),
        CrossedDesign.from_labels(participant_a, image_a),
        np.asarray(values_b, dtype=np.float64),
        CrossedDesign.from_labels(participant_b, image_b),
        estimand=estimand,
        confidence=confidence,
    )


def superiority_of_designs(
    a: FloatArray,
    design_a: CrossedDesign,
    b: FloatArray,
    design_b: CrossedDesign,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> Superiority:
    """`superiority` of values whose labels are numbered already."""
    placed_a, placed_b = _mid_distribution(b, a), _mid_distribution(a, b)
    probability = float(placed_a.mean())
    if np.ptp(placed_a) == 0 and np.ptp(placed_b) == 0 and probability in (0.0, 1.0):
        return Superiority(
            probability=probability, std_error=math.nan, ci_low=0.0, ci_high=1.0, df=math.nan, p_value=math.nan
        )
    if np.ptp(placed_a) == 0 and np.ptp(placed_b) == 0:
        raise InputError("All ratings of both methods are the same; their order needs ratings that differ.")
    placements = compare_designs(placed_a, design_a, placed_b, design_b, estimand=estimand, confidence=confidence)
    error, df = placements.std_error, placements.df
    centre = math.log(probability / (1.0 - probability))
    half = t_quantile(0.5 + confidence / 2, df) * error / (probability * (1.0 - probability))
    return Superiority(
        probability=probability,
        std_error=error,
        ci_low=1.0 / (1.0 + math.exp(half - centre)),
        ci_high=1.0 / (1.0 + math.exp(-half - centre)),
        df=df,
        p_value=t_two_sided((probability - 0.5) / error, df),
    )


def _mid_distribution(sample: FloatArray, at: FloatArray) -> FloatArray:
    """Share of `sample` below each value of `at`, plus half the share equal to it."""
    ordered = np.sort(sample)
    below = np.searchsorted(ordered, at, side="left")
    not_above = np.searchsorted(ordered, at, side="right")
    return np.asarray((below + not_above) / (2.0 * sample.size))
