"""Pictures by image and method at print size: a figure of a paper rather than of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from analysis.report.figures import PAGE_WIDTH, empty_figure
from analysis.report.galleries import ImageFolders
from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.plotting import check_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["gallery_figure"]

_F = TypeVar("_F", bound="Figure | SubFigure")

DOTS_PER_INCH = 300
"""Pictures are reduced to this; smaller ones keep their pixels."""
GAP, HEAD = 0.03, 0.2
"""Inches between pictures, and above them for the names."""
TALLEST = 1.6
"""Height of a row over the width of a picture, at most."""


@overload
def gallery_figure(folders: ImageFolders, images: Sequence[str], *, width: float = PAGE_WIDTH) -> Figure: ...
@overload
def gallery_figure(folders: ImageFolders, images: Sequence[str], *, figure: _F) -> _F: ...
def gallery_figure(
    folders: ImageFolders,
    images: Sequence[str],
    *,
    width: float = PAGE_WIDTH,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Truth, input and every method from left to right under their names, one row per image.

    Parameters
    ----------
    folders : ImageFolders
        The pictures; what is missing stays empty and says so.
    images : sequence of str
        Rows.
    width : float
        Inches.
    figure : matplotlib Figure or SubFigure, optional
        One of the caller's, without a layout engine of its own, which is filled from edge to edge; its width counts in place
        of `width`.

    Returns
    -------
    Figure or SubFigure
        The caller's, or a new one as wide as asked, to the dot: nothing is cut off or added when it is saved.

    Raises
    ------
    InputError
        When no picture of the images can be read, or the width leaves no room for one.
    """
    headings = folders.headings
    if figure is not None:
        check_figure(figure)
        width = figure.bbox.width / figure.dpi
    side = (width - GAP * (len(headings) - 1)) / len(headings)
    if side < 0.2:
        raise InputError(f"{len(headings)} pictures side by side do not fit into {width:g} inches.")
    rows = [[_reduced(folders.picture(heading, image), side) for heading in headings] for image in images]
    if not any(picture is not None for row in rows for picture in row):
        raise InputError("None of the pictures can be read; " + next(iter(folders.problems.values()), "none is there."))
    heights = [side * _tallest(row) for row in rows]
    height = HEAD + sum(heights) + GAP * (len(rows) - 1)
    with empty_figure(width, height, figure) as own:  # of another size, at the same shares of it
        top = height - HEAD
        for column, heading in enumerate(headings):
            middle = column * (side + GAP) + side / 2
            size = min(8.0, 72 * side / (0.62 * max(len(heading), 1)))
            own.text(middle / width, (top + 0.04) / height, heading, ha="center", va="bottom", fontsize=max(size, 4.5))
        for row, row_height in zip(rows, heights, strict=True):
            top -= row_height
            for column, picture in enumerate(row):
                box = (column * (side + GAP) / width, top / height, side / width, row_height / height)
                axes = own.add_axes(box)
                axes.axis("off")
                if picture is None:
                    axes.text(0.5, 0.5, "missing", ha="center", va="center", fontsize=6, color="0.4")
                else:
                    axes.imshow(picture, interpolation="antialiased", aspect="equal")
            top -= GAP
    return own


def _tallest(pictures: Sequence[Rgb8 | None]) -> float:
    """Height over width of the tallest picture of a row."""
    return min(TALLEST, max((one.shape[0] / one.shape[1] for one in pictures if one is not None), default=0.5))


def _reduced(rgb8: Rgb8 | None, side: float) -> Rgb8 | None:
    """At most as many pixels as are printed."""
    import numpy as np
    from PIL import Image

    if rgb8 is None:
        return None
    picture = Image.fromarray(rgb8)
    picture.thumbnail((round(side * DOTS_PER_INCH), round(TALLEST * side * DOTS_PER_INCH)), Image.Resampling.LANCZOS)
    return np.asarray(picture)
