"""The first run on a machine: kernels are compiled once, whatever the number of workers, and a user is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from evalkit.scoring.kernels import COMPILING

N_IMAGES = 97  # four blocks


def test_each_kernel_is_compiled_once_by_all_workers_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side in ("truth", "mine"):
        (tmp_path / side).mkdir()
        for k in range(N_IMAGES):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(tmp_path / side / f"{k:02d}.png")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "NUMBA_DEBUG_CACHE": "1",
                   "PYTHONUNBUFFERED": "1"}  # fmt: skip
    command = [sys.executable, "-m", "evalkit", "score", "--truth", "truth", "--method", "mine=mine", "--bootstrap", "0",
               "--metrics", "psnr_rgb,colorfulness", "--workers", "3", "--overwrite", "--out", "out"]  # fmt: skip

    def run() -> tuple[Counter[str], Counter[str], str]:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        saved, loaded = (
            Counter(re.findall(rf"data {what} '.*[.](\w+)-\d+[.]\w+[.]\d+[.]nbc'", done.stdout))
            for what in ("saved to", "loaded from")
        )
        return saved, loaded, done.stderr

    saved, loaded, said = run()
    # What numba prints comes from the workers too: their standard output is this one's.
    assert saved == {"sum_squared_difference": 1, "opponent_sums": 1}
    # The server that workers are forked from loads them for all three.
    assert loaded == {"sum_squared_difference": 1, "opponent_sums": 1}
    assert said.count(COMPILING) == 1
    saved, loaded, said = run()
    assert not saved
    assert loaded == {"sum_squared_difference": 2, "opponent_sums": 2}
    assert COMPILING not in said
