"""Were the answers given with care? Side bias, vigilance, fatigue, answer times, and which images fool most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.comparison import t_two_sided
from analysis.statistics.crossed import CrossedDesign, Labels
from analysis.statistics.fool_rate import CrossedMean, crossed_mean, t_quantile
from evalkit.arrays import FloatArray, IntArray, TextArray
from evalkit.errors import InputError

__all__ = [
    "AnswerTimes",
    "ShrunkenRates",
    "Slope",
    "VigilancePoint",
    "answer_times",
    "fatigue_slope",
    "shrunken_rates",
    "side_bias",
    "vigilance_curve",
]


def side_bias(chose_first: npt.ArrayLike, design: CrossedDesign) -> CrossedMean:
    """Share of answers "the first image", for new participants; 0.5 is no bias.

    Parameters
    ----------
    chose_first : array_like, shape (n,)
        1 where the first image was chosen.
    design : CrossedDesign
        Whose answers they are; a participant may meet an image in several methods, since images do not matter here.

    Returns
    -------
    CrossedMean
        With the interval for new participants on these images.
    """
    return crossed_mean(chose_first, design.one_image_per_trial(), estimand="participants")


@dataclass(frozen=True)
class VigilancePoint:
    """The estimate when participants below a vigilance threshold are left out.

    Attributes
    ----------
    threshold : float
        Least share of vigilance trials right.
    n_participants : int
        Participants who remain.
    rate : CrossedMean or None
        Their fool rate; None when fewer than two remain.
    """

    threshold: float
    n_participants: int
    rate: CrossedMean | None


def vigilance_curve(
    fooled: npt.ArrayLike, design: CrossedDesign, vigilance_share: npt.ArrayLike
) -> tuple[VigilancePoint, ...]:
    """Fool rate over every vigilance threshold, beside which the declared one can be judged.

    Parameters
    ----------
    fooled : array_like, shape (n,)
        Answers of the test trials of one method.
    design : CrossedDesign
        Who saw what.
    vigilance_share : array_like, shape (n,)
        Share of the participant's vigilance trials that were right (the same number in all of his or her
        trials); NaN for participants without any, who are always kept.

    Returns
    -------
    tuple of VigilancePoint
        One per distinct share, ascending; the first keeps everybody.
    """
    y, share = np.asarray(fooled, dtype=np.float64), np.asarray(vigilance_share, dtype=np.float64)
    points = []
    for threshold in np.unique(np.concatenate([[0.0], share[np.isfinite(share)]])):
        keep = ~(share < threshold)
        if not keep.any():
            points.append(VigilancePoint(float(threshold), 0, None))
            continue
        watchful = design.subset(keep)
        try:
            rate = crossed_mean(y[keep], watchful)
        except InputError:
            rate = None
        points.append(VigilancePoint(float(threshold), watchful.n_participants, rate))
    return tuple(points)


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Change of the answers with the number of the trial.

    Attributes
    ----------
    per_trial : float
        Change of the fool rate from one trial to the next, within participants.
    over_session : float
        The same times the largest number of trials between first and last.
    std_error, ci_low, ci_high : float
        Of `over_session`, participants as clusters, P - 1 degrees of freedom.
    p_value : float
        Two-sided.
    n_participants : int
        Clusters.
    """

    per_trial: float
    over_session: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float
    n_participants: int


def fatigue_slope(fooled: npt.ArrayLike, trial: npt.ArrayLike, participant: Labels, confidence: float = 0.95) -> Slope:
    """Linear trend of being fooled over the session, by least squares within participants, clustered errors.

    Parameters
    ----------
    fooled : array_like, shape (n,)
        Answers.
    trial : array_like, shape (n,)
        Number of the trial within the session.
    participant : sequence, shape (n,)
        Labels.
    confidence : float
        Nominal coverage.

    Returns
    -------
    Slope
        Positive when people are fooled more often later on.

    Raises
    ------
    InputError
        Fewer than two participants, or nobody with two trials.
    """
    y, t = np.asarray(fooled, dtype=np.float64), np.asarray(trial, dtype=np.float64)
    people, person = np.unique(np.asarray(participant), return_inverse=True)
    count = np.bincount(person)
    x = t - (np.bincount(person, t) / count)[person]
    spread = float(np.sum(x**2))
    if people.size < 2 or spread <= 0:
        raise InputError("A trend over trials needs two participants, with two trials or more.")
    slope = float(np.sum(x * y) / spread)
    residual = y - (np.bincount(person, y) / count)[person] - slope * x
    score = np.bincount(person, x * residual)
    groups = people.size
    error = math.sqrt(float(np.sum(score**2)) * groups / (groups - 1)) / spread
    length = float(t.max() - t.min())
    half = t_quantile(0.5 + confidence / 2, groups - 1) * error * length
    p = t_two_sided(slope / error, groups - 1) if error > 0 else math.nan
    return Slope(
        per_trial=slope,
        over_session=slope * length,
        std_error=error * length,
        ci_low=slope * length - half,
        ci_high=slope * length + half,
        p_value=p,
        n_participants=groups,
    )


@dataclass(frozen=True, kw_only=True)
class AnswerTimes:
    """Answer times on the logarithmic scale.

    Attributes
    ----------
    geometric_mean_ms : float
        exp of the mean of the participants' mean log times.
    participants : ndarray of str, shape (P,)
        Labels.
    median_ms : ndarray of float64, shape (P,)
        Median of each participant.
    n_below, n_above : int
        Trials beyond the declared cuts (counted, not removed).
    fooled_ratio : float
        Geometric mean time when fooled over that when not; NaN when one of them never happened.
    """

    geometric_mean_ms: float
    participants: TextArray
    median_ms: FloatArray
    n_below: int
    n_above: int
    fooled_ratio: float


def answer_times(
    response_ms: npt.ArrayLike,
    fooled: npt.ArrayLike,
    participant: Labels,
    *,
    below_ms: float = 150.0,
    above_ms: float = 30_000.0,
) -> AnswerTimes:
    """Summarise answer times per participant; times of 0 or less, or missing ones, are not used.

    Parameters
    ----------
    response_ms, fooled : array_like, shape (n,)
        Milliseconds from question to answer, and the answers.
    participant : sequence, shape (n,)
        Labels.
    below_ms, above_ms : float
        Declared cuts.

    Returns
    -------
    AnswerTimes
        Medians and counts.

    Raises
    ------
    InputError
        When there is no time at all.
    """
    time, y = np.asarray(response_ms, dtype=np.float64), np.asarray(fooled, dtype=np.float64)
    used = np.isfinite(time) & (time > 0)
    if not used.any():
        raise InputError("There are no answer times above 0 ms.")
    people, person = np.unique(np.asarray(participant).astype(str)[used], return_inverse=True)
    time, y, log_time = time[used], y[used], np.log(time[used])
    order = np.argsort(person, kind="stable")
    groups = np.split(time[order], np.flatnonzero(np.diff(person[order])) + 1)
    was, was_not = log_time[y > 0.5], log_time[y < 0.5]
    ratio = math.exp(was.mean() - was_not.mean()) if was.size and was_not.size else math.nan
    return AnswerTimes(
        geometric_mean_ms=math.exp(float(np.mean(np.bincount(person, log_time) / np.bincount(person)))),
        participants=people,
        median_ms=np.array([np.median(group) for group in groups]),
        n_below=int(np.sum(time < below_ms)),
        n_above=int(np.sum(time > above_ms)),
        fooled_ratio=ratio,
    )


@dataclass(frozen=True, kw_only=True)
class ShrunkenRates:
    """Rates of single images, pulled towards the mean as far as their few answers leave them unsure.

    Attributes
    ----------
    images : ndarray, shape (I,)
        Labels, sorted.
    n_trials : ndarray of int64, shape (I,)
        Answers per image.
    raw, rate : ndarray of float64, shape (I,)
        Observed share, and posterior mean (k + a) / (n + a + b).
    ci_low, ci_high : ndarray of float64, shape (I,)
        Posterior interval.
    a, b : float
        Parameters of the beta distribution of true rates, by maximum likelihood.
    """

    images: TextArray
    n_trials: IntArray
    raw: FloatArray
    rate: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    a: float
    b: float


def shrunken_rates(fooled: npt.ArrayLike, image: Labels, confidence: float = 0.95) -> ShrunkenRates:
    """Beta-binomial (empirical Bayes) rate of each image: order galleries by this, not by the raw rate.

    The image with the highest raw rate is mostly the luckiest of those with few answers; among a thousand
    images the raw top twelve overstate their true rate by a dozen points.

    Parameters
    ----------
    fooled : array_like, shape (n,)
        Answers of one method in [0, 1].
    image : sequence, shape (n,)
        Labels.
    confidence : float
        Of the posterior intervals.

    Returns
    -------
    ShrunkenRates
        By image.

    Raises
    ------
    InputError
        Fewer than two images.
    """
    from scipy.special import betaincinv

    y = np.asarray(fooled, dtype=np.float64)
    images, code = np.unique(np.asarray(image).astype(str), return_inverse=True)
    if images.size < 2:
        raise InputError("Shrinking needs at least two images.")
    n, k = np.bincount(code), np.bincount(code, y).astype(np.float64)
    a, b = _fit_beta_binomial(k, n.astype(np.float64))
    tail = (1.0 - confidence) / 2
    return ShrunkenRates(
        images=images,
        n_trials=n.astype(np.int64),
        raw=k / n,
        rate=(k + a) / (n + a + b),
        ci_low=betaincinv(k + a, n - k + b, tail),
        ci_high=betaincinv(k + a, n - k + b, 1.0 - tail),
        a=a,
        b=b,
    )


def _fit_beta_binomial(k: FloatArray, n: FloatArray) -> tuple[float, float]:
    """Maximum likelihood of the beta parameters, by Newton steps on their logarithms.

    Prior sizes a + b stay between 0.05 (every image is always or never taken for real) and 10^4 (images do not
    differ), where the likelihood of the usual data is flat.
    """
    from scipy.special import gammaln, polygamma, psi

    def slope(f: Callable[[Any], Any], a: float, b: float) -> tuple[float, float, float]:
        """Sums of f over the three gamma functions of the likelihood: in a, in b, in both."""
        both = float(np.sum(f(n + a + b)) - n.size * f(a + b))
        one = float(np.sum(f(k + a)) - n.size * f(a))
        at_zero = float(np.sum(f(n - k + b)) - n.size * f(b))
        return one, at_zero, both

    def likelihood(theta: FloatArray) -> float:
        one, other, both = slope(gammaln, *np.exp(theta))
        return one + other - both

    mean = (k.sum() + 0.5) / (n.sum() + 1.0)
    theta = np.log([5.0 * mean, 5.0 * (1.0 - mean)])
    best = likelihood(theta)
    for _ in range(60):
        a, b = np.exp(theta)
        one, other, both = slope(psi, a, b)
        gradient = np.array([a * (one - both), b * (other - both)])
        one2, other2, both2 = slope(lambda x: polygamma(1, x), a, b)
        hessian = np.array([[a * a * (one2 - both2), -a * b * both2], [-a * b * both2, b * b * (other2 - both2)]])
        hessian += np.diag(gradient)
        # Away from the maximum the Hessian may not be negative definite: then its eigenvalues are made so.
        value, vector = np.linalg.eigh(hessian)
        step = vector @ ((vector.T @ gradient) / np.maximum(np.abs(value), 1e-8))
        step *= min(1.0, 1.0 / max(float(np.max(np.abs(step))), 1e-300))
        while likelihood(theta + step) < best and np.max(np.abs(step)) > 1e-9:
            step /= 2
        theta = theta + step
        best = likelihood(theta)
        size = float(np.sum(np.exp(theta)))
        if np.max(np.abs(step)) < 1e-7 or not 0.05 < size < 1e4:
            break
    size = float(np.sum(np.exp(theta)))
    a, b = np.exp(theta) * (min(max(size, 0.05), 1e4) / size)
    return float(a), float(b)
