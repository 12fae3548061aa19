"""Sealed files: same pixels, same length, no two alike."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from turing_test.stimuli.sealing import MIN_PADDING, encode, nonce, seal, sealed_length
from turing_test.study.manifest import Stimulus


def some_pixels(seed, size=16):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, 5000))
def test_pixels_survive_and_the_length_is_exact(seed, extra):
    png = encode(some_pixels(seed))
    length = len(png) + MIN_PADDING + extra
    sealed = seal(png, length, b"noise")
    assert len(sealed) == length
    assert np.array_equal(np.asarray(Image.open(BytesIO(sealed))), some_pixels(seed))


def test_every_chunk_is_valid_and_nothing_but_pixels_and_padding_is_inside():
    sealed, at, kinds = seal(encode(some_pixels(0)), 4096, b"noise"), 8, []
    while at < len(sealed):
        size, kind = struct.unpack_from(">I4s", sealed, at)
        assert zlib.crc32(sealed[at + 4 : at + 8 + size]) == struct.unpack_from(">I", sealed, at + 8 + size)[0]
        kinds.append(kind)
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"paDd", b"IEND"]
    # Ancillary, private, reserved bit unset, safe to copy: decoders must skip it (PNG, section 5.4).
    assert [chr(c).islower() for c in b"paDd"] == [True, True, False, True]


def test_equal_pixels_of_different_meaning_do_not_hash_alike():
    png = encode(some_pixels(0))
    real, fake = Stimulus("a", "truth"), Stimulus("a", "method", "gray")
    assert seal(png, 4096, nonce(b"k" * 32, real)) != seal(png, 4096, nonce(b"k" * 32, fake))


def test_the_noise_cannot_be_guessed_without_the_secret():
    assert nonce(b"k" * 32, Stimulus("a", "truth")) != nonce(b"l" * 32, Stimulus("a", "truth"))


def test_fields_of_a_stimulus_do_not_run_into_each_other():
    assert nonce(b"k", Stimulus("bc", "method", "a")) != nonce(b"k", Stimulus("c", "method", "ab"))


@given(st.integers(1, 10**6))
def test_the_common_length_leaves_room(longest):
    assert sealed_length(longest) >= longest + MIN_PADDING
    assert sealed_length(longest) % 1024 == 0


def test_what_cannot_be_sealed_is_refused():
    png = encode(some_pixels(0))
    with pytest.raises(ValueError, match="cannot be sealed"):
        seal(png, len(png) + MIN_PADDING - 1, b"")
    with pytest.raises(ValueError, match="no PNG"):
        seal(png[:-1], 10_000, b"")
