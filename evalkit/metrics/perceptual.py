"""LPIPS: distance between deep features, calibrated on human judgements.

R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", CVPR 2018, equation 1; version 0.1. The linear weights come with the package ``lpips``, the trunks are
torchvision's classifiers. The forward pass is written here so that the features of a true photo are computed once for
all methods; it is tested against the package on identical weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.metrics._arrays import check_pair
from evalkit.metrics.array_pairs import kept_measurer
from evalkit.metrics.base import ColumnMeanMetric
from evalkit.metrics.blocks import BlockMeter, BlockMetric, RunInputs
from evalkit.metrics.photo import Photo
from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.classifiers import weights_field, weights_path
from evalkit.networks.devices import choose_device, keep_freed_memory, one_thread, standardized, torch_dtype
from evalkit.networks.needs import missing_packages
from evalkit.networks.options import NetworkOptions, Setup
from evalkit.networks.weight_files import load_state

if TYPE_CHECKING:
    import torch

__all__ = ["Lpips", "LpipsAlex", "LpipsVgg", "lpips"]

VERSION = "0.1"

# Of pixels in [-1, 1]: ImageNet's mean and deviation.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

EPSILON = 1e-10
"""Added to the length of a feature vector before it divides, as the authors' code does."""

PART = 1 << 18
"""Numbers of a feature map that are compared at a time on a CPU: 1 MB, so that the steps between find them in its cache."""
GPU_PART = 1 << 26
"""The same on any other device: 256 MB, for the sake of its memory."""


@dataclass(frozen=True)
class Trunk:
    """The network that gives the features.

    Attributes
    ----------
    classifier : str
        torchvision's name.
    ends : tuple of int
        Layers of its ``features`` at which a stage ends (after the ReLU).
    smallest : int
        Smallest side of an image in pixels that leaves something of the last stage.
    """

    classifier: str
    ends: tuple[int, ...]
    smallest: int


TRUNKS = {
    "alex": Trunk("alexnet", (2, 5, 8, 10, 12), 31),
    "vgg": Trunk("vgg16", (4, 9, 16, 23, 30), 16),
}


@dataclass(frozen=True)
class StageFeatures:
    """Features of one image at one stage of a trunk.

    Attributes
    ----------
    values : torch.Tensor, shape (1, C, h, w)
        As the network gives them.
    """

    values: torch.Tensor

    @cached_property
    def length(self) -> torch.Tensor:
        """Length of the feature vector at every place, plus `EPSILON`: float32, shape (1, 1, h, w)."""
        squares = [part.float().square().sum(dim=1, keepdim=True) for part in self._rows(self.values)]
        return _joined(squares).sqrt_().add_(EPSILON)

    def in_parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Values and lengths from top to bottom, as many rows at a time as have `PART` numbers, or one row."""
        return zip(self._rows(self.values), self._rows(self.length), strict=True)

    def _rows(self, of_each_place: torch.Tensor) -> Sequence[torch.Tensor]:
        """A map of this height in parts."""
        _, n_channels, height, width = self.values.shape
        n_rows = max(1, (PART if self.values.device.type == "cpu" else GPU_PART) // (n_channels * width))
        if n_rows >= height:
            return (of_each_place,)
        return [of_each_place[:, :, start : start + n_rows] for start in range(0, height, n_rows)]


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Parts of a map, shape (1, n, h, w), one below the other."""
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), dim=2)


class Lpips:
    """The distance, its networks loaded.

    Parameters
    ----------
    net : {"alex", "vgg"}
        Two different metrics.
    options : NetworkOptions
        ``weights`` by classifier name, device, precision.

    Raises
    ------
    InputError
        If the trunk's weights or the package ``lpips`` are missing, or the file holds another network.
    """

    def __init__(self, net: str, options: NetworkOptions) -> None:
        import torch

        self.trunk = TRUNKS[net]
        path, reason = weights_path(self.trunk.classifier, options)
        linear = linear_weights(net)
        if path is None or linear is None:
            raise InputError(reason or "the package lpips is not installed")
        self.device = choose_device(options.device)
        self.dtype = torch_dtype(options.precision)
        if self.device.type == "cpu":
            keep_freed_memory()
        # Images come channels last; weights in the same order need not be brought into it for each of them.
        features = _features(self.trunk.classifier, path)
        features = features.to(self.device, self.dtype, memory_format=torch.channels_last)
        ends = (0, *self.trunk.ends)
        self.stages = [features[start:end] for start, end in pairwise(ends)]
        state = torch.load(linear, map_location="cpu", weights_only=True)
        self.linear = [state[f"lin{k}.model.1.weight"].to(self.device) for k in range(len(self.stages))]
        self._shift, self._scale = (
            torch.tensor(values, dtype=torch.float32, device=self.device) for values in (SHIFT, SCALE)
        )

    def features(self, photo: Photo) -> list[StageFeatures]:
        """Features of one image at every stage, for comparisons with others."""
        with _running():
            return self._features(photo)

    def _features(self, photo: Photo) -> list[StageFeatures]:
        # Nothing else between the stages: convolutions push code and data of all other steps out of the processor's cache.
        x, features = self._input(photo), []
        for stage in self.stages:
            x = stage(x)
            features.append(StageFeatures(x))
        return features

    def _input(self, photo: Photo) -> torch.Tensor:
        """Normalised pixels, shape (1, 3, H, W), channels last."""
        height, width = photo.shape
        rows = photo.on(self.device).view(1, height, width * 3).float().div_(127.5).sub_(1)
        return standardized(rows, self._shift, self._scale).to(self.dtype)

    def distance(self, first: Photo | Sequence[StageFeatures], second: Photo | Sequence[StageFeatures]) -> float:
        """Equation 1: squared differences, weighted by channel, averaged over places, summed over stages."""
        return self.compared(first, second)[0]

    def compared(
        self, first: Photo | Sequence[StageFeatures], second: Photo | Sequence[StageFeatures]
    ) -> tuple[float, Sequence[StageFeatures]]:
        """The distance, and the features of the first image, for comparisons with others."""
        with _running():
            one, other = (self._features(image) if isinstance(image, Photo) else image for image in (first, second))
            stages = zip(one, other, self.linear, strict=True)
            maps = (_distance_map(features, others, weight) for features, others, weight in stages)
            return float(sum(values.mean() for values in maps)), one

    def __call__(self, truth_rgb8: npt.ArrayLike, pred_rgb8: npt.ArrayLike) -> float:
        """LPIPS of two images of one size, uint8, shape (H, W, 3); NaN where they are too small for the network."""
        truth, prediction, single = check_pair(truth_rgb8, pred_rgb8)
        if not single:
            raise InputError("LPIPS takes one pair of images at a time, uint8 of shape (H, W, 3).")
        if min(truth.shape[1:3]) < self.trunk.smallest:
            return float("nan")
        return self.distance(Photo(truth[0]), Photo(prediction[0]))


@contextmanager
def _running() -> Iterator[None]:
    """Without gradients, on one thread."""
    import torch

    with torch.inference_mode(), one_thread():
        yield


def _distance_map(one: StageFeatures, other: StageFeatures, weight: torch.Tensor) -> torch.Tensor:
    """Weighted squared differences of the features of unit length at every place of a stage, shape (1, 1, h, w)."""
    parts = []
    for (values, length), (other_values, other_length) in zip(one.in_parts(), other.in_parts(), strict=True):
        difference = values.float() / length
        difference.addcdiv_(other_values.float(), other_length, value=-1)
        parts.append(difference.square_().mul_(weight).sum(dim=1, keepdim=True))
    return _joined(parts)


def _features(classifier: str, path: Path) -> Any:
    import torch

    state = {
        name.removeprefix("features."): value
        for name, value in load_state(path).items()
        if name.startswith("features.")
    }
    with torch.device("meta"):
        features = import_torchvision().models.get_model(classifier, weights=None).features
    wanted = features.state_dict()
    if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in wanted.items()}:
        raise InputError(f"{path}: are weights of another network than {classifier}.")
    features.load_state_dict(state, assign=True)
    return features.eval()


def linear_weights(net: str) -> Path | None:
    """File of the calibrated linear weights in the package ``lpips``; None where it is not installed."""
    spec = find_spec("lpips")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "weights" / f"v{VERSION}" / f"{net}.pth"


class LpipsMeter(BlockMeter):
    """LPIPS of every pair, the features of a true photo computed once; one image at a time, whatever their sizes."""

    def __init__(self, column: str, lpips: Lpips) -> None:
        super().__init__()
        self.column = column
        self.lpips = lpips
        self._image = ""
        self._truth: Sequence[StageFeatures] = []
        self._values: list[float] = []

    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Measure one pair."""
        if min(truth.shape) < self.lpips.trunk.smallest:
            self._values.append(float("nan"))
            return
        if image != self._image:
            self._image, self._truth = image, []
        if prediction.rgb8 is truth.rgb8:
            self._values.append(0.0)
        else:
            value, self._truth = self.lpips.compared(self._truth or truth, prediction)
            self._values.append(value)

    def finish(self) -> Sequence[Mapping[str, Any]]:
        """One value per pair."""
        values, self._values, self._image, self._truth = self._values, [], "", []
        return [{self.column: value} for value in values]


class _LpipsMetric(BlockMetric, ColumnMeanMetric):
    """Mean over images of LPIPS."""

    net: ClassVar[str]

    better = "lower"
    scale = "log"
    decimals = 3

    @property
    def meter_key(self) -> str:
        """One meter per trunk."""
        return self.name

    def set_up(self, run: RunInputs) -> Setup:
        """Weights of the trunk, calibrated weights of the package, precision."""
        reason = missing_packages("torch", "torchvision", "lpips")
        if reason:
            return Setup(reason=reason)
        options = run.networks
        choose_device(options.device)
        precision = {"prec": options.precision}
        classifier = TRUNKS[self.net].classifier
        path, reason = weights_path(classifier, options)
        if path is None:
            return Setup(precision, reason)
        _features(classifier, path)
        return Setup({"weights": weights_field(classifier, path), **precision})

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Load the network."""
        return LpipsMeter(self.name, Lpips(self.net, run.networks))

    @property
    def own_fields(self) -> Mapping[str, str]:
        """Mean over images; network and version."""
        return {"agg": "image", "net": f"{self.net}-v{VERSION}"}


class LpipsAlex(_LpipsMetric):
    """LPIPS with the features of AlexNet."""

    name = "lpips_alex"
    title = "LPIPS alex"
    net = "alex"
    needs = ("weights:alexnet",)
    summary = "LPIPS v0.1 on features of AlexNet, mean over images (Zhang 2018, eq. 1)"


class LpipsVgg(_LpipsMetric):
    """LPIPS with the features of VGG-16."""

    name = "lpips_vgg"
    title = "LPIPS vgg"
    net = "vgg"
    needs = ("weights:vgg16",)
    summary = "LPIPS v0.1 on features of VGG-16, mean over images (Zhang 2018, eq. 1)"


def lpips(
    truth_rgb8: npt.ArrayLike,
    pred_rgb8: npt.ArrayLike,
    *,
    net: Literal["alex", "vgg"] = "alex",
    networks: NetworkOptions | None = None,
) -> float | FloatArray:
    """LPIPS v0.1 of one pair, or of each pair of a batch. The network stays loaded for the next call.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB; both of one shape.
    net : {"alex", "vgg"}
        Whose features; two different metrics.
    networks : NetworkOptions, optional
        ``weights`` by classifier name (``alexnet``, ``vgg16``), device, precision.

    Returns
    -------
    float or ndarray of float64, shape (N,)
        0 for identical images; NaN (unscored) where a side is below 31 pixels (alex) or 16 (vgg).

    Raises
    ------
    InputError
        If the images are of another type or shape, the net is unknown, or weights or packages are missing.

    References
    ----------
    R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, equation 1.
    """
    kinds: dict[str, type[_LpipsMetric]] = {"alex": LpipsAlex, "vgg": LpipsVgg}
    if net not in kinds:
        raise InputError(f"net {net!r}: allowed are alex and vgg")
    truth, prediction, single = check_pair(truth_rgb8, pred_rgb8)
    measurer = kept_measurer(kinds[net], networks)
    values = measurer.measure(list(zip(truth, prediction, strict=True))).columns[f"lpips_{net}"]
    return float(values[0]) if single else np.asarray(values, dtype=np.float64)
