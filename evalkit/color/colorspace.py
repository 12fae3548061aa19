"""sRGB to CIE Lab and back: the float64 reference, and the fast path that every metric reads.

Reference white D65 for the 2 degree observer (0.95047, 1, 1.08883), the sRGB transfer curve of IEC 61966-2-1, and the
CIE 1976 L*a*b* formulae: the conversion of scikit-image's ``rgb2lab``, which is the field's reference. OpenCV, Pillow
and colour-science disagree with it by up to 2.3, 12.7 and 0.03 units of ab, too much for a number in a table.

The fast path computes in float64 as well; only its cube root differs (table look-up of the transfer curve, a bit-level
first guess, one Halley step in float32 and one in float64). Over the whole 256^3 cube its ab differ from the reference
by less than 1e-9, so error histograms are equal pixel by pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AB_LIMITS", "LAB", "lab_planes", "lab_to_srgb", "lab_to_srgb8", "srgb8_to_lab", "srgb_to_lab"]

from evalkit.arrays import BoolArray, FloatArray
from evalkit.color._kernel_helper import kernel, pointer_at, pointer_to

LAB = "sk-D65"
"""How signatures call this conversion: as scikit-image, D65 white point, 2 degree observer."""

XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
"""Linear sRGB to CIE XYZ (D65), six digits as in ITU-R BT.709 practice; the matrix scikit-image uses."""

RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
"""XYZ of the reference white: D65, 2 degree observer."""

AB_LIMITS = ((-86.2, 98.3), (-107.9, 94.5))
"""Range of a and of b over all 8-bit sRGB colours, rounded outwards."""

# CIE's linear branch near black, with the rounded constants that the reference implementation uses.
_EPSILON = 0.008856
_KAPPA = 7.787
_OFFSET = 16.0 / 116.0


def _linear_from_srgb(value: FloatArray) -> FloatArray:
    """SRGB transfer curve undone (IEC 61966-2-1): [0, 1] to [0, 1]."""
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def srgb_from_linear(value: FloatArray) -> FloatArray:
    """SRGB transfer curve (IEC 61966-2-1): [0, 1] to [0, 1]; negative values stay on the linear branch."""
    return np.where(value > 0.0031308, 1.055 * np.maximum(value, 0.0) ** (1 / 2.4) - 0.055, value * 12.92)


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
    xyz = _linear_from_srgb(np.asarray(rgb, dtype=np.float64)) @ XYZ_FROM_RGB.T / WHITE_D65
    fx, fy, fz = np.moveaxis(np.where(xyz > _EPSILON, np.cbrt(xyz), _KAPPA * xyz + _OFFSET), -1, 0)
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
    xyz = np.where(f > 0.2068966, f**3, (f - _OFFSET) / _KAPPA) * WHITE_D65
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


_LINEAR_TABLE = _linear_from_srgb(np.arange(256) / 255.0)
_TO_XYZ = (XYZ_FROM_RGB / WHITE_D65[:, None]).ravel()
_MATRIX = tuple(_TO_XYZ.tolist())
_THREE, _ROOT_BITS = np.int32(3), np.int32(709921077)
_CHUNK = 2048  # pixels a pass: the eleven buffers below stay inside the first two cache levels


@kernel(fastmath={"contract"})
def _lab_planes(rgb: Any, floats: Any, floats32: Any, bits32: Any, lightness: Any, a: Any, b: Any) -> None:
    """Fill three planes; the first three after `rgb` are what `_work_space` gives."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX
    table, t32, bits = pointer_to(_LINEAR_TABLE), pointer_to(floats32), pointer_to(bits32)
    red = pointer_to(floats)
    green, blue, t = pointer_at(red, _CHUNK), pointer_at(red, 2 * _CHUNK), pointer_at(red, 3 * _CHUNK)
    t_y, t_z = pointer_at(t, _CHUNK), pointer_at(t, 2 * _CHUNK)
    n = lightness.size
    for start in range(0, n, _CHUNK):
        size = n - start if n - start < _CHUNK else _CHUNK
        pixels = pointer_at(pointer_to(rgb), 3 * start)
        for i in range(size):
            red[i], green[i], blue[i] = table[pixels[3 * i]], table[pixels[3 * i + 1]], table[pixels[3 * i + 2]]
        for i in range(size):
            t[i] = m00 * red[i] + m01 * green[i] + m02 * blue[i]
            t_y[i] = m10 * red[i] + m11 * green[i] + m12 * blue[i]
            t_z[i] = m20 * red[i] + m21 * green[i] + m22 * blue[i]
        for i in range(3 * _CHUNK):
            t32[i] = np.float32(t[i])
        for i in range(3 * _CHUNK):
            # A float's bits are close to its logarithm: a third of them is a cube root to within 3.5 %.
            bits[i] = bits[i] // _THREE + _ROOT_BITS
        for i in range(3 * _CHUNK):
            # Halley: the error is cubed each time, 3.5e-2 -> 3e-5 in float32 -> 1e-14 in float64.
            x32 = np.float32(t[i])
            y32 = t32[i]
            c32 = y32 * y32 * y32
            y32 = y32 * (c32 + x32 + x32) / (c32 + c32 + x32)
            x = t[i]
            y = np.float64(y32)
            c = y * y * y
            root = y * (c + x + x) / (c + c + x)
            t[i] = root if x > _EPSILON else _KAPPA * x + _OFFSET
        to_lightness, to_a, to_b = (
            pointer_at(pointer_to(lightness), start),
            pointer_at(pointer_to(a), start),
            pointer_at(pointer_to(b), start),
        )
        for i in range(size):
            fx, fy, fz = t[i], t_y[i], t_z[i]
            to_lightness[i] = 116.0 * fy - 16.0
            to_a[i] = 500.0 * (fx - fy)
            to_b[i] = 200.0 * (fy - fz)


def _work_space() -> tuple[Any, ...]:
    """Chunks for `_lab_planes`; the last is the one before it as whole numbers, bit by bit."""
    t32 = np.empty(3 * _CHUNK, np.float32)
    # Ones, as the part of the last chunk that no pixel fills is computed too.
    return np.ones(6 * _CHUNK), t32, t32.view(np.int32)


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
    flat = np.ascontiguousarray(rgb8).reshape(-1)
    planes = np.empty((3, flat.size // 3), np.float64)
    _lab_planes(flat, *_work_space(), *planes)
    return planes
