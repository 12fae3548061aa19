"""Images of the report: truth, gray input and every method, ordered by how often they fool people."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.records import Row
from evalkit.errors import InputError

__all__ = ["Gallery", "GalleryRow", "ImageFolders", "qualitative_grid", "rate_galleries"]

THUMBNAIL = 192
"""Largest side of an image in the report, pixels."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


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


class ImageFolders:
    """Finds the files of an image by name, whatever the suffix.

    Parameters
    ----------
    truth : Path
        Folder of photos.
    methods : mapping of str to Path
        Folder per method.
    """

    def __init__(self, truth: Path, methods: Mapping[str, Path]) -> None:
        self.truth = _index(truth)
        self.methods = {name: _index(folder) for name, folder in methods.items()}

    def row(self, image: str, note: str, *, side: int = THUMBNAIL) -> GalleryRow | None:
        """Thumbnails of one image, `side` pixels at most; None when the truth is not there."""
        if image not in self.truth:
            return None
        truth = self.truth[image]
        pictures = [("truth", _thumbnail(truth, side)), ("input", _thumbnail(truth, side, gray=True))]
        for name, files in self.methods.items():
            pictures.append((name, _thumbnail(files[image], side) if image in files else ""))
        return GalleryRow(image, note, tuple(pictures))


_WORDS = {
    "real-vs-fake": ("fool people most", "fool people least", "fools"),
    "naturalness": ("look natural most often", "look natural least often", "natural in"),
    "preference": ("are preferred most often", "are preferred least often", "preferred in"),
}


def rate_galleries(
    rows: Iterable[Row], folders: ImageFolders, *, preset: str = "real-vs-fake", count: int = 6
) -> list[Gallery]:
    """Images of every method with the highest and the lowest shrunken rate: most fooling, natural, or preferred."""
    most, least, verb = _WORDS[preset]
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
                    f"{row['n_trials']} answers)",
                )
                for row in chosen
            ]
            shown = tuple(entry for entry in entries if entry is not None)
            if shown:
                galleries.append(Gallery(f"Images of {method} that {title}", shown))
    return galleries


def qualitative_grid(folders: ImageFolders, *, count: int = 6) -> Gallery | None:
    """The same images for every method, evenly spread over the names: nobody picked them."""
    common = sorted(set(folders.truth).intersection(*(files.keys() for files in folders.methods.values())))
    if not common:
        return None
    step = max(1, len(common) // count)
    rows = [folders.row(image, "") for image in common[::step][:count]]
    return Gallery(f"Every {_ordinal(step)}image, by name", tuple(row for row in rows if row is not None), wide=True)


def _ordinal(number: int) -> str:
    if number == 1:
        return ""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} "


def _index(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; a folder of images is needed for the galleries.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return {path.stem: path for path in reversed(files)}


def _thumbnail(path: Path, side: int, *, gray: bool = False) -> str:
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    if gray:
        small = small.convert("L")
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
