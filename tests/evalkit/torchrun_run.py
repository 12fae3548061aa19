"""A process of torchrun for `test_torchrun.py`: scores by the command line, so that every process measures something.

Usage: torchrun ... torchrun_run.py FOLDER OUT MARKER measure|die [OPTION ...]

The first process measures nothing until another has begun a block, or is killed in it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

ROOT, OUT, MARKER = map(Path, sys.argv[1:4]) if len(sys.argv) > 4 else (Path(),) * 3
LONG = 240.0
"""Seconds after which what must come is given up."""


def main() -> None:
    import evalkit.scoring.blocks as blocks
    from evalkit.cli import main as evalkit

    genuine = blocks.BlockWorker.measure
    is_first, dies = os.environ["RANK"] == "0", sys.argv[4] == "die"

    def measure(self: blocks.BlockWorker, index: int) -> int:
        if is_first:
            given_up = time.monotonic() + LONG
            while not MARKER.exists():
                assert time.monotonic() < given_up, "no other process has measured anything"
                time.sleep(0.02)
        else:
            MARKER.touch()
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
        return genuine(self, index)

    blocks.BlockWorker.measure = measure  # type: ignore[method-assign]
    evalkit(
        [
            "score", "--truth", str(ROOT / "truth"), "--method", f"mine={ROOT / 'mine'}", "--method", "random",
            "--out", str(OUT), "--bootstrap", "0", "--executor", "torchrun", *sys.argv[5:],
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
