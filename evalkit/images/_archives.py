"""Images inside of zip and tar archives and of Parquet tables: which there are, and the bytes of one."""

from __future__ import annotations

import posixpath
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.errors import InputError
from evalkit.images._headers import IMAGE_SUFFIXES
from evalkit.images._objects import CHANGED, NO_RANGES, Objects, StoredObject
from evalkit.wording import did_you_mean, some_names

__all__ = ["ARCHIVE_SUFFIXES", "Member", "read_member", "table_images", "tar_members", "zip_members"]

ARCHIVE_SUFFIXES = {".zip": "zip", ".tar": "tar", ".parquet": "parquet"}
"""What an address is that ends so."""

NAME_COLUMNS = ("name", "key", "__key__")
"""Columns in which a table may hold the names of its images."""

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

COMPRESSIONS = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))

BZ2_DAMAGE = "Invalid data stream"
"""What bz2 says of damaged data, in an OSError, as if another attempt could help."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image inside of an object.

    Attributes
    ----------
    name : str
        Its path in the archive, or its name in the table.
    size : int or None
        Bytes; None where it is not known without reading.
    position : tuple
        Where: the name in a zip archive, the first byte in a tar archive, or column, row group and row of a table.
    """

    name: str
    size: int | None
    position: tuple[Any, ...]


# --- zip --------------------------------------------------------------------------------------------------


def zip_members(objects: Objects, archive: StoredObject) -> Iterator[Member]:
    """The files in a zip archive.

    Raises
    ------
    InputError
        When it is none, or is cut short.
    """
    for info in _opened_zip(objects, archive).infolist():
        if not info.is_dir():
            yield Member(info.filename, info.file_size, (info.filename,))


@lru_cache(maxsize=64)
def _opened_zip(objects: Objects, archive: StoredObject) -> zipfile.ZipFile:
    """Its table of contents is read once per process; it may be read from several threads."""
    return _told(objects, archive, lambda: _owning(objects.open(archive), zipfile.ZipFile))


def _owning(opened: Any, reader: Callable[[Any], T]) -> T:
    """A reader of a path or an open file; the file is closed with it, which readers leave to whoever opened the file."""
    if isinstance(opened, Path):
        return reader(opened)
    try:
        made = reader(opened)
    except BaseException:
        opened.close()
        raise
    weakref.finalize(made, opened.close)
    return made


def _read_zip(objects: Objects, archive: StoredObject, member: Member) -> bytes:
    opened = _opened_zip(objects, archive)
    return _told(objects, archive, lambda: opened.read(member.name), member.name)


# --- tar --------------------------------------------------------------------------------------------------


def tar_members(objects: Objects, archive: StoredObject) -> Iterator[Member]:
    """The files in a tar archive, links to others of it among them, with the place of their first byte.

    Raises
    ------
    InputError
        When it is none, is compressed (then nothing can be taken out of it without unpacking the rest), or is damaged or
        cut short.
    """
    opened = objects.open(archive)
    with opened.open("rb") if isinstance(opened, Path) else opened as file:
        yield from _told(objects, archive, lambda: _tar_members(file, archive.address))


def _tar_members(file: Any, address: str) -> list[Member]:
    file.seek(0)
    start = file.read(6)
    for magic, name in COMPRESSIONS:
        if start.startswith(magic):
            raise InputError(
                f"{address}: is compressed with {name}, so that no image can be read without all before it; unpack it, or "
                "write the tar archive without compression (images are compressed already)."
            )
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        infos = archive.getmembers()
        # tarfile takes a damaged header behind the first for the end of the archive, which is a block of zeros.
        file.seek(archive.offset)
        end = file.read(tarfile.BLOCKSIZE)
    if not end or end.strip(b"\0"):
        raise tarfile.ReadError("its end mark is missing behind " + (infos[-1].name if infos else "its start"))
    by_name = {posixpath.normpath(info.name): info for info in infos}
    members = []
    for info in infos:
        target: tarfile.TarInfo | None = info
        if info.islnk() or info.issym():
            folder = posixpath.dirname(info.name) if info.issym() else ""
            target = by_name.get(posixpath.normpath(posixpath.join(folder, info.linkname)))
        if target is not None and target.isreg():
            if target.issparse() and posixpath.splitext(info.name)[1].lower() in IMAGE_SUFFIXES:
                # Its bytes do not lie in one piece: read as such, they would run into those of the next member.
                raise InputError(
                    f"{address}/{info.name}: is stored with holes (tar --sparse), so that it cannot be read in one piece; write "
                    "the archive without --sparse."
                )
            members.append(Member(info.name, target.size, (target.offset_data,)))
    return members


def _read_tar(objects: Objects, archive: StoredObject, member: Member) -> bytes:
    return objects.read(archive, member.position[0], member.size)


# --- Parquet ----------------------------------------------------------------------------------------------


def table_images(objects: Objects, table: StoredObject, part: str) -> Iterator[Member]:
    """The images in a column of a Parquet table; rows without one are passed over.

    Parameters
    ----------
    objects : Objects
    table : StoredObject
    part : str
        The column, or ``COLUMN,NAMES`` with that of the names; by default the only column of images, and the column
        `NAME_COLUMNS` or the paths that stand beside the images.

    Raises
    ------
    InputError
        When it is no table, has no such column, or a row has an image and no name.
    """
    import pyarrow as pa

    address = table.address
    opened = _opened_table(objects, table)
    schema: pa.Schema = opened.file.schema_arrow
    image_columns = [field.name for field in schema if _holds_images(field.type)]
    column, _, name_column = part.partition(",")
    if not column:
        if len(image_columns) != 1:
            raise InputError(
                f"{address}: has {some_names(image_columns) or 'no columns'} that hold images; name one behind a #, as in "
                f"{table.name}#{image_columns[0] if image_columns else 'image'}."
            )
        column = image_columns[0]
    if column not in image_columns:
        raise InputError(
            f"{address}: has no column of images '{column}'{did_you_mean(column, image_columns)}; those that hold images "
            f"(bytes, or bytes and path) are {some_names(image_columns, 10) or 'none'}."
        )
    is_struct = pa.types.is_struct(schema.field(column).type)
    has_paths = is_struct and schema.field(column).type.get_field_index("path") >= 0
    if not name_column:
        name_column = next((name for name in NAME_COLUMNS if name in schema.names), "")
        if not name_column and not has_paths:
            raise InputError(
                f"{address}: no column tells the names of the images ({', '.join(NAME_COLUMNS)}, or a path beside the bytes); "
                f"name it behind the column, as in {table.name}#{column},id."
            )
    elif name_column not in schema.names:
        raise InputError(f"{address}: has no column '{name_column}'{did_you_mean(name_column, schema.names)}.")
    leaf = f"{column}.bytes" if is_struct else column
    for group in range(opened.file.num_row_groups):
        names = _names(objects, opened, group, name_column, column)
        is_null = opened.nulls(objects, group, leaf)
        if is_null is not None and has_paths:
            paths = _names(objects, opened, group, "", column)
            bare = [path for path, has_none in zip(paths, is_null, strict=True) if has_none and path is not None]
            if bare:
                raise InputError(
                    f"{address}: '{column}' holds paths without bytes ({some_names(bare, 1)}); write the table with the images "
                    "in it (datasets.table.embed_table_storage), or score their folder."
                )
        for row, name in enumerate(names):
            if is_null is not None and is_null[row]:
                continue
            if name is None:
                raise InputError(f"{address}: row {row} of row group {group} has an image and no name.")
            yield Member(_without_image_suffix(str(name)), None, (leaf, group, row))


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        kind = kind.field(index).type if index >= 0 else None
    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _names(objects: Objects, opened: _Table, group: int, name_column: str, column: str) -> Sequence[Any]:
    read = name_column or f"{column}.path"
    table = _told(objects, opened.entry, lambda: opened.read(group, read))
    values = table.column(0)
    names: Sequence[Any] = values.to_pylist()
    return names if name_column else [None if one is None else one["path"] for one in names]


def _without_image_suffix(name: str) -> str:
    """A name in a table without the ending of a file, if it has one: others may hold dots that mean something."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


class _Table:
    """An open Parquet file; its reads take turns, since they move through one file."""

    def __init__(self, entry: StoredObject, file: Any) -> None:
        self.entry = entry
        self.file = file
        self._lock = threading.Lock()

    def read(self, group: int, column: str) -> pa.Table:
        """One column of a row group."""
        with self._lock:
            return self.file.read_row_group(group, columns=[column], use_threads=False)

    def nulls(self, objects: Objects, group: int, leaf: str) -> Sequence[bool] | None:
        """Which rows of a column are empty, from its statistics where these say that none is; None for none."""
        chunks = self.file.metadata.row_group(group)
        for i in range(chunks.num_columns):
            statistics = chunks.column(i).statistics
            if chunks.column(i).path_in_schema == leaf and statistics is not None and statistics.null_count == 0:
                return None
        values = _told(objects, self.entry, lambda: self.read(group, leaf)).column(0).combine_chunks()
        return [one.as_py() for one in _bytes_of(values).is_null()]


def _bytes_of(values: Any) -> Any:
    """The bytes of a column, which may lie inside of a struct."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


@lru_cache(maxsize=64)
def _opened_table(objects: Objects, table: StoredObject) -> _Table:
    from pyarrow import parquet

    def read(file: Any) -> _Table:
        return _Table(table, parquet.ParquetFile(file, page_checksum_verification=True))

    return _told(objects, table, lambda: _owning(objects.open(table), read))


@lru_cache(maxsize=4)
def _row_group(objects: Objects, table: StoredObject, leaf: str, group: int) -> Any:
    """The images of a row group: rows that follow one another are read together."""
    return _bytes_of(_told(objects, table, lambda: _opened_table(objects, table).read(group, leaf)).column(0))


def _read_row(objects: Objects, table: StoredObject, member: Member) -> bytes:
    leaf, group, row = member.position
    data: bytes = _row_group(objects, table, leaf, group)[row].as_py()
    return data


# --- all --------------------------------------------------------------------------------------------------

_READERS: dict[str, Callable[[Objects, StoredObject, Member], bytes]] = {
    "zip": _read_zip,
    "tar": _read_tar,
    "parquet": _read_row,
}


def read_member(kind: str, objects: Objects, archive: StoredObject, member: Member) -> bytes:
    """The bytes of one image.

    Raises
    ------
    InputError
        When the archive cannot be read, has changed since it was listed, or is damaged there.
    """
    return _READERS[kind](objects, archive, member)


def _told(objects: Objects, archive: StoredObject, action: Callable[[], T], name: str = "") -> T:
    """What an action gives, or in one sentence why an archive cannot be read."""
    address = archive.address
    where = f"{address}/{name}" if name else address

    def checked() -> T:
        try:
            return action()
        except InputError:
            raise
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
            raise _damaged(where, error) from None
        except (NotImplementedError, RuntimeError) as error:  # of zipfile: an unknown compression, a password
            raise InputError(f"{where}: cannot be unpacked ({error}).") from None
        except Exception as error:
            if "range requests" in str(error):
                raise InputError(f"{address}: {NO_RANGES}.") from None
            if type(error).__name__ == "FileExpired":
                raise InputError(f"{address}: {CHANGED}.") from None
            # ValueError is pyarrow's; lzma is missing from some builds of Python.
            if isinstance(error, ValueError) or type(error).__name__ == "LZMAError" or str(error) == BZ2_DAMAGE:
                raise _damaged(where, error) from None
            raise

    return objects.tried(checked, archive)


def _damaged(where: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return InputError(f"{where}: is damaged, cut short, or of another kind than its name says ({reason}).")
