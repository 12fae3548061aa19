"""Methods whose graph grows with the photo: large photos are coloured at a reduced size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray


__all__ = ["at_reduced_size", "resized"]


def resized(plane: FloatArray, height: int, width: int) -> FloatArray:
    """A plane of numbers at another size, by Pillow's area-weighted bilinear filter: shape (height, width)."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float64)


def at_reduced_size(colour: Callable[[FloatArray], FloatArray], lightness: FloatArray, max_pixels: int) -> FloatArray:
    """Colours of a photo, found on at most so many pixels and brought to its size.

    Parameters
    ----------
    colour : callable
        From L of shape (h, w) to ab of shape (h, w, 2).
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.
    max_pixels : int
        Photos of no more pixels are coloured as they are.

    Returns
    -------
    ndarray of float64, shape (H, W, 2)
    """
    import numpy as np

    height, width = lightness.shape
    if height * width <= max_pixels:
        return colour(lightness)
    scale = math.sqrt(max_pixels / (height * width))
    small = resized(lightness, max(1, int(height * scale)), max(1, int(width * scale)))
    ab = colour(small)
    return np.stack([resized(ab[..., k], height, width) for k in (0, 1)], axis=-1)
