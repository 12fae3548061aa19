"""Files that appear whole or not at all: the one way in which this project writes results."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from evalkit.errors import InputError

__all__ = ["atomic_file", "check_hides_no_package", "write_atomically"]

PACKAGES = ("evalkit", "analysis", "turing_test")


def check_hides_no_package(folder: Path) -> None:
    """Refuse to make a folder that would hide one of our packages from every Python that starts beside it.

    A folder of that name in the folder where Python starts is a package to it, though an empty one, and stands before
    what an editable installation finds.

    Raises
    ------
    InputError
        If it is not there yet, and would lie in the current folder under such a name.
    """
    if folder.name in PACKAGES and not folder.exists() and folder.absolute().parent == Path.cwd():
        raise InputError(
            f"{folder}: a folder of this name would hide evalkit's own package '{folder.name}' from Python here; choose another "
            "name for the results"
        )


@contextmanager
def atomic_file(path: Path, mode: int = 0o644, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that appears complete under its name or not at all, also when the process is killed.

    Whoever reads ``path`` meanwhile sees the old content or the new, even after a power cut: the bytes are written
    under a name of their own, flushed to the disk, and renamed in one step of the file system.

    Parameters
    ----------
    path : Path
        One that exists is replaced. Its folder must exist.
    mode : int, default 0o644
        Permissions, before the umask; 0o600 for secrets, which are never readable by others for a moment either.
    durable : bool, default True
        Wait for the disk. Without, a power cut may leave the new name with old or missing bytes: only for what carries a
        checksum and can be made again.

    Yields
    ------
    BinaryIO
        To be written to. An exception inside the block leaves ``path`` as it was.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission); names ``path``, which errors of single writes do not.
    """
    # In the same folder, so that the rename stays inside one file system; hidden, so that no scan of images takes it up;
    # without the file's own name, which may fill the length that a name may have. Not by `tempfile`: its files are
    # readable by their owner alone.
    partial = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | str, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write a file in one step, as `atomic_file` does.

    Parameters
    ----------
    path : Path
        One that exists is replaced. Its folder must exist.
    data : bytes or str
        Text is written as UTF-8, line ends as they stand.
    mode : int, default 0o644
        Permissions, before the umask.
    durable : bool, default True
        Wait for the disk (see `atomic_file`).
    """
    with atomic_file(path, mode, durable=durable) as file:
        file.write(data.encode() if isinstance(data, str) else data)
