"""sRGB to CIE Lab and back: the float64 reference, and the fast path that every metric reads.

Reference white D65 for the 2 degree observer (0.95047, 1, 1.08883), the sRGB transfer curve of IEC 61966-2-1, and the
CIE 1976 L*a*b* formulae: the conversion of scikit-image's ``rgb2lab``, which is the field's reference. OpenCV, Pillow
and colour-science disagree with it by up to 2.3, 12.7 and 0.03 units of ab, too much for a number in a table.

The fast path computes in float64 as well; only its cube root differs (table look-up of the transfer curve, a bit-level
first guess, one Halley step in float32 and one in float64). Over the whole 256^3 cube its ab differ from the reference
by less than 1e-9, so error histograms are equal pixel by pixel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["AB_LIMITS", "LAB", "lab_planes", "lab_to_srgb", "lab_to_srgb8", "srgb8_to_lab", "srgb_to_lab"]

from evalkit.arrays import BoolArray, FloatArray
from evalkit.color.lab_definition import (
    EPSILON,
    JOINT,
    KAPPA,
    OFFSET,
    RGB_FROM_XYZ,
    WHITE_D65,
    XYZ_FROM_RGB,
    linear_from_srgb,
    srgb_from_linear,
)

LAB = "sk-D65"
"""How signatures call this conversion: as scikit-image, D65 white point, 2 degree observer."""

AB_LIMITS = ((-86.2, 98.3), (-107.9, 94.5))
"""Range of a and of b over all 8-bit sRGB colours, rounded outwards."""


def srgb_to_lab(rgb: npt.ArrayLike) -> FloatArray:
    """Convert sRGB in [0, 1] to CIE Lab: the float64 reference path.

    Parameters
    ----------
    rgb : array_like of float, shape (..., 3)
        Gamma-encoded sRGB, 0..1.

    Returns
    -------
    ndarray of float64, shape (..., 3)
        L in 0..100, a and b in CIE Lab units.

    Examples
    --------
    >>> import numpy as np
    >>> np.round(srgb_to_lab([1.0, 0.0, 0.0]), 2).tolist()
    [53.24, 80.09, 67.2]
    """
    xyz = linear_from_srgb(np.asarray(rgb, dtype=np.float64)) @ XYZ_FROM_RGB.T / WHITE_D65
    fx, fy, fz = np.moveaxis(np.where(xyz > EPSILON, np.cbrt(xyz), KAPPA * xyz + OFFSET), -1, 0)
    return np.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], axis=-1)


def srgb8_to_lab(rgb8: npt.ArrayLike) -> FloatArray:
    """Convert 8-bit sRGB to CIE Lab: the float64 reference path.

    Parameters
    ----------
    rgb8 : array_like of uint8, shape (..., 3)

    Returns
    -------
    ndarray of float64, shape (..., 3)
    """
    return srgb_to_lab(np.asarray(rgb8, dtype=np.uint8) / 255.0)


def lab_to_srgb(lab: npt.ArrayLike) -> FloatArray:
    """Convert CIE Lab to sRGB, unclipped: values outside [0, 1] are outside the sRGB gamut.

    Parameters
    ----------
    lab : array_like of float, shape (..., 3)

    Returns
    -------
    ndarray of float64, shape (..., 3)
    """
    lab = np.asarray(lab, dtype=np.float64)
    fy = (lab[..., 0] + 16.0) / 116.0
    f = np.stack([fy + lab[..., 1] / 500.0, fy, fy - lab[..., 2] / 200.0], axis=-1)
    # Below the joint of the two branches f is linear in XYZ; a strongly blue b can push it below zero there.
    xyz = np.where(f > JOINT, f**3, (f - OFFSET) / KAPPA) * WHITE_D65
    return srgb_from_linear(xyz @ RGB_FROM_XYZ.T)


def lab_to_srgb8(lab: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], BoolArray]:
    """Convert CIE Lab to 8-bit sRGB, rounded, and say which pixels had to be clipped into the gamut.

    Parameters
    ----------
    lab : array_like of float, shape (..., 3)

    Returns
    -------
    rgb8 : ndarray of uint8, shape (..., 3)
        Rounded to nearest: truncation would change 82 % of the colours in a round trip.
    clipped : ndarray of bool, shape (...)
        Where any channel lay outside 0..255 by more than half a step.
    """
    scaled = np.rint(lab_to_srgb(lab) * 255.0)
    clipped = np.any((scaled < 0) | (scaled > 255), axis=-1)
    return np.clip(scaled, 0, 255).astype(np.uint8), clipped


def lab_planes(rgb8: npt.NDArray[np.uint8]) -> FloatArray:
    """Convert an 8-bit sRGB image to CIE Lab planes: the fast path.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (..., 3)

    Returns
    -------
    ndarray of float64, shape (3, n)
        L, a and b of the n pixels in C order; a and b within 1e-9 of `srgb8_to_lab`.
    """
    from evalkit.color._lab_kernel import fill_lab_planes, work_space  # not before: numba takes half a second

    flat = np.ascontiguousarray(rgb8).reshape(-1)
    planes = np.empty((3, flat.size // 3), np.float64)
    fill_lab_planes(flat, *work_space(), *planes)
    return planes
