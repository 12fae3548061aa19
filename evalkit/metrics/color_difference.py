"""CIEDE2000, the CIE's colour difference."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.color.colorspace import LAB
from evalkit.errors import InputError
from evalkit.metrics._arrays import each_pair, require_same_size
from evalkit.metrics.base import MeanMetric
from evalkit.metrics.photo import Photo

__all__ = ["Ciede2000", "ciede2000", "ciede2000_lab"]


def ciede2000(truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float | FloatArray:
    """Mean CIEDE2000 colour difference over the pixels of an image.

    The images are converted from sRGB to CIE Lab (D65, 2 degree observer); the formula is that of
    `ciede2000_lab`.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        From 0 (identical); 1 is about the smallest difference seen, black against white is 100.

    Raises
    ------
    InputError
        If either is no 8-bit sRGB image or batch, or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((8, 8, 3), np.uint8)
    >>> round(ciede2000(black, black + 255), 2)
    100.0
    """
    return each_pair(_ciede2000, truth_rgb8, pred_rgb8)


def ciede2000_lab(lab_1: npt.ArrayLike, lab_2: npt.ArrayLike) -> FloatArray:
    """CIEDE2000 colour difference of each pair of Lab colours, with k_L = k_C = k_H = 1.

    Parameters
    ----------
    lab_1, lab_2 : array_like of float, shape (..., 3)
        CIE L, a, b in their own units (L from 0 to 100); both of one shape.

    Returns
    -------
    ndarray of float64, shape (...)
        dE00, from 0; NaN where an input is NaN.

    Raises
    ------
    InputError
        If the last axis is not 3, the shapes differ, or the values are 8-bit.

    Notes
    -----
    Equal to the formula of Sharma et al. [1]_ within 1e-11. Hues exactly opposite each other, where the
    formula is discontinuous, take the arithmetic mean of the two hue angles as the text says, undisturbed by
    rounding.

    References
    ----------
    .. [1] G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes,
       Supplementary Test Data, and Mathematical Observations", Color Research & Application 30(1), 2005.

    Examples
    --------
    >>> round(float(ciede2000_lab([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485])), 4)
    2.0425
    """
    first, second = np.asarray(lab_1), np.asarray(lab_2)
    if first.shape != second.shape or first.ndim == 0 or first.shape[-1] != 3:
        raise InputError(f"expected two Lab arrays of one shape (..., 3), got {first.shape} and {second.shape}")
    for name, array in (("lab_1", first), ("lab_2", second)):
        if array.dtype == np.uint8:
            raise InputError(
                f"{name}: expected L, a and b in CIE units, got 8-bit values (see evalkit.color.colorspace)"
            )
    planes = [np.moveaxis(lab, -1, 0).reshape(3, -1).astype(np.float64, order="C") for lab in (first, second)]
    return _differences(*planes).reshape(first.shape[:-1])


def _differences(lab_1: FloatArray, lab_2: FloatArray) -> FloatArray:
    """CIEDE2000 of two lists of colours as planes, shape (3, n) to (n,)."""
    from evalkit.metrics._ciede2000_kernel import color_differences

    differences = np.empty(lab_1.shape[1])
    color_differences(lab_1[0], lab_1[1], lab_1[2], lab_2[0], lab_2[1], lab_2[2], differences)
    return differences


def _ciede2000(truth: Photo, prediction: Photo) -> float:
    require_same_size(truth, prediction)
    parts = zip(truth.lab_parts(), prediction.lab_parts(), strict=True)
    return math.fsum(float(np.sum(_differences(true, own))) for true, own in parts) / truth.n_pixels


class Ciede2000(MeanMetric):
    """Mean over images of `ciede2000`."""

    name = "ciede2000"
    title = "CIEDE2000"
    better = "lower"
    scale = "log"
    decimals = 2
    summary = "CIEDE2000 colour difference, mean over pixels, then over images (Sharma 2005)"

    def value(self, truth: Photo, prediction: Photo) -> float:
        """Mean dE00 of one pair."""
        return _ciede2000(truth, prediction)

    @property
    def fields(self) -> Mapping[str, str]:
        """The conversion to Lab, mean over images, the three parametric factors."""
        return {"lab": LAB, **super().fields, "kLCH": "1"}
