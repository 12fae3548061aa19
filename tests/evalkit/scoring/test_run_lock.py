"""One run at a time writes into a folder, and nobody computes on part of a run."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scoring_folders import finished, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.errors import InputError
from evalkit.scoring.merging import merge_runs
from evalkit.scoring.score_comparison import compare_methods, compare_runs
from evalkit.scoring.score_folder import read_score_folder
from evalkit.scoring.scores import Scores

Finished = tuple[Path, Scores]
QuickScore = Callable[..., Scores]

HOLD = """
import sys
from pathlib import Path
from evalkit.scoring.run_lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writing_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into ``out``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_a_folder_that_another_run_writes_into_is_refused_with_process_and_host(
    how: dict[str, bool],
    tmp_path: Path,
    photo_set: Path,
    quick_score: QuickScore,
    writing_run: subprocess.Popen[str],
) -> None:
    with pytest.raises(InputError, match=rf"process {writing_run.pid} on \S+, since .*; wait until") as refusal:
        quick_score(photo_set, tmp_path / "out", {"gray": None}, **how)
    assert "overwrite" not in str(refusal.value)
    assert not (tmp_path / "out" / "summary.csv").exists()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")
def test_the_lock_of_a_killed_run_holds_nobody_up(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore, writing_run: subprocess.Popen[str]
) -> None:
    writing_run.send_signal(signal.SIGKILL)
    writing_run.wait()
    assert (tmp_path / "out" / ".writer.json").exists()
    quick_score(photo_set, tmp_path / "out", {"gray": None})
    assert (tmp_path / "out" / "summary.csv").exists()
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_run_on_another_machine_is_refused_with_the_file_to_delete(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    note = {"process": 7, "host": "another.example", "since": "2026-01-01 10:00:00"}
    (out / ".writer.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"process 7 on another\.example.*delete .*\.writer\.json"):
        quick_score(photo_set, out, {"gray": None})
    (out / ".writer.json").unlink()
    quick_score(photo_set, out, {"gray": None})


def test_every_reader_refuses_a_run_that_lacks_a_shard(tmp_path: Path, finished: Finished) -> None:
    out = shutil.copytree(finished[0], tmp_path / "out")
    (out / "statistics" / "part-00001.parquet").unlink()
    sentence = r"of the 3 shards that run\.json lists, it lacks \(part-00001\.parquet\)"
    readers: list[Callable[[], object]] = [
        lambda: Scores.read(out),
        lambda: finished[1].rescored(out),
        lambda: compare_runs(finished[0], out),
        lambda: compare_methods(out, "vivid"),
        lambda: merge_runs([out, finished[0]], tmp_path / "joined"),
        lambda: read_score_folder(out),
    ]
    for read in readers:
        with pytest.raises(InputError, match=sentence):
            read()


def test_a_shard_of_another_run_is_refused(tmp_path: Path, finished: Finished) -> None:
    out = shutil.copytree(finished[0], tmp_path / "out")
    shutil.copyfile(out / "statistics" / "part-00002.parquet", out / "statistics" / "part-00003.parquet")
    with pytest.raises(InputError, match=r"surplus \(part-00003\.parquet\)"):
        Scores.read(out)
    (out / "statistics" / "part-00003.parquet").unlink()
    shutil.copyfile(out / "statistics" / "part-00002.parquet", out / "statistics" / "part-00000.parquet")
    with pytest.raises(InputError, match=r"another length of \(part-00000\.parquet\)"):
        Scores.read(out)


def test_a_run_whose_finished_blocks_are_taken_away_ends_without_a_summary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    """What an --overwrite beside a living run did before there was a lock: exit 0 with a part of the images."""
    from evalkit.scoring.blocks import BlockWorker

    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        count = genuine(self, index)
        if index == 2:
            (tmp_path / "out" / ".unfinished" / "part-00000.parquet").unlink()
        return count

    monkeypatch.setattr(BlockWorker, "measure", measure)
    with pytest.raises(InputError, match=r"lacks \(part-00000\.parquet\)"):
        quick_score(photo_set, tmp_path / "out", {"gray": None})
    assert not (tmp_path / "out" / "summary.csv").exists()
