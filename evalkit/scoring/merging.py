"""Joining finished runs without their images: other images of the same methods, or other methods on the same images."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.errors import InputError
from evalkit.files import atomic_file, check_hides_no_package
from evalkit.scoring.compaction import join_shards
from evalkit.scoring.plan import BLOCK_SIZE, BLOCKS_PER_PART
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import Scores, summarise
from evalkit.scoring.statistics_store import (
    SHARD_FORMAT,
    check_shards,
    joined_name,
    pieces_of_shard,
    read_shard,
    reference_paths,
    shard_name,
    shard_paths,
)

__all__ = ["merge_runs"]


def merge_runs(folders: Sequence[Path], target: Path) -> Scores:
    """Join runs into one; the result equals a single run over everything, to the last bit.

    Parameters
    ----------
    folders : sequence of Path
        Finished ``--out`` folders: either the same methods over disjoint images, or disjoint methods over the same
        images (methods that several runs share, such as anchors, must agree and are taken from the first).
    target : Path
        Folder for the joined result; must not exist or be empty.

    Raises
    ------
    InputError
        If a run is given twice, options differ (the field is named), or neither images nor methods fit together.
    """
    if len(folders) < 2:
        raise InputError("merge needs at least two finished runs")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: exists and is not an empty folder; choose a new folder for --out")
    records = [RunRecord.from_json(folder / "run.json") for folder in folders]
    _require_different_folders(folders)
    _require_same_options(folders, records)
    for folder, record in zip(folders[1:], records[1:], strict=True):
        if record.inputs.get("reference") != records[0].inputs.get("reference"):
            raise InputError(
                f"{folder}: was scored against another reference set than {folders[0]} (their digests differ)"
            )
    images = [_images(folder, record) for folder, record in zip(folders, records, strict=True)]
    over_images = all(set(record.methods) == set(records[0].methods) for record in records)
    if over_images:
        record = _join_images(folders, images, records[0])
    else:
        record = _join_methods(folders, images, records)
    if "random" in record.builtins and over_images:
        raise InputError(
            "runs with the built-in method 'random' cannot be joined over images: each took its colours from its own "
            "folder only; colorize once with 'evalkit colorize random' and score the result as a method"
        )
    record = replace(
        record,
        n_bootstrap=max(one.n_bootstrap for one in records),
        notes=tuple(dict.fromkeys(note for one in records for note in one.notes)),
        samples={name: methods for one in records for name, methods in one.samples.items()},
        allow_missing=any(one.allow_missing for one in records),
        reading={name: value for one in records for name, value in one.reading.items()},
        missing=_unique(entry for one in records for entry in one.missing),
        shards={},
    )
    check_hides_no_package(target)
    existed = target.exists()
    shards = target / ".unfinished"
    shards.mkdir(parents=True)
    try:
        _write_shards(folders, record, shards)
        for path in reference_paths(folders[0] / "statistics"):
            shutil.copyfile(path, shards / path.name)
        scores = summarise(shards, record)
        scores.write(target, statistics=shards)
    except BaseException:
        shutil.rmtree(shards if existed else target, ignore_errors=True)
        raise
    return scores


def _require_different_folders(folders: Sequence[Path]) -> None:
    """Refuse a run that is named twice, be it under two names."""
    given: dict[Path, Path] = {}
    for folder in folders:
        place = folder.resolve()
        if place in given:
            first = given[place]
            same = f"{folder}: is given twice" if first == folder else f"{folder}: is the same run as {first}"
            raise InputError(f"{same}; name each run once")
        given[place] = folder


def _unique(entries: Iterable[Mapping[str, str]]) -> tuple[Mapping[str, str], ...]:
    by_content = {tuple(sorted(entry.items())): entry for entry in entries}
    return tuple(by_content.values())


def _write_shards(folders: Sequence[Path], record: RunRecord, shards: Path) -> None:
    """Rows of all runs in blocks, images in name order, methods in the order of the record."""
    order = {method: rank for rank, method in enumerate(record.methods)}
    streams = [_groups(folder, rank) for rank, folder in enumerate(folders)]
    block: list[pa.Table] = []
    names: set[str] = set()
    index = 0

    def flush() -> None:
        nonlocal index
        table = pa.concat_tables(block)
        with atomic_file(shards / shard_name(index)) as file:
            pq.write_table(table, file, **SHARD_FORMAT)
        block.clear()
        names.clear()
        index += 1
        if index % BLOCKS_PER_PART == 0:
            joined = [shard_name(i) for i in range(index - BLOCKS_PER_PART, index)]
            join_shards(shards, joined, joined_name(joined[0], joined[-1]))

    for name, parts in groupby(heapq.merge(*streams, key=lambda part: part[:2]), key=lambda part: part[0]):
        if len(names) == BLOCK_SIZE:
            flush()
        rows: dict[str, pa.Table] = {}
        for _, _, table in parts:
            for i, method in enumerate(table["method"].to_pylist()):
                rows.setdefault(method, table.slice(i, 1))
        block.extend(rows[method] for method in sorted(rows, key=order.__getitem__))
        names.add(name)
    flush()


def _require_same_options(folders: Sequence[Path], records: Sequence[RunRecord]) -> None:
    first = _deciding(records[0])
    for folder, record in zip(folders[1:], records[1:], strict=True):
        this = _deciding(record)
        differing = next((key for key in (*first, *this) if first.get(key) != this.get(key)), None)
        if differing is not None:
            raise InputError(
                f"{folder}: scored with another {differing} than {folders[0]}; only runs scored alike can be joined"
            )


def _deciding(record: RunRecord) -> dict[str, Any]:
    """What runs to join must agree in, by the name that a sentence gives it."""
    data = record.to_json()
    # How images were resized says nothing where none was.
    fit = {} if record.size is None else {"fit": record.fit, "resample": record.resample}
    return {"metrics": data["metrics"], **data["options"], "size": record.size, **fit}


def _images(folder: Path, record: RunRecord) -> list[str]:
    names: list[str] = []
    shards: dict[str, int] = {}
    for path in shard_paths(folder / "statistics"):
        rows = read_shard(path, ["image"])["image"].to_pylist()
        shards[path.name] = len(rows)
        names.extend(dict.fromkeys(rows))
    statistics = folder / "statistics"
    check_shards(
        statistics,
        shards | {path.name: len(read_shard(path, ["image"])) for path in reference_paths(statistics)},
        record.shards,
    )
    return names


def _join_images(folders: Sequence[Path], images: Sequence[list[str]], record: RunRecord) -> RunRecord:
    seen: dict[str, Path] = {}
    for folder, names in zip(folders, images, strict=True):
        for name in names:
            if name in seen:
                raise InputError(
                    f"image {name!r} is in {seen[name]} and in {folder}; runs to join share methods or images, not both"
                )
            seen[name] = folder
    return record


def _join_methods(folders: Sequence[Path], images: Sequence[list[str]], records: Sequence[RunRecord]) -> RunRecord:
    for folder, names in zip(folders[1:], images[1:], strict=True):
        if names != images[0]:
            unshared = sorted(set(names) ^ set(images[0]))[0]
            raise InputError(
                f"{folder}: has other methods and other images than {folders[0]} (for example {unshared!r}); runs to join share "
                "methods or images"
            )
    methods = tuple(dict.fromkeys(method for record in records for method in record.methods))
    builtins = tuple(dict.fromkeys(method for record in records for method in record.builtins))
    for method in methods:
        with_it = [(f, r) for f, r in zip(folders, records, strict=True) if method in r.methods]
        first_folder, first_record = with_it[0]
        for folder, record in with_it[1:]:
            is_alike = (method in record.builtins) == (method in first_record.builtins)
            digest = f"method {method}"
            if not is_alike or record.inputs.get(digest) != first_record.inputs.get(digest):
                raise InputError(f"{folder}: method {method} has other images than in {first_folder}")
    for folder, record in zip(folders[1:], records[1:], strict=True):
        if record.inputs.get("truth") != records[0].inputs.get("truth"):
            raise InputError(f"{folder}: was scored against other true photos than {folders[0]} (their digests differ)")
        if "random" in record.builtins and record.seed != records[0].seed:
            raise InputError(
                f"{folder}: 'random' was made with seed {record.seed}, in {folders[0]} with {records[0].seed}"
            )
    return replace(records[0], methods=methods, builtins=builtins)


def _groups(folder: Path, rank: int) -> Iterator[tuple[str, int, pa.Table]]:
    """Rows of a run, image by image in name order, some hundred images in memory at a time."""
    for path in shard_paths(folder / "statistics"):
        for piece in pieces_of_shard(path):
            table = piece.replace_schema_metadata(None)
            start = 0
            for name, rows in groupby(table["image"].to_pylist()):
                count = sum(1 for _ in rows)
                yield name, rank, table.slice(start, count)
                start += count
