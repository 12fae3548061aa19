"""Folders of small pictures to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from evalkit.color.colorspace import lab_to_srgb8


def write_crops(folder: Path, photos: dict[str, np.ndarray], per_photo: int = 2, side: int = 96) -> Path:
    """Crops of real photos as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, photo in photos.items():
        for k in range(per_photo):
            left = 40 + k * (photo.shape[1] - side - 80) // max(1, per_photo - 1)
            Image.fromarray(photo[60 : 60 + side, left : left + side]).save(folder / f"{name}-{k}.png")
    return folder


def rule_picture(number: int, side: int = 64) -> np.ndarray:
    """A picture of soft blobs whose colour follows from its lightness: dark is orange, bright is blue."""
    noise = gaussian_filter(np.random.default_rng(number).normal(size=(side, side)), 8, mode="wrap")
    bright = 1 / (1 + np.exp(-4 * noise / noise.std()))
    lab = np.stack([30 + 50 * bright, 25 - 25 * bright, 40 - 75 * bright], axis=-1)
    return lab_to_srgb8(lab)[0]


def write_rule_pictures(folder: Path, numbers: range) -> Path:
    """Pictures of `rule_picture` as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(rule_picture(number)).save(folder / f"{number:03d}.png")
    return folder
