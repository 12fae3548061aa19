"""Classes of pixels: one linear classifier for all pixels on each block, and its mean IoU.

The activations of a block are frozen. The classifier learns from positions of the block's own grid, each with the label
at its centre. Its scores are then interpolated to the pixels of the labels, where the highest one is the answer, as
fully convolutional networks are evaluated [1]_.

References
----------
.. [1] J. Long, E. Shelhamer, T. Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from evalkit.colorizers.probing.features import Features
from evalkit.colorizers.probing.kept_features import FeatureStore
from evalkit.colorizers.probing.linear import LinearClassifier, fit_linear
from evalkit.colorizers.probing.mean_iou import IGNORED, SegmentationResult, intersections_and_unions
from evalkit.colorizers.probing.scenes import Scene, SceneSet
from evalkit.errors import InputError
from evalkit.images.image_files import decode

if TYPE_CHECKING:
    import numpy.typing as npt

    from evalkit.arrays import FloatArray, IntArray

__all__ = ["PIXELS", "PIXEL_PENALTY", "segmented"]

PIXELS = 100
"""Positions per photo that a classifier learns from, by default."""
PIXEL_PENALTY = 1e-4
"""As `evalkit.colorizers.probing.linear.PENALTY`, for many more examples than features."""

Progress = Callable[[int, int], None]


def segmented(
    scenes: SceneSet,
    features: Features,
    *,
    pixels: int = PIXELS,
    seed: int = 0,
    penalty: float = PIXEL_PENALTY,
    store: FeatureStore | None = None,
    progress: Progress = lambda n_seen, n_scenes: None,
) -> list[SegmentationResult]:
    """Train a linear per-pixel classifier on the frozen activations of each block, and test it on other scenes.

    Parameters
    ----------
    scenes : SceneSet
    features : Features
        Activations of one photo, whose whole they must cover.
    pixels : int
        Positions of each photo to learn from, drawn at random among those with a label; all where there are fewer.
    seed : int
        Of the positions: the same for every network.
    penalty : float
        As for `fit_linear`.
    store : FeatureStore, optional
        Where features are kept.
    progress : callable
        Called with scenes done and scenes in all.

    Returns
    -------
    list of SegmentationResult
        One per block, in order, on the scenes of ``scenes.val``.

    Raises
    ------
    InputError
        If a label file does not fit its photo, or no training scene has a labelled pixel.
    """
    n_scenes = len(scenes.train) + len(scenes.val)
    kept = store or FeatureStore()
    examples: dict[str, list[npt.NDArray[np.float32]]] = {}
    targets: dict[str, list[IntArray]] = {}
    for number, scene in enumerate(scenes.train):
        labels = scenes.labels(scene)
        for block, activation in _maps("train", scene, labels, features, kept):
            found, classes = _positions(activation, labels, pixels, np.random.default_rng([seed, number]))
            examples.setdefault(block, []).append(found)
            targets.setdefault(block, []).append(classes)
        progress(number + 1, n_scenes)
    classifiers: dict[str, LinearClassifier] = {}
    for block, numbers in examples.items():
        classes = np.concatenate(targets[block])
        if not classes.size:
            raise InputError(f"{scenes.root}: no scene to train on has a labelled pixel")
        classifiers[block] = fit_linear(
            np.concatenate(numbers).astype(np.float64),
            classes,
            len(scenes.names),
            penalty,
            f"{features.network}, {block}",
        )
    counts: dict[str, list[IntArray]] = {block: [] for block in classifiers}
    for number, scene in enumerate(scenes.val, start=1):
        labels = scenes.labels(scene)
        for block, activation in _maps("val", scene, labels, features, kept):
            predicted = _predicted(activation, classifiers[block], labels.shape)
            counts[block].append(intersections_and_unions(labels, predicted, len(scenes.names)))
        progress(len(scenes.train) + number, n_scenes)
    return [
        SegmentationResult(
            network=features.network,
            size=features.size,
            block=block,
            n_features=len(classifier.coefficients),
            counts=np.stack(counts[block]),
        )
        for block, classifier in classifiers.items()
    ]


def _maps(
    part: str, scene: Scene, labels: IntArray, features: Features, store: FeatureStore
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    def compute() -> list[tuple[str, npt.NDArray[np.float32]]]:
        rgb8 = decode(scene.photo).rgb8
        if rgb8.shape[:2] != labels.shape:
            raise InputError(
                f"{scene.label_file} has {labels.shape[1]} x {labels.shape[0]} labels, its photo {scene.photo.name} "
                f"{rgb8.shape[1]} x {rgb8.shape[0]} pixels"
            )
        return features.maps(rgb8)

    size = "" if features.size is None else f"/{features.size}"
    return store.blocks(f"{features.network}{size}/{part}/{scene.name}", compute)


def _positions(
    activation: npt.NDArray[np.float32], labels: IntArray, pixels: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], IntArray]:
    """Activations, shape (n, C), and classes, shape (n,), of positions of the block's grid that have a label."""
    _, height, width = activation.shape
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.int64)
    at_centres = labels[np.ix_(rows, columns)].reshape(-1)
    labelled = np.flatnonzero(at_centres != IGNORED)
    if len(labelled) > pixels:
        labelled = np.sort(rng.choice(labelled, pixels, replace=False))
    return activation.reshape(len(activation), -1)[:, labelled].T, at_centres[labelled]


def _predicted(activation: npt.NDArray[np.float32], classifier: LinearClassifier, shape: tuple[int, ...]) -> IntArray:
    """The class of the highest score at each pixel of the labels; of equal ones the first."""
    flat: FloatArray = activation.reshape(len(activation), -1).T.astype(np.float64)
    scores = classifier.scores(flat).T.reshape(1, -1, *activation.shape[1:]).astype(np.float32)
    finer = functional.interpolate(torch.from_numpy(scores), size=shape, mode="bilinear", align_corners=False)
    # By numpy: torch does not say which of equal scores its argmax takes.
    classes: IntArray = finer[0].numpy().argmax(axis=0).astype(np.int64)
    return classes
