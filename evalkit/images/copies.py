"""Copies of images, archives and tables that lie elsewhere: where they are kept, how much there is, and what may go."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evalkit.cached_files import CachedFile, is_forgotten, prune_files
from evalkit.errors import InputError

__all__ = ["CACHE_VARIABLE", "CachedCopies", "cached_copies", "chosen_copies_folder", "copy_path", "prune_copies"]

CACHE_VARIABLE = "EVALKIT_IMAGE_CACHE"
"""Environment variable that names the folder for copies of remote images."""

_FOLDER = re.compile(r"[0-9a-f]{2}")
_COPY = re.compile(r"[0-9a-f]{64}")
_LEFT_OVER = re.compile(r"\.[0-9a-f]+\.part|[0-9a-f]{64}\.lock")
"""Half a copy, or the lock under which one is made."""


@dataclass(frozen=True)
class CachedCopies:
    """What a folder of copies holds.

    Attributes
    ----------
    folder : Path
    n_copies : int
    n_bytes : int
    last_used : float
        Seconds since 1970, to the day; 0 where there is none.
    """

    folder: Path
    n_copies: int
    n_bytes: int
    last_used: float


def chosen_copies_folder(choice: str | os.PathLike[str] | None) -> Path | None:
    """Folder of the copies that an option means.

    Parameters
    ----------
    choice : path-like, optional
        A folder; None for what ``EVALKIT_IMAGE_CACHE`` names.

    Returns
    -------
    Path or None
        Absolute; None where neither names one.

    Raises
    ------
    InputError
        If it is a file.
    """
    named = os.fspath(choice) if choice is not None else os.environ.get(CACHE_VARIABLE, "")
    if not named:
        return None
    folder = Path(named).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; the cache of images is a folder")
    return folder


def copy_path(root: Path, state: str) -> Path:
    """Where the copy of an object lies, by a text that is another one when the object has changed."""
    key = hashlib.sha256(state.encode()).hexdigest()
    return root / key[:2] / key


def cached_copies(root: Path) -> CachedCopies:
    """What a folder of copies holds."""
    copies = list(_copies(root))
    return CachedCopies(
        root,
        len(copies),
        sum(copy.n_bytes for copy in copies),
        max((copy.last_used for copy in copies), default=0.0),
    )


def prune_copies(root: Path, *, max_bytes: int | None = None, older_than_days: float | None = None) -> tuple[int, int]:
    """Remove copies; a run that reads one goes on reading it, and one that comes for it fetches it anew.

    Parameters
    ----------
    root : Path
        Folder of the copies; files of others that lie there are not touched.
    max_bytes, older_than_days : optional
        As `evalkit.cached_files.prune_files`.

    Returns
    -------
    n_copies, n_bytes : int
        What was removed.
    """
    n_copies, n_bytes = prune_files(_copies(root), max_bytes=max_bytes, older_than_days=older_than_days)
    for folder in _folders(root):
        _tidy(folder)
    return n_copies, n_bytes


def _folders(root: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in root.iterdir() if _FOLDER.fullmatch(path.name))
    return []


def _copies(root: Path) -> Iterator[CachedFile]:
    for folder in _folders(root):
        for path in _paths(folder):
            if _COPY.fullmatch(path.name):
                with suppress(OSError):  # another process may have removed it meanwhile
                    status = path.stat()
                    yield CachedFile(path, status.st_size, status.st_mtime)


def _paths(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _tidy(folder: Path) -> None:
    """Remove what killed processes and copies that are gone have left.

    The folder stays, if empty: another process may be about to write a copy into it.
    """
    for path in _paths(folder):
        # A lock that is young may be held: without it a second process would fetch the same object, and no harm is done.
        if _LEFT_OVER.fullmatch(path.name):
            with suppress(OSError):
                if is_forgotten(path.stat()) and not path.with_suffix("").is_file():
                    path.unlink()
