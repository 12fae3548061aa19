"""Metrics that are measured block by block: networks, which want batches, and what needs several images at once.

A scoring run works in blocks of images in name order. A `BlockMetric` is measured by a `BlockMeter`, one for all metrics
that share it (top-1 and top-5 of one classifier, say), which sees every pair of the block in a fixed order and gives
their statistics at its end. What a batch is made of depends on nothing but the block, so results do not depend on the
number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evalkit.errors import InputError
from evalkit.metrics.base import Metric, Photo

__all__ = ["BlockMeter", "BlockMetric", "NetworkOptions", "Precision", "Settings", "missing_value"]

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class NetworkOptions:
    """What the networks of a run were told.

    Attributes
    ----------
    labels : str or None
        Label file, or ``folders`` or ``names`` (see `evalkit.datasets.labels`).
    weights : mapping of str to Path
        Weights file by network name; others are looked for in the torch hub cache.
    classifiers : mapping of str to str
        The user's own classifiers: ``package.module:function`` by name.
    preprocessing : mapping of str to str
        By classifier name, for example ``"warp227"`` (see `evalkit.networks.classifiers.Preprocessing`).
    device : {"auto", "cpu", "cuda", "mps"} or a torch device such as "cuda:1"
    batch_size : int or None
        Images a batch; None chooses by device. Results agree within 1e-4 in probability.
    precision : {"fp32", "bf16", "fp16"}
    samples : mapping of str to tuple of str
        Methods that are samples of one, by its name; the run itself fills it in.
    """

    labels: str | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    classifiers: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    batch_size: int | None = None
    precision: Precision = "fp32"
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What one metric of a run settled on; stored in ``run.json``.

    Attributes
    ----------
    fields : mapping of str to str
        Signature fields that the options decide (weights, preprocessing, precision).
    reason : str
        Why the metric is unscored (no weights file, say); empty where it is measured.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


class BlockMeter(ABC):
    """Measures the pairs of one block after another; one instance a process."""

    def __init__(self) -> None:
        self.notes: set[str] = set()
        """What a reader of the results should know, for example that the batch was halved."""

    @abstractmethod
    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Take up one pair: images in name order, all methods of an image in a row. Keeps no full-size pixels."""

    @abstractmethod
    def finish(self) -> Sequence[Mapping[str, Any]]:
        """Statistics of every pair since the last call, in the order of `add`: value by column."""


class BlockMetric(Metric):
    """A metric that a `BlockMeter` measures.

    Attributes
    ----------
    settings : Settings
        What the run settled on; that of the defaults until `settle` was asked.
    """

    settings: Settings = Settings()

    @property
    @abstractmethod
    def meter_key(self) -> str:
        """Metrics of equal key share one meter."""

    @abstractmethod
    def settle(self, options: NetworkOptions) -> Settings:
        """Settle on weights and preprocessing before the run; finds files but downloads nothing.

        Raises
        ------
        InputError
            If the options make no sense for this metric.
        """

    @abstractmethod
    def open_meter(self, options: NetworkOptions, labels: Mapping[str, int]) -> BlockMeter:
        """The meter, its network loaded; called once a process, and only where nothing is missing."""

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Refuse: there is no way to measure one pair at a time.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(f"metric {self.name} is measured by a scoring run (evalkit score), not pair by pair.")

    @property
    def fields(self) -> Mapping[str, str]:
        """Signature fields: those of the definition, then those that the run settled on."""
        return {**self.own_fields, **self.settings.fields}

    @property
    def own_fields(self) -> Mapping[str, str]:
        """Signature fields of the definition alone."""
        return {"agg": "image"}


def missing_value(kind: type[np.generic]) -> Any:
    """What a column holds where the metric is unscored: NaN, or -1 in columns of integers."""
    return -1 if issubclass(kind, np.integer) else np.nan
