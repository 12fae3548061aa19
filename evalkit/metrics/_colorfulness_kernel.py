"""Compiled sums of the opponent colours; whole numbers, so that the order of summation cannot matter."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.color._kernel_helper import kernel, pointer_to

__all__ = ["opponent_sums"]


@kernel()
def opponent_sums(rgb: Any, absolute: bool) -> tuple[int, int, int, int]:
    """Sums of R-G, (R-G)^2, R+G-2B, (R+G-2B)^2 over interleaved uint8 pixels, or of the moduli."""
    pixels = pointer_to(rgb)
    sums: Any = (0, 0, 0, 0)
    rg_sum, rg_squares, yb_sum, yb_squares = sums
    for i in range(rgb.size // 3):
        red, green, blue = np.int32(pixels[3 * i]), np.int32(pixels[3 * i + 1]), np.int32(pixels[3 * i + 2])
        # int32 holds every value and its square (at most 510^2) and keeps the loop in narrow vector lanes.
        rg, yb = np.int32(red - green), np.int32(red + green - 2 * blue)
        if absolute:
            rg, yb = np.int32(abs(rg)), np.int32(abs(yb))
        rg_sum += rg
        rg_squares += np.int32(rg * rg)
        yb_sum += yb
        yb_squares += np.int32(yb * yb)
    return rg_sum, rg_squares, yb_sum, yb_squares
