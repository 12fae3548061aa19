"""Options of the metrics that need a network: labels, weights, preprocessing, device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evalkit.commands._shared import GivenPath

if TYPE_CHECKING:
    from evalkit.networks.options import NetworkOptions

__all__ = ["PREPROCESSING", "NetworkChoices", "network_options"]

PREPROCESSING = (
    "shortN-cropM scales the short side to N pixels and cuts the central M x M, warpN scales both sides to N, warpN-cropM "
    "cuts then; behind it may stand -bilinear (default) or -bicubic, and -imagenet (default), -half or -caffe for the scale "
    "of the values."
)
"""Help on what `evalkit.networks.classifiers.Preprocessing.parse` reads."""

F = TypeVar("F", bound=Callable[..., Any])


class BatchSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``auto`` or a number of images."""

    name = "batch size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """None for ``auto``."""
        if value is None or value == "auto":
            return None
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value!r}: allowed are auto and whole numbers from 1.", param, ctx)
        return int(value)


def network_options(function: F) -> F:
    """Add the options of networks."""
    for option in (
        click.option("--no-cache", is_flag=True, help="Keep no network outputs, and read none."),
        click.option("--cache", type=GivenPath(path_type=Path), default=None, metavar="DIR",
                     help="Folder where what networks make of true photos is kept for other runs ('evalkit cache'); by "
                          "default EVALKIT_CACHE, else the user's own. Results do not depend on it."),
        click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True,
                     help="Floating point numbers that networks compute with. In bf16 and fp16 classifiers look again, in fp32, "
                          "at images whose first class is in doubt; the results say at how many."),
        click.option("--batch-size", type=BatchSize(), default="auto", show_default=True, metavar="auto|N",
                     help="Images per batch; results do not depend on it."),
        click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps",
                     help="Where networks run."),
        click.option("--preprocess", "preprocessing", multiple=True, metavar="NAME=HOW",
                     help="What is done to a classifier's images first, for example vgg16=warp256-crop224; by default what "
                          f"torchvision does for its weights. {PREPROCESSING}"),
        click.option("--classifier", "classifiers", multiple=True, metavar="NAME=MODULE:FUNCTION",
                     help="A classifier of your own, scored as NAME_top1 and NAME_top5."),
        click.option("--weights", multiple=True, metavar="NAME=FILE",
                     help="Weights file of a network; others are taken from the torch hub cache ('evalkit weights')."),
        click.option("--labels", default=None, metavar="FILE|folders|names",
                     help="True classes for accuracies: CSV (file,class_index), Caffe's val.txt, or the synset ids that "
                          "name the folders or begin the file names."),
    ):  # fmt: skip
        function = option(function)
    return function


@dataclass(frozen=True, kw_only=True)
class NetworkChoices:
    """The options of `network_options` as they were given."""

    labels: str | None
    weights: tuple[str, ...]
    classifiers: tuple[str, ...]
    preprocessing: tuple[str, ...]
    device: str
    batch_size: int | None
    precision: str
    cache: Path | None
    no_cache: bool

    def network_options(self) -> NetworkOptions:
        """Options of the networks of a run."""
        from evalkit.errors import InputError
        from evalkit.networks.options import NetworkOptions

        if self.no_cache and self.cache is not None:
            raise InputError(f"--cache {self.cache} and --no-cache: give one of the two.")
        files = {name: Path(file).expanduser() for name, file in _named("--weights", self.weights, "FILE").items()}
        return NetworkOptions(
            labels=self.labels,
            weights=files,
            classifiers=_named("--classifier", self.classifiers, "package.module:function"),
            preprocessing=_named("--preprocess", self.preprocessing, "HOW"),
            device=self.device,
            batch_size=self.batch_size,
            precision=self.precision,  # type: ignore[arg-type]
            cache=None if self.no_cache else self.cache or "auto",
        )


def _named(option: str, texts: Sequence[str], what: str) -> dict[str, str]:
    from evalkit.errors import InputError

    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise InputError(f"{option} {text}: expected NAME={what}.")
        if name in values:
            raise InputError(f"{option}: {name} is given twice.")
        values[name] = value
    return values
