"""The demo's picture: cumulative ab-error curves, plain and class-rebalanced, side by side."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.files import atomic_file
from evalkit.needs import need_matplotlib

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray

__all__ = ["draw_curves", "require_matplotlib"]

# Okabe and Ito's colours, told apart with any colour vision; dashes and markers say the same without colour.
STYLES: Mapping[str, tuple[str, Any, str]] = {
    "mild": ("#0072B2", "-", "o"),
    "strong": ("#009E73", (0, (6, 1.5)), "s"),
    "gray": ("#4D4D4D", (0, (1.5, 1.2)), "D"),
    "random": ("#D55E00", (0, (6, 1.5, 1.5, 1.5)), "^"),
}
# Where each name stands: on which side of its curve, at which height, where the others leave room.
LABELS = {
    "mild": ("mild\nab × 0.8", "left", 0.88),
    "strong": ("strong\nab × 0.4", "left", 0.88),
    "gray": ("gray", "left", 0.92),
    "random": ("random", "right", 0.33),
}
PANELS = {
    "fraction": "Every pixel counts the same",
    "fraction_rebalanced": "Rebalanced: rare colours count more",
}
TICKS = (0, 1, 5, 10, 25, 50, 100, 150)
INK, FAINT = "#333333", "#DDDDDD"


def require_matplotlib() -> None:
    """Say in one sentence how to get matplotlib where it is not installed.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    need_matplotlib("the demo's curves", "demo")


def draw_curves(curves: Path, picture: Path) -> None:
    """Draw the curves of the four methods of the demo.

    Parameters
    ----------
    curves : Path
        ``curves.csv`` of the scoring run: method, threshold, fraction, fraction_rebalanced.
    picture : Path
        PNG file to write.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8,
        "text.color": INK,
        "axes.edgecolor": "#888888",
        "axes.labelcolor": INK,
        "axes.linewidth": 0.6,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
    with mpl.rc_context(look):
        # A Figure of its own, not pyplot: no window system, no global state.
        figure = Figure(figsize=(6.9, 3.3), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, (column, title) in zip((left, right), PANELS.items(), strict=True):
            _draw_panel(axes, _read_curves(curves, column), title)
        left.set_ylabel("share of pixels with at most this error")
        figure.supxlabel("ab error, in CIE Lab units (square-root scale)", size=8, color=INK)
        with atomic_file(picture) as file:
            figure.savefig(file, format="png", dpi=200)


def _read_curves(path: Path, column: str) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Thresholds and fractions by method, from ``curves.csv``."""
    import numpy as np

    points: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            points.setdefault(row["method"], []).append((float(row["threshold"]), float(row[column])))
    arrays = {method: np.array(sorted(pairs)) for method, pairs in points.items()}
    return {method: (array[:, 0], array[:, 1]) for method, array in arrays.items()}


def _draw_panel(axes: Any, curves: Mapping[str, tuple[Any, Any]], title: str) -> None:
    import numpy as np
    from matplotlib.patheffects import withStroke

    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xlim(0, 150)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.set_yticks(np.linspace(0, 1, 6), ["0", "20", "40", "60", "80", "100 %"])
    axes.minorticks_off()
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", size=9, weight="bold", color=INK)
    for method, (color, dashes, marker) in STYLES.items():
        if method not in curves:
            continue
        threshold, fraction = curves[method]
        axes.plot(
            threshold,
            fraction,
            color=color,
            linestyle=dashes,
            linewidth=1.5,
            marker=marker,
            markevery=np.searchsorted(threshold, [2, 6, 12, 20, 30, 42, 56]).tolist(),
            markersize=3.6,
            markerfacecolor="white",
            markeredgewidth=1.0,
            clip_on=False,
            zorder=3,
        )
        label, side, height = LABELS[method]
        axes.annotate(
            label,
            (np.interp(height, fraction, threshold), height),
            xytext=(-7 if side == "left" else 7, 0),
            textcoords="offset points",
            ha="right" if side == "left" else "left",
            va="center",
            color=color,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=2.5,  # the white halo hides the grid, never a curve
        )
