"""What the fork server of the scoring run imports once, so that workers start with everything loaded.

It compiles (or loads from numba's cache) the kernels; it starts no threads, so forking from it is safe.
"""

from __future__ import annotations

import evalkit.scoring.workers  # noqa: F401
from evalkit.color.ab_classes import preset

preset("zhang2016").cell_table  # noqa: B018
