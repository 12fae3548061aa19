"""Scores a folder in a process whose memory is limited, for `test_scarce_memory.py`.

Usage: python scarce_memory.py FOLDER OUT METRIC WEIGHTS MEGABYTES

The limit is what the process has once the network is loaded, the small pair is measured and the large one decoded, and so
many megabytes. Prints what is said, as one line, and what it was raised from.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import evalkit
from evalkit.errors import InputError
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.blocks import BlockWorker


def limit(megabytes: int) -> None:
    """No more address space than now, and so much."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20), resource.RLIM_INFINITY))


def main(folder: Path, out: Path, metric: str, weights: Path, megabytes: int) -> None:
    genuine = BlockWorker._measure_pair
    n_pairs = 0

    def measure_pair(self: BlockWorker, *pair: object) -> object:
        nonlocal n_pairs
        n_pairs += 1
        if n_pairs == 2:
            limit(megabytes)
        return genuine(self, *pair)  # type: ignore[arg-type]

    BlockWorker._measure_pair = measure_pair  # type: ignore[assignment, method-assign]
    given = {"alexnet": weights} if metric.startswith("lpips") else {}
    networks = NetworkOptions(weights=given, device="cpu", cache=None)
    try:
        evalkit.score(
            folder / "truth", {"mine": folder / "mine"}, metrics=(metric,), out=out, networks=networks, n_bootstrap=0
        )
    except InputError as error:
        print(type(error.__cause__).__name__)
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
