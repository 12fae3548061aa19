"""The planning figure: standard error against participants, one line per number of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.planning.power import needed_std_error, tested_std_error
from analysis.planning.study_plan import IMAGE_COUNTS, Plan
from evalkit.files import atomic_file

__all__ = ["write_plan_figure"]

# Okabe and Ito's colours, which colour-blind readers tell apart; line styles differ too.
_STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#000000", (0, (5, 1, 1, 1, 1, 1))),
)


def write_plan_figure(path: Path, plan: Plan) -> None:
    """Draw the figure (PDF, PNG or SVG by the suffix of `path`).

    Parameters
    ----------
    path : Path
        File to write.
    plan : Plan
        Its numbers of images, or those of `IMAGE_COUNTS` where it has a single one, give one line each; the standard
        error that its power needs is drawn as a thin line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    participants = np.unique(np.geomspace(5, 500, 60).astype(int))
    figure = Figure(figsize=(3.25, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    images = [row.images for row in plan.rows]
    if len(images) == 1:
        images = [count for count in IMAGE_COUNTS if count >= plan.design.n_trials]
    for count, (colour, style) in zip(images, _STYLES, strict=False):
        errors = [
            100 * tested_std_error(plan.goal, plan.model, replace(plan.design, n_participants=int(p), n_images=count))
            for p in participants
        ]
        axes.plot(participants, errors, color=colour, linestyle=style, linewidth=1.4, label=f"{count:,}")
    target = 100 * needed_std_error(plan.goal)
    axes.axhline(target, color="0.4", linewidth=0.8)
    axes.annotate("needed", (participants[-1], target), ha="right", va="bottom", fontsize=7, color="0.3")
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 20, 50, 100, 200, 500], labels=["5", "10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("participants" if plan.design.same_people else f"participants per {plan.unit}", fontsize=8)
    axes.set_ylabel(f"standard error of the {plan.tested} (points)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="images", fontsize=7, title_fontsize=7, frameon=False)
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=200)
