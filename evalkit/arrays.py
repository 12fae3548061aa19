"""The array types of the whole project: what a name in a signature promises about dtype.

Shapes and ranges stand in the docstring of whoever takes or returns one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "FloatArray", "IntArray", "Rgb8", "TextArray"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
TextArray = npt.NDArray[np.str_]

Rgb8 = npt.NDArray[np.uint8]
"""An image as its file holds it: (height, width, 3), sRGB, 0..255."""
