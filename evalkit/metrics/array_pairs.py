"""Pairs of arrays to statistics, without folders: for accumulators, and for functions that need a network.

A true photo's Lab, its filtered planes and its features are derived once for all metrics of a measurer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.metrics._arrays import require_same_size
from evalkit.metrics.ab_counts import AbErrorOptions, PairCounter, PairCounts, table_of
from evalkit.metrics.base import ImageStatistics, Metric, SumMetric
from evalkit.metrics.blocks import BlockMeter, BlockMetric, RunInputs, networks_of
from evalkit.metrics.photo import Photo
from evalkit.networks.catalogue import check_network_names
from evalkit.networks.memory import out_of_memory_advice
from evalkit.networks.needs import with_command
from evalkit.networks.options import NetworkOptions, chosen_networks
from evalkit.wording import counted

__all__ = ["PairMeasurer", "check_measurable", "kept_measurer"]

GIVEN_LABELS = "given with the arrays"


def check_measurable(metric: Metric) -> None:
    """Refuse a metric that pairs of arrays are not enough for.

    Raises
    ------
    InputError
        If it is about several images at once, or reads what only a run knows of its files.
    """
    of_single_pairs = not isinstance(metric, BlockMetric) or any(need.startswith("weights:") for need in metric.needs)
    reads = metric.reads if isinstance(metric, SumMetric) else ()
    if metric.of_samples or reads or not of_single_pairs:
        raise InputError(
            f"metric {metric.name} needs more than pairs of arrays (several images at once, or what the run knows of a "
            "file); 'evalkit score' computes it"
        )


class PairMeasurer:
    """Measures pairs of arrays under several metrics; networks are loaded at the first pair.

    It travels without its networks: a copy, also in another process, loads its own.

    Parameters
    ----------
    metrics : sequence of Metric
        Each one that `check_measurable` lets pass.
    options : AbErrorOptions
    networks : NetworkOptions
        Weights, device, precision.

    Raises
    ------
    InputError
        If a network's weights, or a package that it needs, are missing.
    """

    def __init__(self, metrics: Sequence[Metric], options: AbErrorOptions, networks: NetworkOptions) -> None:
        self.options = options
        self.networks = replace(networks, labels=GIVEN_LABELS)
        check_network_names(networks, *networks_of(metrics))
        self.metrics = tuple(self._set_up(metric) for metric in metrics)
        self.needs_labels = any("labels" in metric.needs for metric in self.metrics)
        self._labels: dict[str, int] = {}
        self._meters: list[BlockMeter] | None = None
        counts_ab_errors = any(isinstance(metric, SumMetric) and metric.uses_ab_error for metric in metrics)
        self._counter = PairCounter(options.classes) if counts_ab_errors else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_meters": None}

    def _set_up(self, metric: Metric) -> Metric:
        check_measurable(metric)
        if not isinstance(metric, BlockMetric):
            return metric
        setup = metric.set_up(RunInputs(self.networks))
        if setup.reason:
            raise InputError(f"metric {metric.name}: {with_command(setup.reason)}")
        return metric.with_setup(setup)

    def _open_meters(self) -> list[BlockMeter]:
        if self._meters is None:
            meters: dict[str, BlockMeter] = {}
            for metric in self.metrics:
                if isinstance(metric, BlockMetric) and metric.meter_key not in meters:
                    meters[metric.meter_key] = metric.open_meter(RunInputs(self.networks, self._labels))
            self._meters = list(meters.values())
        return self._meters

    def measure(self, pairs: Sequence[tuple[Rgb8, Rgb8]], labels: Sequence[int] | None = None) -> ImageStatistics:
        """Statistics of pairs, one row each.

        Parameters
        ----------
        pairs : sequence of (ndarray, ndarray)
            Truth and prediction, uint8, shape (H, W, 3) each; sizes may differ between pairs.
        labels : sequence of int, optional
            True class of each pair; needed where a metric is an accuracy.

        Raises
        ------
        InputError
            If a pair differs in size, or labels are missing, too many or out of range.
        """
        classes = self._checked_labels(len(pairs), labels)
        names = tuple(f"{i:09d}" for i in range(len(pairs)))
        self._labels.clear()
        self._labels.update(zip(names, classes, strict=False))
        try:
            return self._measured(names, pairs)
        except BaseException:
            self._meters = None  # what a meter has taken up of this batch must not show in the next one
            raise

    def _checked_labels(self, n_pairs: int, labels: Sequence[int] | None) -> list[int]:
        if not self.needs_labels:
            return []
        if labels is None:
            if n_pairs:
                raise InputError("an accuracy needs the true class of each image: give labels")
            return []
        classes = np.atleast_1d(np.asarray(labels))
        if classes.shape != (n_pairs,) or (n_pairs and classes.dtype.kind not in "iu"):
            raise InputError(
                f"labels: expected {counted(n_pairs, 'whole number')}, one per pair, got {classes.dtype} of shape {classes.shape}"
            )
        return [int(one) for one in classes]

    def _measured(self, names: tuple[str, ...], pairs: Sequence[tuple[Rgb8, Rgb8]]) -> ImageStatistics:
        counts: list[PairCounts] = []
        rows: list[dict[str, Any]] = []
        meters = self._open_meters() if pairs else []
        for i, (name, (truth_rgb8, pred_rgb8)) in enumerate(zip(names, pairs, strict=True)):
            truth, prediction = Photo(truth_rgb8), Photo(pred_rgb8)
            require_same_size(truth, prediction)
            row: dict[str, Any] = {}
            height, width = truth.shape
            with out_of_memory_advice(
                f"at pair {i} ({width} x {height} pixels): smaller images or another device may help"
            ):
                for metric in self.metrics:
                    if not isinstance(metric, BlockMetric):
                        row.update(zip(metric.columns, metric.measure(truth, prediction), strict=True))
                rows.append(row)
                if self._counter is not None:
                    counts.append(self._counter.count(truth, prediction))
                for meter in meters:
                    meter.add(name, "prediction", truth, prediction)
        for meter in meters:
            for row, measured in zip(rows, meter.finish(), strict=True):
                row.update(measured)
        columns = {name: kind for metric in self.metrics for name, kind in metric.columns.items()}
        vectors = {name: length for metric in self.metrics for name, length in metric.vectors.items()}
        return ImageStatistics(
            images=names,
            n_pixels=np.array([truth.shape[0] * truth.shape[1] for truth, _ in pairs], dtype=np.int64),
            columns={name: np.array([row[name] for row in rows], dtype=kind) for name, kind in columns.items()},
            ab_error=None if self._counter is None else table_of(counts, len(self.options.classes)),
            vectors={
                name: np.array([row[name] for row in rows], dtype=np.float32).reshape(len(rows), length)
                for name, length in vectors.items()
            },
        )


_kept: dict[str, PairMeasurer] = {}
N_KEPT = 2
"""Networks that functions on arrays keep loaded for their next call."""


def kept_measurer(metric: type[Metric], networks: NetworkOptions | None) -> PairMeasurer:
    """The measurer of one metric that needs a network, kept for the next call with the same options."""
    options = chosen_networks(networks)
    key = f"{metric.name} {options!r}"
    with suppress(KeyError):
        return _kept[key]
    measurer = PairMeasurer([metric()], AbErrorOptions(), options)
    while len(_kept) >= N_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[key] = measurer
    return measurer
