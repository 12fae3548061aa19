"""How often images are fetched: a page does so once, a person who looks longer than the protocol allows more often."""

from __future__ import annotations

import threading
from collections import OrderedDict

__all__ = ["Looks"]


class Looks:
    """How often images were fetched from their beginning by sessions of late, in memory alone.

    Parameters
    ----------
    limit : int
        A page fetches an image once, and again after a reload or a line that broke off at once.
    """

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, image: str) -> bool:
        """Count one; whether this is the one that is too many."""
        with self._lock:
            return self._count(image) == self._limit

    def add_unless_last(self, image: str) -> bool:
        """Count one, unless it would be the one that is too many; whether it was counted."""
        with self._lock:
            return self._counts.get(image, 0) + 1 != self._limit and bool(self._count(image))

    def _count(self, image: str) -> int:
        count = self._counts.pop(image, 0) + 1
        self._counts[image] = count
        if len(self._counts) > 100_000:
            self._counts.popitem(last=False)
        return count
