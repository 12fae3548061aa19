"""How ab errors are counted: bins, fixed-point steps, and the cells of the ab plane.

Apart from the kernel that counts, so that whoever reads counts need not import numba.
"""

from __future__ import annotations

__all__ = ["CELLS", "ERROR_SCALE", "LIGHTNESS_SCALE", "MAX_ERROR", "N_BINS", "ORIGIN"]

MAX_ERROR = 150
"""Largest threshold of the cumulative curve; errors are capped here (the integral of the curve to 150)."""
N_BINS = MAX_ERROR + 2
"""Bin 0: d = 0; bin k: k - 1 < d <= k; the last one: d > 150. So the curve is exact at integer thresholds."""
ERROR_SCALE = 65536
"""Fixed-point steps per unit of ab error. Integer sums are the same in any order and number of workers."""
LIGHTNESS_SCALE = 4096
"""Fixed-point steps per unit of L: 100 * 4096 * a chunk of the kernel fits int32."""
ORIGIN = 128
"""The cell table covers a, b in [-128, 128), more than the sRGB gamut."""
CELLS = 256
"""Cells a side of the ab plane, one unit each, edges on integers."""
