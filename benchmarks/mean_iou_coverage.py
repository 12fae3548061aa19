"""How often intervals of mean IoU hold the truth: percentile bootstrap and jackknife, of one network and of a difference.

    python benchmarks/mean_iou_coverage.py --classes 21 --sets 300

Counts of pixels are drawn, not pictures: 30,000 images with a background and a few of the other classes, of which the
later ones are rare; two networks, the second better, whose errors on an image go together. The truth is the mean IoU of
all 30,000. Sets of n of them are drawn, and it is counted how many intervals hold it. Five minutes of one core.
"""

from __future__ import annotations

import argparse

import numpy as np

from evalkit.arrays import IntArray
from evalkit.colorizers.probing.mean_iou import SegmentationResult, mean_iou
from evalkit.resampling.intervals import Interval, interval, paired_difference
from evalkit.resampling.replicates import replicate_scores

N_IMAGES = 30_000
N_PIXELS = 1000
N_REPLICATES = 1000
SET_SIZES = (30, 60, 120, 300)


def population(n_classes: int, rng: np.random.Generator) -> IntArray:
    """Intersections and unions, shape (images, networks, 2, classes)."""
    frequency = np.array([1.0] + [0.02 + 0.12 * 0.8**k for k in range(n_classes - 1)])
    ease = np.linspace(0.75, 0.25, n_classes)
    counts = np.zeros((N_IMAGES, 2, 2, n_classes), np.int64)
    for image in counts:
        present = np.flatnonzero(rng.random(n_classes) < frequency)
        sizes = rng.lognormal(0, 1, len(present))
        sizes = np.maximum(1, sizes / sizes.sum() * N_PIXELS).astype(np.int64)
        ability = rng.normal(0, 0.8)
        for number, network in enumerate(image):
            for label, n_pixels in zip(present, sizes, strict=True):
                odds = ease[label] / (1 - ease[label]) * np.exp(ability + rng.normal(0, 0.8) + 0.25 * number)
                n_right = rng.binomial(n_pixels, odds / (1 + odds))
                mistaken_for = rng.choice(n_classes) if rng.random() < 0.4 else 0
                mistaken_for = mistaken_for if mistaken_for != label else (label + 1) % n_classes
                network[0, label] += n_right
                network[1, label] += n_pixels
                network[1, mistaken_for] += n_pixels - n_right
    return counts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--sets", type=int, default=300)
    arguments = parser.parse_args()
    n_classes = arguments.classes
    rng = np.random.default_rng(0)
    everything = population(n_classes, rng)
    true = [float(mean_iou(everything[:, k].sum(axis=0))) for k in range(2)]
    print("| images | bootstrap | jackknife | bootstrap, difference | jackknife, difference |")
    print("|---|---|---|---|---|")
    for n in SET_SIZES:
        held = np.zeros(4)
        for number in range(arguments.sets):
            drawn = everything[rng.integers(0, N_IMAGES, n)]
            first, second = (
                SegmentationResult(network="", size=None, block="", n_features=1, counts=drawn[:, k]) for k in range(2)
            )
            replicates = replicate_scores(
                [
                    (drawn[:, k].reshape(n, -1), lambda sums: mean_iou(sums.reshape(*sums.shape[:-1], 2, n_classes)))
                    for k in range(2)
                ],
                N_REPLICATES,
                number,
            )
            found: list[tuple[Interval, float]] = [
                (interval(first.value, replicates[:, 0]), true[0]),
                (first.interval(), true[0]),
                (
                    paired_difference(replicates[:, 1], replicates[:, 0], second.value - first.value),
                    true[1] - true[0],
                ),
                (second.interval_above(first), true[1] - true[0]),
            ]
            held += [between.low <= value <= between.high for between, value in found]
        print(f"| {n} | " + " | ".join(f"{100 * share:.1f}" for share in held / arguments.sets) + " |", flush=True)


if __name__ == "__main__":
    main()
