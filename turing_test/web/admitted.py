"""Which images sessions may fetch now, kept for moments: a page fetches both images of a pair, and one query tells of both."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Admitted", "Image"]


@dataclass(frozen=True)
class Image:
    """An image that a session may fetch.

    Attributes
    ----------
    session_id : int
        Never leaves the server.
    simulated : bool
    shas : tuple of str
        As `turing_test.sessions.views.allowed_images` has them.
    """

    session_id: int
    simulated: bool
    shas: tuple[str, ...]


class Admitted:
    """What the database said of sessions of late, in memory alone; each image once.

    Whatever changes a session in this process ends what is kept of it (`end`). Another process may change it too, hence the
    short time.

    Parameters
    ----------
    limit : int
        Sessions.
    keep_s : float
        Seconds.
    """

    def __init__(self, limit: int = 20_000, keep_s: float = 10.0) -> None:
        self._limit, self._keep_s = limit, keep_s
        self._images: OrderedDict[str, tuple[float, dict[str, Image]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, token: str, images: Mapping[str, Image]) -> None:
        """Keep what a session may fetch, in place of what was kept of it."""
        with self._lock:
            self._images.pop(token, None)
            self._images[token] = time.monotonic() + self._keep_s, dict(images)
            if len(self._images) > self._limit:
                self._images.popitem(last=False)

    def take(self, token: str, image: str) -> Image | None:
        """An image of a session, no second time; None when the database must be asked."""
        with self._lock:
            until, images = self._images.get(token, (0.0, {}))
            taken = images.pop(image, None)
        return taken if time.monotonic() < until else None

    def end(self, token: str) -> None:
        """Keep nothing more of a session."""
        with self._lock:
            self._images.pop(token, None)
