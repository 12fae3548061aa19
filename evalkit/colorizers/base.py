"""What a built-in method is: it colours one image at a time, perhaps with the help of one other image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8

__all__ = ["BUILTIN_METHODS", "BuiltinMethod"]

BUILTIN_METHODS = ("truth", "gray", "random")
"""Names of the methods that need no folder of colorizations: the anchors of every table."""


class BuiltinMethod(Protocol):
    """A method that makes its colours from the true photos themselves.

    It addresses the images of a set by index and never reads a file: whoever runs it (the scoring run in
    memory, `colorize_folder` on disk) decodes what it asks for. Instances can be pickled.
    """

    @property
    def name(self) -> str:
        """Name of the method in tables and on the command line."""

    def donor(self, i: int) -> int | None:
        """Index of the other image that colouring image ``i`` needs; None if it needs no other."""

    def colorize(self, truth_rgb8: Rgb8, donor_rgb8: Rgb8 | None) -> tuple[Rgb8, int]:
        """Colour one image.

        Parameters
        ----------
        truth_rgb8 : ndarray of uint8, shape (H, W, 3)
            The true photo, sRGB.
        donor_rgb8 : ndarray of uint8, shape (H', W', 3), or None
            The photo that `donor` asked for.

        Returns
        -------
        rgb8 : ndarray of uint8, shape (H, W, 3)
            What an 8-bit file of the colorization would hold.
        n_clipped : int
            Pixels whose colour lay outside the sRGB gamut and was clipped.
        """
