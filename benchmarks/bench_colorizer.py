"""What the decoding and the rebalanced loss of the seed's colorizer cost beside its network.

    python benchmarks/bench_colorizer.py [--rounds 5] [--network full] [--out docs/benchmarks/tables/colorizer.md]

Contestants take turns inside a run. Times are medians of CPU time on one thread. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional
from torch.utils.data import DataLoader

from evalkit.color.ab_classes import preset
from evalkit.colorizers.learned.decoding import annealed_mean, join_with_lightness
from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet
from evalkit.colorizers.training.data import Crops, survey_photos
from evalkit.colorizers.training.objective import ClassificationLoss

CLASSES = preset("seed2024")


def in_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for k in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if k:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def decoding(layout: str, rounds: int) -> dict[str, float]:
    """Forward pass and decoding of one photo of 256 x 256."""
    torch.manual_seed(0)
    network = ColorizationNet(len(CLASSES), LAYOUTS[layout]).eval().to(memory_format=torch.channels_last)
    photo = np.ascontiguousarray(load_sample_images().images[0][:256, :256])
    lightness = torch.rand(1, 1, 256, 256) * 100
    centers = torch.from_numpy(CLASSES.centers).float()
    with torch.inference_mode():
        logits = network(lightness)
        return in_turns(
            {
                "forward pass": lambda: network(lightness),
                "decoding": lambda: join_with_lightness(photo, annealed_mean(logits, centers, CLASSES.temperature)),
            },
            rounds,
        )


def training(layout: str, size: int, batch: int, rounds: int) -> dict[str, float]:
    """One update with the rebalanced soft-encoded loss, and with torch's plain cross-entropy."""
    torch.manual_seed(0)
    network = ColorizationNet(len(CLASSES), LAYOUTS[layout]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    rebalanced = ClassificationLoss(CLASSES, np.exp(-np.hypot(*CLASSES.centers.T) / 12))
    lightness, ab = torch.rand(batch, 1, size, size) * 100, 15 * torch.randn(batch, 2, size // 4, size // 4)
    hard = torch.from_numpy(CLASSES.nearest(ab.permute(0, 2, 3, 1).numpy()))

    def update(loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
        optimizer.zero_grad()
        loss(network(lightness)).backward()
        optimizer.step()

    return in_turns(
        {
            "plain cross-entropy": lambda: update(lambda scores: functional.cross_entropy(scores, hard)),
            "rebalanced, soft-encoded": lambda: update(lambda scores: rebalanced(scores, ab)),
        },
        rounds,
    )


def loading(size: int, n: int) -> float:
    """Seconds a crop of photos of 640 x 427, decoded once and then kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k, photo in enumerate(load_sample_images().images):
            Image.fromarray(photo).save(folder / f"{k}.jpg", quality=95)
        survey = survey_photos(folder, CLASSES)
        crops = Crops(survey.files, size, seed=0)
        batches = DataLoader(crops, batch_sampler=[range(k, k + 16) for k in range(0, n, 16)])
        next(iter(batches))
        start = time.process_time()
        for _ in batches:
            pass
        return (time.process_time() - start) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=["full", "small"], action="append", help="default: both")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    lines = [
        "| network | forward pass, 256 x 256 | annealed mean, upsampling, join | share of the forward pass |",
        "|---|---:|---:|---:|",
    ]
    layouts = arguments.network or ["full", "small"]
    for layout in layouts:
        found = decoding(layout, arguments.rounds)
        forward, rest = found["forward pass"], found["decoding"]
        lines.append(f"| {layout} | {1e3 * forward:.0f} ms | {1e3 * rest:.1f} ms | {rest / forward:.1%} |")
    lines += [
        "",
        "| network, batch | update with plain cross-entropy | with the rebalanced loss | ratio | loading a batch, share |",
        "|---|---:|---:|---:|---:|",
    ]
    for layout, size, batch in (("full", 176, 2), ("small", 96, 16)):
        if layout in layouts:
            found = training(layout, size, batch, arguments.rounds)
            plain, ours = found["plain cross-entropy"], found["rebalanced, soft-encoded"]
            waiting = batch * loading(size, 160)
            lines.append(
                f"| {layout}, {batch} crops of {size} | {1e3 * plain:.0f} ms | {1e3 * ours:.0f} ms | "
                f"{ours / plain:.2f} | {waiting / (ours + waiting):.1%} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
