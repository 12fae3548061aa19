"""Mistakes that make scores wrong or incomparable, found in the files before any number is computed.

Each of them has been made in published comparisons or in the tools behind them: files paired by position, missing files
skipped, truth and prediction swapped, the last partial batch dropped, JPEG against PNG, grayscale true photos, lightness
that the method changed, sizes that differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evalkit.arrays import BoolArray, FloatArray, IntArray, Rgb8
from evalkit.color.colorspace import lab_planes
from evalkit.color.limits import GRAYSCALE_CHROMA, KEPT_LIGHTNESS
from evalkit.color.row_parts import is_large, row_parts
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions, decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.orientation import shape_is_turned
from evalkit.images.places import ImageFile, PlaceLike
from evalkit.wording import N_NAMED, agree, counted, some_names

__all__ = ["CHECKS", "Finding", "lint_folders"]

Level = Literal["error", "warning"]


CLIPPED_SHARE = 0.01

THUMBNAIL = 16
"""Side of the lightness thumbnails by which pictures are recognised."""

SAME_PICTURE = 0.9
"""Correlation of thumbnails of one picture; L is kept by construction, so true pairs are at 0.99 and above."""

OTHER_PICTURE = 0.75
"""Below this an image is not its photo: luma in place of L, of saturated colours, has been seen at 0.89; of 60 photos no two
were above 0.83, and 99 of 100 pairs were below 0.62."""

MAX_BATCH = 512
"""As many images as a batch may have."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mistake, or one thing to know.

    Attributes
    ----------
    level : {"error", "warning"}
        Errors make a score wrong or impossible; warnings say what moves it.
    code : str
        Short name of the check, one of `CHECKS`.
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


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at one file shows; `error` where it cannot be read."""

    error: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height."""
    orientation: int = 1
    format: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()
    max_chroma: float = 0.0
    thumbnail: FloatArray | None = None
    l_change: float = 0.0
    newly_clipped: float = 0.0
    identical: bool = False

    @property
    def is_gray(self) -> bool:
        """Whether every pixel is neutral."""
        return self.max_chroma < GRAYSCALE_CHROMA

    @property
    def size_text(self) -> str:
        """Say, ``256 x 224``."""
        return f"{self.size[0]} x {self.size[1]}"


@dataclass(frozen=True, kw_only=True)
class WrongPairs:
    """The pairs of one method on which a check has struck, for its sentence."""

    images: tuple[str, ...]
    pairs: Mapping[str, tuple[Look, Look]]
    """All readable pairs of the method, its own look first, by image."""

    @property
    def own(self) -> list[Look]:
        """Of the images on which the check has struck."""
        return [self.pairs[name][0] for name in self.images]

    @property
    def first(self) -> tuple[str, Look, Look]:
        """Name, own look and the truth's of the first of them."""
        return self.images[0], *self.pairs[self.images[0]]

    @property
    def count(self) -> str:
        """Say, ``3 of 60 images``."""
        return f"{len(self.images)} of {counted(len(self.pairs), 'image')}"

    @property
    def have(self) -> str:
        """The verb for the count."""
        return "has" if len(self.images) == 1 else "have"

    @property
    def are(self) -> str:
        """The verb for the count."""
        return "is" if len(self.images) == 1 else "are"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One known mistake.

    Attributes
    ----------
    code : str
    level : {"error", "warning"}
    meaning : str
        What it says about the files, for the documentation.
    """

    code: str
    level: Level
    meaning: str


@dataclass(frozen=True, kw_only=True)
class PairCheck(Check):
    """A mistake that shows in an image of a method beside its true photo.

    Attributes
    ----------
    wrong : callable
        Of the method's look and the truth's: whether the pair is wrong.
    sentence : callable
        What is said of the wrong ones.
    above : float
        Share of the pairs that must be wrong for a finding.
    error_if_all : bool
        Whether a warning becomes an error where no pair is right.
    """

    wrong: Callable[[Look, Look], bool]
    sentence: Callable[[WrongPairs], str]
    above: float = 0.0
    error_if_all: bool = False


def _sizes(wrong: WrongPairs) -> str:
    name, own, truth = wrong.first
    return (
        f"{wrong.count} {wrong.have} another size than their photo ({name}: {own.size_text} against {truth.size_text}); "
        "write them at the photo's size, or score all with --size N."
    )


def _turned(wrong: WrongPairs) -> str:
    name, own, truth = wrong.first
    return (
        f"{wrong.count} {wrong.are} not turned as the EXIF orientation of their photo says ({name}: {own.size_text} against "
        f"{truth.size_text}, orientation {truth.orientation}); write them upright, or score with --turn-like-truth."
    )


def _jpeg(wrong: WrongPairs) -> str:
    n_truth = sum(truth.format == "JPEG" for _, truth in wrong.pairs.values())
    against = (
        f"; {n_truth} of the true photos {'is' if n_truth == 1 else 'are'}" if len(wrong.images) != n_truth else ""
    )
    return f"{wrong.count} {wrong.are} JPEG{against}: JPEG changes colours; write PNG."


PAIR_CHECKS: tuple[PairCheck, ...] = (
    PairCheck(
        code="turned",
        level="error",
        meaning="the method's images lie on their side: the photo's EXIF orientation was not applied to them",
        wrong=lambda own, truth: shape_is_turned(truth.orientation, truth.size, own.orientation, own.size),
        sentence=_turned,
    ),
    PairCheck(
        code="sizes-differ",
        level="error",
        meaning="never resized silently",
        wrong=lambda own, truth: (
            own.size != truth.size and not shape_is_turned(truth.orientation, truth.size, own.orientation, own.size)
        ),
        sentence=_sizes,
    ),
    PairCheck(
        code="swapped",
        level="error",
        meaning="truth grayscale, method coloured: the two are swapped, or `--truth` names the gray inputs",
        wrong=lambda own, truth: truth.is_gray and not own.is_gray,
        above=0.5,
        sentence=lambda wrong: (
            f"in {wrong.count} the true photo is grayscale and the method's image is not: are truth and method swapped, or "
            "is --truth the folder of gray inputs?"
        ),
    ),
    PairCheck(
        code="gray-output",
        level="warning",
        meaning="no colour at all",
        wrong=lambda own, truth: own.is_gray and not truth.is_gray,
        sentence=lambda wrong: f"{wrong.count} {wrong.have} no colour at all ({some_names(wrong.images)}).",
    ),
    PairCheck(
        code="identical",
        level="warning",
        meaning="the truth's own pixels: an error where all images have them",
        wrong=lambda own, truth: own.identical and not truth.is_gray,
        error_if_all=True,
        sentence=lambda wrong: (
            f"{wrong.count} {wrong.have} the truth's own pixels ({some_names(wrong.images)}); is the folder the right one?"
        ),
    ),
    PairCheck(
        code="lightness-changed",
        level="warning",
        meaning="L resized, re-encoded or not kept",
        wrong=lambda own, truth: own.l_change > KEPT_LIGHTNESS,
        sentence=lambda wrong: (
            f"in {wrong.count} L differs from the truth's by more than {KEPT_LIGHTNESS:g} on average (mean |dL| "
            f"{np.mean([own.l_change for own in wrong.own]):.1f}): resized, re-encoded, or not kept; join the method's ab "
            "to the truth's L before writing."
        ),
    ),
    PairCheck(
        code="jpeg",
        level="warning",
        meaning="JPEG changes colours, the more so where only one side has it",
        wrong=lambda own, truth: own.format == "JPEG",
        sentence=_jpeg,
    ),
    PairCheck(
        code="clipped",
        level="warning",
        meaning="pixels newly at 0 or 255: clipped to the gamut, or wrapped around in 8 bits",
        wrong=lambda own, truth: own.newly_clipped > CLIPPED_SHARE,
        sentence=lambda wrong: (
            f"in {wrong.count} more than 1 % of the pixels are newly at 0 or 255 "
            f"({100 * np.mean([own.newly_clipped for own, _ in wrong.pairs.values()]):.1f} % of all): colours outside the "
            "sRGB gamut were clipped, or 8-bit values wrapped around."
        ),
    ),
)
"""The checks of an image beside its photo: one loop applies them all."""

CHECKS: tuple[Check, ...] = (
    Check(
        code="missing",
        level="error",
        meaning="true photos without a file of the method; whether they are the last in name order, as after a dropped "
        "partial batch",
    ),
    Check(
        code="surplus",
        level="error",
        meaning="files without a true photo of their name: pairing by position would shift every pair",
    ),
    Check(code="other-picture", level="error", meaning="a file that shows another photo than its name says"),
    Check(code="not-the-photo", level="error", meaning="cropped, flipped, turned, or another picture altogether"),
    Check(code="unreadable", level="error", meaning="damaged, truncated, or of a kind that has no defined meaning"),
    Check(code="gray-truth", level="warning", meaning="ab metrics mean nothing on grayscale true photos"),
    Check(code="repeated", level="warning", meaning="the same file under several names"),
    Check(code="twins", level="warning", meaning="the same files in two methods"),
    Check(
        code="converted", level="warning", meaning="files that are not plain 8-bit sRGB, or odd, and what is done to them"
    ),
    *PAIR_CHECKS,
)  # fmt: skip
"""Every check that there is; the documentation lists them from here."""

_CHECK_OF_CODE = {check.code: check for check in CHECKS}


def _finding(code: str, method: str, message: str, images: tuple[str, ...]) -> Finding:
    return Finding(level=_CHECK_OF_CODE[code].level, code=code, method=method, message=message, images=images)


def lint_folders(
    truth: PlaceLike,
    methods: Mapping[str, PlaceLike],
    *,
    workers: int = 1,
    options: DecodeOptions = DEFAULT_OPTIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Look for known mistakes in folders of true photos and colorizations.

    Parameters
    ----------
    truth : path or str
        Folder of true photos, or the address of another place (`evalkit.images.places.place_of`).
    methods : mapping of str to path or str
        Folder or address of colorizations per method.
    workers : int
        Threads.
    options : DecodeOptions, optional
        How large an image may be, and whether CMYK is converted.
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
    truths = find_image_files(truth)
    files_of = {method: find_image_files(folder) for method, folder in methods.items()}
    findings: list[Finding] = []
    for method, files in files_of.items():
        findings += _name_findings(method, files, truths)
    looks: dict[str, dict[str, Look]] = {"truth": {}, **{method: {} for method in methods}}

    def look(name: str) -> tuple[str, dict[str, Look]]:
        predictions = {method: files[name] for method, files in files_of.items() if name in files}
        return name, _look(truths[name], predictions, options)

    with ThreadPoolExecutor(workers) as pool:
        for done, (name, by_folder) in enumerate(pool.map(look, truths), start=1):
            for folder, seen in by_folder.items():
                looks[folder][name] = seen
            progress(done, len(truths))
    findings += _truth_findings(looks["truth"])
    for method in methods:
        findings += _method_findings(method, looks[method], looks["truth"])
    findings += _twins({method: looks[method] for method in methods})
    return sorted(findings, key=lambda finding: finding.level != "error")


# --- names ------------------------------------------------------------------------------------------------


def _name_findings(method: str, files: Mapping[str, ImageFile], truths: Mapping[str, ImageFile]) -> Iterator[Finding]:
    absent = tuple(name for name in truths if name not in files)
    surplus = tuple(name for name in files if name not in truths)
    if absent:
        is_tail = tuple(list(truths)[-len(absent) :]) == absent and len(absent) < min(len(truths), MAX_BATCH)
        guess = " They are the last in name order: was the last partial batch dropped?" if is_tail else ""
        yield _finding(
            "missing",
            method,
            f"{len(absent)} of {counted(len(truths), 'true photo')} {'has' if len(absent) == 1 else 'have'} no file there "
            f"({some_names(absent)}); tools that skip them score another set of images.{guess}",
            absent,
        )
    if surplus:
        yield _finding(
            "surplus",
            method,
            f"{counted(len(surplus), 'file')} {'has' if len(surplus) == 1 else 'have'} no true photo of "
            f"{'its' if len(surplus) == 1 else 'their'} name ({some_names(surplus)}); pairing by position instead of by "
            "name would shift every pair.",
            surplus,
        )


# --- one image --------------------------------------------------------------------------------------------


def _look(truth: ImageFile, predictions: Mapping[str, ImageFile], options: DecodeOptions) -> dict[str, Look]:
    truth_look, truth_rgb8 = _open(truth, options)
    looks = {"truth": truth_look}
    truth_l = None if truth_rgb8 is None or is_large(truth_rgb8) else lab_planes(truth_rgb8)[0]
    for method, path in predictions.items():
        seen, rgb8 = _open(path, options)
        if rgb8 is not None and truth_rgb8 is not None and rgb8.shape == truth_rgb8.shape:
            l_change, newly_clipped = _changes(truth_rgb8, truth_l, rgb8)
            seen = replace(
                seen,
                l_change=l_change,
                newly_clipped=newly_clipped,
                identical=bool(np.array_equal(rgb8, truth_rgb8)),
            )
        looks[method] = seen
    return looks


def _changes(truth_rgb8: Rgb8, truth_l: FloatArray | None, rgb8: Rgb8) -> tuple[float, float]:
    """Mean absolute change of L, and share of pixels newly at 0 or 255; L of a large truth is found anew, in parts."""
    changes, n_clipped = [], 0
    for rows in row_parts(rgb8):
        true, own = truth_rgb8[rows], rgb8[rows]
        true_l = lab_planes(true)[0] if truth_l is None else truth_l
        changes.append(float(np.abs(lab_planes(own)[0] - true_l).sum()))
        n_clipped += int(np.count_nonzero(_at_edge(own) & ~_at_edge(true)))
    n_pixels = rgb8.shape[0] * rgb8.shape[1]
    return math.fsum(changes) / n_pixels, n_clipped / n_pixels


def _at_edge(rgb8: Rgb8) -> BoolArray:
    """Pixels with a channel at 0 or 255, shape (H, W)."""
    return np.asarray(((rgb8 == 0) | (rgb8 == 255)).any(axis=2))


def _open(path: ImageFile, options: DecodeOptions) -> tuple[Look, Rgb8 | None]:
    try:
        image = decode(path, options)
    except InputError as error:
        return Look(error=str(error)), None
    height, width = image.rgb8.shape[:2]
    largest_chroma = []
    sums = np.empty((height, THUMBNAIL))
    for rows in row_parts(image.rgb8):
        lightness, a, b = lab_planes(image.rgb8[rows])
        largest_chroma.append(float(np.hypot(a, b).max()))
        sums[rows] = np.add.reduceat(lightness.reshape(-1, width), _cell_starts(width), axis=1)
    seen = Look(
        size=(width, height),
        orientation=image.orientation,
        format=image.format,
        sha256=image.sha256,
        notes=image.notes,
        max_chroma=max(largest_chroma),
        thumbnail=_thumbnail(sums, width),
    )
    return seen, image.rgb8


def _cell_starts(side: int) -> IntArray:
    """First pixel of each cell of a thumbnail; below 16 pixels a side several start at one, which reduceat takes alone."""
    return np.arange(THUMBNAIL) * side // THUMBNAIL


def _thumbnail(sums: FloatArray, width: int) -> FloatArray:
    """Mean lightness on a grid, centred and of unit length; zeros for a flat picture.

    Parameters
    ----------
    sums : ndarray of float64, shape (H, THUMBNAIL)
        Of L over the columns of a cell, in each row.
    width : int
        Of the picture, pixels.
    """
    cells = np.add.reduceat(sums, _cell_starts(len(sums)), axis=0)
    n_rows, n_columns = (np.add.reduceat(np.ones(side), _cell_starts(side)) for side in (len(sums), width))
    centred = (cells / np.outer(n_rows, n_columns)).ravel()
    centred = centred - centred.mean()
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / length if length > 1e-9 else np.zeros_like(centred))


# --- the sets ---------------------------------------------------------------------------------------------


def _common_findings(owner: str, looks: Mapping[str, Look]) -> Iterator[Finding]:
    unreadable = tuple(name for name, seen in looks.items() if seen.error)
    if unreadable:
        others = f" The others: {some_names(unreadable[1:])}." if len(unreadable) > 1 else ""
        yield _finding(
            "unreadable",
            owner,
            f"{counted(len(unreadable), 'file')} cannot be read: {looks[unreadable[0]].error}{others}",
            unreadable,
        )
    notes = Counter(note for seen in looks.values() for note in seen.notes)
    for note, count in notes.items():
        names = tuple(name for name, seen in looks.items() if note in seen.notes)
        verb = "is" if count == 1 else "are"
        yield _finding(
            "converted", owner, f"{count} of {counted(len(looks), 'file')} {verb} not plain 8-bit sRGB: {note}.", names
        )
    by_digest: dict[str, list[str]] = {}
    for name, seen in looks.items():
        if seen.sha256:
            by_digest.setdefault(seen.sha256, []).append(name)
    repeated = tuple(name for names in by_digest.values() if len(names) > 1 for name in names)
    if repeated:
        yield _finding(
            "repeated",
            owner,
            f"{counted(len(repeated), 'file')} {agree(len(repeated), 'is', 'are')} copies of one another ({some_names(repeated)}).",
            repeated,
        )


def _truth_findings(looks: Mapping[str, Look]) -> Iterator[Finding]:
    yield from _common_findings("truth", looks)
    gray = tuple(name for name, seen in looks.items() if not seen.error and seen.is_gray)
    if gray:
        verb = "is" if len(gray) == 1 else "are"
        yield _finding(
            "gray-truth",
            "truth",
            f"{len(gray)} of {counted(len(looks), 'true photo')} {verb} grayscale ({some_names(gray)}); ab metrics mean "
            "nothing on such photos.",
            gray,
        )


def _method_findings(method: str, looks: Mapping[str, Look], truths: Mapping[str, Look]) -> Iterator[Finding]:
    yield from _common_findings(method, looks)
    pairs = {name: (seen, truths[name]) for name, seen in looks.items() if not seen.error and not truths[name].error}
    if not pairs:
        return
    yield from _other_pictures(method, pairs)
    for check in PAIR_CHECKS:
        images = tuple(name for name, (own, truth) in pairs.items() if check.wrong(own, truth))
        if not images or len(images) <= check.above * len(pairs):
            continue
        level: Level = "error" if check.error_if_all and len(images) == len(pairs) else check.level
        message = check.sentence(WrongPairs(images=images, pairs=pairs))
        yield Finding(level=level, code=check.code, method=method, message=message, images=images)


def _other_pictures(method: str, pairs: Mapping[str, tuple[Look, Look]]) -> Iterator[Finding]:
    """Outputs that do not show their own photo, and whose they show instead."""
    names = list(pairs)
    truths = np.array([truth.thumbnail for _, truth in pairs.values()])
    own = np.array([seen.thumbnail for seen, _ in pairs.values()])
    likeness = np.einsum("ij,ij->i", own, truths)
    flat = (np.abs(own).sum(axis=1) == 0) | (np.abs(truths).sum(axis=1) == 0)
    unlike = np.flatnonzero((likeness < SAME_PICTURE) & ~flat)
    if not len(unlike):
        return
    most_like = np.array([int(np.argmax(truths @ own[k])) for k in unlike])
    moved = [
        (names[k], names[m])
        for k, m in zip(unlike, most_like, strict=True)
        if m != k and truths[m] @ own[k] >= SAME_PICTURE
    ]
    if moved:
        examples = ", ".join(f"{name} shows {shown}" for name, shown in moved[:N_NAMED])
        verb, pronoun = ("shows", "its") if len(moved) == 1 else ("show", "their")
        yield _finding(
            "other-picture",
            method,
            f"{len(moved)} of {counted(len(names), 'image')} {verb} another photo than {pronoun} name says ({examples}): were "
            "files written in another order than they were read?",
            tuple(name for name, _ in moved),
        )
    named = {name for name, _ in moved}
    rest = tuple(names[k] for k in unlike if likeness[k] < OTHER_PICTURE and names[k] not in named)
    if rest:
        verb, pronoun = ("does", "its") if len(rest) == 1 else ("do", "their")
        yield _finding(
            "not-the-photo",
            method,
            f"{len(rest)} of {counted(len(names), 'image')} {verb} not look like {pronoun} photo ({some_names(rest)}): "
            "cropped, flipped, turned, or of another picture.",
            rest,
        )


def _twins(looks: Mapping[str, Mapping[str, Look]]) -> Iterator[Finding]:
    """Methods that hold the same files."""
    methods = list(looks)
    for i, first in enumerate(methods):
        for second in methods[i + 1 :]:
            shared = [name for name in looks[first] if name in looks[second]]
            same = tuple(name for name in shared if looks[first][name].sha256 == looks[second][name].sha256 != "")
            if same and 2 * len(same) > len(shared):
                yield _finding(
                    "twins",
                    second,
                    f"{len(same)} of {counted(len(shared), 'file')} {'is' if len(same) == 1 else 'are'} those of method "
                    f"{first}, byte for byte.",
                    same,
                )
