"""How fast PSNR, SSIM and CIEDE2000 are beside scikit-image: CPU time of the same pairs in one run, interleaved.

    python benchmarks/bench_fidelity.py [--pairs 120] [--size 256] [--out docs/benchmarks/fidelity.md]

The pairs are crops of the photos that ship with scikit-image and scikit-learn, with a desaturated copy as
prediction. The functions take turns on each pair, in an order that rotates, so that a slower moment of the
machine hits all of them alike; a time is the best of three calls in a row, pixels and code in the cache for
all. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.datasets import load_sample_images

from evalkit.arrays import Rgb8
from evalkit.metrics.color_difference import Ciede2000, ciede2000
from evalkit.metrics.fidelity import psnr_rgb
from evalkit.metrics.photo import Photo
from evalkit.metrics.ssim import SsimRgb, ssim_rgb

Compare = Callable[[Rgb8, Rgb8], Any]

METHODS = 4  # how many predictions share a truth in the row on shared truths
ROUNDS = 3


def crops(size: int) -> Iterator[Rgb8]:
    """Square crops of every photo, a quarter of their side apart."""
    photos = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    for photo in [*photos, *load_sample_images().images]:
        for top in range(0, photo.shape[0] - size + 1, size // 4):
            for left in range(0, photo.shape[1] - size + 1, size // 4):
                yield np.ascontiguousarray(photo[top : top + size, left : left + size])


def desaturated(photo: Rgb8) -> Rgb8:
    """The prediction: half way to gray."""
    return np.rint(0.5 * photo + 0.5 * photo.mean(axis=2, keepdims=True)).astype(np.uint8)


def scikit_image_ssim(truth: Rgb8, prediction: Rgb8) -> float:
    """SSIM of the same definition."""
    same = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(truth, prediction, channel_axis=2, **same))


def scikit_image_psnr(truth: Rgb8, prediction: Rgb8) -> float:
    """PSNR of the same definition."""
    return float(peak_signal_noise_ratio(truth, prediction, data_range=255))


def scikit_image_ciede2000(truth: Rgb8, prediction: Rgb8) -> float:
    """CIEDE2000 with the conversion to Lab."""
    return float(deltaE_ciede2000(rgb2lab(truth), rgb2lab(prediction)).mean())


def several_methods(metric: SsimRgb | Ciede2000) -> Compare:
    """A truth shared by several methods, as in a scoring run; the value of the last."""

    def run(truth: Rgb8, prediction: Rgb8) -> float:
        shared = Photo(truth)
        return [metric.value(shared, Photo(prediction)) for _ in range(METHODS)][-1]

    return run


# Row title; ours; scikit-image's; how many evaluations a call of ours makes.
ROWS: list[tuple[str, Compare, Compare, int]] = [
    ("PSNR", psnr_rgb, scikit_image_psnr, 1),
    ("SSIM", ssim_rgb, scikit_image_ssim, 1),
    (f"SSIM, truth shared by {METHODS} methods", several_methods(SsimRgb()), scikit_image_ssim, METHODS),
    ("CIEDE2000, from sRGB", ciede2000, scikit_image_ciede2000, 1),
    (
        f"CIEDE2000, truth shared by {METHODS} methods",
        several_methods(Ciede2000()),
        scikit_image_ciede2000,
        METHODS,
    ),
]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    truths = list(crops(arguments.size))
    keep = np.linspace(0, len(truths) - 1, min(arguments.pairs, len(truths))).round().astype(int)
    pairs = [(truths[i], desaturated(truths[i])) for i in keep]

    # How many evaluations one call makes; scikit-image's functions serve several rows and are timed once.
    calls_of = {theirs: 1 for _, _, theirs, _ in ROWS} | {ours: calls for _, ours, _, calls in ROWS}
    functions = list(calls_of)
    seconds = dict.fromkeys(functions, 0.0)
    values: dict[Compare, list[float]] = {function: [] for function in functions}
    for function in functions:
        function(*pairs[0])  # compiles
    for number, (truth, prediction) in enumerate(pairs):
        first = number % len(functions)
        for function in functions[first:] + functions[:first]:
            best = float("inf")
            for _ in range(ROUNDS):
                began = time.process_time()
                value = function(truth, prediction)
                best = min(best, time.process_time() - began)
            seconds[function] += best / calls_of[function]
            values[function].append(value)

    lines = [
        f"{len(pairs)} pairs of {arguments.size} x {arguments.size} pixels, CPU time per pair, one core",
        "",
        "| metric | evalkit, ms | scikit-image, ms | times faster | largest difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for title, ours, theirs, _ in ROWS:
        mine, other = (1000 * seconds[function] / len(pairs) for function in (ours, theirs))
        difference = np.max(np.abs(np.subtract(values[ours], values[theirs])))
        lines.append(f"| {title} | {mine:.3f} | {other:.2f} | {other / mine:.1f} | {difference:.0e} |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
