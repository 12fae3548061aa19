"""A cache of compiled kernels for each xdist worker: a plugin that `make test` loads.

numba numbers the files of its cache without a lock. Two processes that compile one kernel for two argument types at
the same time would write to the same file, and the next process to load it would run the wrong one.
"""

from __future__ import annotations

import os
from pathlib import Path

worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker is not None:
    # Read when numba is first imported; plugins come before any test, and child processes inherit it.
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "kernels" / worker)
