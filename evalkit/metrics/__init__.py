"""The metrics, by name: one line per metric here, plus those that other packages register.

Another package adds a metric with one class and one line of its ``pyproject.toml``::

    [project.entry-points."evalkit.metrics"]
    my_metric = "my_package.my_metric:MyMetric"
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import lazy_loader

from evalkit.errors import InputError
from evalkit.wording import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evalkit.metrics.ab_counts import AbErrorOptions
    from evalkit.metrics.base import Better as Better
    from evalkit.metrics.base import ColumnMeanMetric as ColumnMeanMetric
    from evalkit.metrics.base import ImageStatistics as ImageStatistics
    from evalkit.metrics.base import MeanMetric as MeanMetric
    from evalkit.metrics.base import Metric as Metric
    from evalkit.metrics.base import SetMetric as SetMetric
    from evalkit.metrics.base import SetScore as SetScore
    from evalkit.metrics.base import SumMetric as SumMetric
    from evalkit.metrics.blocks import BlockMeter as BlockMeter
    from evalkit.metrics.blocks import BlockMetric as BlockMetric
    from evalkit.metrics.photo import Photo as Photo
    from evalkit.networks.options import Setup

# What authors of metrics build on, loaded on first use.
__getattr__, _dir, _OFFERED = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": [
            "Better",
            "ColumnMeanMetric",
            "ImageStatistics",
            "MeanMetric",
            "Metric",
            "SetMetric",
            "SetScore",
            "SumMetric",
        ],
        "blocks": ["BlockMeter", "BlockMetric"],
        "photo": ["Photo"],
    },
)

__all__ = ["DEFAULT_METRICS", "create_metrics", "load_metric", "metric_names", *_OFFERED]


def __dir__() -> list[str]:
    return __all__


BUILT_IN = {
    "ab_auc": "evalkit.metrics.ab_error:AbAuc",
    "ab_auc_rebal": "evalkit.metrics.ab_error:AbAucRebalanced",
    "ab_rmse": "evalkit.metrics.fidelity:AbRmse",
    "psnr_rgb": "evalkit.metrics.fidelity:PsnrRgb",
    "ssim_rgb": "evalkit.metrics.ssim:SsimRgb",
    "ciede2000": "evalkit.metrics.color_difference:Ciede2000",
    "colorfulness": "evalkit.metrics.colorfulness:Colorfulness",
    "psnr_ab": "evalkit.metrics.fidelity:PsnrAb",
    "l_mae": "evalkit.metrics.fidelity:LMae",
    "ms_ssim_ab": "evalkit.metrics.ssim:MsSsimAb",
    "colorfulness_abs": "evalkit.metrics.colorfulness:ColorfulnessAbs",
    "colorfulness_diff": "evalkit.metrics.colorfulness:ColorfulnessDiff",
    "colorfulness_set_diff": "evalkit.metrics.colorfulness:ColorfulnessSetDiff",
    "vgg16_top1": "evalkit.metrics.classification:accuracy_metric",
    "vgg16_top1_kept": "evalkit.metrics.classification:accuracy_metric",
    "vgg16_top5": "evalkit.metrics.classification:accuracy_metric",
    "vgg16_top5_kept": "evalkit.metrics.classification:accuracy_metric",
    "vgg16_caffe_top1": "evalkit.metrics.classification:accuracy_metric",
    "vgg16_caffe_top5": "evalkit.metrics.classification:accuracy_metric",
    "lpips_alex": "evalkit.metrics.perceptual:LpipsAlex",
    "lpips_vgg": "evalkit.metrics.perceptual:LpipsVgg",
    "fid": "evalkit.metrics.fid_kid:Fid",
    "fid_clean": "evalkit.metrics.fid_kid:FidClean",
    "kid": "evalkit.metrics.fid_kid:Kid",
    "kid_clean": "evalkit.metrics.fid_kid:KidClean",
    "diversity_variance": "evalkit.metrics.diversity:DiversityVariance",
    "diversity_lpips": "evalkit.metrics.diversity:DiversityLpips",
    "diversity_lpips_consecutive": "evalkit.metrics.diversity:DiversityLpipsConsecutive",
    "clip_rate": "evalkit.metrics.clipping:ClipRate",
    "cdc": "evalkit.metrics.video:Cdc",
    "pcqi": "evalkit.metrics.quality_survey:Pcqi",
    "uiqm": "evalkit.metrics.quality_survey:Uiqm",
}
"""Where a metric is: a class, or a function that makes the class from the name."""

FAMILIES = {
    "evalkit.metrics.classification:accuracy_metric": ("_top1", "_top5", "_top1_kept", "_top5_kept"),
}
"""Functions that make metrics whose names are not all known beforehand, by the endings of those names."""

DEFAULT_METRICS = ("ab_auc", "ab_auc_rebal", "ab_rmse", "psnr_rgb", "ssim_rgb", "ciede2000", "colorfulness")
"""Computed when nothing is asked for: the field's metrics that need no weights."""

DEFAULT = "default"
"""Word that stands for all of them in a list of metrics."""


@lru_cache(maxsize=1)
def _locations() -> dict[str, str]:
    plugins = {point.name: point.value for point in entry_points(group="evalkit.metrics")}
    return {**BUILT_IN, **{name: value for name, value in sorted(plugins.items()) if name not in BUILT_IN}}


def metric_names() -> tuple[str, ...]:
    """Names of all metrics: the built-in ones, then those of other packages."""
    return tuple(_locations())


def load_metric(name: str) -> type[Metric]:
    """Class of a metric by name.

    Raises
    ------
    InputError
        If there is no such metric (with the nearest name), or the package that registered it does not load.
    """
    location = _locations().get(name) or _family(name)
    if location is None:
        raise InputError(
            f"{unknown_name('metric', name, metric_names(), DEFAULT_METRICS)} 'evalkit metrics' explains them."
        )
    module, _, attribute = location.partition(":")
    try:
        loaded: type[Metric] | Callable[[str], type[Metric]] = getattr(import_module(module), attribute)
        kind: type[Metric] = loaded if isinstance(loaded, type) else loaded(name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"metric {name} ({location}) does not load: {error}") from None
    if kind.name != name:
        raise InputError(f"metric {name} is registered as {location}, whose name is {kind.name!r}; the two must agree")
    return kind


def _family(name: str) -> str | None:
    for location, endings in FAMILIES.items():
        if name.endswith(endings) and not name.startswith("_"):
            return location
    return None


def expand_default(names: Sequence[str]) -> Sequence[str]:
    """Names, with `DEFAULT_METRICS` in the place of the word ``default``; a name that is among them stands once.

    Examples
    --------
    >>> expand_default(["default", "lpips_alex"])[-2:]
    ('colorfulness', 'lpips_alex')
    """
    if isinstance(names, str) or not isinstance(names, Collection) or DEFAULT not in names:
        return names
    rest = [name for name in names if name not in DEFAULT_METRICS]
    at = rest.index(DEFAULT)
    return (*rest[:at], *DEFAULT_METRICS, *(name for name in rest[at + 1 :] if name != DEFAULT))


def with_companions(names: Sequence[str]) -> tuple[str, ...]:
    """Names, each followed by the metrics that a table shows beside it (the share kept beside an accuracy, say).

    Raises
    ------
    InputError
        If a name is unknown or given twice, or none is given.
    """
    _check_names(names)
    completed: dict[str, None] = {}
    for name in names:
        completed[name] = None
        for companion in load_metric(name).companions:
            if companion not in names:
                completed[companion] = None
    return tuple(completed)


def create_metrics(
    names: Sequence[str], options: AbErrorOptions, setups: Mapping[str, Setup] | None = None
) -> list[Metric]:
    """Metrics by name, under the options of a run and what they come to for each.

    Raises
    ------
    InputError
        If a name is unknown or given twice, or none is given.
    """
    _check_names(names)
    from evalkit.metrics.blocks import BlockMetric

    metrics = [load_metric(name).create(options) for name in names]
    return [
        metric.with_setup(setups[metric.name])
        if setups and isinstance(metric, BlockMetric) and metric.name in setups
        else metric
        for metric in metrics
    ]


def _check_names(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise InputError(f"metrics is one text; give a list of names: [{names!r}]")
    if not isinstance(names, Collection):
        raise InputError(f"metrics is {type(names).__name__}; give a list of names: ['ab_auc', 'psnr_rgb']")
    if not names:
        raise InputError("no metric given; 'evalkit metrics' lists them")
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"metrics holds {name!r}; give names: ['ab_auc', 'psnr_rgb']")
    twice = {name for name in names if list(names).count(name) > 1}
    if twice:
        raise InputError(f"metric {sorted(twice)[0]} is given twice")
