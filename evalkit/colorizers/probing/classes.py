"""Classes of photos: a linear classifier on each block, by cross-validation or on folders to train and to validate on.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.colorizers.probing.features import Features, pooled
from evalkit.colorizers.probing.kept_features import FeatureStore, file_digest
from evalkit.colorizers.probing.linear import PENALTY, fit_linear
from evalkit.errors import InputError
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import ImageFile, PlaceLike, size_of
from evalkit.resampling.intervals import Interval, paired_share_difference_interval, wilson_interval
from evalkit.wording import agree, some_names

if TYPE_CHECKING:
    import numpy.typing as npt

    from evalkit.arrays import BoolArray, IntArray

__all__ = [
    "LabelledPhotos",
    "ProbeResult",
    "cross_validated",
    "labelled_photos",
    "train_and_validation_photos",
    "validated",
]

Progress = Callable[[int, int], None]


def _silent(n_seen: int, n_photos: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos with the class that their folder names.

    Attributes
    ----------
    paths : tuple of Path or PlacedImage
    labels : ndarray of int64, shape (n,)
        Index into `names`.
    names : tuple of str
        Classes, sorted.
    """

    paths: tuple[ImageFile, ...]
    labels: IntArray
    names: tuple[str, ...]


def labelled_photos(folder: PlaceLike, n_least: int = 2) -> LabelledPhotos:
    """Photos of a folder that holds one sub-folder for each class.

    Parameters
    ----------
    folder : path-like or str
        Or the address of another place (`evalkit.images.places`).
    n_least : int
        Photos that each class needs.

    Raises
    ------
    InputError
        If there are fewer than two classes, or one has too few photos.
    """
    photos = _sorted_by_class(folder)
    counts = np.bincount(photos.labels, minlength=len(photos.names))
    if len(photos.names) < 2 or counts.min() < n_least:
        least = (
            f"'{photos.names[int(counts.argmin())]}' has {counts.min()}"
            if len(photos.names) > 1
            else f"there is {len(photos.names)}"
        )
        raise InputError(
            f"{folder}: a probe needs two classes with {'two photos' if n_least > 1 else 'one photo'} each; {least}"
        )
    return photos


def train_and_validation_photos(train: PlaceLike, val: PlaceLike) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Photos of two folders with the same classes.

    Parameters
    ----------
    train, val : path-like or str
        One sub-folder for each class; `val` may lack some of them.

    Returns
    -------
    tuple of LabelledPhotos
        With the classes of `train`, both.

    Raises
    ------
    InputError
        If a class is in `val` alone, or the very same photo is in both: the classifier would be tested on what it has
        seen.
    """
    seen, unseen = labelled_photos(train, n_least=1), _sorted_by_class(val)
    foreign = [name for name in unseen.names if name not in seen.names]
    if foreign:
        raise InputError(
            f"{val}: {some_names(foreign)} {agree(len(foreign), 'is no class', 'are no classes')} of {train}; a "
            "classifier can only name classes that it was trained on"
        )
    number = {name: k for k, name in enumerate(seen.names)}
    labels = np.array([number[unseen.names[label]] for label in unseen.labels], dtype=np.int64)
    # Files of different sizes are different: of the others the content is compared.
    sizes = {size_of(path) for path in unseen.paths}
    may_be_twins = [path for path in seen.paths if None in sizes or size_of(path) in (None, *sizes)]
    known = {file_digest([path]): path for path in may_be_twins}
    for path in unseen.paths if known else ():
        twin = known.get(file_digest([path]))
        if twin is not None:
            raise InputError(f"{path} is the same photo as {twin}; those to validate on must not be trained on")
    return seen, LabelledPhotos(unseen.paths, labels, seen.names)


def _sorted_by_class(folder: PlaceLike) -> LabelledPhotos:
    images = find_image_files(folder)
    classes = {key: key.split("/")[0] if "/" in key else "" for key in images}
    loose = [key for key, name in classes.items() if not name]
    if loose:
        raise InputError(f"{folder}: {loose[0]} lies in no class; the folder needs one sub-folder for each class")
    names = tuple(sorted(set(classes.values())))
    labels = np.array([names.index(classes[key]) for key in images], dtype=np.int64)
    return LabelledPhotos(tuple(images.values()), labels, names)


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Top-1 of the linear classifier of one block.

    Attributes
    ----------
    network : str
    size : int or None
        Side of the square that photos were resized to; None for a network with a preprocessing of its own.
    block : str
    n_features : int
    correct : ndarray of bool, shape (n,)
        By photo; each was classified by a classifier that had not seen it.
    """

    network: str
    size: int | None
    block: str
    n_features: int
    correct: BoolArray

    @property
    def value(self) -> float:
        """Top-1: share of photos classified right, 0..1."""
        return float(self.correct.mean())

    @property
    def n_images(self) -> int:
        """Photos that were classified."""
        return int(self.correct.size)

    @property
    def std_error(self) -> float:
        """Standard error of top-1 over photos; NaN for one photo."""
        return float(self.correct.std(ddof=1) / math.sqrt(self.n_images)) if self.n_images > 1 else math.nan

    def interval(self) -> Interval:
        """Of top-1 over photos, 95 % (Wilson): classes and classifier are taken as they are."""
        return wilson_interval(int(self.correct.sum()), self.n_images)

    def interval_above(self, baseline: ProbeResult) -> Interval:
        """Of top-1 less that of another network on the same photos, 95 %, paired by photo (Newcombe's method 10)."""
        return paired_share_difference_interval(baseline.correct, self.correct)


def cross_validated(
    photos: LabelledPhotos,
    features: Features,
    *,
    folds: int = 5,
    seed: int = 0,
    penalty: float = PENALTY,
    store: FeatureStore | None = None,
    progress: Progress = _silent,
) -> list[ProbeResult]:
    """Train and test a linear classifier on the frozen activations of each block, by cross-validation.

    Parameters
    ----------
    photos : LabelledPhotos
    features : Features
        Activations of one photo.
    folds : int
        Parts of the photos; each is classified by a classifier trained on the others. Every class is spread over the
        parts as evenly as can be.
    seed : int
        Of the parts.
    penalty : float
        Weight of the squared norm of the coefficients, beside the mean loss.
    store : FeatureStore, optional
        Where features are kept.
    progress : callable
        Called with photos done and photos in all.

    Returns
    -------
    list of ProbeResult
        One per block, in order.

    Raises
    ------
    InputError
        If there are fewer than two folds.
    """
    if folds < 2:
        raise InputError(f"{folds} folds: at least 2 are needed, one to train on and one to test on")
    part = _parts(photos.labels, folds, seed)
    results = []
    for block, matrix in _matrices("photos", photos.paths, features, store, progress):
        correct = np.zeros(len(matrix), np.bool_)
        for fold in range(folds):
            test = part == fold
            if test.any():
                classifier = fit_linear(
                    matrix[~test].astype(np.float64),
                    photos.labels[~test],
                    len(photos.names),
                    penalty,
                    f"{features.network}, {block}",
                )
                correct[test] = classifier.predict(matrix[test].astype(np.float64)) == photos.labels[test]
        results.append(_result(features, block, matrix, correct))
    return results


def validated(
    train: LabelledPhotos,
    val: LabelledPhotos,
    features: Features,
    *,
    penalty: float = PENALTY,
    store: FeatureStore | None = None,
    progress: Progress = _silent,
) -> list[ProbeResult]:
    """Train a linear classifier on the frozen activations of each block of some photos, and test it on others.

    Parameters
    ----------
    train, val : LabelledPhotos
        Of `train_and_validation_photos`.
    features, penalty, store, progress
        As for `cross_validated`.

    Returns
    -------
    list of ProbeResult
        One per block, in order, on the photos of `val`.
    """
    n_photos = len(train.paths) + len(val.paths)
    seen = _matrices("train", train.paths, features, store, lambda n_seen, _: progress(n_seen, n_photos))
    unseen = _matrices(
        "val", val.paths, features, store, lambda n_seen, _: progress(len(train.paths) + n_seen, n_photos)
    )
    results = []
    for (block, matrix), (_, test) in zip(seen, unseen, strict=True):
        classifier = fit_linear(
            matrix.astype(np.float64), train.labels, len(train.names), penalty, f"{features.network}, {block}"
        )
        results.append(_result(features, block, matrix, classifier.predict(test.astype(np.float64)) == val.labels))
    return results


def _result(
    features: Features, block: str, matrix: npt.NDArray[np.float32], correct: npt.NDArray[np.bool_]
) -> ProbeResult:
    return ProbeResult(
        network=features.network, size=features.size, block=block, n_features=matrix.shape[1], correct=correct
    )


def _matrices(
    name: str, paths: tuple[ImageFile, ...], features: Features, store: FeatureStore | None, progress: Progress
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Features of every photo, shape (n, n_features), by block."""

    def compute() -> list[tuple[str, npt.NDArray[np.float32]]]:
        matrices: dict[str, npt.NDArray[np.float32]] = {}
        for row, path in enumerate(paths):
            for block, activation in features.maps(decode(path).rgb8):
                numbers = pooled(activation)
                # One array from the start: a list of rows and their stack would take twice the memory.
                matrices.setdefault(block, np.empty((len(paths), numbers.size), np.float32))[row] = numbers
            progress(row + 1, len(paths))
        return list(matrices.items())

    size = "" if features.size is None else f"/{features.size}"
    return (store or FeatureStore()).blocks(f"{features.network}{size}/{name}", compute)


def _parts(labels: IntArray, folds: int, seed: int) -> IntArray:
    """Number of the fold of each photo: within a class they differ by one photo at most."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    part = np.empty(len(labels), np.int64)
    part[order] = np.arange(len(labels)) % folds
    return part
