"""Standard error against participants on axes, one line per number of images: the drawing of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.planning.assumptions import PlanningModel, StudyDesign
from analysis.planning.power import Goal, needed_std_error, tested_std_error
from evalkit.plotting import COLOURS, LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_plan"]


def draw_plan(
    axes: Axes, *, goal: Goal, model: PlanningModel, design: StudyDesign, images: Sequence[int], unit: str, tested: str
) -> None:
    """Draw the expected standard error of what is tested, and the one that the goal needs as a thin line.

    Parameters
    ----------
    axes : matplotlib Axes
    goal, model, design : Goal, PlanningModel, StudyDesign
        What is planned; the numbers of participants and images of the design are varied.
    images : sequence of int
        Numbers of images, one line each; at most 8.
    unit : str
        What participants are counted by: ``method`` or ``pair``.
    tested : str
        What the goal tests: ``rate``, ``share`` or ``difference``.
    """
    participants = np.unique(np.geomspace(5, 500, 60).astype(int))
    for number, count in enumerate(images[: len(COLOURS)]):
        errors = [
            100 * tested_std_error(goal, model, replace(design, n_participants=int(p), n_images=count))
            for p in participants
        ]
        axes.plot(
            participants, errors, color=COLOURS[number], linestyle=LINES[number], linewidth=1.4, label=f"{count:,}"
        )
    target = 100 * needed_std_error(goal)
    axes.axhline(target, color="0.4", linewidth=0.8)
    axes.annotate("needed", (participants[-1], target), ha="right", va="bottom", fontsize=7, color="0.3")
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 20, 50, 100, 200, 500], labels=["5", "10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("participants" if design.shared_people == 1 else f"participants per {unit}", fontsize=8)
    axes.set_ylabel(f"standard error of the {tested} (points)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="images", fontsize=7, title_fontsize=7, frameon=False)
