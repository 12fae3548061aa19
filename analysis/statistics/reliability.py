"""Do people agree about images? Krippendorff's alpha, split halves, and rank correlation with a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import CrossedDesign, Labels
from evalkit.errors import InputError
from evalkit.resampling.rank_correlation import spearman

__all__ = ["RankCorrelation", "krippendorff_alpha", "rank_correlation", "split_half"]


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
        raise InputError(f"x has {a.size} values and y {b.size}; pairs are needed.")
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
