"""Class shares of a photo set: counted streaming, one image in memory at a time, and merged by addition."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evalkit.arrays import IntArray
from evalkit.color.ab_classes import AbClasses
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_images
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo

__all__ = ["PriorCounts", "count_folder"]


@dataclass(frozen=True)
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
    """

    classes: str
    classes_digest: str
    counts: IntArray = field(repr=False)
    n_images: int

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
            self.classes, self.classes_digest, self.counts + other.counts, self.n_images + other.n_images
        )

    def to_json(self) -> str:
        """The file that ``--prior FILE`` reads."""
        record = {
            "classes": self.classes,
            "classes_digest": self.classes_digest,
            "n_images": self.n_images,
            "n_pixels": int(self.counts.sum()),
            "counts": self.counts.tolist(),
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
            record = json.loads(path.read_text(encoding="utf-8"))
            counts = np.array(record["counts"], dtype=np.int64)
            if counts.ndim != 1 or len(counts) < 2 or counts.min() < 0:
                raise ValueError("counts are not a list of two or more numbers of pixels")
            return cls(str(record["classes"]), str(record["classes_digest"]), counts, int(record["n_images"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: not a prior file of 'evalkit prior' ({error!r})") from None


def count_folder(
    folder: Path, classes: AbClasses, progress: Callable[[int, int], None] = lambda done, total: None
) -> PriorCounts:
    """Count the ab classes of all photos of a folder.

    Raises
    ------
    InputError
        If the folder has no images, or one cannot be read.
    """
    files: Sequence[Path] = list(find_images(folder).values())
    counter = PairCounter(classes)
    counts = np.zeros(len(classes), np.int64)
    progress(0, len(files))
    for done, path in enumerate(files, start=1):
        counts += np.bincount(counter.classes_of(Photo(decode(path).rgb8)), minlength=len(classes))
        progress(done, len(files))
    return PriorCounts(classes.name, classes.digest, counts, len(files))
