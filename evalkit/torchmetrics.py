"""Metrics of this project as `torchmetrics.Metric`, for training loops and Lightning, on one process or on many.

>>> from evalkit.torchmetrics import ScoreMetrics  # doctest: +SKIP
>>> scores = ScoreMetrics(["ab_auc", "ab_auc_rebal"], data_range=(0, 1))  # doctest: +SKIP

States are whole numbers, or sums of doubles without any rounding: what several processes gather is, to the bit, what one
process makes of all images, and what ``evalkit score`` makes of the files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

from evalkit.needs import need_torchmetrics

need_torchmetrics("metrics in a training loop")

if find_spec("torchvision") is not None:
    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()  # torchmetrics imports it, which fails beside some builds of torch

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import torch  # noqa: E402
from torchmetrics import Metric  # noqa: E402
from torchmetrics.utilities import dim_zero_cat  # noqa: E402

from evalkit.errors import InputError  # noqa: E402
from evalkit.metrics._arrays import DataRange, checked_range  # noqa: E402
from evalkit.metrics.ab_counts import AbErrorOptions  # noqa: E402
from evalkit.metrics.base import Metric as ScoringMetric  # noqa: E402
from evalkit.networks.options import NetworkOptions  # noqa: E402
from evalkit.scoring.accumulator import (  # noqa: E402
    RunningSet,
    RunningSum,
    as_pairs,
    check_mergeable,
    check_single,
    joined,
    measurer_of,
    running,
)
from evalkit.scoring.signature import format_run_free_signature  # noqa: E402

__all__ = ["ScoreMetric", "ScoreMetrics"]


def _joined_tensors(states: torch.Tensor) -> torch.Tensor:
    """Sums of several processes, stacked along the first axis, without any rounding."""
    return torch.from_numpy(joined(states.cpu().numpy())).to(states.device)


def _sums_name(metric: ScoringMetric) -> str:
    """Name of the state with a metric's sums, another one for every definition.

    torchmetrics takes metrics for one whose states have the same names and, at some time, the same values (compute groups),
    and loads a state by its name.
    """
    definition = "|".join(f"{key}:{value}" for key, value in metric.fields.items())
    return f"{metric.name}_sums_{sha256(definition.encode()).hexdigest()[:8]}"


class ScoreMetrics(Metric):
    """Several metrics of this project in one `torchmetrics.Metric`; `compute` gives a dict of them.

    Cheaper than one `ScoreMetric` each: a photo is brought to Lab once for all of them.

    Parameters
    ----------
    metrics : sequence of str
        Names as listed by ``evalkit metrics``.
    options : AbErrorOptions, optional
    data_range : (float, float), optional
        What black and white are in tensors of floats, for example ``(0, 1)``; nothing is guessed from the values.
    networks : NetworkOptions, optional
        Weights, device and precision of metrics that need a network.
    **settings
        Those of `torchmetrics.Metric` (``sync_on_compute``, ``process_group``, ...).

    Raises
    ------
    InputError
        If a metric is unknown, needs more than pairs of images, or a network that is not there.

    Notes
    -----
    Images are scored on the CPU, as files would be. States are of 64 bits, whatever precision the module around them is
    brought to (``half()``, ``to(torch.bfloat16)``). Apple's GPUs lack 64 bits: keep it on the CPU there.
    """

    full_state_update = False
    is_differentiable = False
    n_images: torch.Tensor
    """Pairs so far: int64 scalar."""

    def __init__(
        self,
        metrics: Sequence[str],
        options: AbErrorOptions | None = None,
        *,
        data_range: DataRange | None = None,
        networks: NetworkOptions | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.data_range = None if data_range is None else checked_range(data_range)
        self._is_in_step = False
        self._measurer = measurer_of(metrics, options, networks)
        blank = self._measurer.measure(())
        self._running = {metric.name: running(metric, blank) for metric in self._measurer.metrics}
        self._states = {metric.name: _sums_name(metric) for metric in self._measurer.metrics}
        self.add_state("n_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name, one in self._running.items():
            if isinstance(one, RunningSum):
                reduction = "sum" if one.is_whole else _joined_tensors
                self.add_state(self._states[name], torch.from_numpy(one.state.copy()), dist_reduce_fx=reduction)
        self._lengths = {
            name: length
            for one in self._running.values()
            if isinstance(one, RunningSet)
            for name, length in one.metric.vectors.items()
        }
        for name in self._lengths:
            self.add_state(name, [], dist_reduce_fx="cat")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self._running)

    def update(
        self,
        preds: torch.Tensor | npt.ArrayLike,
        target: torch.Tensor | npt.ArrayLike,
        labels: torch.Tensor | Sequence[int] | None = None,
    ) -> None:
        """Add each pair of a batch; the prediction comes first, as everywhere in torchmetrics.

        Parameters
        ----------
        preds, target : torch.Tensor, shape (N, 3, H, W) or (3, H, W)
            Predictions and true photos, sRGB: uint8, or floats of the stated ``data_range``, which are detached, clipped
            and rounded as a file would (`evalkit.to_rgb8`). Arrays have their channels last.
        labels : tensor or sequence of int, shape (N,), optional
            True classes; needed by accuracies alone.

        Raises
        ------
        InputError
            If the images are not of one shape or not of the stated range, or labels are missing. Nothing is added then.
        """
        pairs = as_pairs(target, preds, self.data_range)
        classes = labels.detach().cpu().tolist() if isinstance(labels, torch.Tensor) else labels
        statistics = self._measurer.measure(pairs, classes)
        for name, one in self._running.items():
            if isinstance(one, RunningSum):
                one.state = self._sums(name)
                one.add(statistics, 1)
                setattr(self, self._states[name], torch.from_numpy(one.state).to(self.device))
        for name in self._lengths:
            getattr(self, name).append(torch.from_numpy(statistics.vectors[name]).to(self.device))
        self.n_images = self.n_images + len(pairs)

    def _sums(self, name: str) -> npt.NDArray[Any]:
        sums: npt.NDArray[Any] = getattr(self, self._states[name]).cpu().numpy()
        return sums

    def forward(self, *args: Any, **settings: Any) -> Any:
        """Add a batch as `update` does, and give the score of this batch alone; NaN of one without images.

        Raises
        ------
        InputError
            As `update`. Nothing is added then, and nothing is lost.
        """
        # torchmetrics empties the states for the time of a step, and leaves them so where it fails.
        states = {name: getattr(self, name) for name in self._defaults}
        states = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        n_updates, on_cpu = self._update_count, self.compute_on_cpu
        self._is_in_step = True
        try:
            return super().forward(*args, **settings)
        except BaseException:
            for name, state in states.items():
                setattr(self, name, state)
            self._update_count, self.compute_on_cpu = n_updates, on_cpu
            self._to_sync, self._should_unsync = self.sync_on_compute, True
            self._is_synced, self._enable_grad, self._computed = False, False, None
            raise
        finally:
            self._is_in_step = False

    def merge_state(self, incoming_state: Any) -> None:
        """Add the pairs of another metric, or of its states.

        Raises
        ------
        InputError
            If its metrics or options are others.
        """
        if isinstance(incoming_state, ScoreMetrics):
            check_mergeable(self._measurer.metrics, incoming_state._measurer.metrics)
            incoming_state = incoming_state.metric_state
        super().merge_state(incoming_state)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], *args: Any, **settings: Any) -> Any:
        # Between devices alone: counts in half precision, or rounded sums, would be other numbers.
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), *args, **settings)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the value, or several, as torchmetrics does.

        Parameters
        ----------
        val : value of `compute` or of a step, or a list of them, optional
            What to draw; by default what `compute` gives.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        figure, axes
        """
        return self._plot(val, ax)

    def extra_repr(self) -> str:
        """What stands between the brackets of ``repr``."""
        return ", ".join(self.metrics)

    def sync(self, *args: Any, **settings: Any) -> None:
        """Gather the states of all processes; one that has had no image yet takes part."""
        for name, length in self._lengths.items():
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, [torch.zeros((0, length), device=self.device)])
        super().sync(*args, **settings)

    def _values(self) -> dict[str, float]:
        if not int(self.n_images):
            if self._is_in_step:
                return dict.fromkeys(self.metrics, math.nan)
            raise InputError(f"{', '.join(self.metrics)}: no pair was given yet; update before compute")
        values = {}
        for name, one in self._running.items():
            if isinstance(one, RunningSum):
                one.state = self._sums(name)
            else:
                one.rows = {
                    vector: [np.asarray(dim_zero_cat(getattr(self, vector)).cpu().numpy())] for vector in one.rows
                }
            values[name] = one.value()
        return values

    def compute(self) -> Any:
        """Score of all pairs so far on all processes, by metric.

        Returns
        -------
        dict of str to torch.Tensor
            float64 scalars; fractions where the metric is one, NaN where it is unscored.

        Raises
        ------
        InputError
            If no process has had a pair.
        """
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in self._values().items()
        }

    @property
    def signatures(self) -> dict[str, str]:
        """How each number is made, by metric."""
        return {
            metric.name: format_run_free_signature(metric.name, int(self.n_images), metric.fields)
            for metric in self._measurer.metrics
        }


class ScoreMetric(ScoreMetrics):
    """One metric of this project as a `torchmetrics.Metric`.

    Parameters
    ----------
    metric : str
        Name as listed by ``evalkit metrics``.
    options, data_range, networks, **settings
        As in `ScoreMetrics`.

    Raises
    ------
    InputError
        As `ScoreMetrics`.
    """

    def __init__(
        self,
        metric: str,
        options: AbErrorOptions | None = None,
        *,
        data_range: DataRange | None = None,
        networks: NetworkOptions | None = None,
        **settings: Any,
    ) -> None:
        check_single(metric, "a ScoreMetric", "ScoreMetrics")
        super().__init__([metric], options, data_range=data_range, networks=networks, **settings)

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Whether a higher number is better; None for descriptive numbers."""
        return {"higher": True, "lower": False, "neither": None}[self._measurer.metrics[0].better]

    def compute(self) -> Any:
        """Score of all pairs so far on all processes, a float64 scalar; NaN where it is unscored.

        Raises
        ------
        InputError
            If no process has had a pair.
        """
        (value,) = self._values().values()
        return torch.tensor(value, dtype=torch.float64, device=self.device)
