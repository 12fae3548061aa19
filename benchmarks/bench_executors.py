"""Executors beside each other, and the torchmetrics adapter beside torchmetrics.

    python benchmarks/bench_executors.py [--pairs 256] [--rounds 3] [--out docs/benchmarks/tables/executors.md]

Blocks of one run with two methods (AuC, 256 x 256, PNG) are measured by executors that take turns, all started and warm:
this process, two processes, two threads, Dask with two worker processes. CPU seconds are those of this process and all of
its children; wall seconds mean something on an idle machine only. The adapter and torchmetrics take the same batches of
uint8 tensors on one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
from bench_score import crops, recoloured, write_folders

from evalkit.scoring.executors import run_on_executor
from evalkit.scoring.kernels import compile_kernels
from evalkit.scoring.plan import Plan, make_plan
from evalkit.scoring.workers import run_blocks

REPEATS = 10
"""Batches that an adapter measures at a time: the system counts processor time in hundredths of a second."""


def cpu_seconds() -> float:
    """Of this process and all of its children."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def take_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Least CPU and wall seconds of each; a first round that starts and loads everything is left out."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, work in contestants.items():
            seconds[name].append(measured(work))
    return {name: (min(c for c, _ in all_[1:]), min(w for _, w in all_[1:])) for name, all_ in seconds.items()}


def executors(plan: Plan, rounds: int) -> list[str]:
    """Table of executors."""
    from distributed import Client, LocalCluster

    def on(executor: Executor) -> Callable[[], object]:
        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                run_on_executor(plan, Path(folder), range(plan.n_blocks), executor, lambda done, total: None)

        return work

    def here() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_blocks(plan, Path(folder), range(plan.n_blocks), 1, lambda done, total: None)

    with (
        ProcessPoolExecutor(2, get_context("spawn")) as processes,
        ThreadPoolExecutor(2) as threads,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        contestants = {
            "this process": here,
            "processes:2": on(processes),
            "threads:2": on(threads),
            "Dask, two processes": on(client.get_executor()),
        }
        seconds = take_turns(contestants, rounds)
    cpu_of_processes, wall_of_one = seconds["processes:2"][0], seconds["this process"][1]
    lines = [
        "| executor | CPU s | CPU, processes:2 = 1 | wall s | times the speed of one |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, (cpu, wall) in seconds.items():
        lines.append(f"| {name} | {cpu:.2f} | {cpu / cpu_of_processes:.2f} | {wall:.2f} | {wall_of_one / wall:.2f} |")
    return lines


def adapters(truth: Path, method: Path, rounds: int) -> list[str]:
    """Table of the adapter beside torchmetrics."""
    import numpy as np
    import torch
    from PIL import Image

    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    from evalkit.torchmetrics import ScoreMetric

    torch.set_num_threads(1)

    def batch(folder: Path) -> torch.Tensor:
        images = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())[:32]]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()

    true, own = batch(truth), batch(method)

    def adapter(name: str) -> Callable[[], object]:
        def work() -> None:
            for _ in range(REPEATS):
                metric = ScoreMetric(name)
                metric.update(own, true)
                metric.compute()

        return work

    def genuine(make: Callable[..., object]) -> Callable[[], object]:
        def work() -> None:
            for _ in range(REPEATS):
                metric = make(data_range=255.0)
                metric.update(own.float(), true.float())  # type: ignore[attr-defined]
                metric.compute()  # type: ignore[attr-defined]

        return work

    seconds = take_turns(
        {
            "evalkit psnr_rgb": adapter("psnr_rgb"),
            "torchmetrics PSNR": genuine(PeakSignalNoiseRatio),
            "evalkit ssim_rgb": adapter("ssim_rgb"),
            "torchmetrics SSIM": genuine(StructuralSimilarityIndexMeasure),
        },
        rounds,
    )
    lines = ["| 32 images of 256 x 256, one thread | CPU ms per image |", "|---|---:|"]
    lines += [f"| {name} | {1e3 * cpu / 32 / REPEATS:.2f} |" for name, (cpu, _) in seconds.items()]
    for ours, theirs in (("evalkit psnr_rgb", "torchmetrics PSNR"), ("evalkit ssim_rgb", "torchmetrics SSIM")):
        lines.append(f"| **{theirs} / {ours}** | **{seconds[theirs][0] / seconds[ours][0]:.1f}** |")
    return lines


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [f"{os.cpu_count()} cores, Python {sys.version.split()[0]}.", ""]
    with tempfile.TemporaryDirectory() as temporary:
        pictures = recoloured(crops(arguments.photos, arguments.pairs))
        truth, methods = write_folders(Path(temporary), pictures, "PNG", 95)
        plan = make_plan(truth, {path.name: path for path in methods[:2]}, metrics=("ab_auc", "ab_auc_rebal"))
        compile_kernels(plan, print)
        lines += executors(plan, arguments.rounds)
        lines += ["", *adapters(truth, methods[0], 3 * arguments.rounds)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
