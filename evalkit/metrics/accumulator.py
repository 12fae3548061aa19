"""Metrics without folders: feed pairs of arrays, merge, compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError
from evalkit.metrics import create_metrics
from evalkit.metrics._arrays import as_rgb8, require_same_size
from evalkit.metrics.ab_counts import AbErrorOptions, PairCounter, table_of
from evalkit.metrics.base import ImageStatistics, SumMetric, exact_sum
from evalkit.metrics.blocks import BlockMetric
from evalkit.metrics.photo import Photo

__all__ = ["Accumulator"]


class Accumulator:
    """A metric over many pairs, fed one pair or one batch at a time, for training loops and notebooks.

    The result is that of `evalkit.score` on the same images, to the last bit, in whatever order they come and however
    they are split over accumulators that are then merged: integers are summed as they are, floats exactly (Shewchuk).

    Parameters
    ----------
    metric : str
        Name as listed by ``evalkit metrics``.
    options : AbErrorOptions, optional

    Raises
    ------
    InputError
        If the metric is unknown, or needs more than pairs of arrays (a network, say).

    Examples
    --------
    >>> import numpy as np
    >>> photo = np.zeros((2, 16, 16, 3), np.uint8); photo[0, ..., 0] = 200
    >>> auc = Accumulator("ab_auc")
    >>> auc.update(photo, photo)
    >>> auc.compute()
    1.0
    """

    def __init__(self, metric: str, options: AbErrorOptions | None = None) -> None:
        self.options = options or AbErrorOptions()
        (created,) = create_metrics([metric], self.options)
        if isinstance(created, BlockMetric) or not isinstance(created, SumMetric) or created.reads:
            raise InputError(
                f"metric {metric} needs more than pairs of arrays (a network, several images, or what the run knows of a "
                "file); 'evalkit score' computes it"
            )
        self.metric: SumMetric = created
        self.n_images = 0
        self._counter = PairCounter(self.options.classes) if self.metric.uses_ab_error else None
        self._terms: list[npt.NDArray[Any]] = []

    def update(self, truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike, weight: int = 1) -> None:
        """Add one pair, or each pair of a batch.

        Parameters
        ----------
        truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        weight : int
            How often each pair counts, at least 1.

        Raises
        ------
        InputError
            If the arrays are not 8-bit sRGB images of one shape, or the weight is below 1.
        """
        if weight < 1:
            raise InputError(f"weight {weight}: a pair counts at least once")
        truth, prediction = as_rgb8("truth_rgb8", truth_rgb8), as_rgb8("pred_rgb8", pred_rgb8)
        if truth.shape != prediction.shape:
            raise InputError(
                f"truth_rgb8 has shape {truth.shape} but pred_rgb8 has {prediction.shape}; make them equal"
            )
        if truth.ndim == 3:
            truth, prediction = truth[None], prediction[None]
        for one, other in zip(truth, prediction, strict=True):
            self._terms.extend([self._terms_of(Photo(one), Photo(other))] * weight)
            self.n_images += weight

    def _terms_of(self, truth: Photo, prediction: Photo) -> npt.NDArray[Any]:
        require_same_size(truth, prediction)
        measured = self.metric.measure(truth, prediction)
        columns = {
            name: np.array([value], dtype=kind)
            for (name, kind), value in zip(self.metric.columns.items(), measured, strict=True)
        }
        table = None
        if self._counter is not None:
            table = table_of([self._counter.count(truth, prediction)], len(self.options.classes))
        pair = ImageStatistics(images=("pair",), n_pixels=np.array([truth.n_pixels]), columns=columns, ab_error=table)
        return np.asarray(self.metric.terms(pair)[0])

    def merge(self, other: Accumulator) -> None:
        """Add the pairs of another accumulator of the same metric and options.

        Raises
        ------
        InputError
            If metric or options differ.
        """
        if self.metric.name != other.metric.name or dict(self.metric.fields) != dict(other.metric.fields):
            raise InputError(
                f"cannot merge {other.metric.name} {dict(other.metric.fields)} into {self.metric.name} "
                f"{dict(self.metric.fields)}"
            )
        self._terms.extend(other._terms)
        self.n_images += other.n_images

    def compute(self) -> float:
        """Score of all pairs so far; NaN without any."""
        if not self._terms:
            return math.nan
        return float(self.metric.score(exact_sum(np.array(self._terms))))
