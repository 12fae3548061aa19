"""Objects of a bucket, of a web server or of a disk, through fsspec: listed, read whole or in part, kept in a cache.

The one module that talks to fsspec. What goes wrong becomes an `InputError` of one sentence, in which no address shows its
user, password or signature.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

from evalkit.cached_files import mark_used
from evalkit.errors import InputError
from evalkit.images.copies import copy_path
from evalkit.needs import need_fsspec, need_protocol

__all__ = ["Objects", "StoredObject", "address_without_secrets", "expand_braces", "matcher"]

ATTEMPTS = 3
"""How often a read is tried that may succeed the next time; file systems that try again by themselves are asked once."""

PAUSE_S = 0.5
"""Before the second attempt; twice as long before the third."""

TIMEOUT_S = 60.0
"""How long a web server may be silent."""

N_QUESTIONS = 16
"""Objects of a web server that are asked for their size at a time: its listings do not tell."""

WILDCARD = re.compile(r"[*?\[]")
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")

VERSIONS = ("ETag", "etag", "md5Hash", "Content-MD5", "generation", "content_md5", "sha256", "checksum")
"""What file systems call the digest or version of an object."""
TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "modified", "created")
"""What file systems call the time of its last change."""

T = TypeVar("T")

# Google's file system logs warnings and tracebacks of what is told here in one sentence. Whoever listens to logs has them still.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


def address_without_secrets(text: str) -> str:
    """Addresses in a text without user, password, and query, in which signatures stand.

    >>> address_without_secrets("zip://a/*::https://me:pass@host/x.zip?X-Amz-Signature=12ab")
    'zip://a/*::https://host/x.zip'
    """
    text = re.sub(r"(\w:/{1,2})[^/\s@'\"]*@", r"\1", text)
    return re.sub(r"(\w:/{1,2}[^\s?'\"]*)\?[^\s'\"#]*", r"\1", text)


def expand_braces(text: str) -> list[str]:
    """The texts that braces stand for, in order, as shells write them.

    >>> expand_braces("s-{08..10}.tar"), expand_braces("{a,b}.tar")
    (['s-08.tar', 's-09.tar', 's-10.tar'], ['a.tar', 'b.tar'])
    """
    match = BRACES.search(text)
    if match is None:
        return [text]
    numbers = RANGE.fullmatch(match[1])
    if numbers is not None:
        first, last = numbers[1], numbers[2]
        width = len(first) if first.startswith("0") else 0
        if not int(first) <= int(last) < int(first) + 1_000_000:
            raise InputError(
                f"{address_without_secrets(text)}: the braces {match[0]} must count upwards, as in {{000..012}}."
            )
        choices = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    else:
        choices = match[1].split(",")
    head, tail = text[: match.start()], text[match.end() :]
    return [whole for choice in choices for whole in expand_braces(f"{head}{choice}{tail}")]


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path below a folder is meant: all are by an empty pattern; ``*`` stays in a folder, ``**`` does not.

    Raises
    ------
    InputError
        When ``**`` is a part of a name.
    """
    if not pattern:
        return lambda path: True
    from fsspec.utils import glob_translate

    if any("**" in part and part != "**" for part in pattern.split("/")):
        raise InputError(f"pattern '{pattern}': ** stands for folders, between slashes: write **/*.png, not **.png.")
    matches = re.compile(glob_translate(pattern)).match
    return lambda path: matches(path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object, as its listing tells of it.

    Attributes
    ----------
    path : str
        As its file system names it; may hold secrets.
    address : str
        As people may read it.
    name : str
        Below the folder that was listed, with forward slashes.
    size : int or None
        Bytes; None where the server does not say.
    version : str
        Another one where the content is another; "" where nothing tells.
    modified : float or None
        Time of the last change, seconds since 1970.
    """

    path: str = field(repr=False)
    address: str
    name: str
    size: int | None
    version: str
    modified: float | None


@dataclass(frozen=True)
class Objects:
    """What lies under an address: pickled as that address, opened once per process.

    Attributes
    ----------
    url : str
        As fsspec takes it, chained ones too; may hold secrets.
    cache : Path or None
        Folder for copies of what is read.
    """

    url: str = field(repr=False)
    cache: Path | None = None

    def __str__(self) -> str:
        return address_without_secrets(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it names a path of this machine."""
        return "://" not in self.url and "::" not in self.url

    @property
    def is_web(self) -> bool:
        """Whether a web server answers: its listings say nothing of sizes, and its names are quoted."""
        return self.url.startswith(("http://", "https://"))

    def walk(self, below: str = "") -> Iterator[StoredObject]:
        """All objects below a folder, hidden ones apart, in the order of their names.

        Raises
        ------
        InputError
            When it cannot be listed, as a whole: half a listing is none.
        """
        fs, base = self._open(self.url)
        fs.invalidate_cache()  # else a bucket looks in a notebook as it did an hour ago
        base = base.rstrip("/")
        listed = sorted(self._walk(fs, base, base), key=lambda entry: entry[0])
        if self.is_web:
            with ThreadPoolExecutor(N_QUESTIONS) as pool:
                infos = list(pool.map(lambda entry: self._info(fs, entry[1]["name"]), listed))
            listed = [(name, info) for (name, _), info in zip(listed, infos, strict=True)]
        for name, info in listed:
            yield self._stored(name, info)

    def _walk(self, fs: Any, base: str, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        address = f"{self}{folder[len(base) :]}"
        # Web servers tell folders from files by the last slash alone.
        asked = f"{folder}/" if self.is_web else folder
        for info in self._tried(fs, lambda: fs.ls(asked, detail=True), address):
            path = info["name"].rstrip("/")
            name = path[len(base) + 1 :]
            if not path.startswith(f"{folder}/") or "?" in name or path.rpartition("/")[2].startswith("."):
                continue
            if info["type"] == "directory":
                yield from self._walk(fs, base, path)
            elif not info["name"].endswith("/"):
                yield unquote(name) if self.is_web else name, info

    def objects(self) -> Iterator[StoredObject]:
        """The objects that the address itself names, with its braces and wildcards.

        Raises
        ------
        InputError
            When there is none.
        """
        for url in expand_braces(self.url):
            place = Objects(url, self.cache)
            address = url.partition("?")[0] if self.is_web else url
            wildcard = WILDCARD.search(address)
            if wildcard is None:
                fs, path = place._open(url)
                fs.invalidate_cache()
                yield place._stored(path.rpartition("/")[2], place._info(fs, path))
                continue
            folder = address[: wildcard.start()].rpartition("/")[0]
            is_meant = matcher(address[len(folder) + 1 :])
            matching = [entry for entry in Objects(folder, self.cache).walk() if is_meant(entry.name)]
            if not matching:
                raise InputError(f"{place}: nothing there has such a name.")
            yield from matching

    def _info(self, fs: Any, path: str) -> dict[str, Any]:
        address = self._address(path)
        info: dict[str, Any] = self._tried(fs, lambda: fs.info(path), address)
        if info.get("type") == "directory":
            raise InputError(f"{address}: is a folder, not a file.")
        return info

    def read(self, entry: StoredObject, start: int = 0, n_bytes: int | None = None) -> bytes:
        """The bytes of an object, or a range of them, from the cache where one is kept.

        Raises
        ------
        InputError
            When it cannot be read, or is not what was listed.
        """
        if self.cache is not None:
            with self._opened_copy(entry) as file:
                file.seek(start)
                return file.read(-1 if n_bytes is None else n_bytes)
        fs, _ = self._open(self.url)
        if n_bytes is not None:
            return self._tried(fs, lambda: _part(fs, entry, start, n_bytes), entry.address)
        return self._tried(fs, lambda: _whole(fs, entry), entry.address)

    def tried(self, action: Callable[[], T], entry: StoredObject) -> T:
        """What an action on an opened object gives, which is tried as often as a read.

        Raises
        ------
        InputError
            When it fails; what the action itself raises of that kind stays as it is.
        """
        return self._tried(self._open(self.url)[0], action, entry.address)

    def open(self, entry: StoredObject) -> Any:
        """The object, or its copy in the cache, as a binary file that can be sought in; or its path on this machine.

        Raises
        ------
        InputError
            When it cannot be opened, or is not what was listed.
        """
        if self.cache is not None:
            return self._opened_copy(entry)
        if self.is_local:
            return Path(entry.path)
        fs, _ = self._open(self.url)
        now = self._stored(entry.name, self._info(fs, entry.path))
        if (now.size, now.version) != (entry.size, entry.version):
            raise InputError(f"{entry.address}: {CHANGED}.")
        file = self._tried(fs, lambda: fs.open(entry.path, "rb"), entry.address)
        if not file.seekable():
            raise InputError(f"{entry.address}: {NO_RANGES}.")
        return file

    def _opened_copy(self, entry: StoredObject) -> BinaryIO:
        """A copy of an object in the cache, made now if there is none; it can be read to its end even if it is pruned.

        Raises
        ------
        InputError
            When the object cannot be read, or its copy cannot be written.
        """
        assert self.cache is not None
        copy = copy_path(self.cache, f"{entry.address}|{entry.size}|{entry.version}|{entry.modified}")
        with suppress(OSError):
            file = copy.open("rb")
            if _has_size(file, entry):
                mark_used(copy)
                return file
            file.close()
            copy.unlink(missing_ok=True)
        try:
            return self._made_copy(copy, entry)
        except OSError as error:
            raise self._not_kept(entry, error) from None

    def _not_kept(self, entry: StoredObject, error: OSError) -> InputError:
        return InputError(f"{self.cache}: a copy of {entry.address} cannot be kept there ({error.strerror or error}).")

    def _made_copy(self, copy: Path, entry: StoredObject) -> BinaryIO:
        fs, _ = self._open(self.url)
        copy.parent.mkdir(parents=True, exist_ok=True)
        from filelock import FileLock

        with FileLock(f"{copy}.lock"):  # an archive is fetched by one worker, and the others wait
            with suppress(FileNotFoundError):
                file = copy.open("rb")
                if _has_size(file, entry):
                    return file
                file.close()
            partial = copy.with_name(f".{secrets.token_hex(8)}.part")

            def fetch() -> None:
                try:
                    _fetch(fs, entry, partial)
                except OSError as error:
                    if error.errno in DISK_FAULTS:  # no other attempt helps, and the server is not to blame
                        raise self._not_kept(entry, error) from None
                    raise

            try:
                self._tried(fs, fetch, entry.address)
                file = partial.open("rb")  # before it has its name: from then on it may be pruned
                try:
                    partial.replace(copy)
                except OSError:
                    file.close()
                    raise
            finally:
                partial.unlink(missing_ok=True)
            return file

    def _address(self, path: str) -> str:
        """A path of the file system as people may read it, with the protocol that fsspec takes off."""
        is_whole = "://" in path or path.startswith("/")
        return address_without_secrets(
            path if is_whole else f"{self.url.rpartition('::')[2].partition('://')[0]}://{path}"
        )

    def _stored(self, name: str, info: Mapping[str, Any]) -> StoredObject:
        version = next((str(info[key]).strip('"') for key in VERSIONS if info.get(key)), "")
        modified = next((info[key] for key in TIMES if info.get(key)), None)
        return StoredObject(
            path=info["name"],
            address=self._address(info["name"]),
            name=name,
            size=info.get("size"),
            version=version or ("" if modified is None else str(modified)),
            modified=_seconds(modified),
        )

    def _open(self, url: str) -> tuple[Any, str]:
        try:
            return _file_system(url)
        except Exception as error:  # of chained addresses, whose archive is opened at once, of any kind
            raise InputError(f"{address_without_secrets(url)}: cannot be opened ({_opening_reason(error)}).") from None

    def _tried(self, fs: Any, action: Callable[[], T], address: str) -> T:
        attempts = 1 if hasattr(fs, "retries") else ATTEMPTS
        for attempt in range(attempts):
            try:
                return action()
            except InputError:
                raise
            except Exception as error:  # of aiohttp, botocore, Google's clients and more: no class is common to them
                if attempt + 1 < attempts and _may_pass(error):
                    time.sleep(PAUSE_S * 2**attempt)
                    continue
                tried = f" in {attempts} attempts" if attempts > 1 and _may_pass(error) else ""
                # Not "from error": what libraries say holds addresses with their signatures.
                raise InputError(f"{address}: cannot be read{tried} ({_reason(error)}).") from None
        raise AssertionError("unreachable")


CHANGED = "has changed since it was listed; go on with --resume once it stays as it is"
NO_RANGES = "its server does not answer range requests, so nothing can be taken out of it; keep a copy with --image-cache DIR or EVALKIT_IMAGE_CACHE=DIR"


class _NotWhole(OSError):
    """A body of another length than was announced."""


@lru_cache(maxsize=64)
def _file_system(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it; one per address and process."""
    need_fsspec("images at an address")
    for link in url.split("::"):
        need_protocol(link.partition("://")[0] if "://" in link else "file")
    from fsspec.core import url_to_fs

    options = {}
    if url.startswith(("http://", "https://")):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}, "skip_instance_cache": True}
    fs, path = url_to_fs(url, **options)
    return fs, path


def _whole(fs: Any, entry: StoredObject) -> bytes:
    if entry.size == 0:
        return b""
    if entry.size is None or not hasattr(fs, "retries"):
        data: bytes = fs.cat_file(entry.path)
    else:
        # Buckets: a range spares the question for the size; the byte beyond the end would be that of a longer object.
        data = fs.cat_file(entry.path, start=0, end=entry.size + 1)
    if entry.size is not None and len(data) != entry.size:
        raise _NotWhole(f"{len(data):,} bytes came, {entry.size:,} were announced")
    return data


def _part(fs: Any, entry: StoredObject, start: int, n_bytes: int) -> bytes:
    if not n_bytes:
        return b""
    data: bytes = fs.cat_file(entry.path, start=start, end=start + n_bytes)
    if len(data) == entry.size and n_bytes < entry.size:
        raise InputError(f"{entry.address}: {NO_RANGES}.")
    if len(data) != n_bytes:
        raise _NotWhole(f"{len(data):,} bytes came, {n_bytes:,} were asked for")
    return data


def _has_size(file: BinaryIO, entry: StoredObject) -> bool:
    """Whether a copy is whole: a power cut may have left its name with fewer bytes."""
    return entry.size is None or os.fstat(file.fileno()).st_size == entry.size


def _fetch(fs: Any, entry: StoredObject, target: Path) -> None:
    fs.get_file(entry.path, str(target))
    size = target.stat().st_size
    if entry.size is not None and size != entry.size:
        raise _NotWhole(f"{size:,} bytes came, {entry.size:,} were announced")


def _seconds(modified: Any) -> float | None:
    """A time as seconds since 1970; None where it is of a kind that nobody knows."""
    try:
        if isinstance(modified, str):
            modified = parsedate_to_datetime(modified) if "," in modified else datetime.fromisoformat(modified)
        return float(modified.timestamp() if isinstance(modified, datetime) else modified)
    except (TypeError, ValueError):
        return None


def _status(error: BaseException) -> int | None:
    """The status with which a server refused, also where fsspec has turned it into a missing file."""
    causes = (error, error.__cause__, error.__context__)
    for cause in causes:
        status = getattr(cause, "status", None)
        if isinstance(status, int):
            return status
        answer = getattr(cause, "response", None)
        if isinstance(answer, Mapping):
            code = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(code, int):
                return code
    return None


def _may_pass(error: BaseException) -> bool:
    """Whether the same question may be answered the next time."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    return not isinstance(
        error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | ValueError
    )


DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What only a disk of this machine says while an object is fetched to it."""

STATUS = {
    401: "the server asks for credentials",
    403: "access is denied; are the credentials right?",
    404: "there is no such file",
}


def _reason(error: BaseException) -> str:
    status = _status(error)
    if status is not None and status >= 400:
        return f"{STATUS.get(status, 'the server refuses')}, status {status}"
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if isinstance(error, PermissionError):
        return "access is denied; are the credentials right?"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer came in time"
    if isinstance(error, _NotWhole):
        return f"{error}: the connection broke, or the object has changed since it was listed"
    if type(error).__name__ in (
        "ClientPayloadError",
        "ServerDisconnectedError",
        "IncompleteRead",
        "ResponseStreamingError",
    ):
        return "the connection broke in the middle of the answer"
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return "no credentials are found"
    if type(error).__name__ == "TooManyRedirects":
        return "the server sends from one address to the next without end"
    if "Connect" in type(error).__name__:
        return "no server answers there"
    return _said(error)


def _opening_reason(error: BaseException) -> str:
    return _reason(error) if isinstance(error, OSError) else _said(error)


def _said(error: BaseException) -> str:
    return address_without_secrets(" ".join(str(error).split()))[:300].rstrip(".") or type(error).__name__
