"""One decoded image and what metrics derive from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.arrays import FloatArray, Rgb8
from evalkit.color.row_parts import is_large, row_parts

if TYPE_CHECKING:
    import torch

__all__ = ["Photo"]


class Photo:
    """One decoded image together with what metrics derive from it, each derived at most once.

    The scoring run makes one ``Photo`` per file: the truth's is shared by every method and every metric.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels, C-contiguous.
    """

    def __init__(self, rgb8: Rgb8) -> None:
        self.rgb8: Rgb8 = np.ascontiguousarray(rgb8)
        self.derived: dict[Any, Any] = {}
        """Room for a metric family's own intermediate results (say, the filtered truth of SSIM), by key."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb8.shape[0], self.rgb8.shape[1]

    @property
    def n_pixels(self) -> int:
        """Number of pixels, H * W."""
        return int(self.rgb8.shape[0] * self.rgb8.shape[1])

    @cached_property
    def digest(self) -> str:
        """sha256 of shape and pixels, in hexadecimal: photos of equal digest are scored alike."""
        digest = hashlib.sha256(f"{self.shape} ".encode())
        digest.update(self.rgb8.data)
        return digest.hexdigest()

    @cached_property
    def lab(self) -> FloatArray:
        """CIE Lab planes (L, a, b): float64, shape (3, H * W), from the fast path of `evalkit.color.colorspace`."""
        from evalkit.color.colorspace import lab_planes

        return lab_planes(self.rgb8)

    def on(self, device: torch.device) -> torch.Tensor:
        """The pixels on a device, uint8, shape (H, W, 3): uploaded once, for all networks that start from them."""
        key = ("on", device)
        if key not in self.derived:
            from evalkit.networks.devices import uploaded

            self.derived[key] = uploaded(self.rgb8, device)
        pixels: torch.Tensor = self.derived[key]
        return pixels

    @property
    def is_large(self) -> bool:
        """Whether metrics work through it in parts: more than 4 megapixels (`evalkit.color.row_parts.WHOLE_PIXELS`)."""
        return is_large(self.rgb8)

    def lab_rows(self, rows: slice) -> FloatArray:
        """CIE Lab planes of some rows, float64, shape (3, n_rows * W); of a large photo they are found anew each time.

        Parameters
        ----------
        rows : slice
            From its first row to before its last, both given.
        """
        if not self.is_large:
            width = self.shape[1]
            return self.lab[:, rows.start * width : rows.stop * width]
        from evalkit.color.colorspace import lab_planes

        return lab_planes(self.rgb8[rows])

    def lab_parts(self) -> Iterator[FloatArray]:
        """CIE Lab planes from top to bottom: `lab` itself, or, of a large photo, one part of its rows after another.

        Yields
        ------
        ndarray of float64, shape (3, n)
            Parts of photos of one size have one size, and together all H * W pixels.
        """
        for rows in row_parts(self.rgb8):
            yield self.lab_rows(rows)
