"""Do people agree about images? Krippendorff's alpha, split halves, and rank correlation with a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import CrossedDesign, Labels
from analysis.statistics.fool_rate import t_quantile
from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.resampling.rank_correlation import spearman
from evalkit.wording import counted

__all__ = [
    "CorrectedCorrelation",
    "RankCorrelation",
    "corrected_rank_correlation",
    "krippendorff_alpha",
    "rank_correlation",
    "split_half",
]


def krippendorff_alpha(values: npt.ArrayLike, image: Labels) -> float:
    """Krippendorff's alpha with squared differences (nominal and interval alike for yes/no answers).

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers of different participants.
    image : sequence, shape (n,)
        The unit each answer is about; units with a single answer cannot be compared and do not count.

    Returns
    -------
    float
        1 - observed / expected disagreement: 1 for full agreement, 0 for chance; NaN when no unit has two
        answers or all answers are equal.

    References
    ----------
    .. [1] Krippendorff, *Content Analysis*, 3rd ed. 2013, chapter 12.
    """
    y = np.asarray(values, dtype=np.float64)
    _, code, count = np.unique(np.asarray(image), return_inverse=True, return_counts=True)
    pairable = count[code] > 1
    y, code = y[pairable], np.unique(code[pairable], return_inverse=True)[1]
    if y.size == 0 or np.all(y == y[0]):
        return math.nan
    m = np.bincount(code).astype(np.float64)
    within = np.bincount(code, (y - (np.bincount(code, y) / m)[code]) ** 2)
    observed = 2.0 * np.sum(m * within / (m - 1)) / y.size
    expected = 2.0 * np.sum((y - y.mean()) ** 2) / (y.size - 1)
    return float(1.0 - observed / expected)


def split_half(values: npt.ArrayLike, design: CrossedDesign, *, n_splits: int = 200, seed: int = 0) -> float:
    """Reliability of image means: participants are split in two at random, the halves' image means correlated.

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers.
    design : CrossedDesign
        Who saw what.
    n_splits : int
        Random splits to average over.
    seed : int
        Seed of the generator.

    Returns
    -------
    float
        Mean correlation over splits, stepped up to the full number of participants (Spearman-Brown, 2r / (1
        + r)); NaN when halves have fewer than three images in common. A mean correlation below 0 says that the
        halves agree on nothing, which no number of participants would step up: the result is then 0.
    """
    y = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    correlations = []
    for _ in range(n_splits):
        half = (rng.permutation(design.n_participants) < design.n_participants // 2)[design.participant]
        means = []
        for side in (half, ~half):
            count = np.bincount(design.image[side], minlength=design.n_images)
            total = np.bincount(design.image[side], y[side], minlength=design.n_images)
            means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        both = np.isfinite(means[0]) & np.isfinite(means[1])
        if both.sum() < 3 or np.ptp(means[0][both]) == 0 or np.ptp(means[1][both]) == 0:
            continue
        correlations.append(np.corrcoef(means[0][both], means[1][both])[0, 1])
    if not correlations:
        return math.nan
    r = max(float(np.mean(correlations)), 0.0)
    return 2 * r / (1 + r)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with an approximate interval.

    Attributes
    ----------
    rho : float
        -1 to 1; NaN when one of the two does not vary.
    ci_low, ci_high : float
        Fisher z interval with the variance of Bonett and Wright (Psychometrika 2000); NaN below four pairs and for
        a perfect order, where it would have no length: that is no certainty, only few pairs.
    n : int
        Pairs with both values.
    """

    rho: float
    ci_low: float
    ci_high: float
    n: int


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float = 0.95) -> RankCorrelation:
    """Whether a metric orders images (or methods) as people do: Spearman with an interval.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Paired values; pairs with a NaN are left out and do not count in ``n``.
    confidence : float
        Nominal coverage.

    Returns
    -------
    RankCorrelation
        Of the complete pairs.

    Raises
    ------
    InputError
        When x and y differ in length.
    """
    from scipy.special import ndtri

    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"x has {counted(a.size, 'value')} and y {b.size}; pairs are needed.")
    both = np.isfinite(a) & np.isfinite(b)
    n = int(both.sum())
    if n < 2 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return RankCorrelation(math.nan, math.nan, math.nan, n)
    rho = spearman(a[both], b[both])
    if n < 4 or abs(rho) >= 1.0 - 1e-12:
        return RankCorrelation(rho, math.nan, math.nan, n)
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    z = math.atanh(rho)
    return RankCorrelation(rho, math.tanh(z - half), math.tanh(z + half), n)


@dataclass(frozen=True, kw_only=True)
class CorrectedCorrelation:
    """Spearman's rank correlation with what people think of images, freed from the noise of few answers.

    Attributes
    ----------
    observed : float
        With the means of the answers that were given; closer to 0 than the truth, however many images there are.
    reliability : float
        Share of the variance of these means that lies between images, 0 to 1.
    noise_ceiling : float
        sqrt(reliability): about the highest correlation that any metric can reach with these means.
    corrected : float
        observed / noise_ceiling, within -1 to 1; NaN where the answers do not tell images apart at all.
    ci_low, ci_high : float
        Fieller's interval of `corrected` over images; -1 to 1 where the answers hardly tell images apart, NaN below ten
        images.
    n : int
        Images.
    """

    observed: float
    reliability: float
    noise_ceiling: float
    corrected: float
    ci_low: float
    ci_high: float
    n: int


def corrected_rank_correlation(
    x: npt.ArrayLike,
    values: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> CorrectedCorrelation:
    """Rank correlation of a metric with the rates of images, corrected for attenuation.

    Parameters
    ----------
    x : array_like, shape (I,)
        The metric of each image, without noise; NaN leaves the image out.
    values : array_like, shape (n,)
        Answers.
    image : array_like of int, shape (n,)
        Which image each answer is about, 0 .. I-1.
    confidence : float
        Nominal coverage.
    n_resamples, seed : int
        Bootstrap replicates of the images and the seed that draws them.

    Returns
    -------
    CorrectedCorrelation

    Notes
    -----
    An image's mean of k answers varies around what people think of it with variance s^2 / k, s^2 the variance of answers
    within images, pooled. The reliability is 1 - mean(s^2 / k) / var(means), and a correlation with the means is sqrt of
    it times the one with the truth [1]_. Shrinking the means does not repair this: it leaves their order, and so
    Spearman's correlation, as it is wherever images have the same number of answers.

    The interval holds the values c for which observed - c sqrt(reliability) is not significantly different from 0 (Fieller
    [2]_, Student's t with n - 1 degrees of freedom), so it knows how uncertain the reliability is. The covariance of the two
    is that of resampled images, times n / (n - 3) as that of Fisher's z. Percentiles of the quotient covered 91 to 95 %.

    References
    ----------
    .. [1] Spearman, The proof and measurement of association between two things, American Journal of Psychology 1904.
    .. [2] Fieller, Some problems in interval estimation, Journal of the Royal Statistical Society B 1954.
    """
    metric, y, code = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64), np.asarray(image)
    count = np.bincount(code, minlength=metric.size).astype(np.float64)
    used = np.isfinite(metric) & (count > 0)
    n = int(used.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(code, y, minlength=metric.size) / count
    within = np.bincount(code, (y - mean[code]) ** 2, minlength=metric.size)[used]
    metric, mean, count = metric[used], mean[used], count[used]
    parts = _Attenuated(metric, mean, within.astype(np.float64), count)
    nothing = CorrectedCorrelation(observed=math.nan, reliability=math.nan, noise_ceiling=math.nan, corrected=math.nan,
                                   ci_low=math.nan, ci_high=math.nan, n=n)  # fmt: skip
    if n < 3 or np.ptp(metric) == 0 or np.ptp(mean) == 0 or np.sum(count - 1) == 0:
        return nothing
    observed, reliability = (float(part[0]) for part in parts.of(np.ones((1, n))))
    corrected = float(np.clip(observed / math.sqrt(reliability), -1.0, 1.0)) if reliability > 0 else math.nan
    low = high = math.nan
    if n >= MINIMUM_IMAGES and reliability > 0:
        rng = np.random.default_rng(seed)
        block = max(1, 4_000_000 // n)  # replicates at a time: bounded memory for any number of images
        drawn = [
            parts.of(rng.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64))
            for size in (min(block, n_resamples - start) for start in range(0, n_resamples, block))
        ]
        correlations, reliabilities = (np.concatenate(part) for part in zip(*drawn, strict=True))
        ceilings = np.sqrt(np.maximum(reliabilities, 0.0))
        covariance = np.cov(np.nan_to_num(correlations), ceilings) * n / (n - 3)
        quantile = t_quantile(0.5 + confidence / 2, n - 1)
        low, high = _fieller(observed, math.sqrt(reliability), covariance, quantile)
    return CorrectedCorrelation(
        observed=observed,
        reliability=max(reliability, 0.0),
        noise_ceiling=math.sqrt(max(reliability, 0.0)),
        corrected=corrected,
        ci_low=low,
        ci_high=high,
        n=n,
    )


MINIMUM_IMAGES = 10
"""Fewer images give no interval of a corrected correlation: their reliability is a guess."""


def _fieller(numerator: float, denominator: float, covariance: FloatArray, quantile: float) -> tuple[float, float]:
    """Limits of numerator / denominator within -1 and 1; all of that where the denominator may be 0."""
    squared = quantile**2
    a = denominator**2 - squared * covariance[1, 1]
    b = numerator * denominator - squared * covariance[0, 1]
    c = numerator**2 - squared * covariance[0, 0]
    discriminant = b * b - a * c
    if a <= 0 or discriminant < 0:
        return -1.0, 1.0
    root = math.sqrt(discriminant)
    return max((b - root) / a, -1.0), min((b + root) / a, 1.0)


class _Attenuated:
    """Correlation and reliability of images that occur a given number of times each."""

    def __init__(self, metric: FloatArray, mean: FloatArray, within: FloatArray, count: FloatArray) -> None:
        self._sides = [_Ranks(metric), _Ranks(mean)]
        self._mean, self._within, self._count = mean, within, count

    def of(self, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """For `times`, shape (replicates, I): Spearman's correlations and reliabilities, shape (replicates,) each."""
        n = times.sum(axis=1)
        ranks = [side.of(times) for side in self._sides]
        centred = [rank - (np.sum(times * rank, axis=1) / n)[:, None] for rank in ranks]
        cross = np.sum(times * centred[0] * centred[1], axis=1)
        spread = [np.sum(times * side**2, axis=1) for side in centred]
        variance = times @ self._mean**2 / n - (times @ self._mean / n) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = (times @ self._within) / (times @ (self._count - 1.0)) * (times @ (1.0 / self._count)) / n
            reliability = 1.0 - noise / (variance * n / (n - 1))
            return cross / np.sqrt(spread[0] * spread[1]), np.nan_to_num(reliability)


class _Ranks:
    """Mid-ranks of values that occur a given number of times each, without sorting again."""

    def __init__(self, values: FloatArray) -> None:
        self._order = np.argsort(values, kind="stable")
        distinct, self._code = np.unique(values, return_inverse=True)
        self._starts = np.searchsorted(values[self._order], distinct)

    def of(self, times: FloatArray) -> FloatArray:
        """Shape (replicates, I)."""
        tied = np.add.reduceat(times[:, self._order], self._starts, axis=1)
        return np.asarray((np.cumsum(tied, axis=1) - (tied - 1.0) / 2.0)[:, self._code])
