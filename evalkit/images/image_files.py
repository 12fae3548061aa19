"""One image file to 8-bit sRGB pixels and back.

Ordinary files go to the fastest well-kept decoders (kornia-rs for PNG, libjpeg-turbo through simplejpeg for
JPEG), which give the same bits as Pillow in a third and in six tenths of its time; a scan of the header
decides (`evalkit.images._headers`). Everything else goes to Pillow (`evalkit.images._pillow_reader`).

What is applied: EXIF orientation, and ICC profiles to sRGB (`evalkit.images._icc`). What is ignored, as Pillow
does: the gAMA and cHRM chunks of PNG, and orientation that stands in XMP alone. What is refused, because
every guess would change the scores: transparency, animation, CMYK (unless asked for), floating point, and
files that are damaged or cut short wherever the format allows to tell. Files that are merely odd, and that
every decoder reads to the same pixels, are read, with a note.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

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
    read_png_header,
)
from evalkit.images._jpeg import (
    check_scans,
    disturbed_jpeg,
    read_jpeg_header,
    tidy_jpeg,
    without_extraneous_bytes,
)
from evalkit.images._pillow_reader import (
    DEFAULT_OPTIONS,
    ROUNDED,
    DecodeOptions,
    StoredImage,
    UnusableImage,
    check_size,
    opaque_rgb,
    read_with_pillow,
    round_to_8_bits,
)
from evalkit.images.places import PlacedImage, read_file

__all__ = [
    "DEFAULT_OPTIONS",
    "IMAGE_SUFFIXES",
    "DecodeOptions",
    "DecodedImage",
    "decode",
    "decode_bytes",
    "decoder_versions",
    "encode_png",
    "resize",
    "turned",
    "write_png",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
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
    orientation : int
        The EXIF (or TIFF) orientation that was applied, 1 to 8; 1 where the file was upright.
    """

    rgb8: Rgb8
    format: str
    is_gray: bool
    notes: tuple[str, ...]
    sha256: str
    orientation: int = 1


def decode(path: str | os.PathLike[str] | PlacedImage, options: DecodeOptions = DEFAULT_OPTIONS) -> DecodedImage:
    """Read an image file.

    PNG, JPEG, WebP, TIFF and BMP; 8 or 16 bits a channel (16 are rounded to the nearest of 8, x * 255 /
    65535); gray, palette, RGB, or RGBA that is fully opaque.

    Parameters
    ----------
    path : path-like or PlacedImage
        The file, or where it lies. Its ending is not looked at: the content decides.
    options : DecodeOptions, optional
        How large an image may be, and whether CMYK is converted.

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
    name = str(path)
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error}).") from error
    return decode_bytes(data, name, options)


def decode_bytes(data: bytes, name: str = "image", options: DecodeOptions = DEFAULT_OPTIONS) -> DecodedImage:
    """Decode the bytes of an image file, as `decode` does.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        How error messages name it.
    options : DecodeOptions, optional
        As `decode`.

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
        stored = _READERS.get(kind, read_with_pillow)(data, kind, options)
        rgb8, notes = _to_srgb(stored)
    except MalformedImage as error:
        raise InputError(f"{name}: is a truncated or corrupt {kind} file: {error}.") from error
    except UnusableImage as error:
        raise InputError(f"{name}: {error}.") from error
    except MemoryError as error:
        raise InputError(f"{name}: takes more memory to decode than there is.") from error
    if stored.orientation != 1:
        rgb8 = turned(rgb8, stored.orientation)
        notes = (*notes, f"EXIF orientation {stored.orientation} applied")
    return DecodedImage(
        rgb8=rgb8,
        format=kind,
        is_gray=stored.is_gray,
        notes=notes,
        sha256=hashlib.sha256(data).hexdigest(),
        orientation=max(stored.orientation, stored.turned_by),
    )


def _to_srgb(stored: StoredImage) -> tuple[Rgb8, tuple[str, ...]]:
    if stored.icc is None and not stored.is_cmyk:
        return stored.rgb8, stored.notes
    from evalkit.images._icc import ProfileError, cmyk_to_srgb, srgb_transform

    try:
        if stored.is_cmyk:
            rgb8, note = cmyk_to_srgb(stored.rgb8, stored.icc)
            return rgb8, (*stored.notes, note)
        note, convert = srgb_transform(stored.icc or b"", stored.is_gray)
    except ProfileError as error:
        raise UnusableImage(f"{error}; remove the profile, or convert the image to sRGB") from error
    rgb8 = stored.rgb8 if convert is None else convert(stored.rgb8)
    return rgb8, (*stored.notes, note) if note else stored.notes


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


def turned(rgb8: Rgb8, orientation: int) -> Rgb8:
    """Make stored pixels upright.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3) or (W, H, 3)
    """
    return rgb8 if orientation == 1 else np.ascontiguousarray(_UPRIGHT[orientation](rgb8))


# --- fast decoders ---------------------------------------------------------------------------------------


@cache
def _fast_png() -> tuple[Callable[..., Rgb8], Callable[..., Any]] | None:
    """Decoders of PNG of 8 and of 16 bits, or None where they do not install. They check every CRC."""
    try:
        from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
    except ImportError:
        return None
    return decode_image_png_u8, decode_image_png_u16


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


SRGB_CODE_POINTS = (1, 13, 0, 1)
"""Primaries, transfer, matrix and range of sRGB (ITU-T H.273), as a cICP chunk holds them."""

BT709_TRANSFERS = {1: "BT.709", 6: "BT.601", 14: "BT.2020, 10 bits", 15: "BT.2020, 12 bits"}
"""Code points of the camera curve that video files carry, one curve under four numbers. Players and browsers show it
like sRGB, and so ffmpeg marks the frames that it writes."""

PRIMARIES_OF_ZSCALE = {5: "bt470bg", 6: "170m", 7: "240m", 9: "2020", 11: "smpte431", 12: "smpte432", 22: "jedec-p22"}
TRANSFERS_OF_ZSCALE = {
    4: "bt470m",
    5: "bt470bg",
    7: "240m",
    8: "linear",
    13: "iec61966-2-1",
    16: "smpte2084",
    18: "arib-std-b67",
}
HDR_TRANSFERS = (16, 18)


def _note_on_code_points(cicp: bytes | None) -> tuple[str, ...]:
    """What is done about the colour space that a cICP chunk declares.

    Raises
    ------
    UnusableImage
        When it is another than sRGB or that of BT.709 video, with the command that converts it.
    """
    if cicp is None or tuple(cicp) == SRGB_CODE_POINTS:
        return ()
    primaries, transfer, matrix, full_range = cicp if len(cicp) == 4 else (0, 0, 0, 0)
    unspecified = 2
    if primaries in (1, unspecified) and (matrix, full_range) == (0, 1):
        if transfer in BT709_TRANSFERS:
            return (f"cICP of {BT709_TRANSFERS[transfer]} video (transfer {transfer}), read as sRGB",)
        if transfer in (13, unspecified):
            return ("cICP with unspecified values, read as sRGB",)
    code_points = "/".join(map(str, cicp))
    source = {"pin": PRIMARIES_OF_ZSCALE, "tin": {**dict.fromkeys(BT709_TRANSFERS, "709"), **TRANSFERS_OF_ZSCALE}}
    given = {"pin": source["pin"].get(primaries, "709"), "tin": source["tin"].get(transfer, "iec61966-2-1")}
    range_in = "full" if full_range else "limited"
    start = f"zscale=min=gbr:rin={range_in}:" + ":".join(f"{key}={value}" for key, value in given.items())
    end = "p=709:t=iec61966-2-1:m=gbr:r=full,format=gbrp"
    if transfer in HDR_TRANSFERS:
        chain = f"{start}:p=709:t=linear:m=gbr:npl=203,format=gbrpf32le,tonemap=hable,zscale={end}"
    else:
        chain = f"{start}:{end}"
    raise UnusableImage(
        f"declares a colour space other than sRGB in its cICP chunk ({code_points}); convert it first, for example "
        f"with: ffmpeg -i IN.png -vf {chain} OUT.png"
    )


def _read_png(data: bytes, kind: str, options: DecodeOptions) -> StoredImage:
    header = read_png_header(data)
    check_size(header.width, header.height, options)
    notes = _note_on_code_points(header.cicp)
    decoder = _fast_png()
    deep = header.bit_depth == 16
    mode = (_PNG_MODES_16 if deep else _PNG_MODES_8).get(header.color_type)
    if decoder is None or mode is None or header.bit_depth < 8 or not header.plain:
        check_png_sums(data)
        stored = read_with_pillow(data, kind, options)
        return stored._replace(notes=(*stored.notes, *notes))
    decode_png = decoder[deep]
    try:
        pixels = decode_png(data, (header.height, header.width), mode)
    except Exception as error:  # the Rust side raises plain Exception
        raise MalformedImage(str(error).strip(" .\n")) from error
    if deep:
        pixels, notes = round_to_8_bits(np.asarray(pixels)), (ROUNDED, *notes)
    elif mode == "rgba":
        pixels = opaque_rgb(pixels)
    return StoredImage(pixels, header.color_type == 0, header.icc, header.orientation, notes)


# By the colour type of the header; kornia reads nothing else, and gray of 8 bits no faster than Pillow.
_PNG_MODES_8 = {2: "rgb", 6: "rgba"}
_PNG_MODES_16 = {0: "mono", 2: "rgb", 6: "rgba"}


def _read_jpeg(data: bytes, kind: str, options: DecodeOptions) -> StoredImage:
    notes: tuple[str, ...] = ()
    header = read_jpeg_header(data)
    if header is None:
        data, notes = tidy_jpeg(data)
        header = read_jpeg_header(data)
        if header is None:
            raise MalformedImage("its frame header is missing or damaged")
    check_size(header.width, header.height, options)
    decoder = _fast_jpeg()
    if decoder is None or not header.plain:
        stored = _read_rare_jpeg(data, kind, options)
        pixels, oddities, is_cmyk = stored.rgb8, stored.notes, stored.is_cmyk
    else:
        pixels, oddities = _read_strictly(data, decoder)
        is_cmyk = False
    if header.several_scans or not header.plain or decoder is None:
        check_scans(data)
    every_note = tuple(dict.fromkeys((*header.notes, *notes, *oddities)))
    return StoredImage(pixels, header.components == 1, header.icc, header.orientation, every_note, is_cmyk)


def _read_strictly(data: bytes, decoder: Callable[..., Rgb8]) -> tuple[Rgb8, tuple[str, ...]]:
    """Pixels of a JPEG that decodes without a warning once its harmless oddities are taken out, and what these were."""
    try:
        return decoder(data, colorspace="RGB", strict=True), ()
    except ValueError as error:
        warning = str(error).strip(" .\n")

    def warning_of(candidate: bytes) -> str | None:
        try:
            decoder(candidate, colorspace="RGB", strict=True)
        except ValueError as error:
            return str(error).strip(" .\n")
        return None

    try:
        tidy, notes = tidy_jpeg(data)
    except MalformedImage:
        raise MalformedImage(warning) from None
    if warning_of(tidy) is not None:
        tidy = without_extraneous_bytes(tidy, warning_of)
        notes = (*notes, "extraneous bytes behind a scan passed over")
    return decoder(tidy, colorspace="RGB", strict=True), notes


def _read_rare_jpeg(data: bytes, kind: str, options: DecodeOptions) -> StoredImage:
    """Read with Pillow, which fills lost data with gray and says nothing: pixels must not hang on what follows a scan."""
    _, notes = tidy_jpeg(data)
    stored = read_with_pillow(data, kind, options)
    again = read_with_pillow(disturbed_jpeg(data), kind, options)
    if not np.array_equal(stored.rgb8, again.rgb8):
        raise MalformedImage("data is lost: the last pixels hang on bytes that are not there")
    return stored._replace(notes=notes)


_READERS: dict[str, Callable[[bytes, str, DecodeOptions], StoredImage]] = {"PNG": _read_png, "JPEG": _read_jpeg}


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


def resize(rgb8: Rgb8, size: int, fit: str = "warp", resample: str = "bicubic") -> Rgb8:
    """Bring an image to ``size`` x ``size`` pixels with one of Pillow's filters, antialiased.

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
    resample : {"bicubic", "bilinear", "area"}
        The filter: cubic with a = -0.5, triangle, or box (the mean over the area that a pixel covers).

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        The filter works on the gamma-encoded 8-bit values and rounds after each of its two passes. An image
        that has the size already comes back unchanged. Signatures name this step, say ``256-warp-bicubic`` or
        ``256-crop-area``.

    Raises
    ------
    InputError
        When the array, ``size``, ``fit`` or ``resample`` is not as above.
    """
    _check_rgb8(rgb8)
    if size < 1:
        raise InputError(f"size is {size}; it must be at least 1 pixel.")
    if resample not in _FILTERS:
        raise InputError(f"resample is {resample!r}; allowed are {', '.join(map(repr, _FILTERS))}.")
    height, width = rgb8.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(rgb8))
    if fit == "warp":
        return np.array(image.resize((size, size), _FILTERS[resample]))
    if fit != "crop":
        raise InputError(f"fit is {fit!r}; allowed are 'warp' and 'crop'.")
    short = min(height, width)
    new_height, new_width = size * height // short, size * width // short
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    if new_height * new_width <= MAX_WHOLE_PIXELS:
        whole = np.array(image.resize((new_width, new_height), _FILTERS[resample]))
        return np.ascontiguousarray(whole[top : top + size, left : left + size])
    # A long strip would become gigantic before its centre is cut out: that part alone is computed.
    x, y = width / new_width, height / new_height
    box = (left * x, top * y, min((left + size) * x, width), min((top + size) * y, height))
    return np.array(image.resize((size, size), _FILTERS[resample], box=box))


MAX_WHOLE_PIXELS = 1 << 26
"""Resized images of more pixels than this (200 MB) are never made whole."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
}


def _check_rgb8(rgb8: Rgb8) -> None:
    if rgb8.dtype != np.uint8 or rgb8.ndim != 3 or rgb8.shape[2] != 3 or 0 in rgb8.shape:
        raise InputError(f"pixels are {rgb8.dtype} of shape {rgb8.shape}; allowed is uint8, (H, W, 3).")
