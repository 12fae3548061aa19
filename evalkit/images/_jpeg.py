"""The marker segments of a JPEG: what they say, what is odd about them, and whether data is missing.

libjpeg warns of many things and decodes on. Some of them change nothing (a revision number, parameters that the
standard fixes anyway, bytes that no decoder looks at): `tidy_jpeg` rewrites such a file without them, so that a
strict decoder can judge the rest. Others are lost data that it fills with gray: these are refused.

Sources: ITU-T T.81 (the markers of annex B, the progressive scans of annex G); JFIF 1.02; ICC.1, annex B.4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from evalkit.images._headers import MalformedImage, exif_orientation
from evalkit.wording import counted

__all__ = [
    "JpegHeader",
    "check_scans",
    "disturbed_jpeg",
    "read_jpeg_header",
    "tidy_jpeg",
    "without_extraneous_bytes",
]

SOI, EOI, SOS, DRI, APP0, APP1, APP2, APP14 = 0xD8, 0xD9, 0xDA, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)

MAX_TRIALS = 16
"""Attempts at cutting out extraneous bytes behind one scan: two are enough for all that was seen."""

TWICE = "colour profile stored twice, applied once"

_MARKER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_SCAN_END = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""A marker that ends a scan: neither a stuffed zero byte nor a restart."""
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]", re.DOTALL)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")

_SAMPLINGS = frozenset(
    bytes((luma, 0x11, 0x11))
    for luma in (0x11, 0x21, 0x22, 0x12, 0x41)  # 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1
)


class JpegHeader(NamedTuple):
    """What `read_jpeg_header` found before the first scan."""

    width: int
    height: int
    components: int
    icc: bytes | None
    """The embedded ICC profile, joined from its segments."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 where none is stored."""
    plain: bool
    """8-bit baseline or progressive Huffman, gray or three components in a subsampling with a name."""
    several_scans: bool
    """Whether the coefficients are spread over scans, of which some may be missing."""
    notes: tuple[str, ...]
    """Oddities that were passed over."""


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the marker segments of a JPEG up to its first scan; None where they are out of the ordinary.

    Raises
    ------
    MalformedImage
        When the colour profile is incomplete.
    """
    size = len(data)
    frame = None
    orientation = 1
    icc_segments: list[bytes] = []
    position = 2
    while position + 4 <= size:
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # any number of fill bytes may stand before a marker
            position += 1
            continue
        if marker == SOS:
            if frame is None:
                return None
            width, height, components, plain, progressive = frame
            icc, notes = _join_icc(icc_segments)
            several_scans = progressive or data[position + 4] < components
            return JpegHeader(
                width=width,
                height=height,
                components=components,
                icc=icc,
                orientation=orientation,
                plain=plain,
                several_scans=several_scans,
                notes=notes,
            )
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9:  # markers without a length have no place here
            return None
        body = position + 4
        position += 2 + int.from_bytes(data[position + 2 : body], "big")
        if marker == APP1:
            if data.startswith(b"Exif\0\0", body):
                orientation = exif_orientation(data[body + 6 : position])
        elif marker == APP2:
            if data.startswith(b"ICC_PROFILE\0", body):
                icc_segments.append(data[body + 12 : position])
        elif _is_frame(marker):
            frame = _read_frame(data[body:position], marker)
            if frame is None:
                return None
    return None


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _read_frame(body: bytes, marker: int) -> tuple[int, int, int, bool, bool] | None:
    """Width, height, components, whether the frame is an ordinary one, whether it is progressive."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    components = body[5]
    ordinary = marker <= 0xC2 and body[0] == 8
    named_sampling = components == 1 or (components == 3 and body[7:16:3] in _SAMPLINGS)
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    plain = ordinary and named_sampling and width * height > 0
    return width, height, components, plain, marker in PROGRESSIVE


def _join_icc(segments: list[bytes]) -> tuple[bytes | None, tuple[str, ...]]:
    """Profile from its APP2 segments, each led by its number and their count; copies of a segment count once."""
    if not segments:
        return None, ()
    parts = sorted(set(segments))
    if [part[:2] for part in parts] != [bytes((k + 1, len(parts))) for k in range(len(parts))]:
        numbers = [part[:1] for part in parts]
        if len(set(numbers)) < len(numbers):
            raise MalformedImage("it holds two colour profiles that differ")
        raise MalformedImage("a part of its colour profile is missing")
    return b"".join(part[2:] for part in parts), (TWICE,) if len(parts) < len(segments) else ()


# --- oddities that change no pixel ------------------------------------------------------------------------


class _Segment(NamedTuple):
    """One marker with its body, and for a scan the entropy-coded data behind it."""

    marker: int
    body: bytes
    scan: slice
    """Where the entropy-coded data lies in the file; empty for all but scans."""
    n_extraneous: int
    """Bytes before the marker that belong to nothing."""


def _segments(data: bytes) -> Iterator[_Segment]:
    """Walk the segments of a JPEG up to its end marker.

    Raises
    ------
    MalformedImage
        When there is no end marker, or a segment reaches beyond the file.
    """
    position = 2
    while True:
        match = _MARKER.search(data, position)
        if match is None:
            raise MalformedImage("Premature end of JPEG file: its end marker is missing")
        n_extraneous = match.start() - position
        marker = match[1][0]
        position = match.end()
        if marker == EOI:
            yield _Segment(marker, b"", slice(0), n_extraneous)
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            if marker == SOI:
                raise MalformedImage("a second image begins inside it")
            yield _Segment(marker, b"", slice(0), n_extraneous)
            continue
        end = position + int.from_bytes(data[position : position + 2], "big")
        if end > len(data) or end < position + 2:
            raise MalformedImage("Premature end of JPEG file: it ends inside a segment")
        body, scan, position = data[position + 2 : end], slice(0), end
        if marker == SOS:
            following = _SCAN_END.search(data, end)
            if following is None:
                raise MalformedImage("Premature end of JPEG file: its end marker is missing")
            position = following.start()
            scan = slice(end, position)
        yield _Segment(marker, body, scan, n_extraneous)


def tidy_jpeg(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Rewrite a JPEG without the oddities of its markers that libjpeg warns of and passes over.

    Returns
    -------
    data : bytes
        A file of the same pixels, up to its end marker.
    notes : tuple of str
        What was passed over.

    Raises
    ------
    MalformedImage
        When the segments cannot be walked to the end.
    """
    pieces = [b"\xff\xd8"]
    notes: dict[str, None] = {}
    profile_parts: set[bytes] = set()
    n_extraneous = 0
    sequential = True
    components = 3
    for segment in _segments(data):
        n_extraneous += segment.n_extraneous
        marker, body = segment.marker, segment.body
        if marker == EOI:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # restart markers between segments: decoders skip them
            n_extraneous += 2
            continue
        if marker == APP2 and body.startswith(b"ICC_PROFILE\0"):
            if body in profile_parts:
                notes[TWICE] = None
                continue
            profile_parts.add(body)
        elif _is_frame(marker):
            sequential = marker in SEQUENTIAL
            components = body[5] if len(body) > 5 else 0
        elif marker == SOS and sequential and body[-3:] != b"\0\x3f\0":
            # A sequential scan always holds all coefficients at full precision (T.81, B.2.3).
            body = body[:-3] + b"\0\x3f\0"
            notes["invalid SOS parameters ignored"] = None
        elif marker == APP0 and body.startswith(b"JFIF\0") and len(body) >= 12 and body[5] != 1:
            notes[f"unknown JFIF revision {body[5]}.{body[6]:02d} ignored"] = None
            body = body[:5] + b"\x01\x01" + body[7:]
        elif marker == APP14 and body.startswith(b"Adobe") and len(body) >= 12 and components <= 3 and body[11] > 1:
            notes[f"unknown Adobe colour transform {body[11]} ignored"] = None
            body = body[:11] + b"\x01" + body[12:]
        pieces += [b"\xff", bytes((marker,)), (len(body) + 2).to_bytes(2, "big"), body, data[segment.scan]]
    if n_extraneous:
        notes[f"{counted(n_extraneous, 'extraneous byte')} between markers passed over"] = None
    return b"".join((*pieces, b"\xff\xd9")), tuple(notes)


def without_extraneous_bytes(data: bytes, warning_of: Callable[[bytes], str | None]) -> bytes:
    """Cut out the bytes between the last block of a scan and the marker behind it.

    The decoder alone knows where the last block ends; its warning says how many bytes were left. So it is given the
    scans one after the other.

    Parameters
    ----------
    data : bytes
        A file of `tidy_jpeg`.
    warning_of : callable
        The strict decoder: from a file to its first warning, None where there is none.

    Returns
    -------
    bytes
        A file that decodes without a warning.

    Raises
    ------
    MalformedImage
        When the file has another fault: the decoder's words for it.
    """
    sound = b""
    position = 0
    for segment in _segments(data):
        if segment.marker != SOS:
            continue
        sound += data[position : segment.scan.start]
        scan = data[segment.scan]
        for _ in range(MAX_TRIALS):  # the decoder counts no byte that it has looked at in advance
            warning = warning_of(sound + scan + b"\xff\xd9")
            if warning is None:
                break
            match = _EXTRANEOUS.search(warning)
            if match is None or not 0 < int(match[1]) <= len(scan):
                raise MalformedImage(warning)
            scan = scan[: -int(match[1])]
        sound += scan
        position = segment.scan.stop
    sound += data[position:]
    if (warning := warning_of(sound)) is not None:
        raise MalformedImage(warning)
    return sound


# --- lost data --------------------------------------------------------------------------------------------


def check_scans(data: bytes) -> None:
    """Check that the scans of a JPEG bring every coefficient of every component at full precision, in all intervals.

    A file that was cut between two scans and closed again is silently blurred, or has lost a colour; one that was cut at
    a restart marker has lost the rest of its blocks.

    Raises
    ------
    MalformedImage
        When a scan or a restart interval is missing.
    """
    frame = _Frame(False, 0, 0, {})
    bits_left: dict[int, list[int | None]] = {}
    restart_interval = 0
    for segment in _segments(data):
        body = segment.body
        if _is_frame(segment.marker) and len(body) >= 6:
            frame = _frame_of(body, segment.marker)
            bits_left = {identifier: [None] * 64 for identifier in frame.sampling}
        elif segment.marker == DRI and len(body) >= 2:
            restart_interval = int.from_bytes(body[:2], "big")
        elif segment.marker == SOS and body:
            identifiers = [k for k in body[1 : 1 + 2 * body[0] : 2] if k in frame.sampling]
            first, last, bits = body[-3:] if frame.progressive else (0, 63, 0)
            for identifier in identifiers:
                bits_left[identifier][first : last + 1] = [bits & 15] * (last + 1 - first)
            if restart_interval and identifiers:
                n_intervals = len(_RESTART.findall(data[segment.scan])) + 1
                if n_intervals != -(-frame.n_units(identifiers) // restart_interval):
                    raise MalformedImage("data is lost: restart intervals are missing")
    if any(bits != 0 for coefficients in bits_left.values() for bits in coefficients):
        raise MalformedImage("data is lost: a part of its scans is missing")


class _Frame(NamedTuple):
    """What the coding of scans depends on (T.81, A.1.1 and A.2)."""

    progressive: bool
    width: int
    height: int
    sampling: Mapping[int, tuple[int, int]]
    """Horizontal and vertical sampling factor by component."""

    def n_units(self, identifiers: Sequence[int]) -> int:
        """Minimum coded units of a scan: of one component its blocks, of several blocks of all."""
        n_units = 1
        for axis, side in enumerate((self.width, self.height)):
            most = max(factors[axis] for factors in self.sampling.values())
            if len(identifiers) == 1:  # its side in samples is rounded up first (A.1.1), then that in blocks
                samples = math.ceil(side * self.sampling[identifiers[0]][axis] / most)
                n_units *= math.ceil(samples / 8)
            else:
                n_units *= math.ceil(side / (8 * most))
        return n_units


def _frame_of(body: bytes, marker: int) -> _Frame:
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    places = range(6, min(6 + 3 * body[5], len(body) - 2), 3)
    sampling = {body[k]: (body[k + 1] >> 4 or 1, body[k + 1] & 15 or 1) for k in places}
    return _Frame(marker in PROGRESSIVE, width, height, sampling)


_JUNK = b"\0\0\0\0" + bytes((37 * k + 11) % 251 + 1 for k in range(256))
"""What no encoder has written. The zeros in front: an arithmetic coder may strip them from the end of its scan (T.81, D.1.8),
and the decoder then reads them all the same."""


def disturbed_jpeg(data: bytes) -> bytes:
    """The same file with junk behind every stretch of entropy-coded data.

    A decoder that has met its last block never looks there, so a whole file keeps its pixels; one that has lost
    data reads the junk in its place.
    """
    pieces = []
    position = 0
    for segment in _segments(data):
        if segment.marker == SOS:
            scan = _RESTART.sub(lambda match: _JUNK + match[0], data[segment.scan])
            pieces += [data[position : segment.scan.start], scan, _JUNK]
            position = segment.scan.stop
    return b"".join((*pieces, data[position:]))
