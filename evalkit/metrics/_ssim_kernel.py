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

from evalkit.color._kernel_helper import kernel, kernel_helper, pointer_at, pointer_to

__all__ = ["WINDOW", "filtered_moments", "similarity_sum"]

WINDOW = 11
"""Side of the filter window in pixels."""

# Rows that a strip gives out before its last WINDOW - 1 rows move to its start: a multiple of _TOGETHER. At 256 RGB
# pixels per row the three strips take 0.46 MB, inside the second cache level.
_STRIP = 16
# Output rows that the vertical filter computes together: they share most of the rows they read, and reading is what
# takes the time (2.4 times faster than row by row; with 8 the values no longer fit the registers).
_TOGETHER = 4


# The two filters stand in functions of their own, apart from the loops around them, and read at positions that grow from
# one pointer: otherwise the compiler does not find that they can run in vector instructions, and they take twice as long.
# Inlined by name, since a process that compiles would call the code of the function alone, which runs one by one.


@kernel_helper(fastmath={"contract"}, forceinline=True)
def _filter_row(source: Any, taps: Any, step: int, row: int, target: Any) -> None:
    """Filter one row horizontally: values ``step`` apart in ``source`` make one of the ``row`` of ``target``."""
    for i in range(row):
        c = i + WINDOW // 2 * step
        total = taps[0] * source[c]
        for k in range(1, WINDOW // 2 + 1):  # the compiler unrolls it; unrolled here it takes long to compile
            total += taps[k] * (source[c - k * step] + source[c + k * step])
        target[i] = total


@kernel_helper(fastmath={"contract"}, forceinline=True)
def _filter_columns(strip: Any, taps: Any, row: int, target: Any, stride: int) -> None:
    """Filter _TOGETHER + WINDOW - 1 rows of ``strip`` vertically into _TOGETHER rows, ``stride`` apart in ``target``."""
    for j in range(row):
        c0 = j + WINDOW // 2 * row
        c1, c2, c3 = c0 + row, c0 + 2 * row, c0 + 3 * row
        w = taps[0]
        total0, total1, total2, total3 = w * strip[c0], w * strip[c1], w * strip[c2], w * strip[c3]
        for k in range(1, WINDOW // 2 + 1):
            away, w = k * row, taps[k]
            total0 += w * (strip[c0 - away] + strip[c0 + away])
            total1 += w * (strip[c1 - away] + strip[c1 + away])
            total2 += w * (strip[c2 - away] + strip[c2 + away])
            total3 += w * (strip[c3 - away] + strip[c3 + away])
        target[j] = total0
        target[j + stride] = total1
        target[j + 2 * stride] = total2
        target[j + 3 * stride] = total3


def _work_space(n: int, width: int, step: int) -> tuple[Any, Any, Any]:
    """A row of three quantities, and the strips and filtered rows of n.

    Zeros: the last strip may be filled in part, yet is filtered by whole groups of rows.
    """
    row = (width - WINDOW + 1) * step
    return np.empty(3 * width * step), np.zeros(n * (_STRIP + WINDOW - 1) * row), np.empty(n * _TOGETHER * row)


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
    work = _work_space(2, width, step)
    _filter_image(x, x, height, width, step, taps, 2, *work, mean, variance, work[0], 0.0, 0.0, False)


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
    _filter_image(x, y, height, width, step, taps, 3, *work, x_mean, x_variance, sums, c1, c2, luminance)
    return float(np.cumsum(sums)[-1])  # one after another: np.sum adds in an order of its own


@kernel()
def _filter_image(
    x: Any,
    y: Any,
    height: int,
    width: int,
    step: int,
    taps: Any,
    n: int,
    values: Any,
    strips: Any,
    filtered: Any,
    mean: Any,
    variance: Any,
    sums: Any,
    c1: float,
    c2: float,
    luminance: bool,
) -> None:
    """Filter n quantities of ``y``: two, which give its moments, or three, of which the third is its product with ``x``.

    Two fill ``mean`` and ``variance``; with three these are those of ``x``, and the indices are added to ``sums``. One
    kernel for both, since what they share takes longest to compile.
    """
    row_in, row, rows_out = width * step, (width - WINDOW + 1) * step, height - WINDOW + 1
    size = strips.size // n
    first_strip, weights = pointer_to(strips), pointer_to(taps)
    own = pointer_to(values)
    squares, products = pointer_at(own, row_in), pointer_at(own, 2 * row_in)
    for top in range(0, rows_out, _STRIP):
        rows = rows_out - top if rows_out - top < _STRIP else _STRIP
        if top > 0:  # the last rows of each strip are the first of the next ones
            for k in range(n):
                target = pointer_at(first_strip, k * size)
                for j in range((WINDOW - 1) * row):
                    target[j] = target[j + size - (WINDOW - 1) * row]
        for i in range(0 if top == 0 else WINDOW - 1, rows + WINDOW - 1):
            x_row, y_row = pointer_at(pointer_to(x), (top + i) * row_in), pointer_at(pointer_to(y), (top + i) * row_in)
            for j in range(row_in):
                value = np.float64(y_row[j])
                own[j] = value
                squares[j] = value * value
                products[j] = np.float64(x_row[j]) * value
            for k in range(n):
                strip = pointer_at(first_strip, k * size + i * row)
                _filter_row(pointer_at(own, k * row_in), weights, step, row, strip)
        for i in range(0, rows, _TOGETHER):
            for k in range(n):
                strip = pointer_at(first_strip, k * size + i * row)
                # Whether targets overlap is asked once for all strips; rows that alternate between quantities do not.
                _filter_columns(strip, weights, row, pointer_at(pointer_to(filtered), k * row), n * row)
            for k in range(rows - i if rows - i < _TOGETHER else _TOGETHER):
                start = (top + i + k) * row
                x_mean, x_variance = pointer_at(pointer_to(mean), start), pointer_at(pointer_to(variance), start)
                own_mean = pointer_at(pointer_to(filtered), k * n * row)
                mean_square, mean_product = pointer_at(own_mean, row), pointer_at(own_mean, 2 * row)
                if n == 2:
                    for j in range(row):
                        m = own_mean[j]
                        x_mean[j] = m
                        x_variance[j] = mean_square[j] - m * m
                    continue
                column_sums = pointer_at(pointer_to(sums), k * row)
                for j in range(row):
                    mx, my = x_mean[j], own_mean[j]
                    y_variance, covariance = mean_square[j] - my * my, mean_product[j] - mx * my
                    # Wang et al. 2004, equation 13; without the luminance term, whose two parts are then 1, Wang et al.
                    # 2003, the product of equations 2 and 3 with C3 = C2 / 2.
                    numerator = 2.0 * mx * my + c1 if luminance else 1.0
                    denominator = mx * mx + my * my + c1 if luminance else 1.0
                    column_sums[j] += (numerator * (2.0 * covariance + c2)) / (
                        denominator * (x_variance[j] + y_variance + c2)
                    )
