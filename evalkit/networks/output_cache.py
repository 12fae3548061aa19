"""What networks made of true photos: kept on disk, and shared by runs, processes and machines.

A network under one setup (weights, preprocessing, precision, batch size, versions, device) has a folder, and each image
in it one file, named by the digest of the pixels that are scored. So nothing has to be looked up, locked or tidied:
a file appears whole or not at all, whoever writes the same one twice writes the same bytes, and whoever reads a damaged
one notices by its checksum and computes it anew. (A database in one file, SQLite say, is not safe on network drives.)

What a network makes of an image depends on the device and on the versions of what computes it, in the last bits; these
are part of the key, so that a run with a full, a half-filled or no cache gives the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.cached_files import CachedFile, is_forgotten, mark_used, prune_files
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.release import release
from evalkit.text_formats import parse_json

if TYPE_CHECKING:
    import torch

__all__ = [
    "CACHE_VARIABLE",
    "SIZE_VARIABLE",
    "CacheUse",
    "CachedNetwork",
    "OutputCache",
    "cached_networks",
    "chosen_cache_folder",
    "computed_by",
    "parse_size",
    "prune",
    "size_limit",
    "size_text",
]

CACHE_VARIABLE = "EVALKIT_CACHE"
"""Names the folder of the cache where no option does; ``off`` for none."""
SIZE_VARIABLE = "EVALKIT_CACHE_SIZE"
"""Bytes that the cache may take, for example ``20GB``."""
DEFAULT_SIZE = "10GB"
"""FID's features of 1.2 million photos, or the class scores of 2.4 million."""

FOLDER = "networks"
"""What lies below the folder of the cache, so that other things may lie beside it."""
ABOUT = "about.json"
CHECKSUM_BYTES = 32

_KEY = re.compile(r"[0-9a-f]{32}")
_ENTRY = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]?)I?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass
class CacheUse:
    """What a cache was good for; adds up.

    Attributes
    ----------
    n_read : int
        Outputs that were read in place of being computed.
    n_stored : int
        Outputs that were computed and stored.
    n_damaged : int
        Entries that were damaged; they were computed anew.
    """

    n_read: int = 0
    n_stored: int = 0
    n_damaged: int = 0

    def __iadd__(self, more: CacheUse) -> CacheUse:
        self.n_read += more.n_read
        self.n_stored += more.n_stored
        self.n_damaged += more.n_damaged
        return self


class OutputCache:
    """Outputs of one network under one setup.

    No failure of the disk is an error: what cannot be read is computed, and what cannot be written is not kept; `notes`
    say so.

    Parameters
    ----------
    root : Path
        Folder of the cache; made when something is stored.
    signature : mapping of str to str
        Everything that an output depends on beside the image.
    metrics : sequence of str
        Metrics that are made from the output; for people.
    """

    def __init__(self, root: Path, signature: Mapping[str, str], metrics: Sequence[str]) -> None:
        self.root = root
        self.signature = dict(signature)
        self.metrics = tuple(metrics)
        self.use = CacheUse()
        self.notes: set[str] = set()
        text = json.dumps(self.signature, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.folder = root / FOLDER / self.key
        self._stores = True

    @cached_property
    def _about(self) -> dict[str, Any]:
        about = _read_about(self.folder)
        return about if about.get("signature") == self.signature else {}

    @property
    def is_independent(self) -> bool | None:
        """Whether the output of an image is the same whatever else is in its batch; None before it was tried."""
        tried = self._about.get("independent")
        return tried if isinstance(tried, bool) else None

    def set_independent(self, is_independent: bool) -> None:
        """Keep what was found: only outputs that are the image's own are stored."""
        about = {"signature": self.signature, "metrics": self.metrics, "independent": is_independent}
        self.__dict__["_about"] = about
        self._write(self.folder / ABOUT, json.dumps(about, indent=1).encode())

    def read(self, digest: str) -> npt.NDArray[Any] | None:
        """Output of the image of that digest; None where it has to be computed."""
        if not self.is_independent:
            return None
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.notes.add(f"{self.root}: the cache cannot be read ({error.strerror}); networks ran in its place")
            return None
        checksum, body = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
        if checksum != self._checksum(digest, body):
            self.use.n_damaged += 1
            with suppress(OSError):
                path.unlink()
            return None
        mark_used(path)
        self.use.n_read += 1
        output: npt.NDArray[Any] = np.load(BytesIO(body), allow_pickle=False)
        return output

    def store(self, digest: str, output: npt.NDArray[Any]) -> None:
        """Keep the output of the image of that digest."""
        body = BytesIO()
        np.lib.format.write_array(body, output, allow_pickle=False)
        data = body.getvalue()
        if self._write(self._path(digest), self._checksum(digest, data) + data):
            self.use.n_stored += 1

    def stop_storing(self) -> None:
        """Store nothing any more: outputs are made in another way than the signature says."""
        self._stores = False

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def _checksum(self, digest: str, body: bytes) -> bytes:
        return hashlib.sha256(f"{self.key} {digest} ".encode() + body).digest()

    def _write(self, path: Path, data: bytes) -> bool:
        """Write a file in one step, unless the disk is full, closed or broken."""
        if not self._stores:
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What a power cut leaves half is damaged by its checksum, and is computed anew.
            write_atomically(path, data, durable=False)
        except OSError as error:
            self._stores = False
            self.notes.add(f"{self.root}: the cache cannot be written ({error.strerror}); nothing more was kept there")
            return False
        return True


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = parse_json((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def chosen_cache_folder(choice: str | Path | None) -> Path | None:
    """Folder of the cache that an option means.

    Parameters
    ----------
    choice : str, Path or None
        A folder; ``"auto"`` for what ``EVALKIT_CACHE`` names, else the user's own (``~/.cache/evalkit``, below
        ``XDG_CACHE_HOME``, or what stands for them on the system); None for none.

    Returns
    -------
    Path or None
        Absolute.

    Raises
    ------
    InputError
        If it is a file.
    """
    if choice == "auto":
        named = os.environ.get(CACHE_VARIABLE, "")
        choice = None if named == "off" else named or _users_folder()
    if choice is None:
        return None
    folder = Path(choice).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; the cache is a folder")
    return folder


def _users_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("evalkit", appauthor=False)


@cache
def _cpu() -> str:
    """What the bits of a computation on this CPU may depend on: its model, and a digest of what it can do."""
    import torch

    told: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            told[name.strip()] = value.strip()
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU implementer", "CPU part")
    digest = hashlib.sha256("\n".join(told.get(name, "") for name in names).encode()).hexdigest()[:8]
    model = told.get("model name") or platform.processor() or platform.machine()
    return f"{model} {torch.backends.cpu.get_cpu_capability()} {digest}"


def computed_by(device: torch.device, precision: str, batch_size: int, *packages: str) -> dict[str, str]:
    """Part of a signature that says with what a network computes.

    Parameters
    ----------
    device : torch.device
    precision : str
    batch_size : int
    *packages : str
        Those that take part beside torch, torchvision, numpy and Pillow.
    """
    import torch

    names = ("torchvision", "numpy", "pillow", *packages)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return {
        "precision": precision,
        "batch": str(batch_size),
        "device": f"{device.type} {device_name}",
        "evalkit": release(),
        "torch": torch.__version__,
        **{name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


@dataclass(frozen=True, kw_only=True)
class CachedNetwork:
    """What a cache holds of one network under one setup.

    Attributes
    ----------
    folder : Path
    signature : mapping of str to str
        What the outputs depend on; empty where nothing says it any more.
    metrics : tuple of str
    n_entries : int
    n_bytes : int
    last_used : float
        Seconds since 1970, to the day; 0 where there is no entry.
    """

    folder: Path
    signature: Mapping[str, str]
    metrics: tuple[str, ...]
    n_entries: int
    n_bytes: int
    last_used: float


def _network_folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in (root / FOLDER).iterdir() if _KEY.fullmatch(path.name))
    except OSError:
        return []


def _entries(folder: Path) -> Iterator[CachedFile]:
    """Entries of one network; files of others that lie there are not touched."""
    for name in sorted(_names(folder)):
        for entry in sorted(_names(folder / name)):
            path = folder / name / entry
            is_half = entry.startswith(".") and entry.endswith(".part")
            if not is_half and not _ENTRY.fullmatch(entry):
                continue
            with suppress(OSError):  # another process may have removed it meanwhile
                status = path.stat()
                if not is_half:
                    yield CachedFile(path, status.st_size, status.st_mtime)
                elif is_forgotten(status):
                    path.unlink()


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name != ABOUT]  # noqa: PTH208 (names alone, a million of them)
    except OSError:
        return []


def cached_networks(root: Path) -> list[CachedNetwork]:
    """What a cache holds, by network."""
    networks = []
    for folder in _network_folders(root):
        entries = list(_entries(folder))
        about = _read_about(folder)
        networks.append(
            CachedNetwork(
                folder=folder,
                signature=about.get("signature", {}),
                metrics=tuple(about.get("metrics", ())),
                n_entries=len(entries),
                n_bytes=sum(entry.n_bytes for entry in entries),
                last_used=max((entry.last_used for entry in entries), default=0.0),
            )
        )
    return networks


def prune(
    root: Path, *, max_bytes: int | None = None, older_than_days: float | None = None, metric: str | None = None
) -> tuple[int, int]:
    """Remove entries; a run that reads one meanwhile computes it.

    Parameters
    ----------
    root : Path
        Folder of the cache.
    max_bytes, older_than_days : optional
        As `evalkit.cached_files.prune_files`.
    metric : str, optional
        Look at the networks of one metric alone.

    Returns
    -------
    n_entries, n_bytes : int
        What was removed.
    """
    folders = [
        folder
        for folder in _network_folders(root)
        if metric is None or metric in _read_about(folder).get("metrics", ())
    ]
    entries = (entry for folder in folders for entry in _entries(folder))
    n_removed, n_bytes = prune_files(entries, max_bytes=max_bytes, older_than_days=older_than_days)
    for folder in folders:
        _remove_if_empty(folder)
    return n_removed, n_bytes


def _remove_if_empty(folder: Path) -> None:
    # A process that stores something there at this moment makes its folder anew, or computes once more.
    for name in _names(folder):
        with suppress(OSError):
            (folder / name).rmdir()
    if not _names(folder):
        with suppress(OSError):
            (folder / ABOUT).unlink(missing_ok=True)
            folder.rmdir()


def parse_size(text: str) -> int:
    """Bytes that a text such as ``20GB`` or ``500 MB`` means (powers of ten).

    Raises
    ------
    InputError
        If it has another form.

    Examples
    --------
    >>> parse_size("1.5GB"), parse_size("200 kB")
    (1500000000, 200000)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"size {text!r}: expected a number of bytes such as 500MB or 20GB")
    return int(float(match["number"]) * _UNITS[match["unit"].upper()])


def size_text(n_bytes: int) -> str:
    """Bytes for people.

    >>> size_text(8400), size_text(1_250_000_000)
    ('8.4 kB', '1.2 GB')
    """
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} B"


def size_limit() -> int:
    """Bytes that the cache may take: what ``EVALKIT_CACHE_SIZE`` says, else 10 GB.

    Raises
    ------
    InputError
        If the variable says something else.
    """
    text = os.environ.get(SIZE_VARIABLE, DEFAULT_SIZE)
    try:
        return parse_size(text)
    except InputError as error:
        raise InputError(f"{SIZE_VARIABLE}: {error}") from None
