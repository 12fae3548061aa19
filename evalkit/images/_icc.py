"""Colours from the space an embedded ICC profile names to sRGB.

The intent is relative colorimetric without black point compensation: a colour that sRGB can show keeps its
CIE coordinates (relative to the white), any other is clipped by LittleCMS to the gamut. For the matrix
profiles that cameras and browsers write (Display P3, Adobe RGB) every intent gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from evalkit.arrays import Rgb8

__all__ = ["ProfileError", "SrgbTransform", "srgb_transform"]


class ProfileError(ValueError):
    """The profile cannot be used for this image; the message says why."""


class SrgbTransform(NamedTuple):
    """How the pixels of files with one profile become sRGB."""

    description: str
    """The profile's own name."""
    apply: Callable[[Rgb8], Rgb8] | None
    """From pixels of shape (H, W, 3) to sRGB; None where the profile is sRGB already."""


@lru_cache(maxsize=64)
def srgb_transform(profile: bytes, gray_file: bool) -> SrgbTransform:
    """Transform from an ICC profile to sRGB.

    A profile counts as sRGB by what it does, not by its name: when it moves no colour of a 33 x 33 x 33 lattice by
    more than one 8-bit step (the rounding of the many sRGB profiles in use), the pixels are left exactly as they
    are. A gray file stays exactly gray, and may carry an RGB profile (gray is then R = G = B).

    Raises
    ------
    ProfileError
        When the profile is damaged or describes another kind of image (say, a CMYK profile in an RGB file).
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        description = (ImageCms.getProfileDescription(source) or "").strip() or "unnamed"
        mode = {"RGB": "RGB", "GRAY": "L"}.get(space)
        if mode is None or (mode == "L" and not gray_file):
            raise ProfileError(f"its ICC profile '{description}' is for {space} images")
        to_srgb = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Slow and exact for the 256 grays, fast and within 0.75 of a step for colours.
            flags=ImageCms.Flags.NOOPTIMIZE if gray_file else ImageCms.Flags.NONE,
        )
    except ProfileError:
        raise
    except Exception as error:  # LittleCMS reports damage through several kinds of exception
        raise ProfileError(f"its ICC profile cannot be used ({error})") from error

    def convert(rgb8: Rgb8) -> Rgb8:
        image = Image.fromarray(rgb8)
        converted = ImageCms.applyTransform(image if mode == "RGB" else image.getchannel("G"), to_srgb)
        return np.array(converted)

    probe = _grays() if gray_file else _lattice()
    converted = convert(probe)
    if np.abs(converted.astype(np.int16) - probe).max() <= 1:
        return SrgbTransform(description, None)
    table = converted[0, :, 1]
    return SrgbTransform(description, table.__getitem__ if gray_file else convert)


def _grays() -> Rgb8:
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def _lattice() -> Rgb8:
    steps = np.linspace(0, 255, 33).round().astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(33, 33 * 33, 3)
