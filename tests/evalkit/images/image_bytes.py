"""Files of images as bytes, and what independent readers and plain arithmetic make of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """A file of Pillow's."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """A file of tifffile's."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_pillow(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def nearest_8_bit(samples: np.ndarray) -> np.ndarray:
    """Plain rounding in integers: 2 * 255 x + 65535 over 2 * 65535, rounded down."""
    return ((2 * 255 * samples.astype(np.int64) + 65535) // (2 * 65535)).astype(np.uint8)
