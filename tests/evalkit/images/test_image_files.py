"""Decoding: every format and depth, the fast decoders against Pillow, colour management, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import kornia_rs.io
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_bytes import chunk, encoded, nearest_8_bit, tiff, with_pillow
from PIL import Image, ImageCms, ImageOps

from evalkit.errors import InputError
from evalkit.images import image_files
from evalkit.images._headers import exif_orientation
from evalkit.images.image_files import (
    IMAGE_SUFFIXES,
    decode,
    decode_bytes,
    decoder_versions,
    encode_png,
    resize,
    write_png,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (29, 37, 3), dtype=np.uint8)
NOISE_16 = RNG.integers(0, 65536, (29, 37, 3), dtype=np.uint16)


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(
    pixels: np.ndarray, color_type: int, *, interlaced: bool = False, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG written from the specification: any depth and channels, chunks of one's own around the pixels."""
    depth = 8 * pixels.itemsize
    passes = [pixels[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [pixels]
    big_endian = [p.astype(p.dtype.newbyteorder(">")) for p in passes if p.size]
    rows = b"".join(b"\0" + row.tobytes() for image in big_endian for row in image)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, color_type, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.fixture
def no_fast_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_fast_png", lambda: None)
    monkeypatch.setattr(image_files, "_fast_jpeg", lambda: None)


@pytest.fixture
def only_fast_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, kind: str) -> None:
        pytest.fail("this file should not need Pillow")

    monkeypatch.setattr(image_files, "read_with_pillow", fail)


# --- lossless files ----------------------------------------------------------------------------------------------


RGB_FILES = {
    "PNG": encoded(NOISE, "PNG"),
    "PNG, RGBA, opaque": encoded(Image.fromarray(NOISE).convert("RGBA"), "PNG"),
    "PNG, interlaced": png(NOISE, 2, interlaced=True),
    "PNG with a colour key that no pixel has": png(NOISE // 2, 2, before=chunk(b"tRNS", b"\0\xff" * 3)),
    "BMP": encoded(NOISE, "BMP"),
    "BMP, RGBA, opaque": encoded(Image.fromarray(NOISE).convert("RGBA"), "BMP"),
    "WEBP, lossless": encoded(NOISE, "WEBP", lossless=True),
    "TIFF": encoded(NOISE, "TIFF"),
    "TIFF, big-endian, tiled, in planes": tiff(
        np.moveaxis(NOISE, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16), byteorder=">"
    ),
    **{f"TIFF, {c}": encoded(NOISE, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits")},
}


@pytest.mark.parametrize("what", RGB_FILES)
def test_lossless_rgb_files_give_back_their_pixels(what: str) -> None:
    image = decode_bytes(RGB_FILES[what])
    expected = NOISE // 2 if "key" in what else NOISE
    np.testing.assert_array_equal(image.rgb8, expected)
    assert image.format == what.split(",")[0].split(" ")[0]
    assert (image.is_gray, image.notes) == (False, ())
    assert image.sha256 == hashlib.sha256(RGB_FILES[what]).hexdigest()


@pytest.mark.parametrize("what", RGB_FILES)
def test_pixels_are_contiguous_writeable_bytes(what: str) -> None:
    # numba compiles a second version of every kernel for read-only arrays, a third for strided ones.
    rgb8 = decode_bytes(RGB_FILES[what]).rgb8
    assert rgb8.dtype == np.uint8
    assert rgb8.flags.c_contiguous
    assert rgb8.flags.writeable


def test_a_palette_file_gives_the_colours_of_its_palette() -> None:
    palette = Image.fromarray(NOISE).quantize(16)
    for data in (encoded(palette, "PNG"), encoded(palette, "BMP"), encoded(palette, "TIFF")):
        image = decode_bytes(data)
        np.testing.assert_array_equal(image.rgb8, np.array(palette.convert("RGB")))
        assert not image.is_gray


GRAY = Image.fromarray(NOISE[..., 0])
GRAY_FILES = {
    "PNG": encoded(GRAY, "PNG"),
    "PNG with alpha, opaque": encoded(GRAY.convert("LA"), "PNG"),
    "BMP": encoded(GRAY, "BMP"),
    "TIFF": encoded(GRAY, "TIFF"),
    "TIFF, zero is white": tiff(255 - NOISE[..., 0], photometric="miniswhite"),
}


@pytest.mark.parametrize("what", GRAY_FILES)
def test_gray_files_are_recognised_and_have_three_equal_channels(what: str) -> None:
    image = decode_bytes(GRAY_FILES[what])
    assert image.is_gray
    np.testing.assert_array_equal(image.rgb8, np.repeat(NOISE[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_files_are_black_and_white(kind: str) -> None:
    bits = NOISE[..., 0] > 127
    image = decode_bytes(encoded(Image.fromarray(bits), kind))
    np.testing.assert_array_equal(image.rgb8[..., 1], bits * 255)


def test_an_rgb_file_that_is_gray_in_fact_is_not_called_gray() -> None:
    assert not decode_bytes(encoded(GRAY.convert("RGB"), "PNG")).is_gray


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40).map(lambda s: (*s, 3))))
@settings(max_examples=50, deadline=None)
def test_png_written_here_reads_back_the_same(rgb8: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_bytes(encode_png(rgb8)).rgb8, rgb8)


# --- 16 bits -----------------------------------------------------------------------------------------------------


def test_every_16_bit_value_is_rounded_to_the_nearest_of_8_bits() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for data in (encoded(Image.fromarray(every), "PNG"), tiff(every), tiff(every, byteorder=">")):
        image = decode_bytes(data)
        np.testing.assert_array_equal(image.rgb8[..., 0], nearest_8_bit(every))
        np.testing.assert_array_equal(image.rgb8[..., 0], np.rint(every * (255 / 65535)))
        assert image.is_gray
        assert image.notes == ("16-bit, rounded to 8",)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_every_colour_type(color_type: int, channels: int, interlaced: bool) -> None:
    samples = RNG.integers(0, 65536, (29, 37, channels), dtype=np.uint16)
    if channels in (2, 4):
        samples[..., -1] = 65535
    image = decode_bytes(png(samples, color_type, interlaced=interlaced))
    color = samples[..., :3] if channels > 2 else samples[..., :1]
    np.testing.assert_array_equal(image.rgb8, np.broadcast_to(nearest_8_bit(color), (29, 37, 3)))
    assert image.is_gray == (channels <= 2)
    assert image.notes == ("16-bit, rounded to 8",)


def test_16_bit_rgb_png_agrees_with_kornia() -> None:
    data = png(NOISE_16, 2)
    samples = kornia_rs.io.decode_image_png_u16(data, NOISE_16.shape[:2], "rgb")
    np.testing.assert_array_equal(decode_bytes(data).rgb8, nearest_8_bit(samples))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}], ids=str)
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_rgb_tiff_agrees_with_tifffile(channels: int, options: dict, tile: object, byteorder: str) -> None:
    samples = NOISE_16
    if channels == 4:
        samples = np.dstack([NOISE_16, np.full(NOISE_16.shape[:2], 65535, np.uint16)])
        options = {**options, "extrasamples": ["unassalpha"]}
    data = tiff(samples, photometric="rgb", tile=tile, byteorder=byteorder, **options)
    expected = nearest_8_bit(tifffile.imread(io.BytesIO(data))[..., :3])
    image = decode_bytes(data)
    np.testing.assert_array_equal(image.rgb8, expected)
    assert image.notes == ("16-bit, rounded to 8",)


def test_16_bit_tiff_that_pillow_would_misread_is_refused() -> None:
    with pytest.raises(InputError, match="zero is white"):
        decode_bytes(tiff(NOISE_16[..., 0], photometric="miniswhite"))


# --- fast decoders against Pillow --------------------------------------------------------------------------------


JPEG_OPTIONS = {
    "4:2:0": {},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "low quality": {"quality": 20},
    "high quality, optimised": {"quality": 98, "optimize": True},
    "restart markers": {"restart_marker_blocks": 3},
    "RGB inside": {"keep_rgb": True},
}


@pytest.mark.usefixtures("only_fast_decoders")
@pytest.mark.parametrize("what", JPEG_OPTIONS)
def test_jpeg_has_the_same_bits_as_pillow(what: str, photos: dict[str, np.ndarray]) -> None:
    for photo in photos.values():
        crop = photo[50:203, 20:241]  # odd sides: blocks and chroma samples are cut
        data = encoded(crop, "JPEG", **JPEG_OPTIONS[what])
        image = decode_bytes(data)
        np.testing.assert_array_equal(image.rgb8, with_pillow(data))
        assert (image.format, image.is_gray, image.notes) == ("JPEG", False, ())


@pytest.mark.usefixtures("only_fast_decoders")
@pytest.mark.parametrize("progressive", [False, True])
def test_gray_jpeg_has_the_same_bits_as_pillow(progressive: bool, photos: dict[str, np.ndarray]) -> None:
    data = encoded(Image.fromarray(photos["chelsea"]).convert("L"), "JPEG", progressive=progressive)
    image = decode_bytes(data)
    np.testing.assert_array_equal(image.rgb8, with_pillow(data))
    assert image.is_gray


@pytest.mark.usefixtures("only_fast_decoders")
def test_png_has_the_same_bits_as_pillow(photos: dict[str, np.ndarray]) -> None:
    for photo in photos.values():
        for image in (Image.fromarray(photo), Image.fromarray(photo).convert("RGBA")):
            data = encoded(image, "PNG", compress_level=1)
            np.testing.assert_array_equal(decode_bytes(data).rgb8, photo)


@pytest.mark.usefixtures("only_fast_decoders")
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (7, 9), (16, 17)])
def test_small_and_odd_sizes_have_the_same_bits_as_pillow(shape: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_bytes(encoded(pixels, "PNG")).rgb8, pixels)
    for subsampling in (0, 1, 2):
        data = encoded(pixels, "JPEG", subsampling=subsampling)
        np.testing.assert_array_equal(decode_bytes(data).rgb8, with_pillow(data))


def test_jpeg_in_a_subsampling_without_a_name_goes_to_pillow() -> None:
    data = bytearray(encoded(np.full((16, 16, 3), (200, 40, 90), np.uint8), "JPEG", subsampling=2))
    second_component = data.index(b"\xff\xc0") + 14
    assert data[second_component] == 0x11
    data[second_component] = 0x12  # one chroma plane taller than the other
    header = image_files.read_jpeg_header(bytes(data))
    assert header is not None
    assert not header.plain
    np.testing.assert_array_equal(decode_bytes(bytes(data)).rgb8, with_pillow(bytes(data)))


def test_every_shared_image_has_the_same_bits_as_pillow(shared_data: Path) -> None:
    paths = [p for p in sorted(shared_data.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    assert paths
    converted = []
    for path in paths:
        image = decode(path)
        if image.notes:
            converted.append(path.name)
        else:
            assert np.array_equal(image.rgb8, with_pillow(path.read_bytes())), path
    assert len(converted) < len(paths) / 100  # the photos with a wide-gamut or camera profile


@pytest.mark.usefixtures("no_fast_decoders")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_without_the_fast_decoders_pillow_gives_the_same_bits(kind: str, photos: dict[str, np.ndarray]) -> None:
    data = encoded(photos["astronaut"], kind)
    np.testing.assert_array_equal(decode_bytes(data).rgb8, with_pillow(data))
    assert decoder_versions()["png"].startswith("Pillow")
    assert decoder_versions()["jpeg"].startswith("Pillow")


def test_decoder_versions_name_the_libraries_in_use() -> None:
    versions = decoder_versions()
    assert list(versions) == ["png", "jpeg", "other", "icc"]
    assert versions["png"].startswith("kornia-rs ")
    assert versions["jpeg"].startswith("simplejpeg ")
    assert versions["icc"].startswith("LittleCMS 2")


# --- orientation -------------------------------------------------------------------------------------------------


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def oriented(kind: str, orientation: int) -> bytes:
    if kind == "TIFF":
        return encoded(NOISE, "TIFF", tiffinfo={274: orientation})
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(NOISE, kind, exif=exif(orientation), **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied_as_pillow_does_on_request(kind: str, orientation: int) -> None:
    data = oriented(kind, orientation)
    image = decode_bytes(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(image.rgb8, np.array(upright))
    assert image.rgb8.flags.c_contiguous
    assert len(image.notes) == (orientation != 1)
    assert all(f"orientation {orientation} applied" in note for note in image.notes)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    # Where the stored first pixel belongs: row 0 of the file is the named side of the scene (EXIF 2.32, table 6).
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_orientation_moves_the_first_pixel_where_the_standard_says(orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((3, 5, 3), np.uint8)
    pixels[0, 0] = 255
    image = decode_bytes(encoded(pixels, "PNG", exif=exif(orientation)))
    assert image.rgb8.shape == ((3, 5, 3) if orientation <= 4 else (5, 3, 3))
    assert image.rgb8[corner].min() == 255
    assert image.rgb8.sum() == 3 * 255


def test_orientation_after_the_pixels_of_a_png_counts_too() -> None:
    data = png(NOISE, 2, after=chunk(b"eXIf", exif(3).removeprefix(b"Exif\0\0")))
    np.testing.assert_array_equal(decode_bytes(data).rgb8, NOISE[::-1, ::-1])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_undefined_orientations_leave_the_image_as_it_is(orientation: int) -> None:
    image = decode_bytes(encoded(NOISE, "PNG", exif=exif(orientation)))
    np.testing.assert_array_equal(image.rgb8, NOISE)
    assert image.notes == ()


@given(st.binary(max_size=200).map(lambda tail: b"II*\0" + tail) | st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_damaged_exif_never_stops_a_file_from_being_read(block: bytes) -> None:
    assert exif_orientation(block) in range(1, 9)


# --- colour profiles ---------------------------------------------------------------------------------------------

D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz_d50(primaries: tuple) -> np.ndarray:
    """Matrix from linear RGB to XYZ relative to D50, from chromaticities (Bradford-adapted, as ICC.1 asks)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    rgb_to_xyz = columns * np.linalg.solve(columns, white)
    gain = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(gain) @ BRADFORD @ rgb_to_xyz


def srgb_to_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(v: np.ndarray) -> np.ndarray:
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def icc_profile(curve, primaries: tuple | None, name: str = "made for a test") -> bytes:
    """A version 2 display profile, from ICC.1: matrix and curves, or gray where there are no primaries."""
    samples = np.rint(curve(np.linspace(0, 1, 4096)) * 65535).astype(">u2").tobytes()
    trc = b"curv\0\0\0\0" + struct.pack(">I", 4096) + samples

    def xyz(values: object) -> bytes:
        return b"XYZ \0\0\0\0" + np.rint(np.asarray(values) * 65536).astype(">i4").tobytes()

    ascii_name = name.encode() + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(ascii_name)) + ascii_name + bytes(78)
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(D50)}
    if primaries is None:
        tags[b"kTRC"] = trc
    else:
        columns = to_xyz_d50(primaries).T
        tags |= {b"rXYZ": xyz(columns[0]), b"gXYZ": xyz(columns[1]), b"bXYZ": xyz(columns[2])}
        tags |= {b"rTRC": trc, b"gTRC": trc, b"bTRC": trc}
    offset = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for signature, body in tags.items():
        table += signature + struct.pack(">II", offset + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    space = b"GRAY" if primaries is None else b"RGB "
    header = struct.pack(">I4sI4s4s4s", offset + len(bodies), b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + xyz(D50)[8:]
    return header.ljust(128, b"\0") + table + bodies


def expected_srgb(rgb8: np.ndarray, curve, primaries: tuple) -> np.ndarray:
    """Colorimetry by matrix and curve, without any colour management library."""
    linear = curve(rgb8 / 255) @ (np.linalg.inv(to_xyz_d50(SRGB)) @ to_xyz_d50(primaries)).T
    return linear_to_srgb(linear) * 255


def gamma_22(v: np.ndarray) -> np.ndarray:
    return v ** (563 / 256)


PROFILES = {"Display P3": (srgb_to_linear, DISPLAY_P3), "Adobe RGB (1998)": (gamma_22, ADOBE_RGB)}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_wide_gamut_profiles_are_converted_as_colorimetry_says(kind: str, name: str) -> None:
    curve, primaries = PROFILES[name]
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode_bytes(encoded(NOISE, kind, icc_profile=icc_profile(curve, primaries, name), **options))
    expected = expected_srgb(NOISE, curve, primaries)
    assert np.abs(image.rgb8 - expected).max() <= 1
    assert np.abs(NOISE - expected).max() > 20  # the profile matters
    assert image.notes == (f"ICC profile '{name}' converted to sRGB",)


def test_a_profile_in_a_jpeg_is_converted_too(photos: dict[str, np.ndarray]) -> None:
    data = encoded(photos["coffee"], "JPEG", icc_profile=icc_profile(srgb_to_linear, DISPLAY_P3))
    expected = expected_srgb(with_pillow(data), srgb_to_linear, DISPLAY_P3)
    assert np.abs(decode_bytes(data).rgb8 - expected).max() <= 1


def test_a_large_profile_in_several_jpeg_segments_is_joined() -> None:
    profile = icc_profile(srgb_to_linear, DISPLAY_P3)
    data = encoded(NOISE, "JPEG", icc_profile=profile)
    start = data.index(b"\xff\xe2")
    (length,) = struct.unpack_from(">H", data, start + 2)
    halves = [profile[:5000], profile[5000:]]
    parts = [b"ICC_PROFILE\0" + bytes((k + 1, 2)) + half for k, half in enumerate(halves)]
    segments = [b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts]
    before, after = data[:start], data[start + 2 + length :]
    for joined in (segments, segments[::-1]):  # the order in the file is free
        image = decode_bytes(before + b"".join(joined) + after)
        np.testing.assert_array_equal(image.rgb8, decode_bytes(data).rgb8)
    with pytest.raises(InputError, match="a part of its colour profile is missing"):
        decode_bytes(before + segments[1] + after)


def test_orientation_and_profile_are_applied_together() -> None:
    profile = icc_profile(srgb_to_linear, DISPLAY_P3, "Display P3")
    turned = decode_bytes(encoded(NOISE, "PNG", icc_profile=profile, exif=exif(6)))
    plain = decode_bytes(encoded(NOISE, "PNG", icc_profile=profile))
    np.testing.assert_array_equal(turned.rgb8, np.rot90(plain.rgb8, -1))
    assert turned.notes == (*plain.notes, "EXIF orientation 6 applied")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_srgb_profile_leaves_every_pixel_as_it_is(kind: str) -> None:
    builtin = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (builtin, icc_profile(srgb_to_linear, SRGB, "a name that says nothing")):
        data = encoded(NOISE, kind, icc_profile=profile)
        image = decode_bytes(data)
        np.testing.assert_array_equal(image.rgb8, with_pillow(data))
        assert image.notes == ()


def test_a_profile_is_not_srgb_because_its_name_says_so() -> None:
    liar = icc_profile(srgb_to_linear, DISPLAY_P3, "sRGB IEC61966-2.1")
    image = decode_bytes(encoded(NOISE, "PNG", icc_profile=liar))
    assert np.abs(image.rgb8.astype(int) - NOISE).max() > 20
    # The primaries of sRGB with a plain gamma of 2.2 are not sRGB either: dark colours differ.
    gamma = icc_profile(gamma_22, SRGB, "sRGB")
    image = decode_bytes(encoded(NOISE, "PNG", icc_profile=gamma))
    assert np.abs(image.rgb8 - expected_srgb(NOISE, gamma_22, SRGB)).max() <= 1
    assert image.notes


def test_a_gray_profile_is_applied_to_a_gray_file() -> None:
    image = decode_bytes(encoded(GRAY, "PNG", icc_profile=icc_profile(lambda v: v**1.8, None)))
    expected = linear_to_srgb((NOISE[..., 0] / 255) ** 1.8) * 255
    assert np.abs(image.rgb8[..., 0] - expected).max() < 0.51
    assert image.is_gray
    assert (image.rgb8 == image.rgb8[..., :1]).all()


def test_a_gray_file_with_an_rgb_profile_stays_gray() -> None:
    image = decode_bytes(encoded(GRAY, "PNG", icc_profile=icc_profile(gamma_22, ADOBE_RGB)))
    assert (image.rgb8 == image.rgb8[..., :1]).all()
    expected = linear_to_srgb(gamma_22(NOISE[..., 0] / 255)) * 255
    assert np.abs(image.rgb8[..., 0] - expected).max() < 0.55


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (b"no profile at all" * 20, "its ICC profile cannot be used"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(profile: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_bytes(encoded(NOISE, "PNG", icc_profile=profile))


def test_real_photos_with_an_adobe_rgb_profile_follow_colorimetry(shared_data: Path) -> None:
    path = shared_data / "photos" / "imagenet_sample" / "n01532829_house_finch.JPEG"
    image = decode(path)
    assert image.notes == ("ICC profile 'Adobe RGB (1998)' converted to sRGB",)
    expected = expected_srgb(with_pillow(path.read_bytes()), gamma_22, ADOBE_RGB)
    assert np.abs(image.rgb8 - expected).max() <= 1


def test_gamma_and_chromaticity_chunks_are_ignored() -> None:
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"cHRM", struct.pack(">8I", *[31270] * 8))
    for before in (gamma, chunk(b"sRGB", b"\0"), chunk(b"cICP", b"\x01\x0d\x00\x01")):
        image = decode_bytes(png(NOISE, 2, before=before))
        np.testing.assert_array_equal(image.rgb8, NOISE)
        assert image.notes == ()


# --- what is refused ---------------------------------------------------------------------------------------------


def animation(kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def huge(data: bytes, position: int, fields: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(fields, changed, position, *values)
    return bytes(changed)


def huge_png(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def see_through(alpha: int) -> Image.Image:
    image = Image.fromarray(NOISE).convert("RGBA")
    image.putpixel((3, 4), (1, 2, 3, alpha))
    return image


DEEP_ALPHA = np.dstack([NOISE_16, np.full(NOISE_16.shape[:2], 65535, np.uint16)])
DEEP_ALPHA[3, 4, 3] = 65534  # would round to opaque
JPEG = encoded(NOISE, "JPEG")
JPEG_FRAME = JPEG.index(b"\xff\xc0") + 5

REFUSED = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "text": (b"hello", "is not an image; allowed are PNG, JPEG, WebP, TIFF and BMP"),
    "GIF": (encoded(GRAY, "GIF"), "is a GIF image; allowed are PNG"),
    "AVIF": (b"\0\0\0\x1cftypavif", "is an AVIF or HEIC image"),
    "web page": (b"\n<!DOCTYPE html><html>", "is a web page, perhaps of a failed download"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "fetch the real file with `git lfs pull`"),
    "transparent PNG": (encoded(see_through(0), "PNG"), "has transparent pixels"),
    "almost opaque PNG": (encoded(see_through(254), "PNG"), "has transparent pixels"),
    "almost opaque 16-bit PNG": (png(DEEP_ALPHA, 6), "has transparent pixels"),
    "16-bit PNG with a colour key": (png(NOISE_16, 2, before=chunk(b"tRNS", bytes(6))), "transparent"),
    "PNG with a colour key": (png(NOISE, 2, before=chunk(b"tRNS", NOISE[5, 5].astype(">u2").tobytes())), "transparent"),
    "transparent palette": (encoded(GRAY.convert("P"), "PNG", transparency=int(NOISE[0, 0, 0])), "transparent"),
    "transparent WebP": (encoded(see_through(9), "WEBP", lossless=True), "has transparent pixels"),
    "transparent TIFF": (encoded(see_through(9), "TIFF"), "has transparent pixels"),
    "animated PNG": (animation("PNG"), "holds 2 frames or pages"),
    "animated WebP": (animation("WEBP"), "holds 2 frames or pages"),
    "TIFF of two pages": (animation("TIFF"), "holds 2 frames or pages"),
    "CMYK JPEG": (encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"), "stores CMYK inks; convert it"),
    "CMYK TIFF": (encoded(Image.fromarray(NOISE).convert("CMYK"), "TIFF"), "stores CMYK inks"),
    "Lab TIFF": (encoded(Image.new("LAB", (5, 5)), "TIFF"), "stores CIE Lab"),
    "float TIFF": (tiff(NOISE[..., 0] / np.float32(255)), "stores floating-point numbers"),
    "signed TIFF": (tiff(NOISE[..., 0].astype(np.int16)), "stores signed or 32-bit integers"),
    "PNG in another colour space": (png(NOISE, 2, before=chunk(b"cICP", b"\x0c\x0d\0\x01")), "cICP chunk"),
    "huge PNG": (huge_png(20000, 20000), "is 20000 x 20000 pixels; more than 89478485 pixels are refused"),
    "PNG without a pixel": (huge_png(0, 5), "truncated or corrupt PNG"),
    "PNG of fewer pixels than it says": (huge_png(30, 30), "truncated or corrupt PNG"),
    "huge JPEG": (huge(JPEG, JPEG_FRAME, ">HH", 20000, 20000), "is 20000 x 20000 pixels"),
    "JPEG without a pixel": (huge(JPEG, JPEG_FRAME, ">HH", 0, 0), "truncated or corrupt JPEG"),
    "huge BMP": (huge(encoded(NOISE, "BMP"), 18, "<II", 20000, 20000), "is too large|20000 x 20000"),
    "PNG with a wrong sum in its pixels": (bytes(a ^ (i == 60) for i, a in enumerate(encoded(NOISE, "PNG"))), "CRC"),
    "JPEG cut at its end": (JPEG[:-2], "truncated or corrupt JPEG file: Premature end"),
    "PNG cut at its end": (encoded(NOISE, "PNG")[:-4], "ends before its last chunk"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_scored_is_refused_in_a_sentence_that_names_the_file(what: str, tmp_path: Path) -> None:
    data, message = REFUSED[what]
    path = tmp_path / "some image.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_unreadable_paths_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.png", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InputError, match=f"cannot be read.*{reason}") as caught:
            decode(path)
        assert str(path) in str(caught.value)


@pytest.mark.usefixtures("no_fast_decoders")
@pytest.mark.parametrize("what", [w for w in REFUSED if w not in ("JPEG cut at its end",)])
def test_pillow_alone_refuses_the_same_files(what: str) -> None:
    with pytest.raises(InputError):
        decode_bytes(REFUSED[what][0])


@pytest.mark.parametrize("fast", [True, False])
def test_a_jpeg_with_a_preview_behind_the_photo_is_one_image(fast: bool, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("only_fast_decoders" if fast else "no_fast_decoders")
    # Phones write such files (MPF); the second picture is a preview or a gain map.
    data = encoded(NOISE, "MPO", save_all=True, append_images=[Image.fromarray(255 - NOISE)])
    first = encoded(NOISE, "JPEG")
    image = decode_bytes(data)
    assert image.format == "JPEG"
    np.testing.assert_array_equal(image.rgb8, with_pillow(first))


# --- damage ------------------------------------------------------------------------------------------------------


SMALL = np.array(Image.fromarray(NOISE).resize((24, 20), Image.Resampling.BICUBIC))
WHOLE = {
    "PNG": encoded(SMALL, "PNG"),
    "PNG, RGBA": encoded(Image.fromarray(SMALL).convert("RGBA"), "PNG"),
    "PNG, palette": encoded(Image.fromarray(SMALL).quantize(32), "PNG"),
    "PNG, 16-bit": png(SMALL.astype(np.uint16) * 200, 2),
    "JPEG": encoded(SMALL, "JPEG"),
    "JPEG, progressive": encoded(SMALL, "JPEG", progressive=True),
    "JPEG, gray": encoded(Image.fromarray(SMALL).convert("L"), "JPEG"),
    "WebP": encoded(SMALL, "WEBP"),
    "WebP, lossless": encoded(SMALL, "WEBP", lossless=True),
    "BMP": encoded(SMALL, "BMP"),
    "TIFF": encoded(SMALL, "TIFF"),
    "TIFF, LZW": encoded(SMALL, "TIFF", compression="tiff_lzw"),
    "TIFF, 16-bit, deflate": tiff(SMALL.astype(np.uint16) * 200, photometric="rgb", compression="zlib"),
}


@pytest.mark.parametrize("what", WHOLE)
@given(fraction=st.floats(0, 1, exclude_max=True) | st.floats(0.9, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_is_refused_or_gives_the_whole_image(what: str, fraction: float) -> None:
    data = WHOLE[what]
    try:
        image = decode_bytes(data[: int(fraction * len(data))])
    except InputError:
        return
    np.testing.assert_array_equal(image.rgb8, decode_bytes(data).rgb8)


@pytest.mark.parametrize("what", [w for w in WHOLE if w.startswith("PNG")])
def test_a_png_with_a_bit_flipped_anywhere_is_refused(what: str) -> None:
    data = WHOLE[what]
    for position in range(len(data) - 4):  # no pixel hangs on the sum of the last, empty chunk
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(InputError):
            decode_bytes(bytes(damaged))


@pytest.mark.parametrize("what", WHOLE)
@given(position=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_damage_of_any_kind_raises_nothing_but_input_errors(what: str, position: float, noise: bytes) -> None:
    data = WHOLE[what]
    start = int(position * len(data))
    try:
        image = decode_bytes(data[:start] + noise + data[start + len(noise) :])
    except InputError:
        return
    assert image.rgb8.dtype == np.uint8
    assert image.rgb8.ndim == 3


def test_fast_decoders_refuse_a_photo_cut_anywhere(photos: dict[str, np.ndarray]) -> None:
    crop = photos["coffee"][:128, :128]
    for data in (encoded(crop, "JPEG"), encoded(crop, "JPEG", progressive=True), encoded(crop, "PNG")):
        for length in range(20, len(data), len(data) // 200):
            with pytest.raises(InputError):
                decode_bytes(data[:length])


# --- writing -----------------------------------------------------------------------------------------------------


def test_write_png_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 240 + ".png")
    path.write_bytes(b"old")
    write_png(path, NOISE)
    np.testing.assert_array_equal(decode(path).rgb8, NOISE)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_write_png_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_png(tmp_path / "x.png", NOISE)
    finally:
        os.umask(before)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o644


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_png(path, NOISE)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert path.read_bytes() == b"old"


def test_write_png_says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.*cannot be written.*No such file"):
        write_png(tmp_path / "absent" / "x.png", NOISE)


@pytest.mark.parametrize(
    "pixels", [NOISE / 255, NOISE[..., 0], NOISE_16, NOISE[:0], NOISE[..., :2]], ids=lambda a: f"{a.dtype}{a.shape}"
)
def test_arrays_that_are_no_8_bit_rgb_are_refused(pixels: np.ndarray) -> None:
    for function in (encode_png, lambda a: resize(a, 8)):
        with pytest.raises(InputError, match="allowed is uint8"):
            function(pixels)


# --- resizing ----------------------------------------------------------------------------------------------------


def test_warp_is_pillows_bicubic(photos: dict[str, np.ndarray]) -> None:
    photo = photos["chelsea"]
    expected = np.array(Image.fromarray(photo).resize((256, 256), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(photo, 256, "warp"), expected)


@pytest.mark.parametrize("fit", ["warp", "crop"])
def test_an_image_of_the_size_already_is_unchanged(fit: str) -> None:
    square = NOISE[:29, :29]
    resized = resize(square, 29, fit)
    np.testing.assert_array_equal(resized, square)
    assert resized.flags.c_contiguous
    assert resized.flags.writeable


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    # The short side fits already, so that only the cut remains. Odd margins are halved to the even neighbour.
    [((4, 10), (0, 4), (3, 7)), ((10, 4), (3, 7), (0, 4)), ((4, 7), (0, 4), (2, 6)), ((4, 9), (0, 4), (2, 6))],
)
def test_crop_cuts_the_centre(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, 4, "crop"), image[slice(*rows), slice(*columns)])


@pytest.mark.parametrize(("height", "width"), [(300, 451), (451, 300), (64, 500), (31, 17)])
@pytest.mark.parametrize("fit", ["warp", "crop"])
def test_resized_images_are_square_and_keep_a_flat_colour(height: int, width: int, fit: str) -> None:
    flat = np.full((height, width, 3), (10, 120, 250), np.uint8)
    resized = resize(flat, 96, fit)
    assert resized.shape == (96, 96, 3)
    assert (resized == (10, 120, 250)).all()


def test_crop_keeps_the_aspect_ratio(photos: dict[str, np.ndarray]) -> None:
    photo = photos["coffee"]  # 400 x 600
    whole = np.array(Image.fromarray(photo).resize((300, 200), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(photo, 200, "crop"), whole[:, 50:250])


def test_bad_sizes_and_fits_are_refused() -> None:
    with pytest.raises(InputError, match="size is 0; it must be at least 1 pixel"):
        resize(NOISE, 0)
    with pytest.raises(InputError, match="fit is 'stretch'; allowed are 'warp' and 'crop'"):
        resize(NOISE, 8, "stretch")


def test_a_long_strip_is_cropped_before_it_grows(
    monkeypatch: pytest.MonkeyPatch, photos: dict[str, np.ndarray]
) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    strip = np.repeat((np.arange(60000)[:, None, None] + 150) // 300, 3, axis=2).astype(np.uint8)
    np.testing.assert_array_equal(resize(strip, 256, "crop"), np.full((256, 256, 3), strip[30000, 0, 0]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB; whole it would be 12 GB
    photo = photos["chelsea"]
    for resample in ("bicubic", "bilinear"):
        whole = resize(photo, 200, "crop", resample).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(image_files, "MAX_WHOLE_PIXELS", 0)
            assert np.abs(resize(photo, 200, "crop", resample) - whole).max() <= 1


@pytest.mark.parametrize(("name", "reference"), [("bilinear", "BILINEAR"), ("area", "BOX"), ("bicubic", "BICUBIC")])
def test_filters_are_pillows(name: str, reference: str, photos: dict[str, np.ndarray]) -> None:
    photo = photos["coffee"]
    expected = np.array(Image.fromarray(photo).resize((96, 96), getattr(Image.Resampling, reference)))
    np.testing.assert_array_equal(resize(photo, 96, "warp", name), expected)
    with pytest.raises(InputError, match="resample is 'lanczos'; allowed are 'bicubic', 'bilinear', 'area'"):
        resize(photo, 96, "warp", "lanczos")


def test_the_area_filter_is_the_mean_of_what_a_pixel_covers() -> None:
    pixels = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    means = pixels.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 16, "warp", "area") - means).max() <= 1  # two passes, each rounded
