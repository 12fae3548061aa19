"""Class rebalancing: how common each ab class is among the pixels of photos, and what weight it gets in training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from _style import draw_for_both_schemes
from ab_plane import swatches
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from evalkit.color.ab_classes import preset, rebalancing_weights, smoothed_shares
from evalkit.color.colorspace import srgb8_to_lab
from evalkit.demo.photos import photo_crops

CLASSES = preset("seed2024")


def shares() -> np.ndarray:
    """Class shares of the 60 demo crops, every eighth pixel."""
    ab = np.concatenate([srgb8_to_lab(crop[::8, ::8])[..., 1:].reshape(-1, 2) for _, crop in photo_crops()])
    counts = np.bincount(CLASSES.nearest(ab), minlength=len(CLASSES))
    return smoothed_shares(counts, CLASSES)


def draw(colours: dict[str, Any]) -> Figure:
    """Two ab planes: the area of a disc is the share of its class, and its weight."""
    figure = Figure(figsize=(8.6, 4.3), layout="constrained")
    p = shares()
    weights = rebalancing_weights(p, CLASSES.rebalancing)
    for k, (values, title, unit) in enumerate(
        ((p, "share of pixels", p.max()), (weights, "weight in training", weights.max()))
    ):
        axes = figure.add_subplot(1, 2, k + 1, aspect="equal")
        radii = (11.5, 6.0)[k] * np.sqrt(values / unit)
        discs = [Circle(centre, max(radius, 0.25)) for centre, radius in zip(CLASSES.centers, radii, strict=True)]
        axes.add_collection(PatchCollection(discs, facecolor=swatches(CLASSES.centers), edgecolor="none"))
        axes.set(xlim=(-125, 125), ylim=(-130, 120), title=title, xlabel="a  (green to red)")
        axes.set_xticks(range(-100, 101, 50))
        axes.set_yticks(range(-100, 101, 50))
        if k == 0:
            axes.set_ylabel("b  (blue to yellow)")
    return figure


def main(folder: Path) -> None:
    """Write class_rebalancing-light.svg and -dark.svg."""
    draw_for_both_schemes(folder, "class_rebalancing", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
