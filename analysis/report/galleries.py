"""Images of the report: truth, gray input and every method, ordered by how often they fool people."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.records import Row
from analysis.trials.columns import REAL_AMONG_SEVERAL
from evalkit.arrays import Rgb8
from evalkit.color.colorspace import srgb8_to_lab
from evalkit.errors import InputError
from evalkit.images.image_files import DecodeOptions, decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.orientation import turned_like_truth
from evalkit.images.places import ImageFile, PlaceLike
from evalkit.wording import counted, did_you_mean

__all__ = [
    "RULES",
    "Gallery",
    "GalleryRow",
    "ImageChoice",
    "ImageFolders",
    "choice_title",
    "choose_images",
    "gallery_of",
    "rate_galleries",
]

THUMBNAIL = 192
"""Largest side of an image in the report, pixels."""
COMPARED_SIDE = 64
"""Largest side of the pictures whose colours are compared for the rule of disagreement, pixels."""
Rule = Literal["every", "most", "least", "disagreement"]
RULES: tuple[Rule, ...] = ("every", "most", "least", "disagreement")
"""How images of a gallery may be chosen; what each means stands at `choose_images`."""


@dataclass(frozen=True)
class GalleryRow:
    """One photo with its colorizations.

    Attributes
    ----------
    image : str
        Name.
    note : str
        What was measured on it.
    pictures : tuple of (str, str)
        Heading and data URI, "" where the method has no such image.
    """

    image: str
    note: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Gallery:
    """Rows under a title."""

    title: str
    rows: tuple[GalleryRow, ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """Which images a gallery shows.

    Attributes
    ----------
    names : tuple of str
        These, in this order; empty to choose by `rule`.
    rule : {"every", "most", "least", "disagreement"}
        As `choose_images` says.
    step : int or None
        Of the rule "every": each step-th image by name; None spreads `count` images over all.
    count : int
        Rows at most.
    """

    names: tuple[str, ...] = ()
    rule: Rule = "every"
    step: int | None = None
    count: int = 6


class _Folder:
    """The images of one folder, by key, and by its last part where only one ends so: trials often name no folders."""

    def __init__(self, folder: PlaceLike) -> None:
        self.files = find_image_files(folder)
        ends = Counter(key.rpartition("/")[2] for key in self.files)
        self._short = {end: path for key, path in self.files.items() if ends[end := key.rpartition("/")[2]] == 1}

    def get(self, image: str) -> ImageFile | None:
        return self.files.get(image, self._short.get(image))


class ImageFolders:
    """Finds the files of an image by name, whatever the suffix, and reads them as `evalkit score` does.

    Parameters
    ----------
    photos : path-like or str
        Folder of photos, or the address of another place.
    methods : mapping of str to path-like or str
        Folder or address per method, in the order in which they are shown.
    with_truth : bool
        Whether the photos are in colour, the truth; else they are the input, and no truth is shown.

    Attributes
    ----------
    problems : dict of str to str
        Files that could not be read so far, and why.

    Raises
    ------
    InputError
        When a folder is missing or holds no image.
    """

    def __init__(
        self,
        photos: PlaceLike,
        methods: Mapping[str, PlaceLike],
        *,
        with_truth: bool = True,
    ) -> None:
        self.photos = _Folder(photos)
        self.read_with()
        self.methods = {name: _Folder(folder) for name, folder in methods.items()}
        self.with_truth = with_truth
        self.problems: dict[str, str] = {}

    def read_with(
        self, *, max_megapixels: float | None = None, convert_cmyk: bool = False, turn_like_truth: bool = False
    ) -> None:
        """Read files as `evalkit score` does with these options.

        Parameters
        ----------
        max_megapixels, convert_cmyk
            As for `DecodeOptions`.
        turn_like_truth : bool
            Apply the EXIF orientation of a photo to colorizations that lack it.
        """
        self._decoding = DecodeOptions(max_megapixels=max_megapixels, convert_cmyk=convert_cmyk)
        self._turn_like_truth = turn_like_truth

    def set_order(self, order: Sequence[str]) -> None:
        """Show methods in this order; those that are not named follow as they were."""
        place = {method: k for k, method in enumerate(order)}
        self.methods = dict(sorted(self.methods.items(), key=lambda item: place.get(item[0], len(place))))

    @property
    def headings(self) -> tuple[str, ...]:
        """What is shown of an image, from left to right."""
        return (*(("truth",) if self.with_truth else ()), "input", *self.methods)

    @property
    def common(self) -> list[str]:
        """Images of every folder, by name; of folders without a common one, those of the photos that any method has."""
        own = [set(method.files) for method in self.methods.values()]
        everywhere = set(self.photos.files).intersection(*own)
        return sorted(everywhere or set(self.photos.files).intersection(set().union(*own)))

    def file(self, heading: str, image: str) -> ImageFile | None:
        """The file behind one picture, None where there is none."""
        folder = self.photos if heading in ("truth", "input") else self.methods[heading]
        return folder.get(image)

    def picture(self, heading: str, image: str) -> Rgb8 | None:
        """One picture, uint8 sRGB (H, W, 3); None where the file is missing or cannot be read."""
        path = self.file(heading, image)
        if path is None or str(path) in self.problems:
            return None
        try:
            rgb8 = self._decoded(heading, path, image)
        except InputError as error:
            self.problems[str(path)] = str(error)
            return None
        return _gray(rgb8) if heading == "input" and self.with_truth else rgb8

    def _decoded(self, heading: str, path: ImageFile, image: str) -> Rgb8:
        file = decode(path, self._decoding)
        photo = self.photos.get(image)
        if not self._turn_like_truth or photo is None or heading in ("truth", "input"):
            return file.rgb8
        return turned_like_truth(decode(photo, self._decoding), file)[0]

    def row(self, image: str, note: str, *, side: int = THUMBNAIL) -> GalleryRow | None:
        """Thumbnails of one image, `side` pixels at most; None when the photo is not there."""
        if self.photos.get(image) is None:
            return None
        pictures = [(heading, self.picture(heading, image)) for heading in self.headings]
        return GalleryRow(
            image, note, tuple((heading, "" if rgb8 is None else _thumbnail(rgb8, side)) for heading, rgb8 in pictures)
        )


def choose_images(folders: ImageFolders, choice: ImageChoice, rows: Sequence[Row] = ()) -> list[str]:
    """Names of the images that a gallery shows.

    - ``every``: each step-th image by name, or `count` images spread evenly over the names: nobody picked them.
    - ``most``, ``least``: the highest (lowest) rate at which an image fools people (looks natural, is preferred), as the
      mean over methods of the shrunken rates.
    - ``disagreement``: where methods differ most, by the mean distance in ab over pixels and pairs of methods, on pictures
      reduced to 64 pixels.

    Parameters
    ----------
    folders : ImageFolders
        The pictures.
    choice : ImageChoice
        Names, or a rule.
    rows : sequence of rows
        Of ``per_image.csv``; needed by the rules "most" and "least".

    Returns
    -------
    list of str
        In the order in which they are shown.

    Raises
    ------
    InputError
        For a name that no photo has, for a rule that lacks its data, and where nothing can be shown.
    """
    if choice.names:
        for name in choice.names:
            if folders.photos.get(name) is None:
                near = did_you_mean(name, folders.photos.files)
                raise InputError(f"--images: no photo is called '{name}'{near}.")
        return list(choice.names)
    common = folders.common
    if not common:
        raise InputError("No method has an image of the name of a photo; the galleries would be empty.")
    if choice.rule == "every":
        if choice.step:
            return common[:: choice.step][: choice.count]
        n_shown = min(choice.count, len(common))
        return [common[k * len(common) // n_shown] for k in range(n_shown)]
    if choice.rule == "disagreement":
        if len(folders.methods) < 2:
            raise InputError("--rule disagreement needs two methods or more.")
        measured = {image: _disagreement(folders, image) for image in common}
        return sorted(common, key=lambda image: (-measured[image], image))[: choice.count]
    rates: dict[str, list[float]] = {}
    for row in rows:
        if folders.photos.get(str(row["image"])) is not None and np.isfinite(row["shrunken_rate"]):
            rates.setdefault(str(row["image"]), []).append(float(row["shrunken_rate"]))
    if not rates:
        raise InputError(f"--rule {choice.rule} needs answers about these images; name a trial table with --trials.")
    sign = -1.0 if choice.rule == "most" else 1.0
    return sorted(rates, key=lambda image: (sign * np.mean(rates[image]), image))[: choice.count]


def choice_title(folders: ImageFolders, choice: ImageChoice) -> str:
    """How the images were chosen, as a heading."""
    if choice.names:
        return "Chosen images"
    if choice.rule == "every":
        n_images = len(folders.common)
        n_shown = min(choice.count, n_images)
        if choice.step or n_images % n_shown == 0:
            return f"Every {_ordinal(choice.step or n_images // n_shown)}image, by name"
        return f"{n_shown} of {counted(n_images, 'image')}, spread evenly over their names"
    return {
        "most": "Images that fool people most, all methods together",
        "least": "Images that fool people least, all methods together",
        "disagreement": "Images on which methods disagree most",
    }[choice.rule]


def gallery_of(folders: ImageFolders, choice: ImageChoice, rows: Sequence[Row] = ()) -> Gallery:
    """The chosen images by every method."""
    shown = (folders.row(image, "") for image in choose_images(folders, choice, rows))
    return Gallery(choice_title(folders, choice), tuple(row for row in shown if row is not None), wide=True)


def _disagreement(folders: ImageFolders, image: str) -> float:
    """Mean distance in ab over pixels and pairs of methods; -1 where fewer than two can be read."""
    ab = []
    for method in folders.methods:
        rgb8 = folders.picture(method, image)
        if rgb8 is not None:
            ab.append(srgb8_to_lab(_reduced(rgb8, COMPARED_SIDE))[..., 1:])
    sizes = Counter(one.shape for one in ab)
    same = [one for one in ab if one.shape == sizes.most_common(1)[0][0]]
    pairs = [np.hypot(*np.moveaxis(a - b, -1, 0)).mean() for k, a in enumerate(same) for b in same[:k]]
    return float(np.mean(pairs)) if pairs else -1.0


_WORDS = {
    "real-vs-fake": ("fool people most", "fool people least", "fools"),
    "naturalness": ("look natural most often", "look natural least often", "natural in"),
    "preference": ("are preferred most often", "are preferred least often", "preferred in"),
    REAL_AMONG_SEVERAL: (
        "are taken for the real photo most often",
        "are taken for it least often",
        "taken for real in",
    ),
}
"""By `TrialTable.question`."""


def rate_galleries(
    rows: Iterable[Row], folders: ImageFolders, *, question: str = "real-vs-fake", count: int = 6
) -> list[Gallery]:
    """Images of every method with the highest and the lowest shrunken rate: most fooling, natural, preferred, or taken for real."""
    most, least, verb = _WORDS[question]
    galleries = []
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    for method, own in by_method.items():
        for title, chosen in ((most, own[:count]), (least, own[::-1][:count])):
            entries = [
                folders.row(
                    str(row["image"]),
                    f"{verb} {100 * row['shrunken_rate']:.0f} % ({100 * row['ci_low']:.0f} to {100 * row['ci_high']:.0f}; "
                    f"{counted(int(row['n_trials']), 'answer')})",
                )
                for row in chosen
            ]
            shown = tuple(entry for entry in entries if entry is not None)
            if shown:
                galleries.append(Gallery(f"Images of {method} that {title}", shown))
    return galleries


def _ordinal(number: int) -> str:
    if number == 1:
        return ""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} "


def _gray(rgb8: Rgb8) -> Rgb8:
    """What a colorizer is given: the luma, three times."""
    from PIL import Image

    return np.asarray(Image.fromarray(rgb8).convert("L").convert("RGB"))


def _reduced(rgb8: Rgb8, side: int) -> Rgb8:
    from PIL import Image

    small = Image.fromarray(rgb8)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def _thumbnail(rgb8: Rgb8, side: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_reduced(rgb8, side)).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
