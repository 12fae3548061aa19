"""The first run after an installation, when numba's cache is empty, beside the run after it.

    python benchmarks/bench_first_run.py [--workers 1,2,4] [--out docs/benchmarks/tables/first_run.md]

`evalkit score` with the default metrics on 256 pairs of noise, 64 pixels on a side (eight blocks), without intervals;
every first run has a cache folder of its own. CPU seconds are those of all processes of a run. Compilations are counted
from what numba says of its cache: kernels saved, and how many of them more than once. The bytecode of evalkit is there
before, as pip leaves it. Linux only.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import evalkit

MEASURE = """
import ctypes, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # orphans, workers of a fork server say, become children of this process, which counts them
subprocess.run(sys.argv[1:], check=True)
try:
    while True:
        os.wait()
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("CPU", used.ru_utime + used.ru_stime)
"""


def write_pairs(root: Path, n_pairs: int) -> tuple[Path, Path]:
    """Folders of noise, one as truth and one as a method."""
    rng = np.random.default_rng(0)
    folders = root / "truth", root / "mine"
    for folder in folders:
        folder.mkdir()
        for k in range(n_pairs):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{k:03d}.png")
    return folders


def run(truth: Path, method: Path, workers: int, cache: Path) -> tuple[float, Counter[str]]:
    """CPU seconds of a run, and how often each kernel was saved to the cache."""
    command = [sys.executable, "-m", "evalkit", "score", "--truth", str(truth), "--method", f"mine={method}", "--quiet",
               "--bootstrap", "0", "--workers", str(workers), "--out", str(cache / f"out-{workers}"), "--overwrite"]  # fmt: skip
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "NUMBA_DEBUG_CACHE": "1", "OMP_NUM_THREADS": "1"}
    text = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], check=True, env=environment, stdout=subprocess.PIPE, text=True
    ).stdout
    saved = Counter(re.findall(r"data saved to '([^']*)[.]\d+[.]nbc'", text))
    return float(text.rsplit("CPU", 1)[1]), saved


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # An editable installation under PYTHONDONTWRITEBYTECODE would compile all of evalkit in every process of every run.
    compileall.compile_dir(Path(evalkit.__file__).parent, quiet=2)
    lines = [
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}.",
        "",
        "| workers | first run, CPU s | run after it, CPU s | compiling, CPU s | kernels compiled | more than once |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folders = write_pairs(Path(temporary), 256)
        for workers in map(int, arguments.workers.split(",")):
            cache = Path(temporary) / f"cache-{workers}"
            cache.mkdir()
            first, saved = run(*folders, workers, cache)
            later, again = run(*folders, workers, cache)
            if again:
                raise SystemExit(f"the second run compiled {', '.join(again)}")
            twice = sum(count > 1 for count in saved.values())
            lines.append(f"| {workers} | {first:.1f} | {later:.1f} | {first - later:.1f} | {len(saved)} | {twice} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
