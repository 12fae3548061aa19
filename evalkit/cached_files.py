"""Files that can be made again: when each was last of use, and which of them go when a cache is pruned."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CachedFile", "is_forgotten", "mark_used", "prune_files"]

DAY = 24 * 3600
FORGOTTEN = 3600
"""Seconds after which a half-written file is one of a process that was killed."""


@dataclass(frozen=True)
class CachedFile:
    """A file of a cache.

    Attributes
    ----------
    path : Path
    n_bytes : int
    last_used : float
        Seconds since 1970, to the day.
    """

    path: Path
    n_bytes: int
    last_used: float


def mark_used(path: Path) -> None:
    """Note that a file was of use, to the day: what is pruned first is what nobody has read for longest."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)


def is_forgotten(status: os.stat_result) -> bool:
    """Whether a file that is half-written was left so by a process that is gone."""
    return time.time() - status.st_mtime > FORGOTTEN


def prune_files(
    files: Iterable[CachedFile], *, max_bytes: int | None = None, older_than_days: float | None = None
) -> tuple[int, int]:
    """Remove files; who has one open goes on reading it, and who comes for it makes it again.

    Parameters
    ----------
    files : iterable of CachedFile
    max_bytes : int, optional
        Keep that much at most; what was not of use for longest goes first.
    older_than_days : float, optional
        Remove what was of no use for that long.

        With neither age nor size, everything goes.

    Returns
    -------
    n_files, n_bytes : int
        What was removed.

    Raises
    ------
    OSError
        If one cannot be removed.
    """
    by_use = sorted(files, key=lambda file: file.last_used)
    now = time.time()
    surplus = sum(file.n_bytes for file in by_use) - (0 if max_bytes is None else max_bytes)
    n_removed = n_bytes = 0
    for file in by_use:
        is_old = older_than_days is not None and now - file.last_used > older_than_days * DAY
        is_surplus = max_bytes is not None and n_bytes < surplus
        is_meant = max_bytes is None and older_than_days is None
        if is_old or is_surplus or is_meant:
            with suppress(FileNotFoundError):
                file.path.unlink()
            n_removed, n_bytes = n_removed + 1, n_bytes + file.n_bytes
    return n_removed, n_bytes
