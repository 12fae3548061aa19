"""What a hint is, and a photo's hints as arrays: which pixels are given, and their ab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.arrays import BoolArray, FloatArray

__all__ = ["Hint", "HintMaps", "hint_maps", "patch_slices"]


@dataclass(frozen=True, kw_only=True)
class Hint:
    """One square patch of one colour.

    Attributes
    ----------
    row, column : int
        Centre of the patch, pixels from the top left corner; for an even side the pixel below and right of it.
    side : int
        Side of the patch in pixels; what lies outside the photo is cut off.
    a, b : float
        Colour of the patch, CIE Lab units.
    """

    row: int
    column: int
    side: int
    a: float
    b: float


@dataclass(frozen=True)
class HintMaps:
    """Hints of one photo as arrays.

    Attributes
    ----------
    mask : ndarray of bool, shape (H, W)
        Pixels whose colour is given.
    ab : ndarray of float64, shape (H, W, 2)
        Their colour, CIE Lab units; zero elsewhere.
    """

    mask: BoolArray
    ab: FloatArray


def patch_slices(row: int, column: int, side: int) -> tuple[slice, slice]:
    """Rows and columns of a patch, cut at the top and left edge of the photo."""
    top, left = row - side // 2, column - side // 2
    return slice(max(top, 0), top + side), slice(max(left, 0), left + side)


def hint_maps(hints: Sequence[Hint], height: int, width: int) -> HintMaps:
    """Paint hints, in their order: where two overlap the later one counts.

    Parameters
    ----------
    hints : sequence of Hint
    height, width : int
        Of the photo, pixels.

    Returns
    -------
    HintMaps
    """
    import numpy as np

    mask = np.zeros((height, width), np.bool_)
    ab = np.zeros((height, width, 2))
    for hint in hints:
        place = patch_slices(hint.row, hint.column, hint.side)
        mask[place] = True
        ab[place] = hint.a, hint.b
    return HintMaps(mask, ab)
