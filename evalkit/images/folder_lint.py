"""Mistakes that make scores wrong or incomparable, found in the files before any number is computed.

Each of them has been made in published comparisons or in the tools behind them: files paired by position, missing files
skipped, truth and prediction swapped, the last partial batch dropped, JPEG against PNG, grayscale true photos, lightness
that the method changed, sizes that differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evalkit.arrays import FloatArray, Rgb8
from evalkit.color.colorspace import lab_planes
from evalkit.color.limits import GRAYSCALE_CHROMA, KEPT_LIGHTNESS
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_images
from evalkit.wording import N_NAMED, some_names

__all__ = ["Finding", "lint_folders"]

Level = Literal["error", "warning"]


CLIPPED_SHARE = 0.01

THUMBNAIL = 16
"""Side of the lightness thumbnails by which pictures are recognised."""

SAME_PICTURE = 0.9
"""Correlation of thumbnails of one picture; L is kept by construction, so true pairs are at 0.99 and above."""

OTHER_PICTURE = 0.75
"""Below this an image is not its photo: luma in place of L, of saturated colours, has been seen at 0.89; of 60 photos no two
were above 0.83, and 99 of 100 pairs were below 0.62."""


@dataclass(frozen=True)
class Finding:
    """One mistake, or one thing to know.

    Attributes
    ----------
    level : {"error", "warning"}
        Errors make a score wrong or impossible; warnings say what moves it.
    code : str
        Short name of the check, for example ``sizes-differ``.
    method : str
        Whose files; ``truth`` for the true photos.
    message : str
        What is wrong and what to do, in a sentence.
    images : tuple of str
        The images it is about.
    """

    level: Level
    code: str
    method: str
    message: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """What a look at one file shows; `error` where it cannot be read."""

    error: str = ""
    size: tuple[int, int] = (0, 0)
    format: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()
    max_chroma: float = 0.0
    thumbnail: FloatArray | None = None
    l_change: float = 0.0
    newly_clipped: float = 0.0
    identical: bool = False


def lint_folders(
    truth: str | Path,
    methods: Mapping[str, str | Path],
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Look for known mistakes in folders of true photos and colorizations.

    Parameters
    ----------
    truth : path
        Folder of true photos.
    methods : mapping of str to path
        Folder of colorizations per method.
    workers : int
        Threads.
    progress : callable
        Called with images done and images in all.

    Returns
    -------
    list of Finding
        Errors first; empty when nothing is wrong.

    Raises
    ------
    InputError
        If a folder is missing, holds no image, or holds two files of one name.
    """
    truths = find_images(truth)
    found_of = {method: find_images(folder) for method, folder in methods.items()}
    findings: list[Finding] = []
    for method, files in found_of.items():
        findings += _names(method, files, truths)
    looks: dict[str, dict[str, _Seen]] = {"truth": {}, **{method: {} for method in methods}}

    def look(name: str) -> tuple[str, dict[str, _Seen]]:
        return name, _look(truths[name], {m: files[name] for m, files in found_of.items() if name in files})

    with ThreadPoolExecutor(workers) as pool:
        for done, (name, seen) in enumerate(pool.map(look, truths), start=1):
            for method, one in seen.items():
                looks[method][name] = one
            progress(done, len(truths))
    findings += _truth(looks["truth"])
    for method in methods:
        findings += _method(method, looks[method], looks["truth"])
    findings += _twins({method: looks[method] for method in methods})
    return sorted(findings, key=lambda finding: finding.level != "error")


# --- names ------------------------------------------------------------------------------------------------


def _names(method: str, files: Mapping[str, Path], truths: Mapping[str, Path]) -> Iterator[Finding]:
    absent = tuple(name for name in truths if name not in files)
    surplus = tuple(name for name in files if name not in truths)
    if absent:
        tail = tuple(list(truths)[-len(absent) :]) == absent and len(absent) < len(truths)
        guess = (
            " They are the last in name order: was the last partial batch dropped?"
            if tail and len(absent) < 512
            else ""
        )
        yield Finding(
            "error",
            "missing",
            method,
            f"{_n(absent)} of {len(truths)} true photos have no file there ({some_names(absent)}); tools that skip them score "
            f"another set of images.{guess}",
            absent,
        )
    if surplus:
        yield Finding(
            "error",
            "surplus",
            method,
            f"{_n(surplus)} files have no true photo of their name ({some_names(surplus)}); pairing by position instead of by "
            "name would shift every pair.",
            surplus,
        )


# --- one image --------------------------------------------------------------------------------------------


def _look(truth: Path, predictions: Mapping[str, Path]) -> dict[str, _Seen]:
    own, truth_rgb8 = _open(truth)
    found = {"truth": own}
    truth_l = None if truth_rgb8 is None else lab_planes(truth_rgb8)[0]
    for method, path in predictions.items():
        seen, rgb8 = _open(path)
        if rgb8 is not None and truth_rgb8 is not None and truth_l is not None and rgb8.shape == truth_rgb8.shape:
            edge = ((rgb8 == 0) | (rgb8 == 255)).any(axis=2)
            before = ((truth_rgb8 == 0) | (truth_rgb8 == 255)).any(axis=2)
            seen = _Seen(
                **{
                    **vars(seen),
                    "l_change": float(np.abs(lab_planes(rgb8)[0] - truth_l).mean()),
                    "newly_clipped": float((edge & ~before).mean()),
                    "identical": bool(np.array_equal(rgb8, truth_rgb8)),
                }
            )
        found[method] = seen
    return found


def _open(path: Path) -> tuple[_Seen, Rgb8 | None]:
    try:
        image = decode(path)
    except InputError as error:
        return _Seen(error=str(error)), None
    lab = lab_planes(image.rgb8)
    return (
        _Seen(
            size=(image.rgb8.shape[1], image.rgb8.shape[0]),
            format=image.format,
            sha256=image.sha256,
            notes=tuple(note for note in image.notes),
            max_chroma=float(np.hypot(lab[1], lab[2]).max()),
            thumbnail=_thumbnail(lab[0].reshape(image.rgb8.shape[:2])),
        ),
        image.rgb8,
    )


def _thumbnail(lightness: FloatArray) -> FloatArray:
    """Mean lightness on a grid, centred and of unit length; zeros for a flat picture."""
    height, width = lightness.shape
    rows = np.arange(THUMBNAIL) * height // THUMBNAIL
    columns = np.arange(THUMBNAIL) * width // THUMBNAIL
    # Below 16 pixels a side several cells start at one row; reduceat then takes that row alone.
    cells = np.add.reduceat(np.add.reduceat(lightness, rows, axis=0), columns, axis=1)
    counts = np.add.reduceat(np.add.reduceat(np.ones_like(lightness), rows, axis=0), columns, axis=1)
    centred = (cells / counts).ravel()
    centred = centred - centred.mean()
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / length if length > 1e-9 else np.zeros_like(centred))


# --- the sets ---------------------------------------------------------------------------------------------


def _common(who: str, looks: Mapping[str, _Seen]) -> Iterator[Finding]:
    broken = tuple(name for name, seen in looks.items() if seen.error)
    if broken:
        yield Finding(
            "error", "unreadable", who, f"{_n(broken)} files cannot be read: {looks[broken[0]].error}", broken
        )
    notes = Counter(note for seen in looks.values() for note in seen.notes)
    for note, count in notes.items():
        names = tuple(name for name, seen in looks.items() if note in seen.notes)
        yield Finding(
            "warning", "converted", who, f"{count} of {len(looks)} files are not plain 8-bit sRGB: {note}.", names
        )
    by_digest: dict[str, list[str]] = {}
    for name, seen in looks.items():
        if seen.sha256:
            by_digest.setdefault(seen.sha256, []).append(name)
    repeated = tuple(name for names in by_digest.values() if len(names) > 1 for name in names)
    if repeated:
        yield Finding(
            "warning",
            "repeated",
            who,
            f"{_n(repeated)} files are copies of one another ({some_names(repeated)}).",
            repeated,
        )


def _truth(looks: Mapping[str, _Seen]) -> Iterator[Finding]:
    yield from _common("truth", looks)
    gray = tuple(name for name, seen in looks.items() if not seen.error and seen.max_chroma < GRAYSCALE_CHROMA)
    if gray:
        yield Finding(
            "warning",
            "gray-truth",
            "truth",
            f"{_n(gray)} of {len(looks)} true photos are grayscale ({some_names(gray)}); ab metrics mean nothing on them.",
            gray,
        )


def _method(method: str, looks: Mapping[str, _Seen], truths: Mapping[str, _Seen]) -> Iterator[Finding]:
    yield from _common(method, looks)
    pairs = {name: (seen, truths[name]) for name, seen in looks.items() if not seen.error and not truths[name].error}
    if not pairs:
        return

    def those(wrong: Callable[[_Seen, _Seen], bool]) -> tuple[str, ...]:
        return tuple(name for name, pair in pairs.items() if wrong(*pair))

    of_all = f"of {len(pairs)} images"
    other_size = those(lambda own, truth: own.size != truth.size)
    if other_size:
        own, truth = pairs[other_size[0]]
        yield Finding(
            "error",
            "sizes-differ",
            method,
            f"{_n(other_size)} {of_all} have another size than their photo ({other_size[0]}: {_size(own)} against "
            f"{_size(truth)}); write them at the photo's size, or score all with --size N.",
            other_size,
        )
    swapped = those(lambda own, truth: truth.max_chroma < GRAYSCALE_CHROMA <= own.max_chroma)
    if 2 * len(swapped) > len(pairs):
        yield Finding(
            "error",
            "swapped",
            method,
            f"in {_n(swapped)} {of_all} the true photo is grayscale and the method's image is not: are truth and method "
            "swapped, or is --truth the folder of gray inputs?",
            swapped,
        )
    gray = those(lambda own, truth: own.max_chroma < GRAYSCALE_CHROMA <= truth.max_chroma)
    if gray:
        yield Finding(
            "warning", "gray-output", method, f"{_n(gray)} {of_all} have no colour at all ({some_names(gray)}).", gray
        )
    yield from _other_pictures(method, pairs)
    identical = those(lambda own, truth: own.identical and truth.max_chroma >= GRAYSCALE_CHROMA)
    if identical:
        yield Finding(
            "error" if len(identical) == len(pairs) else "warning",
            "identical",
            method,
            f"{_n(identical)} {of_all} have the truth's own pixels ({some_names(identical)}); is the folder the right one?",
            identical,
        )
    changed = those(lambda own, truth: own.l_change > KEPT_LIGHTNESS)
    if changed:
        mean = np.mean([pairs[name][0].l_change for name in changed])
        yield Finding(
            "warning",
            "lightness-changed",
            method,
            f"in {_n(changed)} {of_all} L differs from the truth's by more than {KEPT_LIGHTNESS:g} on average (mean |dL| "
            f"{mean:.1f}): resized, re-encoded, or not kept; join the method's ab to the truth's L before writing.",
            changed,
        )
    jpeg = those(lambda own, truth: own.format == "JPEG")
    truth_jpeg = those(lambda own, truth: truth.format == "JPEG")
    if jpeg:
        against = f"; {len(truth_jpeg)} of the true photos are" if len(jpeg) != len(truth_jpeg) else ""
        yield Finding(
            "warning", "jpeg", method, f"{_n(jpeg)} {of_all} are JPEG{against}: JPEG changes colours; write PNG.", jpeg
        )
    clipped = those(lambda own, truth: own.newly_clipped > CLIPPED_SHARE)
    if clipped:
        share = 100 * np.mean([own.newly_clipped for own, _ in pairs.values()])
        yield Finding(
            "warning",
            "clipped",
            method,
            f"in {_n(clipped)} {of_all} more than 1 % of the pixels are newly at 0 or 255 ({share:.1f} % of all): colours "
            "outside the sRGB gamut were clipped, or 8-bit values wrapped around.",
            clipped,
        )


def _other_pictures(method: str, pairs: Mapping[str, tuple[_Seen, _Seen]]) -> Iterator[Finding]:
    """Outputs that do not show their own photo, and whose they show instead."""
    names = list(pairs)
    known = {name: pair for name, pair in pairs.items() if pair[0].thumbnail is not None}
    if not known:
        return
    truths = np.array([pairs[name][1].thumbnail for name in names])
    own = np.array([pairs[name][0].thumbnail for name in names])
    likeness = np.einsum("ij,ij->i", own, truths)
    flat = (np.abs(own).sum(axis=1) == 0) | (np.abs(truths).sum(axis=1) == 0)
    wrong = np.flatnonzero((likeness < SAME_PICTURE) & ~flat)
    if not len(wrong):
        return
    best = np.array([int(np.argmax(truths @ own[k])) for k in wrong])
    moved = [
        (names[k], names[b]) for k, b in zip(wrong, best, strict=True) if b != k and truths[b] @ own[k] >= SAME_PICTURE
    ]
    if moved:
        examples = ", ".join(f"{name} shows {other}" for name, other in moved[:N_NAMED])
        yield Finding(
            "error",
            "other-picture",
            method,
            f"{_n(moved)} of {len(names)} images show another photo than their name says ({examples}): were files written "
            "in another order than they were read?",
            tuple(name for name, _ in moved),
        )
    elsewhere = {name for name, _ in moved}
    rest = tuple(names[k] for k in wrong if likeness[k] < OTHER_PICTURE and names[k] not in elsewhere)
    if rest:
        yield Finding(
            "error",
            "not-the-photo",
            method,
            f"{_n(rest)} of {len(names)} images do not look like their photo ({some_names(rest)}): cropped, flipped, turned, or "
            "of another picture.",
            rest,
        )


def _twins(looks: Mapping[str, Mapping[str, _Seen]]) -> Iterator[Finding]:
    """Methods that hold the same files."""
    methods = list(looks)
    for i, first in enumerate(methods):
        for second in methods[i + 1 :]:
            shared = [name for name in looks[first] if name in looks[second]]
            same = tuple(name for name in shared if looks[first][name].sha256 == looks[second][name].sha256 != "")
            if same and 2 * len(same) > len(shared):
                yield Finding(
                    "warning",
                    "twins",
                    second,
                    f"{_n(same)} of {len(shared)} files are those of method {first}, byte for byte.",
                    same,
                )


def _n(items: Sequence[object]) -> str:
    return str(len(items))


def _size(seen: _Seen) -> str:
    return f"{seen.size[0]} x {seen.size[1]}"
