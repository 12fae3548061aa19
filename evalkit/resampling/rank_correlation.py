"""Spearman's rank correlation: the one that metrics and people are compared by."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.wording import counted

__all__ = ["spearman"]


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation; equal values share their mean rank.

    Parameters
    ----------
    x, y : array_like, shape (n,)

    Returns
    -------
    float
        NaN below two values or where one side is constant.

    Examples
    --------
    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    one, other = _ranks(np.asarray(x, dtype=np.float64)), _ranks(np.asarray(y, dtype=np.float64))
    if one.shape != other.shape:
        raise InputError(f"{counted(len(one), 'value')} cannot be correlated with {len(other)}.")
    if len(one) < 2:
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    spread = math.sqrt(float((one * one).sum() * (other * other).sum()))
    return float((one * other).sum() / spread) if spread > 0 else math.nan


def _ranks(values: FloatArray) -> FloatArray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts - 1) / 2)[which]
    return ranks
