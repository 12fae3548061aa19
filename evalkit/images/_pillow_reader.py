"""Reading with Pillow what the fast decoders do not: palettes, 16 bits, WebP, TIFF, BMP, rare PNG or JPEG."""

from __future__ import annotations

import sys
import warnings
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from evalkit.arrays import Rgb8
from evalkit.images._headers import MalformedImage, exif_orientation

__all__ = ["StoredImage", "UnusableImage", "check_size", "opaque_rgb", "read_with_pillow"]

GRAY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX")
MODE_NAMES = {
    "CMYK": "CMYK inks",
    "F": "floating-point numbers",
    "I": "signed or 32-bit integers",
    "LAB": "CIE Lab",
    "YCbCr": "YCbCr",
}
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION = 258, 262, 274  # TIFF 6.0 tags
MIN_IS_WHITE = 0


class UnusableImage(Exception):
    """Why a file that may well be intact cannot be scored, as the second half of a sentence."""


class StoredImage(NamedTuple):
    """Pixels as the file stores them, and what is still to be applied to them."""

    rgb8: Rgb8
    is_gray: bool
    icc: bytes | None
    orientation: int
    notes: tuple[str, ...] = ()


def read_with_pillow(data: bytes, kind: str) -> StoredImage:
    """Read the bytes of one image file.

    Raises
    ------
    MalformedImage
        When Pillow finds the file damaged or truncated.
    UnusableImage
        When it has several frames, transparent pixels, or samples without a defined sRGB meaning.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, and of large images, which `check_size` refuses.
            warnings.simplefilter("ignore")
            return _read(data, kind)
    except (MalformedImage, UnusableImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UnusableImage(f"is too large: {str(error).rstrip('.')}") from error
    except UnidentifiedImageError as error:
        raise MalformedImage("its header is damaged, or of a kind that Pillow does not read") from error
    except Exception as error:
        # Bytes that may be anything surface as OSError, SyntaxError, ValueError, struct.error, KeyError,
        # EOFError and more; to a user they are one thing.
        raise MalformedImage(str(error).strip(" .\n") or type(error).__name__) from error


def _read(data: bytes, kind: str) -> StoredImage:
    image: Any = Image.open(BytesIO(data), formats=[kind])
    check_size(*image.size)
    # A JPEG may carry previews and gain maps behind the photo (MPF); they are no frames of an animation.
    frames = 1 if kind == "JPEG" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnusableImage(f"holds {frames} frames or pages; only single images can be scored")
    rawmode = _rawmode(image)
    is_gray = image.mode in GRAY_MODES or rawmode == "LA;16B"
    if not is_gray and image.mode not in COLOR_MODES:
        stored = MODE_NAMES.get(image.mode, f"pixels of kind {image.mode}")
        raise UnusableImage(f"stores {stored}; convert it to 8- or 16-bit RGB or gray")
    deep = image.mode.startswith("I;16") or ";16" in rawmode
    tags = getattr(image, "tag_v2", {})
    _refuse_misread_tiff(tags, deep)
    orientation = tags.get(ORIENTATION, 1)  # Pillow turns a TIFF upright, and forgets how, when it loads it
    image.load()
    if deep:
        rgb8 = _round_to_8_bits(_all_16_bits(image, rawmode, data, kind), "transparency" in image.info)
    elif image.has_transparency_data:
        rgb8 = opaque_rgb(np.array(image.convert("RGBA")))
    else:
        rgb8 = np.array(image.convert("RGB"))
    notes = ["16-bit, rounded to 8"] if deep else []
    if kind == "TIFF":
        if orientation in range(2, 9):
            notes.append(f"TIFF orientation {orientation} applied")
        orientation = 1
    else:
        orientation = exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    return StoredImage(rgb8, is_gray, image.info.get("icc_profile"), orientation, tuple(notes))


def check_size(width: int, height: int) -> None:
    """Refuse what Pillow calls a decompression bomb, before any memory is taken."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnusableImage(
            f"is {width} x {height} pixels; more than {Image.MAX_IMAGE_PIXELS} pixels are refused "
            "(PIL.Image.MAX_IMAGE_PIXELS)"
        )


def opaque_rgb(rgba: npt.NDArray[np.uint8]) -> Rgb8:
    """Colours of an RGBA image without a transparent pixel."""
    if rgba[..., 3].min() < 255:
        raise _transparent()
    rgb8 = np.empty((*rgba.shape[:2], 3), np.uint8)
    for channel in range(3):  # six times faster than copying one slice of three channels
        rgb8[..., channel] = rgba[..., channel]
    return rgb8


def _transparent() -> UnusableImage:
    return UnusableImage("has transparent pixels; only opaque colours can be scored, so flatten it first")


# --- 16 bits a channel -----------------------------------------------------------------------------------


def _rawmode(image: Any) -> str:
    """How the samples lie in the file, in Pillow's words (``"RGB;16B"``)."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _refuse_misread_tiff(tags: Any, deep: bool) -> None:
    """Refuse the 16-bit TIFFs whose samples Pillow opens without complaint and gets wrong.

    It takes planes of 16-bit samples for 8-bit ones, leaves 12 bits in the low end of 16, and does not invert
    16-bit gray where zero is white.
    """
    bits = set(tags.get(BITS_PER_SAMPLE, ()))
    if bits and deep != (16 in bits):
        raise UnusableImage("is a TIFF of 12 bits, or of 16 in separate planes; save it as interleaved 8 or 16 bits")
    if deep and tags.get(PHOTOMETRIC) == MIN_IS_WHITE:
        raise UnusableImage("is a 16-bit TIFF where zero is white; save it with black as zero")


def _all_16_bits(image: Any, rawmode: str, data: bytes, kind: str) -> npt.NDArray[np.uint16]:
    """Samples of shape (H, W), or (H, W, channels) with 2 to 4 channels, in native byte order.

    Pillow holds 16-bit gray, but of 16-bit colour only the high byte of each sample. The low byte is what
    it reads when told the opposite byte order: so the file is read twice. This serves every compression of
    PNG and TIFF without another library (tifffile alone cannot read LZW); the tests compare it with
    tifffile and kornia.
    """
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if rawmode == "LA;16B":  # four bytes a pixel: gray high, gray low, alpha high, alpha low
        quads = _read_as("RGBA", data, kind)
        return _join_bytes(quads[..., 0::2], quads[..., 1::2])
    opposite = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    low = _read_as(rawmode[:-1] + opposite[rawmode[-1]], data, kind)
    return _join_bytes(np.array(image), low)


def _join_bytes(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    return high.astype(np.uint16) * np.uint16(256) + low


def _read_as(rawmode: str, data: bytes, kind: str) -> npt.NDArray[np.uint8]:
    image: Any = Image.open(BytesIO(data), formats=[kind])
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]
    return np.array(image)


def _round_to_8_bits(samples: npt.NDArray[np.uint16], has_color_key: bool) -> Rgb8:
    """Nearest 8-bit value of each colour sample, x * 255 / 65535 = x / 257; no value lies half-way."""
    if samples.ndim == 2:
        samples = samples[..., None]
    channels = samples.shape[2]
    if has_color_key or (channels in (2, 4) and samples[..., -1].min() < 65535):
        raise _transparent()
    color = samples[..., :3] if channels >= 3 else samples[..., :1]
    rounded = ((color.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rounded, (*rounded.shape[:2], 3)))
