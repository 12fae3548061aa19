"""What all figures share: the look of the n-th method, and the axes that a caller gives or has open.

Colours are Okabe and Ito's; markers and line styles differ too, so that nothing depends on colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.errors import InputError
from evalkit.needs import need_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "LINES", "MARKERS", "check_figure", "chosen_axes", "method_look"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 2)), (0, (7, 2)))


def method_look(number: int) -> dict[str, Any]:
    """Colour, marker and line of the n-th method; no two of the first 64 agree in all three."""
    turn = number // 8
    return {
        "color": COLOURS[number % 8],
        "marker": MARKERS[(number + 3 * turn) % 8],
        "linestyle": LINES[(number + turn) % 8],
    }


def check_figure(figure: object) -> None:
    """Refuse what is no figure, or part of one, of matplotlib."""
    if not hasattr(figure, "subplots"):
        raise InputError(f"figure is {type(figure).__name__}; give a figure to draw on: figure = pyplot.figure()")


def chosen_axes(ax: Axes | None) -> Axes:
    """The axes that were given, or pyplot's current ones.

    Raises
    ------
    InputError
        If matplotlib is not installed, or what was given is no axes.
    """
    if ax is not None:
        if not hasattr(ax, "errorbar"):
            raise InputError(f"ax is {type(ax).__name__}; give the axes to draw on: figure, ax = pyplot.subplots()")
        return ax
    need_matplotlib("plots")
    from matplotlib import pyplot

    return pyplot.gca()
