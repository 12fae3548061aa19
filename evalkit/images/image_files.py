"""One image file to 8-bit sRGB pixels and back.

Ordinary files go to the fastest well-kept decoders (kornia-rs for PNG, libjpeg-turbo through simplejpeg for
JPEG), which give the same bits as Pillow in a third and in six tenths of its time; a scan of the header
decides (`evalkit.images._headers`). Everything else goes to Pillow (`evalkit.images._pillow_reader`).

What is applied: EXIF orientation, and ICC profiles to sRGB (`evalkit.images._icc`). What is ignored, as Pillow
does: the gAMA and cHRM chunks of PNG, and orientation that stands in XMP alone. What is refused, because
every guess would change the scores: transparency, animation, CMYK, floating point, and files that are
damaged or cut short wherever the format allows to tell.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.images._headers import (
    FORMATS,
    IMAGE_SUFFIXES,
    MalformedImage,
    check_png_sums,
    image_format,
    other_content,
    read_jpeg_header,
    read_png_header,
)
from evalkit.images._pillow_reader import StoredImage, UnusableImage, check_size, opaque_rgb, read_with_pillow

__all__ = [
    "IMAGE_SUFFIXES",
    "DecodedImage",
    "decode",
    "decode_bytes",
    "decoder_versions",
    "encode_png",
    "resize",
    "write_png",
]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """One decoded file.

    Attributes
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels, C-contiguous and writeable, upright.
    format : {"PNG", "JPEG", "WEBP", "TIFF", "BMP"}
        What the file is, by its content.
    is_gray : bool
        Whether the file stores a single colour channel; the three here are then equal. An RGB file whose
        pixels happen to be gray does not count.
    notes : tuple of str
        What was done beyond decoding, for example ``"16-bit, rounded to 8"``; empty for ordinary files.
    sha256 : str
        Hex digest of the file's bytes.
    """

    rgb8: Rgb8
    format: str
    is_gray: bool
    notes: tuple[str, ...]
    sha256: str


def decode(path: str | os.PathLike[str]) -> DecodedImage:
    """Read an image file.

    PNG, JPEG, WebP, TIFF and BMP; 8 or 16 bits a channel (16 are rounded to the nearest of 8, x * 255 /
    65535); gray, palette, RGB, or RGBA that is fully opaque.

    Parameters
    ----------
    path : path-like
        The file. Its ending is not looked at: the content decides.

    Returns
    -------
    DecodedImage

    Raises
    ------
    InputError
        When the file cannot be read, is damaged or truncated, is no image or of another format, holds
        several frames, or stores what has no defined sRGB meaning (transparency, CMYK, floating point). The
        message names the file.

    Examples
    --------
    >>> decode("photo.jpg").rgb8.shape  # doctest: +SKIP
    (256, 256, 3)
    """
    name = os.fspath(path)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path object costs 15 us here)
            data = file.read()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error}).") from error
    return decode_bytes(data, name)


def decode_bytes(data: bytes, name: str = "image") -> DecodedImage:
    """Decode the bytes of an image file, as `decode` does.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        How error messages name it.

    Returns
    -------
    DecodedImage

    Raises
    ------
    InputError
        As `decode`.
    """
    if not data:
        raise InputError(f"{name}: is empty (0 bytes).")
    kind = image_format(data)
    if kind is None:
        raise InputError(f"{name}: is {other_content(data)}; allowed are {FORMATS}.")
    try:
        stored = _READERS.get(kind, read_with_pillow)(data, kind)
        rgb8, notes = _to_srgb(stored)
    except MalformedImage as error:
        raise InputError(f"{name}: is a truncated or corrupt {kind} file: {error}.") from error
    except UnusableImage as error:
        raise InputError(f"{name}: {error}.") from error
    if stored.orientation != 1:
        rgb8 = np.ascontiguousarray(_UPRIGHT[stored.orientation](rgb8))
        notes = (*notes, f"EXIF orientation {stored.orientation} applied")
    return DecodedImage(rgb8, kind, stored.is_gray, notes, hashlib.sha256(data).hexdigest())


def _to_srgb(stored: StoredImage) -> tuple[Rgb8, tuple[str, ...]]:
    if stored.icc is None:
        return stored.rgb8, stored.notes
    from evalkit.images._icc import ProfileError, srgb_transform

    try:
        description, convert = srgb_transform(stored.icc, stored.is_gray)
    except ProfileError as error:
        raise UnusableImage(f"{error}; remove the profile, or convert the image to sRGB") from error
    if convert is None:
        return stored.rgb8, stored.notes
    return convert(stored.rgb8), (*stored.notes, f"ICC profile '{description}' converted to sRGB")


# What makes a photo upright, by EXIF orientation (CIPA DC-008, tag 274). Views: the caller copies.
_UPRIGHT: dict[int, Callable[[Rgb8], Rgb8]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}


# --- fast decoders ---------------------------------------------------------------------------------------


@cache
def _fast_png() -> Callable[..., Rgb8] | None:
    """Decoder of ordinary 8-bit PNG, or None where it does not install. It checks every CRC."""
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:
        return None
    decoder: Callable[..., Rgb8] = decode_image_png_u8
    return decoder


@cache
def _fast_jpeg() -> Callable[..., Rgb8] | None:
    """Decoder of ordinary JPEG, or None where it does not install. It raises where libjpeg only warns."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    decoder: Callable[..., Rgb8] = decode_jpeg
    return decoder


def decoder_versions() -> dict[str, str]:
    """Which library decodes what, with its version, for the record of a run.

    Returns
    -------
    dict of str to str
        Keys ``"png"``, ``"jpeg"``, ``"other"`` and ``"icc"``.
    """
    pillow = f"Pillow {PIL.__version__}"
    png = jpeg = pillow
    if _fast_png():
        import kornia_rs

        png = f"kornia-rs {kornia_rs.__version__}"
    if _fast_jpeg():
        import simplejpeg

        jpeg = f"simplejpeg {simplejpeg.__version__}"
    return {"png": png, "jpeg": jpeg, "other": pillow, "icc": f"LittleCMS {features.version('littlecms2')}"}


def _read_png(data: bytes, kind: str) -> StoredImage:
    header = read_png_header(data)
    check_size(header.width, header.height)
    # Code points 1, 13, 0, 1 (ITU-T H.273) are sRGB; others (Display P3, HDR) would need a conversion.
    if header.cicp not in (None, b"\x01\x0d\x00\x01"):
        raise UnusableImage("declares a colour space other than sRGB in its cICP chunk; convert it first")
    decoder = _fast_png()
    mode = {2: "rgb", 6: "rgba"}.get(header.color_type)
    if decoder is None or mode is None or header.bit_depth != 8 or not header.plain:
        check_png_sums(data)
        return read_with_pillow(data, kind)
    try:
        pixels = decoder(data, (header.height, header.width), mode)
    except Exception as error:  # the Rust side raises plain Exception
        raise MalformedImage(str(error).strip(" .\n")) from error
    if mode == "rgba":
        pixels = opaque_rgb(pixels)
    return StoredImage(pixels, False, header.icc, header.orientation)


def _read_jpeg(data: bytes, kind: str) -> StoredImage:
    header = read_jpeg_header(data)
    if header is not None:
        check_size(header.width, header.height)
    decoder = _fast_jpeg()
    if decoder is None or header is None or not header.plain:
        return read_with_pillow(data, kind)
    try:
        pixels = decoder(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise MalformedImage(str(error).strip(" .\n")) from error
    return StoredImage(pixels, header.components == 1, header.icc, header.orientation)


_READERS: dict[str, Callable[[bytes, str], StoredImage]] = {"PNG": _read_png, "JPEG": _read_jpeg}


# --- writing and resizing --------------------------------------------------------------------------------


def encode_png(rgb8: Rgb8) -> bytes:
    """Encode pixels as an 8-bit RGB PNG.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels.

    Returns
    -------
    bytes
        The file; `decode_bytes` gives back exactly the same pixels.

    Raises
    ------
    InputError
        When the array is not of that kind.
    """
    _check_rgb8(rgb8)
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: str | os.PathLike[str], rgb8: Rgb8) -> None:
    """Write pixels as an 8-bit RGB PNG: the file appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The file; one that exists is replaced. Its folder must exist.
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels.

    Raises
    ------
    InputError
        When the array is not of that kind or the file cannot be written.
    """
    target = Path(path)
    encoded = encode_png(rgb8)
    try:
        write_atomically(target, encoded)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}).") from error


def resize(rgb8: Rgb8, size: int, fit: str = "warp") -> Rgb8:
    """Bring an image to ``size`` x ``size`` pixels with Pillow's bicubic filter (a = -0.5, antialiased).

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels.
    size : int
        Side of the result in pixels, at least 1.
    fit : {"warp", "crop"}
        ``"warp"``: both sides are scaled to ``size``; the aspect ratio is lost. ``"crop"``: the short side
        is scaled to ``size`` and the long one to ``size * long // short``, then the centre is cut out,
        its first row or column at ``round((length - size) / 2)``: the rule of torchvision's ``Resize`` and
        ``CenterCrop``.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        The filter works on the gamma-encoded 8-bit values and rounds after each of its two passes. An image
        that has the size already comes back unchanged. Signatures name this step ``256-warp-bicubic`` or
        ``256-crop-bicubic``.

    Raises
    ------
    InputError
        When the array, ``size`` or ``fit`` is not as above.
    """
    _check_rgb8(rgb8)
    if size < 1:
        raise InputError(f"size is {size}; it must be at least 1 pixel.")
    height, width = rgb8.shape[:2]
    if fit == "warp":
        new_height = new_width = size
    elif fit == "crop":
        short = min(height, width)
        new_height, new_width = size * height // short, size * width // short
    else:
        raise InputError(f"fit is {fit!r}; allowed are 'warp' and 'crop'.")
    image = Image.fromarray(np.ascontiguousarray(rgb8))
    resized = np.array(image.resize((new_width, new_height), Image.Resampling.BICUBIC))
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def _check_rgb8(rgb8: Rgb8) -> None:
    if rgb8.dtype != np.uint8 or rgb8.ndim != 3 or rgb8.shape[2] != 3 or 0 in rgb8.shape:
        raise InputError(f"pixels are {rgb8.dtype} of shape {rgb8.shape}; allowed is uint8, (H, W, 3).")
