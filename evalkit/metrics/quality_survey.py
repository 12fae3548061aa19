"""PCQI and UIQM, which a survey of colorization reports beside PSNR and SSIM.

S. Anwar et al., "Image Colorization: A Survey and Dataset", 2020 (NCD). Both say little about colorization, and every
table that holds them says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray, Rgb8
from evalkit.color.row_parts import row_parts
from evalkit.metrics._arrays import each_image, each_pair, require_same_size
from evalkit.metrics.base import MeanMetric
from evalkit.metrics.photo import Photo

__all__ = ["Pcqi", "Uiqm", "pcqi", "uiqm"]

LUMA = np.array([0.299, 0.587, 0.114])
"""Rec. 601 weights of R, G, B."""

# --- PCQI ------------------------------------------------------------------------------------------------

PCQI_WINDOW = 11
PCQI_SIGMA = 1.5
PCQI_C = 3.0
PCQI_RANGE = 256.0


def _window() -> FloatArray:
    offsets = np.arange(PCQI_WINDOW) - PCQI_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * PCQI_SIGMA**2))
    return np.asarray(weights / weights.sum())


def _smooth(plane: FloatArray) -> FloatArray:
    """Gaussian mean over the windows that lie inside."""
    window = _window()
    for axis in (0, 1):
        plane = np.lib.stride_tricks.sliding_window_view(plane, PCQI_WINDOW, axis=axis) @ window
    return plane


def pcqi(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Patch-based contrast quality index on luma.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        1 for identical images; above 1 where contrast is enhanced; NaN below 11 pixels a side.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Notes
    -----
    Luma is what colorizers keep, so the index is near 1 for every colorizer.

    References
    ----------
    .. [1] S. Wang, K. Ma, H. Yeganeh, Z. Wang, W. Lin, "A Patch-Structure Representation Method for Quality Assessment of
       Contrast Changed Images", IEEE Signal Processing Letters 22(12), 2015, equations 9 to 13.
    """
    return each_pair(_pcqi, truth_rgb8, pred_rgb8)


def _pcqi(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    if min(truth.shape) < PCQI_WINDOW:
        return float("nan")
    n_rows, n_columns = (side - PCQI_WINDOW + 1 for side in truth.shape)
    sums = []
    for part in row_parts(truth.rgb8):
        rows = slice(part.start, part.stop + PCQI_WINDOW - 1)  # the windows that begin in this part
        if part.start < n_rows:
            sums.append(_pcqi_sum(truth.rgb8[rows] @ LUMA, prediction.rgb8[rows] @ LUMA))
    return math.fsum(sums) / (n_rows * n_columns)


def _pcqi_sum(x: FloatArray, y: FloatArray) -> float:
    """Sum of the index over the windows that lie inside."""
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x = np.maximum(_smooth(x * x) - mean_x**2, 0)
    variance_y = np.maximum(_smooth(y * y) - mean_y**2, 0)
    covariance = _smooth(x * y) - mean_x * mean_y
    contrast = 4 / np.pi * np.arctan((covariance + PCQI_C) / (variance_x + PCQI_C))
    structure = (covariance + PCQI_C) / (np.sqrt(variance_x * variance_y) + PCQI_C)
    intensity = np.exp(-np.abs(mean_x - mean_y) / PCQI_RANGE)
    return float((contrast * structure * intensity).sum())


class Pcqi(MeanMetric):
    """Mean over images of `pcqi`."""

    name = "pcqi"
    title = "PCQI"
    better = "higher"
    decimals = 3
    summary = "patch-based contrast quality index on luma, mean over images (Wang 2015); near 1 for every colorizer"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """PCQI of one pair."""
        return _pcqi(truth, prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; window, constant."""
        return {**super().fields, "win": "gauss11-1.5", "chan": "luma"}

    def caution(self, method: str, value: float, n_images: int) -> str:
        """Why it is weak here."""
        return "pcqi compares luma, which colorizers keep by construction: it says next to nothing about their colours"


# --- UIQM ------------------------------------------------------------------------------------------------

UIQM_WEIGHTS = (0.0282, 0.2953, 3.5753)
"""Of colourfulness, sharpness and contrast [1]_."""
TRIM = 0.1
BLOCK = 10
_SOBEL = (np.array([1.0, 2.0, 1.0]), np.array([1.0, 0.0, -1.0]))


def uiqm(rgb8: npt.ArrayLike) -> float | FloatArray:
    """Underwater image quality measure: colourfulness, sharpness and contrast of one image, without a reference.

    Parameters
    ----------
    rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        NaN below 10 pixels a side.

    Raises
    ------
    InputError
        If it is no 8-bit sRGB image or batch.

    Notes
    -----
    Implementations differ. This one follows the usual Python code: blocks of 10 x 10, trimmed means without a tenth at
    either end, and Michelson contrast without the PLIP operators of the paper.

    References
    ----------
    .. [1] K. Panetta, C. Gao, S. Agaian, "Human-Visual-System-Inspired Underwater Image Quality Measures", IEEE Journal of
       Oceanic Engineering 41(3), 2016.
    """
    return each_image(_uiqm, rgb8)


def _uiqm(photo: Photo) -> float:
    if min(photo.shape) < BLOCK:
        return float("nan")
    parts = (_colour(photo.rgb8), _sharpness(photo.rgb8), _contrast(photo.rgb8))
    return float(np.dot(UIQM_WEIGHTS, parts))


def _colour(rgb8: Rgb8) -> float:
    r, g, b = rgb8.astype(np.float64).reshape(-1, 3).T
    means, spreads = [], []
    for opponent in (r - g, (r + g) / 2 - b):
        ordered = np.sort(opponent)
        cut = int(np.ceil(TRIM * len(ordered))), int(np.floor(TRIM * len(ordered)))
        mean = ordered[cut[0] : len(ordered) - cut[1]].mean()
        means.append(mean)
        spreads.append(np.mean((opponent - mean) ** 2))
    return float(-0.0268 * np.hypot(*means) + 0.1586 * np.sqrt(sum(spreads)))


def _blocks(values: FloatArray) -> FloatArray:
    """Non-overlapping blocks, shape (n, 100, ...); what is left over at the right and below is dropped."""
    height, width = (side // BLOCK for side in values.shape[:2])
    rest = values.shape[2:]
    cut = values[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK, *rest)
    return np.moveaxis(cut, 2, 1).reshape(height * width, BLOCK * BLOCK, *rest)


def _sharpness(rgb8: Rgb8) -> float:
    total = 0.0
    for channel, weight in zip(rgb8.astype(np.float64).transpose(2, 0, 1), LUMA, strict=True):
        padded = np.pad(channel, 1, mode="symmetric")
        gradients = []
        for smooth, slope in (_SOBEL, _SOBEL[::-1]):
            rows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=0) @ smooth
            gradients.append(np.lib.stride_tricks.sliding_window_view(rows, 3, axis=1) @ slope)
        edges = np.hypot(*gradients)
        if edges.max() > 0:
            edges *= 255 / edges.max()
        blocks = _blocks(edges * channel)
        high, low = blocks.max(axis=1), blocks.min(axis=1)
        both_positive = (low > 0) & (high > 0)
        total += weight * 2 / len(blocks) * float(np.log(high[both_positive] / low[both_positive]).sum())
    return total


def _contrast(rgb8: Rgb8) -> float:
    blocks = _blocks(rgb8.astype(np.float64)).reshape(-1, BLOCK * BLOCK * 3)
    high, low = blocks.max(axis=1), blocks.min(axis=1)
    has_contrast = high > low
    ratio = (high[has_contrast] - low[has_contrast]) / (high[has_contrast] + low[has_contrast])
    return float(-(ratio * np.log(ratio)).sum() / len(blocks))


class Uiqm(MeanMetric):
    """Mean over images of `uiqm`."""

    name = "uiqm"
    title = "UIQM"
    better = "neither"
    decimals = 3
    summary = "underwater image quality measure of the prediction alone, mean over images (Panetta 2016)"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """UIQM of the prediction."""
        return _uiqm(prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; blocks."""
        return {**super().fields, "win": f"block{BLOCK}"}

    def caution(self, method: str, value: float, n_images: int) -> str:
        """Why it is weak here."""
        return (
            "uiqm was made for underwater photos and knows no truth: it rewards contrast and saturation, and two thirds of it "
            "are sharpness and contrast, which colorizers keep"
        )
