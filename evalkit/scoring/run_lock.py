"""One run at a time in a folder of results: who writes there is named, and who died there is recognised."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.text_formats import parse_json

__all__ = ["LOCK_FILES", "locked"]

LOCK, WRITER = ".lock", ".writer.json"
LOCK_FILES = (LOCK, WRITER)
"""What lies in the folder while a run writes there."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of a folder, which is made if it does not exist.

    The operating system holds the lock and drops it when the process ends, however it ends, so that a run that was
    killed locks nobody out. Beside it lies a note of process and host, for the sentence of refusal and because not every
    network drive passes locks on to other machines.

    Raises
    ------
    InputError
        If another run writes there, with its process, host and begin.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    note = folder / WRITER
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(_refusal(folder, _writer(note))) from None
    try:
        writer = _writer(note)
        if writer.get("host", socket.gethostname()) != socket.gethostname():
            raise InputError(f"{_refusal(folder, writer)}; if it ended without tidying up, delete {note}")
        this = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        write_atomically(note, json.dumps(this))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
    finally:
        # Unlinked while it is held: whoever comes next makes a new one.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _writer(note: Path) -> dict[str, str]:
    try:
        writer: dict[str, str] = parse_json(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return writer


def _refusal(folder: Path, writer: dict[str, str]) -> str:
    who = f" (process {writer['process']} on {writer['host']}, since {writer['since']})" if writer else ""
    return f"{folder}: another run is writing there{who}; wait until it has ended, or choose another --out"
