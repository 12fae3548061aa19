"""Where images lie: folders, and whatever an address names: buckets, web servers, archives, tables.

A folder stays a `Path`, and its files are read as ever. Every other place is an `ImagePlace`; its images are `PlacedImage`:
names with an address, small enough to travel to whoever reads the bytes, with the words of a path (name, suffix, parent).
Both are listed by `files_below` and read by `read_file`, so nothing behind these two knows where images come from.

``docs/how-to/score-a-bucket.md`` says what addresses may look like.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from evalkit.errors import InputError
from evalkit.files import check_hides_no_package
from evalkit.images._archives import (
    ARCHIVE_SUFFIXES,
    Member,
    read_member,
    table_images,
    tar_members,
    zip_members,
)
from evalkit.images._headers import IMAGE_SUFFIXES, image_format, read_regular_file
from evalkit.images._objects import WILDCARD, Objects, StoredObject, address_without_secrets, matcher
from evalkit.images.copies import chosen_copies_folder
from evalkit.wording import some_names

__all__ = [
    "ImageFile",
    "ImagePlace",
    "PlaceLike",
    "PlacedImage",
    "archives_in",
    "changed_since_listed",
    "check_is_folder",
    "check_is_folder_here",
    "check_is_here",
    "files_below",
    "lie_in_one_another",
    "modified_at",
    "name_below",
    "place_of",
    "read_file",
    "read_text",
    "size_of",
    "starts_like_an_image",
    "state_of",
    "with_home",
]

SCHEME = re.compile(r"(\w+::)*[A-Za-z][A-Za-z0-9+.-]+://")
COMPRESSED_TAR = re.compile(r"(.*\.(?:tar\.(?:gz|bz2|xz|zst)|tgz|tbz2|txz))(?:#[^#]*)?", re.IGNORECASE | re.DOTALL)
FLATTENED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
"""What `Path` makes of an address."""


@dataclass(frozen=True, kw_only=True)
class ImagePlace:
    """A place of images that is no folder of this machine.

    Attributes
    ----------
    kind : {"objects", "zip", "tar", "parquet"}
    objects : Objects
        The folder, or the archives or tables.
    pattern : str
        Which files below the folder, or inside of the archives; empty for all.
    below : str
        Folder inside of the archives; empty for all of them.
    part : str
        Column of a table, or what stands before the ending in the members of a WebDataset; empty for none.
    """

    kind: str
    objects: Objects
    pattern: str = ""
    below: str = ""
    part: str = ""

    def __str__(self) -> str:
        inner = posixpath.join(self.below, self.pattern).rstrip("/")
        if self.kind == "objects":
            return posixpath.join(str(self.objects), self.pattern) if self.pattern else str(self.objects)
        address = f"{self.kind}://{inner}::{self.objects}" if inner else str(self.objects)
        return f"{address}#{self.part}" if self.part else address

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for the same images."""
        return (self.kind, self.objects.url.rstrip("/"), self.below, self.pattern, self.part)

    def images(self) -> Iterator[PlacedImage]:
        """All files there, in the order of their names; of tables and WebDatasets only the part that is asked for.

        Raises
        ------
        InputError
            When the place cannot be listed.
        """
        if self.kind == "objects":
            is_meant = matcher(self.pattern)
            for entry in self.objects.walk():
                if is_meant(entry.name):
                    yield PlacedImage(place=self, key=entry.name, entry=entry)
            return
        parts: set[str] = set()
        is_empty = True
        for archive in self.objects.objects():
            for member in self._members(archive):
                key = self._key(member.name)
                parts.add(PurePosixPath(PurePosixPath(member.name).stem).suffix.lstrip("."))
                if key is not None:
                    is_empty = False
                    yield PlacedImage(place=self, key=key, entry=archive, member=member)
        if is_empty and self.part and self.kind == "tar":
            words = some_names(sorted(parts - {""}), 10)
            known = (
                f"the word before the ending is one of {words}"
                if words
                else "no name there has a word before its ending"
            )
            raise InputError(f"{self}: no image there is called NAME.{self.part}.png or the like; {known}.")

    def _members(self, archive: StoredObject) -> Iterator[Member]:
        if self.kind == "zip":
            return zip_members(self.objects, archive)
        if self.kind == "tar":
            return tar_members(self.objects, archive)
        return table_images(self.objects, archive, self.part)

    def _key(self, name: str) -> str | None:
        """The name of a member below `below`, with `part` taken out; None where it is not meant."""
        if self.kind == "parquet":
            return name
        path = posixpath.normpath(name.lstrip("/"))
        if any(part.startswith(".") and part != ".." for part in path.split("/")):
            return None
        if self.below:
            if not path.startswith(f"{self.below}/"):
                return None
            path = path[len(self.below) + 1 :]
        if not matcher(self.pattern)(path):
            return None
        if self.part:
            stem, suffix = posixpath.splitext(path)
            word, asked = posixpath.splitext(self.part)
            if asked.lower() not in IMAGE_SUFFIXES:  # else the field is named as WebDataset does, with its ending
                word, asked = self.part, suffix
            if suffix.lower() not in IMAGE_SUFFIXES or suffix != asked or not stem.endswith(f".{word}"):
                return None
            path = stem.removesuffix(f".{word}") + suffix
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedImage:
    """One image of a place: where it is, not what it is.

    Attributes
    ----------
    place : ImagePlace
    key : str
        Below the place, with forward slashes and, except in tables, with an ending.
    entry : StoredObject
        The object, or the archive or table that it lies in.
    member : Member or None
        Where it lies in there.
    """

    place: ImagePlace = field(repr=False)
    key: str
    entry: StoredObject = field(repr=False)
    member: Member | None = field(default=None, repr=False)

    def __str__(self) -> str:
        folder = self.place.objects if self.member is None else self.entry.address
        return f"{folder}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of `key`."""
        return posixpath.basename(self.key)

    @property
    def suffix(self) -> str:
        """Its ending, with the dot; "" for none, and in tables, whose names have none."""
        return "" if self.place.kind == "parquet" else PurePosixPath(self.key).suffix

    @property
    def parent(self) -> str:
        """The place and folder, as people may read it."""
        return posixpath.dirname(str(self))

    def absolute(self) -> PlacedImage:
        """Itself: an address means the same everywhere."""
        return self

    def read(self, n_bytes: int | None = None) -> bytes:
        """Its bytes, or the first ones.

        Raises
        ------
        InputError
            When it cannot be read, or has changed since it was listed.
        """
        if self.member is not None:
            return read_member(self.place.kind, self.place.objects, self.entry, self.member)[:n_bytes]
        if n_bytes is not None and self.entry.size is not None:
            return self.place.objects.read(self.entry, 0, min(n_bytes, self.entry.size))
        return self.place.objects.read(self.entry)[:n_bytes]


ImageFile: TypeAlias = Path | PlacedImage
"""An image file, wherever it lies."""

PlaceLike: TypeAlias = str | os.PathLike[str] | ImagePlace
"""What people may say for a place: a folder's path, or an address."""


def place_of(given: PlaceLike, cache: str | os.PathLike[str] | None = None) -> Path | ImagePlace:
    """The place that a path or an address names.

    Parameters
    ----------
    given : path-like, str or ImagePlace
        A folder; an address that fsspec takes (``s3://``, ``gs://``, ``https://``, chained ones); an archive or table, here or
        there: ``.zip``, ``.tar`` or ``.parquet``, several with wildcards or braces; ``zip://PATTERN::ADDRESS`` and
        ``tar://PATTERN::ADDRESS`` for a part of an archive; ``#COLUMN`` behind a table, ``#PART`` behind the shards of a
        WebDataset.
    cache : path-like, optional
        Folder for copies of what lies elsewhere; by default the one that the environment variable
        ``EVALKIT_IMAGE_CACHE`` names, or none.

    Returns
    -------
    Path or ImagePlace
        A path for folders, and for what does not exist.

    Raises
    ------
    InputError
        When an address was made a path (``Path("s3://bucket")`` loses a slash).
    """
    if isinstance(given, ImagePlace):
        return given
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"a folder or an address is needed, not {type(given).__name__}")
    text = os.fspath(given).removeprefix("file://")
    if not text:
        raise InputError("the name of a folder is empty; a folder or an address is needed")
    _refuse_compressed(text)
    if SCHEME.match(text) is None:
        path = with_home(text)
        if FLATTENED.match(text) and not path.exists():
            raise InputError(
                f"{address_without_secrets(text)}: an address loses a slash when it is made a path; give it as text."
            )
        address, _ = _without_part(text)
        if path.exists():
            is_place = path.is_file() and _kind(text) != "objects"
        else:
            is_place = _kind(address) != "objects" or WILDCARD.search(text) is not None
        if not is_place:
            return path
    place = _address(text, chosen_copies_folder(cache))
    return replace(place, objects=replace(place.objects, cache=None)) if place.objects.is_local else place


def with_home(text: str) -> Path:
    """A path with a leading ``~`` expanded.

    Raises
    ------
    InputError
        When there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{text}: nobody here has such a home folder") from None


def _refuse_compressed(text: str) -> None:
    address = COMPRESSED_TAR.match(text)
    if address and not Path(text).is_dir():
        raise InputError(
            f"{address_without_secrets(address[1])}: is a compressed tar archive, so that no image can be read without all "
            "before it; unpack it, or write the archive without compression (images are compressed already)"
        )


def check_is_here(path: Path) -> None:
    """Refuse what was an address, where files of this machine alone are read.

    Raises
    ------
    InputError
        Also for archives and tables.

    Examples
    --------
    >>> check_is_here(Path("s3://bucket/photos"))
    Traceback (most recent call last):
    evalkit.errors.InputError: s3://bucket/photos: is an address; a folder of this machine is needed here: copy its images into one.
    """
    text = re.sub(r"(\w):/(?=[^/])", r"\1://", str(path))
    if path.exists():
        if path.is_file() and _kind(text) != "objects":
            raise InputError(f"{path}: is an archive or a table; a folder is needed here: unpack its images into one.")
        return
    if SCHEME.match(text) or isinstance(place_of(path), ImagePlace):
        raise InputError(
            f"{address_without_secrets(text)}: is an address; a folder of this machine is needed here: copy its images into one."
        )


def check_is_folder_here(path: Path) -> None:
    """Refuse what is not a folder of this machine: what is absent, a file, or was an address.

    Raises
    ------
    InputError
        Which of these it is.
    """
    if not path.is_dir():
        check_is_here(path)
        raise InputError(f"{path}: {'is a file, not a folder' if path.exists() else 'no such folder'}{_perhaps(path)}.")


def _perhaps(path: Path) -> str:
    """What was probably meant by a folder that is none: shards of a folder, or a folder in an archive."""
    folder, hash_sign, part = str(path).rpartition("#")
    if hash_sign and Path(folder).is_dir():
        kinds = sorted({own.suffix.lower() for own in Path(folder).iterdir() if _kind(own.name) in ("tar", "parquet")})
        return "".join(f"; name the files in it, as in '{folder}/*{kind}#{part}'" for kind in kinds[:1])
    for archive in path.parents:
        kind = _kind(archive.name)
        if kind in ("zip", "tar") and archive.is_file():
            inner = path.relative_to(archive).as_posix()
            return f"; a folder in an archive is written {kind}://{inner}::{archive}"
    return ""


def archives_in(folder: Path | ImagePlace) -> str:
    """For a folder without images: the archives and tables that lie there, with how one is named; or nothing."""
    if isinstance(folder, ImagePlace):
        return ""
    names = sorted(own.name for own in folder.iterdir() if _kind(own.name) != "objects" and own.is_file())
    return (
        f"; it holds {some_names(names)}: name an archive or a table itself, as in {folder / names[0]}" if names else ""
    )


def check_is_folder(target: Path) -> None:
    """Refuse an address where results are to be written: they are files of this machine; and names that Python needs.

    Raises
    ------
    InputError
        When the path was made of one, or the folder would hide a package.
    """
    if FLATTENED.match(str(target)) and not target.exists():
        raise InputError(
            f"{address_without_secrets(str(target))}: results are written to a folder of this machine, not to an address."
        )
    check_hides_no_package(target)


def _address(text: str, cache: Path | None) -> ImagePlace:
    chained = re.match(r"(zip|tar)://", text)
    if chained:
        inner, separator, outer = text.partition("::")
        pattern = inner[len(chained[0]) :].strip("/")
        if not separator or not outer:
            raise InputError(
                f"{address_without_secrets(text)}: no archive is named; write {chained[0]}{pattern or '*'}::ADDRESS."
            )
        address, part = _without_part(outer)
        wildcard = WILDCARD.search(pattern)
        below = pattern if wildcard is None else pattern[: wildcard.start()].rpartition("/")[0]
        return ImagePlace(
            kind=chained[1],
            objects=Objects(_absolute(address), cache),
            below=below,
            pattern=pattern[len(below) :].lstrip("/"),
            part=part,
        )
    address, part = _without_part(text)
    kind = _kind(address)
    if kind != "objects":
        return ImagePlace(kind=kind, objects=Objects(_absolute(address), cache), part=part)
    address = _absolute(text)
    is_web = address.startswith(("http://", "https://"))
    wildcard = WILDCARD.search(address.partition("?")[0] if is_web else address)
    if wildcard is None:
        return ImagePlace(kind=kind, objects=Objects(address.rstrip("/"), cache))
    folder = address[: wildcard.start()].rpartition("/")[0]
    return ImagePlace(kind=kind, objects=Objects(folder, cache), pattern=address[len(folder) + 1 :])


def _absolute(address: str) -> str:
    """An address that means the same in every process: a path of this machine from its root."""
    return address if SCHEME.match(address) or "::" in address else str(with_home(address).absolute())


def _kind(address: str) -> str:
    """By its ending, which may stand before a query."""
    path = address.partition("?")[0] if SCHEME.match(address) else address
    return ARCHIVE_SUFFIXES.get(posixpath.splitext(path)[1].lower(), "objects")


def _without_part(text: str) -> tuple[str, str]:
    """An address, and what stands behind its last #; files may have a # in their names."""
    address, hash_sign, part = text.rpartition("#")
    return (address, part) if hash_sign and _kind(address) in ("tar", "parquet") else (text, "")


def lie_in_one_another(one: Path | ImagePlace, two: Path | ImagePlace) -> str:
    """``"same"`` for one place, ``"nested"`` where one folder lies in the other, ``""`` for places apart."""
    if isinstance(one, ImagePlace) and isinstance(two, ImagePlace):
        if one.identity == two.identity:
            return "same"
        if one.kind != two.kind or one.pattern or two.pattern or one.part or two.part:
            return ""
        first, second = (posixpath.join(place.objects.url, place.below).rstrip("/") for place in (one, two))
        return "nested" if _below(first, second, "/") or _below(second, first, "/") else ""
    if isinstance(one, ImagePlace) or isinstance(two, ImagePlace):
        return ""
    first, second = os.path.realpath(one), os.path.realpath(two)
    if first == second:
        return "same"
    return "nested" if _below(first, second, os.sep) or _below(second, first, os.sep) else ""


def _below(inner: str, outer: str, separator: str) -> bool:
    return inner.startswith(outer.rstrip(separator) + separator)


def files_below(place: Path | ImagePlace) -> Iterator[tuple[str, ImageFile]]:
    """Every file of a place with its path below it, hidden ones apart.

    Raises
    ------
    InputError
        When the place cannot be listed.
    """
    if isinstance(place, ImagePlace):
        for image in place.images():
            yield image.key, image
        return
    for path in _paths_below(place):
        yield path.relative_to(place).as_posix(), path


def _paths_below(folder: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(parent)
        folders[:] = [
            name
            for name in sorted(folders)
            # A link to a folder above would never end.
            if not name.startswith(".") and not _is_or_holds(os.path.realpath(os.path.join(parent, name)), real)  # noqa: PTH118
        ]
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)


def _is_or_holds(outer: str, inner: str) -> bool:
    return inner == outer or _below(inner, outer, os.sep)


def read_file(file: str | os.PathLike[str] | PlacedImage, n_bytes: int = -1) -> bytes:
    """Bytes of an image file, or its first ones.

    Raises
    ------
    OSError
        When a file of this machine cannot be read, or is a folder, a named pipe, a device or a socket.
    InputError
        When one elsewhere cannot be read.
    """
    if isinstance(file, PlacedImage):
        return file.read(None if n_bytes < 0 else n_bytes)
    return read_regular_file(file, n_bytes)


def read_text(given: PlaceLike) -> str:
    """A text file of UTF-8, with or without a byte-order mark, of this machine or at an address.

    Raises
    ------
    OSError, UnicodeDecodeError
        When a file cannot be read, or is no such text.
    InputError
        When one elsewhere cannot be read.
    """
    place = place_of(given)
    if isinstance(place, Path):
        return place.read_text(encoding="utf-8-sig")
    entries = list(place.objects.objects())
    return b"".join(place.objects.read(entry) for entry in entries).decode("utf-8-sig")


def starts_like_an_image(file: ImageFile) -> bool:
    """Whether the first bytes of a file are those of a format that is read; False where it cannot be opened.

    Elsewhere than on this machine only files without an ending are looked into: a look is a journey.
    """
    if isinstance(file, PlacedImage):
        is_row = file.place.kind == "parquet"
        return is_row or (not file.suffix and image_format(file.read(16)) is not None)
    try:
        return image_format(read_file(file, 16)) is not None
    except OSError:
        return False


def name_below(place: Path | ImagePlace, file: ImageFile) -> str:
    """The path of a file of a place below it, with forward slashes and with its ending."""
    return file.key if isinstance(file, PlacedImage) else file.relative_to(str(place)).as_posix()


def state_of(file: ImageFile) -> str:
    """A line that is another one when the file has changed."""
    if isinstance(file, PlacedImage):
        member = "" if file.member is None else f"{file.member.size}|{file.member.position}"
        return f"{file}|{file.entry.size}|{file.entry.version}|{member}"
    status = file.stat()
    return f"{file}|{status.st_size}|{status.st_mtime_ns}"


def size_of(file: ImageFile) -> int | None:
    """Bytes of a file; None where that is not known without reading it."""
    if isinstance(file, PlacedImage):
        return file.entry.size if file.member is None else file.member.size
    return file.stat().st_size


def modified_at(file: ImageFile) -> float | None:
    """When a file last changed, in seconds since 1970; None where a server does not tell."""
    return file.entry.modified if isinstance(file, PlacedImage) else file.stat().st_mtime


def changed_since_listed(files: Iterable[ImageFile]) -> list[str]:
    """Images that lie elsewhere and are not what they were when they were listed, by address; asks with one listing.

    Raises
    ------
    InputError
        When a place cannot be listed again.
    """
    listed: dict[ImagePlace, dict[StoredObject, str]] = {}
    for file in files:
        if isinstance(file, PlacedImage):
            address = str(file) if file.member is None else file.entry.address
            listed.setdefault(file.place, {}).setdefault(file.entry, address)
    changed = []
    for place, addresses in listed.items():
        now = set(place.objects.walk() if place.kind == "objects" else place.objects.objects())
        changed += [address for entry, address in addresses.items() if entry not in now]
    return changed
