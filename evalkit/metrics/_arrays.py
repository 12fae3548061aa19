"""The one check of what a metric's function is given, and the loop over a batch.

A metric is written once, for one pair of `Photo`; `each_pair` and `each_image` turn that into the public
function on arrays, which takes one image or a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray, Rgb8
from evalkit.errors import InputError
from evalkit.metrics.photo import Photo

__all__ = ["as_rgb8", "check_pair", "each_image", "each_pair", "require_same_size"]


def as_rgb8(name: str, image: npt.ArrayLike) -> Rgb8:
    """Check that ``image`` is one 8-bit sRGB image or a batch of them.

    Parameters
    ----------
    name : str
        What the argument is called in the error message.
    image : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        sRGB pixels, 0 to 255.

    Returns
    -------
    ndarray of uint8
        The same pixels in the same shape.

    Raises
    ------
    InputError
        If the type is not uint8 (values are never rescaled or rounded unasked), the shape is another, or an
        image has no pixels.
    """
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise InputError(f"{name}: the images of a batch must have one size") from error
    if array.dtype != np.uint8:
        raise InputError(f"{name}: expected uint8 values from 0 to 255, got {array.dtype}; scale and round them first")
    if array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise InputError(f"{name}: expected shape (H, W, 3) or (N, H, W, 3), got {array.shape}")
    if 0 in array.shape[-3:]:
        raise InputError(f"{name}: an image of shape {array.shape[-3:]} has no pixels")
    return array


def require_same_size(truth: Photo, prediction: Photo) -> None:
    """Refuse a pair of different sizes: compiled loops would read past the end of the smaller image.

    Raises
    ------
    InputError
        If height or width differ.
    """
    if truth.shape != prediction.shape:
        raise InputError(
            f"the truth is {truth.shape[0]} x {truth.shape[1]} pixels (height x width) but the prediction is "
            f"{prediction.shape[0]} x {prediction.shape[1]}; make them equal, nothing is resized unasked"
        )


def check_pair(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> tuple[Rgb8, Rgb8, bool]:
    """Check a pair of images, or two batches, and return both as batches.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    truth, prediction : ndarray of uint8, shape (N, H, W, 3)
        N is 1 for a pair of images.
    single : bool
        Whether a pair of images was given, not two batches.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.
    """
    truth, prediction = as_rgb8("truth_rgb8", truth_rgb8), as_rgb8("pred_rgb8", pred_rgb8)
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth_rgb8 has shape {truth.shape} but pred_rgb8 has {prediction.shape}; make them equal, "
            "nothing is resized or repeated unasked"
        )
    if truth.ndim == 3:
        return truth[np.newaxis], prediction[np.newaxis], True
    return truth, prediction, False


def each_pair(
    measure: Callable[[Photo, Photo], float], truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike
) -> float | FloatArray:
    """Apply ``measure`` to a pair of images (a float), or to each pair of two batches (float64, shape (N,)).

    Raises
    ------
    InputError
        As in `check_pair`.
    """
    truth, prediction, single = check_pair(truth_rgb8, pred_rgb8)
    pairs = zip(truth, prediction, strict=True)
    values = np.array([measure(Photo(one), Photo(other)) for one, other in pairs], dtype=np.float64)
    return float(values[0]) if single else values


def each_image(measure: Callable[[Photo], float], rgb8: npt.ArrayLike) -> float | FloatArray:
    """Apply ``measure`` to one image (a float), or to each image of a batch (float64, shape (N,)).

    Raises
    ------
    InputError
        As in `as_rgb8`.
    """
    images = as_rgb8("rgb8", rgb8)
    if images.ndim == 3:
        return measure(Photo(images))
    return np.array([measure(Photo(image)) for image in images], dtype=np.float64)
