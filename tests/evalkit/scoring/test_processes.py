"""Runs in several processes: what becomes of workers, of scripts without a guard, of finished runs, of old consoles."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scoring_folders import folders  # noqa: F401 (fixture)

import evalkit
from evalkit.color.ab_classes import preset
from evalkit.errors import InputError
from evalkit.images.image_files import DecodeOptions
from evalkit.metrics.ab_counts import AbErrorOptions

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


def script(folders: Path, out: Path, *, guard: bool = True, extra: str = "") -> str:
    call = f"score({str(folders / 'truth')!r}, {{'mine': {str(folders / 'mine')!r}}}, out={str(out)!r}, workers=2, n_bootstrap=0{extra})"
    lines = ["from evalkit import score", 'if __name__ == "__main__":' if guard else "if True:", f"    {call}"]
    return "\n".join(lines) + "\n"


# A worker that sleeps in its first block holds what it holds for as long as it lives.
SLEEPY = """
import time
import evalkit.scoring.blocks as blocks
blocks.BlockWorker.measure = lambda self, index: time.sleep(600)
"""


@posix_only
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(folders: Path, tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "sleepy.py"
    path.write_text(SLEEPY + script(folders, tmp_path / "out"))
    parent = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    workers = _wait_for_workers(parent.pid)
    parent.send_signal(how)
    # Until the last process that holds it is gone, standard output stays open: this is what hung.
    parent.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if _is_alive(pid)]


@posix_only
def test_a_script_that_calls_with_a_timeout_gets_its_call_back(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "sleepy.py"
    path.write_text(SLEEPY + script(folders, tmp_path / "out"))
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, path], capture_output=True, timeout=15)
    assert time.monotonic() - start < 45


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [d for child in children for d in _descendants(int(child))]


def _wait_for_workers(pid: int) -> list[int]:
    """The parent's children: the fork server, its workers and the tracker, once both workers are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            found = _descendants(pid)
        except FileNotFoundError:
            found = []
        if len(found) >= 4:
            time.sleep(1)
            return found
        time.sleep(0.1)
    pytest.fail("no workers were started")


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_script_without_a_guard_is_told_what_is_missing(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "unguarded.py"
    path.write_text(script(folders, tmp_path / "out", guard=False))
    finished = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(
        "evalkit.errors.InputError: the script scores while a worker reads"
    )
    assert 'if __name__ == "__main__":' in finished.stderr
    assert finished.stderr.count("Traceback") == 1
    path.write_text(script(folders, tmp_path / "out"))
    guarded = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)
    assert (guarded.returncode, guarded.stderr) == (0, "")


def test_a_worker_that_fails_while_it_starts_is_not_called_out_of_memory(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    fails_in_workers = "import multiprocessing\nif multiprocessing.current_process().name != 'MainProcess': 1 / 0\n"
    path.write_text(fails_in_workers + script(folders, tmp_path / "out"))
    finished = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)
    assert "a worker process ended with status 1" in finished.stderr.splitlines()[-1]
    assert "ZeroDivisionError" in finished.stderr


# --- one command for the first try and for the requeued job ---------------------------------------------------------


def test_resuming_a_finished_run_gives_its_results_and_touches_nothing(folders: Path, tmp_path: Path) -> None:
    options = {"metrics": ("ab_auc", "psnr_rgb"), "n_bootstrap": 200, "out": tmp_path / "out", "resume": True}
    first = evalkit.score(folders / "truth", {"mine": folders / "mine"}, **options)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = evalkit.score(folders / "truth", {"mine": folders / "mine"}, **options)
    assert again.summary == first.summary
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"metrics": ("ab_auc",)}, "metrics"),
        ({"n_bootstrap": 300}, "bootstrap"),
        ({"size": 16}, "size"),
        ({"seed": 5}, "seed"),
        ({"options": AbErrorOptions(quadrature="thresholds")}, "quadrature"),
        ({"options": AbErrorOptions(rebalancing=0.5)}, "lambda"),
        ({"options": AbErrorOptions(classes=preset("seed2024"))}, "classes"),
        ({"turn_like_truth": True}, "turn_like_truth"),
        ({"decoding": DecodeOptions(convert_cmyk=True)}, "convert_cmyk"),
    ],
)
def test_another_run_is_never_taken_for_the_finished_one(
    folders: Path, tmp_path: Path, other: dict[str, object], named: str
) -> None:
    options = {"metrics": ("psnr_rgb",), "n_bootstrap": 200, "out": tmp_path / "out", "resume": True}
    evalkit.score(folders / "truth", {"mine": folders / "mine"}, **options)
    with pytest.raises(InputError, match=rf"results of a run with other .*{named}.* --overwrite"):
        evalkit.score(folders / "truth", {"mine": folders / "mine"}, **{**options, **other})


def test_a_finished_run_that_lost_a_shard_says_so(folders: Path, tmp_path: Path) -> None:
    options = {"metrics": ("psnr_rgb",), "n_bootstrap": 200, "out": tmp_path / "out", "resume": True}
    evalkit.score(folders / "truth", {"mine": folders / "mine"}, **options)
    shard = next((tmp_path / "out" / "statistics").iterdir())
    shard.unlink()
    with pytest.raises(InputError, match=rf"that run.json lists, it lacks \({shard.name}\)"):
        evalkit.score(folders / "truth", {"mine": folders / "mine"}, **options)


def test_files_that_changed_since_are_noticed(folders: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for path in (folders / "truth").iterdir():
        (truth / path.name).write_bytes(path.read_bytes())
    options = {"metrics": ("psnr_rgb",), "n_bootstrap": 0, "out": tmp_path / "out", "resume": True}
    evalkit.score(truth, {"mine": folders / "mine"}, **options)
    late = time.time() + 100
    os.utime(truth / "00.png", (late, late))
    with pytest.raises(InputError, match="newer than the results"):
        evalkit.score(truth, {"mine": folders / "mine"}, **options)


# --- consoles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_an_old_console_shows_the_table_without_a_traceback(folders: Path, tmp_path: Path, encoding: str) -> None:
    words = ["score", "--truth", folders / "truth", "--method", f"mine={folders / 'mine'}", "--out", tmp_path / "out"]
    shown = subprocess.run(
        [sys.executable, "-m", "evalkit", *words, "--workers", "1", "--metrics", "ab_auc,psnr_rgb"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    assert b"Traceback" not in shown.stderr
    text = shown.stdout.decode(encoding)
    assert "mine" in text
    assert "?" not in text
