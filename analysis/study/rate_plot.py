"""Rates with their intervals on axes: the forest plot of the report, of notebooks and of scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from analysis.statistics.fool_rate import CrossedMean
from evalkit.plotting import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DrawnRate", "draw_rates"]


class DrawnRate(Protocol):
    """What a line of the plot needs to know of a method."""

    @property
    def method(self) -> str:
        """Name."""

    @property
    def mean(self) -> CrossedMean | None:
        """Estimate and interval; without them there is no line."""

    @property
    def is_vigilance(self) -> bool:
        """Whether these are the vigilance trials, missed ones counting."""


def draw_rates(
    axes: Axes, rates: Sequence[DrawnRate], *, target: float | None = 0.5, margin: float = 0.05, rating: bool = False
) -> None:
    """Draw every method's rate and interval, with the band of equivalence around what it is compared with.

    Parameters
    ----------
    axes : matplotlib Axes
    rates : sequence of MethodRate
        One line each; those without an estimate are left out.
    target : float
        0.5 for real-vs-fake, the rate of the photos for naturalness; None for no line.
    margin : float
        Half the width of the band.
    rating : bool
        Whether these are mean ratings, on their own scale.
    """
    shown = [(record, record.mean) for record in rates if record.mean is not None]
    factor = 1.0 if rating else 100.0
    if target is not None:
        axes.axvline(factor * target, color="0.4", linewidth=0.8, linestyle="--")
    if target is not None and not rating:
        axes.axvspan(100 * (target - margin), 100 * min(target + margin, 1.0), color="0.9", linewidth=0)
        name = "50 %" if target == 0.5 else "truth"
        axes.annotate(f"equal to {name} within {100 * margin:g} points", (1.0, 1.0), xycoords="axes fraction", ha="right",
                      va="bottom", fontsize=6, color="0.3")  # fmt: skip
    for position, (_, mean) in enumerate(reversed(shown)):
        low, high = factor * mean.ci_low, factor * mean.ci_high
        axes.plot([low, high], [position, position], color=COLOURS[0], linewidth=1.4, solid_capstyle="butt")
        axes.plot(factor * mean.estimate, position, marker="o", color=COLOURS[0], markersize=4.5)
    axes.set_yticks(
        range(len(shown)),
        labels=[f"{record.method}{', missed' if record.is_vigilance else ''}" for record, _ in reversed(shown)],
    )
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel("mean rating" if rating else "rate, % of trials")
    axes.tick_params(axis="y", length=0)
