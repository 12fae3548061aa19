"""The network as a cross-channel encoder: what linear classifiers can read off the activations of its blocks.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 3.2: linear classifiers on
   each layer, feature maps resized to about 9,000 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from evalkit.color.colorspace import lab_planes
from evalkit.colorizers.anchors import Gray
from evalkit.colorizers.learned.network import ColorizationNet
from evalkit.errors import InputError
from evalkit.images.image_files import decode, resize
from evalkit.images.image_pairs import find_images

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.arrays import BoolArray, FloatArray, IntArray, Rgb8
    from evalkit.networks.classifiers import Classifier

__all__ = [
    "LabelledPhotos",
    "ProbeResult",
    "colorizer_features",
    "labelled_photos",
    "probe",
    "random_network",
    "supervised_features",
    "table_rows",
]

N_FEATURES = 9000
"""Numbers that a block's activations are resized to, about."""

Features = Callable[["Rgb8"], "list[tuple[str, Tensor]]"]
"""Activations of one photo: name of the block, and a map of shape (C, h, w)."""


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos with the class that their folder names.

    Attributes
    ----------
    paths : tuple of Path
    labels : ndarray of int64, shape (n,)
        Index into `names`.
    names : tuple of str
        Classes, sorted.
    """

    paths: tuple[Path, ...]
    labels: IntArray
    names: tuple[str, ...]


def labelled_photos(folder: Path) -> LabelledPhotos:
    """Photos of a folder that holds one sub-folder for each class.

    Raises
    ------
    InputError
        If there are fewer than two classes, or one has fewer than two photos.
    """
    images = find_images(folder)
    classes = {key: key.split("/")[0] if "/" in key else "" for key in images}
    loose = [key for key, name in classes.items() if not name]
    if loose:
        raise InputError(f"{folder}: {loose[0]} lies in no class; the folder needs one sub-folder for each class")
    names = tuple(sorted(set(classes.values())))
    labels = np.array([names.index(classes[key]) for key in images], dtype=np.int64)
    counts = np.bincount(labels, minlength=len(names))
    if len(names) < 2 or counts.min() < 2:
        least = f"'{names[int(counts.argmin())]}' has {counts.min()}" if len(names) > 1 else f"there is {len(names)}"
        raise InputError(f"{folder}: a probe needs two classes with two photos each; {least}")
    return LabelledPhotos(tuple(images.values()), labels, names)


@dataclass(frozen=True)
class ProbeResult:
    """Top-1 of the linear classifier of one block.

    Attributes
    ----------
    block : str
    n_features : int
    correct : ndarray of bool, shape (n,)
        By photo; each was classified by a classifier that had not seen it.
    """

    block: str
    n_features: int
    correct: BoolArray

    @property
    def top1(self) -> float:
        """Share of photos classified right, 0..1."""
        return float(self.correct.mean())

    @property
    def std_error(self) -> float:
        """Standard error of `top1` over photos."""
        return float(self.correct.std(ddof=1) / math.sqrt(self.correct.size))


def colorizer_features(network: ColorizationNet, size: int, device: torch.device | str = "cpu") -> Features:
    """Activations of the eight blocks; the network reads L alone, so photos in colour and in gray give the same.

    Parameters
    ----------
    network : ColorizationNet
    size : int
        Side of the square that photos are resized to.
    device : torch.device or str
    """
    network = network.to(device).eval()

    def features(rgb8: Rgb8) -> list[tuple[str, Tensor]]:
        lightness = lab_planes(resize(rgb8, size))[0].astype(np.float32).reshape(1, 1, size, size)
        with torch.inference_mode():
            activations = network.activations(torch.from_numpy(lightness).to(device))
        return [(f"block {k}", activation[0].cpu()) for k, activation in enumerate(activations, start=1)]

    return features


def supervised_features(classifier: Classifier, *, gray: bool, n_blocks: int = 8) -> Features:
    """Activations of a network that was trained with labels: the ceiling.

    Parameters
    ----------
    classifier : Classifier
        One whose module has ``features``, a sequence of layers (VGG, AlexNet, SqueezeNet, MobileNet, ...).
    gray : bool
        Give it the photos without colours, as the colorizer sees them.
    n_blocks : int
        Layers to read, spread evenly over the sequence; the last one is among them.

    Raises
    ------
    InputError
        If the module has no such sequence.
    """
    layers = getattr(classifier.module, "features", None)
    if not isinstance(layers, nn.Sequential):
        raise InputError(f"{classifier.name}: has no sequence 'features' to probe; give a VGG, SqueezeNet or MobileNet")
    wanted = np.unique(np.linspace(0, len(layers) - 1, min(n_blocks, len(layers)) + 1).round().astype(int)[1:])

    def features(rgb8: Rgb8) -> list[tuple[str, Tensor]]:
        photo = Gray().colorize(rgb8, None)[0] if gray else rgb8
        pooled: list[tuple[str, Tensor]] = []
        hooks = [
            layers[int(k)].register_forward_hook(
                lambda _module, _inputs, output, k=int(k): pooled.append((f"layer {k}", output[0].float().cpu()))
            )
            for k in wanted
        ]
        try:
            classifier.logits(np.stack([classifier.prepare(photo)]))
        finally:
            for hook in hooks:
                hook.remove()
        return pooled

    return features


def _resized(activation: Tensor) -> FloatArray:
    """A map of shape (C, h, w), averaged down to about `N_FEATURES` numbers; smaller maps stay as they are."""
    side = max(1, round(math.sqrt(N_FEATURES / activation.shape[0])))
    height, width = min(side, activation.shape[1]), min(side, activation.shape[2])
    pooled = functional.adaptive_avg_pool2d(activation[None].float(), (height, width))
    flat: FloatArray = pooled.reshape(-1).double().numpy()
    return flat


def probe(
    photos: LabelledPhotos,
    features: Features,
    *,
    folds: int = 5,
    seed: int = 0,
    penalty: float = 1e-2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ProbeResult]:
    """Train and test a linear classifier on the frozen activations of each block, by cross-validation.

    Parameters
    ----------
    photos : LabelledPhotos
    features : callable
        Activations of one photo.
    folds : int
        Parts of the photos; each is classified by a classifier trained on the others. Every class is spread over the
        parts as evenly as can be.
    seed : int
        Of the parts.
    penalty : float
        Weight of the squared norm of the coefficients, beside the mean loss.
    progress : callable
        Called with photos done and photos in all.

    Returns
    -------
    list of ProbeResult
        One a block, in order.

    Raises
    ------
    InputError
        If there are fewer than two folds.
    """
    if folds < 2:
        raise InputError(f"{folds} folds: at least 2 are needed, one to train on and one to test on")
    names: list[str] = []
    rows: list[list[FloatArray]] = []
    for done, path in enumerate(photos.paths, start=1):
        blocks = features(decode(path).rgb8)
        names = [name for name, _ in blocks]
        rows.append([_resized(activation) for _, activation in blocks])
        progress(done, len(photos.paths))
    part = _parts(photos.labels, folds, seed)
    results = []
    for block, name in enumerate(names):
        matrix = np.stack([row[block] for row in rows])
        correct = np.zeros(len(matrix), np.bool_)
        for fold in range(folds):
            test = part == fold
            if test.any():
                predicted = _classify(matrix[~test], photos.labels[~test], matrix[test], len(photos.names), penalty)
                correct[test] = predicted == photos.labels[test]
        results.append(ProbeResult(name, matrix.shape[1], correct))
    return results


def _parts(labels: IntArray, folds: int, seed: int) -> IntArray:
    """Number of the fold of each photo: within a class they differ by one photo at most."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    part = np.empty(len(labels), np.int64)
    part[order] = np.arange(len(labels)) % folds
    return part


def _classify(train: FloatArray, labels: IntArray, test: FloatArray, n_classes: int, penalty: float) -> IntArray:
    """Multinomial logistic regression with an L2 penalty, by L-BFGS in float64."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # As strong as if every feature had unit variance and there were one: the penalty means the same for any number.
    scale = np.where(scale > 1e-12, scale, np.inf) * math.sqrt(train.shape[1])
    x, y = (train - mean) / scale, (test - mean) / scale
    # The best coefficients lie in the span of the photos: with fewer photos than features it is solved there.
    values, vectors = np.linalg.eigh(x @ x.T)
    kept = values > 1e-10 * values[-1]
    vectors, roots = vectors[:, kept], np.sqrt(values[kept])
    inner, target = torch.from_numpy(vectors * roots), torch.from_numpy(labels)
    weights = torch.zeros(inner.shape[1], n_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(n_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(inner @ weights + bias, target) + penalty * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    scores = (y @ x.T) @ (vectors / roots) @ weights.detach().numpy() + bias.detach().numpy()
    predicted: IntArray = scores.argmax(axis=1).astype(np.int64)
    return predicted


def random_network(like: ColorizationNet, seed: int = 0) -> ColorizationNet:
    """A network of the same shape that has learnt nothing: the floor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ColorizationNet(like.n_outputs, like.widths).eval()


def table_rows(kinds: Sequence[tuple[str, Sequence[ProbeResult]]]) -> list[dict[str, object]]:
    """Rows for a table: network, block, number of features, top-1 and its standard error."""
    return [
        {
            "network": kind,
            "block": result.block,
            "n_features": result.n_features,
            "top1": round(result.top1, 6),
            "std_error": round(result.std_error, 6),
            "n_photos": int(result.correct.size),
        }
        for kind, results in kinds
        for result in results
    ]
