"""Reading with Pillow what the fast decoders do not: palettes, 16 bits, WebP, TIFF, BMP, rare PNG or JPEG."""

from __future__ import annotations

import re
import struct
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from evalkit.arrays import Rgb8
from evalkit.color.row_parts import row_parts
from evalkit.errors import check_flag, check_positive
from evalkit.images._headers import MalformedImage, exif_orientation

__all__ = [
    "DEFAULT_OPTIONS",
    "ROUNDED",
    "DecodeOptions",
    "StoredImage",
    "UnusableImage",
    "check_size",
    "opaque_rgb",
    "read_with_pillow",
    "round_to_8_bits",
]

GRAY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX")
MODE_NAMES = {
    "CMYK": "CMYK inks",
    "F": "floating-point numbers",
    "I": "signed or 32-bit integers",
    "LAB": "CIE Lab",
    "YCbCr": "YCbCr",
}
# TIFF 6.0 tags, and the values of theirs that are asked for.
WIDTH, HEIGHT, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_SIZES, PLANAR, PREDICTOR, SAMPLE_FORMAT = 277, 278, 279, 284, 317, 339
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 322, 323, 324, 325
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
SEPARATE_PLANES = 2
SAMPLE_KINDS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers", 6: "complex numbers"}

ROUNDED = "16-bit, rounded to 8"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """What a user may ask of the decoder.

    Attributes
    ----------
    max_megapixels : float or None
        Images of more pixels are refused, in millions; None for Pillow's limit, 89.5 unless a program changed
        ``PIL.Image.MAX_IMAGE_PIXELS``.
    convert_cmyk : bool
        Convert CMYK files to sRGB, through their own ICC profile where they have one, instead of refusing them.
    """

    max_megapixels: float | None = None
    convert_cmyk: bool = False

    def __post_init__(self) -> None:
        if self.max_megapixels is not None:
            check_positive("max_megapixels", self.max_megapixels)
        check_flag("convert_cmyk", self.convert_cmyk)


DEFAULT_OPTIONS = DecodeOptions()


class UnusableImage(Exception):
    """Why a file that may well be intact cannot be scored, as the second half of a sentence."""


class StoredImage(NamedTuple):
    """Pixels as the file stores them, and what is still to be applied to them."""

    rgb8: Rgb8
    is_gray: bool
    icc: bytes | None
    orientation: int
    notes: tuple[str, ...] = ()
    is_cmyk: bool = False
    """Whether ``rgb8`` has four channels, the inks."""
    turned_by: int = 1
    """Orientation that was applied already."""


def read_with_pillow(data: bytes, kind: str, options: DecodeOptions = DEFAULT_OPTIONS) -> StoredImage:
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
            if kind != "TIFF" or options.max_megapixels is None:
                return _read(data, kind, options)
            with _without_pillows_limit():  # its reader of TIFF looks at the limit again when it loads the pixels
                return _read(data, kind, options)
    except (MalformedImage, UnusableImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UnusableImage(f"is too large: {str(error).rstrip('.')}; --max-megapixels N allows more") from error
    except UnidentifiedImageError as error:
        stored = _unread_samples(data) if kind == "TIFF" else None
        if stored is not None:
            raise UnusableImage(f"stores {stored}; convert it to 8- or 16-bit RGB or gray") from error
        raise MalformedImage("its header is damaged, or of a kind that Pillow does not read") from error
    except Exception as error:
        # Bytes that may be anything surface as OSError, SyntaxError, ValueError, struct.error, KeyError,
        # EOFError and more; to a user they are one thing.
        raise MalformedImage(str(error).strip(" .\n") or type(error).__name__) from error


_LIMIT_LOCK = threading.RLock()


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift the limit by which Pillow refuses large images; it is one of the whole process, so one thread at a time."""
    with _LIMIT_LOCK:
        limit_of_process, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit_of_process


def _open(data: bytes, kind: str) -> Any:
    """Pillow's image of one format, of which no pixel is decoded yet.

    How large it may be says `check_size`, by the limit of the process or by that of the options.
    """
    with _without_pillows_limit():
        return Image.open(BytesIO(data), formats=[kind])


def _pixel_limit(options: DecodeOptions) -> int | None:
    if options.max_megapixels is not None:
        return int(options.max_megapixels * 1e6)
    with _LIMIT_LOCK:
        return Image.MAX_IMAGE_PIXELS


def _read(data: bytes, kind: str, options: DecodeOptions) -> StoredImage:
    image = _open(data, kind)
    width, height = image.size
    check_size(width, height, options)
    # A JPEG may carry previews and gain maps behind the photo (MPF); they are no frames of an animation.
    frames = 1 if kind == "JPEG" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnusableImage(f"holds {frames} frames or pages; only single images can be scored")
    rawmode = _rawmode(image)
    deep = image.mode.startswith("I;16") or _DEEP_RAWMODE.search(rawmode) is not None
    if image.mode == "CMYK" and options.convert_cmyk and not deep:
        image.load()
        return StoredImage(np.array(image), False, image.info.get("icc_profile"), _orientation(image), (), is_cmyk=True)
    is_gray = image.mode in GRAY_MODES or rawmode == "LA;16B"
    if not is_gray and image.mode not in COLOR_MODES:
        stored = MODE_NAMES.get(image.mode, f"pixels of kind {image.mode}")
        hint = " (--convert-cmyk does it)" if image.mode == "CMYK" and not deep else ""
        raise UnusableImage(f"stores {stored}; convert it to 8- or 16-bit RGB or gray{hint}")
    tags = getattr(image, "tag_v2", {})
    planes = _has_deep_planes(tags)
    _refuse_misread_tiff(tags, deep or planes)
    orientation = tags.get(ORIENTATION, 1)  # Pillow turns a TIFF upright, and forgets how, when it loads it
    if planes:
        rgb8 = round_to_8_bits(_read_planes(image, data))
    elif deep:
        if "transparency" in image.info:
            raise _transparent()
        image.load()
        rgb8 = round_to_8_bits(_all_16_bits(image, rawmode, data, kind))
    elif image.has_transparency_data:
        rgb8 = opaque_rgb(np.array(image.convert("RGBA")))
    else:
        rgb8 = np.array(image.convert("RGB"))
    notes = [ROUNDED] if deep or planes else []
    icc = image.info.get("icc_profile")
    if kind != "TIFF":
        return StoredImage(rgb8, is_gray, icc, _orientation(image), tuple(notes))
    turned_by = orientation if orientation in range(2, 9) else 1
    if turned_by != 1:
        notes.append(f"TIFF orientation {turned_by} applied")
    return StoredImage(rgb8, is_gray, icc, 1, tuple(notes), turned_by=turned_by)


_DEEP_RAWMODE = re.compile(r";16[BLN]")
"""16 bits a sample; ``BGR;16`` of BMP is 16 bits a pixel."""


def _orientation(image: Any) -> int:
    return exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _unread_samples(data: bytes) -> str | None:
    """What the samples of a TIFF are that Pillow does not read, from its first directory; None where that is no matter."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        header = data[:16] if b"+" in data[2:4] else data[:8]
        directory = ImageFileDirectory_v2(header)
        file = BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        kinds, bits = directory.get(SAMPLE_FORMAT, (1,)), directory.get(BITS_PER_SAMPLE, (1,))
    except Exception:  # whatever is wrong with the file, it is no longer a question of its samples
        return None
    if kinds[0] in SAMPLE_KINDS:
        return f"{SAMPLE_KINDS[kinds[0]]} of {bits[0]} bits"
    return f"{bits[0]} bits a sample" if bits[0] not in (1, 8, 16) else None


def check_size(width: int, height: int, options: DecodeOptions = DEFAULT_OPTIONS) -> None:
    """Refuse images of more pixels than the options allow, before any memory is taken."""
    limit = _pixel_limit(options)
    if limit is not None and width * height > limit:
        raise UnusableImage(
            f"is {width} x {height} pixels; more than {limit} pixels are refused unless --max-megapixels "
            f"{-(-width * height // 1_000_000)} allows them"
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

    It leaves 12 bits in the low end of 16, and does not invert 16-bit gray where zero is white.
    """
    bits = set(tags.get(BITS_PER_SAMPLE, ()))
    if bits and deep != (16 in bits):
        raise UnusableImage("is a TIFF of 12 bits, or of 16 in separate planes; save it as interleaved 8 or 16 bits")
    if deep and tags.get(PHOTOMETRIC) == MIN_IS_WHITE:
        raise UnusableImage("is a 16-bit TIFF where zero is white; save it with black as zero")


def _has_deep_planes(tags: Any) -> bool:
    """Whether a TIFF stores 16-bit RGB plane by plane: of these Pillow reads the high bytes or less."""
    return (
        tags.get(PLANAR) == SEPARATE_PLANES
        and set(tags.get(BITS_PER_SAMPLE, ())) == {16}
        and set(tags.get(SAMPLE_FORMAT, (1,))) == {1}
        and tags.get(PHOTOMETRIC) == RGB
        and tags.get(SAMPLES_PER_PIXEL) in (3, 4)
    )


def _read_planes(image: Any, data: bytes) -> npt.NDArray[np.uint16]:
    """Samples of shape (H, W, channels) of a TIFF in planes, each read as the 16-bit gray TIFF that it is."""
    tags = image.tag_v2
    if b"+" in data[2:4]:
        raise UnusableImage("is a BigTIFF of 16 bits in separate planes; save it as interleaved 8 or 16 bits")
    kept = (WIDTH, HEIGHT, COMPRESSION, ORIENTATION, ROWS_PER_STRIP, PREDICTOR, TILE_WIDTH, TILE_HEIGHT)
    gray = {tag: (int(tags[tag]),) for tag in kept if tag in tags}
    gray |= {BITS_PER_SAMPLE: (16,), PHOTOMETRIC: (MIN_IS_BLACK,), SAMPLES_PER_PIXEL: (1,)}
    places = (TILE_OFFSETS, TILE_SIZES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_SIZES)
    n_planes = int(tags[SAMPLES_PER_PIXEL])
    planes = []
    for k in range(n_planes):
        per_plane = len(tags[places[0]]) // n_planes
        own = slice(k * per_plane, (k + 1) * per_plane)
        planes.append(np.array(_open(_with_directory(data, gray | {tag: tags[tag][own] for tag in places}), "TIFF")))
    return np.dstack(planes).astype(np.uint16)


def _with_directory(data: bytes, entries: Mapping[int, Sequence[int]]) -> bytes:
    """A TIFF file whose first directory holds these entries, behind the old contents (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    start = len(data) + len(data) % 2
    behind = start + 2 + 12 * len(entries) + 4
    directory, arrays = struct.pack(order + "H", len(entries)), b""
    for tag in sorted(entries):
        values = struct.pack(f"{order}{len(entries[tag])}I", *entries[tag])
        field = values if len(values) == 4 else struct.pack(order + "I", behind + len(arrays))
        arrays += b"" if len(values) == 4 else values
        directory += struct.pack(order + "HHI", tag, 4, len(entries[tag])) + field
    header = data[:4] + struct.pack(order + "I", start)
    return header + data[8:].ljust(start - 8, b"\0") + directory + b"\0\0\0\0" + arrays


def _all_16_bits(image: Any, rawmode: str, data: bytes, kind: str) -> npt.NDArray[np.uint16]:
    """Samples of shape (H, W), or (H, W, channels) with 2 to 4 channels, in native byte order.

    Pillow holds 16-bit gray, but of 16-bit colour only the high byte of each sample. The low byte of a TIFF is
    what it reads when told the opposite byte order: so the file is read twice. This serves every compression
    without another library (tifffile cannot read LZW by itself, kornia reads no TIFF from memory); the tests
    compare it with tifffile. 16-bit PNG is kornia's, except for gray with alpha.
    """
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if rawmode == "LA;16B":  # four bytes per pixel: gray high, gray low, alpha high, alpha low
        quads = _read_as("RGBA", data, kind)
        return _join_bytes(quads[..., 0::2], quads[..., 1::2])
    opposite = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    low = _read_as(rawmode[:-1] + opposite[rawmode[-1]], data, kind)
    return _join_bytes(np.array(image), low)


def _join_bytes(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    return high.astype(np.uint16) * np.uint16(256) + low


def _read_as(rawmode: str, data: bytes, kind: str) -> npt.NDArray[np.uint8]:
    image = _open(data, kind)
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]
    return np.array(image)


def round_to_8_bits(samples: npt.NDArray[np.uint16]) -> Rgb8:
    """Nearest 8-bit value of each colour sample, x * 255 / 65535 = x / 257; no value lies half-way."""
    if samples.ndim == 2:
        samples = samples[..., None]
    channels = samples.shape[2]
    if channels in (2, 4) and samples[..., -1].min() < 65535:
        raise _transparent()
    color = samples[..., :3] if channels >= 3 else samples[..., :1]
    rgb8 = np.empty((*samples.shape[:2], 3), np.uint8)
    for rows in row_parts(samples):
        rgb8[rows] = (color[rows].astype(np.uint32) + 128) // 257
    return rgb8
