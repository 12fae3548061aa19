"""Weights files of networks: where they are looked for, how one is fetched, what shows that it is the right one.

Nothing is downloaded unless it is asked for. A file is taken from the path that was given, else from the torch hub
cache, under the name that torch hub gives it; the digits in that name are the beginning of its sha256.
"""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evalkit.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["PublishedWeights", "cache_folder", "fetch", "file_digest", "load_state"]

CHUNK = 1 << 20

_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


@dataclass(frozen=True)
class PublishedWeights:
    """A published weights file.

    Attributes
    ----------
    network : str
        Name on the command line.
    version : str
        Name of the release, for example ``IMAGENET1K_V1``.
    url : str
        Where it is published.
    megabytes : float or None
        Size of the file, where it is known.
    """

    network: str
    version: str
    url: str
    megabytes: float | None = None

    @property
    def file_name(self) -> str:
        """Name in the cache."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def sha256(self) -> str:
        """Beginning of the file's sha256; empty where its name does not tell it."""
        match = _DIGEST_IN_NAME.search(self.file_name)
        return match[1] if match else ""

    @property
    def path(self) -> Path:
        """Where it lies once it was fetched."""
        return cache_folder() / self.file_name

    @property
    def absence(self) -> str:
        """Why a metric is unscored without it, and what to do."""
        size = f" ({self.megabytes:.0f} MB)" if self.megabytes else ""
        return (
            f"the weights of {self.network} are not there: fetch them with 'evalkit weights {self.network}'{size}, or name "
            f"a file with --weights {self.network}=FILE"
        )


def cache_folder() -> Path:
    """Folder of weights in the torch hub cache (``TORCH_HOME`` moves it)."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


@lru_cache(maxsize=16)
def _digest_of(path: Path, size: int, time: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal; remembered as long as size and time stay.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        status = path.stat()
        return _digest_of(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: the weights file cannot be read ({error.strerror}).") from error


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name, as 32-bit floats, read as data: nothing in the file is executed.

    32-bit floats in the zip format of torch 1.6 and later stay on disk and are shared by all processes that read them.

    Raises
    ------
    InputError
        If the file cannot be read or holds something else.
    """
    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except OSError as error:
        raise InputError(f"{path}: the weights file cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # torch raises many kinds for files that are damaged or of another kind
        reason = str(error).strip().splitlines()
        raise InputError(
            f"{path}: not a weights file that torch reads ({reason[0] if reason else type(error).__name__})."
        ) from error
    if isinstance(data, dict) and isinstance(data.get("state_dict"), dict):
        data = data["state_dict"]
    if not isinstance(data, dict) or not data or not all(isinstance(value, torch.Tensor) for value in data.values()):
        raise InputError(f"{path}: holds no tensors by name; a state dict is expected.")
    return {
        str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in data.items()
    }


def _is_zip(path: Path) -> bool:
    # Only the zip format of torch 1.6 and later can be mapped into memory.
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def fetch(weights: PublishedWeights, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Download a weights file into the cache, or find it there.

    An interrupted download is continued from where it stopped; the file appears under its name when it is complete and
    its checksum is right.

    Parameters
    ----------
    weights : PublishedWeights
    progress : callable
        Called with bytes done and bytes in all (0 where the server does not say).

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the server cannot be reached, the connection breaks, or the checksum is wrong.
    """
    target = weights.path
    if target.is_file():
        if not file_digest(target).startswith(weights.sha256):
            raise InputError(
                f"{target}: is damaged (its sha256 does not begin with {weights.sha256}); delete it first."
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    try:
        _download(weights.url, partial, progress)
    except urllib.error.HTTPError as error:
        raise InputError(f"{weights.url}: the server answers {error.code} {error.reason}.") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{weights.url}: the download stopped ({reason}); run the command again to continue it."
        ) from error
    digest = file_digest(partial)
    if not digest.startswith(weights.sha256):
        partial.unlink()
        raise InputError(
            f"{weights.url}: the download is corrupted (sha256 {digest[:8]}, expected {weights.sha256}) and was removed; run "
            "the command again."
        )
    partial.replace(target)
    return target


def _download(url: str, partial: Path, progress: Callable[[int, int], None]) -> None:
    n_bytes = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={n_bytes}-"} if n_bytes else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and n_bytes:  # nothing is left to fetch: complete, or not the same file any more
            return
        raise
    with response:
        if response.status != 206:  # the server sends the whole file
            n_bytes = 0
        length = response.headers.get("Content-Length")
        total = n_bytes + int(length) if length else 0
        progress(n_bytes, total)
        with partial.open("ab" if n_bytes else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                n_bytes += len(chunk)
                progress(n_bytes, total)
    if total and n_bytes < total:
        raise ConnectionError(f"{n_bytes} of {total} bytes arrived")
