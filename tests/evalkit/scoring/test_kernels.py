"""The first run on a machine: kernels are compiled once, whatever the number of workers, and a user is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.scoring.kernels import COMPILING

N_IMAGES = 97  # four blocks


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders ``truth`` and ``mine``, and an empty folder ``kernels`` for numba's cache."""
    rng = np.random.default_rng(0)
    for side in ("truth", "mine"):
        (tmp_path / side).mkdir()
        for k in range(N_IMAGES):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(tmp_path / side / f"{k:02d}.png")
    (tmp_path / "kernels").mkdir()
    return tmp_path


def environment(photos: Path) -> dict[str, str]:
    return {**os.environ, "NUMBA_CACHE_DIR": str(photos / "kernels"), "NUMBA_DEBUG_CACHE": "1", "PYTHONUNBUFFERED": "1"}


def test_each_kernel_is_compiled_once_by_all_workers_together(photos: Path) -> None:
    command = [sys.executable, "-m", "evalkit", "score", "--truth", "truth", "--method", "mine=mine", "--bootstrap", "0",
               "--metrics", "psnr_rgb,colorfulness", "--workers", "3", "--overwrite", "--out", "out"]  # fmt: skip

    def run() -> tuple[Counter[str], Counter[str], str]:
        done = subprocess.run(command, cwd=photos, env=environment(photos), capture_output=True, text=True, check=True)
        saved, loaded = (
            Counter(re.findall(rf"data {what} '.*[.](\w+)-\d+[.]\w+[.]\d+[.]nbc'", done.stdout))
            for what in ("saved to", "loaded from")
        )
        return saved, loaded, done.stderr

    saved, loaded, said = run()
    # What numba prints comes from the workers too: their standard output is this one's.
    assert saved == {"sum_squared_difference": 1, "opponent_sums": 1}
    # The server that workers are forked from compiled them for all three.
    assert not loaded
    assert said.count(COMPILING) == 1
    saved, loaded, said = run()
    assert not saved
    assert loaded == {"sum_squared_difference": 1, "opponent_sums": 1}
    assert COMPILING not in said


SCRIPT = """
import os, signal, sys
from multiprocessing import forkserver

import evalkit

said = []

def say(sentence):
    said.append(sentence)
    if "kill" in sys.argv:
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)

if __name__ == "__main__":
    for workers in map(int, sys.argv[1].split(",")):
        scores = evalkit.score("truth", {"mine": "mine", "gray": None}, metrics=["ab_auc", "ssim_rgb"], n_bootstrap=0,
                               workers=workers, notify=say)
        print("scores", [row.value.hex() for row in scores.summary])
    print("sentences", *said, sep="|")
    print("numba", "numba" in sys.modules)
"""


def run_script(photos: Path, *words: str) -> dict[str, list[str]]:
    """What a script prints, by the first word of each line: kernels saved, scores, sentences."""
    (photos / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py", *words],
        cwd=photos,
        env=environment(photos),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        lines.setdefault(line.split()[0].split("|")[0], []).append(line)
    lines["saved"] = re.findall(r"data saved to '.*[.](\w+)-\d+[.]\w+[.]\d+[.]nbc'", done.stdout)
    return lines


def test_kernels_compiled_in_the_fork_server_in_this_process_and_read_from_the_cache_give_the_same_bits(
    photos: Path,
) -> None:
    compiled_there = run_script(photos, "2")
    assert compiled_there["sentences"] == [f"sentences|{COMPILING}"]
    assert compiled_there["numba"] == ["numba False"]
    read = run_script(photos, "2")
    assert read["sentences"] == ["sentences"]
    shutil.rmtree(photos / "kernels")
    compiled_here = run_script(photos, "1")
    assert compiled_there["scores"] == read["scores"] == compiled_here["scores"]
    assert sorted(compiled_there["saved"]) == sorted(compiled_here["saved"]) == sorted(set(compiled_here["saved"]))


def test_a_fork_server_that_is_killed_while_it_compiles_is_made_up_for(photos: Path) -> None:
    killed = run_script(photos, "2", "kill")
    assert killed["sentences"][0].startswith(f"sentences|{COMPILING}")
    assert killed["scores"] == run_script(photos, "1")["scores"]


def test_a_second_run_of_a_process_with_other_metrics_compiles_once(photos: Path) -> None:
    script = SCRIPT.replace('metrics=["ab_auc", "ssim_rgb"]', 'metrics=[["psnr_rgb"], ["colorfulness"]][len(said)]')
    (photos / "two.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "two.py", "3,3"],
        cwd=photos,
        env=environment(photos),
        capture_output=True,
        text=True,
        check=True,
    )
    saved = Counter(re.findall(r"data saved to '.*[.](\w+)-\d+[.]\w+[.]\d+[.]nbc'", done.stdout))
    assert saved["sum_squared_difference"] == saved["opponent_sums"] == 1
    assert done.stdout.count(COMPILING) == 2
