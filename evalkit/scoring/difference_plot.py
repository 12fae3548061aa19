"""Differences with their intervals on axes: what is compared, one line each, around the line of no difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalkit.plotting import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_differences"]


def draw_differences(
    axes: Axes, names: Sequence[str], differences: Sequence[tuple[float, float, float]], label: str
) -> None:
    """Draw every difference with its interval, the first one on top.

    Parameters
    ----------
    axes : matplotlib Axes
    names : sequence of str
        What each line is called.
    differences : sequence of (float, float, float)
        The difference and the ends of its interval; NaN is not drawn.
    label : str
        Of the axis of differences.
    """
    axes.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    for position, (difference, low, high) in enumerate(reversed(differences)):
        if not math.isnan(low):
            axes.plot([low, high], [position, position], color=COLOURS[0], linewidth=1.4, solid_capstyle="butt")
        axes.plot(difference, position, marker="o", color=COLOURS[0], markersize=4.5)
    axes.set_yticks(range(len(names)), labels=list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
