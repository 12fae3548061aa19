"""Per-image statistics on disk: one Parquet shard per block of images, written whole or not at all.

A row is one image under one method. List columns hold the sparse ab-error counts; scalar columns hold what the metrics
measured and what the run noticed. Everything in a summary is recomputed from these files without the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.arrays import BoolArray, IntArray
from evalkit.color.ab_bins import N_BINS
from evalkit.errors import InputError
from evalkit.files import atomic_file
from evalkit.metrics.ab_counts import AbErrorOptions, AbErrorTable, PairCounts
from evalkit.metrics.base import ImageStatistics, ReferenceSet
from evalkit.scoring.arrow_columns import list_column, number_column, values_of
from evalkit.wording import counted, error_reason, some_names

__all__ = [
    "DIAGNOSTICS",
    "SHARD_FORMAT",
    "Row",
    "StoredStatistics",
    "check_shards",
    "image_curves",
    "is_of_method",
    "joined_name",
    "note_of",
    "pieces_of_shard",
    "read_reference",
    "read_shard",
    "read_statistics",
    "read_vectors",
    "reference_name",
    "reference_paths",
    "shard_name",
    "shard_paths",
    "shard_rows",
    "write_reference",
    "write_shard",
]

DIAGNOSTICS: Mapping[str, pa.DataType] = {
    "l_change": pa.float64(),
    "newly_clipped": pa.int64(),
    "gamut_clipped": pa.int64(),
    "gray_truth": pa.bool_(),
    "identical": pa.bool_(),
    "truth_format": pa.string(),
    "format": pa.string(),
    "truth_sha256": pa.string(),
    "sha256": pa.string(),
    "truth_notes": pa.string(),
    "notes": pa.string(),
}
"""What the run notices about every pair, whatever the metrics; null where it is not known."""

SHARD_FORMAT: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["method"],
    "write_statistics": False,
    # Sorted, or small numbers: as differences packed to few bits they take a third less, and less time.
    "column_encoding": {f"{name}.list.element": "DELTA_BINARY_PACKED" for name in ("class_id", "bin_key", "bin_count")},
}
"""How Parquet writes shards."""

_LISTS: Mapping[str, pa.DataType] = {
    "class_id": pa.uint16(),
    "class_count": pa.uint32(),
    "error_sum": pa.int64(),
    "bin_key": pa.uint32(),
    "bin_count": pa.uint32(),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one method."""

    image: str
    method: str
    n_pixels: int
    scalars: Mapping[str, Any]
    diagnostics: Mapping[str, Any]
    counts: PairCounts | None
    vectors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def write_shard(
    path: Path,
    rows: Sequence[Row],
    columns: Mapping[str, type[np.generic]],
    block: str,
    vectors: Mapping[str, int] | None = None,
) -> None:
    """Write the rows of one block; the file appears complete under its name or not at all.

    Parameters
    ----------
    path : Path
    rows : sequence of Row
    columns : mapping of str to numpy scalar type
        Scalar columns of the metrics.
    block : str
        Digest of what the block was made from; a resumed run reuses the shard only if it is the same.
    vectors : mapping of str to int, optional
        Feature vectors of the metrics and their lengths.
    """
    data: dict[str, Any] = {
        "image": list_column([row.image for row in rows], pa.string()),
        "method": list_column([row.method for row in rows], pa.string()),
        "n_pixels": list_column([row.n_pixels for row in rows], pa.int64()),
    }
    for name, kind in columns.items():
        data[name] = number_column(np.array([row.scalars[name] for row in rows], dtype=kind))
    for name, type_ in DIAGNOSTICS.items():
        data[name] = list_column([row.diagnostics.get(name) for row in rows], type_)
    if rows and rows[0].counts is not None:
        counts = [row.counts for row in rows if row.counts is not None]
        for name, type_ in _LISTS.items():
            parts = [getattr(count, name) for count in counts]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
            values = number_column(np.concatenate(parts), type_)
            data[name] = pa.ListArray.from_arrays(number_column(offsets), values)
    for name, length in (vectors or {}).items():
        values = number_column(np.concatenate([row.vectors[name] for row in rows]).astype(np.float32, copy=False))
        data[name] = pa.FixedSizeListArray.from_arrays(values, length)
    table = pa.table(data)
    with atomic_file(path) as file:
        pq.write_table(table, file, **SHARD_FORMAT)
    # Beside the shard, not in it: it holds paths and times, and the same images must give the same shards anywhere.
    note_of(path).write_text(block, encoding="ascii")


def write_reference(
    path: Path, images: Mapping[str, str], vectors: Mapping[str, npt.NDArray[np.float32]], block: str
) -> None:
    """Write the feature vectors of a block of the reference set, as `write_shard` does.

    Parameters
    ----------
    path : Path
    images : mapping of str to str
        sha256 of the file by image, in order.
    vectors : mapping of str to ndarray, shape (n_images, k)
    block : str
        Digest of what the block was made from.
    """
    data: dict[str, Any] = {
        "image": list_column(list(images), pa.string()),
        "sha256": list_column(list(images.values()), pa.string()),
    }
    for name, rows in vectors.items():
        values = number_column(np.ascontiguousarray(rows, dtype=np.float32).ravel())
        data[name] = pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
    with atomic_file(path) as file:
        pq.write_table(pa.table(data), file, compression="zstd", compression_level=1, write_statistics=False)
    note_of(path).write_text(block, encoding="ascii")


def read_reference(folder: Path, names: Sequence[str]) -> ReferenceSet | None:
    """Feature vectors of the reference set; None where the run has none.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    names : sequence of str
        Columns.
    """
    paths = reference_paths(folder)
    if not paths:
        return None
    tables = [read_shard(path) for path in paths]
    digest = hashlib.sha256()
    for table in tables:
        for sha, image in zip(table["sha256"].to_pylist(), table["image"].to_pylist(), strict=True):
            digest.update(f"{sha}  {image}\n".encode())
    return ReferenceSet(
        {name: np.concatenate([_vectors(table[name]) for table in tables]) for name in names}, digest.hexdigest()
    )


def reference_name(index: int) -> str:
    """File name of the shard of a block of the reference set."""
    return f"reference-{index:05d}.parquet"


def reference_paths(folder: Path) -> list[Path]:
    """Shards of the reference set in order; none where there is no such set."""
    return _in_order(folder.glob("reference-*.parquet"))


def _in_order(paths: Iterable[Path]) -> list[Path]:
    """By the number of the first block: from the 100,000th on it has more digits than the others."""
    return sorted(paths, key=lambda path: int(path.stem.split("-")[1]))


def shard_name(index: int) -> str:
    """File name of a block's shard."""
    return f"part-{index:05d}.parquet"


def joined_name(first: str, last: str) -> str:
    """File name of the part that holds the rows of all shards from one to another."""
    return f"{first.removesuffix('.parquet')}-{last.rpartition('-')[2]}"


def block_of(path: Path) -> str | None:
    """Digest that a shard was written with, of a part one per line; None when the file is not a complete shard."""
    try:
        pq.read_schema(path)
        return note_of(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def note_of(path: Path) -> Path:
    """The file beside a shard that says what it was made from."""
    return path.with_suffix(".block")


def drop_notes(folder: Path) -> None:
    """Remove what only a resumed run needs."""
    for path in folder.glob("*.block"):
        path.unlink()


def shard_paths(folder: Path) -> list[Path]:
    """Shards of a run in order.

    Raises
    ------
    InputError
        If there is none.
    """
    paths = _in_order(folder.glob("part-*.parquet"))
    if not paths:
        raise InputError(
            f"{folder}: holds no statistics (part-*.parquet); is this the --out folder of 'evalkit score'?"
        )
    return paths


def read_shard(
    path: Path, columns: Sequence[str] | None = None, *, lists: bool = True, vectors: bool = True
) -> pa.Table:
    """Rows of one shard: some columns, or all, or all without the lists of ab errors or the feature vectors.

    Raises
    ------
    InputError
        If the file is not a complete shard.
    """
    return pa.concat_tables(pieces_of_shard(path, columns, lists=lists, vectors=vectors))


def pieces_of_shard(
    path: Path, columns: Sequence[str] | None = None, *, lists: bool = True, vectors: bool = True
) -> Iterator[pa.Table]:
    """Rows of one shard as `read_shard`, some hundred images at a time, each with all of its methods.

    Raises
    ------
    InputError
        If the file is not a complete shard.
    """
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            if columns is None:
                columns = [
                    field.name
                    for field in file.schema_arrow
                    if (lists if field.name in _LISTS else vectors or not pa.types.is_nested(field.type))
                ]
            for group in range(file.num_row_groups):
                # One thread: the order of buffers, and so the peak memory, does not depend on the machine.
                yield file.read_row_group(group, columns=columns, use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path}: not a readable statistics shard ({error_reason(error)}); score again with --overwrite"
        ) from None


def read_vectors(
    folder: Path, method: str, names: Sequence[str], keep: frozenset[str] | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Feature vectors of one method, shape (n_images, length), by column."""
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}
    for table in _pieces(folder, ["image", "method", *names]):
        if keep is not None:
            table = table.filter(list_column([name in keep for name in table["image"].to_pylist()], pa.bool_()))
        rows = rows_of_method(table, method)
        for name in names:
            parts[name].append(_vectors(rows[name]))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _vectors(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """A column of vectors: float32, shape (n, length)."""
    values = column.combine_chunks()
    flat = values_of(values.flatten()).astype(np.float32, copy=False)
    vectors: npt.NDArray[np.float32] = flat.reshape(len(values), values.type.list_size)
    return vectors


@dataclass(frozen=True)
class StoredStatistics:
    """What the shards of a run hold, read once for all methods.

    Attributes
    ----------
    scalars : pyarrow.Table
        All rows without the nested columns, block by block, methods within an image.
    methods : mapping of str to ImageStatistics
        Images in name order. Feature vectors are left out: `read_vectors` gives those of one method, since those of all
        would not fit into memory.
    histograms : mapping of str to ndarray of int64, shape (Q, 152)
        Pooled ab-error histogram by method; empty without ab errors.
    shards : mapping of str to int
        File name and rows of every shard, whatever was kept of it.
    """

    scalars: pa.Table
    methods: Mapping[str, ImageStatistics]
    histograms: Mapping[str, IntArray]
    shards: Mapping[str, int]


def read_statistics(
    folder: Path,
    methods: Sequence[str],
    columns: Sequence[str],
    options: AbErrorOptions | None,
    keep: frozenset[str] | None = None,
) -> StoredStatistics:
    """Statistics of several methods, from one pass over the shards.

    A shard is reduced to the quadrature of `options` as soon as it is read and its histogram added up, so that memory
    grows by some 700 bytes per image and method.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    methods : sequence of str
    columns : sequence of str
        Scalar columns that the metrics need.
    options : AbErrorOptions or None
        None where no metric needs the ab errors.
    keep : frozenset of str, optional
        These images only.

    Raises
    ------
    InputError
        If a shard cannot be read, or an image of `keep` is in none of them.
    """
    scalars: list[pa.Table] = []
    tables: dict[str, list[AbErrorTable]] = {method: [] for method in methods}
    histograms: dict[str, IntArray] = {}
    unknown = set(keep or ())
    shards: dict[str, int] = {}
    for path, shard in _with_paths(folder, lists=options is not None):
        shards[path.name] = shards.get(path.name, 0) + len(shard)
        if keep is not None:
            names = shard["image"].to_pylist()
            unknown.difference_update(names)
            shard = shard.filter(list_column([name in keep for name in names], pa.bool_()))
        scalars.append(shard.select([name for name in shard.column_names if name not in _LISTS]))
        if options is None:
            continue
        for method in methods:
            rows = rows_of_method(shard, method)
            if not rows.num_rows:
                continue
            table = _ab_error_table(rows, len(options.classes))
            pooled = table.histogram()
            histograms[method] = histograms[method] + pooled if method in histograms else pooled
            tables[method].append(table.reduced(options))
    shards.update(_rows_of(reference_paths(folder)))
    if unknown:
        raise InputError(f"image {min(unknown)!r} of the subset is not in the run ({len(unknown)} unknown in all)")
    scalar = pa.concat_tables(scalars)
    return StoredStatistics(
        scalar,
        {method: _image_statistics(scalar, method, columns, tables.pop(method)) for method in methods},
        histograms,
        shards,
    )


def _with_paths(folder: Path, *, lists: bool) -> Iterator[tuple[Path, pa.Table]]:
    for path in shard_paths(folder):
        for piece in pieces_of_shard(path, vectors=False, lists=lists):
            yield path, piece


def check_shards(folder: Path, shards: Mapping[str, int], recorded: Mapping[str, int]) -> None:
    """Compare the shards of a folder with those that its run recorded.

    Parameters
    ----------
    folder : Path
        Folder of the shards, for the sentence.
    shards, recorded : mapping of str to int
        File name and rows, as found and as recorded.

    Raises
    ------
    InputError
        If any is missing, surplus or has other rows: numbers on the rest would be numbers of other images.
    """
    missing = [name for name in recorded if name not in shards]
    surplus = [name for name in shards if name not in recorded]
    changed = [name for name in recorded if name in shards and shards[name] != recorded[name]]
    faults = [
        f"{what} ({some_names(names)})"
        for what, names in (("lacks", missing), ("has surplus", surplus), ("has another length of", changed))
        if names
    ]
    if faults:
        raise InputError(
            f"{folder}: of the {counted(len(recorded), 'shard')} that run.json lists, it {' and '.join(faults)}; copy the "
            "folder again, or score again with --overwrite"
        )


def shard_rows(folder: Path) -> dict[str, int]:
    """Rows of every shard by its file name, from the files' own footers."""
    try:
        return _rows_of([*shard_paths(folder), *reference_paths(folder)])
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{folder}: holds a file that is no statistics shard ({error_reason(error)}); score again"
        ) from None


def _rows_of(paths: Sequence[Path]) -> dict[str, int]:
    return {path.name: pq.read_metadata(path).num_rows for path in paths}


def _pieces(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    for path in shard_paths(folder):
        yield from pieces_of_shard(path, columns)


def rows_of_method(table: pa.Table, method: str) -> pa.Table:
    """The rows of one method, in order."""
    rows = is_of_method(table, method)
    return table if rows.all() else table.filter(number_column(rows))


def is_of_method(table: pa.Table, method: str) -> BoolArray:
    """Which rows are those of one method."""
    import pyarrow.compute as pc

    return values_of(pc.equal(table["method"], list_column([method], pa.string())[0]))


def _image_statistics(
    scalars: pa.Table, method: str, columns: Sequence[str], tables: list[AbErrorTable]
) -> ImageStatistics:
    rows = rows_of_method(scalars.select(list(dict.fromkeys(["image", "method", "n_pixels", *columns]))), method)
    return ImageStatistics(
        images=tuple(rows["image"].to_pylist()),
        n_pixels=values_of(rows["n_pixels"]),
        columns={name: values_of(rows[name]) for name in columns},
        ab_error=_joined(tables) if tables else None,
    )


def _ab_error_table(rows: pa.Table, n_classes: int) -> AbErrorTable:
    lists = _lists(rows)

    def offsets(name: str) -> IntArray:
        return np.concatenate([[0], np.cumsum(lists[name][0])]).astype(np.int64)

    return AbErrorTable(
        n_classes=n_classes,
        offsets=offsets("class_id"),
        class_id=lists["class_id"][1],
        class_count=lists["class_count"][1],
        error_sum=lists["error_sum"][1],
        bin_offsets=offsets("bin_key"),
        bin_key=lists["bin_key"][1],
        bin_count=lists["bin_count"][1],
    )


def _joined(parts: list[AbErrorTable]) -> AbErrorTable:
    """Reduced tables one after the other; empties the list, so that of one array alone two copies exist at a time."""
    first = parts[0]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.offsets) for part in parts]))])
    names = ("class_id", "class_count", "error_sum")
    pieces = {name: [getattr(part, name) for part in parts] for name in names}
    parts.clear()
    arrays: dict[str, Any] = {name: np.concatenate(pieces.pop(name)) for name in names}
    return replace(first, offsets=offsets.astype(np.int64), bin_offsets=np.zeros(len(offsets), np.int64), **arrays)


def _lists(rows: pa.Table) -> dict[str, tuple[IntArray, npt.NDArray[Any]]]:
    """Lengths and values of the list columns."""
    lists = {}
    for name in (name for name in _LISTS if name in rows.column_names):
        column = rows[name].combine_chunks()
        values = values_of(column.flatten())
        lists[name] = (values_of(column.value_lengths()).astype(np.int64), values)
    return lists


def image_curves(folder: Path, methods: Sequence[str]) -> dict[str, IntArray]:
    """Pixels of each image within each threshold of ab error, classes together.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    methods : sequence of str

    Returns
    -------
    mapping of str to ndarray of int64, shape (n_images, 152)
        By method. Column t: pixels with d <= t; the last column: all pixels. No rows when no ab metric was computed.
    """
    parts: dict[str, list[IntArray]] = {method: [np.zeros((0, N_BINS), np.int64)] for method in methods}
    if "bin_key" not in pq.read_schema(shard_paths(folder)[0]).names:
        return {method: np.concatenate(curves) for method, curves in parts.items()}
    for shard in _pieces(folder, ["method", "bin_key", "bin_count"]):
        for method in methods:
            lists = _lists(rows_of_method(shard, method))
            lengths, keys = lists["bin_key"]
            cell = np.repeat(np.arange(len(lengths)), lengths) * N_BINS + keys % N_BINS
            pixels = np.bincount(cell, weights=lists["bin_count"][1], minlength=len(lengths) * N_BINS)
            parts[method].append(np.cumsum(pixels.astype(np.int64).reshape(-1, N_BINS), axis=1))
    return {method: np.concatenate(curves) for method, curves in parts.items()}
