"""Many comparisons at once: adjusted p-values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, FloatArray
from evalkit.errors import InputError

__all__ = ["benjamini_hochberg", "holm"]


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values of Holm (1979): the chance of any false claim in the family stays below the level.

    Use it for the declared family, for example one's own method against each baseline.

    Parameters
    ----------
    p_values : array_like, shape (k,)
        Unadjusted p-values; NaN (no test) stays NaN and does not count.

    Returns
    -------
    ndarray of float64, shape (k,)
        Adjusted p-values, in the given order.

    Raises
    ------
    InputError
        Values outside [0, 1].
    """
    p, tested, order = _sorted(p_values)
    adjusted = np.full(p.shape, np.nan)
    factor = np.arange(order.size, 0, -1)
    adjusted[np.flatnonzero(tested)[order]] = np.minimum(np.maximum.accumulate(p[tested][order] * factor), 1.0)
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values of Benjamini and Hochberg (1995), which bound the expected share of false claims.

    Use it for galleries (which of hundreds of images stand out), not for claims about methods. Parameters,
    result and errors are those of `holm`.
    """
    p, tested, order = _sorted(p_values)
    adjusted = np.full(p.shape, np.nan)
    scaled = p[tested][order] * order.size / np.arange(1, order.size + 1)
    adjusted[np.flatnonzero(tested)[order]] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _sorted(p_values: npt.ArrayLike) -> tuple[FloatArray, BoolArray, npt.NDArray[np.intp]]:
    p = np.asarray(p_values, dtype=np.float64)
    has_p = ~np.isnan(p)
    if p.ndim != 1 or np.any((p[has_p] < 0) | (p[has_p] > 1)):
        raise InputError(f"p_values is {p}; a list of numbers between 0 and 1 (or NaN for no test) is allowed.")
    return p, has_p, np.argsort(p[has_p], kind="stable")
