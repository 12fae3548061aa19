"""The one check of what a metric's function is given, and the loop over a batch.

A metric is written once, for one pair of `Photo`; `each_pair` and `each_image` turn that into the public
function on arrays, which takes one image or a batch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray, Rgb8
from evalkit.errors import InputError
from evalkit.metrics.photo import Photo

__all__ = [
    "DataRange",
    "as_rgb8",
    "check_pair",
    "checked_range",
    "each_image",
    "each_pair",
    "require_same_size",
    "to_rgb8",
]

DataRange = tuple[float, float]
"""What black and white are in floats: (0.0, 1.0), say, or (-1.0, 1.0)."""

MOST_OUTSIDE = 0.5
"""How far floats may lie outside of their range, as a share of its width. A network overshoots a little, which a file
clips; values of another range lie further out: those from -1 to 1 that are called 0 to 1 by 1, those to 255 by 254."""


def as_rgb8(name: str, image: npt.ArrayLike) -> Rgb8:
    """Check that ``image`` is one 8-bit sRGB image or a batch of them.

    Parameters
    ----------
    name : str
        What the argument is called in the error message.
    image : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        sRGB pixels, 0 to 255. A torch tensor has its channels first: (3, H, W) or (N, 3, H, W).

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
    array = _channels_last(name, image)
    if array.dtype != np.uint8:
        whole = array.dtype.kind in "iub"
        raise InputError(
            f"{name}: expected uint8 values from 0 to 255, got {array.dtype}; "
            + (
                "if they are from 0 to 255, astype(numpy.uint8), or to(torch.uint8), says so"
                if whole
                else "evalkit.to_rgb8 rounds floats of a stated range as a file would"
            )
        )
    if array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise InputError(f"{name}: expected shape (H, W, 3) or (N, H, W, 3), got {array.shape}")
    if 0 in array.shape[-3:]:
        raise InputError(f"{name}: an image of shape {array.shape[-3:]} has no pixels")
    return array


def to_rgb8(images: Any, data_range: DataRange | None = None, *, name: str = "images") -> Rgb8:
    """Images as an 8-bit file would hold them: clipped to their range, scaled to 0..255, rounded to the nearest.

    Truncating in place of rounding would change four colours in five.

    Parameters
    ----------
    images : array_like or torch.Tensor
        sRGB. An array has shape (H, W, 3) or (N, H, W, 3), a tensor (3, H, W) or (N, 3, H, W), on any device; one that
        carries a gradient is detached. Values of type uint8 stay as they are.
    data_range : (float, float), optional
        What black and white are in floats, for example ``(0, 1)`` or ``(-1, 1)``. Needed for floats: nothing is guessed
        from the values.
    name : str
        What error messages call the images.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3) or (N, H, W, 3)

    Raises
    ------
    InputError
        If the shape or type is another, the range of floats is not given, a value is not finite, or values lie outside of
        the range by more than half its width, which no network's overshoot does but every confusion of ranges.

    Examples
    --------
    >>> import numpy as np
    >>> to_rgb8(np.full((1, 1, 3), 0.5), data_range=(0, 1)).tolist()
    [[[128, 128, 128]]]
    """
    array = _channels_last(name, images)
    black_and_white = None if data_range is None else checked_range(data_range)
    if array.dtype == np.uint8 or array.dtype.kind != "f":
        return as_rgb8(name, array)
    if black_and_white is None:
        raise InputError(
            f"{name}: holds floats ({array.dtype}); say what black and white are: data_range=(0, 1), or (-1, 1)"
        )
    low, high = black_and_white
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: holds values that are not finite (NaN or infinite)")
    if values.size:
        smallest, largest = float(values.min()), float(values.max())
        slack = MOST_OUTSIDE * (high - low)
        if smallest < low - slack or largest > high + slack:
            raise InputError(
                f"{name}: holds values from {smallest:g} to {largest:g}, far outside of the data_range ({low:g}, {high:g})"
            )
    return as_rgb8(name, np.rint((values.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8))


def checked_range(data_range: DataRange) -> DataRange:
    """What black and white are, as two floats.

    Raises
    ------
    InputError
        If they are not two finite numbers of which the first is smaller.
    """
    try:
        low, high = (math.nan if isinstance(end, str) else float(end) for end in data_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"data_range {data_range!r}: expected two numbers, black and white, the first below the second: (0, 1)"
        )
    return low, high


def _channels_last(name: str, images: Any) -> npt.NDArray[Any]:
    """An array as it is; a tensor, or several of one image each, as an array on the CPU with its channels last."""
    torch = sys.modules.get("torch")  # what is no tensor yet needs no torch
    if torch is not None and isinstance(images, list | tuple) and any(isinstance(one, torch.Tensor) for one in images):
        one_by_one = [_channels_last(f"{name}[{i}]", one) for i, one in enumerate(images)]
        if len({one.shape for one in one_by_one}) > 1:
            raise InputError(f"{name}: the images of a batch must have one size")
        return np.stack(one_by_one)
    if torch is None or not isinstance(images, torch.Tensor):
        if np.ma.isMaskedArray(images) and np.ma.is_masked(images):
            raise InputError(f"{name}: is an array of which a part is masked, and every pixel counts; crop the images")
        try:
            given: npt.NDArray[Any] = np.asarray(images)
        except ValueError as error:
            raise InputError(f"{name}: the images of a batch must have one size") from error
        if given.dtype.kind not in "biufc":
            raise InputError(f"{name}: expected an array or a tensor of pixels, got {type(images).__name__}")
        return given
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        raise InputError(
            f"{name}: a tensor has shape (3, H, W) or (N, 3, H, W), channels first; got {tuple(images.shape)} (an array may "
            "have its channels last)"
        )
    if images.layout is not torch.strided or images.is_meta or images.is_quantized:
        raise InputError(f"{name}: the tensor must be dense and hold values, got {_kind_of_tensor(images)}")
    tensor = images.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):  # NumPy has no bfloat16
        tensor = tensor.float()
    planes = tensor.numpy()
    # Plane by plane: a copy of the moved axes takes six times as long.
    array: npt.NDArray[Any] = np.stack([planes[..., channel, :, :] for channel in range(3)], axis=-1)
    return array


def _kind_of_tensor(tensor: Any) -> str:
    if tensor.is_meta:
        return "one on the device meta, which holds none"
    return f"a quantized one ({tensor.dtype})" if tensor.is_quantized else f"one of layout {tensor.layout}"


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
