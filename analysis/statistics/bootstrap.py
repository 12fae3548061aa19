"""Bootstraps of the human test: the paper's own without its Monte Carlo error, and seeded ones for the rest.

Zhang, Isola and Efros (ECCV 2016) draw participants with replacement, then each drawn participant's trials
with replacement. How many of T trials a drawn participant was fooled in then follows a mixture of binomials,
and the total over P independent draws its P-fold convolution: the limit of infinitely many resamples, exact
and without a seed. Images are not resampled, so the claim is about these images; beside the crossed interval
of `analysis.statistics.fool_rate` it is what readers of the paper know, not what we recommend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import CrossedDesign, one_way_variances
from evalkit.arrays import FloatArray, IntArray
from evalkit.errors import InputError

__all__ = [
    "BootstrapDistribution",
    "BootstrapSummary",
    "nested_bootstrap",
    "nested_bootstrap_samples",
    "nested_bootstrap_std_error",
    "pigeonhole_samples",
    "pigeonhole_variance",
    "probability_less",
    "script_bootstrap_samples",
    "summarise_samples",
]

MAXIMUM_SUPPORT = 2**20
"""Longest exact support (P times the least common multiple of the trial counts); beyond it a grid is used."""
GRID_STEPS = 2**12
"""Steps of that grid over one participant's mean, from 0 to 1."""
_CHUNK = 2**22
"""Random numbers held at once by the Monte Carlo versions."""


@dataclass(frozen=True)
class BootstrapDistribution:
    """Distribution of the bootstrapped mean over infinitely many resamples.

    Attributes
    ----------
    pmf : ndarray of float64, shape (m + 1,)
        Probability of the mean j / m at position j.
    mean : float
        Mean of participant means.
    std_error : float
        Standard deviation of the distribution, from the closed form.
    exact : bool
        False when unequal trial counts made a grid necessary (mass split linearly, so that the mean is kept).
    """

    pmf: FloatArray
    mean: float
    std_error: float
    exact: bool

    @property
    def denominator(self) -> int:
        """m: means are multiples of 1 / m."""
        return self.pmf.size - 1

    @cached_property
    def cdf(self) -> FloatArray:
        """P(mean <= j / m) at position j; ends at exactly 1."""
        cumulative = np.minimum(np.cumsum(self.pmf), 1.0)
        cumulative[-1] = 1.0
        return cumulative

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Percentile interval: the smallest means whose cumulated probability reaches each limit."""
        tail = (1.0 - confidence) / 2
        # 1e-12 keeps rounding of the transform from moving a limit that is hit exactly.
        low, high = np.searchsorted(self.cdf, [tail - 1e-12, 1.0 - tail - 1e-12])
        return float(low / self.denominator), float(high / self.denominator)


@dataclass(frozen=True, kw_only=True)
class BootstrapSummary:
    """What a paper prints of a bootstrap.

    Attributes
    ----------
    mean, std_error : float
        Mean and standard deviation of the resampled means.
    ci_low, ci_high : float
        Percentile interval.
    n_resamples : int
        Number of Monte Carlo resamples; 0 for the exact distribution.
    """

    mean: float
    std_error: float
    ci_low: float
    ci_high: float
    n_resamples: int


def nested_bootstrap(
    fooled_counts: npt.ArrayLike, trial_counts: npt.ArrayLike, *, resample_trials: bool = True
) -> BootstrapDistribution:
    """The paper's bootstrap of one method's fool rate, with infinitely many resamples.

    Parameters
    ----------
    fooled_counts, trial_counts : array_like of int, shape (P,)
        Per participant: trials fooled and trials seen. A single number of trials stands for all.
    resample_trials : bool
        True draws participants, then their trials (Zhang et al.); False draws participants and keeps their
        trials.

    Returns
    -------
    BootstrapDistribution
        Distribution of the mean of participant means.

    Raises
    ------
    InputError
        Counts that are not whole numbers with 0 <= fooled <= trials and trials >= 1.

    Notes
    -----
    With probability mass f of one drawn participant's mean on the multiples of 1/L (L the least common
    multiple of the trial counts), the distribution of the mean of P draws is ``irfft(rfft(f)**P)``.

    Examples
    --------
    >>> paper = nested_bootstrap([0, 1], 1)
    >>> paper.pmf.round(6).tolist(), round(paper.std_error, 7)
    ([0.25, 0.5, 0.25], 0.3535534)
    """
    fooled, trials = _counts(fooled_counts, trial_counts)
    n_participants = fooled.size
    steps = math.lcm(*np.unique(trials).tolist())
    exact = steps * n_participants < MAXIMUM_SUPPORT
    if not exact:
        steps = min(GRID_STEPS, MAXIMUM_SUPPORT // n_participants)
    one = np.zeros(steps + 1)
    for t in np.unique(trials).tolist():
        k = fooled[trials == t]
        if resample_trials:
            _spread(one, np.arange(t + 1) / t, _binomial_pmf(t, k / t).sum(axis=0) / n_participants)
        else:
            _spread(one, k / t, np.full(k.size, 1 / n_participants))
    size = steps * n_participants + 1
    length = 1 << (size - 1).bit_length()  # zero-padded to a power of two: fast, and nothing wraps around
    pmf = np.fft.irfft(np.fft.rfft(one, length) ** n_participants, length)[:size]
    return BootstrapDistribution(
        pmf=np.maximum(pmf, 0.0),
        mean=float(np.mean(fooled / trials)),
        std_error=nested_bootstrap_std_error(fooled, trials, resample_trials=resample_trials),
        exact=exact,
    )


def nested_bootstrap_std_error(
    fooled_counts: npt.ArrayLike, trial_counts: npt.ArrayLike, *, resample_trials: bool = True
) -> float:
    """Standard error of `nested_bootstrap` alone, in closed form.

    SE^2 = sum (m_p - mbar)^2 / P^2 + sum m_p (1 - m_p) / n_p / P^2, with the participants' means m_p; the
    second sum comes from drawing trials.
    """
    fooled, trials = _counts(fooled_counts, trial_counts)
    mean = fooled / trials
    variance = np.sum((mean - mean.mean()) ** 2)
    if resample_trials:
        variance += np.sum(mean * (1 - mean) / trials)
    return float(np.sqrt(variance) / fooled.size)


def probability_less(
    a: BootstrapDistribution, b: BootstrapDistribution, *, ties: Literal["no", "half"] = "no"
) -> float:
    """P(A < B) when both are bootstrapped independently, as the paper reports it.

    It is the share of resamples in which A came out lower, not a p-value.

    Parameters
    ----------
    a, b : BootstrapDistribution
        Two methods with different participants.
    ties : {"no", "half"}
        What an exact tie counts: nothing (the paper) or one half (the public script).

    Returns
    -------
    float
        Probability in [0, 1].
    """
    # i / m_a < j / m_b  <=>  j > i m_b / m_a, in whole numbers.
    scaled = np.arange(a.pmf.size, dtype=np.int64) * b.denominator
    floor, rest = np.divmod(scaled, a.denominator)
    probability = float(np.sum(a.pmf * (1.0 - b.cdf[floor])))
    if ties == "half":
        probability += 0.5 * float(np.sum((a.pmf * b.pmf[floor])[rest == 0]))
    return min(max(probability, 0.0), 1.0)


def nested_bootstrap_samples(
    fooled_counts: npt.ArrayLike,
    trial_counts: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    resample_trials: bool = True,
    pooled: bool = False,
) -> FloatArray:
    """Monte Carlo version of `nested_bootstrap`.

    Parameters
    ----------
    fooled_counts, trial_counts : array_like of int, shape (P,)
        As in `nested_bootstrap`.
    n_resamples : int
        B; the paper uses 1000, its public script 10,000.
    seed : int
        Seed of the generator.
    resample_trials : bool
        As in `nested_bootstrap`.
    pooled : bool
        False averages participant means (the paper); True divides all fooled trials by all trials (the
        script).

    Returns
    -------
    ndarray of float64, shape (n_resamples,)
        Resampled fool rates.
    """
    fooled, trials = _counts(fooled_counts, trial_counts)
    _check_resamples(n_resamples)
    rng = np.random.default_rng(seed)
    samples = np.empty(n_resamples)
    for rows in _chunks(n_resamples, fooled.size):
        drawn = rng.integers(fooled.size, size=(rows.stop - rows.start, fooled.size))
        count = rng.binomial(trials[drawn], (fooled / trials)[drawn]) if resample_trials else fooled[drawn]
        if pooled:
            samples[rows] = count.sum(axis=1) / trials[drawn].sum(axis=1)
        else:
            samples[rows] = np.mean(count / trials[drawn], axis=1)
    return samples


def script_bootstrap_samples(
    fooled_counts: npt.ArrayLike, trial_counts: npt.ArrayLike, *, n_resamples: int = 10_000, seed: int = 0
) -> FloatArray:
    """The bootstrap of the public AMT_Real_vs_Fake script, whose files mix methods within a participant.

    Participants are drawn with replacement, then each one's trials of all methods together, so a method's
    number of trials is random too; rates are pooled. The script's standard error has ddof 0.

    Parameters
    ----------
    fooled_counts, trial_counts : array_like of int, shape (P, M)
        Per participant and method: trials fooled and trials seen. Every participant has at least one trial.
    n_resamples : int
        B, 10,000 in the script.
    seed : int
        Seed of the generator.

    Returns
    -------
    ndarray of float64, shape (n_resamples, M)
        Resampled fool rates, all methods jointly; NaN where a resample holds no trial of a method. The
        script adds 1e-6 to its denominator instead; that changes a rate by less than 1e-4 even for a method
        in 1 % of trials.
    """
    fooled = np.asarray(fooled_counts, dtype=np.int64)
    trials = np.asarray(trial_counts, dtype=np.int64)
    if fooled.ndim != 2 or fooled.shape != trials.shape or np.any(trials.sum(axis=1) < 1):
        raise InputError(
            f"fooled_counts has shape {fooled.shape} and trial_counts {trials.shape}; both must be "
            "(participants, methods), with at least one trial per participant."
        )
    _check_resamples(n_resamples)
    n_participants, n_methods = fooled.shape
    per_participant = trials.sum(axis=1)
    shares = np.concatenate([fooled, trials - fooled], axis=1) / per_participant[:, None]
    rng = np.random.default_rng(seed)
    samples = np.empty((n_resamples, n_methods))
    for rows in _chunks(n_resamples, n_participants * 2 * n_methods):
        drawn = rng.integers(n_participants, size=(rows.stop - rows.start, n_participants))
        counts = rng.multinomial(per_participant[drawn], shares[drawn]).sum(axis=1)
        total = counts[:, :n_methods] + counts[:, n_methods:]
        with np.errstate(invalid="ignore"):
            samples[rows] = counts[:, :n_methods] / total
    return samples


def pigeonhole_variance(values: npt.ArrayLike, design: CrossedDesign) -> float:
    """Variance of the pigeonhole bootstrap: participants and images resampled independently (Owen 2007).

    Exact for complete tables, otherwise linearised. It overstates the variance (by the residual, counted up
    to three times), so its intervals are too long: `analysis.statistics.fool_rate` is sharper.

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers.
    design : CrossedDesign
        Who saw what.

    Returns
    -------
    float
        (1 - 1/I) V_P + (1 - 1/P) V_I + V_0, with the one-way variances of `analysis.statistics.crossed`.
    """
    one_way = one_way_variances(values, design)
    return (
        (1 - 1 / design.n_images) * one_way.participant + (1 - 1 / design.n_participants) * one_way.image + one_way.cell
    )


def pigeonhole_samples(
    values: npt.ArrayLike, design: CrossedDesign, *, n_resamples: int = 10_000, seed: int = 0
) -> FloatArray:
    """Monte Carlo pigeonhole bootstrap of the mean; resamples without any trial are drawn again.

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers.
    design : CrossedDesign
        Who saw what.
    n_resamples : int
        B.
    seed : int
        Seed of the generator.

    Returns
    -------
    ndarray of float64, shape (n_resamples,)
        Resampled means.
    """
    y = np.asarray(values, dtype=np.float64)
    _check_resamples(n_resamples)
    n_p, n_i = design.n_participants, design.n_images
    table = np.bincount(design.cell, y, minlength=n_p * n_i).reshape(n_p, n_i)
    shown = np.bincount(design.cell, minlength=n_p * n_i).reshape(n_p, n_i).astype(np.float64)
    rng = np.random.default_rng(seed)
    samples = np.empty(0)
    while samples.size < n_resamples:
        rows = next(_chunks(n_resamples - samples.size, 3 * max(n_p, n_i)))
        person = rng.multinomial(n_p, np.full(n_p, 1 / n_p), size=rows.stop)
        picture = rng.multinomial(n_i, np.full(n_i, 1 / n_i), size=rows.stop)
        total = np.sum((person @ shown) * picture, axis=1)
        hit = np.sum((person @ table) * picture, axis=1)
        samples = np.concatenate([samples, hit[total > 0] / total[total > 0]])
    return samples


def summarise_samples(samples: npt.ArrayLike, *, ddof: int = 1, confidence: float = 0.95) -> BootstrapSummary:
    """Mean, standard error and percentile interval of Monte Carlo resamples.

    Parameters
    ----------
    samples : array_like, shape (B,)
        Resampled means.
    ddof : int
        1 as in the paper, 0 as in its public script.
    confidence : float
        Nominal coverage of the percentile interval.

    Returns
    -------
    BootstrapSummary
        With ``n_resamples`` = B.
    """
    x = np.asarray(samples, dtype=np.float64)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(x, [tail, 1.0 - tail])
    return BootstrapSummary(
        mean=float(x.mean()),
        std_error=float(x.std(ddof=ddof)),
        ci_low=float(low),
        ci_high=float(high),
        n_resamples=x.size,
    )


def _spread(pmf: FloatArray, position: FloatArray, mass: FloatArray) -> None:
    """Add mass at positions in [0, 1] to the grid, split linearly between neighbours."""
    steps = pmf.size - 1
    scaled = position * steps
    nearest = np.rint(scaled)
    scaled = np.where(np.abs(scaled - nearest) < 1e-9 * steps, nearest, scaled)
    left = np.minimum(scaled.astype(np.int64), steps - 1)
    weight = scaled - left
    np.add.at(pmf, left, mass * (1 - weight))
    np.add.at(pmf, left + 1, mass * weight)


def _binomial_pmf(trials: int, probability: FloatArray) -> FloatArray:
    """Binomial probabilities, shape (len(probability), trials + 1); scipy would take longer to import."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    k = np.arange(trials + 1)
    log_choose = log_factorial[trials] - log_factorial - log_factorial[::-1]
    p = probability[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 * log 0 = 0, as 0^0 = 1
        log_pmf = log_choose + np.where(k > 0, k * np.log(p), 0.0) + np.where(k < trials, k[::-1] * np.log1p(-p), 0.0)
    pmf = np.exp(log_pmf)
    return np.asarray(pmf / pmf.sum(axis=1, keepdims=True))


def _counts(fooled_counts: npt.ArrayLike, trial_counts: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    try:
        fooled, trials = np.broadcast_arrays(
            np.asarray(fooled_counts, dtype=np.float64), np.asarray(trial_counts, dtype=np.float64)
        )
    except (TypeError, ValueError):  # texts, ragged lists, lengths that differ
        fooled = trials = np.empty((0, 0))
    whole = np.all(fooled == np.floor(fooled)) and np.all(trials == np.floor(trials))
    if fooled.ndim != 1 or fooled.size == 0 or not whole or np.any((fooled < 0) | (fooled > trials) | (trials < 1)):
        raise InputError(
            "The bootstrap needs whole numbers per participant, 0 <= fooled <= trials and trials >= 1; "
            f"got {fooled_counts!r:.100} and {trial_counts!r:.100}."
        )
    return fooled.astype(np.int64), trials.astype(np.int64)


def _check_resamples(n_resamples: int) -> None:
    if n_resamples < 2:
        raise InputError(f"n_resamples is {n_resamples}; at least 2 is needed.")


def _chunks(n_resamples: int, width: int) -> Iterator[slice]:
    rows = max(1, _CHUNK // width)
    for start in range(0, n_resamples, rows):
        yield slice(start, min(start + rows, n_resamples))
