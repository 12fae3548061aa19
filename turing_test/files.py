"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file in one step: whoever reads it sees the old content or the new, even after a power cut.

    Parameters
    ----------
    path : Path
        One that exists is replaced. Its folder must exist.
    data : bytes
    mode : int, default 0o644
        Permissions, before the umask; 0o600 for secrets, which are never readable by others for a moment either.
    """
    # In the same folder, so that the rename is one step of the file system.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
