"""The planning figure: standard error against participants, one line per number of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.planning.participants import PlanningModel, StudyDesign, expected_std_error

__all__ = ["write_plan_figure"]

# Okabe and Ito's colours, which colour-blind readers tell apart; line styles differ too.
_STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#000000", (0, (5, 1, 1, 1, 1, 1))),
)


def write_plan_figure(
    path: Path, model: PlanningModel, design: StudyDesign, images: Sequence[int], *, target: float | None = None
) -> None:
    """Draw the figure (PDF, PNG or SVG by the suffix of `path`).

    Parameters
    ----------
    path : Path
        File to write.
    model : PlanningModel
        Assumed variances.
    design : StudyDesign
        Trials and exposure; participants and images vary.
    images : sequence of int
        One line each, at most five.
    target : float
        A wanted standard error, drawn as a thin line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    participants = np.unique(np.geomspace(5, 500, 60).astype(int))
    figure = Figure(figsize=(3.25, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for count, (colour, style) in zip(images, _STYLES, strict=False):
        errors = [
            100 * expected_std_error(model, replace(design, n_participants=int(p), n_images=count))
            for p in participants
        ]
        axes.plot(participants, errors, color=colour, linestyle=style, linewidth=1.4, label=f"{count:,}")
    if target is not None:
        axes.axhline(100 * target, color="0.4", linewidth=0.8)
        axes.annotate("needed", (participants[-1], 100 * target), ha="right", va="bottom", fontsize=7, color="0.3")
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 20, 50, 100, 200, 500], labels=["5", "10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("participants per method", fontsize=8)
    axes.set_ylabel("standard error (points)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="images", fontsize=7, title_fontsize=7, frameon=False)
    figure.savefig(path, dpi=200)
