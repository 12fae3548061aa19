"""Metrics that are measured block by block: networks, which want batches, and what needs several images at once.

A scoring run works in blocks of images in name order. A `BlockMetric` is measured by a `BlockMeter`, one for all metrics
that share it (top-1 and top-5 of one classifier, say), which sees every pair of the block in a fixed order and gives
their statistics at its end. What a batch is made of depends on nothing but the block, so results do not depend on the
number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evalkit.metrics.base import Metric
from evalkit.metrics.photo import Photo
from evalkit.networks.devices import BatchRunner
from evalkit.networks.options import NetworkOptions, Setup
from evalkit.networks.output_cache import OutputCache

__all__ = ["BatchedMeter", "BlockMeter", "BlockMetric", "RunInputs", "missing_value", "networks_of"]


@dataclass(frozen=True)
class RunInputs:
    """What meters may know of a run beside its pairs.

    Attributes
    ----------
    networks : NetworkOptions
    labels : mapping of str to int
        True class by image; empty where no metric needs it.
    samples : mapping of str to tuple of str
        Methods that are samples of one, by its name (see `evalkit.scoring.samples`).
    reference : tuple of str
        Images that metrics of whole sets compare with; empty for the true photos.
    """

    networks: NetworkOptions = field(default_factory=NetworkOptions)
    labels: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reference: tuple[str, ...] = ()


class BlockMeter(ABC):
    """Measures the pairs of one block after another; one instance per process."""

    def __init__(self) -> None:
        self.notes: set[str] = set()
        """What a reader of the results should know, for example that the batch was halved."""
        self.cache: OutputCache | None = None
        """Where outputs of true photos are kept for other runs."""

    @abstractmethod
    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Take up one pair: images in name order, all methods of an image in a row. Keeps no full-size pixels."""

    @abstractmethod
    def finish(self) -> Sequence[Mapping[str, Any]]:
        """Statistics of every pair since the last call, in the order of `add`: value by column."""


@dataclass(frozen=True)
class _Waiting:
    """What waits for its batch to be full; ``digest`` where it is a true photo whose output is to be kept."""

    item: int
    seen: npt.NDArray[Any]
    digest: str = ""


class BatchedMeter(BlockMeter):
    """Passes every image of a block through a network in batches, a true photo once for all methods.

    Subclasses say what the network sees of an image (`prepare`) and what the statistics of a pair are
    (`statistics_of_pairs`).

    Parameters
    ----------
    run : BatchRunner
        The network.
    cache : OutputCache, optional
        Where its outputs of true photos are kept for other runs.
    """

    def __init__(self, run: BatchRunner, cache: OutputCache | None = None) -> None:
        super().__init__()
        self.run = run
        self.cache = cache
        self._batch_size = run.batch_size
        self._waiting: list[_Waiting] = []
        self._outputs: dict[int, npt.NDArray[Any]] = {}
        self._image_of_item: list[str] = []
        self._pairs: list[tuple[int, int]] = []
        self._truth_item = -1
        self._truth_input: npt.NDArray[Any] | None = None

    @abstractmethod
    def prepare(self, photo: Photo) -> npt.NDArray[Any]:
        """What the network sees of one image."""

    @abstractmethod
    def statistics_of_pairs(
        self, outputs: npt.NDArray[Any], images: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> Sequence[Mapping[str, Any]]:
        """Statistics of every pair, from the network's outputs.

        Parameters
        ----------
        outputs : ndarray, shape (n_items, ...)
        images : sequence of str, length n_items
            Image that each item shows.
        pairs : sequence of (int, int)
            Items of the truth and of the prediction of each pair.
        """

    def digest(self, photo: Photo) -> str:
        """What the cache knows a photo by."""
        return photo.digest

    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Prepare one pair; run the network when a batch is full."""
        if self._truth_item < 0 or image != self._image_of_item[self._truth_item]:
            self._add_truth(image, truth)
        item = self._truth_item
        if prediction.rgb8 is not truth.rgb8 and not np.array_equal(prediction.rgb8, truth.rgb8):
            seen = self.prepare(prediction)
            if self._truth_input is None or not np.array_equal(seen, self._truth_input):
                item = self._new_item(image)
                self._enqueue(_Waiting(item, seen))
        self._pairs.append((self._truth_item, item))

    def _add_truth(self, image: str, truth: Photo) -> None:
        self._truth_item, self._truth_input = self._new_item(image), None
        digest = ""
        if self.cache is not None:
            digest = self.digest(truth)
            kept = self.cache.read(digest)
            self.notes |= self.cache.notes
            if kept is not None:
                self._outputs[self._truth_item] = kept
                return
        self._truth_input = self.prepare(truth)
        self._enqueue(_Waiting(self._truth_item, self._truth_input, digest))

    def _new_item(self, image: str) -> int:
        self._image_of_item.append(image)
        return len(self._image_of_item) - 1

    def _enqueue(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if len(self._waiting) == self.run.batch_size:
            self._run_batch()

    def _run_batch(self) -> None:
        if not self._waiting:
            return
        inputs = np.stack([waiting.seen for waiting in self._waiting])
        outputs = self.run(inputs, [self._image_of_item[waiting.item] for waiting in self._waiting])
        self._outputs.update({waiting.item: output for waiting, output in zip(self._waiting, outputs, strict=True)})
        self.notes |= self.run.notes
        if self.cache is not None:
            self._keep(self.cache, inputs, outputs)
        self._waiting.clear()

    def _keep(self, cache: OutputCache, inputs: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> None:
        """Store the outputs of true photos, unless they are not those of the photo alone."""
        of_truth = [k for k, waiting in enumerate(self._waiting) if waiting.digest]
        if self.run.batch_size != self._batch_size:
            cache.stop_storing()  # smaller batches may round otherwise than the signature says
        elif of_truth and cache.is_independent is None:
            cache.set_independent(self._is_independent(inputs, outputs))
        if cache.is_independent:
            for k in of_truth:
                cache.store(self._waiting[k].digest, outputs[k])
        elif of_truth and cache.is_independent is False:
            self.notes.add(
                f"{cache.signature['network']}: what it makes of an image depends on the other images of the batch, so "
                "nothing of it is kept in the cache"
            )
        self.notes |= cache.notes

    def _is_independent(self, inputs: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> bool:
        """Whether images have the same outputs, to the bit, in other places of a batch and among other images."""
        n = self._batch_size
        places = np.arange(1, n, 2)
        other = np.zeros((n, *inputs.shape[1:]), inputs.dtype)
        sources = (places - 1) % len(inputs)
        other[places] = inputs[sources]
        return bool(np.array_equal(self.run(other)[places], outputs[sources], equal_nan=True))

    def finish(self) -> Sequence[Mapping[str, Any]]:
        """Statistics of every pair of the block."""
        self._run_batch()
        outputs = np.stack([self._outputs[item] for item in range(len(self._image_of_item))])
        rows = self.statistics_of_pairs(outputs, self._image_of_item, self._pairs)
        self._outputs, self._image_of_item, self._pairs, self._truth_item = {}, [], [], -1
        return rows


class BlockMetric(Metric):
    """How a metric is measured that a `BlockMeter` measures; stands beside `SumMetric` or `SetMetric` among its bases."""

    reference_columns: tuple[str, ...] = ()
    """Feature vectors that are stored of every image of a reference set, where the metric can compare with one."""
    caches_outputs: bool = False
    """Whether outputs of true photos are kept for other runs (`evalkit.networks.output_cache`)."""
    setup: Setup = Setup()
    """What the options of the run come to for this metric; that of the defaults until the run says otherwise."""

    def with_setup(self, setup: Setup) -> Self:
        """The same metric under what the options of a run come to."""
        metric = copy(self)
        metric.setup = setup
        return metric

    @property
    @abstractmethod
    def meter_key(self) -> str:
        """Metrics of equal key share one meter."""

    @abstractmethod
    def set_up(self, run: RunInputs) -> Setup:
        """Choose weights and preprocessing before the run; finds files but downloads nothing.

        Raises
        ------
        InputError
            If the options make no sense for this metric.
        """

    @abstractmethod
    def open_meter(self, run: RunInputs) -> BlockMeter:
        """The meter, its network loaded; called once per process, and only where nothing is missing."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Signature fields: those of the definition, then those that the options decide."""
        return {**self.own_fields, **self.setup.fields}

    @property
    def own_fields(self) -> Mapping[str, str]:
        """Signature fields of the definition alone."""
        return {"agg": "image"}


def networks_of(metrics: Sequence[Metric]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Networks that metrics need, by name, with the metrics that use each; then those among them that classify images."""
    users: dict[str, list[str]] = {}
    recognisers: dict[str, list[str]] = {}
    for metric in metrics:
        for need in metric.needs:
            if need.startswith("weights:"):
                network = need.removeprefix("weights:")
                users.setdefault(network, []).append(metric.name)
                if "labels" in metric.needs:
                    recognisers.setdefault(network, []).append(metric.name)
    return users, recognisers


def missing_value(kind: type[np.generic]) -> Any:
    """What a column holds where the metric is unscored: NaN, or -1 in columns of integers."""
    return -1 if issubclass(kind, np.integer) else np.nan
