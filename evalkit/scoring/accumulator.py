"""Metrics without folders: feed pairs of arrays or tensors, merge, compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.metrics import DEFAULT, create_metrics, expand_default
from evalkit.metrics._arrays import DataRange, checked_range, to_rgb8
from evalkit.metrics.ab_counts import AbErrorOptions, chosen_options
from evalkit.metrics.array_pairs import PairMeasurer, check_measurable
from evalkit.metrics.base import ImageStatistics, Metric, SetMetric, SumMetric, exact_parts
from evalkit.networks.options import NetworkOptions, chosen_networks
from evalkit.scoring.signature import format_run_free_signature
from evalkit.wording import counted

__all__ = ["Accumulator", "AccumulatorCollection", "RunningSet", "RunningSum"]


class RunningSum:
    """Sums of a metric's terms, without any rounding, in room that does not grow.

    Parameters
    ----------
    metric : SumMetric
    blank : ImageStatistics
        Statistics of no image, which say how many terms there are and of which type.

    Attributes
    ----------
    state : ndarray
        int64 of shape (k,) where the terms are counts; else float64 of shape (k, 40), the parts of each sum
        (`evalkit.metrics.base.exact_parts`). States of several processes are joined by `joined`.
    """

    def __init__(self, metric: SumMetric, blank: ImageStatistics) -> None:
        self.metric = metric
        terms = metric.terms(blank)
        self.is_whole = bool(np.issubdtype(terms.dtype, np.integer))
        n_terms = terms.shape[1]
        self.state: npt.NDArray[Any] = (
            np.zeros(n_terms, np.int64) if self.is_whole else np.stack([exact_parts(())] * n_terms)
        )

    def add(self, statistics: ImageStatistics, weight: int) -> None:
        """Take up the terms of further images."""
        terms = self.metric.terms(statistics)
        if self.is_whole:
            self.state = self.state + weight * terms.sum(axis=0, dtype=np.int64)
        else:
            columns = np.repeat(terms, weight, axis=0).T
            self.state = np.stack(
                [exact_parts([*parts, *column]) for parts, column in zip(self.state, columns, strict=True)]
            )

    def join(self, state: npt.NDArray[Any]) -> None:
        """Take up the sums of another process."""
        self.state = joined(np.stack([self.state, state]))

    def value(self) -> float:
        """The score of the images so far."""
        sums = self.state if self.is_whole else self.state[:, 0]
        return float(self.metric.score(np.asarray(sums)))


def joined(states: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The state of all images together, of states stacked along the first axis."""
    if np.issubdtype(states.dtype, np.integer):
        return np.asarray(states.sum(axis=0, dtype=np.int64))
    return np.stack([exact_parts(column.ravel()) for column in states.swapaxes(0, 1)])


class RunningSet:
    """What a metric of the whole set needs of every image: its feature vectors.

    Parameters
    ----------
    metric : SetMetric

    Attributes
    ----------
    rows : dict of str to list of ndarray
        Vectors by name, float32, in the order in which the images came.
    """

    def __init__(self, metric: SetMetric) -> None:
        self.metric = metric
        self.rows: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in metric.vectors}

    def add(self, statistics: ImageStatistics, weight: int) -> None:
        """Take up the vectors of further images."""
        for name, rows in self.rows.items():
            rows.append(np.repeat(statistics.vectors[name], weight, axis=0))

    def join(self, rows: Mapping[str, Sequence[npt.NDArray[np.float32]]]) -> None:
        """Take up the vectors of another process."""
        for name in self.rows:
            self.rows[name].extend(rows[name])

    def value(self) -> float:
        """The score of the images so far."""
        vectors = {name: np.concatenate(rows) for name, rows in self.rows.items()}
        n_images = len(next(iter(vectors.values())))
        return self.metric.set_score(
            ImageStatistics(
                images=tuple(f"{i:09d}" for i in range(n_images)),
                n_pixels=np.ones(n_images, np.int64),
                vectors=vectors,
            )
        ).value


def running(metric: Metric, blank: ImageStatistics) -> RunningSum | RunningSet:
    """What accumulates a metric."""
    if isinstance(metric, SumMetric):
        return RunningSum(metric, blank)
    if isinstance(metric, SetMetric) and metric.vectors and not metric.columns:
        return RunningSet(metric)
    raise InputError(f"metric {metric.name} cannot be accumulated; 'evalkit score' computes it")


def measurer_of(
    metrics: Sequence[str], options: AbErrorOptions | None, networks: NetworkOptions | None
) -> PairMeasurer:
    """What measures pairs of arrays under metrics, by their names.

    Raises
    ------
    InputError
        If a metric is unknown or needs more than pairs of arrays, its network is missing, or the options are none.
    """
    options = chosen_options(options)
    created = create_metrics(expand_default(metrics), options)
    for metric in created:
        check_measurable(metric)
    return PairMeasurer(created, options, chosen_networks(networks))


def check_single(metric: str, owner: str, collection: str) -> None:
    """Refuse what is not the name of one metric.

    Raises
    ------
    InputError
        If it is no text, or the word that stands for several.
    """
    if not isinstance(metric, str) or metric == DEFAULT:
        several = f"; '{DEFAULT}' stands for several" if metric == DEFAULT else ""
        raise InputError(f"{owner} has one metric, by name{several}; {collection} takes several")


def definitions_of(metrics: Sequence[Metric]) -> dict[str, dict[str, str]]:
    """How each metric's number is made, field by field."""
    return {metric.name: dict(metric.fields) for metric in metrics}


def check_mergeable(own: Sequence[Metric], received: Sequence[Metric]) -> None:
    """Refuse to join numbers that are made in different ways.

    Raises
    ------
    InputError
        If metrics or options differ; names them.
    """
    ours, theirs = definitions_of(own), definitions_of(received)
    if ours.keys() != theirs.keys():
        raise InputError(f"cannot merge {', '.join(theirs)} into {', '.join(ours)}: the metrics must be the same")
    for name, fields in ours.items():
        for key in dict.fromkeys([*fields, *theirs[name]]):
            values = theirs[name].get(key, "none"), fields.get(key, "none")
            if values[0] != values[1]:
                raise InputError(f"cannot merge {name} of {key}:{values[0]} into {name} of {key}:{values[1]}")


def as_pairs(truth: Any, prediction: Any, data_range: DataRange | None) -> list[tuple[Rgb8, Rgb8]]:
    """Pairs of 8-bit images, of one pair or of a batch of arrays or tensors.

    Raises
    ------
    InputError
        As `evalkit.to_rgb8`; also where the two differ in shape.
    """
    true_rgb8 = to_rgb8(truth, data_range, name="truth_rgb8")
    pred_rgb8 = to_rgb8(prediction, data_range, name="pred_rgb8")
    if true_rgb8.shape != pred_rgb8.shape:
        raise InputError(f"truth_rgb8 has shape {true_rgb8.shape} but pred_rgb8 has {pred_rgb8.shape}; make them equal")
    if true_rgb8.ndim == 3:
        return [(true_rgb8, pred_rgb8)]
    return list(zip(true_rgb8, pred_rgb8, strict=True))


class AccumulatorCollection:
    """Several metrics over many pairs, fed one pair or one batch at a time; see `Accumulator`.

    Cheaper than as many accumulators: a photo is brought to Lab once for all metrics, and metrics of one network share
    its features.

    Parameters
    ----------
    metrics : sequence of str
        Names as listed by ``evalkit metrics``.
    options : AbErrorOptions, optional
    data_range : (float, float), optional
        What black and white are in arrays and tensors of floats, for example ``(0, 1)``.
    networks : NetworkOptions, optional
        Weights, device and precision of metrics that need a network.

    Raises
    ------
    InputError
        As `Accumulator`.

    Examples
    --------
    >>> import numpy as np
    >>> photo = np.zeros((2, 16, 16, 3), np.uint8); photo[0, ..., 0] = 200
    >>> scores = AccumulatorCollection(["ab_auc", "ab_rmse"])
    >>> scores.update(photo, photo)
    >>> scores.compute()
    {'ab_auc': 1.0, 'ab_rmse': 0.0}
    """

    def __init__(
        self,
        metrics: Sequence[str],
        options: AbErrorOptions | None = None,
        *,
        data_range: DataRange | None = None,
        networks: NetworkOptions | None = None,
    ) -> None:
        self._measurer = measurer_of(metrics, options, networks)
        self.options = self._measurer.options
        self.data_range = None if data_range is None else checked_range(data_range)
        self.reset()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(metric.name for metric in self._measurer.metrics)

    def reset(self) -> None:
        """Forget all pairs."""
        self.n_images = 0
        blank = self._measurer.measure(())
        self._running = {metric.name: running(metric, blank) for metric in self._measurer.metrics}

    def update(self, truth_rgb8: Any, pred_rgb8: Any, weight: int = 1, *, labels: Sequence[int] | None = None) -> None:
        """Add one pair, or each pair of a batch.

        Parameters
        ----------
        truth_rgb8, pred_rgb8 : array_like or torch.Tensor
            Arrays of shape (H, W, 3) or (N, H, W, 3), tensors of shape (3, H, W) or (N, 3, H, W), on any device, with or
            without gradients: sRGB as uint8, or floats of the stated ``data_range``, which are clipped and rounded as a
            file would (`evalkit.to_rgb8`).
        weight : int
            How often each pair counts, at least 1.
        labels : sequence of int, optional
            True class of each pair; needed by accuracies alone.

        Raises
        ------
        InputError
            If the images are not of one shape or not of the stated range, the weight is below 1, or labels are missing.
            Nothing is added then.
        """
        if not isinstance(weight, int | np.integer) or isinstance(weight, bool) or weight < 1:
            raise InputError(f"weight {weight}: a pair counts once, or a whole number of times")
        pairs = as_pairs(truth_rgb8, pred_rgb8, self.data_range)
        statistics = self._measurer.measure(pairs, labels)
        for one in self._running.values():
            one.add(statistics, weight)
        self.n_images += weight * len(pairs)

    def merge(self, other: AccumulatorCollection) -> None:
        """Add the pairs of another accumulator of the same metrics and options.

        Accumulators can be pickled, and so sent between processes; what several made is merged in any order.

        Raises
        ------
        InputError
            If metrics or options differ.
        """
        if not isinstance(other, AccumulatorCollection):
            raise InputError(f"cannot merge {type(other).__name__} into an accumulator; give another accumulator")
        check_mergeable(self._measurer.metrics, other._measurer.metrics)
        for name, one in self._running.items():
            received = other._running[name]
            if isinstance(one, RunningSum) and isinstance(received, RunningSum):
                one.join(received.state)
            elif isinstance(one, RunningSet) and isinstance(received, RunningSet):
                one.join(received.rows)
        self.n_images += other.n_images

    def compute(self) -> dict[str, float]:
        """Score of all pairs so far, by metric.

        Returns
        -------
        dict of str to float
            Fractions where the metric is one. NaN where a metric is unscored, for images that are too small for it, say.

        Raises
        ------
        InputError
            If there are no pairs.
        """
        if not self.n_images:
            raise InputError(f"{', '.join(self.metrics)}: no pair was given yet; update before compute")
        return {name: one.value() for name, one in self._running.items()}

    @property
    def signatures(self) -> dict[str, str]:
        """How each number is made, by metric; the set is ``arrays``, for nothing is known of their names."""
        return {
            metric.name: format_run_free_signature(metric.name, self.n_images, metric.fields)
            for metric in self._measurer.metrics
        }

    def _shown(self) -> str:
        if not self.n_images:
            return "no image yet"
        # Metrics of the whole set take long at the end (FID decomposes two covariances): a glance must not ask for them.
        sums = {name: one for name, one in self._running.items() if isinstance(one, RunningSum)}
        numbers = ", ".join(f"{name} {one.value():.4f}" for name, one in sums.items())
        return counted(self.n_images, "image") + (f": {numbers}" if numbers else "")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.metrics)}; {self._shown()}>"


class Accumulator:
    """A metric over many pairs, fed one pair or one batch at a time, for training loops and notebooks.

    The result is that of `evalkit.score` on the same images, to the last bit, in whatever order they come and however
    they are split over accumulators that are then merged: integers are summed as they are, floats exactly (Shewchuk).
    Of FID and KID, whose sums are taken over all images at the end, it is so up to rounding.

    An accumulator can be copied and pickled, so that several processes send each other theirs to merge.

    Parameters
    ----------
    metric : str
        Name as listed by ``evalkit metrics``.
    options : AbErrorOptions, optional
    data_range : (float, float), optional
        What black and white are in arrays and tensors of floats, for example ``(0, 1)``.
    networks : NetworkOptions, optional
        Weights, device and precision of a metric that needs a network.

    Raises
    ------
    InputError
        If the metric is unknown, needs more than pairs of arrays (several images at once, say), or a network that is not
        there.

    Examples
    --------
    >>> import numpy as np
    >>> photo = np.zeros((2, 16, 16, 3), np.uint8); photo[0, ..., 0] = 200
    >>> auc = Accumulator("ab_auc")
    >>> auc.update(photo, photo)
    >>> auc.compute()
    1.0
    >>> auc
    <Accumulator of ab_auc; 2 images: ab_auc 1.0000>
    """

    def __init__(
        self,
        metric: str,
        options: AbErrorOptions | None = None,
        *,
        data_range: DataRange | None = None,
        networks: NetworkOptions | None = None,
    ) -> None:
        check_single(metric, "an Accumulator", "AccumulatorCollection")
        self._collection = AccumulatorCollection([metric], options, data_range=data_range, networks=networks)

    @property
    def metric(self) -> Metric:
        """The metric under its options."""
        return self._collection._measurer.metrics[0]

    @property
    def options(self) -> AbErrorOptions:
        """Classes, prior and quadrature of the ab metrics."""
        return self._collection.options

    @property
    def n_images(self) -> int:
        """Pairs so far, each as often as it counts."""
        return self._collection.n_images

    def update(self, truth_rgb8: Any, pred_rgb8: Any, weight: int = 1, *, labels: Sequence[int] | None = None) -> None:
        """Add one pair, or each pair of a batch; see `AccumulatorCollection.update`."""
        self._collection.update(truth_rgb8, pred_rgb8, weight, labels=labels)

    def merge(self, other: Accumulator) -> None:
        """Add the pairs of another accumulator of the same metric and options.

        Raises
        ------
        InputError
            If metric or options differ.
        """
        if not isinstance(other, Accumulator):
            raise InputError(f"cannot merge {type(other).__name__} into an accumulator; give another accumulator")
        self._collection.merge(other._collection)

    def reset(self) -> None:
        """Forget all pairs."""
        self._collection.reset()

    def compute(self) -> float:
        """Score of all pairs so far; NaN where none of them can be scored.

        Raises
        ------
        InputError
            If there are no pairs.
        """
        (value,) = self._collection.compute().values()
        return value

    @property
    def signature(self) -> str:
        """How the number is made; the set is ``arrays``, for nothing is known of their names."""
        (signature,) = self._collection.signatures.values()
        return signature

    def __repr__(self) -> str:
        return f"<Accumulator of {self.metric.name}; {self._collection._shown()}>"
