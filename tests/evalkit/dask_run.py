"""Scoring runs on Dask for `test_executors.py`: two local workers, of which one is killed in its first block of the first run.

Usage: python dask_run.py FOLDER OUT MARKER
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import evalkit
from evalkit.networks.options import NetworkOptions

if TYPE_CHECKING:
    from distributed import Client

ROOT, OUT, MARKER = map(Path, sys.argv[1:]) if len(sys.argv) == 4 else (Path(),) * 3


def die_once(marker: str) -> None:
    """On a worker: the first block that any worker measures kills it, as the kernel does when memory runs out."""
    import evalkit.scoring.blocks as blocks

    genuine = blocks.BlockWorker.measure

    def measure(self: blocks.BlockWorker, index: int) -> int:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return genuine(self, index)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    blocks.BlockWorker.measure = measure  # type: ignore[method-assign]


def score_into(out: Path, client: Client) -> None:
    evalkit.score(
        ROOT / "truth",
        {"mine": ROOT / "mine", "random": None},
        out=out,
        metrics=["ab_auc", "psnr_rgb"],
        n_bootstrap=0,
        executor=client.get_executor(),
    )


def main() -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        client.run(die_once, str(MARKER))
        score_into(OUT, client)
        # Another run, from the command line, on the same scheduler.
        code = os.spawnv(
            os.P_WAIT,
            sys.executable,
            [
                sys.executable, "-m", "evalkit", "score", "--truth", str(ROOT / "truth"),
                "--method", f"mine={ROOT / 'mine'}", "--method", "random", "--out", f"{OUT}-command",
                "--metrics", "ab_auc,psnr_rgb", "--bootstrap", "0", "--quiet",
                "--executor", f"dask:{cluster.scheduler_address}",
            ],
        )  # fmt: skip
        assert code == 0
        blocks_of_four = OUT.with_name("by-fours")  # 18 blocks for two workers: the first messages hold several
        with mock.patch("evalkit.scoring.plan.BLOCK_SIZE", 4):
            score_into(blocks_of_four, client)
        for name in ("filled", "read"):  # by two workers that share a cache of network outputs
            networks = NetworkOptions(
                labels=str(ROOT / "labels.csv"),
                classifiers={"tiny": "tests.evalkit.classifiers_for_tests:tiny"},
                device="cpu",
                cache=OUT.parent / "cache",
            )
            evalkit.score(
                ROOT / "truth",
                {"mine": ROOT / "mine", "random": None},
                out=OUT.with_name(name),
                metrics=["ab_auc", "tiny_top1"],
                n_bootstrap=0,
                networks=networks,
                executor=client.get_executor(),
            )


if __name__ == "__main__":
    main()
