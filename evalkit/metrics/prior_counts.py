"""Class shares of a photo set: counted streaming, one image in memory at a time, and merged by addition."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.arrays import IntArray, Rgb8
from evalkit.color.ab_classes import PRESETS, AbClasses, preset
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import ImageFile, PlaceLike, place_of
from evalkit.images.surveys import MAX_UNREADABLE, Survey
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo
from evalkit.metrics.prior_figure import draw_shares, write_prior_figure
from evalkit.plotting import chosen_axes
from evalkit.text_formats import parse_json
from evalkit.wording import counted, error_reason

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PriorCounts", "class_counts", "count_folder"]


@dataclass(frozen=True, kw_only=True)
class PriorCounts:
    """Pixels per ab class over a photo set.

    Attributes
    ----------
    classes : str
        Name of the ab classes.
    classes_digest : str
        Digest of their centres: counts of different classes do not add up.
    counts : ndarray of int64, shape (Q,)
    n_images : int
    unreadable : tuple of str
        Paths of files that were passed over, and why.
    """

    classes: str
    classes_digest: str
    counts: IntArray = field(repr=False)
    n_images: int
    unreadable: tuple[str, ...] = ()

    def merge(self, other: PriorCounts) -> PriorCounts:
        """Counts of both sets together.

        Raises
        ------
        InputError
            If the ab classes differ.
        """
        if self.classes_digest != other.classes_digest or len(self.counts) != len(other.counts):
            raise InputError(f"cannot merge priors of different ab classes ({self.classes} and {other.classes})")
        return PriorCounts(
            classes=self.classes,
            classes_digest=self.classes_digest,
            counts=self.counts + other.counts,
            n_images=self.n_images + other.n_images,
            unreadable=self.unreadable + other.unreadable,
        )

    def plot(self, ax: Axes | None = None, *, classes: AbClasses | None = None) -> Axes:
        """Draw the share of every class over the ab plane: figure 3 (b) of Zhang et al. 2016.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            pyplot's current ones by default.
        classes : AbClasses, optional
            Those that were counted; needed only where they come from a file.

        Returns
        -------
        matplotlib Axes
            Those that were drawn on.

        Raises
        ------
        InputError
            If matplotlib is not installed, the classes are others than those counted, or there are no pixels.
        """
        own_classes = self._drawable(classes)
        axes = chosen_axes(ax)
        draw_shares(axes, self.counts, own_classes, self.n_images)
        return axes

    def write_figure(self, path: Path, *, classes: AbClasses | None = None) -> None:
        """Write what `plot` draws as a file that ends in ``.pdf``, ``.png`` or ``.svg``.

        Raises
        ------
        InputError
            As `plot`, and for another ending.
        """
        own_classes = self._drawable(classes)
        write_prior_figure(path, lambda axes: draw_shares(axes, self.counts, own_classes, self.n_images))

    def _drawable(self, classes: AbClasses | None) -> AbClasses:
        """The classes that were counted, where there is something to draw."""
        if classes is None and self.classes not in PRESETS:
            raise InputError(
                f"the counts are of the ab classes {self.classes}: give classes, as load_classes reads them"
            )
        chosen = preset(self.classes) if classes is None else classes
        if chosen.digest != self.classes_digest:
            raise InputError(
                f"the counts are of the ab classes {self.classes}, the figure would be of {chosen.name}: give the classes "
                "of the counts"
            )
        if not self.counts.any():
            raise InputError("the counts hold no pixel: there is nothing to draw")
        return chosen

    def to_json(self) -> str:
        """The file that ``--prior FILE`` reads."""
        record = {
            "classes": self.classes,
            "classes_digest": self.classes_digest,
            "n_images": self.n_images,
            "n_pixels": int(self.counts.sum()),
            "counts": self.counts.tolist(),
            "unreadable": list(self.unreadable),
        }
        return json.dumps(record) + "\n"

    @classmethod
    def read(cls, path: Path) -> PriorCounts:
        """Read a file of `to_json`.

        Raises
        ------
        InputError
            If it is not one.
        """
        try:
            record = parse_json(path.read_text(encoding="utf-8"))
            counts = np.array(record["counts"], dtype=np.int64)
            if counts.ndim != 1 or len(counts) < 2 or counts.min() < 0:
                raise ValueError("counts are not a list of two or more numbers of pixels")
            unreadable = tuple(map(str, record.get("unreadable", ())))
            return cls(
                classes=str(record["classes"]),
                classes_digest=str(record["classes_digest"]),
                counts=counts,
                n_images=int(record["n_images"]),
                unreadable=unreadable,
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: not a prior file of 'evalkit prior' ({error_reason(error)})") from None


TILE = 1 << 20
"""Pixels that are counted at a time: the work space of a scan of 100 megapixels is then that of one."""


def class_counts(counter: PairCounter, rgb8: Rgb8) -> IntArray:
    """Pixels per ab class of one image, counted tile by tile.

    Parameters
    ----------
    counter : PairCounter
    rgb8 : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    ndarray of int64, shape (Q,)
    """
    n_classes = len(counter.classes)
    pixels = rgb8.reshape(1, -1, 3)
    counts = np.zeros(n_classes, np.int64)
    for start in range(0, pixels.shape[1], TILE):
        tile = Photo(pixels[:, start : start + TILE])
        counts += np.bincount(counter.classes_of(tile), minlength=n_classes)
    return counts


def count_folder(
    folder: PlaceLike,
    classes: AbClasses,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    max_unreadable: int = MAX_UNREADABLE,
    options: DecodeOptions = DEFAULT_OPTIONS,
) -> PriorCounts:
    """Count the ab classes of all photos of a folder.

    Parameters
    ----------
    folder : path-like or str
        Or the address of another place (`evalkit.images.places.place_of`).
    classes : AbClasses
    progress : callable
        Called with photos done and photos in all.
    max_unreadable : int
        Files that may be passed over.
    options : DecodeOptions, optional
        How large a photo may be, and whether CMYK is converted.

    Raises
    ------
    InputError
        If the folder has no images, none can be read, or more than `max_unreadable` cannot.
    """
    place = place_of(folder)
    files: Sequence[ImageFile] = list(find_image_files(place).values())
    survey = Survey(place, max_unreadable, options)
    counter = PairCounter(classes)
    counts = np.zeros(len(classes), np.int64)
    progress(0, len(files))
    for done, path in enumerate(files, start=1):
        image = survey.decode(path)
        if image is not None:
            counts += class_counts(counter, image.rgb8)
        progress(done, len(files))
    if len(survey.unreadable) == len(files):
        raise InputError(f"{place}: none of its {counted(len(files), 'image')} can be read: {survey.notice()}")
    n_images = len(files) - len(survey.unreadable)
    return PriorCounts(
        classes=classes.name,
        classes_digest=classes.digest,
        counts=counts,
        n_images=n_images,
        unreadable=tuple(survey.unreadable.values()),
    )
