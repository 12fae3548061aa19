"""The ab plane: the 313 classes, the edge of sRGB, and the error of a gray prediction."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from _style import draw_for_both_schemes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evalkit.color.ab_classes import preset
from evalkit.color.colorspace import lab_to_srgb, srgb8_to_lab, srgb_to_lab

TRUTH = np.array([48.0, 42.0])


def swatches(centers: np.ndarray) -> np.ndarray:
    """The displayable colour nearest to each class in ab, not too dark or bright where there is a choice."""
    lightness = np.arange(25.0, 96.0, 1.0)
    lab = np.empty((len(centers), len(lightness), 3))
    lab[..., 0] = lightness
    lab[..., 1:] = centers[:, None]
    rgb = lab_to_srgb(lab).clip(0, 1)
    miss = np.linalg.norm(srgb_to_lab(rgb)[..., 1:] - lab[..., 1:], axis=2) + 0.1 * abs(lightness - 65)
    return rgb[np.arange(len(centers)), miss.argmin(axis=1)]


def gamut() -> np.ndarray:
    """How much of each cell of two units sRGB reaches: 0 to 1, shape (b, a), from -128 to 128."""
    steps = np.arange(256, dtype=np.uint8)
    first, second = (plane.ravel() for plane in np.meshgrid(steps, steps))
    # A solid projects to the same region as its surface: six faces of the cube are enough.
    faces = [
        np.insert(np.column_stack([first, second]), axis, value, axis=1) for axis in range(3) for value in (0, 255)
    ]
    ab = srgb8_to_lab(np.concatenate(faces))[:, 1:]
    counts, _, _ = np.histogram2d(ab[:, 1], ab[:, 0], bins=np.arange(-128, 129, 2))
    reached = np.pad((counts > 0).astype(float), 1)
    # The mean of 3 x 3 cells rounds the staircase of the grid off.
    return np.lib.stride_tricks.sliding_window_view(reached, (3, 3)).mean(axis=(2, 3))


def draw(colours: dict[str, Any]) -> Figure:
    """Classes as squares in their own colour, with one truth and its gray prediction."""
    classes = preset("zhang2016")
    figure = Figure(figsize=(6.2, 5.6))
    axes = figure.add_subplot(aspect="equal")
    squares = [Rectangle((a - 4.6, b - 4.6), 9.2, 9.2) for a, b in classes.centers]
    axes.add_collection(PatchCollection(squares, facecolor=swatches(classes.centers), edgecolor="none"))
    middle = np.arange(-127, 128, 2)
    axes.contour(middle, middle, gamut(), levels=[0.5], colors=[colours["ink"]], linewidths=0.9)

    axes.annotate("", TRUTH, (0, 0), arrowprops={"arrowstyle": "<->", "color": "black", "shrinkA": 4, "shrinkB": 4})
    axes.plot(*TRUTH, "o", color="black", markersize=6, markeredgecolor="white")
    axes.plot(0, 0, "s", color="black", markersize=6, markeredgecolor="white")
    label = {"fontsize": 9.5, "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.82, "pad": 1.5}}
    axes.text(TRUTH[0] + 6, TRUTH[1] + 4, "true colour", color="black", **label)
    axes.text(-7, -11, "gray", color="black", ha="right", **label)
    axes.text(17, 33, f"d = {np.hypot(*TRUTH):.0f}", color="black", ha="right", **label)
    axes.annotate("edge of sRGB", (-79.0, 81.0), (-118, 108), arrowprops={"arrowstyle": "-", "color": colours["ink"]})

    axes.set(xlim=(-120, 120), ylim=(-120, 120), xlabel="a  (green to red)", ylabel="b  (blue to yellow)")
    axes.set_xticks(range(-100, 101, 50))
    axes.set_yticks(range(-100, 101, 50))
    return figure


def main(folder: Path) -> None:
    """Write ab-plane-light.svg and ab-plane-dark.svg."""
    draw_for_both_schemes(folder, "ab_plane", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
