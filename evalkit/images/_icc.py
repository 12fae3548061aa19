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

__all__ = ["ProfileError", "SrgbTransform", "cmyk_to_srgb", "srgb_transform"]


class ProfileError(ValueError):
    """The profile cannot be used for this image; the message says why."""


class SrgbTransform(NamedTuple):
    """How the pixels of files with one profile become sRGB."""

    note: str
    """What is done because of the profile; empty where the pixels stay as they are."""
    apply: Callable[[Rgb8], Rgb8] | None
    """From pixels of shape (H, W, 3) to sRGB; None where they stay as they are."""


@lru_cache(maxsize=64)
def srgb_transform(profile: bytes, gray_file: bool) -> SrgbTransform:
    """Transform from an ICC profile to sRGB.

    A profile counts as sRGB by what it does, not by its name: when it moves no colour of a 33 x 33 x 33 lattice by
    more than one 8-bit step (the rounding of the many sRGB profiles in use), the pixels are left exactly as they
    are. A gray file stays exactly gray, and may carry an RGB profile (gray is then R = G = B). A profile for another kind
    of image (gray or CMYK, in an RGB file) says nothing about the pixels: it is ignored with a note, as libpng and
    browsers do.

    Raises
    ------
    ProfileError
        When the profile is damaged.
    """
    try:
        source, space, description = _opened(profile)
        mode = {"RGB": "RGB", "GRAY": "L"}.get(space)
        if mode is None or (mode == "L" and not gray_file):
            return SrgbTransform(f"ICC profile '{description}' is for {space} images and was ignored", None)
        to_srgb = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Slow and exact for the 256 grays, fast and within 0.75 of a step for colours.
            flags=ImageCms.Flags.NOOPTIMIZE if gray_file else ImageCms.Flags.NONE,
        )
    except Exception as error:  # LittleCMS reports damage through several kinds of exception
        raise ProfileError(f"its ICC profile cannot be used ({error})") from error

    def convert(rgb8: Rgb8) -> Rgb8:
        image = Image.fromarray(rgb8)
        converted = ImageCms.applyTransform(image if mode == "RGB" else image.getchannel("G"), to_srgb)
        return np.array(converted)

    probe = _grays() if gray_file else _lattice()
    converted = convert(probe)
    if np.abs(converted.astype(np.int16) - probe).max() <= 1:
        return SrgbTransform("", None)
    table = converted[0, :, 1]
    note = f"ICC profile '{description}' converted to sRGB"
    return SrgbTransform(note, table.__getitem__ if gray_file else convert)


def _opened(profile: bytes) -> tuple[ImageCms.ImageCmsProfile, str, str]:
    """A profile with its colour space and its own name."""
    opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    description = (ImageCms.getProfileDescription(opened) or "").strip() or "unnamed"
    return opened, opened.profile.xcolor_space.strip(), description


def cmyk_to_srgb(cmyk8: Rgb8, profile: bytes | None) -> tuple[Rgb8, str]:
    """Colours of inks, through the file's own profile where it has one.

    Parameters
    ----------
    cmyk8 : ndarray of uint8, shape (H, W, 4)
        Shares of cyan, magenta, yellow and black ink, 255 for full cover.
    profile : bytes or None
        The embedded ICC profile. Without one, or with one that is not for CMYK, the colours are those that viewers
        show: R = (1 - C)(1 - K), and so on.

    Returns
    -------
    rgb8 : ndarray of uint8, shape (H, W, 3)
    note : str
        How it was done.

    Raises
    ------
    ProfileError
        When the profile is damaged.
    """
    image = Image.fromarray(cmyk8, "CMYK")
    if profile is not None:
        try:
            source, space, description = _opened(profile)
            if space == "CMYK":
                to_srgb = ImageCms.buildTransform(
                    source,
                    ImageCms.createProfile("sRGB"),
                    "CMYK",
                    "RGB",
                    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                )
                return np.array(
                    ImageCms.applyTransform(image, to_srgb)
                ), f"CMYK converted by its profile '{description}'"
        except Exception as error:  # LittleCMS reports damage through several kinds of exception
            raise ProfileError(f"its ICC profile cannot be used ({error})") from error
    return np.array(image.convert("RGB")), "CMYK without a profile, converted by R = (1 - C)(1 - K)"


def _grays() -> Rgb8:
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def _lattice() -> Rgb8:
    steps = np.linspace(0, 255, 33).round().astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(33, 33 * 33, 3)
