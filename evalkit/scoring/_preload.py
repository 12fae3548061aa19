"""What the fork server of the scoring run imports and prepares once, so that workers start with everything at hand.

It starts no threads, so forking from it is safe.
"""

from __future__ import annotations

import pyarrow.compute  # noqa: F401  # pyarrow imports it at the first use of a function

import evalkit.scoring.workers  # noqa: F401
from evalkit.scoring.fork_server import answer_request

answer_request()
