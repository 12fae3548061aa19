"""True photos that EXIF turned upright, against colorizations of the unturned pixels.

A method that reads photos without asking for their orientation (as OpenCV's and Pillow's plain readers may) writes its
images lying on their side: scored at one size against the upright truth, every pixel would meet another.
"""

from __future__ import annotations

import math

import numpy as np

from evalkit.arrays import Rgb8
from evalkit.color.row_parts import row_parts
from evalkit.errors import InputError
from evalkit.images.image_files import DecodedImage, turned

__all__ = ["check_not_turned", "is_turned", "shape_is_turned", "turned_like_truth"]

SIDES_SWAPPED = range(5, 9)
"""EXIF orientations that make a tall photo of a wide one."""

SAME_ASPECT = math.log(1.03)
"""Aspect ratios closer than this are one: sides were rounded to whole pixels."""


def shape_is_turned(
    truth_orientation: int, truth_size: tuple[int, int], orientation: int, size: tuple[int, int]
) -> bool:
    """Whether an image has the shape that its true photo had before the photo's orientation was applied.

    Parameters
    ----------
    truth_orientation, orientation : int
        EXIF orientation that was applied to the photo and to the image.
    truth_size, size : tuple of int
        Width and height of both, as they are now.
    """
    if truth_orientation not in SIDES_SWAPPED or orientation != 1:
        return False
    upright, own = (math.log(width / height) for width, height in (truth_size, size))
    return abs(upright) > SAME_ASPECT and abs(own + upright) < SAME_ASPECT


def is_turned(truth: DecodedImage, prediction: DecodedImage) -> bool:
    """Whether a prediction has the shape that the true photo had before its orientation was applied."""
    return shape_is_turned(truth.orientation, _size(truth), prediction.orientation, _size(prediction))


def _size(image: DecodedImage) -> tuple[int, int]:
    return image.rgb8.shape[1], image.rgb8.shape[0]


def check_not_turned(name: str, method: str, truth: DecodedImage, prediction: DecodedImage) -> None:
    """Refuse a pair of which one lies on its side.

    Raises
    ------
    InputError
        When `is_turned`; also where both would be resized to one size.
    """
    if not is_turned(truth, prediction):
        return
    (height, width), (own_height, own_width) = truth.rgb8.shape[:2], prediction.rgb8.shape[:2]
    raise InputError(
        f"image '{name}' is {width} x {height} pixels in the truth, turned upright by its EXIF orientation "
        f"{truth.orientation}, and {own_width} x {own_height} in method '{method}', which is not turned; write the "
        "method's images upright, or apply the truth's orientation to them with --turn-like-truth (--size would score "
        "turned against upright images)."
    )


def turned_like_truth(truth: DecodedImage, prediction: DecodedImage) -> tuple[Rgb8, str | None]:
    """Pixels of a prediction, with the truth's orientation applied where it lacks it.

    Where the sides swap, the shape tells. A mirrored or half-turned photo keeps its shape: the way in which the
    prediction's gray looks more like the truth's is taken.

    Parameters
    ----------
    truth, prediction : DecodedImage

    Returns
    -------
    rgb8 : ndarray of uint8, shape (H, W, 3)
    note : str or None
        What was done; None where nothing was.
    """
    rgb8 = prediction.rgb8
    if truth.orientation == 1 or prediction.orientation != 1:
        return rgb8, None
    candidate = turned(rgb8, truth.orientation)
    if truth.orientation in SIDES_SWAPPED:
        apply = is_turned(truth, prediction)
        if not apply and candidate.shape == rgb8.shape == truth.rgb8.shape:  # a square photo
            apply = _distance(candidate, truth.rgb8) < _distance(rgb8, truth.rgb8)
    else:
        apply = rgb8.shape == truth.rgb8.shape and _distance(candidate, truth.rgb8) < _distance(rgb8, truth.rgb8)
    return (candidate, f"the truth's EXIF orientation {truth.orientation} applied") if apply else (rgb8, None)


def _distance(rgb8: Rgb8, truth: Rgb8) -> float:
    """Mean difference of the gray values."""
    sums = (float(np.abs(rgb8[rows].mean(axis=2) - truth[rows].mean(axis=2)).sum()) for rows in row_parts(truth))
    height, width = truth.shape[:2]
    return math.fsum(sums) / int(height * width)
