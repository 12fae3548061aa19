"""Figures of the report: one function each, readable in grey and for colour-blind readers.

Colours are Okabe and Ito's; markers and line styles differ too, so that nothing depends on colour alone. Widths are those
of one column (3.25 inches) and of a page (6.9 inches); fonts are embedded in PDF files and drawn as paths in SVG.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from analysis.records import Row
from analysis.statistics.crossed import one_way_variances
from analysis.study.rate_plot import draw_rates
from analysis.study.rates import MethodRate
from analysis.trials.trial_table import TrialTable
from evalkit.arrays import FloatArray
from evalkit.plotting import COLOURS, LINES, method_look
from evalkit.scoring.curve_plot import draw_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLUMN_WIDTH",
    "PAGE_WIDTH",
    "answer_time_figure",
    "component_figure",
    "curve_figure",
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
_ANSWERS = {
    "real-vs-fake": ("fooled", "not fooled"),
    "naturalness": ("natural", "not natural"),
    "preference": ("the first", "the second"),
}
"""Names of the answers 1 and 0."""
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
def grid_figure(width: float, height: float, n_rows: int, n_columns: int) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of this size in inches with panels that share both axes, row by row."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        yield figure, list(panels.flat)


@contextmanager
def empty_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches without axes, in the style of the report."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height))


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


def image_scatter_figure(
    values: Mapping[str, tuple[FloatArray, FloatArray]], metric_title: str, rho: Mapping[str, float]
) -> Figure:
    """Metric against shrunken fool rate, one point an image, one marker a method."""
    with new_figure(COLUMN_WIDTH, 2.5) as (figure, axes):
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
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.2)
    return figure


def vigilance_figure(methods: Mapping[str, Any]) -> Figure:
    """Fool rate over every vigilance threshold: what leaving people out would change."""
    with new_figure(COLUMN_WIDTH, 2.3 + 0.05 * len(methods)) as (figure, axes):
        for number, (method, found) in enumerate(methods.items()):
            points = [p for p in found.get("vigilance_curve", []) if "estimate" in p]
            x = np.array([100 * p["threshold"] for p in points]) + 0.6 * (number - len(methods) / 2)
            y = np.array([[100 * p[key] for key in ("estimate", "ci_low", "ci_high")] for p in points]).reshape(-1, 3)
            spread = np.abs(y[:, 1:].T - y[:, 0])
            axes.errorbar(
                x,
                y[:, 0],
                yerr=spread,
                **method_look(number),
                markersize=3.2,
                linewidth=1.0,
                elinewidth=0.6,
                label=method,
            )
        axes.set_xlabel("vigilance trials right at least, %")
        axes.set_ylabel("fooled, %")
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def fatigue_figure(test: TrialTable, *, bins: int = 8) -> Figure:
    """Rate over the session in equal stretches of trials, all methods together; 95 %, participants as clusters."""
    trial = test["trial"]
    edges = np.linspace(trial.min(), trial.max() + 1, min(bins, int(np.ptp(trial)) + 1) + 1)
    index = np.clip(np.digitize(trial, edges) - 1, 0, edges.size - 2)
    filled = np.unique(index)
    rate, error = np.empty(filled.size), np.empty(filled.size)
    for position, stretch in enumerate(filled):
        inside = index == stretch
        design = test.design.subset(inside)
        rate[position] = test.value[inside].mean()
        error[position] = 1.96 * math.sqrt(one_way_variances(test.value[inside], design).participant)
    centre = ((edges[:-1] + edges[1:] - 1) / 2)[filled]
    with new_figure(COLUMN_WIDTH, 2.0) as (figure, axes):
        axes.errorbar(centre, 100 * rate, yerr=100 * error, color=COLOURS[0], marker="o", markersize=3.5, linewidth=1.0)
        axes.set_xlabel("trial of the session")
        axes.set_ylabel("judged natural, %" if test.preset == "naturalness" else "fooled, %")
    return figure


def side_bias_figure(people: Sequence[Row]) -> Figure:
    """Each participant's share of "first" answers; 50 % is no preference."""
    share = 100 * np.array([row["first_share"] for row in people], dtype=np.float64)
    with new_figure(COLUMN_WIDTH, 1.9) as (figure, axes):
        axes.hist(share[np.isfinite(share)], bins=np.arange(0, 105, 5).tolist(), color=COLOURS[4], edgecolor="white")
        axes.axvline(50, color="0.3", linewidth=0.8, linestyle="--")
        axes.set_xlim(0, 100)
        axes.set_xlabel('answers "the first", %')
        axes.set_ylabel("participants")
    return figure


def answer_time_figure(test: TrialTable) -> Figure:
    """Answer times on a logarithmic axis, by answer; ratings all together."""
    time = test["response_ms"]
    used = np.isfinite(time) & (time > 0)
    seconds = time[used] / 1000
    edges = np.geomspace(max(seconds.min() * 0.9, 0.01), seconds.max() * 1.1, 30)
    with new_figure(COLUMN_WIDTH, 2.0) as (figure, axes):
        value = test.value[used]
        high, low = _ANSWERS.get(test.preset, ("all answers", "")) if test.n_alternatives == 2 else ("all answers", "")
        parts = [(high, value > 0.5), (low, value < 0.5)] if low else [(high, np.ones(value.size, dtype=np.bool_))]
        for number, (name, chosen) in enumerate(parts):
            if chosen.any():
                axes.hist(seconds[chosen], bins=edges.tolist(), histtype="step", density=True, color=COLOURS[number],
                          linestyle=LINES[number], linewidth=1.3, label=name)  # fmt: skip
        axes.set_xscale("log")
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60) if edges[0] <= tick <= edges[-1]]
        axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks([])
        axes.set_xlabel("seconds to answer")
        axes.legend()
    return figure


def component_figure(rows: Sequence[Row]) -> Figure:
    """Where the variance of one answer lies, and so of what to have more for a shorter interval."""
    shown = [row for row in rows if not math.isnan(row["participant"])]
    hatches = ("", "///", "...")
    with new_figure(COLUMN_WIDTH, max(2.0, 0.9 + 0.24 * len(shown))) as (figure, axes):
        left = np.zeros(len(shown))
        total = np.array([row["participant"] + row["image"] + row["residual"] for row in shown])
        for number, part in enumerate(("participant", "image", "residual")):
            width = 100 * np.array([row[part] for row in shown]) / total
            axes.barh(range(len(shown)), width, left=left, color=(COLOURS[0], COLOURS[5], "0.85")[number],
                      hatch=hatches[number], edgecolor="white", linewidth=0.5,
                      label=("participants", "images", "rest")[number])  # fmt: skip
            left += width
        axes.set_yticks(range(len(shown)), labels=[row["method"] for row in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the variance of one answer, %")
        figure.legend(loc="outside upper center", ncols=3)
    return figure
