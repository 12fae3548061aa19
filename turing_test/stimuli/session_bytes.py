"""A stimulus as one session gets it: bytes and pixels that no other session has, and a length that says nothing.

If every session got the same files, a list of their hashes would hand the truth on: the real photo is the file that several
people with different methods have seen. So each image of each session carries noise of its own, of at most one level per
channel, which nobody sees. And PNG without compression: then all images of a study have one length to the byte, while even
the compressed length alone tells the real photo from the fake in most pairs.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from zlib_ng.zlib_ng import adler32, crc32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.arrays import Rgb8

__all__ = ["DamagedStimulus", "PixelCache", "decode_png", "noise_levels", "session_png", "with_noise"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROOF = b"prOf"
"""Type of the chunk with the proof: ancillary, private, safe to copy (PNG, section 5.4)."""

AES_BLOCK = 16  # bytes

LONGEST_BLOCK = 0xFFFF
"""Bytes that a block of deflate holds at most when they are stored as they are (RFC 1951, section 3.2.4)."""

# Two random bits of each colour value: -1, 0, 0 or 1. An entry holds the four values of one byte, as one number: so numpy
# looks them up together.
_LEVELS = np.array(
    [[(byte >> 2 * k & 1) + (byte >> (2 * k + 1) & 1) - 1 for k in range(4)] for byte in range(256)], np.int8
).view(np.uint32)[:, 0]


class DamagedStimulus(RuntimeError):
    """A file of a study is not what its name says."""


def with_noise(rgb8: Rgb8, seed: bytes) -> Rgb8:
    """Add noise of -1, 0 or 1 to every colour value, with probabilities 1/4, 1/2, 1/4.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (height, width, 3)
    seed : bytes
        32 bytes, secret: who knows them can take the noise away.

    Returns
    -------
    ndarray of uint8, same shape
    """
    return _noisy(rgb8, seed).astype(np.uint8)


_own = threading.local()


def _memory(name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """An array of this thread, zeros at first and then as it was left: getting a new one takes as long as the work in it."""
    array: NDArray[Any] | None = getattr(_own, name, None)
    if array is None or array.shape != shape:
        array = np.zeros(shape, kind)
        setattr(_own, name, array)
    return array


def _noisy(rgb8: Rgb8, seed: bytes) -> NDArray[np.int16]:
    """As `with_noise`, of another type and only until the next call in this thread."""
    noisy = _memory("noisy", rgb8.shape, np.int16)
    np.add(rgb8.reshape(-1), noise_levels(rgb8.size, seed), out=noisy.reshape(-1), dtype=np.int16)
    return noisy.clip(0, 255, out=noisy)


def noise_levels(count: int, seed: bytes) -> NDArray[np.int8]:
    """The noise of so many colour values, row by row: -1, 0 or 1 each; only until the next call in this thread.

    From the key stream of AES in counter mode, with the seed, 32 bytes, as its key: no two images have the same seed, so the
    counter may begin at 0 for each.
    """
    n_bytes = -(-count // 4)
    plain, random_bytes = (
        _memory("plain", (n_bytes,), np.uint8),
        _memory("random", (n_bytes + AES_BLOCK - 1,), np.uint8),
    )
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(AES_BLOCK))).encryptor()
    stream.update_into(plain.data, random_bytes.data)
    levels = _memory("levels", (n_bytes,), np.uint32)
    _LEVELS.take(random_bytes[:n_bytes], out=levels, mode="wrap")  # the default mode would make a copy first
    return levels.view(np.int8)[:count]


def session_png(rgb8: Rgb8, seed: bytes, proof: bytes) -> bytes:
    """Encode an image for one session.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (height, width, 3)
    seed : bytes
        Of the noise (`turing_test.sessions.tokens.image_noise`).
    proof : bytes
        What a page that has fetched the file to its end can say (`turing_test.sessions.tokens.image_proof`).

    Returns
    -------
    bytes
        A PNG whose length depends on height and width alone.
    """
    height, width, _ = rgb8.shape
    rows = _memory("rows", (height, 1 + 3 * width), np.uint8)  # the byte before each row stays 0: no filter
    rows[:, 1:] = _noisy(rgb8, seed).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks: tuple[tuple[bytes, Iterable[bytes | memoryview]], ...] = (
        (b"IHDR", [header]),
        (b"IDAT", _stored(rows.reshape(-1).data)),
        (PROOF, [proof]),
        (b"IEND", []),
    )
    return b"".join([_SIGNATURE, *(part for kind, parts in chunks for part in _chunk(kind, parts))])


def _stored(content: memoryview) -> Iterator[bytes | memoryview]:
    """Bytes as zlib keeps them without compression, so that the length says nothing (RFC 1950, RFC 1951).

    zlib itself would take as long for it as all the rest of the image: its checksums are much slower than those of zlib-ng,
    which in turn is slow to compress at level 0.
    """
    yield b"\x78\x01"
    for start in range(0, len(content), LONGEST_BLOCK):
        block = content[start : start + LONGEST_BLOCK]
        is_last = start + LONGEST_BLOCK >= len(content)
        yield struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", adler32(content))


def _chunk(kind: bytes, content: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    parts = list(content)
    checksum = reduce(lambda before, part: crc32(part, before), parts, crc32(kind))
    return [struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", checksum)]


class PixelCache:
    """Decoded stimuli, the latest used ones, within a limit of memory.

    Parameters
    ----------
    limit_bytes : int
    """

    def __init__(self, limit_bytes: int = 256 << 20) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._pixels: OrderedDict[Path, Rgb8] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path) -> Rgb8:
        """Pixels of a stimulus, named by the SHA-256 of its bytes.

        Raises
        ------
        DamagedStimulus
            When the file is gone or its bytes have another digest.
        """
        with self._lock:
            pixels = self._pixels.get(path)
            if pixels is not None:
                self._pixels.move_to_end(path)
                return pixels
        pixels = _decode(path)
        with self._lock:
            if path not in self._pixels:
                self._pixels[path] = pixels
                self._held += pixels.nbytes
            while self._held > self._limit and len(self._pixels) > 1:
                self._held -= self._pixels.popitem(last=False)[1].nbytes
        return pixels


def _decode(path: Path) -> Rgb8:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedStimulus(f"{path}: cannot be read ({error.strerror or error}).") from None
    if hashlib.sha256(data).hexdigest() != path.stem:
        raise DamagedStimulus(f"{path}: its bytes are not those that the study was built with.")
    return decode_png(data)


def decode_png(data: bytes) -> Rgb8:
    """Pixels of a PNG of ours: three channels of eight bits, nothing to convert."""
    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        pixels: Rgb8 = np.asarray(image.convert("RGB"))
    return pixels
