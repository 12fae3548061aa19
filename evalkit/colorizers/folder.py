"""Run a built-in method over a folder of photos, into a folder of PNG files of the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.colorizers.anchors import builtin
from evalkit.colorizers.base import BuiltinMethod
from evalkit.errors import InputError
from evalkit.images.places import ImagePlace, PlaceLike, check_is_folder, lie_in_one_another, place_of
from evalkit.wording import counted

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8

__all__ = ["FolderReport", "UnreadPhotosError", "check_folders", "colorize_folder", "unread_photos"]


class UnreadPhotosError(InputError):
    """Photos of a folder could not be read; all the others are coloured."""


def unread_photos(failures: Sequence[str], n_photos: int, target: Path) -> UnreadPhotosError:
    """What is said at the end of a run that passed over photos.

    Parameters
    ----------
    failures : sequence of str
        A sentence per photo, at least one.
    n_photos : int
        Photos of the folder.
    target : Path
        Where the others are.
    """
    others = f", the others are in {target}" if len(failures) < n_photos else ""
    return UnreadPhotosError(
        f"{len(failures)} of {counted(n_photos, 'photo')} cannot be read{others}; first: {failures[0].rstrip('.')}. "
        "Once they are mended, the same command with --resume goes on."
    )


@dataclass(frozen=True)
class FolderReport:
    """What a run over a folder did.

    Attributes
    ----------
    n_made, n_kept : int
        Images written now, and images that were there already.
    n_pixels, n_clipped : int
        Pixels written now, and those clipped into the sRGB gamut.
    """

    n_made: int
    n_kept: int
    n_pixels: int
    n_clipped: int

    @property
    def clip_rate(self) -> float:
        """Share of clipped pixels, 0..1; NaN when nothing was written."""
        return self.n_clipped / self.n_pixels if self.n_pixels else float("nan")


def colorize_folder(
    method: str,
    source: PlaceLike,
    target: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> FolderReport:
    """Colour every photo of a folder with a built-in method.

    Parameters
    ----------
    method : {"truth", "gray", "random"}
        Which method.
    source : path-like or str
        Folder of photos, searched with its sub-folders.
    target : Path
        Folder for the PNG files; made if absent. Each file appears whole or not at all.
    seed : int, default 0
        Which assignment of donors ``random`` uses.
    resume : bool, default False
        Keep the images that are there and make the others.
    overwrite : bool, default False
        Write over images of the same names; other files stay.
    on_image : callable, optional
        Called with the images done so far and their total.

    Returns
    -------
    FolderReport

    Raises
    ------
    InputError
        If a folder is unusable or what is there was made otherwise; `UnreadPhotosError` if photos cannot be read, once the
        others are coloured. One whose donor cannot be read is not coloured either.
    """
    import numpy as np

    from evalkit.images.image_files import decode, write_png
    from evalkit.images.image_pairs import find_image_files

    place = place_of(source)
    check_folders(place, target, allow_content=resume or overwrite)
    photos = find_image_files(place)
    names = sorted(photos)
    colorizer = builtin(method, names, seed)
    outputs = [target / f"{name}.png" for name in names]

    # One image is a target now and a donor next (or before): two in memory are enough to decode each once.
    @lru_cache(maxsize=2)
    def load(i: int) -> Rgb8:
        return decode(photos[names[i]]).rgb8

    def make(i: int) -> tuple[Rgb8, int]:
        photo, donor = load(i), colorizer.donor(i)
        try:
            lender = None if donor is None else load(donor)
        except InputError as error:
            raise InputError(f"{photos[names[i]]}: takes its colours from {error}") from None
        return colorizer.colorize(photo, lender)

    kept = {i for i, path in enumerate(outputs) if path.exists()} if resume else set()
    for i in sorted(kept):
        try:
            rgb8, _ = make(i)
        except InputError:  # damaged since it was coloured; another one tells as well
            continue
        if not np.array_equal(decode(outputs[i]).rgb8, rgb8):
            raise InputError(
                f"{outputs[i]} is not what '{method}' with seed {seed} makes of {place}: "
                "this run cannot be resumed; give another output folder, or --overwrite."
            )
        break
    n_pixels = n_clipped = 0
    failures: list[str] = []
    for n_done, i in enumerate(_along_donors(colorizer, len(names)), start=1):
        if i not in kept:
            try:
                rgb8, clipped = make(i)
            except InputError as error:  # one damaged scan must not cost the others
                failures.append(str(error))
            else:
                outputs[i].parent.mkdir(parents=True, exist_ok=True)
                write_png(outputs[i], rgb8)
                n_pixels += rgb8.shape[0] * rgb8.shape[1]
                n_clipped += clipped
        if on_image is not None:
            on_image(n_done, len(names))
    if failures:
        raise unread_photos(failures, len(names), target)
    return FolderReport(len(names) - len(kept), len(kept), n_pixels, n_clipped)


def check_folders(source: Path | ImagePlace, target: Path, *, allow_content: bool) -> None:
    """Refuse folders that a run could damage.

    Raises
    ------
    InputError
        If one lies in the other, the output is a file, or it has content that nobody said to keep or replace.
    """
    check_is_folder(target)
    if lie_in_one_another(source, target):
        raise InputError(f"the output folder {target} and the input folder {source} must lie apart.")
    if target.exists() and not target.is_dir():
        raise InputError(f"the output {target} is a file; give a folder.")
    if not allow_content and target.is_dir() and any(target.iterdir()):
        raise InputError(f"the output folder {target} is not empty; say --resume or --overwrite.")


def _along_donors(colorizer: BuiltinMethod, n: int) -> Iterator[int]:
    """All indices once, each followed by its donor where that is still to come."""
    seen: set[int] = set()
    for first in range(n):
        i: int | None = first
        while i is not None and i not in seen:
            seen.add(i)
            yield i
            i = colorizer.donor(i)
