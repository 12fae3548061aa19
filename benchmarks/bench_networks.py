"""What network metrics cost beside their networks alone on ready tensors: CPU time on one core, in one run.

    python benchmarks/bench_networks.py [--images 8] [--rounds 2] [--metrics vgg16_top1,fid] [--inception FILE] [--out FILE]

Crops of photos that ship with scikit-image and scikit-learn, 256 x 256, as PNG files, and the same half way to gray. The
scoring run reads, decodes and prepares them and writes the statistics of every pair; a network alone takes as many random
tensors of its own size, in the batches and the memory order of the run. Both stay on one core, with the thread that reads
ahead. Each metric runs by itself and all of them in one run, which decodes every file once. What is loaded and allocated once
is warmed up on one pair. VGG-16 and the trunks of LPIPS have seeded weights; Inception needs its file (`evalkit weights`, or
--inception) and is left out without it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_classification import write_photos

from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.catalogue import published_inception
from evalkit.networks.devices import CPU_BATCH, one_thread
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.plan import Plan, make_plan

SIDES = {"vgg16_top1": 224, "fid": 299, "fid_clean": 299, "lpips_alex": 256, "lpips_vgg": 256}
"""Metrics, and the side in pixels of what their networks see."""


def network_alone(meter: Any, metric: str, n_images: int) -> Callable[[], None]:
    """The network of a meter on tensors that are ready."""
    import torch

    if metric.startswith("lpips"):
        # One image at a time and channels last, as in the run: photos need not be of one size.
        x = torch.rand(1, 3, 256, 256).to(memory_format=torch.channels_last)
        module = torch.nn.Sequential(*meter.lpips.stages)
    elif metric.startswith("fid"):
        x, module = torch.rand(CPU_BATCH, 3, 299, 299), meter.model
    else:
        x = torch.rand(CPU_BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
        module = meter.classifier.module

    def run() -> None:
        with torch.inference_mode():
            for _ in range(n_images // len(x)):
                module(x)

    return run


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of a call on one thread."""
    with one_thread():
        began = time.process_time()
        run()
        return time.process_time() - began


def main() -> None:
    """Measure and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8, help="photos, a multiple of 4, at most 32")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--metrics", default=",".join(SIDES))
    parser.add_argument("--inception", type=Path, default=published_inception().path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    metrics = [
        name for name in arguments.metrics.split(",") if not name.startswith("fid") or arguments.inception.is_file()
    ]
    n_seen = 2 * arguments.images
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_photos(root, arguments.images)
        torch.manual_seed(0)
        weights = {name: root / f"{name}.pth" for name in ("vgg16", "alexnet")}
        for name, path in weights.items():
            torch.save(import_torchvision().models.get_model(name, weights=None).state_dict(), path)
        if arguments.inception.is_file():
            weights["inception_fid"] = arguments.inception
        options = NetworkOptions(labels="names", weights=weights, device="cpu", cache=None)

        (root / "one.txt").write_text("n01440764_0000.png", encoding="utf-8")

        def scorer(names: list[str]) -> BlockWorker:
            """Loaded, and warmed up on one pair."""

            def planned(images: Path | None) -> Plan:
                folders = root / "truth", {"mine": root / "mine"}
                return make_plan(*folders, images=images, metrics=tuple(names), networks=options)

            worker = BlockWorker(planned(root / "one.txt"), root)
            worker.measure(0)
            worker.turn_to(planned(None), root)
            return worker

        workers = {name: scorer([name]) for name in metrics}
        alone = {name: network_alone(worker._meters[0], name, n_seen) for name, worker in workers.items()}
        together = scorer(metrics) if len(metrics) > 1 else None
        networks, runs = {name: [] for name in metrics}, {name: [] for name in (*metrics, "all in one run")}
        for _ in range(arguments.rounds):
            # Side by side, since a machine is not equally fast all the time.
            for name in metrics:
                networks[name].append(cpu_seconds(alone[name]))
                runs[name].append(cpu_seconds(lambda w=workers[name]: w.measure(0)))
            if together is not None:
                runs["all in one run"].append(cpu_seconds(lambda: together.measure(0)))
    networks["all in one run"] = [sum(seconds) for seconds in zip(*(networks[name] for name in metrics), strict=True)]
    if together is None:
        del runs["all in one run"]
    lines = [
        f"{n_seen} images of 256 x 256, {arguments.rounds} round{'s' * (arguments.rounds != 1)}, {platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}.",
        "",
        "| metric | network alone, ms CPU an image | scoring run, ms CPU an image | **share of the network** |",
        "|---|---:|---:|---:|",
    ]
    for name, seconds in runs.items():
        share = statistics.median(own / whole for own, whole in zip(networks[name], seconds, strict=True))
        own, whole = (1e3 * min(values) / n_seen for values in (networks[name], seconds))
        lines.append(f"| {name} | {own:.1f} | {whole:.1f} | **{share:.2f}** |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
