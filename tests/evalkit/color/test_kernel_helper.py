"""Pointers in kernels: no length, no gaps."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.errors import TypingError

from evalkit.metrics._fidelity_kernel import sum_squared_difference


def test_an_array_with_gaps_is_refused() -> None:
    # Read through a pointer, it would give a number that is wrong.
    values = np.arange(8, dtype=np.uint8)
    with pytest.raises(TypingError, match="contiguous"):
        sum_squared_difference(values[::2], values[::2])
    assert sum_squared_difference(values[::2].copy(), values[1::2].copy()) == 4
