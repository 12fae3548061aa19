"""The figure of scores against the number of hints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from evalkit.files import atomic_file
from evalkit.hints.curve import HintCurve
from evalkit.needs import need_matplotlib

__all__ = ["draw_hint_curve", "require_matplotlib"]

# Okabe and Ito's colours, told apart with any colour vision; markers say the same without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FAINT = "#333333", "#DDDDDD"


def require_matplotlib() -> None:
    """Say in one sentence how to get matplotlib where it is not installed.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    need_matplotlib("the figure of the hint curve")


def draw_hint_curve(curve: HintCurve, pictures: list[Path]) -> None:
    """Draw one panel per metric: a line per method over log2(1 + number of hints), its 95 % intervals as bars.

    Parameters
    ----------
    curve : HintCurve
    pictures : list of Path
        Files to write; their endings say the format.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from evalkit.metrics import load_metric

    scored = [point for point in curve.points if not math.isnan(point.value)]
    metrics = list(dict.fromkeys(point.metric for point in scored))
    methods = list(dict.fromkeys(point.method for point in curve.points))
    counts = sorted({point.n_hints for point in curve.points})
    look: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8,
        "svg.hashsalt": "evalkit",
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=(2.9 * max(1, len(metrics)), 2.9), layout="constrained")
        FigureCanvasAgg(figure)
        for panel, name in enumerate(metrics):
            axes = figure.add_subplot(1, len(metrics), panel + 1)
            metric = load_metric(name)
            scale = 100 if metric.percent else 1
            for i, method in enumerate(methods):
                line = [point for point in scored if (point.metric, point.method) == (name, method)]
                # Side by side, so that intervals of several methods do not cover one another.
                places = [math.log2(1 + point.n_hints) + 0.06 * (i - (len(methods) - 1) / 2) for point in line]
                heights = [scale * point.value for point in line]
                bars = [
                    [
                        0.0 if math.isnan(end) else scale * abs(end - point.value)
                        for point, end in zip(line, ends, strict=True)
                    ]
                    for ends in ([point.ci_low for point in line], [point.ci_high for point in line])
                ]
                axes.errorbar(
                    places, heights, yerr=bars, label=method, color=COLOURS[i % len(COLOURS)],
                    marker=MARKERS[i % len(MARKERS)], markersize=3.5, linewidth=1.2, elinewidth=0.8,
                )  # fmt: skip
            better = {"higher": "higher is better", "lower": "lower is better"}.get(metric.better, "")
            axes.set_title(f"{metric.title}{f' ({better})' if better else ''}", loc="left", color=INK)
            axes.set_xticks([math.log2(1 + k) for k in counts], [str(k) for k in counts])
            axes.set_xlabel("hints per photo", color=INK)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            if panel == 0 and len(methods) > 1:
                axes.legend(frameon=False, loc="best")
        for picture in pictures:
            # Without the date of drawing the same scores give the same bytes.
            metadata: Any = {"CreationDate": None} if picture.suffix == ".pdf" else {}
            with atomic_file(picture) as file:
                figure.savefig(file, format=picture.suffix.lower()[1:], dpi=200, metadata=metadata)
