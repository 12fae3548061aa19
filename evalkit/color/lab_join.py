"""Join L of one image with ab of another into 8-bit sRGB: fast, and equal to `lab_to_srgb8` byte for byte.

Rounding to 8 bits is a staircase in linear light. Where its 256 steps lie is found once, by bisection of the
reference itself; after that a byte needs a table look-up and a comparison or two, and no power.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from evalkit.color.colorspace import RGB_FROM_XYZ, WHITE_D65, srgb_from_linear

__all__ = ["join_lab"]

from evalkit.arrays import FloatArray

# The reference's joint of the two branches of CIE's f, and the linear branch's constants.
_JOINT = 0.2068966
_KAPPA = 7.787
_OFFSET = 16.0 / 116.0

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


@njit(cache=True, nogil=True)
def _join(lightness: Any, a: Any, b: Any, matrix: Any, steps: Any, start: Any, rgb: Any) -> int:
    """Fill ``rgb`` (flat, 3 n) and return the number of clipped pixels."""
    linear = np.empty(3, np.float64)
    n_clipped = 0
    for i in range(lightness.size):
        fy = (lightness[i] + 16.0) / 116.0
        fx = fy + a[i] / 500.0
        fz = fy - b[i] / 200.0
        x = fx * fx * fx if fx > _JOINT else (fx - _OFFSET) / _KAPPA
        y = fy * fy * fy if fy > _JOINT else (fy - _OFFSET) / _KAPPA
        z = fz * fz * fz if fz > _JOINT else (fz - _OFFSET) / _KAPPA
        for c in range(3):
            linear[c] = matrix[3 * c] * x + matrix[3 * c + 1] * y + matrix[3 * c + 2] * z
        clipped = False
        for c in range(3):
            value = linear[c]
            if value < steps[0]:
                rgb[3 * i + c] = 0
                clipped = True
            elif value >= steps[256]:
                rgb[3 * i + c] = 255
                clipped = True
            else:
                byte = np.int64(start[np.int64(min(max(value, 0.0), 1.0) * _BINS)])
                while byte < 255 and value >= steps[byte + 1]:
                    byte += 1
                rgb[3 * i + c] = byte
        if clipped:
            n_clipped += 1
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
    return rgb.reshape(-1, 3), int(_join(lightness, a, b, matrix, steps, start, rgb))
