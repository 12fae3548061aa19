"""Colours from the space an embedded ICC profile names to sRGB.

The intent is relative colorimetric without black point compensation: a colour that sRGB can show keeps its
CIE coordinates (relative to the white), any other is clipped by LittleCMS to the gamut. For the matrix
profiles that cameras and browsers write (Display P3, Adobe RGB) every intent gives the same numbers.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from evalkit.metrics.base import Rgb8

__all__ = ["ProfileError", "SrgbTransform", "apply_transform", "srgb_transform"]


class ProfileError(ValueError):
    """The profile cannot be used for this image; the message says why."""


class SrgbTransform(NamedTuple):
    """How the pixels of one profile become sRGB."""

    description: str
    """The profile's own name."""
    mode: str
    """``"RGB"`` or ``"L"``: what the profile describes."""
    transform: ImageCms.ImageCmsTransform | None
    """None where the profile is sRGB already."""


@lru_cache(maxsize=64)
def srgb_transform(profile: bytes, gray_file: bool) -> SrgbTransform:
    """Transform from an ICC profile to sRGB.

    A profile counts as sRGB by what it does, not by its name: when it moves no colour of a 33 x 33 x 33
    lattice by more than one 8-bit step (the rounding of the many sRGB profiles in use), the pixels are left
    exactly as they are.

    Raises
    ------
    ProfileError
        When the profile is damaged or describes another kind of image (say, a CMYK profile in an RGB file).
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        description = (ImageCms.getProfileDescription(source) or "").strip() or "unnamed"
        # A gray file may carry an RGB profile (gray is then R = G = B), but not the other way round.
        mode = {"RGB": "RGB", "GRAY": "L"}.get(space)
        if mode is None or (mode == "L" and not gray_file):
            raise ProfileError(f"its ICC profile '{description}' is for {space} images")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except ProfileError:
        raise
    except Exception as error:  # LittleCMS reports damage through several kinds of exception
        raise ProfileError(f"its ICC profile cannot be used ({error})") from error
    probe = _probe(mode)
    moved = np.abs(_transformed(probe, mode, transform).astype(np.int16) - probe).max()
    return SrgbTransform(description, mode, None if moved <= 1 else transform)


def apply_transform(rgb8: Rgb8, to_srgb: SrgbTransform, *, gray_file: bool) -> Rgb8:
    """Convert pixels of shape (H, W, 3); a gray file stays exactly gray."""
    if to_srgb.transform is None:
        return rgb8
    converted = _transformed(rgb8, to_srgb.mode, to_srgb.transform)
    if gray_file:
        converted[..., 0] = converted[..., 2] = converted[..., 1]
    return converted


def _transformed(rgb8: Rgb8, mode: str, transform: ImageCms.ImageCmsTransform) -> Rgb8:
    source = Image.fromarray(rgb8 if mode == "RGB" else np.ascontiguousarray(rgb8[..., 1]))
    converted = ImageCms.applyTransform(source, transform)
    assert converted is not None  # None is returned for in-place conversion alone
    return np.array(converted)


def _probe(mode: str) -> Rgb8:
    """Colours that tell profiles apart: a lattice of the cube, or all grays."""
    if mode == "L":
        return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps = np.linspace(0, 255, 33).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return lattice.reshape(33, 33 * 33, 3)
