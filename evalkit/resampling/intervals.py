"""How sure a score is: intervals over images, from replicates or from leave-one-out scores.

References
----------
.. [1] Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
.. [2] Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 9(3), 1981.
.. [3] Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22(158), 1927.
.. [4] Bonett and Price, "Confidence intervals for a ratio of binomial proportions based on paired data", Statistics in
   Medicine 25(17), 2006.
.. [5] Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
   Statistics in Medicine 17(22), 1998.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.resampling.replicates import BLOCK_ELEMENTS, ScoreFunction, checked_terms, on_exact_grid, quietly
from evalkit.wording import counted

__all__ = [
    "Interval",
    "Scale",
    "abc_interval_ratio",
    "interval",
    "jackknife_error",
    "jackknife_interval",
    "jackknife_p_value",
    "leave_one_out_scores",
    "paired_difference",
    "paired_ratio_interval",
    "paired_share_difference_interval",
    "student_t_two_sided",
    "wilson_interval",
]

Scale = Literal["linear", "log", "logit"]

SCALES: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any], float, float]] = {
    "linear": (lambda x: x, lambda x: x, -math.inf, math.inf),
    "log": (np.log, np.exp, 0.0, math.inf),
    "logit": (lambda x: np.log(x / (1 - x)), lambda y: 1 / (1 + np.exp(-y)), 0.0, 1.0),
}
"""There, back, and the open range in which a score must lie."""

MAX_UNDEFINED = 0.25
"""Share of undefined replicates above which one image alone carries the number.

One image alone has weight 0 in 0.37 of replicates, two together in 0.13.
"""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How far a number may be off.

    Attributes
    ----------
    std_error : float
        Standard error; NaN where no interval can be given.
    low, high : float
        Ends of the interval, in the units of the estimate.
    n_undefined : int
        Replicates in which the number was undefined; they were left out.
    reason : str
        Why there is no interval, as a plain sentence; empty where there is one.
    """

    std_error: float
    low: float
    high: float
    n_undefined: int = 0
    reason: str = ""

    @classmethod
    def missing(cls, reason: str, n_undefined: int = 0) -> Interval:
        """No interval, and why."""
        return cls(std_error=math.nan, low=math.nan, high=math.nan, n_undefined=n_undefined, reason=reason)


def interval(
    estimate: float, replicates: npt.ArrayLike, level: float = 0.95, *, correct_bias: bool = False
) -> Interval:
    """Percentile interval from bootstrap replicates.

    Parameters
    ----------
    estimate : float
        The score of all images.
    replicates : array_like, shape (n_replicates,)
        Its replicates, one column of `replicate_scores`; NaN where undefined.
    level : float
        Nominal coverage, inside (0, 1).
    correct_bias : bool
        Shift the replicates so that their mean is the estimate, for scores that fall or rise with the number of
        distinct images. `jackknife_interval` covers better there.

    Returns
    -------
    Interval
        Width 0 where all replicates agree. NaN with a reason where the estimate is undefined or more than a
        quarter of the replicates are: then one image alone carries the number.

    Raises
    ------
    InputError
        For a level outside (0, 1).
    """
    _check_level(level)
    values = np.asarray(replicates, dtype=np.float64)
    defined = values[~np.isnan(values)]
    n_undefined = values.size - defined.size
    if math.isnan(estimate):
        return Interval.missing("The score itself is undefined.", n_undefined)
    if defined.size < 2 or n_undefined > MAX_UNDEFINED * values.size:
        return Interval.missing(
            f"Undefined in {n_undefined} of {counted(values.size, 'replicate')}: one image alone carries this number.",
            n_undefined,
        )
    # From the first replicate, so that equal replicates have a deviation of exactly 0.
    std_error = float(np.std(defined - defined[0], ddof=1))
    if std_error == 0 and math.isclose(defined[0], estimate, rel_tol=1e-9):
        return Interval(
            std_error=0.0, low=estimate, high=estimate, n_undefined=n_undefined
        )  # replicates agree to the grid of `TermMatrix` only
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    shift = float(defined.mean()) - estimate if correct_bias else 0.0
    return Interval(std_error=std_error, low=float(low) - shift, high=float(high) - shift, n_undefined=n_undefined)


def paired_difference(
    replicates_a: npt.ArrayLike,
    replicates_b: npt.ArrayLike,
    estimate_diff: float,
    level: float = 0.95,
    *,
    correct_bias: bool = False,
) -> Interval:
    """Interval of a difference of two scores on the same images.

    Parameters
    ----------
    replicates_a, replicates_b : array_like, shape (n_replicates,)
        Two columns of one call of `replicate_scores`: replicate r of both used the same weights.
    estimate_diff : float
        Score of *a* minus score of *b*.
    level, correct_bias
        As for `interval`.

    Returns
    -------
    Interval
        Exactly 0 wide at 0 for a column and itself.
    """
    a, b = np.asarray(replicates_a, dtype=np.float64), np.asarray(replicates_b, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(f"Paired replicates must come from one run, but there are {a.size} and {b.size}.")
    return interval(estimate_diff, a - b, level, correct_bias=correct_bias)


def leave_one_out_scores(terms: npt.NDArray[Any], score: ScoreFunction) -> FloatArray:
    """Score of all images but one, for each image.

    Parameters
    ----------
    terms : ndarray, shape (n_images, k)
        Additive terms, finite.
    score : callable
        Sums of shape (..., k) to scores of shape (...).

    Returns
    -------
    ndarray of float64, shape (n_images,)
        NaN where the score is undefined without that image.
    """
    exact = on_exact_grid(checked_terms(terms, "the score", None), 1)
    if len(exact) == 1:
        return np.array([np.nan])
    total = exact.sum(axis=0)
    rows = max(1, BLOCK_ELEMENTS // exact.shape[1])
    return np.concatenate([quietly(score, total - exact[i : i + rows]) for i in range(0, len(exact), rows)])


def jackknife_interval(
    estimate: float, leave_one_out: npt.ArrayLike, level: float = 0.95, *, scale: Scale = "linear"
) -> Interval:
    """Interval from leave-one-out scores: for few images, and for the class-rebalanced AuC with the truth's own shares.

    Parameters
    ----------
    estimate : float
        The score of all images.
    leave_one_out : array_like, shape (n_images,)
        From `leave_one_out_scores`; for a paired difference, the difference of two of them.
    level : float
        Nominal coverage, inside (0, 1).
    scale : {"linear", "log", "logit"}
        On which scale it is symmetric: for a positive number the logarithm, for a fraction the logit, so that it stays in
        its range. Where a score lies at the end of its range the linear scale is taken.

    Returns
    -------
    Interval
        Jackknife standard error and estimate +- t times it. NaN with a reason for a single image, or where the score
        is undefined without some image.

    Raises
    ------
    InputError
        For a level outside (0, 1).

    Notes
    -----
    Why not the bootstrap: the mean over the classes present moves with the rare classes that a sample happens to
    meet, in photos several at once. A replicate cannot meet a class that the sample missed, so its spread is a fifth
    too small, which no shift and no reading of its percentiles repairs. The jackknife recomputes the shares too, and
    in expectation its variance is at least (n - 1)/n times that of the score of n - 1 images, for any statistic
    ([2]_). There is no bias to correct: the estimate is unbiased for the expected score of n images, and that is the
    target, because the score falls as the set grows.

    Measured with ``benchmarks/bench_bootstrap.py --coverage``: 800 samples of n of 3,264 patches of 204 photos. Share
    (in %) of nominal 95 % intervals that hold the expected score at n, in brackets the score of the whole population,
    and SE over the true standard deviation; for gray, and for its paired difference to another photo's colours.

    ============================  =========  =========  ====  ===========  ===========  ====
    interval                      gray, 100  gray, 300  SE    paired, 100  paired, 300  SE
    ============================  =========  =========  ====  ===========  ===========  ====
    percentile                    55 (0)     52 (0)     0.79  89 (89)      92 (91)      0.80
    percentile, bias corrected    80 (0)     82 (0)     0.79  86 (87)      90 (90)      0.80
    basic                         52 (17)    48 (19)    0.79  80 (80)      84 (84)      0.80
    BCa                           29 (0)     16 (0)     0.79  82 (83)      87 (86)      0.80
    bootstrap, normal             85 (2)     86 (0)     0.79  85 (86)      89 (90)      0.80
    jackknife, normal             91 (8)     94 (7)     1.05  95 (94)      96 (96)      1.09
    jackknife, t (this)           96 (23)    96 (21)    1.05  97 (97)      98 (97)      1.09
    ============================  =========  =========  ====  ===========  ===========  ====

    On samples of 50 or 100 whole photos out of 204 it held in 90 to 97 %, the bias-corrected percentiles in 73 to 92 %.

    The degrees of freedom are those of the variance estimate by moments (Satterthwaite): 2 (sum u^2)^2 / (sum u^4 -
    (sum u^2)^2 / n), with u the deviations of the leave-one-out scores. They are few where few images carry the
    score. The floor of 4 made intervals up to 15 % narrower and cost at most 0.6 points of coverage.

    For plain means of few images, measured with 1,500 samples of n (coverage in %): normal values, n = 5, 10, 20, 50:
    94.7, 95.7, 95.3, 95.5, percentiles of the bootstrap 82.5, 90.5, 92.6, 93.7; log-normal values (standard deviation 1
    on the log scale), n = 5 and 10: 82.5 and 83.5, on the log scale 89.9 and 89.9, percentiles 72.0 and 78.0.
    """
    _check_level(level)
    scores = np.asarray(leave_one_out, dtype=np.float64)
    n_undefined = int(np.isnan(scores).sum())
    if math.isnan(estimate):
        return Interval.missing("The score itself is undefined.", n_undefined)
    if scores.size < 2 or n_undefined:
        return Interval.missing("One image alone carries this number.", n_undefined)
    error = jackknife_error(scores)
    if error.std_error == 0:
        return Interval(std_error=0.0, low=estimate, high=estimate)
    to_scale, from_scale, low_end, high_end = SCALES[scale]
    if scale != "linear" and not (low_end < min(estimate, scores.min()) and max(estimate, scores.max()) < high_end):
        return jackknife_interval(estimate, scores, level)
    on_scale = error if scale == "linear" else jackknife_error(to_scale(scores))
    center = float(to_scale(np.float64(estimate)))
    margin = _student_t_quantile((1 + level) / 2, on_scale.freedom) * on_scale.std_error
    return Interval(
        std_error=error.std_error, low=float(from_scale(center - margin)), high=float(from_scale(center + margin))
    )


@dataclass(frozen=True)
class JackknifeError:
    """Standard error of a score from its leave-one-out values, and the degrees of freedom that it has."""

    std_error: float
    freedom: float


def jackknife_error(leave_one_out: FloatArray) -> JackknifeError:
    """Standard error and degrees of freedom, of at least two scores that are all defined."""
    n = len(leave_one_out)
    # From the first score, so that equal scores have a deviation of exactly 0.
    deviations = leave_one_out - leave_one_out[0]
    squares = (deviations - deviations.mean()) ** 2
    total = float(squares.sum())
    if total == 0:
        return JackknifeError(0.0, n - 1.0)
    concentration = float(((squares / total) ** 2).sum()) - 1 / n
    freedom = min(max(2 / concentration, 4.0) if concentration > 0 else math.inf, n - 1.0)
    return JackknifeError(math.sqrt(total * (n - 1) / n), freedom)


def jackknife_p_value(estimate: float, leave_one_out: npt.ArrayLike) -> float:
    """Two-sided p-value of a paired difference against 0, from the t-ratio behind `jackknife_interval`.

    Returns
    -------
    float
        NaN for a single image or an undefined difference; 1 for a difference of exactly 0 on every image.
    """
    scores = np.asarray(leave_one_out, dtype=np.float64)
    if math.isnan(estimate) or scores.size < 2 or np.isnan(scores).any():
        return math.nan
    error = jackknife_error(scores)
    if error.std_error == 0:
        return 1.0 if estimate == 0 else 0.0
    return student_t_two_sided(estimate / error.std_error, error.freedom)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Interval of a share of 0/1 values (Wilson 1927, the score interval [3]_): never of width 0.

    Parameters
    ----------
    successes, n : int
        How many of n values are 1.
    level : float
        Nominal coverage, inside (0, 1).

    Returns
    -------
    Interval
        The standard error is half the width over the normal quantile, so that it is not 0 at 0 or 100 %.

    Examples
    --------
    >>> shares = wilson_interval(10, 20)
    >>> round(shares.low, 6), round(shares.high, 6)
    (0.299298, 0.700702)
    """
    _check_level(level)
    if n < 1:
        return Interval.missing("No image carries this share.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    low, high = _wilson_ends(successes, n, z)
    return Interval(std_error=(high - low) / (2 * z), low=low, high=high)


def _wilson_ends(successes: float, n: float, z: float) -> tuple[float, float]:
    middle = 2 * successes + z * z
    spread = z * math.sqrt(z * z + 4 * successes * (1 - successes / n))
    low, high = (middle - spread) / (2 * (n + z * z)), (middle + spread) / (2 * (n + z * z))
    # Exactly, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def paired_ratio_interval(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the ratio of two shares on the same images (Bonett and Price 2006 [4]_, from two Wilson intervals).

    Parameters
    ----------
    first, second : array_like of 0 and 1, shape (n,)
        Numerator and denominator of each image.
    level : float
        Nominal coverage, inside (0, 1).
    """
    _check_level(level)
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n_a, n_b, n_either, n_unlike = int(a.sum()), int(b.sum()), int((a | b).sum()), int((a ^ b).sum())
    if n_b == 0:
        return Interval.missing("No image carries this ratio.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    # Images that neither has say nothing about the ratio; one half-success each keeps the shares off 0 and 1.
    share_a, share_b = (n_a + 1) / (n_either + 2), (n_b + 1) / (n_either + 2)
    own = math.sqrt((1 - share_a) / (n_a + 1)) + math.sqrt((1 - share_b) / (n_b + 1))
    k = z * math.sqrt((n_unlike + 2) / ((n_a + 1) * (n_b + 1))) / own
    low_a, high_a = _wilson_ends(n_a, n_either, k)
    low_b, high_b = _wilson_ends(n_b, n_either, k)
    low, high = low_a / high_b, high_a / low_b if low_b > 0 else math.inf
    return Interval(std_error=(high - low) / (2 * z), low=low, high=high)


def paired_share_difference_interval(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the difference of two shares on the same images, second minus first (Newcombe 1998 [5]_, method 10).

    Square and add: the two Wilson intervals, with the correlation of the images between them.

    Parameters
    ----------
    first, second : array_like of 0 and 1, shape (n,)
    level : float
        Nominal coverage, inside (0, 1).

    Examples
    --------
    >>> never, always = [0] * 5, [1] * 5
    >>> between = paired_share_difference_interval(always, always)
    >>> between.low < 0 < between.high
    True
    """
    _check_level(level)
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n = len(a)
    if n < 1:
        return Interval.missing("No image carries this difference.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share_a, share_b = float(a.mean()), float(b.mean())
    (low_a, high_a), (low_b, high_b) = _wilson_ends(int(a.sum()), n, z), _wilson_ends(int(b.sum()), n, z)
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    odds = both * neither - only_a * only_b
    # The continuity correction of the paper, towards no correlation.
    phi = (max(odds - n / 2, 0) if odds > 0 else odds) / math.sqrt(product) if product else 0.0
    down = (share_b - low_b) ** 2 - 2 * phi * (share_b - low_b) * (high_a - share_a) + (high_a - share_a) ** 2
    up = (high_b - share_b) ** 2 - 2 * phi * (high_b - share_b) * (share_a - low_a) + (share_a - low_a) ** 2
    difference = share_b - share_a
    low, high = difference - math.sqrt(max(down, 0.0)), difference + math.sqrt(max(up, 0.0))
    return Interval(std_error=(high - low) / (2 * z), low=low, high=high)


def abc_interval_ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Closed-form bootstrap interval of one ratio of sums, without random numbers.

    The approximate bootstrap confidence (ABC) interval, which approximates BCa ([1]_, chapters 14 and 22). A
    plain mean is the ratio with a denominator of ones.

    Parameters
    ----------
    numerator, denominator : array_like, shape (n_images,)
        Terms of the ratio ``numerator.sum() / denominator.sum()``.
    level : float
        Nominal coverage, inside (0, 1).

    Returns
    -------
    Interval
        NaN with a reason where fewer than two images have a denominator.

    Raises
    ------
    InputError
        For arrays of different shapes, terms that are not finite, or a level outside (0, 1).
    """
    _check_level(level)
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if top.shape != bottom.shape or top.ndim != 1:
        raise InputError(f"Numerator and denominator have shapes {top.shape} and {bottom.shape}; (images,) is needed.")
    checked_terms(np.column_stack([top, bottom]), "the ratio", None)
    if np.count_nonzero(bottom) < 2 or bottom.sum() == 0:
        return Interval.missing("Fewer than two images carry this ratio.")
    n, normal = len(top), NormalDist()
    ratio = float(top.sum() / bottom.sum())
    influence = (top - ratio * bottom) / bottom.mean()
    power = float(influence @ influence)
    if power <= (1e-14 * ratio * n) ** 2:  # numerators proportional to denominators, to rounding
        return Interval(std_error=0.0, low=ratio, high=ratio)
    sigma = math.sqrt(power) / n
    acceleration = float((influence**3).sum()) / (6 * power**1.5)
    direction = influence / (n**2 * sigma)  # of the least favourable family through the sample
    slope_top, slope_bottom = float(direction @ top), float(direction @ bottom)

    def end(share: float) -> float:
        # The book's z0 holds a term for bias less curvature too: for a ratio the two are equal and cancel.
        z = acceleration + normal.inv_cdf(share)
        step = z / (1 - acceleration * z) ** 2
        return float((top.mean() + step * slope_top) / (bottom.mean() + step * slope_bottom))

    return Interval(std_error=sigma, low=end((1 - level) / 2), high=end((1 + level) / 2))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"The level is {level}; a number between 0 and 1 is needed, for example 0.95.")


def _student_t_quantile(share: float, freedom: float) -> float:
    """Quantile (share > 1/2) of Student's t with real degrees of freedom of 1 or more, without scipy.

    Newton's method on the distribution function, started at the normal quantile, from where it climbs without
    overshoot: the function is concave and t has the heavier tails. With x = sqrt(freedom) tan(angle) the
    density integrates as cos(angle)^(freedom - 1), smooth enough for Gauss-Legendre.
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(64)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    x = NormalDist().inv_cdf(share)
    for _ in range(60):
        angle = math.atan(x / math.sqrt(freedom))
        integral = angle / 2 * float(node_weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        density = scale / math.sqrt(freedom) * math.cos(angle) ** (freedom + 1)
        step = (share - 0.5 - scale * integral) / density
        x += step
        if abs(step) < 1e-12 * x:
            break
    return x


def student_t_two_sided(t: float, freedom: float) -> float:
    """Chance that Student's t is at least as far from 0, without scipy.

    Parameters
    ----------
    t : float
    freedom : float
        Degrees of freedom, 1 or more, not necessarily whole.

    Examples
    --------
    >>> round(student_t_two_sided(2.262157, 9.0), 6)
    0.05
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(64)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    # The tail itself, from the angle of t to a right angle: small p keep their digits.
    angle = math.atan(abs(t) / math.sqrt(freedom))
    half = (math.pi / 2 - angle) / 2
    angles = angle + half * (nodes + 1)
    return min(1.0, 2 * scale * half * float(node_weights @ np.cos(angles) ** (freedom - 1)))
