"""Cumulative ab-error curves on axes: the drawing of the report, of notebooks and of scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from evalkit.arrays import FloatArray
from evalkit.plotting import COLOURS, method_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curves"]


def draw_curves(
    axes: Axes,
    curves: Mapping[str, FloatArray],
    std_errors: Mapping[str, FloatArray] | None = None,
) -> None:
    """Draw the share of pixels within each threshold, one line per method.

    Parameters
    ----------
    axes : matplotlib Axes
    curves : mapping of str to ndarray, shape (2, k)
        Thresholds in CIE Lab units and fractions, by method.
    std_errors : mapping of str to ndarray, shape (k,), optional
        Standard errors of the fractions, for bands of 95 % over images.
    """
    for number, (method, (threshold, fraction)) in enumerate(curves.items()):
        if std_errors and method in std_errors and len(std_errors[method]) == len(fraction):
            reach = 1.96 * std_errors[method]
            low, high = np.clip(fraction - reach, 0, 1), np.clip(fraction + reach, 0, 1)
            axes.fill_between(threshold, 100 * low, 100 * high, color=COLOURS[number % 8], alpha=0.15, linewidth=0)
        axes.plot(
            threshold,
            100 * fraction,
            **method_look(number),
            markevery=(5 + 3 * number, 30),
            markersize=3.5,
            linewidth=1.2,
            label=method,
        )
    axes.set_xlim(0, 150)
    axes.set_ylim(0, 100.5)
    axes.set_xlabel("ab error threshold")
    axes.set_ylabel("pixels within it, %")
    axes.legend(loc="lower right")
