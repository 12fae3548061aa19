"""Looking before the end: bounds and a confidence sequence that stay honest when one looks more than once.

Looking after every participant and stopping at p < 0.05 gives about one false alarm in three.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError

__all__ = [
    "BoundKind",
    "betting_confidence_sequence",
    "chance_of_claim",
    "group_sequential_bounds",
    "nominal_levels",
    "sample_size_inflation",
]

BoundKind = Literal["pocock", "obrien-fleming"]
MAXIMUM_NODES = 200
"""Of the numerical integration, where looks lie so close together that it has to be fine."""


def group_sequential_bounds(looks: int, kind: BoundKind, *, level: float = 0.05) -> FloatArray:
    """Limits for |z| at equally spaced looks that keep the overall two-sided level.

    Parameters
    ----------
    looks : int
        Number of looks K, the last one included; 1 to 50.
    kind : {"pocock", "obrien-fleming"}
        The same limit at each look (Pocock 1977), or C sqrt(K / k) at look k (O'Brien and Fleming 1979).
    level : float
        Overall chance of a false alarm.

    Returns
    -------
    ndarray of float64, shape (looks,)
        Stop and claim a difference when |z| exceeds the limit; for a t test use `nominal_levels`.

    Raises
    ------
    InputError
        Numbers of looks or kinds that are not allowed.

    Notes
    -----
    Sums S_k of k standard normal increments are followed through the region where nothing was claimed yet, by
    numerical integration (Armitage, McPherson, Rowe 1969).
    """
    if not 1 <= looks <= 50:
        raise InputError(f"{looks} looks were asked for; 1 to 50 are allowed.")
    if kind not in ("pocock", "obrien-fleming"):
        raise InputError(f"The kind of bound is {kind!r}; 'pocock' or 'obrien-fleming' is allowed.")
    return np.array(_bounds(looks, kind, level))


@functools.cache
def _bounds(looks: int, kind: BoundKind, level: float) -> tuple[float, ...]:
    """The limits; kept, since a plan asks for them again and again."""
    information = np.arange(1, looks + 1) / looks
    shape = np.ones(looks) if kind == "pocock" else np.sqrt(1.0 / information)
    low, high = 1.0, 5.0
    for _ in range(36):
        middle = (low + high) / 2
        alarms = chance_of_claim(middle * shape, np.zeros(looks), information)
        low, high = (middle, high) if alarms > level else (low, middle)
    return tuple((high * shape).tolist())


def nominal_levels(looks: int, kind: BoundKind, *, level: float = 0.05) -> FloatArray:
    """The same bounds as limits for the unadjusted two-sided p-value at each look.

    With few participants |t| exceeds a limit for |z| too often; its p-value, which knows its degrees of freedom,
    does not. Compare p with these limits, never t with those of `group_sequential_bounds`.

    Parameters
    ----------
    looks, kind, level
        As in `group_sequential_bounds`.

    Returns
    -------
    ndarray of float64, shape (looks,)
        2 (1 - Phi(limit)); stop and claim a difference when p is at or below it.
    """
    from scipy.special import ndtr

    return np.asarray(2.0 * ndtr(-group_sequential_bounds(looks, kind, level=level)))


@functools.cache
def sample_size_inflation(looks: int, kind: BoundKind, *, level: float = 0.05, power: float = 0.8) -> float:
    """How many times the sample of a study without looks is needed at most, for the same power, as samples grow.

    With few participants looks cost more: the first ones, on the p scale, hardly ever claim anything. A plan therefore
    computes its power look by look (`analysis.planning.power.power_of`).

    Parameters
    ----------
    looks, kind, level
        As in `group_sequential_bounds`.
    power : float
        Chance to claim a true difference at one of the looks; above `level`.

    Returns
    -------
    float
        At least 1; 1.110 (O'Brien-Fleming 1.008) for two looks at 5 % and 80 % power [1]_.

    References
    ----------
    .. [1] Jennison, Turnbull, *Group Sequential Methods*, 2000, tables 2.2 and 2.4.
    """
    from scipy.special import ndtri

    limits, information = group_sequential_bounds(looks, kind, level=level), np.arange(1, looks + 1) / looks
    low, high = 0.0, 20.0  # mean of the last statistic
    for _ in range(36):
        middle = (low + high) / 2
        reached = chance_of_claim(limits, middle * np.sqrt(information), information) >= power
        low, high = (low, middle) if reached else (middle, high)
    without_looks = float(ndtri(1 - level / 2) + ndtri(power))
    return max((high / without_looks) ** 2, 1.0)


def chance_of_claim(limits: FloatArray, means: FloatArray, information: FloatArray) -> float:
    """Chance that a standardised statistic exceeds its limit at one of several looks.

    Parameters
    ----------
    limits : ndarray of float64, shape (K,)
        For |z| at each look, above 0.
    means : ndarray of float64, shape (K,)
        Of the statistic, whose standard deviation is 1.
    information : ndarray of float64, shape (K,)
        Share of the final information at each look, increasing; z_j and z_k correlate by the root of the ratio.

    Returns
    -------
    float
        P(|z_k| > limits[k] for some k), by the same integration as `group_sequential_bounds`.
    """
    scale = np.sqrt(information)
    step = np.sqrt(np.diff(information, prepend=0.0))
    shift = np.diff(means * scale, prepend=0.0)
    bound = limits * scale
    node, weight = _nodes(int(np.clip(np.ceil(3.0 * bound.max() / step.min()), 64, MAXIMUM_NODES)))
    x = bound[0] * node
    mass = bound[0] * weight * _normal_density((x - shift[0]) / step[0]) / step[0]
    for k in range(1, limits.size):
        y = bound[k] * node
        density = _normal_density((y[:, None] - x[None, :] - shift[k]) / step[k]) @ mass / step[k]
        x, mass = y, bound[k] * weight * density
    return 1.0 - float(mass.sum())


@functools.cache
def _nodes(number: int) -> tuple[FloatArray, FloatArray]:
    return np.polynomial.legendre.leggauss(number)


def _normal_density(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi))


def betting_confidence_sequence(
    means: npt.ArrayLike, *, confidence: float = 0.95, grid: int = 1000
) -> tuple[FloatArray, FloatArray]:
    """Interval after every participant that holds at all times together (hedged capital process).

    It is about new participants on these images only: participants are independent, images are not resampled.

    Parameters
    ----------
    means : array_like, shape (P,)
        Participants' fool rates in [0, 1], in the order of arrival.
    confidence : float
        Chance that the true mean lies in all intervals.
    grid : int
        Candidate means that are tried.

    Returns
    -------
    low, high : ndarray of float64, shape (P,)
        Intersections so far.

    Raises
    ------
    InputError
        Means outside [0, 1], or none.

    References
    ----------
    .. [1] Waudby-Smith, Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024, eq.
       24-26.
    """
    x = np.asarray(means, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or np.any(~((x >= 0) & (x <= 1))):
        raise InputError("Participants' means must be fractions in [0, 1], one per participant.")
    alpha = 1.0 - confidence
    count = np.arange(1, x.size + 1)
    running = (0.5 + np.cumsum(x)) / (count + 1)
    spread = (0.25 + np.cumsum((x - running) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])  # bets may look at the past only
    bet = np.sqrt(2 * math.log(2 / alpha) / (before * count * np.log1p(count)))
    m = (np.arange(grid) + 0.5) / grid
    up = np.cumsum(np.log1p(np.minimum(bet[:, None], 0.5 / m) * (x[:, None] - m)), axis=0)
    down = np.cumsum(np.log1p(-np.minimum(bet[:, None], 0.5 / (1 - m)) * (x[:, None] - m)), axis=0)
    alive = np.maximum(up, down) + math.log(0.5) < math.log(1 / alpha)
    alive = np.logical_and.accumulate(alive, axis=0)
    if not alive[-1].any():  # data no mean explains; keep the last cell rather than nothing
        alive[~alive.any(axis=1)] = np.arange(grid) == np.argmin(np.abs(m - x.mean()))
    low = m[np.argmax(alive, axis=1)] - 0.5 / grid
    high = m[grid - 1 - np.argmax(alive[:, ::-1], axis=1)] + 0.5 / grid
    return low, high
