"""Figures of the report: one function each, readable in grey and for colour-blind readers.

Colours are Okabe and Ito's; markers and line styles differ too, so that nothing depends on colour alone. Widths are those
of one column (3.25 inches) and of a page (6.9 inches); fonts are embedded in PDF files and drawn as paths in SVG.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from analysis.records import Row
from analysis.study.diagnostic_plots import (
    draw_answer_times,
    draw_components,
    draw_fatigue,
    draw_side_bias,
    draw_vigilance,
)
from analysis.study.rate_plot import draw_rates
from analysis.study.rates import MethodRate
from analysis.trials.trial_table import TrialTable
from evalkit.arrays import FloatArray
from evalkit.plotting import check_figure, method_look
from evalkit.scoring.curve_plot import draw_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "COLUMN_WIDTH",
    "PAGE_WIDTH",
    "answer_time_figure",
    "component_figure",
    "curve_figure",
    "draw_image_scatter",
    "empty_figure",
    "fatigue_figure",
    "figure_bytes",
    "forest_figure",
    "grid_figure",
    "image_scatter_figure",
    "new_figure",
    "save_figure",
    "side_bias_figure",
    "vigilance_figure",
]

COLUMN_WIDTH, PAGE_WIDTH = 3.25, 6.9
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # embedded, and text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "evalkit",  # the same file from the same numbers
}


@contextmanager
def new_figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of this size in inches with one pair of axes, in the style of the report."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


@contextmanager
def grid_figure(
    width: float, height: float, n_rows: int, n_columns: int, figure: Figure | SubFigure | None = None
) -> Iterator[tuple[Figure | SubFigure, list[Axes]]]:
    """Panels that share both axes, row by row: in `empty_figure`."""
    with empty_figure(width, height, figure, layout="constrained") as own:
        panels = own.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        yield own, list(panels.flat)


@contextmanager
def empty_figure(
    width: float, height: float, figure: Figure | SubFigure | None = None, layout: Literal["constrained"] | None = None
) -> Iterator[Figure | SubFigure]:
    """The caller's figure, with its own style, or a new one of this size in inches, in the style of the report."""
    if figure is not None:
        check_figure(figure)
        yield figure
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout=layout)


def figure_bytes(figure: Figure, kind: str, *, dpi: int = 300) -> bytes:
    """PDF, SVG or PNG as `save_figure` writes it."""
    buffer = io.BytesIO()
    save_figure(figure, buffer, kind, dpi=dpi)
    return buffer.getvalue()


def save_figure(figure: Figure, target: BinaryIO, kind: str, *, dpi: int = 200) -> None:
    """Write PDF, SVG or PNG (`kind` in small letters) to an open file, without a time stamp."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
        figure.savefig(target, format=kind, dpi=dpi, metadata=metadata)


def forest_figure(
    rates: Sequence[MethodRate], *, target: float | None = 0.5, margin: float = 0.05, rating: bool = False
) -> Figure:
    """Every method's rate and interval, with the band of equivalence around what it is compared with.

    Parameters
    ----------
    rates : sequence of MethodRate
        One line each; those without an estimate are left out.
    target : float
        0.5 for real-vs-fake, the rate of the photos for naturalness; None for no line.
    margin : float
        Half the width of the band.
    rating : bool
        Whether these are mean ratings, on their own scale.
    """
    n_shown = sum(record.mean is not None for record in rates)
    with new_figure(COLUMN_WIDTH, max(2.0, 0.7 + 0.24 * n_shown)) as (figure, axes):
        draw_rates(axes, rates, target=target, margin=margin, rating=rating)
    return figure


def curve_figure(curves: Mapping[str, FloatArray], std_errors: Mapping[str, FloatArray] | None = None) -> Figure:
    """Cumulative ab-error curves: share of pixels within each threshold, 0 to 150, with 95 % bands over images."""
    with new_figure(COLUMN_WIDTH, 2.3) as (figure, axes):
        draw_curves(axes, curves, std_errors)
    return figure


POINTS = "points-"
"""How the ids of groups of markers begin in the SVG of a scatter; the number of the method follows."""


def draw_image_scatter(
    axes: Axes,
    values: Mapping[str, tuple[FloatArray, FloatArray]],
    metric_title: str,
    rho: Mapping[str, float],
) -> None:
    """Metric against shrunken fool rate on axes, one point an image, one marker a method; without the legend."""
    for number, (method, (x, y)) in enumerate(values.items()):
        correlation = rho.get(method, math.nan)
        label = method if math.isnan(correlation) else f"{method} (rank corr. {correlation:+.2f})"
        look = {**method_look(number), "linestyle": ""}
        (points,) = axes.plot(
            x, 100 * y, **look, markersize=3.2, markerfacecolor="none", markeredgewidth=0.7, label=label
        )
        points.set_gid(f"{POINTS}{number}")
    axes.set_xlabel(metric_title)
    axes.set_ylabel("rate of the image, % (shrunken)")


def image_scatter_figure(
    values: Mapping[str, tuple[FloatArray, FloatArray]], metric_title: str, rho: Mapping[str, float]
) -> Figure:
    """Metric against shrunken fool rate, one point an image, one marker a method."""
    with new_figure(COLUMN_WIDTH, 2.5) as (figure, axes):
        draw_image_scatter(axes, values, metric_title, rho)
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.2)
    return figure


def vigilance_figure(methods: Mapping[str, Any]) -> Figure:
    """Fool rate over every vigilance threshold: what leaving people out would change."""
    with new_figure(COLUMN_WIDTH, 2.3 + 0.05 * len(methods)) as (figure, axes):
        draw_vigilance(axes, methods)
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def fatigue_figure(test: TrialTable) -> Figure:
    """Rate over the session in equal stretches of trials, all methods together; 95 %, participants as clusters."""
    with new_figure(COLUMN_WIDTH, 2.0) as (figure, axes):
        draw_fatigue(axes, test)
    return figure


def side_bias_figure(people: Sequence[Row]) -> Figure:
    """Each participant's share of "first" answers; 50 % is no preference."""
    with new_figure(COLUMN_WIDTH, 1.9) as (figure, axes):
        draw_side_bias(axes, people)
    return figure


def answer_time_figure(test: TrialTable) -> Figure:
    """Answer times on a logarithmic axis, by answer; ratings all together."""
    with new_figure(COLUMN_WIDTH, 2.0) as (figure, axes):
        draw_answer_times(axes, test)
    return figure


def component_figure(rows: Sequence[Row]) -> Figure:
    """Where the variance of one answer lies, and so of what to have more for a shorter interval."""
    shown = [row for row in rows if not math.isnan(row["participant"])]
    with new_figure(COLUMN_WIDTH, max(2.0, 0.9 + 0.24 * len(shown))) as (figure, axes):
        draw_components(axes, shown)
        figure.legend(loc="outside upper center", ncols=3)
    return figure
