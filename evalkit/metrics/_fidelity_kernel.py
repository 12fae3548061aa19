"""Compiled sums over flat 8-bit arrays; whole numbers, so that the order of summation cannot matter."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.color._kernel_helper import kernel, pointer_at, pointer_to

__all__ = ["sum_squared_difference"]

_BLOCK = 32768  # 255^2 times this is the last that fits int32


@kernel()
def sum_squared_difference(x: Any, y: Any) -> int:
    """Sum of (x - y)^2 over two flat uint8 arrays of one length, exact."""
    total: Any = 0
    for start in range(0, x.size, _BLOCK):
        size = x.size - start if x.size - start < _BLOCK else _BLOCK
        x_block, y_block = pointer_at(pointer_to(x), start), pointer_at(pointer_to(y), start)
        # Blocks are summed in int32: 16 vector lanes instead of 8.
        partial = np.int32(0)
        for i in range(size):
            # Widened first: a uint8 subtraction would wrap around.
            difference = np.int32(x_block[i]) - np.int32(y_block[i])
            partial = np.int32(partial + np.int32(difference * difference))
        total += partial
    return total  # type: ignore[no-any-return]
