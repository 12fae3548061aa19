"""The ab plane with the share of every class: how rare most colours are.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, figure 3 (b).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.arrays import IntArray
from evalkit.color.ab_classes import AbClasses
from evalkit.errors import InputError
from evalkit.files import atomic_file
from evalkit.needs import need_matplotlib
from evalkit.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ENDINGS", "check_prior_figure", "draw_shares", "write_prior_figure"]

ENDINGS = (".pdf", ".png", ".svg")
"""Kinds of files that can be written."""
INK, FAINT = "#333333", "#BBBBBB"


def check_prior_figure(path: Path) -> None:
    """Say before any photo is counted what would keep the figure from being written.

    Raises
    ------
    InputError
        If matplotlib is not installed, or the file has another ending.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--figure {path}: allowed are files that end in {', '.join(ENDINGS)}")
    need_matplotlib("the figure of the prior")


def draw_shares(axes: Axes, counts: IntArray, classes: AbClasses, n_images: int) -> None:
    """Draw the shares of ab classes over the ab plane, on a logarithmic scale of colour ([1], figure 3 (b)).

    Parameters
    ----------
    axes : matplotlib Axes
    counts : ndarray of int64, shape (Q,)
        Pixels per class, at least one in all. Classes that no pixel has are drawn empty.
    classes : AbClasses
        Those that were counted.
    n_images : int
        Photos that were counted.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    steps = np.concatenate([np.diff(np.unique(axis)) for axis in classes.centers.T])
    side = float(steps.min(initial=20.0))  # classes of one's own may lie anywhere
    shares = counts / counts.sum()
    squares = [Rectangle((a - side / 2, b - side / 2), side, side) for a, b in classes.centers]
    present = np.flatnonzero(shares > 0)
    axes.set_aspect("equal")
    axes.add_collection(PatchCollection(squares, facecolor="none", edgecolor=FAINT, linewidth=0.4))
    # A single class present leaves no range of its own.
    scale = LogNorm(float(shares[present].min()) * 0.999, max(float(shares.max()), 1e-12))
    shown = PatchCollection([squares[k] for k in present], cmap="viridis", norm=scale, edgecolor="none")
    shown.set_array(shares[present])
    axes.add_collection(shown)
    axes.figure.colorbar(shown, ax=axes, label="share of all pixels")
    axes.set(xlim=(-120, 120), ylim=(-120, 120), xlabel="a  (green to red)", ylabel="b  (blue to yellow)")
    axes.set_xticks(range(-100, 101, 50))
    axes.set_yticks(range(-100, 101, 50))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{present.size} of {counted(shares.size, 'class', 'classes')} present in {counted(n_images, 'photo')}",
        loc="left",
        color=INK,
        fontsize=9,
    )


def write_prior_figure(path: Path, draw: Callable[[Axes], object]) -> None:
    """Write what is drawn on fresh axes; the ending of the file says the format, and equal drawings give equal bytes.

    Raises
    ------
    InputError
        As `check_prior_figure`.
    """
    check_prior_figure(path)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "svg.hashsalt": "evalkit",
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        # Without the date of drawing the same counts give the same bytes.
        metadata: Any = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {})
        with atomic_file(path) as file:
            figure.savefig(file, format=path.suffix.lower()[1:], dpi=200, metadata=metadata)
