"""One look for every figure of the documentation, drawn once for light and once for dark pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Okabe and Ito's colours that keep 3:1 contrast on their background; line styles differ as well.
SCHEMES = {
    "light": {"ink": "#333333", "faint": "#b8b8b8", "lines": ("#0072b2", "#d55e00", "#009e73")},
    "dark": {"ink": "#dddddd", "faint": "#5c5c5c", "lines": ("#56b4e9", "#e69f00", "#2fbf93")},
}
DASHES = ((), (6, 2), (2, 1.5))


def draw_for_both_schemes(folder: Path, name: str, draw: Callable[[dict[str, Any]], Any]) -> None:
    """Save NAME-light.svg and NAME-dark.svg; `draw` turns the colours of a scheme into a figure."""
    import matplotlib as mpl

    mpl.use("svg")
    for scheme, colours in SCHEMES.items():
        style = {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "text.color": colours["ink"],
            "axes.edgecolor": colours["faint"],
            "axes.labelcolor": colours["ink"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": colours["ink"],
            "ytick.color": colours["ink"],
            "svg.fonttype": "path",
            "svg.hashsalt": name,  # the same file on every build
        }
        with mpl.rc_context(style):
            figure = draw(colours)
            figure.savefig(
                folder / f"{name}-{scheme}.svg",
                transparent=True,
                bbox_inches="tight",
                metadata={"Date": None},
            )
