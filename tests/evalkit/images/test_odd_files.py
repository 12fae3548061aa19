"""Files of the real world: what is merely odd is read to the right pixels, what has lost data is refused.

Each is made here, by surgery on the bytes of a sound file, so that the right pixels are known.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_bytes import chunk, encoded, nearest_8_bit, tiff, with_pillow
from PIL import Image, ImageCms
from rare_jpegs import RARE_JPEGS

from evalkit.errors import InputError
from evalkit.images import image_files
from evalkit.images.image_files import DecodeOptions, decode, decode_bytes

RNG = np.random.default_rng(12)
Y, X = np.mgrid[0:61, 0:83]
PIXELS = np.stack([X * 3, Y * 4, 255 - X - Y], axis=-1).astype(np.uint8)
PIXELS[10:30, 20:50] = (200, 30, 60)
NOISE_16 = RNG.integers(0, 65536, (29, 37, 3), dtype=np.uint16)


@pytest.fixture(params=["fast decoders", "Pillow alone"])
def decoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Pillow alone":
        monkeypatch.setattr(image_files, "_fast_png", lambda: None)
        monkeypatch.setattr(image_files, "_fast_jpeg", lambda: None)


# --- JPEG: oddities of the markers -------------------------------------------------------------------------------


BASELINE = encoded(PIXELS, "JPEG", quality=80)
PROGRESSIVE = encoded(PIXELS, "JPEG", quality=80, progressive=True)
JUNK = bytes(range(1, 215))


def sos(data: bytes) -> int:
    return data.index(b"\xff\xda")


def wrong_scan_parameters(data: bytes) -> bytes:
    """As Samsung's cameras wrote: a spectral selection that ends at 0 in a sequential scan."""
    end = sos(data) + 2 + int.from_bytes(data[sos(data) + 2 : sos(data) + 4], "big")
    return data[: end - 3] + b"\0\0\0" + data[end:]


def marker(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + (len(body) + 2).to_bytes(2, "big") + body


def revision(data: bytes, major: int, minor: int) -> bytes:
    place = data.index(b"JFIF\0") + 5
    return data[:place] + bytes((major, minor)) + data[place + 2 :]


ADOBE = marker(0xEE, b"Adobe\0\x64\0\0\0\0\x07")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ICC = marker(0xE2, b"ICC_PROFILE\0\x01\x01" + PROFILE)
HALF_ICC = [marker(0xE2, b"ICC_PROFILE\0" + bytes((k, 2)) + PROFILE[300 * (k - 1) :][:300]) for k in (1, 2)]

ODD_JPEGS = {
    "invalid SOS": (wrong_scan_parameters(BASELINE), "invalid SOS parameters ignored"),
    "junk before the end": (BASELINE[:-2] + JUNK + BASELINE[-2:], "extraneous bytes behind a scan passed over"),
    "junk of all bytes before the end": (
        BASELINE[:-2] + b"\0\xff\0" * 40 + b"\xff" + BASELINE[-2:],
        "extraneous bytes behind a scan",
    ),
    "junk before a table": (
        BASELINE.replace(b"\xff\xdb", b"\x01\x02\x03\xff\xdb", 1),
        "3 extraneous bytes between markers passed over",
    ),
    "junk before the scan": (BASELINE.replace(b"\xff\xda", JUNK + b"\xff\xda", 1), "214 extraneous bytes between"),
    "junk between scans": (PROGRESSIVE.replace(b"\xff\xc4", b"abcdef\xff\xc4"), "extraneous bytes"),
    "JFIF revision 2.01": (revision(BASELINE, 2, 1), "unknown JFIF revision 2.01 ignored"),
    "JFIF revision 0.00": (revision(BASELINE, 0, 0), "unknown JFIF revision 0.00 ignored"),
    "unknown Adobe transform": (BASELINE[:2] + ADOBE + BASELINE[20:], "unknown Adobe colour transform 7 ignored"),
    "profile twice": (BASELINE[:2] + ICC + ICC + BASELINE[2:], "colour profile stored twice, applied once"),
    "all of it": (
        (revision(wrong_scan_parameters(BASELINE), 7, 9)[:-2] + JUNK + b"\xff\xd9").replace(
            b"\xff\xdb", b"zz\xff\xdb", 1
        ),
        "extraneous bytes behind a scan",
    ),
}


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("what", ODD_JPEGS)
def test_a_jpeg_that_every_decoder_reads_alike_is_read_with_a_note(what: str) -> None:
    data, note = ODD_JPEGS[what]
    image = decode_bytes(data)
    sound = PROGRESSIVE if what == "junk between scans" else BASELINE
    np.testing.assert_array_equal(image.rgb8, with_pillow(sound))
    np.testing.assert_array_equal(image.rgb8, with_pillow(data))
    if "fast" in os.environ.get("PYTEST_CURRENT_TEST", "") or "behind a scan" not in note:
        assert any(note in said for said in image.notes), image.notes


@pytest.mark.parametrize("what", [w for w in ODD_JPEGS if w != "profile twice"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.usefixtures("decoders")
def test_an_odd_jpeg_that_has_lost_data_besides_is_refused(what: str, share: float) -> None:
    data = ODD_JPEGS[what][0]
    start = sos(data)
    cut = data[: start + int(share * (len(BASELINE) - start - 40))]
    for damaged in (cut, cut + b"\xff\xd9"):
        with pytest.raises(InputError, match="truncated or corrupt JPEG"):
            decode_bytes(damaged)


def test_a_sound_jpeg_has_no_note() -> None:
    for data in (BASELINE, PROGRESSIVE):
        assert decode_bytes(data).notes == ()


def test_profiles_in_pieces_are_joined_and_those_that_contradict_each_other_refused() -> None:
    both = HALF_ICC[0] + HALF_ICC[1]
    assert len(PROFILE) <= 600
    assert decode_bytes(BASELINE[:2] + both + BASELINE[2:]).notes == ()
    assert decode_bytes(BASELINE[:2] + both + both + BASELINE[2:]).notes == (
        "colour profile stored twice, applied once",
    )
    with pytest.raises(InputError, match="a part of its colour profile is missing"):
        decode_bytes(BASELINE[:2] + HALF_ICC[1] + BASELINE[2:])
    other = marker(0xE2, b"ICC_PROFILE\0\x01\x01" + PROFILE[:-1] + b"x")
    with pytest.raises(InputError, match="two colour profiles that differ"):
        decode_bytes(BASELINE[:2] + ICC + other + BASELINE[2:])


def test_a_twice_stored_profile_is_applied() -> None:
    swapped = bytearray(PROFILE)  # red and blue primaries change places: colours move, wherever it is applied
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 1], swapped[blue : blue + 1] = b"b", b"r"
    once = marker(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(swapped))
    single = decode_bytes(BASELINE[:2] + once + BASELINE[2:])
    double = decode_bytes(BASELINE[:2] + once + once + BASELINE[2:])
    assert not np.array_equal(single.rgb8, with_pillow(BASELINE))
    np.testing.assert_array_equal(double.rgb8, single.rgb8)
    assert len(double.notes) == 2


# --- JPEG: lost data in every kind of coding ---------------------------------------------------------------------


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("what", RARE_JPEGS)
def test_rare_codings_have_pillows_pixels_and_no_note(what: str) -> None:
    image = decode_bytes(RARE_JPEGS[what])
    assert image.rgb8.shape == (45, 67, 3)
    np.testing.assert_array_equal(image.rgb8, with_pillow(RARE_JPEGS[what]))
    assert image.notes == ()


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("what", [*RARE_JPEGS, "baseline", "progressive"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_half_a_file_is_refused_in_every_coding(what: str, share: float) -> None:
    data = {**RARE_JPEGS, "baseline": BASELINE, "progressive": PROGRESSIVE}[what]
    start = sos(data) + 16
    cut = data[: start + int(share * (len(data) - start))]
    while cut[-1] == 0xFF:
        cut = cut[:-1]
    for damaged in (cut, cut + b"\xff\xd9"):
        with pytest.raises(InputError, match="truncated or corrupt JPEG"):
            decode_bytes(damaged)


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("what", ["progressive", "4:1:0, progressive", "arithmetic coding, progressive"])
def test_missing_scans_are_lost_data(what: str) -> None:
    data = {**RARE_JPEGS, "progressive": PROGRESSIVE}[what]
    scans = [k for k in range(len(data)) if data[k : k + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for last in scans[1:]:
        closed = data[:last] + b"\xff\xd9"  # libjpeg does not even warn
        assert with_pillow(closed).shape[2] == 3
        with pytest.raises(InputError, match="a part of its scans is missing"):
            decode_bytes(closed)


# --- PNG of video --------------------------------------------------------------------------------------------------


def png_with(before: bytes, pixels: np.ndarray = PIXELS) -> bytes:
    data = encoded(pixels, "PNG")
    return data[:33] + before + data[33:]


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("transfer", [1, 6, 14, 15])
def test_frames_of_bt709_video_are_read_as_srgb_with_a_note(transfer: int) -> None:
    image = decode_bytes(png_with(chunk(b"cICP", bytes((1, transfer, 0, 1)))))
    np.testing.assert_array_equal(image.rgb8, PIXELS)
    assert len(image.notes) == 1
    assert f"transfer {transfer}), read as sRGB" in image.notes[0]


def test_srgb_code_points_need_no_note_and_unspecified_ones_do() -> None:
    assert decode_bytes(png_with(chunk(b"cICP", bytes((1, 13, 0, 1))))).notes == ()
    for code_points in ((2, 2, 0, 1), (1, 2, 0, 1), (2, 13, 0, 1)):
        image = decode_bytes(png_with(chunk(b"cICP", bytes(code_points))))
        np.testing.assert_array_equal(image.rgb8, PIXELS)
        assert image.notes == ("cICP with unspecified values, read as sRGB",)


@pytest.mark.usefixtures("decoders")
def test_a_note_on_16_bit_frames_stands_beside_that_on_the_depth() -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in NOISE_16)
    header = struct.pack(">IIBBBBB", 37, 29, 16, 2, 0, 0, 0)
    body = chunk(b"cICP", b"\1\1\0\1") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    image = decode_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body)
    np.testing.assert_array_equal(image.rgb8, nearest_8_bit(NOISE_16))
    assert image.notes == ("16-bit, rounded to 8", "cICP of BT.709 video (transfer 1), read as sRGB")


@pytest.mark.parametrize(
    ("code_points", "command"),
    [
        ((12, 13, 0, 1), "zscale=min=gbr:rin=full:pin=smpte432:tin=iec61966-2-1:p=709:t=iec61966-2-1"),  # Display P3
        ((9, 16, 0, 1), "pin=2020:tin=smpte2084.*tonemap=hable"),  # HDR10
        ((9, 18, 0, 1), "pin=2020:tin=arib-std-b67.*tonemap=hable"),  # HLG
        ((6, 6, 0, 1), "pin=170m:tin=709"),  # standard definition
        ((1, 1, 0, 0), "rin=limited:pin=709:tin=709"),  # values from 16 to 235
        ((1, 8, 0, 1), "tin=linear"),
    ],
)
def test_other_colour_spaces_are_refused_with_the_command_that_converts(
    code_points: tuple[int, ...], command: str
) -> None:
    with pytest.raises(InputError, match=rf"other than sRGB.*ffmpeg -i IN.png -vf .*{command}.* OUT.png\.$"):
        decode_bytes(png_with(chunk(b"cICP", bytes(code_points))))


# --- profiles for another kind of image ----------------------------------------------------------------------------


def profile_for(space: bytes) -> bytes:
    """An sRGB profile whose header says that it is for another colour space."""
    return PROFILE[:16] + space + PROFILE[20:]


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("space", ["GRAY", "CMYK"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_for_another_kind_of_image_is_ignored_with_a_note(kind: str, space: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(PIXELS, kind, icc_profile=profile_for(space.encode()), **options)
    image = decode_bytes(data)
    np.testing.assert_array_equal(image.rgb8, with_pillow(data))
    (note,) = image.notes
    assert f"is for {space} images and was ignored" in note


# --- TIFF and BMP --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "options", "stored"),
    [
        (NOISE_16.astype(np.float32) / 65535, {"photometric": "rgb"}, "floating-point numbers of 32 bits"),
        (NOISE_16 / 65535, {"photometric": "rgb"}, "floating-point numbers of 64 bits"),
        ((NOISE_16 / 65535).astype(np.float16), {"photometric": "rgb"}, "floating-point numbers of 16 bits"),
        ((NOISE_16[..., 0] / 65535).astype(np.float16), {}, "floating-point numbers of 16 bits"),
        (
            (NOISE_16 / 65535).astype(np.float16),
            {"photometric": "rgb", "bigtiff": True},
            "floating-point numbers of 16 bits",
        ),
        (NOISE_16.astype(np.int16), {"photometric": "rgb"}, "signed integers of 16 bits"),
        (NOISE_16.astype(np.uint32), {"photometric": "rgb"}, "32 bits a sample"),
    ],
)
def test_numbers_without_a_defined_range_are_called_by_their_name(
    samples: np.ndarray, options: dict[str, object], stored: str
) -> None:
    with pytest.raises(InputError, match=f"stores {stored}; convert it to 8- or 16-bit RGB or gray"):
        decode_bytes(tiff(samples, **options))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}], ids=str)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}], ids=str)
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_planes_are_rounded_to_the_nearest(channels: int, options: dict, layout: dict, byteorder: str) -> None:
    samples = NOISE_16
    if channels == 4:
        samples = np.dstack([NOISE_16, np.full(NOISE_16.shape[:2], 65535, np.uint16)])
        options = {**options, "extrasamples": ["unassalpha"]}
    planes = np.moveaxis(samples, -1, 0)
    data = tiff(planes, photometric="rgb", planarconfig="separate", byteorder=byteorder, **layout, **options)
    image = decode_bytes(data)
    np.testing.assert_array_equal(image.rgb8, nearest_8_bit(NOISE_16))
    assert image.notes == ("16-bit, rounded to 8",)


def bmp_5_6_5(values: np.ndarray) -> bytes:
    """A BMP of 16 bits a pixel with three bit fields (BITMAPINFOHEADER, compression 3), bottom row first."""
    rows = b"".join(row.astype("<u2").tobytes().ljust(-(-2 * len(row) // 4) * 4, b"\0") for row in values[::-1])
    height, width = values.shape
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, len(rows), 2835, 2835, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    start = 14 + len(info) + len(masks)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + masks + rows


def test_a_bmp_of_5_6_5_bits_has_its_colours() -> None:
    values = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
    image = decode_bytes(bmp_5_6_5(values))
    np.testing.assert_array_equal(image.rgb8, with_pillow(bmp_5_6_5(values)))
    fields = np.stack([values >> 11, values >> 5 & 63, values & 31], axis=-1)
    expected = fields * 255 / np.array([31, 63, 31])
    assert np.abs(image.rgb8 - expected).max() < 1
    assert image.notes == ()


# --- CMYK ------------------------------------------------------------------------------------------------------------


INKS = Image.fromarray(np.dstack([255 - PIXELS, np.full(PIXELS.shape[:2], 20, np.uint8)]), "CMYK")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_refused_by_name_and_converted_on_request(kind: str) -> None:
    data = encoded(INKS, kind)
    with pytest.raises(InputError, match=r"stores CMYK inks; convert it .*--convert-cmyk"):
        decode_bytes(data)
    image = decode_bytes(data, options=DecodeOptions(convert_cmyk=True))
    inks = np.array(Image.open(io.BytesIO(data))).astype(float) / 255
    expected = 255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(image.rgb8 - expected).max() <= 1.01
    assert image.notes == ("CMYK without a profile, converted by R = (1 - C)(1 - K)",)


def test_a_cmyk_file_that_has_lost_data_is_refused_also_when_converted() -> None:
    data = encoded(INKS, "JPEG")
    cut = data[: sos(data) + (len(data) - sos(data)) // 2] + b"\xff\xd9"
    with pytest.raises(InputError, match="truncated or corrupt JPEG"):
        decode_bytes(cut, options=DecodeOptions(convert_cmyk=True))


# --- files that are none, and large ones -----------------------------------------------------------------------------


def decoded_in_a_process(path: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own with a time limit, since what is tested is that it returns."""
    code = f"from evalkit.images.image_files import decode\ndecode({str(path)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices are POSIX")
def test_a_named_pipe_and_an_endless_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, kind in (("pipe.png", "a named pipe"), ("zero.png", "a device or socket")):
        result = decoded_in_a_process(tmp_path / name)
        assert f"cannot be read (it is {kind}, not a file)." in result.stderr


def test_the_limit_on_pixels_can_be_raised() -> None:
    data = encoded(np.zeros((1200, 1000, 3), np.uint8), "PNG")
    with pytest.raises(
        InputError, match=r"1000 x 1200 pixels; more than 1000000 pixels are refused.*--max-megapixels 2 "
    ):
        decode_bytes(data, options=DecodeOptions(max_megapixels=1))
    assert decode_bytes(data, options=DecodeOptions(max_megapixels=2)).rgb8.shape == (1200, 1000, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_pillows_own_limit_does_not_stand_in_the_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(PIXELS).convert("P" if kind == "PNG" else "RGB"), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # a third of the image: by itself Pillow refuses from half on
    with pytest.raises(InputError, match="more than 1000 pixels are refused"):
        decode_bytes(data)
    assert decode_bytes(data, options=DecodeOptions(max_megapixels=1)).rgb8.shape == PIXELS.shape


def test_a_file_is_read_whatever_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(BASELINE)
    np.testing.assert_array_equal(decode(path).rgb8, with_pillow(BASELINE))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_megapixels": "5"}, "max_megapixels is '5'; a number above 0 is needed"),
        ({"max_megapixels": 0}, "max_megapixels is 0; a number above 0 is needed"),
        ({"max_megapixels": -1.5}, "max_megapixels is -1.5; a number above 0 is needed"),
        ({"max_megapixels": float("nan")}, "max_megapixels is nan; a number above 0 is needed"),
        ({"max_megapixels": True}, "max_megapixels is True; a number above 0 is needed"),
        ({"convert_cmyk": "no"}, "convert_cmyk is 'no'; True or False is needed"),
    ],
)
def test_wrong_options_of_the_decoder_are_refused_where_they_are_made(
    options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        DecodeOptions(**options)  # type: ignore[arg-type]
