"""VGG-16 accuracy: the scoring run beside a plain torchvision loop and beside the network alone on ready tensors.

    python benchmarks/bench_classification.py [--images 32] [--rounds 3] [--network vgg16] [--out FILE]

Crops of photos that ship with scikit-image and scikit-learn, 256 x 256, as PNG files. The network has seeded weights:
speed does not depend on them, and the published file of 528 MB need not be there. Contestants take turns in every
round. The first table is CPU time on one core (the scoring run uses all cores by working in several processes, each on
one), which other programs on the machine disturb least; the second is the wall time of the whole machine.
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

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.classifiers import Classifier
from evalkit.networks.devices import CPU_BATCH, choose_device, one_thread
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.plan import BLOCK_SIZE, make_plan
from evalkit.scoring.workers import WorkerPool, available_cores


def write_photos(folder: Path, n_images: int) -> None:
    """Photos as ``truth``, and turned to gray by half as ``mine``."""
    originals = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    originals += load_sample_images().images
    draw = np.random.default_rng(0)
    for name in ("truth", "mine"):
        (folder / name).mkdir()
    for number in range(n_images):
        photo = originals[number % len(originals)]
        y, x = draw.integers(photo.shape[0] - 256), draw.integers(photo.shape[1] - 256)
        crop = photo[y : y + 256, x : x + 256]
        dull = np.rint(0.5 * crop + 0.5 * crop.mean(axis=2, keepdims=True)).astype(np.uint8)
        Image.fromarray(crop).save(folder / "truth" / f"n01440764_{number:04d}.png")
        Image.fromarray(dull).save(folder / "mine" / f"n01440764_{number:04d}.png")


def plain_loop(network: str, weights: Path, paths: list[Path], device: str) -> Callable[[], None]:
    """What a researcher writes: one image at a time, PIL, torchvision's transforms."""
    import torch

    models = import_torchvision().models
    model = models.get_model(network, weights=None, init_weights=False).eval()
    model.load_state_dict(torch.load(weights))
    model.to(device)
    transform = models.get_model_weights(network).IMAGENET1K_V1.transforms()

    def run() -> None:
        for path in paths:
            with torch.no_grad():
                logits = model(transform(Image.open(path).convert("RGB"))[None].to(device))
            logits[0].argmax().item()

    return run


def network_alone(classifier: Classifier, n_images: int, batch_size: int) -> Callable[[], None]:
    """The same network on tensors that are ready on the device."""
    import torch

    x = torch.rand(batch_size, 3, 224, 224).to(classifier.device, memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(n_images // batch_size):
                classifier.module(x).argmax(dim=1).cpu()

    return run


def main() -> None:
    """Run and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=BLOCK_SIZE, help="photos; a multiple of the block of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="vgg16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    n_images = -(-arguments.images // BLOCK_SIZE) * BLOCK_SIZE
    device = choose_device(arguments.device)
    cores = available_cores()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_photos(root, n_images)
        torch.manual_seed(0)
        weights = root / "weights.pth"
        torch.save(import_torchvision().models.get_model(arguments.network, weights=None).state_dict(), weights)
        options = NetworkOptions(labels="names", weights={arguments.network: weights}, device=arguments.device)
        plan = make_plan(
            root / "truth", {"mine": root / "mine"}, metrics=(f"{arguments.network}_top1",), networks=options
        )
        files = [path for name in ("truth", "mine") for path in sorted((root / name).iterdir())]
        classifier = Classifier(arguments.network, options)
        alone = network_alone(classifier, len(files), CPU_BATCH if device.type == "cpu" else 64)
        loop = plain_loop(arguments.network, weights, files, device.type)
        scorer = BlockWorker(plan, root)
        pool = WorkerPool(plan, root, cores)

        def score() -> None:
            with scorer.reading(range(plan.n_blocks)):
                for index in range(plan.n_blocks):
                    scorer.measure(index)

        def score_in_workers() -> None:
            list(pool.run(range(plan.n_blocks)))

        def clock(run: Callable[[], None], now: Callable[[], float]) -> float:
            began = now()
            run()
            return len(files) / (now() - began)

        rates: dict[str, list[float]] = {}
        with pool:
            if cores > 1:
                list(pool.run(range(min(cores, plan.n_blocks))))  # starts the workers, loads their networks
            for _ in range(arguments.rounds):
                with one_thread():
                    for name, run in (("loop", loop), ("alone", alone), ("evalkit", score)):
                        rates.setdefault(f"core {name}", []).append(clock(run, time.process_time))
                torch.set_num_threads(cores)
                for name, run in (("loop", loop), ("alone", alone), ("evalkit", score_in_workers)):
                    rates.setdefault(f"all {name}", []).append(clock(run, time.perf_counter))

    def row(title: str, kind: str) -> str:
        found = {name: statistics.median(rates[f"{kind} {name}"]) for name in ("loop", "alone", "evalkit")}
        shares = [
            statistics.median(
                mine / other for mine, other in zip(rates[f"{kind} evalkit"], rates[f"{kind} {name}"], strict=True)
            )
            for name in ("loop", "alone")
        ]
        numbers = " | ".join(f"{found[name]:.2f}" for name in ("loop", "alone", "evalkit"))
        return f"| {title} | {numbers} | **{shares[0]:.2f}** | **{shares[1]:.2f}** |"

    lines = [
        "# What classification costs beside the network alone",
        "",
        f"Images per second of `{arguments.network}` on {device.type}: a plain torchvision loop (one image at a time, PIL, its own "
        "transforms), the network alone on ready tensors in batches, and the scoring run with decoding, resizing and writing "
        "the statistics. Seeded weights. Median of the rounds; the shares are medians of the ratios within a round. One core "
        "is measured in CPU time, all cores in wall time.",
        "",
        f"    python benchmarks/bench_classification.py --images {n_images} --rounds {arguments.rounds}",
        "",
        f"{len(files)} images of 256 x 256, {arguments.rounds} rounds, {platform.machine()}, {cores} cores, "
        f"torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}.",
        "",
        "| | plain loop | network alone | evalkit | evalkit / loop | evalkit / network alone |",
        "|---|---:|---:|---:|---:|---:|",
        row("one core", "core"),
        row(f"all {cores} cores", "all"),
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
