"""Large images in parts of whole rows: what is derived from every pixel would take many times their own memory.

Images of up to `WHOLE_PIXELS` are one part, and so have the very numbers that they have without parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["PART_PIXELS", "WHOLE_PIXELS", "is_large", "row_parts"]

WHOLE_PIXELS = 1 << 22
"""Images of up to so many pixels, 4 megapixels, are worked on as a whole; their Lab takes 0.1 GB."""
PART_PIXELS = 1 << 20
"""Pixels of a part of a larger image, to the nearest whole row below."""


def is_large(image: npt.NDArray[Any]) -> bool:
    """Whether an image, shape (H, W, ...), is worked on in parts."""
    return bool(image.shape[0] * image.shape[1] > WHOLE_PIXELS)


def row_parts(image: npt.NDArray[Any], multiple: int = 1) -> Iterator[slice]:
    """Rows of an image from top to bottom: all at once, or, of a large image, in parts.

    Parameters
    ----------
    image : ndarray, shape (H, W, ...)
    multiple : int
        Each part but the last has a multiple of so many rows.

    Yields
    ------
    slice
        First row, and the row behind the last.

    Examples
    --------
    >>> import numpy as np
    >>> list(row_parts(np.empty((300, 200, 3))))
    [slice(0, 300, None)]
    >>> [part.stop for part in row_parts(np.empty((4000, 1100), np.uint8))]
    [953, 1906, 2859, 3812, 4000]
    """
    height, width = image.shape[:2]
    n_rows = max(1, PART_PIXELS // (width * multiple)) * multiple if is_large(image) else max(1, height)
    for top in range(0, height, n_rows):
        yield slice(top, min(top + n_rows, height))
