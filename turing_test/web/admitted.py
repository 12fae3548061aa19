"""Which images sessions may fetch now, kept for moments: whatever a session was told last says so, and no image asks again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from turing_test.database.storage import Storage
from turing_test.sessions.forgetting import NOTICED_WITHIN_S, last_forgotten
from turing_test.sessions.snapshot import Snapshot
from turing_test.sessions.views import allowed_images
from turing_test.study.study_folder import Study

__all__ = ["Admitted", "Image"]

KEPT_S = 10.0


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


@dataclass(slots=True)
class _Kept:
    """What is kept of a session: until when, when it changed last, and its images, or the snapshot that tells of them."""

    until: float
    updated_at: float
    images: Snapshot | dict[str, Image]


class Admitted:
    """What the database said of sessions of late, in memory alone; each image once.

    Whatever changes a session in this process ends what is kept of it (`end`). Another process may change it too, hence the
    short time; that it forgot somebody is asked about once in `NOTICED_WITHIN_S`, and then everything is asked anew.

    Parameters
    ----------
    study : Study
    storage : Storage
        Its tables are made.
    limit : int
        Sessions.
    """

    def __init__(self, study: Study, storage: Storage, limit: int = 20_000) -> None:
        self._study, self._storage, self._limit = study, storage, limit
        self._looked_at = time.monotonic()
        self._last_forgotten = storage.read(last_forgotten)
        self._emptied_at = self._looked_at
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, token: str, snapshot: Snapshot, *, asked_at: float) -> None:
        """Keep where a session stands, in place of what was kept of it.

        Of two requests at once, the one that changed the session first may come here last: then the database is asked.

        Parameters
        ----------
        token : str
        snapshot : Snapshot
        asked_at : float
            When the request began, by `time.monotonic`: what was read before somebody was forgotten may be that person's.
        """
        until = time.monotonic() + KEPT_S
        with self._lock:
            before = self._sessions.pop(token, None)
            if asked_at < self._emptied_at:
                return
            if before is not None and before.updated_at > snapshot.updated_at:
                self._sessions[token] = _Kept(until, before.updated_at, {})
            else:
                self._sessions[token] = _Kept(until, snapshot.updated_at, snapshot)
            if len(self._sessions) > self._limit:
                self._sessions.popitem(last=False)

    def take(self, token: str, image: str) -> Image | None:
        """An image of a session, no second time; None when the database must be asked.

        Raises
        ------
        StorageUnavailable
            When the database does not say whether somebody was forgotten.
        """
        if self._must_notice():
            self._notice_forgotten()
        return self._take(token, image, lambda admitted: True)

    def take_at_once(self, token: str, image: str, is_wanted: Callable[[Image], bool]) -> Image | None:
        """As `take`, without waiting: None also when the database must say whether somebody was forgotten, or for an unwanted one."""
        return None if self._must_notice() else self._take(token, image, is_wanted)

    def _take(self, token: str, image: str, is_wanted: Callable[[Image], bool]) -> Image | None:
        with self._lock:
            kept = self._sessions.get(token)
            if kept is None or time.monotonic() >= kept.until:
                return None
            if isinstance(kept.images, Snapshot):
                kept.images = self._images(token, kept.images)
            admitted = kept.images.get(image)
            if admitted is None or not is_wanted(admitted):
                return None
            return kept.images.pop(image)

    def end(self, token: str) -> None:
        """Keep nothing more of a session."""
        with self._lock:
            self._sessions.pop(token, None)

    def _must_notice(self) -> bool:
        return time.monotonic() >= self._looked_at + NOTICED_WITHIN_S

    def _notice_forgotten(self) -> None:
        """Keep nothing of what was read before somebody was forgotten, by whatever process."""
        began = time.monotonic()
        last = self._storage.read(last_forgotten)
        with self._lock:
            self._looked_at = max(self._looked_at, began)
            if last > self._last_forgotten:
                self._last_forgotten, self._emptied_at = last, time.monotonic()
                self._sessions.clear()

    def _images(self, token: str, snapshot: Snapshot) -> dict[str, Image]:
        return {
            name: Image(snapshot.id, snapshot.simulated, shas)
            for name, shas in allowed_images(self._study, token, snapshot).items()
        }
