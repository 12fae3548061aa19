"""What the first bytes of an image file say, read without decoding a pixel.

The scans here cost a few microseconds per file. They decide whether the fast decoders may be trusted with it
(see `evalkit.images.image_files`) and find what the fast decoders do not look at: the ICC profile and the EXIF
orientation. Nothing here imports numpy or Pillow.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from typing import NamedTuple

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MalformedImage",
    "PngHeader",
    "check_png_sums",
    "exif_orientation",
    "image_format",
    "other_content",
    "read_png_header",
    "read_regular_file",
]

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp", ".tif", ".tiff", ".bmp", ".dib"}
)
"""File name endings of the formats that are read, in lower case; case does not matter in a name."""

FORMATS = "PNG, JPEG, WebP, TIFF and BMP"
"""The formats that are read, as error messages list them."""

MAX_ICC_BYTES = 1 << 24
"""An ICC profile that unpacks to more than this is damaged or hostile: real ones stay below 3 MB."""


class MalformedImage(ValueError):
    """The bytes break the rules of their own format; the message says how."""


def image_format(data: bytes) -> str | None:
    """Name of the image format, from the first bytes: the file's ending is not asked."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def other_content(data: bytes) -> str:
    """What a file that is none of the formats seems to hold instead, for an error message."""
    start = data[:512].lstrip().lower()
    for magic, what in (
        (b"gif8", "a GIF image"),
        (b"8bps", "a Photoshop document"),
        (b"%pdf", "a PDF document"),
        (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
        (b"<!doctype html", "a web page, perhaps of a failed download"),
        (b"<html", "a web page, perhaps of a failed download"),
        (b"<svg", "an SVG drawing"),
    ):
        if start.startswith(magic):
            return what
    if data[4:8] == b"ftyp":
        return "an AVIF or HEIC image, or a video"
    if data[4:8] == b"jP  ":
        return "a JPEG 2000 image"
    return "not an image"


# Opening a named pipe would wait for a writer, and a device may never end: without O_NONBLOCK even the question hangs.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_regular_file(path: str | os.PathLike[str], n_bytes: int = -1) -> bytes:
    """Bytes of a regular file, or its first ones.

    Raises
    ------
    OSError
        When it cannot be read, or is a folder, a named pipe, a device or a socket.
    """
    descriptor = os.open(path, _OPEN_FLAGS)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "named pipe" if stat.S_ISFIFO(mode) else "device or socket"
            raise OSError(errno.EINVAL, f"it is a {kind}, not a file")
        return file.read(n_bytes)


class PngHeader(NamedTuple):
    """What `read_png_header` found."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    """0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA."""
    icc: bytes | None
    """The embedded ICC profile, unpacked."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 where none is stored."""
    cicp: bytes | None
    """Coding-independent code points (PNG, third edition): primaries, transfer, matrix, range."""
    plain: bool
    """No colour key, animation, or critical chunk beyond the four that every PNG may have."""


_IHDR = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")


def read_png_header(data: bytes) -> PngHeader:
    """Walk the chunks of a PNG to its end.

    Raises
    ------
    MalformedImage
        When the file ends before its IEND chunk does. Decoders stop at the last pixel and would not notice.
    """
    size = len(data)
    if data[8:16] != b"\0\0\0\rIHDR" or size < 33:
        raise MalformedImage("it ends inside its first chunk, or that chunk is not a header")
    width, height, bit_depth, color_type, *_ = _IHDR.unpack_from(data, 16)
    icc = cicp = None
    orientation = 1
    plain = True
    position = 33
    while position + 12 <= size:
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if kind != b"IDAT":
            if end > size:
                break
            if kind == b"IEND":
                plain = plain and width > 0 and height > 0
                return PngHeader(
                    width=width,
                    height=height,
                    bit_depth=bit_depth,
                    color_type=color_type,
                    icc=icc,
                    orientation=orientation,
                    cicp=cicp,
                    plain=plain,
                )
            body = position + 8
            if kind == b"iCCP":
                icc = _unpack_icc(data[body : body + length])
            elif kind == b"eXIf":
                orientation = exif_orientation(data[body : body + length])
            elif kind == b"cICP":
                cicp = data[body : body + length]
            elif kind in (b"tRNS", b"acTL") or (kind[0] < 0x61 and kind != b"PLTE"):
                plain = False
        position = end
    raise MalformedImage("it ends before its last chunk")


def check_png_sums(data: bytes) -> None:
    """Check the CRC of every chunk of a PNG that `read_png_header` has walked.

    Raises
    ------
    MalformedImage
        When one is wrong. Pillow passes over wrong sums of chunks that it takes for unimportant.
    """
    position = 8
    kind = b""
    while kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, position)
        end = position + 8 + length
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise MalformedImage("the checksum of a chunk is wrong")
        position = end + 4


def _unpack_icc(chunk: bytes) -> bytes:
    """Profile of an iCCP chunk: name, zero byte, method byte, zlib stream."""
    _, _, packed = chunk.partition(b"\0")
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed[1:], MAX_ICC_BYTES)
    except zlib.error as error:
        raise MalformedImage(f"its colour profile cannot be unpacked: {error}") from error
    if not stream.eof:
        raise MalformedImage("its colour profile is cut short or too large")
    return profile


def exif_orientation(tiff: bytes) -> int:
    """Orientation (tag 274) of an EXIF block, 1 to 8; 1 where it is absent or unreadable, as viewers do."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == 0x0112:
                value: int = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, entry + 8)[0]
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
