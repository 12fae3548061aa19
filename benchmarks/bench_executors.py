"""Executors beside each other, and the torchmetrics adapter beside torchmetrics.

    python benchmarks/bench_executors.py [--pairs 256] [--rounds 1] [--out docs/benchmarks/tables/executors.md]
    python benchmarks/bench_executors.py --copies 16 --kinds JPEG --only processes:2 --only "Dask, two processes with settings"

Blocks of one run with two methods (AuC, 256 x 256, PNG and JPEG) are measured by this process, two processes, two threads, and
Dask with two worker processes, as they come and with the settings of docs/how-to/cluster.md. Executors take turns: each is
started, measures everything once, is timed while it does so again three times, and is closed, since workers of Dask take processor
time while they wait, too; the least of each counts. `workers=2` starts its workers within the time that is told. CPU seconds are those of this process and all of its
children; wall seconds mean something on an idle machine only. The adapter and torchmetrics take the same batches of uint8 tensors
on one thread.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path

import psutil
from bench_score import crops, recoloured, write_folders

from evalkit.scoring.executors import run_on_executor
from evalkit.scoring.kernels import compile_kernels
from evalkit.scoring.plan import Plan, make_plan
from evalkit.scoring.workers import run_blocks
from evalkit.wording import counted

METHODS = ("m1", "m2")

REPEATS = 3
"""How often an executor that has started is timed in each round."""

WORKER_SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
}
"""What docs/how-to/cluster.md advises for workers of Dask."""


def cpu_seconds() -> float:
    """Of this process and all of its children."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def take_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least CPU seconds of this process for each; a first round that loads everything is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, work in contestants.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: min(all_[1:]) for name, all_ in seconds.items()}


@contextmanager
def dask_workers(settings: Mapping[str, str]) -> Iterator[Executor]:
    """Dask on two worker processes that start with these environment variables."""
    import dask
    from distributed import Client, LocalCluster

    before = dict(os.environ)  # Dask too changes it, for good, and so the processes that others start after it
    os.environ.update(settings)
    dask.config.refresh()
    try:
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
    finally:
        os.environ.clear()
        os.environ.update(before)
        dask.config.refresh()


def executors(plan: Plan, kind: str, rounds: int, only: Sequence[str]) -> list[str]:
    """Rows of the table of executors, of all or of those that are named."""
    everything = range(plan.n_blocks)

    def on(executor: Executor, folder: Path) -> None:
        run_on_executor(plan, folder, everything, executor, lambda done, total: None)

    def by_workers(n: int, folder: Path) -> None:
        run_blocks(plan, folder, everything, n, lambda done, total: None)

    contestants: dict[str, tuple[Callable[[], AbstractContextManager[object]], Callable[..., None]]] = {
        "this process": (lambda: nullcontext(1), by_workers),
        "workers=2, with their start": (lambda: nullcontext(2), by_workers),
        "processes:2": (lambda: ProcessPoolExecutor(2, get_context("spawn")), on),
        "threads:2": (lambda: ThreadPoolExecutor(2), on),
        "Dask, two processes": (lambda: dask_workers({}), on),
        "Dask, two processes with settings": (lambda: dask_workers(WORKER_SETTINGS), on),
    }
    contestants = {name: contestant for name, contestant in contestants.items() if name in only or not only}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (start, work) in contestants.items():
            with start() as workers:
                for repeat in range(1 + REPEATS):
                    with tempfile.TemporaryDirectory() as folder:
                        spent = measured(lambda: work(workers, Path(folder)))  # noqa: B023
                    if repeat:
                        seconds[name].append(spent)
    least = {name: (min(cpu for cpu, _ in all_), min(wall for _, wall in all_)) for name, all_ in seconds.items()}
    cpu_of_processes, wall_of_one = least["processes:2"][0], least.get("this process", (math.nan, math.nan))[1]
    lines = []
    for name, (cpu, wall) in least.items():
        # Workers that ended with the run are no children any more, and their processor time is not known.
        of_all = "| | |" if name.startswith("workers=") else f"| {cpu:.2f} | {cpu / cpu_of_processes:.2f} |"
        lines.append(f"| {kind} | {name} {of_all} {wall:.2f} | {wall_of_one / wall:.2f} |")
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
            metric = ScoreMetric(name)
            metric.update(own, true)
            metric.compute()

        return work

    def genuine(make: Callable[..., object]) -> Callable[[], object]:
        def work() -> None:
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
    lines += [f"| {name} | {1e3 * cpu / 32:.2f} |" for name, cpu in seconds.items()]
    for ours, theirs in (("evalkit psnr_rgb", "torchmetrics PSNR"), ("evalkit ssim_rgb", "torchmetrics SSIM")):
        lines.append(f"| **{theirs} / {ours}** | **{seconds[theirs] / seconds[ours]:.1f}** |")
    return lines


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--copies", type=int, default=1, help="names under which each photo stands in its folder")
    parser.add_argument("--kinds", default="JPEG,PNG")
    parser.add_argument(
        "--only", action="append", default=[], help="executors, processes:2 among them; no adapter then"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {arguments.pairs} photos under {counted(arguments.copies, 'name')} each, two methods.",
        "",
    ]
    lines += ["| files | executor | CPU s | CPU, processes:2 = 1 | wall s | times the speed of one |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as temporary:
        pictures = recoloured(crops(arguments.photos, arguments.pairs))
        pictures = {name: pictures[name] for name in ("truth", *METHODS)}
        for kind in arguments.kinds.split(","):
            truth, methods = write_folders(Path(temporary), pictures, kind, 95)
            for path in [path for folder in (truth, *methods) for path in folder.iterdir()]:
                for copy in range(1, arguments.copies):
                    path.with_name(f"{copy}-{path.name}").hardlink_to(path)
            folders = dict(zip(METHODS, methods, strict=True))
            plan = make_plan(truth, folders, metrics=("ab_auc", "ab_auc_rebal"))
            compile_kernels(plan, print)
            lines += executors(plan, kind, arguments.rounds, arguments.only)
        if not arguments.only:
            lines += ["", *adapters(truth, methods[0], 5 * arguments.rounds)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
