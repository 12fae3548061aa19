"""The planning figure as a file."""

from __future__ import annotations

from pathlib import Path

from analysis.planning.study_plan import Plan
from evalkit.files import atomic_file

__all__ = ["write_plan_figure"]


def write_plan_figure(path: Path, plan: Plan) -> None:
    """Draw the figure of `Plan.plot` (PDF, PNG or SVG by the suffix of `path`).

    Parameters
    ----------
    path : Path
        File to write.
    plan : Plan
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.25, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    plan.plot(figure.subplots())
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=200)
