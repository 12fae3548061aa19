"""The annealed mean: one distribution over colours sharpened step by step, and what becomes of a photo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from _style import draw_for_both_schemes
from ab_plane import swatches
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from evalkit.color.ab_classes import annealed_mean, preset
from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
from evalkit.colorizers.learned.colorizer import LearnedColorizer, as_ab_network
from evalkit.demo.photos import photo_crops

CLASSES = preset("seed2024")
TEMPERATURES = (1.0, 0.45, 0.2, 0.0)
PHOTO = "china_1"


def distribution() -> np.ndarray:
    """What a network may think of a car: rather red, perhaps blue, something gray."""
    peaks = (((52.0, 36.0), 15.0, 0.50), ((16.0, -56.0), 14.0, 0.32), ((0.0, 4.0), 9.0, 0.18))
    total = np.zeros(len(CLASSES))
    for centre, sigma, share in peaks:
        bump = np.exp(-((CLASSES.centers - centre) ** 2).sum(axis=1) / (2 * sigma**2))
        total += share * bump / bump.sum()
    return total


def draw(colours: dict[str, Any]) -> Figure:
    """Columns by temperature: above the sharpened distribution with its mean, below a photo decoded with it."""
    figure = Figure(figsize=(9.2, 4.7), layout="constrained")
    z = distribution()
    photo = dict(photo_crops())[PHOTO]
    checkpoint = load_checkpoint(shipped_weights("full"))
    torch.set_num_threads(1)
    for k, t in enumerate(TEMPERATURES):
        axes = figure.add_subplot(2, len(TEMPERATURES), k + 1, aspect="equal")
        sharp = (z / z.max()) ** (1 / t) if t else (z == z.max()).astype(float)
        sharp /= sharp.sum()
        radii = 12 * np.sqrt(sharp / sharp.max())
        seen = radii > 0.4
        discs = [Circle(c, r) for c, r in zip(CLASSES.centers[seen], radii[seen], strict=True)]
        axes.add_collection(PatchCollection(discs, facecolor=swatches(CLASSES.centers[seen]), edgecolor="none"))
        a, b = annealed_mean(z, CLASSES, t)
        axes.plot(a, b, "+", color=colours["ink"], markersize=12, markeredgewidth=1.8)
        axes.add_patch(Rectangle((-112, 62), 48, 48, facecolor=swatches(np.array([[a, b]]))[0], edgecolor="none"))
        name = {1.0: "T = 1, the mean", 0.0: "T = 0, the mode"}.get(t, f"T = {t:g}")
        axes.set(xlim=(-120, 120), ylim=(-120, 120), title=name)
        axes.set_xticks([])
        axes.set_yticks([])
        below = figure.add_subplot(2, len(TEMPERATURES), len(TEMPERATURES) + k + 1)
        colorizer = LearnedColorizer(as_ab_network(checkpoint, t), checkpoint.input_size)
        below.imshow(colorizer([photo])[0][0])
        below.axis("off")
    return figure


def main(folder: Path) -> None:
    """Write annealed_mean-light.svg and -dark.svg."""
    draw_for_both_schemes(folder, "annealed_mean", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
