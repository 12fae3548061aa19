"""Which ranks each of several methods can have, given the pairs that are told apart.

References
----------
.. [1] Al Mohamad, Goeman and van Zwet, "Simultaneous confidence intervals for ranks with application to ranking
   institutions", Biometrics 78(1), 2022, 238-247.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evalkit.arrays import IntArray

__all__ = ["rank_ranges"]


def rank_ranges(better: npt.ArrayLike) -> IntArray:
    """First and last rank of each method: one more than the methods shown to be better, up to all but those shown worse.

    Where the pairs are tested with an adjustment for all of them, the ranges hold together with the same confidence [1]_.
    Two methods that are not told apart always have a rank in common.

    Parameters
    ----------
    better : array_like of bool, shape (k, k)
        Whether the method of the row is shown to be better than that of the column.

    Returns
    -------
    ndarray of int64, shape (k, 2)
        From 1 to k.

    Notes
    -----
    If A is better than B and B better than C, then A is better than C, whether or not a test of these two says so. Claims
    that contradict each other (pairs are tested on the images they share, which may differ) count as none.

    Examples
    --------
    A is not told apart from B, nor B from C, but A is better than C:

    >>> rank_ranges([[0, 0, 1], [0, 0, 0], [0, 0, 0]]).tolist()
    [[1, 2], [1, 3], [2, 3]]
    """
    is_better = np.array(better, dtype=bool)
    for k in range(len(is_better)):
        is_better |= is_better[:, k : k + 1] & is_better[k : k + 1, :]
    is_better &= ~is_better.T
    return np.stack([1 + is_better.sum(axis=0), len(is_better) - is_better.sum(axis=1)], axis=1).astype(np.int64)
