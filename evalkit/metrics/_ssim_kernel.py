"""Compiled SSIM: separable Gaussian filters over flat rows, in float64.

Rows are taken as they lie in memory: RGB pixels stay interleaved and the horizontal filter steps over ``step``
values, so nothing is copied into planes. Each row is filtered horizontally once, into a strip of rows that stays in
cache; the vertical filter reads the strip and gives four rows at a time. All sums run in a fixed order and only the
two filters may fuse a product and a sum (fastmath "contract"), so truth and prediction that are equal give equal
moments and an index of exactly 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from evalkit.color._kernel_helper import kernel_helper

__all__ = ["WINDOW", "filtered_moments", "similarity_sum"]

WINDOW = 11
"""Side of the filter window in pixels."""

# Rows that a strip gives out before its last WINDOW - 1 rows move to its start: a multiple of _TOGETHER. At 256 RGB
# pixels per row the three strips take 0.46 MB, inside the second cache level.
_STRIP = 16
# Output rows that the vertical filter computes together: they share most of the rows they read, and reading is what
# takes the time (2.4 times faster than row by row; with 8 the values no longer fit the registers).
_TOGETHER = 4


@kernel_helper()
def _part(values: Any, start: int, size: int) -> Any:
    """Some values of an array; a slice takes long to compile, so it stands here once."""
    return values[start : start + size]


@kernel_helper(fastmath={"contract"}, forceinline=True)
def _filter_row(source: Any, taps: Any, step: int, target: Any) -> None:
    """Filter one row horizontally: values ``step`` apart in ``source`` make one of ``target``."""
    # Unsigned indices: with signed ones the compiler must allow for negative (wrapping) indices and gives up on
    # vector instructions, 10 times slower.
    n = np.uintp(step)
    middle = np.uintp(WINDOW // 2) * n
    for position in range(target.size):
        first = np.uintp(position)
        c = first + middle
        total = taps[0] * source[c]
        for k in range(1, WINDOW // 2 + 1):  # the compiler unrolls it; unrolled here it takes long to compile
            away = np.uintp(k) * n
            total += taps[k] * (source[c - away] + source[c + away])
        target[first] = total


@kernel_helper(fastmath={"contract"}, forceinline=True)
def _filter_columns(strip: Any, taps: Any, row: int, target: Any) -> None:
    """Filter _TOGETHER + WINDOW - 1 rows of ``strip`` vertically into _TOGETHER rows of ``target``."""
    n = np.uintp(row)
    for column in range(row):
        j = np.uintp(column)
        c0 = j + np.uintp(WINDOW // 2) * n
        c1 = c0 + n
        c2 = c1 + n
        c3 = c2 + n
        w = taps[0]
        total0, total1, total2, total3 = w * strip[c0], w * strip[c1], w * strip[c2], w * strip[c3]
        for k in range(1, WINDOW // 2 + 1):
            away = np.uintp(k) * n
            w = taps[k]
            total0 += w * (strip[c0 - away] + strip[c0 + away])
            total1 += w * (strip[c1 - away] + strip[c1 + away])
            total2 += w * (strip[c2 - away] + strip[c2 + away])
            total3 += w * (strip[c3 - away] + strip[c3 + away])
        target[j] = total0
        target[j + n] = total1
        target[j + n + n] = total2
        target[j + n + n + n] = total3


@kernel_helper()
def _first_new_row(strips: Any, size: int, row: int, top: int) -> int:
    """Make room in strips, ``size`` values each, for the output rows from ``top``: the first row of them to fill."""
    if top == 0:
        return 0
    kept = (WINDOW - 1) * row
    for end in range(size, strips.size + 1, size):
        source, target = _part(strips, end - kept, kept), _part(strips, end - size, kept)
        # Value by value: an assignment of slices has numba compile the text of an error about their shapes, for 2 seconds.
        for position in range(kept):
            i = np.uintp(position)
            target[i] = source[i]
    return WINDOW - 1


@kernel_helper()
def _filter_rows(rows: Any, taps: Any, step: int, strips: Any, size: int, start: int, row: int) -> None:
    """Filter each of several rows horizontally into its own strip of ``size`` values, from ``start`` on."""
    n = strips.size // size
    row_in = rows.size // n
    for k in range(n):
        _filter_row(_part(rows, k * row_in, row_in), taps, step, _part(strips, k * size + start, row))


@kernel_helper()
def _filter_strips(strips: Any, size: int, start: int, taps: Any, row: int, filtered: Any) -> None:
    """Filter each of several strips vertically into its own _TOGETHER rows of ``filtered``."""
    for k in range(strips.size // size):
        strip = _part(strips, k * size + start, (_TOGETHER + WINDOW - 1) * row)
        _filter_columns(strip, taps, row, _part(filtered, k * _TOGETHER * row, _TOGETHER * row))


def _work_space(n: int, width: int, step: int) -> tuple[Any, Any, Any]:
    """A row, a strip and the filtered rows of n quantities; made here, since it takes long to compile.

    Zeros: the last strip may be filled in part, yet is filtered by whole groups of rows.
    """
    row = (width - WINDOW + 1) * step
    return np.empty(n * width * step), np.zeros(n * (_STRIP + WINDOW - 1) * row), np.empty(n * _TOGETHER * row)


def filtered_moments(x: Any, height: int, width: int, step: int, taps: Any, mean: Any, variance: Any) -> None:
    """Filtered mean and (population) variance of an image, in the valid region.

    Parameters
    ----------
    x : ndarray, shape (height * width * step,)
        Pixels in row order, ``step`` interleaved channels.
    height, width, step : int
        Both sides at least WINDOW.
    taps : ndarray of float64, shape (6,)
        The window from its centre outwards.
    mean, variance : ndarray of float64, shape ((height - 10) * (width - 10) * step,)
        Filled.
    """
    _fill_moments(x, height, width, step, taps, *_work_space(2, width, step), mean, variance)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_moments(
    x: Any,
    height: int,
    width: int,
    step: int,
    taps: Any,
    values: Any,
    strips: Any,
    filtered: Any,
    mean: Any,
    variance: Any,
) -> None:
    row_in, row, rows_out = width * step, (width - WINDOW + 1) * step, height - WINDOW + 1
    size, second = strips.size // 2, np.uintp(_TOGETHER * row)
    for top in range(0, rows_out, _STRIP):
        rows = rows_out - top if rows_out - top < _STRIP else _STRIP
        for i in range(_first_new_row(strips, size, row, top), rows + WINDOW - 1):
            for position in range(row_in):
                j = np.uintp(position)
                value = np.float64(x[np.uintp((top + i) * row_in) + j])
                values[j] = value
                values[np.uintp(row_in) + j] = value * value
            _filter_rows(values, taps, step, strips, size, i * row, row)
        for i in range(0, rows, _TOGETHER):
            _filter_strips(strips, size, i * row, taps, row, filtered)
            start = np.uintp((top + i) * row)
            for position in range((rows - i if rows - i < _TOGETHER else _TOGETHER) * row):
                j = np.uintp(position)
                m = filtered[j]
                mean[start + j] = m
                variance[start + j] = filtered[second + j] - m * m


def similarity_sum(
    x: Any,
    x_mean: Any,
    x_variance: Any,
    y: Any,
    height: int,
    width: int,
    step: int,
    taps: Any,
    c1: float,
    c2: float,
    luminance: bool,
) -> float:
    """Sum of the SSIM index over the valid region and all channels.

    Parameters
    ----------
    x, y : ndarray, shape (height * width * step,)
        Pixels of both images in row order, ``step`` interleaved channels.
    x_mean, x_variance : ndarray of float64
        What `filtered_moments` gave for ``x``.
    height, width, step, taps
        As in `filtered_moments`.
    c1, c2 : float
        The constants of the luminance and of the contrast-structure term.
    luminance : bool
        Whether the luminance term takes part; without it the sum is that of the contrast-structure term.
    """
    work = _work_space(3, width, step)
    # One sum a column of the group: adding whole rows keeps the order fixed and still runs in vector lanes.
    sums = np.zeros(work[2].size // 3)
    return float(_add_similarities(x, x_mean, x_variance, y, height, width, step, taps, c1, c2, luminance, *work, sums))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_similarities(
    x: Any,
    x_mean: Any,
    x_variance: Any,
    y: Any,
    height: int,
    width: int,
    step: int,
    taps: Any,
    c1: float,
    c2: float,
    luminance: bool,
    values: Any,
    strips: Any,
    filtered: Any,
    sums: Any,
) -> float:
    row_in, row, rows_out = width * step, (width - WINDOW + 1) * step, height - WINDOW + 1
    size, second, third = strips.size // 3, np.uintp(_TOGETHER * row), np.uintp(2 * _TOGETHER * row)
    for top in range(0, rows_out, _STRIP):
        rows = rows_out - top if rows_out - top < _STRIP else _STRIP
        for i in range(_first_new_row(strips, size, row, top), rows + WINDOW - 1):
            start: Any = np.uintp((top + i) * row_in)
            for position in range(row_in):
                j = np.uintp(position)
                value = np.float64(y[start + j])
                values[j] = value
                values[np.uintp(row_in) + j] = value * value
                values[np.uintp(2 * row_in) + j] = np.float64(x[start + j]) * value
            _filter_rows(values, taps, step, strips, size, i * row, row)
        for i in range(0, rows, _TOGETHER):
            _filter_strips(strips, size, i * row, taps, row, filtered)
            start = np.uintp((top + i) * row)
            for position in range((rows - i if rows - i < _TOGETHER else _TOGETHER) * row):
                j = np.uintp(position)
                mx, my = x_mean[start + j], filtered[j]
                y_variance, covariance = filtered[second + j] - my * my, filtered[third + j] - mx * my
                # Wang et al. 2004, equation 13; without the luminance term, whose two parts are then 1, Wang et al. 2003,
                # the product of equations 2 and 3 with C3 = C2 / 2.
                numerator = 2.0 * mx * my + c1 if luminance else 1.0
                denominator = mx * mx + my * my + c1 if luminance else 1.0
                sums[j] += (numerator * (2.0 * covariance + c2)) / (
                    denominator * (x_variance[start + j] + y_variance + c2)
                )
    # np.sum adds in this order too, and takes longer to compile.
    total = 0.0
    for k in range(sums.size):
        total += sums[k]
    return total
