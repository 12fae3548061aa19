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


@kernel_helper(fastmath={"contract"})
def _filter_row(source: Any, taps: Any, step: int, target: Any) -> None:
    """Filter one row horizontally: values ``step`` apart in ``source`` make one of ``target``."""
    w0, w1, w2, w3, w4, w5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    # Unsigned indices: with signed ones the compiler must allow for negative (wrapping) indices and gives up on
    # vector instructions, 10 times slower.
    s1 = np.uintp(step)
    s2, s3, s4, s5 = s1 + s1, np.uintp(3) * s1, np.uintp(4) * s1, np.uintp(5) * s1
    for position in range(target.size):
        first = np.uintp(position)
        c = first + s5
        target[first] = (
            w0 * source[c]
            + w1 * (source[c - s1] + source[c + s1])
            + w2 * (source[c - s2] + source[c + s2])
            + w3 * (source[c - s3] + source[c + s3])
            + w4 * (source[c - s4] + source[c + s4])
            + w5 * (source[first] + source[c + s5])
        )


@kernel_helper(fastmath={"contract"})
def _filter_columns(strip: Any, taps: Any, row: int, target: Any) -> None:
    """Filter _TOGETHER + WINDOW - 1 rows of ``strip`` vertically into _TOGETHER rows of ``target``."""
    w0, w1, w2, w3, w4, w5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    n = np.uintp(row)
    for column in range(row):
        j = np.uintp(column)
        x0, x1, x2, x3 = strip[j], strip[j + n], strip[j + np.uintp(2) * n], strip[j + np.uintp(3) * n]
        x4, x5 = strip[j + np.uintp(4) * n], strip[j + np.uintp(5) * n]
        x6, x7 = strip[j + np.uintp(6) * n], strip[j + np.uintp(7) * n]
        x8, x9 = strip[j + np.uintp(8) * n], strip[j + np.uintp(9) * n]
        x10, x11 = strip[j + np.uintp(10) * n], strip[j + np.uintp(11) * n]
        x12, x13 = strip[j + np.uintp(12) * n], strip[j + np.uintp(13) * n]
        target[j] = w0 * x5 + w1 * (x4 + x6) + w2 * (x3 + x7) + w3 * (x2 + x8) + w4 * (x1 + x9) + w5 * (x0 + x10)
        target[j + n] = w0 * x6 + w1 * (x5 + x7) + w2 * (x4 + x8) + w3 * (x3 + x9) + w4 * (x2 + x10) + w5 * (x1 + x11)
        target[j + np.uintp(2) * n] = (
            w0 * x7 + w1 * (x6 + x8) + w2 * (x5 + x9) + w3 * (x4 + x10) + w4 * (x3 + x11) + w5 * (x2 + x12)
        )
        target[j + np.uintp(3) * n] = (
            w0 * x8 + w1 * (x7 + x9) + w2 * (x6 + x10) + w3 * (x5 + x11) + w4 * (x4 + x12) + w5 * (x3 + x13)
        )


@kernel_helper()
def _first_new_row(strip: Any, row: int, top: int) -> int:
    """Make room in a strip for the output rows from ``top``: which of its rows is the first to fill."""
    if top == 0:
        return 0
    kept = (WINDOW - 1) * row
    source, target = _part(strip, strip.size - kept, kept), _part(strip, 0, kept)
    # Value by value: an assignment of slices has numba compile the text of an error about their shapes, for 2 seconds.
    for position in range(kept):
        i = np.uintp(position)
        target[i] = source[i]
    return WINDOW - 1


@njit(cache=True, nogil=True, error_model="numpy")
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
    row_in, row, rows_out = width * step, (width - WINDOW + 1) * step, height - WINDOW + 1
    together = (_TOGETHER + WINDOW - 1) * row
    values, squares = np.empty(row_in), np.empty(row_in)
    # Zeros: the last strip may be filled in part, yet is filtered by whole groups of rows.
    value_strip, square_strip = np.zeros((_STRIP + WINDOW - 1) * row), np.zeros((_STRIP + WINDOW - 1) * row)
    means, mean_squares = np.empty(_TOGETHER * row), np.empty(_TOGETHER * row)
    for top in range(0, rows_out, _STRIP):
        rows = min(_STRIP, rows_out - top)
        _first_new_row(value_strip, row, top)
        for i in range(_first_new_row(square_strip, row, top), rows + WINDOW - 1):
            x_row = _part(x, (top + i) * row_in, row_in)
            for j in range(row_in):
                value = np.float64(x_row[j])
                values[j] = value
                squares[j] = value * value
            _filter_row(values, taps, step, _part(value_strip, i * row, row))
            _filter_row(squares, taps, step, _part(square_strip, i * row, row))
        for i in range(0, rows, _TOGETHER):
            _filter_columns(_part(value_strip, i * row, together), taps, row, means)
            _filter_columns(_part(square_strip, i * row, together), taps, row, mean_squares)
            start, size = (top + i) * row, min(_TOGETHER, rows - i) * row
            mean_out, variance_out = _part(mean, start, size), _part(variance, start, size)
            for j in range(size):
                mean_out[j] = means[j]
                variance_out[j] = mean_squares[j] - means[j] * means[j]


@njit(cache=True, nogil=True, error_model="numpy")
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
    row_in, row, rows_out = width * step, (width - WINDOW + 1) * step, height - WINDOW + 1
    together = (_TOGETHER + WINDOW - 1) * row
    values, squares, products = np.empty(row_in), np.empty(row_in), np.empty(row_in)
    strip_size = (_STRIP + WINDOW - 1) * row
    value_strip, square_strip = np.zeros(strip_size), np.zeros(strip_size)
    product_strip = np.zeros(strip_size)
    y_means, y_squares = np.empty(_TOGETHER * row), np.empty(_TOGETHER * row)
    xy_products = np.empty(_TOGETHER * row)
    # One sum a column of the group: adding whole rows keeps the order fixed and still runs in vector lanes.
    sums = np.zeros(_TOGETHER * row)
    for top in range(0, rows_out, _STRIP):
        rows = min(_STRIP, rows_out - top)
        _first_new_row(value_strip, row, top)
        _first_new_row(square_strip, row, top)
        for i in range(_first_new_row(product_strip, row, top), rows + WINDOW - 1):
            x_row = _part(x, (top + i) * row_in, row_in)
            y_row = _part(y, (top + i) * row_in, row_in)
            for j in range(row_in):
                value = np.float64(y_row[j])
                values[j] = value
                squares[j] = value * value
                products[j] = np.float64(x_row[j]) * value
            _filter_row(values, taps, step, _part(value_strip, i * row, row))
            _filter_row(squares, taps, step, _part(square_strip, i * row, row))
            _filter_row(products, taps, step, _part(product_strip, i * row, row))
        for i in range(0, rows, _TOGETHER):
            _filter_columns(_part(value_strip, i * row, together), taps, row, y_means)
            _filter_columns(_part(square_strip, i * row, together), taps, row, y_squares)
            _filter_columns(_part(product_strip, i * row, together), taps, row, xy_products)
            start, size = (top + i) * row, min(_TOGETHER, rows - i) * row
            x_means, x_variances = _part(x_mean, start, size), _part(x_variance, start, size)
            if luminance:
                for j in range(size):
                    mx, my = x_means[j], y_means[j]
                    y_variance, covariance = y_squares[j] - my * my, xy_products[j] - mx * my
                    # Wang et al. 2004, equation 13.
                    sums[j] += ((2.0 * mx * my + c1) * (2.0 * covariance + c2)) / (
                        (mx * mx + my * my + c1) * (x_variances[j] + y_variance + c2)
                    )
            else:
                for j in range(size):
                    mx, my = x_means[j], y_means[j]
                    y_variance, covariance = y_squares[j] - my * my, xy_products[j] - mx * my
                    # Wang et al. 2003, the product of equations 2 and 3 with C3 = C2 / 2.
                    sums[j] += (2.0 * covariance + c2) / (x_variances[j] + y_variance + c2)
    # np.sum adds in this order too, and takes longer to compile.
    total = 0.0
    for j in range(sums.size):
        total += sums[j]
    return total
