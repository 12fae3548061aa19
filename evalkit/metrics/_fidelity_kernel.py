"""Compiled sums over flat 8-bit arrays; whole numbers, so that the order of summation cannot matter."""

from __future__ import annotations

import numpy as np
from numba import njit

from evalkit.metrics.base import Rgb8

__all__ = ["sum_squared_difference"]


@njit(cache=True, nogil=True)
def sum_squared_difference(x: Rgb8, y: Rgb8) -> int:
    """Sum of (x - y)^2 over two flat uint8 arrays of one length; exact (int64 holds 1.4e14 pixel values)."""
    total = np.int64(0)
    for i in range(x.size):
        # Widened first: a uint8 subtraction would wrap around.
        difference = np.int64(x[i]) - np.int64(y[i])
        total += difference * difference
    return int(total)
