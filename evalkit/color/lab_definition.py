"""What the conversions between sRGB and CIE Lab are made of: matrix, reference white, transfer curve, and CIE's f.

Apart from `evalkit.color.colorspace`, since compiled kernels read it too.
"""

from __future__ import annotations

import numpy as np

from evalkit.arrays import FloatArray

__all__ = [
    "EPSILON",
    "JOINT",
    "KAPPA",
    "LINEAR_TABLE",
    "OFFSET",
    "RGB_FROM_XYZ",
    "TO_XYZ",
    "WHITE_D65",
    "XYZ_FROM_RGB",
    "linear_from_srgb",
    "srgb_from_linear",
]

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

# CIE's linear branch near black, with the rounded constants that the reference implementation uses.
EPSILON = 0.008856
KAPPA = 7.787
OFFSET = 16.0 / 116.0
JOINT = 0.2068966
"""Value of f where its two branches meet."""


def linear_from_srgb(value: FloatArray) -> FloatArray:
    """SRGB transfer curve undone (IEC 61966-2-1): [0, 1] to [0, 1]."""
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def srgb_from_linear(value: FloatArray) -> FloatArray:
    """SRGB transfer curve (IEC 61966-2-1): [0, 1] to [0, 1]; negative values stay on the linear branch."""
    return np.where(value > 0.0031308, 1.055 * np.maximum(value, 0.0) ** (1 / 2.4) - 0.055, value * 12.92)


LINEAR_TABLE = linear_from_srgb(np.arange(256) / 255.0)
"""Linear light of each byte."""
TO_XYZ = (XYZ_FROM_RGB / WHITE_D65[:, None]).ravel()
"""`XYZ_FROM_RGB` over the reference white, row by row."""
