"""Join L of one image with ab of another into 8-bit sRGB: fast, and equal to `lab_to_srgb8` byte for byte.

Rounding to 8 bits is a staircase in linear light. Where its 256 steps lie is found once, by bisection of the
reference itself; after that a byte needs a table look-up and a comparison or two, and no power.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.color._kernel_helper import kernel, kernel_helper, pointer_at, pointer_to
from evalkit.color.lab_definition import JOINT, KAPPA, OFFSET, RGB_FROM_XYZ, WHITE_D65, srgb_from_linear

__all__ = ["join_lab"]

from evalkit.arrays import FloatArray

_BINS = 4096  # fine enough that most bins hold at most one step, small enough for the first cache level


@cache
def _staircase() -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """Where linear light steps to the next byte, and the byte at the start of each bin of linear light.

    Returns
    -------
    steps : ndarray of float64, shape (257,)
        ``steps[k]`` is the least linear light that the reference rounds to ``k`` or more; ``steps[256]`` is
        the least that it clips.
    start : ndarray of uint8, shape (_BINS + 1,)
        Byte at linear light ``i / _BINS``.
    """
    byte = np.arange(257.0)
    below, above = np.full(257, -1.0), np.full(257, 2.0)
    for _ in range(80):  # more halvings than a float64 has bits: ends on neighbouring numbers
        middle = 0.5 * (below + above)
        reached = np.rint(srgb_from_linear(middle) * 255.0) >= byte
        below, above = np.where(reached, below, middle), np.where(reached, middle, above)
    bins = np.arange(_BINS + 1) / _BINS
    return above, (np.searchsorted(above[:256], bins, side="right") - 1).astype(np.uint8)


@kernel_helper()
def _xyz_ratio(f: float) -> float:
    """CIE's f undone."""
    return f * f * f if f > JOINT else (f - OFFSET) / KAPPA


@kernel_helper()
def _write_byte(value: float, steps: Any, start: Any, target: Any) -> int:
    """Write the byte of linear light; returns 1 where it had to be clipped."""
    if value < steps[0]:
        target[0] = 0
        return 1
    if value >= steps[256]:
        target[0] = 255
        return 1
    inside = 0.0 if value < 0.0 else value
    byte = np.int64(start[np.int64((1.0 if inside > 1.0 else inside) * _BINS)])
    while byte < 255 and value >= steps[byte + 1]:
        byte += 1
    target[0] = byte
    return 0


@kernel()
def _join(lightness: Any, a: Any, b: Any, matrix: Any, steps: Any, start: Any, rgb: Any) -> int:
    """Fill ``rgb`` (flat, 3 n) and return the number of clipped pixels."""
    all_l, all_a, all_b, weights = pointer_to(lightness), pointer_to(a), pointer_to(b), pointer_to(matrix)
    n_clipped = 0
    for i in range(lightness.size):
        fy = (all_l[i] + 16.0) / 116.0
        x, y, z = _xyz_ratio(fy + all_a[i] / 500.0), _xyz_ratio(fy), _xyz_ratio(fy - all_b[i] / 200.0)
        clipped = 0
        for c in range(3):
            row = pointer_at(weights, 3 * c)
            value = row[0] * x + row[1] * y + row[2] * z
            clipped |= _write_byte(value, pointer_to(steps), pointer_to(start), pointer_at(pointer_to(rgb), 3 * i + c))
        n_clipped += clipped
    return n_clipped


def join_lab(lightness: FloatArray, a: FloatArray, b: FloatArray) -> tuple[npt.NDArray[np.uint8], int]:
    """Convert Lab planes to 8-bit sRGB and count the pixels clipped into the gamut.

    Parameters
    ----------
    lightness, a, b : ndarray of float64, shape (n,)
        CIE Lab planes.

    Returns
    -------
    rgb8 : ndarray of uint8, shape (n, 3)
        The bytes of `evalkit.color.colorspace.lab_to_srgb8`.
    n_clipped : int
        Pixels with a channel outside 0..255 by more than half a step.
    """
    steps, start = _staircase()
    rgb = np.empty(3 * lightness.size, np.uint8)
    matrix = (RGB_FROM_XYZ * WHITE_D65).ravel()
    lightness, a, b = (np.ascontiguousarray(plane) for plane in (lightness, a, b))  # kernels read no strides
    return rgb.reshape(-1, 3), int(_join(lightness, a, b, matrix, steps, start, rgb))
