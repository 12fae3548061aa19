"""Structural similarity: SSIM on RGB, multi-scale SSIM on the a and b of CIE Lab.

Luminance alone is useless for colorization (every method keeps the L of its input, and luminance SSIM is
near 1), so both are computed where the colours are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.color.colorspace import LAB
from evalkit.metrics._arrays import each_pair, require_same_size
from evalkit.metrics.base import MeanMetric
from evalkit.metrics.photo import Photo

__all__ = ["MsSsimAb", "SsimRgb", "ms_ssim_ab", "ssim_rgb"]

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
"""Window, its standard deviation and the two constants of Wang et al. 2004."""

DATA_RANGE = 255
"""Range of 8-bit sRGB, and the span of a and b as 8-bit Lab encodes them (-128 to 127)."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al. 2003, section 3.2)."""

_ONE_SIDE = np.exp(-0.5 * (np.arange(WINDOW // 2 + 1) / SIGMA) ** 2)
_TAPS: FloatArray = _ONE_SIDE / (2 * _ONE_SIDE.sum() - _ONE_SIDE[0])
"""The Gaussian window from its centre outwards; with its mirrored side it sums to 1."""

# The truth's filtered planes are kept for the next method below this size (2 x 24 bytes per pixel) and
# computed again above it; larger images are also worked through in bands of this size, so that memory stays
# flat. Of a large photo (`Photo.is_large`) the ab of each band are found when it is its turn.
_BAND_PIXELS = 1 << 20


def ssim_rgb(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Structural similarity index on 8-bit sRGB, mean over the three channels.

    Wang et al. [1]_, equation 13: Gaussian window of 11 x 11 pixels with standard deviation 1.5, K1 = 0.01,
    K2 = 0.03, data range 255, population (biased) variances, mean over the valid region (windows that lie
    inside the image).

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From -1 to 1, exactly 1 for identical images; NaN (unscored) where a side is shorter than the window.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Notes
    -----
    Equal to scikit-image's ``structural_similarity(..., gaussian_weights=True, sigma=1.5, data_range=255,
    use_sample_covariance=False, channel_axis=2)`` within 1e-12. A uniform 7 x 7 window, the default there,
    is another number.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error
       Visibility to Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[:, None, None], (1, 32, 3))
    >>> ssim_rgb(truth, truth)
    1.0
    >>> round(ssim_rgb(truth, truth // 2), 4)
    0.6795
    """
    return each_pair(_ssim_rgb, truth_rgb8, pred_rgb8)


def ms_ssim_ab(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    r"""Multi-scale structural similarity of a and b, mean over the two channels.

    Wang et al. [1]_, equation 7, on each of the two channels of CIE Lab:

    .. math:: l_5^{w_5} \prod_{j=1}^{5} \max(cs_j, 0)^{w_j}

    with the window and constants of `ssim_rgb`, the published weights, scales halved by 2 x 2 means (an odd
    last row or column is left out), and a data range of 255, the span of 8-bit ab (-128 to 127); a and b
    enter with zero at neutral. Means over the valid region are taken before the powers. Where the mean of a
    term is negative (anticorrelated colours), which has no real power, it counts as 0.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 to 1, exactly 1 for identical colours; NaN (unscored) where a side is shorter than 176 pixels,
        the window at the coarsest scale.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    References
    ----------
    .. [1] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale Structural Similarity for Image Quality
       Assessment", Asilomar Conference on Signals, Systems and Computers, 2003.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.tile(np.arange(192, dtype=np.uint8)[:, None, None], (1, 192, 3))
    >>> truth[..., 0] = 100
    >>> ms_ssim_ab(truth, truth)
    1.0
    """
    return each_pair(_ms_ssim_ab, truth_rgb8, pred_rgb8)


class _Raster(NamedTuple):
    """Pixels in row order: height * width * step values in a flat array, ``step`` channels interleaved."""

    values: npt.NDArray[Any]
    height: int
    width: int
    step: int

    def rows(self, top: int, height: int) -> npt.NDArray[Any]:
        """Values of some rows."""
        row = self.width * self.step
        return self.values[top * row : (top + height) * row]


class _LabChannel(NamedTuple):
    """One Lab channel of a large photo, of which the rows asked for are all that is held."""

    photo: Photo
    channel: int

    @property
    def height(self) -> int:
        return self.photo.shape[0]

    @property
    def width(self) -> int:
        return self.photo.shape[1]

    @property
    def step(self) -> int:
        """One value per pixel."""
        return 1

    def rows(self, top: int, height: int) -> FloatArray:
        """Values of some rows."""
        values: FloatArray = self.photo.lab_rows(slice(top, top + height))[self.channel]
        return values


def _bands(raster: _Raster | _LabChannel) -> Iterator[tuple[int, int]]:
    """First rows and heights of bands whose valid regions tile that of the whole."""
    valid = raster.height - WINDOW + 1
    band = max(1, _BAND_PIXELS // raster.width)
    for top in range(0, valid, band):
        yield top, min(band, valid - top) + WINDOW - 1


def _mean_index(
    photo: Photo,
    key: object,
    truth: _Raster | _LabChannel,
    prediction: _Raster | _LabChannel,
    *,
    luminance: bool,
) -> float:
    """Mean over the valid region and all channels of SSIM, or of its contrast-structure term alone.

    What only depends on the truth is kept in ``photo.derived`` under ``key``.
    """
    from evalkit.metrics._ssim_kernel import filtered_moments, similarity_sum

    width, step = truth.width, truth.step
    valid_row = (width - WINDOW + 1) * step
    c1, c2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
    total = 0.0
    for top, height in _bands(truth):
        x, y = truth.rows(top, height), prediction.rows(top, height)
        moments = photo.derived.get(key)
        if moments is None:
            moments = np.empty((2, (height - WINDOW + 1) * valid_row))
            filtered_moments(x, height, width, step, _TAPS, moments[0], moments[1])
            if height == truth.height:
                photo.derived[key] = moments
        mean, variance = moments
        total += similarity_sum(x, mean, variance, y, height, width, step, _TAPS, c1, c2, luminance)
    return float(total / ((truth.height - WINDOW + 1) * valid_row))


def _ssim_rgb(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    if min(truth.shape) < WINDOW:
        return math.nan
    true, own = (_Raster(photo.rgb8.ravel(), *photo.shape, step=3) for photo in (truth, prediction))
    return _mean_index(truth, "ssim_rgb", true, own, luminance=True)


def _halved(plane: _Raster | _LabChannel) -> _Raster:
    """Means of 2 x 2 pixels."""
    height, width = plane.height // 2, plane.width // 2
    mean = np.empty((height, width))
    band = max(1, _BAND_PIXELS // plane.width)
    for top in range(0, height, band):
        n_rows = min(band, height - top)
        x = plane.rows(2 * top, 2 * n_rows).reshape(2 * n_rows, plane.width)[:, : 2 * width]
        mean[top : top + n_rows] = 0.25 * (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2])
    return _Raster(mean.ravel(), height, width, 1)


def _scales(photo: Photo, channel: int) -> Iterator[_Raster | _LabChannel]:
    """One Lab channel at the five scales, finest first; holds one scale at a time."""
    scale: _Raster | _LabChannel
    scale = _LabChannel(photo, channel) if photo.is_large else _Raster(photo.lab[channel], *photo.shape, step=1)
    yield scale
    for _ in SCALE_WEIGHTS[1:]:
        scale = _halved(scale)
        yield scale


def _pyramid(photo: Photo, channel: int) -> Iterable[_Raster | _LabChannel]:
    """One Lab channel at the five scales, finest first; kept for the next method unless the photo is large."""
    if photo.is_large:
        return _scales(photo, channel)
    key = "ms_ssim pyramid", channel
    if key not in photo.derived:
        photo.derived[key] = list(_scales(photo, channel))
    rasters: list[_Raster | _LabChannel] = photo.derived[key]
    return rasters


def _ms_ssim_ab(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    coarsest = len(SCALE_WEIGHTS) - 1
    if min(truth.shape) >> coarsest < WINDOW:
        return math.nan
    total = 0.0
    for channel in (1, 2):
        product = 1.0
        scales = zip(_pyramid(truth, channel), _pyramid(prediction, channel), SCALE_WEIGHTS, strict=True)
        for scale, (x, y, weight) in enumerate(scales):
            # Luminance is compared at the coarsest scale only.
            key = "ms_ssim_ab", channel, scale
            index = _mean_index(truth, key, x, y, luminance=scale == coarsest)
            product *= max(index, 0.0) ** weight
        total += product
    return total / 2


class SsimRgb(MeanMetric):
    """Mean over images of `ssim_rgb`."""

    name = "ssim_rgb"
    title = "SSIM"
    better = "higher"
    scale = "logit"
    decimals = 4
    summary = "structural similarity on 8-bit sRGB, Gaussian 11 x 11, mean over channels and images (Wang 2004)"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """SSIM of one pair; NaN below 11 pixels."""
        return _ssim_rgb(truth, prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; window, data range, region, channels."""
        window = f"gauss{WINDOW}-{SIGMA}"
        return {
            **super().fields,
            "win": window,
            "range": str(DATA_RANGE),
            "region": "valid",
            "chan": "rgb-mean",
        }


class MsSsimAb(MeanMetric):
    """Mean over images of `ms_ssim_ab`."""

    name = "ms_ssim_ab"
    title = "MS-SSIM ab"
    better = "higher"
    scale = "logit"
    decimals = 4
    summary = "multi-scale structural similarity on a and b (CIE Lab), 5 scales, mean over images (Wang 2003)"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """MS-SSIM of one pair; NaN below 176 pixels."""
        return _ms_ssim_ab(truth, prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; window, data range, region, channels, scales, what a negative term counts as."""
        return {
            "lab": LAB,
            **super().fields,
            "win": f"gauss{WINDOW}-{SIGMA}",
            "range": str(DATA_RANGE),
            "region": "valid",
            "chan": "ab-mean",
            "scales": str(len(SCALE_WEIGHTS)),
            "neg": "0",
        }
