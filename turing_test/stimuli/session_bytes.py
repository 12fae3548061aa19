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
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from zlib_ng.zlib_ng import adler32, crc32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.arrays import Rgb8

__all__ = ["DamagedStimulus", "PixelCache", "Pixels", "decode_png", "read_stimulus", "session_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROOF = b"prOf"
"""Type of the chunk with the proof: ancillary, private, safe to copy (PNG, section 5.4)."""

AES_BLOCK = 16  # bytes

LONGEST_BLOCK = 0xFFFF
"""Bytes that a block of deflate holds at most when they are stored as they are (RFC 1951, section 3.2.4)."""


class DamagedStimulus(RuntimeError):
    """A file of a study is not what its name says."""


_own = threading.local()


def _memory(name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """An array of this thread, zeros at first and then as it was left: getting a new one takes as long as the work in it."""
    array: NDArray[Any] | None = getattr(_own, name, None)
    if array is None or array.shape != shape:
        array = np.zeros(shape, kind)
        setattr(_own, name, array)
    return array


# Eight colour values are one number: what happens to one never reaches the next, and numpy does all in few steps.
_WORD = 8
_SHIFTS = np.arange(0, 8, 2, dtype=np.uint64)[:, None]
_ONE, _LOWER_BITS = np.uint64(1), np.uint64(0x5555_5555_5555_5555)
_NOISE_BITS, _END_BITS = 0b11, 0b01


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The colour values of an image, ready to get noise of -1, 0 or 1 each, with probabilities 1/4, 1/2, 1/4.

    Black and white stay within range: at 0 the noise is 0 or 1, at 255 it is -1 or 0, with probabilities 1/2, 1/2.

    Attributes
    ----------
    height, width : int
    least : ndarray of uint64, shape (4, n_words)
        The least value that each may become, in the order of a PNG: before each row, a 0 that gets no noise. The image lies in four
        quarters, one after the other, with zeros at the end.
    allowed : ndarray of uint64, shape (4, n_words)
        By which bits of a number from 0 to 2 each value may become more: both, the lower one, none.
    """

    height: int
    width: int
    least: NDArray[np.uint64]
    allowed: NDArray[np.uint64]

    @classmethod
    def of(cls, rgb8: Rgb8) -> Pixels:
        """Of an image.

        Parameters
        ----------
        rgb8 : ndarray of uint8, shape (height, width, 3)
        """
        height, width, _ = rgb8.shape
        n_bytes = height * (1 + 3 * width)
        shape = (4, -(-n_bytes // (4 * _WORD)))
        least, allowed = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
        is_end = (rgb8 == 0) | (rgb8 == 255)
        for words, values in (
            (least, np.where(rgb8 == 0, 0, rgb8 - 1)),
            (allowed, np.where(is_end, _END_BITS, _NOISE_BITS)),
        ):
            rows = words.view(np.uint8).reshape(-1)[:n_bytes].reshape(height, -1)
            rows[:, 1:] = values.reshape(height, -1)
        return cls(height=height, width=width, least=least, allowed=allowed)

    @property
    def n_held_bytes(self) -> int:
        """How much memory it takes."""
        return self.least.nbytes + self.allowed.nbytes

    def with_noise(self, seed: bytes) -> Rgb8:
        """The image as a session gets it.

        Parameters
        ----------
        seed : bytes
            32 bytes, secret: who knows them can take the noise away.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        return self.rows(seed)[:, 1:].reshape(self.height, self.width, 3).copy()

    def rows(self, seed: bytes) -> NDArray[np.uint8]:
        """The image with noise as the rows of a PNG, each behind the 0 that says that nothing is filtered.

        Returns
        -------
        ndarray of uint8, shape (height, 1 + 3 * width)
            Only until the next call in this thread.
        """
        noisy = _memory("noisy", self.least.shape, np.uint64)
        np.right_shift(_noise(self.least.shape[1], seed), _SHIFTS, out=noisy)
        np.bitwise_and(noisy, self.allowed, out=noisy)
        np.add(noisy, self.least, out=noisy)
        n_bytes = self.height * (1 + 3 * self.width)
        return noisy.view(np.uint8).reshape(-1)[:n_bytes].reshape(self.height, -1)


def _noise(n_words: int, seed: bytes) -> NDArray[np.uint64]:
    """Numbers 0, 1 or 2, with probabilities 1/4, 1/2, 1/4, in two bits each; only until the next call in this thread.

    Each is how many of two random bits are set. These are the key stream of AES in counter mode with the seed, 32 bytes, as its key:
    no two images have the same seed, so the counter may begin at 0 for each.
    """
    n_bytes = _WORD * n_words
    plain, stream = _memory("plain", (n_bytes,), np.uint8), _memory("stream", (n_bytes + AES_BLOCK - 1,), np.uint8)
    Cipher(algorithms.AES(seed), modes.CTR(bytes(AES_BLOCK))).encryptor().update_into(plain.data, stream.data)
    bits, noise = stream[:n_bytes].view(np.uint64), _memory("noise", (n_words,), np.uint64)
    np.right_shift(bits, _ONE, out=noise)
    np.bitwise_and(noise, _LOWER_BITS, out=noise)
    np.bitwise_and(bits, _LOWER_BITS, out=bits)
    np.add(noise, bits, out=noise)
    return noise


def session_png(pixels: Pixels, seed: bytes, proof: bytes) -> bytes:
    """Encode an image for one session.

    Parameters
    ----------
    pixels : Pixels
    seed : bytes
        Of the noise (`turing_test.sessions.tokens.image_noise`).
    proof : bytes
        What a page that has fetched the file to its end can say (`turing_test.sessions.tokens.image_proof`).

    Returns
    -------
    bytes
        A PNG whose length depends on height and width alone.
    """
    data = _chunk(b"IDAT", _stored(pixels.rows(seed).reshape(-1).data))
    return b"".join([_beginning(pixels.height, pixels.width), *data, *_chunk(PROOF, [proof]), _END])


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


def _chunk(kind: bytes, content: Iterable[bytes | memoryview]) -> tuple[bytes, bytes, bytes]:
    whole = b"".join([kind, *content])  # one checksum of a copy is faster than those of many parts
    return struct.pack(">I", len(whole) - len(kind)), whole, struct.pack(">I", crc32(whole))


@lru_cache(16)
def _beginning(height: int, width: int) -> bytes:
    return _SIGNATURE + b"".join(_chunk(b"IHDR", [struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)]))


_END = b"".join(_chunk(b"IEND", []))


class PixelCache:
    """Decoded stimuli, the latest used ones, within a limit of memory.

    Parameters
    ----------
    limit_bytes : int
    """

    def __init__(self, limit_bytes: int = 512 << 20) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._pixels: OrderedDict[Path, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, path: Path) -> bool:
        """Whether the pixels of a stimulus are in memory, and reading them takes no time."""
        with self._lock:
            return path in self._pixels

    def read(self, path: Path) -> Pixels:
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
        pixels = Pixels.of(read_stimulus(path))
        with self._lock:
            if path not in self._pixels:
                self._pixels[path] = pixels
                self._held += pixels.n_held_bytes
            while self._held > self._limit and len(self._pixels) > 1:
                self._held -= self._pixels.popitem(last=False)[1].n_held_bytes
        return pixels


def read_stimulus(path: Path) -> Rgb8:
    """The image of a stimulus, named by the SHA-256 of its bytes.

    Raises
    ------
    DamagedStimulus
        When the file is gone or its bytes have another digest.
    """
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
