"""Do any of several methods differ at all? One test of all of them together, for new participants and new images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import CrossedDesign, Estimand
from evalkit.arrays import FloatArray, IntArray
from evalkit.errors import InputError
from evalkit.wording import counted

__all__ = ["OmnibusTest", "equal_means", "hotelling", "positive_part"]


@dataclass(frozen=True, kw_only=True)
class OmnibusTest:
    """Whether any two methods differ at all: Wald's statistic of all of them, on the scale of F.

    Attributes
    ----------
    statistic : float
        F.
    df_numerator, df_denominator : float
        Number of methods - 1, and what is left to estimate their covariance; NaN where that is too little.
    p_value : float
        NaN where there is no test.
    """

    statistic: float
    df_numerator: float
    df_denominator: float
    p_value: float

    @classmethod
    def missing(cls, df_numerator: float) -> OmnibusTest:
        """No test: too few participants or images for so many methods."""
        return cls(statistic=math.nan, df_numerator=df_numerator, df_denominator=math.nan, p_value=math.nan)


def equal_means(
    samples: Sequence[tuple[npt.ArrayLike, CrossedDesign]], *, estimand: Estimand = "participants+images"
) -> OmnibusTest:
    """Test whether the means of several methods are all the same.

    Parameters
    ----------
    samples : sequence of (array_like, CrossedDesign)
        For each method its answers, shape (n,), which must vary, and who saw what; equal labels are the same participant
        or image in all methods.
    estimand : {"participants+images", "participants"}
        New people and new images (default), or new people on these images.

    Returns
    -------
    OmnibusTest
        Missing where there are fewer participants than a covariance of so many methods needs.

    Raises
    ------
    InputError
        Fewer than two methods, a method whose answers do not vary, that has fewer than two participants, or that one
        participant saw twice on one image; fewer than two images where the claim is about new ones.

    Notes
    -----
    The means m have the covariance W_0 + (W_P - W_0 + W_I - W_0)_+, which is W_P + W_I - W_0 [1]_ wherever people and
    images add to the variance of independent answers: sums over participants, images and cells of the products of their
    contributions (y - m) / n to the methods. ()_+ is the positive part, in contrasts whitened by W_0. Participants who saw
    the same set of methods are one group; each group and the images have their own factor k / (k - 1), k the number of
    levels.

    Each group and the images are an estimate of one part of the covariance, with k - 1 degrees of freedom. Wald's statistic
    is divided by c and read as F with q and q (q + 2) / (3 A) degrees of freedom, c = q + 2 A - 6 A / (q + 2),
    A = sum (tr^2 Q_j + tr Q_j^2) / (2 (k_j - 1)), Q_j the share of part j in the covariance of the q contrasts [2]_. It is
    the square of the t test of `analysis.statistics.comparison.compare` for two methods, and Welch's analysis of
    variance [3]_ of the participants' means for the estimand ``participants``, separate people and equal numbers of
    trials. Where everybody saw all methods, that estimand has one part only, and Hotelling's T squared is exact and taken.

    References
    ----------
    .. [1] Cameron, Gelbach, Miller, Robust inference with multiway clustering, JBES 2011.
    .. [2] Johansen, The Welch-James approximation to the distribution of the residual sum of squares in a weighted linear
       regression, Biometrika 1980.
    .. [3] Welch, On the comparison of several mean values, Biometrika 1951.
    """
    values = [np.asarray(y, dtype=np.float64) for y, _ in samples]
    designs = [design for _, design in samples]
    _check(values, designs, estimand)
    q = len(samples) - 1
    means = np.array([y.mean() for y in values])
    people, n_people = _common_levels([(design.participants, design.participant) for design in designs])
    images, n_images = _common_levels([(design.images, design.image) for design in designs])
    method = np.repeat(np.arange(q + 1), [y.size for y in values])
    contribution = np.concatenate([(y - y.mean()) / y.size for y in values])

    contrasts = np.column_stack([np.eye(q), -np.ones(q)])  # each method minus the last; which one changes nothing
    _, cell = np.unique(people * n_images + images, return_inverse=True)
    of_cells = _sums(contribution, cell, method, int(cell.max()) + 1, q + 1) @ contrasts.T
    try:
        whiten = np.linalg.inv(np.linalg.cholesky(of_cells.T @ of_cells))
    except np.linalg.LinAlgError:  # fewer cells than contrasts
        return OmnibusTest.missing(q)
    by_people = _sums(contribution, people, method, n_people, q + 1) @ contrasts.T @ whiten.T
    saw = _sums(np.ones(people.size), people, method, n_people, q + 1) > 0
    parts = [_inflated(by_people[group]) for group in _groups(saw)]
    covariance = np.sum([part for part, _ in parts], axis=0)
    if estimand == "participants+images":
        of_images = _inflated(_sums(contribution, images, method, n_images, q + 1) @ contrasts.T @ whiten.T)
        answers = np.eye(q)  # W_0, whitened
        covariance = answers + positive_part(covariance + of_images[0] - 2.0 * answers)
        parts.append(of_images)
    difference = whiten @ contrasts @ means
    if np.linalg.cond(covariance) > 1e12:
        return OmnibusTest.missing(q)
    wald = float(difference @ np.linalg.solve(covariance, difference))
    shares = [(part @ np.linalg.inv(covariance), levels) for part, levels in parts]
    return hotelling(wald, q, parts[0][1]) if len(parts) == 1 else _welch_james(wald, q, shares)


def _check(values: Sequence[FloatArray], designs: Sequence[CrossedDesign], estimand: Estimand) -> None:
    if len(values) < 2:
        raise InputError(f"A test of all methods needs two or more; there is {len(values)}.")
    for number, (y, design) in enumerate(zip(values, designs, strict=True)):
        if y.shape != (design.n_trials,) or not np.isfinite(y).all():
            raise InputError(
                f"Values of sample {number} must be {counted(design.n_trials, 'finite number')}, one per trial."
            )
        if design.n_participants < 2:
            raise InputError(f"Sample {number} has one participant; at least two of each method are needed.")
        if np.ptp(y) == 0:
            raise InputError(
                f"All values of sample {number} are {y[0]:g}; a test of all methods needs values that vary."
            )
        design.refuse_duplicates()
    if estimand == "participants+images" and np.unique(np.concatenate([design.images for design in designs])).size < 2:
        raise InputError(
            "There is one image; a claim about new images needs at least two (or estimand 'participants')."
        )


def _common_levels(columns: Sequence[tuple[npt.NDArray[np.generic], IntArray]]) -> tuple[IntArray, int]:
    """Codes of all methods' trials in one numbering of the labels, and how many labels there are."""
    labels = np.unique(np.concatenate([own for own, _ in columns]))
    codes = [np.searchsorted(labels, own)[code] for own, code in columns]
    return np.concatenate(codes).astype(np.int64), labels.size


def _sums(values: FloatArray, level: IntArray, method: IntArray, n_levels: int, n_methods: int) -> FloatArray:
    """Sums by level and method, shape (n_levels, n_methods)."""
    flat = np.bincount(level * n_methods + method, values, minlength=n_levels * n_methods)
    return np.asarray(flat.reshape(n_levels, n_methods), dtype=np.float64)


def _groups(saw: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Participants by the set of methods they saw; all together where such a group is a single person."""
    _, group = np.unique(saw, axis=0, return_inverse=True)
    group = group.reshape(-1)
    if np.bincount(group).min() < 2:
        return [np.ones(group.size, dtype=bool)]
    return [group == number for number in range(int(group.max()) + 1)]


def _inflated(sums: FloatArray) -> tuple[FloatArray, float]:
    """Sum of products times k / (k - 1), and k - 1 degrees of freedom, for k independent levels."""
    k = len(sums)
    return np.asarray(sums.T @ sums * k / (k - 1)), k - 1.0


def positive_part(matrix: FloatArray) -> FloatArray:
    """The symmetric matrix with its negative eigenvalues set to 0, shape (q, q)."""
    value, vector = np.linalg.eigh(matrix)
    return np.asarray((vector * np.maximum(value, 0.0)) @ vector.T)


def hotelling(wald: float, q: int, df: float) -> OmnibusTest:
    """Wald's statistic of `q` contrasts whose covariance has `df` degrees of freedom, as Hotelling's T squared."""
    denominator = df - q + 1.0
    if denominator < 1:
        return OmnibusTest.missing(q)
    return _test(wald * denominator / (df * q), q, denominator)


def _welch_james(wald: float, q: int, shares: Sequence[tuple[FloatArray, float]]) -> OmnibusTest:
    spread = 0.5 * sum((np.trace(share) ** 2 + np.sum(share * share.T)) / df for share, df in shares)
    scale = q + 2.0 * spread - 6.0 * spread / (q + 2.0)
    return _test(wald / scale, q, q * (q + 2.0) / (3.0 * spread))


def _test(statistic: float, numerator: float, denominator: float) -> OmnibusTest:
    from scipy.special import fdtrc

    return OmnibusTest(
        statistic=float(statistic),
        df_numerator=numerator,
        df_denominator=float(denominator),
        p_value=float(fdtrc(numerator, denominator, statistic)),
    )
