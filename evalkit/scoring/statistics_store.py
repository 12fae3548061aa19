"""Per-image statistics on disk: one Parquet shard a block of images, written whole or not at all.

A row is one image under one method. List columns hold the sparse ab-error counts; scalar columns hold what the metrics
measured and what the run noticed. Everything in a summary is recomputed from these files without the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.arrays import BoolArray, IntArray
from evalkit.errors import InputError
from evalkit.files import atomic_file
from evalkit.metrics.ab_error import AbErrorOptions, AbErrorTable, PairCounts

__all__ = [
    "DIAGNOSTICS",
    "Row",
    "image_curves",
    "read_method",
    "read_scalars",
    "read_shard",
    "read_vectors",
    "shard_paths",
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

_LISTS: Mapping[str, pa.DataType] = {
    "class_id": pa.uint16(),
    "class_count": pa.uint32(),
    "error_sum": pa.int64(),
    "bin_key": pa.uint32(),
    "bin_count": pa.uint32(),
}


@dataclass(frozen=True)
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
        "image": pa.array([row.image for row in rows], pa.string()),
        "method": pa.array([row.method for row in rows], pa.string()),
        "n_pixels": pa.array([row.n_pixels for row in rows], pa.int64()),
    }
    for name, kind in columns.items():
        data[name] = pa.array(np.array([row.scalars[name] for row in rows], dtype=kind))
    for name, type_ in DIAGNOSTICS.items():
        data[name] = pa.array([row.diagnostics.get(name) for row in rows], type_)
    if rows and rows[0].counts is not None:
        counts = [row.counts for row in rows if row.counts is not None]
        for name, type_ in _LISTS.items():
            parts = [getattr(count, name) for count in counts]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
            values = pa.array(np.concatenate(parts).astype(type_.to_pandas_dtype()))
            data[name] = pa.ListArray.from_arrays(pa.array(offsets), values)
    for name, length in (vectors or {}).items():
        values = pa.array(np.concatenate([row.vectors[name] for row in rows]).astype(np.float32, copy=False))
        data[name] = pa.FixedSizeListArray.from_arrays(values, length)
    table = pa.table(data)
    with atomic_file(path) as file:
        pq.write_table(
            table, file, compression="zstd", compression_level=1, use_dictionary=["method"], write_statistics=False
        )
    # Beside the shard, not in it: it holds paths and times, and the same images must give the same shards anywhere.
    _note(path).write_text(block, encoding="ascii")


def block_of(path: Path) -> str | None:
    """Digest that a shard was written with; None when the file is not a complete shard."""
    try:
        pq.read_schema(path)
        return _note(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _note(path: Path) -> Path:
    return path.with_suffix(".block")


def drop_notes(folder: Path) -> None:
    """Remove what only a resumed run needs."""
    for path in folder.glob("part-*.block"):
        path.unlink()


def shard_paths(folder: Path) -> list[Path]:
    """Shards of a run in order.

    Raises
    ------
    InputError
        If there is none.
    """
    found = sorted(folder.glob("part-*.parquet"))
    if not found:
        raise InputError(
            f"{folder}: holds no statistics (part-*.parquet); is this the --out folder of 'evalkit score'?"
        )
    return found


def read_shard(path: Path, columns: Sequence[str] | None = None, *, lists: bool = True) -> pa.Table:
    """Rows of one shard: some columns, or all, or all but the list columns.

    Raises
    ------
    InputError
        If the file is not a complete shard.
    """
    try:
        if not lists:
            columns = [field.name for field in pq.read_schema(path) if not pa.types.is_nested(field.type)]
        # One thread: the order of buffers, and so the peak memory, does not depend on the machine.
        return pq.read_table(path, columns=columns, use_threads=False, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: not a readable statistics shard ({error}); score again with --overwrite") from None


def read_scalars(folder: Path) -> pa.Table:
    """All rows of a run without the list columns: the table of ``per_image.parquet``, block by block."""
    parts = []
    for path in shard_paths(folder):
        parts.append(read_shard(path, lists=False))
    return pa.concat_tables(parts)


def read_vectors(
    folder: Path, method: str, names: Sequence[str], keep: frozenset[str] | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Feature vectors of one method, shape (n_images, length), by column."""
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}
    for path in shard_paths(folder):
        table = read_shard(path, ["image", "method", *names])
        mask = np.asarray(table["method"].to_numpy(zero_copy_only=False) == method)
        if keep is not None:
            mask &= np.array([name in keep for name in table["image"].to_pylist()])
        rows = table.filter(pa.array(mask))
        for name in names:
            column = rows[name].combine_chunks()
            values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
            parts[name].append(values.reshape(len(rows), column.type.list_size))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _lists(table: pa.Table, mask: BoolArray) -> dict[str, tuple[IntArray, npt.NDArray[Any]]]:
    chosen = table.filter(pa.array(mask))
    found = {}
    for name in (name for name in _LISTS if name in chosen.column_names):
        column = chosen[name].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        found[name] = (lengths, values)
    return found


def _tables(folder: Path, method: str, n_classes: int, keep: frozenset[str] | None) -> Iterator[AbErrorTable]:
    for path in shard_paths(folder):
        table = read_shard(path, ["image", "method", *_LISTS])
        mask = np.asarray(table["method"].to_numpy(zero_copy_only=False) == method)
        if keep is not None:
            mask &= np.array([name in keep for name in table["image"].to_pylist()])
        if not mask.any():
            continue
        lists = _lists(table, mask)

        def offsets(name: str, lists: dict[str, Any] = lists) -> IntArray:
            return np.concatenate([[0], np.cumsum(lists[name][0])]).astype(np.int64)

        yield AbErrorTable(
            n_classes, offsets("class_id"), lists["class_id"][1], lists["class_count"][1], lists["error_sum"][1],
            offsets("bin_key"), lists["bin_key"][1], lists["bin_count"][1],
        )  # fmt: skip


def image_curves(folder: Path, method: str) -> IntArray:
    """Pixels of each image within each threshold of ab error, classes together.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    method : str

    Returns
    -------
    ndarray of int64, shape (n_images, 152)
        Column t: pixels with d <= t; the last column: all pixels. No rows when no ab metric was computed.
    """
    from evalkit.color._ab_kernel import N_BINS

    found = [np.zeros((0, N_BINS), np.int64)]
    for path in shard_paths(folder):
        if "bin_key" not in pq.read_schema(path).names:
            return found[0]
        table = read_shard(path, ["method", "bin_key", "bin_count"])
        lists = _lists(table, np.asarray(table["method"].to_numpy(zero_copy_only=False) == method))
        lengths, keys = lists["bin_key"]
        cell = np.repeat(np.arange(len(lengths)), lengths) * N_BINS + keys % N_BINS
        pixels = np.bincount(cell, weights=lists["bin_count"][1], minlength=len(lengths) * N_BINS)
        found.append(np.cumsum(pixels.astype(np.int64).reshape(-1, N_BINS), axis=1))
    return np.concatenate(found)


def read_method(
    folder: Path, method: str, options: AbErrorOptions, keep: frozenset[str] | None = None
) -> tuple[AbErrorTable, IntArray]:
    """Ab errors of one method, reduced to the quadrature of `options`, and its pooled histogram.

    Shards are read one at a time and their histograms added up, so memory grows by some 700 bytes an image.

    Returns
    -------
    table : AbErrorTable
    histogram : ndarray of int64, shape (Q, 152)
    """
    from evalkit.color._ab_kernel import N_BINS

    n_classes = len(options.classes)
    histogram = np.zeros((n_classes, N_BINS), np.int64)
    parts = []
    for part in _tables(folder, method, n_classes, keep):
        histogram += part.histogram()
        parts.append(part.reduced(options))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.offsets) for part in parts]))])
    table = AbErrorTable(
        n_classes,
        offsets.astype(np.int64),
        np.concatenate([part.class_id for part in parts]),
        np.concatenate([part.class_count for part in parts]),
        np.concatenate([part.error_sum for part in parts]),
        np.zeros(len(offsets), np.int64),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        options,
    )
    return table, histogram
