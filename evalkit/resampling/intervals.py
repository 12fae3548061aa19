"""How sure a score is: intervals and tests over images, from the stored terms alone.

Every metric is a function of sums over images, ``score(terms.sum(axis=0))``, so a resampled score is
``score(weights @ terms)``. One shared stream of image weights serves all metrics and all methods: the
replicates of two columns belong together draw by draw, and their differences are paired for free.

Sums are exact, hence independent of the order of images, the number of threads, the blocking, and which other
columns are computed beside them (`TermMatrix` says how).

References
----------
.. [1] Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
.. [2] Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 9(3), 1981.
.. [3] Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies",
   Computer Methods and Programs in Biomedicine 83(1), 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError

__all__ = [
    "Column",
    "Interval",
    "SwapTest",
    "TermMatrix",
    "abc_interval_ratio",
    "image_weights",
    "interval",
    "jackknife_interval",
    "leave_one_out_scores",
    "paired_difference",
    "replicate_scores",
    "sign_flip_test",
    "sign_flip_tests",
]

from evalkit.arrays import FloatArray

ScoreFunction = Callable[[FloatArray], FloatArray]
Column = tuple[npt.NDArray[Any], ScoreFunction]
"""Additive terms of one number, shape (n_images, k), and the score of their sums, (..., k) to (...)."""

POISSON_BYTE = np.repeat(np.arange(6, dtype=np.uint8), (94, 95, 46, 16, 4, 1))
"""Image weight for each value of a random byte: Poisson(1) in steps of 1/256.

Mean and variance are exactly 1, and standard errors depend on no more. The third central moment is 0.984 instead of
1, the total variation from Poisson(1) 0.006. Ratios of 100 skewed terms showed no difference from true Poisson
weights beyond the Monte Carlo error of a million replicates, in standard error or ends; nor did 16 bits change any.
"""
MAX_WEIGHT = int(POISSON_BYTE.max())
BLOCK_ELEMENTS = 2**21
"""Numbers in a block of weights, 16 MB as float64; results do not depend on it."""
MAX_UNDEFINED = 0.25
"""Share of undefined replicates above which one image alone carries the number.

One image alone has weight 0 in 0.37 of replicates, two together in 0.13.
"""


@dataclass(frozen=True)
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
        return cls(math.nan, math.nan, math.nan, n_undefined, reason)


@dataclass(frozen=True)
class SwapTest:
    """Result of `sign_flip_test`.

    Attributes
    ----------
    difference : float
        Score of *a* minus score of *b* as observed.
    p_value : float
        Two-sided, in (0, 1], never zero; NaN where the difference is undefined.
    n_draws : int
        Random swaps behind it.
    """

    difference: float
    p_value: float
    n_draws: int


# ------------------------------------------------------------------------------------------------------------
# Weights
# ------------------------------------------------------------------------------------------------------------


def image_weights(
    n_images: int,
    n_replicates: int = 10_000,
    seed: int = 0,
    *,
    block_rows: int | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Bootstrap weights, one row a replicate: how often each image counts.

    Independent Poisson(1) weights stand for drawing images with replacement ([3]_; the total varies, which ratios do
    not notice). Row r is made of the same random bytes whatever the block size.

    Parameters
    ----------
    n_images, n_replicates : int
        Columns and rows in total, at least 1.
    seed : int
        Not negative. The same seed gives the same weights everywhere.
    block_rows : int, optional
        Rows a block; by default what keeps a float64 copy of the block at 16 MB.

    Yields
    ------
    ndarray of uint8, shape (rows, n_images)
        Weights 0 to 5. A row may be all zero (probability exp(-n_images)): no image drawn, all scores undefined.

    Raises
    ------
    InputError
        For counts below 1 or a negative seed.
    """
    for random_bytes in _random_bytes(n_images, n_replicates, seed, stream=0, block_rows=block_rows):
        yield np.take(POISSON_BYTE, random_bytes)


def _random_bytes(
    n_bytes: int, n_rows: int, seed: int, *, stream: int, block_rows: int | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Blocks of shape (rows, n_bytes) of one seeded stream, each row starting at a whole 64-bit word."""
    for name, count in (
        ("images", n_bytes),
        ("replicates", n_rows),
        ("rows a block", 1 if block_rows is None else block_rows),
    ):
        if count < 1:
            raise InputError(f"The number of {name} is {count}; at least 1 is needed.")
    if seed < 0:
        raise InputError(f"The seed is {seed}; a whole number of 0 or more is needed.")
    words = -(-n_bytes // 8)
    rows = block_rows or max(1, BLOCK_ELEMENTS // (8 * words))
    source = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream,)))
    for start in range(0, n_rows, rows):
        block = min(rows, n_rows - start)
        # Little-endian by name: the same weights on a big-endian machine.
        raw = np.asarray(source.random_raw(block * words)).astype("<u8", copy=False)
        yield raw.view(np.uint8).reshape(block, 8 * words)[:, :n_bytes]


# ------------------------------------------------------------------------------------------------------------
# Scores under weights
# ------------------------------------------------------------------------------------------------------------


class TermMatrix:
    """The terms of many columns side by side, each distinct term once, ready to be weighted and summed.

    Parameters
    ----------
    columns : iterable of (terms, score)
        Terms of shape (n_images, k), integer or float, finite; the score maps sums of shape (..., k) to
        (...). A generator keeps memory low where k is large: terms are read once, one column at a time.

    Raises
    ------
    InputError
        When there is no column, or terms are not finite, not 2-D, or differ in their number of images.

    Notes
    -----
    Equal terms of different columns (the pixel counts that all methods share, classes no image has) are
    stored and summed once.

    Sums are exact. Terms are rounded to a power of two so coarse that every weighted sum is a whole number of
    steps below 2**53: then no addition rounds, in whatever order a BLAS adds. Integers are not changed while ten
    times the sum of their magnitudes stays below 2**53; means of floats over 10,000 images moved by 3e-13 of
    their size. Sums in float32 would take half the time, but move scores by up to 5e-7, on every machine
    differently.
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        distinct: dict[bytes, int] = {}
        self._scores: list[ScoreFunction] = []
        self._positions: list[npt.NDArray[np.intp]] = []
        self.n_images = 0
        for place, (terms, score) in enumerate(columns):
            checked = _checked_terms(terms, f"column {place}", self.n_images or None)
            if place == 0:
                self.n_images = len(checked)
                distinct[np.ones(self.n_images).tobytes()] = 0  # sums to the total weight
            rows = np.ascontiguousarray(_on_exact_grid(checked, MAX_WEIGHT).T)
            self._positions.append(np.array([distinct.setdefault(row.tobytes(), len(distinct)) for row in rows]))
            self._scores.append(score)
        if not self._scores:
            raise InputError("There is no column to resample; give at least one pair of terms and score.")
        self._terms = np.frombuffer(b"".join(distinct)).reshape(len(distinct), self.n_images).T

    @property
    def n_columns(self) -> int:
        """Number of scores."""
        return len(self._scores)

    @property
    def n_distinct_terms(self) -> int:
        """Number of terms that are summed, the total weight included."""
        return self._terms.shape[1]

    def scores(self, weights: npt.NDArray[Any]) -> FloatArray:
        """Scores under weighted images.

        Parameters
        ----------
        weights : ndarray, shape (rows, n_images)
            Whole numbers from 0 to 5 (others work, but their sums may round).

        Returns
        -------
        ndarray of float64, shape (rows, n_columns)
            NaN where a score is undefined, and in rows whose weights are all zero.
        """
        sums = np.asarray(weights, dtype=np.float64) @ self._terms
        scores = np.empty((len(weights), self.n_columns))
        for j, (positions, score) in enumerate(zip(self._positions, self._scores, strict=True)):
            scores[:, j] = _quietly(score, np.take(sums, positions, axis=1))
        scores[sums[:, 0] == 0] = np.nan
        return scores


def replicate_scores(columns: Iterable[Column], n_replicates: int = 10_000, seed: int = 0) -> FloatArray:
    """Bootstrap replicates of many scores under one shared set of weights.

    Parameters
    ----------
    columns : iterable of (terms, score)
        As for `TermMatrix`.
    n_replicates : int
        Rows of the result.
    seed : int
        As for `image_weights`.

    Returns
    -------
    ndarray of float64, shape (n_replicates, n_columns)
        NaN where a score is undefined in a replicate.

    Raises
    ------
    InputError
        As for `TermMatrix` and `image_weights`.

    Examples
    --------
    >>> import numpy as np
    >>> def mean(sums):
    ...     return sums[..., 0] / sums[..., 1]
    >>> values = np.array([31.0, 28.5, 30.0, 26.5, 33.0, 29.0, 27.5, 30.5])
    >>> replicates = replicate_scores([(np.column_stack([values, np.ones(8)]), mean)], seed=1)
    >>> round(interval(values.mean(), replicates[:, 0]).std_error, 1)
    0.7
    """
    matrix = TermMatrix(columns)
    rows = max(1, BLOCK_ELEMENTS // max(matrix.n_images, matrix.n_distinct_terms))
    blocks = image_weights(matrix.n_images, n_replicates, seed, block_rows=rows)
    return np.concatenate([matrix.scores(weights) for weights in _as_floats(blocks, rows, matrix.n_images)])


def _as_floats(blocks: Iterable[npt.NDArray[np.uint8]], rows: int, n_images: int) -> Iterator[FloatArray]:
    """Blocks as float64 in one reused buffer: fresh memory for each would cost as much as the sums."""
    buffer = np.empty((rows, n_images))
    for block in blocks:
        np.copyto(buffer[: len(block)], block)
        yield buffer[: len(block)]


def _quietly(score: ScoreFunction, sums: FloatArray) -> FloatArray:
    """Scores without numpy's warnings: sums of 0 are normal where images are left out, and give NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return score(sums)


def _checked_terms(terms: npt.NDArray[Any], name: str, n_images: int | None) -> npt.NDArray[Any]:
    terms = np.asarray(terms)
    if terms.ndim != 2 or not terms.size:
        raise InputError(f"The terms of {name} have shape {terms.shape}; (images, terms) is needed, each at least 1.")
    if n_images is not None and len(terms) != n_images:
        raise InputError(f"The terms of {name} have {len(terms)} images, those before it {n_images}; all need as many.")
    if not np.isfinite(terms).all():
        image, term = np.argwhere(~np.isfinite(terms))[0]
        raise InputError(f"Term {term} of image {image} in {name} is not finite; give a term and a count of 0 instead.")
    return terms


def _on_exact_grid(terms: npt.NDArray[Any], max_weight: int, magnitude: FloatArray | None = None) -> FloatArray:
    """Terms rounded so that all sums with weights 0..max_weight are exact in float64; see `TermMatrix`."""
    values = terms.astype(np.float64)
    if magnitude is None:
        magnitude = np.abs(values).sum(axis=0)
    # frexp: bound < 2**exponent, so steps of 2**(exponent - 53) keep sums below 2**53 steps; the factor 2
    # covers the rounding of the terms and of the bound itself.
    exponent = np.frexp(2.0 * max_weight * magnitude)[1] - 53
    # Adding 0 turns -0 into 0, so that equal columns have equal bytes.
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent) + 0.0)


# ------------------------------------------------------------------------------------------------------------
# Intervals
# ------------------------------------------------------------------------------------------------------------


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
            f"Undefined in {n_undefined} of {values.size} replicates: one image alone carries this number.",
            n_undefined,
        )
    # From the first replicate, so that equal replicates have a deviation of exactly 0.
    std_error = float(np.std(defined - defined[0], ddof=1))
    if std_error == 0 and math.isclose(defined[0], estimate, rel_tol=1e-9):
        return Interval(0.0, estimate, estimate, n_undefined)  # replicates agree to the grid of `TermMatrix` only
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    shift = float(defined.mean()) - estimate if correct_bias else 0.0
    return Interval(std_error, float(low) - shift, float(high) - shift, n_undefined)


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
    exact = _on_exact_grid(_checked_terms(terms, "the score", None), 1)
    if len(exact) == 1:
        return np.array([np.nan])
    total = exact.sum(axis=0)
    rows = max(1, BLOCK_ELEMENTS // exact.shape[1])
    return np.concatenate([_quietly(score, total - exact[i : i + rows]) for i in range(0, len(exact), rows)])


def jackknife_interval(estimate: float, leave_one_out: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval from leave-one-out scores: for the class-rebalanced AuC with the truth's own class shares.

    Parameters
    ----------
    estimate : float
        The score of all images.
    leave_one_out : array_like, shape (n_images,)
        From `leave_one_out_scores`; for a paired difference, the difference of two of them.
    level : float
        Nominal coverage, inside (0, 1).

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
    """
    _check_level(level)
    scores = np.asarray(leave_one_out, dtype=np.float64)
    n, n_undefined = scores.size, int(np.isnan(scores).sum())
    if math.isnan(estimate):
        return Interval.missing("The score itself is undefined.", n_undefined)
    if n < 2 or n_undefined:
        return Interval.missing("One image alone carries this number.", n_undefined)
    # From the first score, so that equal scores have a deviation of exactly 0.
    deviations = scores - scores[0]
    squares = (deviations - deviations.mean()) ** 2
    total = float(squares.sum())
    if total == 0:
        return Interval(0.0, estimate, estimate)
    std_error = math.sqrt(total * (n - 1) / n)
    concentration = float(((squares / total) ** 2).sum()) - 1 / n
    freedom = min(max(2 / concentration, 4.0) if concentration > 0 else math.inf, n - 1.0)
    margin = _student_t_quantile((1 + level) / 2, freedom) * std_error
    return Interval(std_error, estimate - margin, estimate + margin)


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
    _checked_terms(np.column_stack([top, bottom]), "the ratio", None)
    if np.count_nonzero(bottom) < 2 or bottom.sum() == 0:
        return Interval.missing("Fewer than two images carry this ratio.")
    n, normal = len(top), NormalDist()
    ratio = float(top.sum() / bottom.sum())
    influence = (top - ratio * bottom) / bottom.mean()
    power = float(influence @ influence)
    if power <= (1e-14 * ratio * n) ** 2:  # numerators proportional to denominators, to rounding
        return Interval(0.0, ratio, ratio)
    sigma = math.sqrt(power) / n
    acceleration = float((influence**3).sum()) / (6 * power**1.5)
    direction = influence / (n**2 * sigma)  # of the least favourable family through the sample
    slope_top, slope_bottom = float(direction @ top), float(direction @ bottom)

    def end(share: float) -> float:
        # The book's z0 holds a term for bias less curvature too: for a ratio the two are equal and cancel.
        z = acceleration + normal.inv_cdf(share)
        step = z / (1 - acceleration * z) ** 2
        return float((top.mean() + step * slope_top) / (bottom.mean() + step * slope_bottom))

    return Interval(sigma, end((1 - level) / 2), end((1 + level) / 2))


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


# ------------------------------------------------------------------------------------------------------------
# Tests
# ------------------------------------------------------------------------------------------------------------


def sign_flip_test(
    a_terms: npt.NDArray[Any],
    b_terms: npt.NDArray[Any],
    score: ScoreFunction,
    n_draws: int = 10_000,
    seed: int = 0,
) -> SwapTest:
    """Do two methods differ? Swap their labels image by image and score again.

    If the methods were exchangeable on every image, any pattern of swaps would be as likely as the observed
    one. For a plain mean this is the sign-flip test of the per-image differences.

    Parameters
    ----------
    a_terms, b_terms : ndarray, shape (n_images, k)
        Terms of the two methods on the same images, in the same order.
    score : callable
        Sums of shape (..., k) to scores of shape (...).
    n_draws : int
        Random swap patterns.
    seed : int
        Not negative.

    Returns
    -------
    SwapTest
        ``p = (1 + number of draws at least as far from 0 as observed) / (1 + n_draws)``: the observed pattern
        is one of the possible ones, so p is never zero. Ties are exact, because sums are. A draw with an
        undefined score counts as far.

    Raises
    ------
    InputError
        As for `TermMatrix`; also when the two shapes differ.
    """
    return sign_flip_tests([(a_terms, b_terms, score)], n_draws, seed)[0]


def sign_flip_tests(
    pairs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any], ScoreFunction]],
    n_draws: int = 10_000,
    seed: int = 0,
) -> list[SwapTest]:
    """Run `sign_flip_test` on many pairs under one shared set of swaps; the p-values are the same.

    Parameters
    ----------
    pairs : iterable of (a_terms, b_terms, score)
        All on the same images.
    n_draws, seed
        As for `sign_flip_test`.

    Returns
    -------
    list of SwapTest
        One a pair, in order.
    """
    totals: list[tuple[FloatArray, FloatArray, ScoreFunction]] = []
    deltas: list[FloatArray] = []
    n_images: int | None = None
    for place, (a_terms, b_terms, score) in enumerate(pairs):
        a = _checked_terms(a_terms, f"the first method of pair {place}", n_images)
        b = _checked_terms(b_terms, f"the second method of pair {place}", len(a))
        if a.shape != b.shape:
            raise InputError(f"The two methods of pair {place} have {a.shape[1]} and {b.shape[1]} terms an image.")
        n_images = len(a)
        # One grid for both: then differences and their sums are exact too.
        magnitude = np.abs(a.astype(np.float64)).sum(axis=0) + np.abs(b.astype(np.float64)).sum(axis=0)
        a, b = _on_exact_grid(a, 1, magnitude), _on_exact_grid(b, 1, magnitude)
        totals.append((a.sum(axis=0), b.sum(axis=0), score))
        deltas.append(a - b)
    if n_images is None:
        raise InputError("There is no pair to test; give at least one.")
    stacked = np.concatenate(deltas, axis=1)
    ends = np.cumsum([delta.shape[1] for delta in deltas])[:-1]
    observed = [float(_quietly(score, a)) - float(_quietly(score, b)) for a, b, score in totals]
    counts = [0] * len(totals)
    rows = max(1, BLOCK_ELEMENTS // max(n_images, stacked.shape[1]))
    random_bytes = _random_bytes(-(-n_images // 8), n_draws, seed, stream=1, block_rows=rows)
    bits = (np.unpackbits(block, axis=1, count=n_images) for block in random_bytes)
    for kept in _as_floats(bits, rows, n_images):
        for j, moved in enumerate(np.split(kept @ stacked, ends, axis=1)):
            a, b, score = totals[j]
            drawn = np.abs(_quietly(score, b + moved) - _quietly(score, a - moved))
            counts[j] += int(np.count_nonzero(~(drawn < abs(observed[j]))))
    return [
        SwapTest(difference, math.nan if math.isnan(difference) else (1 + count) / (1 + n_draws), n_draws)
        for difference, count in zip(observed, counts, strict=True)
    ]
