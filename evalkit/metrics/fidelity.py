"""Pixel fidelity: PSNR in RGB and in ab, RMSE in ab, mean absolute change of L."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.color.colorspace import LAB
from evalkit.metrics._arrays import each_pair, require_same_size
from evalkit.metrics.base import ImageStatistics, MeanMetric, SumMetric, share_of_sums
from evalkit.metrics.photo import Photo

__all__ = ["AbRmse", "LMae", "PsnrAb", "PsnrRgb", "ab_rmse", "l_mae", "psnr_ab", "psnr_rgb"]

PEAK = 255
"""Peak value of 8-bit sRGB, and the span of a and b as 8-bit Lab encodes them (-128 to 127)."""


def psnr_rgb(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    r"""Peak signal-to-noise ratio on 8-bit sRGB, in decibels.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\mathrm{MSE}}

    with the mean squared error over all pixels and the three channels of one image.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        Decibels, from 0 (black against white) up; infinite where the two images are identical.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Notes
    -----
    The score of a set is the mean over its images [1]_, as the field reports it. Pooling the squared error
    of the set before taking the logarithm is another metric, typically more than 1 dB lower.

    References
    ----------
    .. [1] G. Larsson, M. Maire, G. Shakhnarovich, "Learning Representations for Automatic Colorization",
       ECCV 2016, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.full((8, 8, 3), 100, np.uint8)
    >>> round(psnr_rgb(truth, truth + 10), 2)
    28.13
    >>> psnr_rgb(truth, truth)
    inf
    """
    return each_pair(_psnr_rgb, truth_rgb8, pred_rgb8)


def psnr_ab(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Peak signal-to-noise ratio on the a and b of CIE Lab, in decibels, with peak 255.

    The formula of `psnr_rgb`, with the mean squared error over all pixels and the two channels. The peak 255
    is the span of a and b in 8-bit Lab (-128 to 127); a smaller peak p lowers every value by 20 log10(255 /
    p), for example 1.3 dB for 220.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        Decibels; infinite where the colours are identical.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.tile(np.uint8([200, 100, 50]), (8, 8, 1))
    >>> gray = np.tile(np.uint8([123, 123, 123]), (8, 8, 1))
    >>> round(psnr_ab(truth, gray), 2)
    15.86
    """
    return each_pair(_psnr_ab, truth_rgb8, pred_rgb8)


def ab_rmse(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    r"""Root mean squared error of a and b, in CIE Lab units.

    .. math:: \sqrt{\frac{1}{2n} \sum_{i=1}^{n} (a_i - \hat a_i)^2 + (b_i - \hat b_i)^2}

    over the n pixels of an image: the mean is over pixels *and* over the two channels.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (identical colours); the RMSE of each image alone.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Notes
    -----
    Times the square root of 2 it is the root mean square of the ab distance whose cumulative curve gives AuC.

    The score of a set (`AbRmse`) pools the pixels of all images before taking the root, as Larsson et al.
    [1]_ do ("averaged over all pixels"); it is not the mean of these numbers. Their published values are in
    their own scaled ab coordinates, not in CIE Lab units, and do not compare with these.

    References
    ----------
    .. [1] G. Larsson, M. Maire, G. Shakhnarovich, "Learning Representations for Automatic Colorization",
       ECCV 2016, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.tile(np.uint8([200, 100, 50]), (8, 8, 1))
    >>> gray = np.tile(np.uint8([123, 123, 123]), (8, 8, 1))
    >>> round(ab_rmse(truth, gray), 2)
    41.09
    """
    return each_pair(_ab_rmse, truth_rgb8, pred_rgb8)


def l_mae(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Mean absolute change of lightness L, in CIE Lab units.

    A colorization keeps the L of its input, so this is a check and not a score: joining foreign ab to the
    true L through 8 bits leaves a few tenths; more says that the method resized, re-encoded or changed the
    photo.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (same L everywhere) to 100 (black against white).

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((8, 8, 3), np.uint8)
    >>> round(l_mae(black, black + 255), 6)
    100.0
    """
    return each_pair(_l_mae, truth_rgb8, pred_rgb8)


def _psnr(sum_squared_error: float, n_values: int) -> float:
    if sum_squared_error == 0:
        return math.inf
    return 10.0 * math.log10(PEAK * PEAK * n_values / sum_squared_error)


def _psnr_rgb(truth: Photo, prediction: Photo) -> float:
    from evalkit.metrics._fidelity_kernel import sum_squared_difference

    require_same_size(truth, prediction)
    return _psnr(sum_squared_difference(truth.rgb8.ravel(), prediction.rgb8.ravel()), truth.rgb8.size)


def _ab_squared_error(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    parts = zip(truth.lab_parts(), prediction.lab_parts(), strict=True)
    return math.fsum(_sum_of_squares(true[1:] - own[1:]) for true, own in parts)


def _sum_of_squares(values: FloatArray) -> float:
    return float(np.sum(values * values))


def _psnr_ab(truth: Photo, prediction: Photo) -> float:
    return _psnr(_ab_squared_error(truth, prediction), 2 * truth.n_pixels)


def _ab_rmse(truth: Photo, prediction: Photo) -> float:
    return math.sqrt(_ab_squared_error(truth, prediction) / (2 * truth.n_pixels))


def _l_mae(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    parts = zip(truth.lab_parts(), prediction.lab_parts(), strict=True)
    return math.fsum(float(np.sum(np.abs(true[0] - own[0]))) for true, own in parts) / truth.n_pixels


class _MeanPsnr(MeanMetric):
    """What the two PSNR share: mean over the images that differ from their truth."""

    better = "higher"
    decimals = 2

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images, the peak value, and that infinite values are left out of the mean."""
        return {**super().fields, "peak": str(PEAK), "inf": "apart"}

    def n_identical(self, statistics: ImageStatistics) -> int:
        """Number of images equal to their truth: stored as infinity, left out of the mean."""
        return int(np.count_nonzero(np.isposinf(statistics.columns[self.name])))


class PsnrRgb(_MeanPsnr):
    """Mean over images of `psnr_rgb`."""

    name = "psnr_rgb"
    title = "PSNR"
    summary = "peak signal-to-noise ratio on 8-bit sRGB in dB, mean over images; identical ones apart"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Decibels; infinite for identical images."""
        return _psnr_rgb(truth, prediction)


class PsnrAb(_MeanPsnr):
    """Mean over images of `psnr_ab`."""

    name = "psnr_ab"
    title = "PSNR ab"
    summary = "peak signal-to-noise ratio on a and b of CIE Lab (peak 255) in dB, mean over images"

    @property
    def fields(self) -> Mapping[str, str]:
        """With the conversion to Lab."""
        return {"lab": LAB, **super().fields}

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Decibels; infinite for identical colours."""
        return _psnr_ab(truth, prediction)


class AbRmse(SumMetric):
    """Root mean squared error of a and b over all pixels of the set (see `ab_rmse`)."""

    name = "ab_rmse"
    title = "RMSE ab"
    better = "lower"
    scale = "log"
    decimals = 2
    summary = "root mean squared error over the a and b of all pixels, CIE Lab units (Larsson 2016)"

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """Sum over pixels and both channels of the squared error."""
        return {"ab_squared_error": np.float64}

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Squared error of a and b, summed over the image."""
        return (_ab_squared_error(truth, prediction),)

    def terms(self, statistics: ImageStatistics) -> FloatArray:
        """Squared error and number of values (two a pixel), shape (n, 2); zeros where unscored."""
        squared_error = statistics.columns["ab_squared_error"]
        is_scored = np.isfinite(squared_error)
        n_values = np.where(is_scored, 2.0 * statistics.n_pixels, 0.0)
        return np.column_stack([np.where(is_scored, squared_error, 0.0), n_values])

    def score(self, sums: FloatArray) -> FloatArray:
        """Root of the mean over all values; NaN when there is none."""
        return np.sqrt(share_of_sums(sums))

    @property
    def fields(self) -> Mapping[str, str]:
        """Pixels of the set pooled; the mean is over the two channels as well."""
        return {"lab": LAB, "agg": "pixel", "rmse": "per-channel"}


class LMae(MeanMetric):
    """Mean over images of `l_mae`."""

    name = "l_mae"
    title = "|dL|"
    better = "lower"
    scale = "log"
    decimals = 2
    summary = "mean absolute change of L (CIE Lab), mean over images: did the method keep the lightness?"

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images; the conversion to Lab."""
        return {"lab": LAB, **super().fields}

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Mean |dL| of one pair."""
        return _l_mae(truth, prediction)
