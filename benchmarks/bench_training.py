"""What a step of a training costs beside the bare forward and backward pass of its network.

    python benchmarks/bench_training.py [--photos FOLDER] [--rounds 5] [--out docs/benchmarks/tables/training.md]

Training steps and bare passes take turns inside one run, so that another process on the machine slows both alike.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import evalkit.colorizers.training.train as training
from evalkit.color.ab_classes import preset
from evalkit.colorizers.learned.checkpoints import shipped_weights
from evalkit.colorizers.training.options import Compute, TrainingOptions

CONFIGURATIONS = (
    ("lite0", {"batch_size": 16, "crop_size": 128, "crops": "whole"}),
    ("small", {"batch_size": 16, "crop_size": 96, "crops": "random"}),
)
CLASSES = preset("seed2024")
COMPUTE = Compute(threads=1, amp="off", channels_last=True)
N_WARM = 3
"""Steps before the first that is timed: caches fill, and the allocator learns the shapes."""


def write_photos(folder: Path, n: int, side: int = 256) -> None:
    """Squares from different places of two photos."""
    for k in range(n):
        photo = load_sample_images().images[k % 2]
        top, left = 7 * k % (photo.shape[0] - side), 13 * k % (photo.shape[1] - side)
        Image.fromarray(photo[top : top + side, left : left + side]).save(folder / f"{k}.jpg", quality=95)


def ratio_of(layout: str, changes: dict[str, Any], photos: Path, rounds: int) -> tuple[float, float]:
    """Median seconds of a step, and of the bare passes between the steps."""
    n_steps = N_WARM + rounds
    options = TrainingOptions(variant="full", classes=CLASSES, layout=layout, steps=n_steps, **changes)
    step = training._take_step
    steps: list[float] = []
    bare: list[float] = []

    def timed(function: Callable[[], object], seconds: list[float]) -> None:
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)

    def step_and_bare(state: Any, trained: Any, number: int, *rest: Any) -> None:
        timed(lambda: step(state, trained, number, *rest), steps)
        size, batch = options.crop_size, options.batch_size
        lightness = (100 * torch.rand(batch, 1, size, size)).to(memory_format=state.memory_format)
        ab = 15 * torch.randn(batch, 2, size // 4, size // 4)
        state.optimizer.zero_grad(set_to_none=True)
        timed(lambda: state.objective(trained(lightness), ab).backward(), bare)

    init = shipped_weights("classification") if layout == "lite0" else None
    training._take_step = step_and_bare
    try:
        with tempfile.TemporaryDirectory() as out:
            training.train(photos, Path(out) / "run", options, compute=COMPUTE, init=init, device="cpu")
    finally:
        training._take_step = step
    return statistics.median(steps[N_WARM:]), statistics.median(bare[N_WARM:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--photos", type=Path, help="photos to train on; default: 64 made from two samples")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = ["| network, batch | step | bare forward and backward pass | ratio |", "|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as name:
        photos = arguments.photos or Path(name)
        if arguments.photos is None:
            write_photos(photos, 64)
        for layout, changes in CONFIGURATIONS:
            step, bare = ratio_of(layout, changes, photos, arguments.rounds)
            what = f"{layout}, {changes['batch_size']} crops ({changes['crops']}) of {changes['crop_size']}"
            lines.append(f"| {what} | {1e3 * step:.0f} ms | {1e3 * bare:.0f} ms | {step / bare:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
