"""The compiled kernels of a run, made before its workers start: once per machine, whatever the number of workers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.color.ab_classes import AbClasses
from evalkit.colorizers.base import BuiltinMethod
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.base import Metric, SumMetric
from evalkit.metrics.blocks import BlockMetric
from evalkit.metrics.photo import Photo
from evalkit.scoring.plan import Plan

if TYPE_CHECKING:
    from numba.core.event import Listener

__all__ = ["COMPILING", "compile_kernels", "prepare_kernels"]

COMPILING = "Compiling what these metrics need, once on this machine; later runs start at once."
"""What a user is told when the first image has to wait for numba."""

_SIDE = 176
"""Pixels on a side: the fewest at which every metric has a value (MS-SSIM), and so runs all of its kernels."""


def compile_kernels(plan: Plan, notify: Callable[[str], None]) -> None:
    """Compile the kernels that a plan needs, and no others, into numba's cache, where workers find them.

    Without this each worker would compile them all. Where they lie in the cache already they are loaded.

    Parameters
    ----------
    plan : Plan
    notify : callable
        Called with `COMPILING` where anything has to be compiled.
    """
    prepare_kernels(plan.created, plan.makers.values(), plan.options.classes, notify)


def prepare_kernels(
    metrics: Sequence[Metric], methods: Iterable[BuiltinMethod], classes: AbClasses, notify: Callable[[str], None]
) -> None:
    """Load the kernels of some metrics and built-in methods into this process, or compile them, by running each once.

    Parameters
    ----------
    metrics : sequence of Metric
        Those that need a network have no kernels.
    methods : iterable of BuiltinMethod
    classes : AbClasses
        Those of the ab errors.
    notify : callable
        Called with `COMPILING` where anything has to be compiled.
    """
    from numba.core import event

    truth, prediction = _noise()
    with event.install_listener("numba:compile", _listener(notify)), _no_collecting():
        for method in methods:
            method.colorize(truth.rgb8, prediction.rgb8)
        if any(isinstance(metric, SumMetric) and metric.uses_ab_error for metric in metrics):
            counter = PairCounter(classes)
            counter.count(truth, prediction)
            counter.largest_chroma(truth)
        for metric in metrics:
            if not isinstance(metric, BlockMetric):
                metric.measure(truth, prediction)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """While this is open, Python looks for no cycles of garbage: numba makes few, of many objects, for a twentieth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _noise() -> tuple[Photo, Photo]:
    """Two photos on which every metric has a value."""
    rng = np.random.default_rng(0)
    truth, prediction = (Photo(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)) for _ in range(2))
    return truth, prediction


def _listener(notify: Callable[[str], None]) -> Listener:
    """What numba calls when it compiles; it passes the sentence on once."""
    from numba.core.event import Listener

    class Told(Listener):
        def __init__(self) -> None:
            self.is_told = False

        def on_start(self, event: Any) -> None:
            if not self.is_told:
                self.is_told = True
                notify(COMPILING)

        def on_end(self, event: Any) -> None:
            pass

    return Told()
