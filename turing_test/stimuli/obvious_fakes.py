"""Catch trials: fakes that nobody who looks at the screen takes for real.

Hues are turned by 150 degrees (blue faces, purple grass) and chroma is raised, in CIE Lab with L kept: brightness and
texture stay those of the photo, only its colours are wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.arrays import BoolArray, FloatArray, Rgb8

__all__ = ["obvious_fake"]

HUE_TURN = 150.0  # degrees: far from every natural variant, and not the complementary that some objects also have
OVERSATURATION = 1.8
LEAST_CHROMA = 35.0  # mean, before the gamut limits it: what a pale photo is raised to
MOST_OVERSATURATION = 8.0  # beyond it, noise of nearly gray pixels would turn into confetti
TINT = (45.0, -35.0)  # magenta, added to photos with too little colour to turn
PALE = 20.0  # mean chroma below which the tint is added


def obvious_fake(rgb8: Rgb8) -> Rgb8:
    """Turn the hues of a photo and oversaturate it.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        The photo, sRGB.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        L is that of the photo within the rounding to 8 bits: where sRGB cannot show a colour, its chroma is lowered,
        hue and L kept.
    """
    import numpy as np

    from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab

    lab = srgb8_to_lab(rgb8)
    ab = lab[..., 1] + 1j * lab[..., 2]
    mean_chroma = float(np.abs(ab).mean())
    factor = min(max(OVERSATURATION, LEAST_CHROMA / max(mean_chroma, 1e-9)), MOST_OVERSATURATION)
    ab = factor * np.exp(1j * np.deg2rad(HUE_TURN)) * ab
    if factor * mean_chroma < PALE:
        ab = ab + complex(*TINT)
    return lab_to_srgb8(_into_gamut(np.stack([lab[..., 0], ab.real, ab.imag], axis=-1)))[0]


def _into_gamut(lab: FloatArray) -> FloatArray:
    """Lower chroma at constant L and hue until sRGB can show the colour (bisection to 1/256 of the chroma)."""
    import numpy as np

    from evalkit.color.colorspace import lab_to_srgb

    def shown(share: FloatArray) -> BoolArray:
        rgb = lab_to_srgb(lab * np.stack([np.ones_like(share), share, share], axis=-1))
        # Half a step of 8 bits of tolerance: the gray axis itself is off by rounding of the matrices.
        return np.all((rgb >= -0.5 / 255) & (rgb <= 1 + 0.5 / 255), axis=-1)  # type: ignore[no-any-return]

    low, high = np.zeros(lab.shape[:-1]), np.ones(lab.shape[:-1])
    inside = shown(high)
    for _ in range(8):
        middle = 0.5 * (low + high)
        fits = shown(middle)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    share = np.where(inside, 1.0, low)
    limited: FloatArray = lab * np.stack([np.ones_like(share), share, share], axis=-1)
    return limited
