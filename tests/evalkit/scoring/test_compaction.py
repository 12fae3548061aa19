"""Shards joined into parts as a run goes on: the same numbers, nothing lost to a kill, old runs and joined ones read alike."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from scoring_folders import photo_copy, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.scoring import compaction, merging, plan
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.merging import merge_runs
from evalkit.scoring.score_folder import read_score_folder
from evalkit.scoring.scores import Scores
from evalkit.scoring.statistics_store import joined_name, shard_name, shard_paths

N_BLOCKS = 9
BLOCK_SIZE = 8
PART = "part-00000-00003.parquet", "part-00004-00007.parquet", "part-00008.parquet"
"""70 images (`photo_set`) in blocks of 8, four blocks to a part."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "BLOCK_SIZE", BLOCK_SIZE)
    monkeypatch.setattr(merging, "BLOCK_SIZE", BLOCK_SIZE)
    for owner in (plan, merging):
        monkeypatch.setattr(owner, "BLOCKS_PER_PART", 4)
    monkeypatch.setattr(compaction, "BLOCKS_PER_ROW_GROUP", 2)


def methods_of(root: Path) -> dict[str, Path | None]:
    return {"vivid": root / "vivid", "random": None}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(folder / "statistics") for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def uncompacted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_set: Path, quick_score: Any) -> Path:
    """The same run with a file per block, as they were before."""
    with monkeypatch.context() as patch:
        patch.setattr(plan, "BLOCKS_PER_PART", 1000)
        quick_score(photo_set, tmp_path / "single", methods_of(photo_set))
    assert len(shard_paths(tmp_path / "single" / "statistics")) == N_BLOCKS
    return tmp_path / "single"


@pytest.mark.parametrize("how", [{}, {"executor": ThreadPoolExecutor(2)}], ids=["here", "threads"])
def test_a_part_holds_the_rows_of_its_blocks(
    how: dict[str, Any], uncompacted: Path, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    out = tmp_path / "out"
    quick_score(photo_set, out, methods_of(photo_set), **how)
    assert sorted(path.name for path in (out / "statistics").iterdir()) == sorted(PART)
    assert json.loads((out / "run.json").read_text())["shards"] == {PART[0]: 64, PART[1]: 64, PART[2]: 12}
    assert rows_of(out) == rows_of(uncompacted)
    for name in ("summary.csv", "curves.csv", "per_image.parquet"):
        assert (out / name).read_bytes() == (uncompacted / name).read_bytes()
    assert Scores.read(out).summary_csv() == Scores.read(uncompacted).summary_csv()
    errors, expected = (read_score_folder(folder).curve_std_errors for folder in (out, uncompacted))
    assert all((errors[method] == expected[method]).all() for method in expected)


def test_workers_leave_parts_too(
    uncompacted: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
) -> None:
    out = tmp_path / "out"
    # Workers are processes of their own, which know the genuine size of a block; what is joined is this one's business.
    monkeypatch.setattr(plan, "BLOCK_SIZE", 32)
    monkeypatch.setattr(plan, "BLOCKS_PER_PART", 2)
    quick_score(photo_set, out, methods_of(photo_set), workers=2)
    names = ["part-00000-00001.parquet", "part-00002.parquet"]
    assert sorted(path.name for path in (out / "statistics").iterdir()) == names
    assert rows_of(out) == rows_of(uncompacted)


def test_shards_and_parts_hold_counts_as_small_differences(
    uncompacted: Path, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    quick_score(photo_set, tmp_path / "out", methods_of(photo_set))
    for folder in (uncompacted, tmp_path / "out"):
        for path in shard_paths(folder / "statistics"):
            group = pq.read_metadata(path).row_group(0)
            columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
            for name in ("class_id", "bin_key", "bin_count"):
                assert "DELTA_BINARY_PACKED" in columns[f"{name}.list.element"].encodings


STEPS = ("a part is renamed", "its note is written", "a shard is removed", "a note is removed")


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, after: bool) -> Iterator[None]:
    """Stop while the second part is joined: at the step, before or after it has happened."""

    def stop_at(owner: Any, name: str, is_step: Callable[..., bool]) -> None:
        genuine = getattr(owner, name)

        def stopping(*args: Any, **kwargs: Any) -> Any:
            if not is_step(*args):
                return genuine(*args, **kwargs)
            if after:
                genuine(*args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, name, stopping)

    if step == 0:
        stop_at(Path, "replace", lambda path, target: Path(target).name == PART[1])
    if step == 1:
        note = Path(PART[1]).with_suffix(".block").name
        stop_at(Path, "replace", lambda path, target: Path(target).name == note)
    if step == 2:
        stop_at(Path, "unlink", lambda path: path.name == shard_name(5))
    if step == 3:
        stop_at(Path, "unlink", lambda path: path.name == Path(shard_name(5)).with_suffix(".block").name)
    yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_a_run_killed_while_it_joins_measures_nothing_twice(
    step: int,
    after: bool,
    uncompacted: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
) -> None:
    out = tmp_path / "out"
    with (
        monkeypatch.context() as patch,
        killed_at(patch, step, after),
        pytest.raises(KeyboardInterrupt),
    ):
        quick_score(photo_set, out, methods_of(photo_set))
    assert not (out / "run.json").exists()
    measured: list[int] = []
    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        measured.append(index)
        return genuine(self, index)

    monkeypatch.setattr(BlockWorker, "measure", measure)
    quick_score(photo_set, out, methods_of(photo_set), resume=True)
    assert measured == [8]
    assert sorted(path.name for path in (out / "statistics").iterdir()) == sorted(PART)
    assert rows_of(out) == rows_of(uncompacted)
    assert (out / "summary.csv").read_bytes() == (uncompacted / "summary.csv").read_bytes()


def test_a_part_of_a_changed_file_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    out = tmp_path / "out"
    methods = {"vivid": photo_copy / "vivid"}
    genuine = BlockWorker.measure
    measured: list[int] = []

    def measure(self: BlockWorker, index: int) -> int:
        if index == 8 and not measured.count(8):
            measured.append(8)
            raise KeyboardInterrupt
        measured.append(index)
        return genuine(self, index)

    monkeypatch.setattr(BlockWorker, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        quick_score(photo_copy, out, methods)
    assert {path.name for path in (out / ".unfinished").glob("*.parquet")} == set(PART[:2])
    (photo_copy / "vivid" / "i40.png").write_bytes((photo_copy / "dull" / "i40.png").read_bytes())
    measured[:] = [8]
    quick_score(photo_copy, out, methods, resume=True)
    assert measured[1:] == [4, 5, 6, 7, 8]
    fresh = quick_score(photo_copy, None, methods)
    assert (out / "summary.csv").read_text() == fresh.summary_csv()


def test_runs_with_and_without_parts_are_merged(
    uncompacted: Path, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    quick_score(photo_set, tmp_path / "dull", {"dull": photo_set / "dull"})
    quick_score(photo_set, tmp_path / "whole", {**methods_of(photo_set), "dull": photo_set / "dull"})
    merged = merge_runs([uncompacted, tmp_path / "dull"], tmp_path / "merged")
    assert sorted(path.name for path in (tmp_path / "merged" / "statistics").iterdir()) == sorted(PART)
    assert merged.summary_csv() == (tmp_path / "whole" / "summary.csv").read_text()
    assert rows_of(tmp_path / "merged") == rows_of(tmp_path / "whole")


def test_parts_beyond_the_hundred_thousandth_block_stay_in_order(tmp_path: Path) -> None:
    names = [shard_name(7), joined_name(shard_name(99968), shard_name(100095)), shard_name(100096)]
    assert names[1] == "part-99968-100095.parquet"
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in shard_paths(tmp_path)] == names
