"""Scoring runs on Dask for `test_executors.py` that fail: one by an image that cannot be read, one by a worker that is killed.

Usage: python dask_failures.py FOLDER OUT URL

Prints, as JSON, what each run says. The worker is killed by its second block, and Dask is told to try no block twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import evalkit
from evalkit.errors import InputError


def die_in_the_second_block() -> None:
    """On a worker: be killed as by the kernel when memory runs out."""
    from evalkit.scoring.blocks import BlockWorker

    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return genuine(self, index)

    BlockWorker.measure = measure  # type: ignore[method-assign]


def main(root: Path, out: Path, url: str) -> None:
    import dask
    from distributed import Client, LocalCluster

    told = {}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        for name, mine in (("unreadable", url), ("killed", root / "mine")):
            if name == "killed":
                client.run(die_in_the_second_block)
            try:
                evalkit.score(
                    root / "truth",
                    {"mine": mine, "random": None},
                    out=out / name,
                    metrics=["ab_auc", "psnr_rgb"],
                    n_bootstrap=0,
                    executor=client.get_executor(),
                )
            except InputError as error:
                told[name] = str(error)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
