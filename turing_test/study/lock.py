"""A lock on a study folder: what would pull the database away from under a running server waits until it is stopped.

The lock belongs to the process, so nothing has to be cleaned up after a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.errors import InputError

__all__ = ["LOCK", "hold"]

LOCK = ".serving.lock"


@contextmanager
def hold(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock as long as a block runs.

    Parameters
    ----------
    folder : Path
        The study folder.
    alone : bool
        True for whoever replaces or removes the database; False for servers, of which there may be several.

    Raises
    ------
    InputError
        When a server runs (`alone`), or the database is being moved or removed.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows, where a file that is open cannot be removed anyway
        yield
        return
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if alone:
            raise InputError(f"{folder}: cannot be written to ({error.strerror or error}).") from None
        yield  # a folder that nobody here may change needs no lock: the answers are in PostgreSQL
        return
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            why = "is being served; stop the server first" if alone else "is being moved or reset; try again afterwards"
            raise InputError(f"{folder}: {why}.") from None
        yield
    finally:
        os.close(descriptor)
