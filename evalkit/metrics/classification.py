"""Does a classifier still recognise the colorized image? Accuracy after colorization.

R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 4.2: the colorizations go into an
off-the-shelf VGG-16 [1]_ that was trained on colour photos and is not tuned; the accuracy on the true photos and on
gray ones frames the result.

References
----------
.. [1] K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, FloatArray, IntArray
from evalkit.datasets.labels import DEVKIT_NUMBERING, labels_digest
from evalkit.errors import InputError
from evalkit.metrics._arrays import as_rgb8
from evalkit.metrics.array_pairs import kept_measurer
from evalkit.metrics.base import ImageStatistics, IntervalKind, SumMetric, share_of_sums
from evalkit.metrics.blocks import BatchedMeter, BlockMeter, BlockMetric, RunInputs
from evalkit.metrics.photo import Photo
from evalkit.networks.classifiers import Classifier, set_up_classifier
from evalkit.networks.devices import BatchRunner, chosen_batch_size
from evalkit.networks.options import NetworkOptions, Setup
from evalkit.networks.output_cache import OutputCache
from evalkit.wording import counted

__all__ = ["Answers", "TopAccuracy", "TopAccuracyKept", "accuracy_metric", "answers", "classify"]

ACCURACY_NAME = re.compile(r"(?P<network>\w+?)_top(?P<k>[15])(?P<kept>_kept)?")

N_FOR_CHANCE = 50
CHANCE_LEVEL = 0.01
"""Guessing gives 0.001; photos of one's own, labelled rightly, give many times this even to a poor network."""

TITLES = {"vgg16": "VGG-16", "vgg16_caffe": "VGG-16 Caffe"}


@dataclass(frozen=True)
class Answers:
    """What a classifier says about n images.

    Attributes
    ----------
    predicted : ndarray of int64, shape (n,)
        The class of the highest score; of equal ones the first.
    probability : ndarray of float64, shape (n,)
        Softmax probability of the true class.
    rank : ndarray of int64, shape (n,)
        Place of the true class among all, 1 the highest; of equal scores the first class comes first, so that a network
        that answers the same everywhere recognises nothing by accident.
    """

    predicted: IntArray
    probability: FloatArray
    rank: IntArray


def answers(logits: npt.ArrayLike, truth: npt.ArrayLike) -> Answers:
    """Predicted class, probability and rank of the true class.

    Parameters
    ----------
    logits : array_like, shape (n, n_classes)
        Class scores before the softmax.
    truth : array_like of int, shape (n,)
        True classes, 0 to n_classes - 1.

    Returns
    -------
    Answers
        Where a score is not finite: predicted and rank -1, probability NaN.

    Raises
    ------
    InputError
        If a true class is out of range.

    Examples
    --------
    >>> answered = answers([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]], [0, 2])
    >>> answered.predicted.tolist(), answered.rank.tolist()
    ([0, 1], [1, 2])
    """
    scores: FloatArray = np.asarray(logits, dtype=np.float64)
    classes: IntArray = np.asarray(truth, dtype=np.int64)
    wrong = classes[(classes < 0) | (classes >= scores.shape[1])]
    if wrong.size:
        raise InputError(
            f"class index {wrong[0]} is out of range; the classifier knows the classes 0 to {scores.shape[1] - 1}."
        )
    finite: BoolArray = np.all(np.isfinite(scores), axis=1)
    scores = np.where(finite[:, None], scores, 0.0)
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < classes[:, None]))
    highest = scores.max(axis=1, keepdims=True)
    probability = np.exp(own - highest)[:, 0] / np.exp(scores - highest).sum(axis=1)
    return Answers(
        np.where(finite, scores.argmax(axis=1), -1),
        np.where(finite, probability, np.nan),
        np.where(finite, 1 + ahead.sum(axis=1), -1),
    )


class ClassifierMeter(BatchedMeter):
    """Classifies every image of a block."""

    def __init__(
        self, classifier: Classifier, labels: Mapping[str, int], batch_size: int, cache_folder: Path | None = None
    ) -> None:
        cache = None
        if cache_folder is not None:
            metrics = [f"{classifier.name}_top1", f"{classifier.name}_top5"]
            cache = OutputCache(cache_folder, classifier.signature(batch_size), metrics)
        super().__init__(BatchRunner(self._outputs_of_batch, batch_size), cache)
        self.classifier = classifier
        self.labels = labels

    def _outputs_of_batch(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Class scores; in a reduced precision one number more, 1 where they were computed anew in fp32."""
        if self.classifier.precision == "fp32":
            return self.classifier.logits(batch)
        scores, in_fp32 = self.classifier.settled_logits(batch)
        return np.column_stack([scores, in_fp32.astype(np.float32)])

    def prepare(self, photo: Photo) -> npt.NDArray[Any]:
        """Resize and crop, once for all classifiers that see an image alike."""
        key = self.classifier.pixels_key
        if key is None:
            return self.classifier.prepare(photo.rgb8)
        if key not in photo.derived:
            photo.derived[key] = self.classifier.prepare(photo.rgb8)
        pixels: npt.NDArray[Any] = photo.derived[key]
        return pixels

    def digest(self, photo: Photo) -> str:
        """That of the pixels; of what comes out of a function of the user's, whose code nothing else tells."""
        if self.classifier.has_own_pixels:
            seen = self.prepare(photo)
            return hashlib.sha256(f"{seen.shape} {seen.dtype} ".encode() + seen.tobytes()).hexdigest()
        return photo.digest

    def statistics_of_pairs(
        self, outputs: npt.NDArray[Any], images: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> Sequence[Mapping[str, Any]]:
        """True class, predicted class, probability, rank, rank of the true photo; whether fp32 was asked."""
        classes = [self.labels[image] for image in images]
        is_reduced = self.classifier.precision != "fp32"
        answered = answers(outputs[:, :-1] if is_reduced else outputs, classes)
        name = self.classifier.name
        return [
            {
                "class_index": classes[item],
                f"{name}_class": answered.predicted[item],
                f"{name}_probability": answered.probability[item],
                f"{name}_rank": answered.rank[item],
                f"{name}_truth_rank": answered.rank[truth],
                **({f"{name}_fp32": int(outputs[item, -1])} if is_reduced else {}),
            }
            for truth, item in pairs
        ]


class TopAccuracy(BlockMetric, SumMetric):
    """Share of images whose true class is among the k that a classifier ranks highest."""

    network: ClassVar[str]
    """Name of the classifier."""
    k: ClassVar[int]
    """How many of the highest classes count."""

    better = "higher"
    caches_outputs = True
    percent = True
    decimals = 1
    unscored_because = "the classifier gave no finite scores"
    interval: IntervalKind = "share"

    def __reduce__(self) -> tuple[Callable[[str, Setup], TopAccuracy], tuple[str, Setup]]:
        # Workers get the metrics of the run; the class was made from its name and is made so again.
        return _recreated, (self.name, self.setup)

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """True class; predicted class, probability and rank of the true class; rank of it on the true photo.

        In a reduced precision also whether the class scores were computed anew in fp32.
        """
        in_fp32 = {f"{self.network}_fp32": np.int32} if self._reduced_precision else {}
        return {
            "class_index": np.int32,
            f"{self.network}_class": np.int32,
            f"{self.network}_probability": np.float64,
            f"{self.network}_rank": np.int32,
            f"{self.network}_truth_rank": np.int32,
            **in_fp32,
        }

    @property
    def _reduced_precision(self) -> str:
        """``bf16`` or ``fp16`` where images in doubt are computed anew in fp32; else empty."""
        precision, plus, _ = self.setup.fields.get("prec", "").partition("+")
        return precision if plus else ""

    def notice(self, method: str, statistics: ImageStatistics) -> str:
        """How many images fp32 decided; the metrics of one network say the same sentence."""
        if not self._reduced_precision or self.setup.reason:
            return ""
        n, n_in_doubt = len(statistics), int((statistics.columns[f"{self.network}_fp32"] == 1).sum())
        return (
            f"method {method}: {self.network} in {self._reduced_precision}: the first class of {n_in_doubt} of {counted(n, 'image')} was in "
            "doubt and was found in fp32; first classes are those of fp32 unless rounding moved scores further than on any image "
            "that was tried; probabilities and lower ranks are rounded"
        )

    @property
    def meter_key(self) -> str:
        """One meter per classifier."""
        return f"classifier:{self.network}"

    def set_up(self, run: RunInputs) -> Setup:
        """Weights, preprocessing, precision."""
        if run.networks.labels is None:
            raise InputError(
                f"metric {self.name} needs the true classes: give --labels FILE (or --labels folders, --labels names)."
            )
        return set_up_classifier(self.network, run.networks)

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Load the network."""
        classifier = Classifier(self.network, run.networks)
        batch_size = chosen_batch_size(run.networks.batch_size, classifier.device)
        return ClassifierMeter(classifier, run.labels, batch_size, run.networks.cache_folder)

    @property
    def own_fields(self) -> Mapping[str, str]:
        """Mean over images; the classifier."""
        return {"agg": "image", "net": self.network}

    def fields_of(self, statistics: ImageStatistics) -> Mapping[str, str]:
        """With the digest of the true classes."""
        classes = dict(zip(statistics.images, statistics.columns["class_index"].tolist(), strict=True))
        return {**self.fields, "labels": labels_digest(classes)}

    def caution(self, method: str, value: float, n_images: int) -> str:
        """Accuracy on the true photos no better than guessing: the classes are numbered in another way."""
        if method != "truth" or n_images < N_FOR_CHANCE or value > CHANCE_LEVEL * self.k:
            return ""
        return (
            f"{self.title} accuracy on the true photos is {100 * value:.1f} %, as by guessing: the labels number the classes "
            f"in another way than the classifier; if they come from the development kit, {DEVKIT_NUMBERING}"
        )

    def _correct(self, rank: npt.NDArray[Any]) -> IntArray:
        return ((rank >= 1) & (rank <= self.k)).astype(np.int64)

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Whether it is recognised, and whether the classifier answered at all; shape (n, 2)."""
        rank = statistics.columns[f"{self.network}_rank"]
        return np.column_stack([self._correct(rank), (rank >= 1).astype(np.int64)])

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Share of images recognised; NaN without any."""
        return share_of_sums(sums)


class TopAccuracyKept(TopAccuracy):
    """Accuracy divided by the accuracy on the true photos: the share of recognition that survives colorization."""

    interval: IntervalKind = "ratio of shares"
    undefined_because = "the classifier recognises none of the true photos"

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Whether it is recognised, whether its true photo is; images that the classifier answered, shape (n, 2)."""
        rank = statistics.columns[f"{self.network}_rank"]
        truth_rank = statistics.columns[f"{self.network}_truth_rank"]
        answered = (rank >= 1) & (truth_rank >= 1)
        return np.column_stack([self._correct(rank) * answered, self._correct(truth_rank) * answered])

    def per_image(self, statistics: ImageStatistics) -> FloatArray:
        """A single image has no ratio: 1 where it is recognised, else 0."""
        rank = statistics.columns[f"{self.network}_rank"]
        return np.where(rank >= 1, self._correct(rank), np.nan).astype(np.float64)


def _recreated(name: str, setup: Setup) -> TopAccuracy:
    metric = accuracy_metric(name)()
    metric.setup = setup
    return metric


@lru_cache(maxsize=64)
def accuracy_metric(name: str) -> type[TopAccuracy]:
    """The metric ``NETWORK_top1``, ``NETWORK_top5`` or one of them with ``_kept``, for any name of a classifier.

    Raises
    ------
    InputError
        If the name has another form.
    """
    match = ACCURACY_NAME.fullmatch(name)
    if match is None:
        raise InputError(f"metric {name!r}: an accuracy is called NETWORK_top1 or NETWORK_top5.")
    network, k, kept = match["network"], int(match["k"]), match["kept"] is not None
    title = f"{TITLES.get(network, network)} top-{k}"
    needs = ("labels", f"weights:{network}")
    definition = (
        f"{title} accuracy after colorization divided by that on the true photos"
        if kept
        else f"share of images whose true class is {'the first' if k == 1 else 'among the first five'} of {TITLES.get(network, network)} (Zhang 2016, 4.2)"
    )
    return type(
        "TopAccuracyKept" if kept else "TopAccuracy",
        (TopAccuracyKept if kept else TopAccuracy,),
        {
            "__module__": __name__,
            "name": name,
            "title": f"{title} kept" if kept else title,
            "summary": definition,
            "needs": needs,
            "network": network,
            "k": k,
            "companions": () if kept else (f"{name}_kept",),
            "details": (f"{network}_class", f"{network}_probability", f"{network}_rank"),
        },
    )


def classify(
    rgb8: npt.ArrayLike, labels: npt.ArrayLike, *, network: str = "vgg16", networks: NetworkOptions | None = None
) -> Answers:
    """What a classifier says about images: predicted class, probability and rank of the true class.

    Accuracy is the share of ranks that are 1; ``evalkit.Accumulator("vgg16_top1")`` sums it up over batches. The network
    stays loaded for the next call.

    Parameters
    ----------
    rgb8 : array_like of uint8, shape (N, H, W, 3) or (H, W, 3)
        8-bit sRGB.
    labels : array_like of int, shape (N,)
        True classes: indices of the sorted synset ids, 0 to 999, for classifiers of ImageNet.
    network : str
        ``vgg16``, ``vgg16_caffe``, any classifier of torchvision, or one of ``networks.classifiers``.
    networks : NetworkOptions, optional
        Weights, preprocessing, device, batch size, precision.

    Returns
    -------
    Answers

    Raises
    ------
    InputError
        If the images are of another type or shape, labels are missing or out of range, the classifier is unknown, or
        weights or packages are missing.

    References
    ----------
    R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 4.2.
    """
    images = as_rgb8("rgb8", rgb8)
    batch = images[np.newaxis] if images.ndim == 3 else images
    measurer = kept_measurer(accuracy_metric(f"{network}_top1"), networks)
    classes = [int(one) for one in np.atleast_1d(np.asarray(labels))]
    columns = measurer.measure([(image, image) for image in batch], classes).columns
    return Answers(
        columns[f"{network}_class"].astype(np.int64),
        columns[f"{network}_probability"],
        columns[f"{network}_rank"].astype(np.int64),
    )
