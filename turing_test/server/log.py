"""What the server tells its operator: lines with a time, and what repeats is counted, not repeated."""

from __future__ import annotations

import logging
import sys
import threading
import time

from evalkit.wording import counted

__all__ = ["QUIET_S", "Repeats", "write_log"]

QUIET_S = 60.0
"""How long a line that was written is not written again."""

MOST_REMEMBERED = 1000


class Repeats(logging.Filter):
    """Lets a line pass once per `QUIET_S`; the next one says how often it came meanwhile.

    Lines are the same when their logger, level and message are, whatever the message was filled with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the line."""
        key = (record.name, record.levelno, str(record.msg))
        now = time.monotonic()
        with self._lock:
            written, left_out = self._seen.get(key, (-QUIET_S, 0))
            if now - written < QUIET_S:
                self._seen[key] = written, left_out + 1
                return False
            self._seen.pop(key, None)  # to the end of the order
            self._seen[key] = now, 0
            if len(self._seen) > MOST_REMEMBERED:
                del self._seen[next(iter(self._seen))]
        if left_out:
            record.msg = f"{record.getMessage()} (and {counted(left_out, 'time')} since it was last written)"
            record.args = ()
        return True


def write_log() -> None:
    """Write warnings and errors of this process to standard error, unless the program has said where they go."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(process)d %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(Repeats())
    root.addHandler(handler)
