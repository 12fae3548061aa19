"""What the fork server of the scoring run imports and prepares once, so that workers start with everything at hand.

It starts no threads, so forking from it is safe.
"""

from __future__ import annotations

# What workers would import at the first image and at the first function of a table.
import kornia_rs.io  # noqa: F401
import pyarrow.compute  # noqa: F401
import simplejpeg  # noqa: F401

import evalkit.scoring.workers  # noqa: F401
from evalkit.scoring.fork_server import answer_request

answer_request()
