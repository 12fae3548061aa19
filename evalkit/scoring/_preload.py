"""What the fork server of the scoring run imports and loads once, so that workers start with everything at hand.

It starts no threads, so forking from it is safe. Kernels are not made here but found in numba's cache, where
`evalkit.scoring.kernels` has put those that the run needs.
"""

from __future__ import annotations

import evalkit.scoring.workers  # noqa: F401
from evalkit.scoring.kernels import load_kernels

load_kernels()
