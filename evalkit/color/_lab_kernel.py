"""The compiled fast path from 8-bit sRGB to CIE Lab in float64; `evalkit.color.colorspace` says how exact it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.color._kernel_helper import kernel, pointer_at, pointer_to
from evalkit.color.lab_definition import EPSILON, KAPPA, LINEAR_TABLE, OFFSET, TO_XYZ

__all__ = ["fill_lab_planes", "work_space"]

_MATRIX = tuple(TO_XYZ.tolist())
_THREE, _ROOT_BITS = np.int32(3), np.int32(709921077)
_CHUNK = 2048  # pixels a pass: the eleven buffers below stay inside the first two cache levels


@kernel(fastmath={"contract"})
def fill_lab_planes(rgb: Any, floats: Any, floats32: Any, bits32: Any, lightness: Any, a: Any, b: Any) -> None:
    """Fill three planes; the first three after `rgb` are what `work_space` gives."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX
    table, t32, bits = pointer_to(LINEAR_TABLE), pointer_to(floats32), pointer_to(bits32)
    red = pointer_to(floats)
    green, blue, t = pointer_at(red, _CHUNK), pointer_at(red, 2 * _CHUNK), pointer_at(red, 3 * _CHUNK)
    t_y, t_z = pointer_at(t, _CHUNK), pointer_at(t, 2 * _CHUNK)
    n = lightness.size
    for start in range(0, n, _CHUNK):
        size = n - start if n - start < _CHUNK else _CHUNK
        pixels = pointer_at(pointer_to(rgb), 3 * start)
        for i in range(size):
            red[i], green[i], blue[i] = table[pixels[3 * i]], table[pixels[3 * i + 1]], table[pixels[3 * i + 2]]
        for i in range(size):
            t[i] = m00 * red[i] + m01 * green[i] + m02 * blue[i]
            t_y[i] = m10 * red[i] + m11 * green[i] + m12 * blue[i]
            t_z[i] = m20 * red[i] + m21 * green[i] + m22 * blue[i]
        for i in range(3 * _CHUNK):
            t32[i] = np.float32(t[i])
        for i in range(3 * _CHUNK):
            # A float's bits are close to its logarithm: a third of them is a cube root to within 3.5 %.
            bits[i] = bits[i] // _THREE + _ROOT_BITS
        for i in range(3 * _CHUNK):
            # Halley: the error is cubed each time, 3.5e-2 -> 3e-5 in float32 -> 1e-14 in float64.
            x32 = np.float32(t[i])
            y32 = t32[i]
            c32 = y32 * y32 * y32
            y32 = y32 * (c32 + x32 + x32) / (c32 + c32 + x32)
            x = t[i]
            y = np.float64(y32)
            c = y * y * y
            root = y * (c + x + x) / (c + c + x)
            t[i] = root if x > EPSILON else KAPPA * x + OFFSET
        to_lightness, to_a, to_b = (
            pointer_at(pointer_to(lightness), start),
            pointer_at(pointer_to(a), start),
            pointer_at(pointer_to(b), start),
        )
        for i in range(size):
            fx, fy, fz = t[i], t_y[i], t_z[i]
            to_lightness[i] = 116.0 * fy - 16.0
            to_a[i] = 500.0 * (fx - fy)
            to_b[i] = 200.0 * (fy - fz)


def work_space() -> tuple[Any, ...]:
    """Chunks for `fill_lab_planes`; the last is the one before it as whole numbers, bit by bit."""
    t32 = np.empty(3 * _CHUNK, np.float32)
    # Ones, as the part of the last chunk that no pixel fills is computed too.
    return np.ones(6 * _CHUNK), t32, t32.view(np.int32)
