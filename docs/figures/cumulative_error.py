"""Cumulative error curves of three predictions for one photo, and the area that gray misses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import skimage.data
from _style import DASHES, draw_for_both_schemes
from matplotlib.figure import Figure

from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab
from evalkit.metrics.ab_counts import AbErrorOptions, PairCounter, table_of
from evalkit.metrics.ab_error import ab_auc, curve
from evalkit.metrics.photo import Photo

PREDICTIONS = {"saturation × 0.8": (0.8, 0), "hues turned by 40°": (1.0, 40), "gray": (0.0, 0)}


def changed(photo: np.ndarray, saturation: float, degrees: float) -> np.ndarray:
    """The photo with its ab scaled and turned about the neutral axis, as 8-bit sRGB."""
    lab = srgb8_to_lab(photo)
    turn = np.exp(1j * np.deg2rad(degrees)) * saturation
    ab = (lab[..., 1] + 1j * lab[..., 2]) * turn
    return lab_to_srgb8(np.stack([lab[..., 0], ab.real, ab.imag], axis=-1))[0]


def draw(colours: dict[str, Any]) -> Figure:
    """Three curves of one photo with their AuC."""
    truth = skimage.data.coffee()
    counter = PairCounter(AbErrorOptions().classes)
    thresholds = np.arange(151)
    figure = Figure(figsize=(6.2, 3.4))
    axes = figure.add_subplot()
    for (name, change), colour, dash in zip(PREDICTIONS.items(), colours["lines"], DASHES, strict=True):
        prediction = changed(truth, *change)
        counts = counter.count(Photo(truth), Photo(prediction))
        share, _ = curve(table_of([counts], len(counter.classes)).histogram())
        auc = float(ab_auc(truth, prediction))
        label = f"{name}: AuC {auc:.3f}"
        axes.plot(thresholds, share, color=colour, dashes=dash, linewidth=1.8, label=label, zorder=3)
        if name == "gray":
            axes.fill_between(thresholds, share, 1, color=colours["faint"], alpha=0.35, linewidth=0)
    axes.set(xlim=(0, 150), ylim=(0, 1.005), xlabel="threshold t, units of ab")
    axes.set_ylabel("share of pixels with d ≤ t")
    axes.legend(loc="lower right", frameon=False, handlelength=3)
    return figure


def main(folder: Path) -> None:
    """Write cumulative_error-light.svg and cumulative_error-dark.svg."""
    draw_for_both_schemes(folder, "cumulative_error", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
