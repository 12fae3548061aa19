"""Distances between sets of images in the feature space of Inception: FID and KID.

References
----------
.. [1] M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017
   (FID).
.. [2] M. Binkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018 (KID).
.. [3] A. Obukhov, M. Krasnyanskiy, "torch-fidelity", 2020: the network and resizing of the original TensorFlow code.
.. [4] G. Parmar, R. Zhang, J.-Y. Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022
   (clean-fid): antialiased bicubic resizing in floating point.

Both conventions use one network and differ in how an image is brought to 299 x 299 pixels; their numbers do not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, FloatArray, Rgb8
from evalkit.errors import InputError
from evalkit.metrics.base import ImageStatistics, Photo, SetScore
from evalkit.metrics.blocks import BlockMeter, BlockMetric, NetworkOptions, Settings
from evalkit.networks.devices import BatchRunner, choose_device, default_batch_size

if TYPE_CHECKING:
    import torch

    from evalkit.networks.weight_files import PublishedWeights

__all__ = ["Fid", "FidClean", "Kid", "KidClean", "frechet_distance", "kernel_distance"]

SIDE = 299
N_FEATURES = 2048
KERNEL_BLOCK = 1024
"""Rows of a kernel matrix at a time: 80 MB at 10,000 images."""

FloatOrSingle = FloatArray | npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Moments:
    """Mean and a factor F of the covariance F F^T, at most as wide as there are features."""

    mean: FloatArray
    factor: FloatArray


def _moments(features: FloatOrSingle) -> _Moments:
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    factor = ((wide - mean) / np.sqrt(len(wide) - 1)).T
    if factor.shape[1] > factor.shape[0]:
        values, vectors = np.linalg.eigh(factor @ factor.T)
        factor = vectors * np.sqrt(np.maximum(values, 0))
    return _Moments(mean, factor)


def frechet_distance(first: FloatOrSingle, second: FloatOrSingle) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (Heusel 2017).

    Parameters
    ----------
    first, second : ndarray, shape (n, k) and (m, k)
        Features, at least two rows each.

    Returns
    -------
    float
        ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, at least 0; NaN where a set has fewer than two rows.

    Notes
    -----
    With ``S1 = A A^T`` and ``S2 = B B^T`` the trace of ``(S1 S2)^(1/2)`` is the sum of the singular values of ``A^T B``:
    exact also where there are fewer images than features, where a matrix square root of the singular product is not.

    Examples
    --------
    >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]]))
    9.0
    """
    if len(first) < 2 or len(second) < 2:
        return float("nan")
    one, two = _moments(first), _moments(second)
    mixed = np.linalg.svd(one.factor.T @ two.factor, compute_uv=False).sum()
    spread = np.square(one.factor).sum() + np.square(two.factor).sum() - 2 * mixed
    return float(np.square(one.mean - two.mean).sum() + max(spread, 0.0))


def kernel_distance(first: FloatOrSingle, second: FloatOrSingle) -> tuple[float, FloatArray]:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x.y / k + 1)^3`` (Binkowski 2018).

    Parameters
    ----------
    first, second : ndarray, shape (n, k)
        Features of paired sets.

    Returns
    -------
    value : float
        Over all images; the mean over random subsets that other tools report estimates the same. NaN below two images.
    leave_one_out : ndarray, shape (n,)
        The value without each pair; for the jackknife.
    """
    n = len(first)
    if n < 2:
        return float("nan"), np.full(n, np.nan)
    x, y = first.astype(np.float64), second.astype(np.float64)

    def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray((a @ b.T / x.shape[1] + 1) ** 3)

    own = np.zeros(n)
    cross = np.zeros(n)
    diagonal = np.zeros(n)
    for start in range(0, n, KERNEL_BLOCK):
        rows = np.arange(start, min(start + KERNEL_BLOCK, n))
        for one in (x, y):
            values = kernel(one[rows], one)
            values[np.arange(len(rows)), rows] = 0
            own[rows] += values.sum(axis=1)
        values = kernel(x[rows], y)
        diagonal[rows] = values[np.arange(len(rows)), rows]
        cross[rows] += values.sum(axis=1)
        cross += values.sum(axis=0)

    def distance(own_sum: Any, cross_sum: Any, size: int) -> Any:
        return own_sum / (size * (size - 1)) - 2 * cross_sum / size**2

    total_own, total_cross = own.sum(), cross.sum() / 2
    value = float(distance(total_own, total_cross, n))
    if n < 3:
        return value, np.full(n, np.nan)
    return value, np.asarray(distance(total_own - 2 * own, total_cross - cross + diagonal, n - 1))


# --- the network -----------------------------------------------------------------------------------------


def _torch_fidelity(module: str) -> Any:
    """A module of torch-fidelity; by name, for it has no types."""
    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    return import_module(f"torch_fidelity.{module}")


def published_inception() -> PublishedWeights:
    """Weights of the Inception network of FID, converted by torch-fidelity."""
    from evalkit.networks.classifiers import missing_packages
    from evalkit.networks.weight_files import PublishedWeights

    reason = missing_packages("torch", "torchvision", "torch_fidelity")
    if reason:
        raise InputError(reason)
    url: str = _torch_fidelity("feature_extractor_inceptionv3").URL_INCEPTION_V3
    return PublishedWeights("inception_fid", "inception-2015-12-05", url)


def _resize_like_tensorflow(rgb8: Rgb8) -> npt.NDArray[np.float32]:
    """Bilinear without antialiasing, as the first FID code: float32, shape (3, 299, 299), 0 to 255."""
    import torch

    interpolate = _torch_fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    x = torch.from_numpy(np.array(rgb8, dtype=np.float32).transpose(2, 0, 1)[np.newaxis])
    resized: torch.Tensor = interpolate(x, size=(SIDE, SIDE), align_corners=False)
    return resized[0].numpy()


def _resize_clean(rgb8: Rgb8) -> npt.NDArray[np.float32]:
    """Bicubic with antialiasing in floating point, clipped to 0 to 255, as clean-fid."""
    from PIL import Image

    channels = [
        np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for channel in rgb8.astype(np.float32).transpose(2, 0, 1)
    ]
    clipped: npt.NDArray[np.float32] = np.clip(np.stack(channels), 0, 255)
    return clipped


RESIZE: Mapping[str, Callable[[Rgb8], npt.NDArray[np.float32]]] = {
    "torch-fidelity": _resize_like_tensorflow,
    "clean-fid": _resize_clean,
}


def _inception(path: Path) -> Any:
    """Inception up to its 2,048 pooled features."""
    from collections import OrderedDict

    import torch
    from torch import nn

    from evalkit.networks.weight_files import load_state

    blocks = _torch_fidelity("feature_extractor_inceptionv3")
    state = {name: value for name, value in load_state(path).items() if not name.startswith("fc.")}
    with torch.device("meta"):
        layers: list[tuple[str, nn.Module]] = [
            ("Conv2d_1a_3x3", blocks.BasicConv2d(3, 32, kernel_size=3, stride=2)),
            ("Conv2d_2a_3x3", blocks.BasicConv2d(32, 32, kernel_size=3)),
            ("Conv2d_2b_3x3", blocks.BasicConv2d(32, 64, kernel_size=3, padding=1)),
            ("MaxPool_1", nn.MaxPool2d(kernel_size=3, stride=2)),
            ("Conv2d_3b_1x1", blocks.BasicConv2d(64, 80, kernel_size=1)),
            ("Conv2d_4a_3x3", blocks.BasicConv2d(80, 192, kernel_size=3)),
            ("MaxPool_2", nn.MaxPool2d(kernel_size=3, stride=2)),
            ("Mixed_5b", blocks.InceptionA(192, pool_features=32)),
            ("Mixed_5c", blocks.InceptionA(256, pool_features=64)),
            ("Mixed_5d", blocks.InceptionA(288, pool_features=64)),
            ("Mixed_6a", blocks.InceptionB(288)),
            ("Mixed_6b", blocks.InceptionC(768, channels_7x7=128)),
            ("Mixed_6c", blocks.InceptionC(768, channels_7x7=160)),
            ("Mixed_6d", blocks.InceptionC(768, channels_7x7=160)),
            ("Mixed_6e", blocks.InceptionC(768, channels_7x7=192)),
            ("Mixed_7a", blocks.InceptionD(768)),
            ("Mixed_7b", blocks.InceptionE_1(1280)),
            ("Mixed_7c", blocks.InceptionE_2(2048)),
        ]
        model = nn.Sequential(OrderedDict(layers))
    wanted = model.state_dict()
    if any(
        state[name].shape != value.shape if name in state else "num_batches" not in name
        for name, value in wanted.items()
    ):
        raise InputError(f"{path}: are weights of another network than the Inception of FID.")
    for name in wanted:
        state.setdefault(name, torch.zeros((), dtype=torch.int64))
    model.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return model.eval()


class InceptionMeter(BlockMeter):
    """Features of every image of a block, those of a true photo computed once."""

    def __init__(self, convention: str, path: Path, options: NetworkOptions) -> None:
        super().__init__()
        import torch

        self.columns = _columns(convention)
        self.resize = RESIZE[convention]
        self.device = choose_device(options.device)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]
        self.model = _inception(path).to(self.device, self.dtype)
        self.run = BatchRunner(self.features, options.batch_size or default_batch_size(self.device))
        self._pending: list[npt.NDArray[np.float32]] = []
        self._found: list[npt.NDArray[np.float32]] = []
        self._rows: list[tuple[int, int]] = []
        self._image = ""
        self._truth = -1
        self._n = 0

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Pixels from 0 to 255, shape (n, 3, 299, 299), to features, shape (n, 2048)."""
        import torch

        with torch.inference_mode():
            x = (torch.from_numpy(batch).to(self.device) - 128) / 128
            found: npt.NDArray[np.float32] = self.model(x.to(self.dtype)).float().mean(dim=(2, 3)).cpu().numpy()
            return found

    def _enqueue(self, rgb8: Rgb8) -> int:
        self._pending.append(self.resize(rgb8))
        self._n += 1
        if len(self._pending) == self.run.batch_size:
            self._flush()
        return self._n - 1

    def _flush(self) -> None:
        if self._pending:
            self._found.append(self.run(np.stack(self._pending)))
            self.notes |= self.run.notes
            self._pending.clear()

    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Resize one pair; compute features when a batch is full."""
        if image != self._image or self._truth < 0:
            self._image, self._truth = image, self._enqueue(truth.rgb8)
        own = self._truth if prediction.rgb8 is truth.rgb8 else self._enqueue(prediction.rgb8)
        self._rows.append((self._truth, own))

    def finish(self) -> Sequence[Mapping[str, Any]]:
        """Features of truth and prediction of every pair."""
        self._flush()
        found = np.concatenate(self._found)
        rows = [dict(zip(self.columns, (found[truth], found[own]), strict=True)) for truth, own in self._rows]
        self._found, self._rows, self._image, self._truth, self._n = [], [], "", -1, 0
        return rows


def _columns(convention: str) -> tuple[str, str]:
    name = convention.replace("-", "_")
    return f"inception_{name}_truth", f"inception_{name}"


class _InceptionMetric(BlockMetric):
    """A distance between the set of true photos and that of a method."""

    convention: ClassVar[str]
    """Whose resizing: ``torch-fidelity`` or ``clean-fid``."""

    better = "lower"
    needs = ("weights:inception_fid",)
    of_set = True

    @property
    def vectors(self) -> Mapping[str, int]:
        """2,048 features of the true photo and of the prediction."""
        return dict.fromkeys(_columns(self.convention), N_FEATURES)

    @property
    def meter_key(self) -> str:
        """One meter a convention."""
        return f"inception:{self.convention}"

    def settle(self, options: NetworkOptions) -> Settings:
        """Weights of the Inception network, precision."""
        from evalkit.networks.classifiers import missing_packages
        from evalkit.networks.weight_files import file_digest

        reason = missing_packages("torch", "torchvision", "torch_fidelity")
        if reason:
            return Settings(reason=reason)
        choose_device(options.device)
        precision = {"prec": options.precision}
        published = published_inception()
        path = options.weights.get("inception_fid", published.path)
        if "inception_fid" in options.weights and not path.is_file():
            raise InputError(f"--weights inception_fid={path}: no such file.")
        if not path.is_file():
            return Settings(precision, published.absence)
        _inception(path)
        digest = file_digest(path)
        name = published.version if digest.startswith(published.sha256) else "file"
        return Settings({"weights": f"{name}@{digest[:8]}", **precision})

    def open_meter(self, options: NetworkOptions, labels: Mapping[str, int]) -> BlockMeter:
        """Load the network."""
        return InceptionMeter(
            self.convention, options.weights.get("inception_fid", published_inception().path), options
        )

    @property
    def own_fields(self) -> Mapping[str, str]:
        """A function of two sets; network, resizing."""
        return {"agg": "set", "net": "inception-2048", "resize": self.convention}

    def features(self, statistics: ImageStatistics) -> tuple[FloatOrSingle, FloatOrSingle]:
        """Features of truth and method, images without any left out: float32, shape (n, 2048) each."""
        truth, own = (statistics.vectors[name] for name in _columns(self.convention))
        known: BoolArray = np.isfinite(truth[:, 0]) & np.isfinite(own[:, 0])
        return truth[known], own[known]

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """A distance of sets is no function of sums over images; see `set_score`."""
        return np.zeros((len(statistics), 1))

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Undefined for sums."""
        return np.full(np.shape(sums)[:-1], np.nan)


class Fid(_InceptionMetric):
    """Frechet Inception distance, resizing as torch-fidelity."""

    name = "fid"
    title = "FID"
    convention = "torch-fidelity"
    decimals = 2
    summary = "Fréchet Inception distance to the true photos, torch-fidelity's convention; no interval (Heusel 2017)"

    def set_score(self, statistics: ImageStatistics) -> SetScore:
        """Distance of the two sets; no interval, since every replicate would take a decomposition of its own."""
        truth, own = self.features(statistics)
        return SetScore(frechet_distance(truth, own), None)

    def caution(self, method: str, value: float, n_images: int) -> str:
        """A covariance of more features than images is biased upwards."""
        if n_images >= N_FEATURES or np.isnan(value) or method == "truth":
            return ""
        return (
            f"{self.name} of {n_images} images: with fewer images than its {N_FEATURES:,} features it is biased and depends on "
            "their number; compare only at the same number, or use kid"
        )


class FidClean(Fid):
    """Frechet Inception distance, resizing as clean-fid."""

    name = "fid_clean"
    title = "FID clean"
    convention = "clean-fid"
    summary = "Fréchet Inception distance to the true photos, clean-fid's convention; no interval (Parmar 2022)"


class Kid(_InceptionMetric):
    """Kernel Inception distance, resizing as torch-fidelity."""

    name = "kid"
    title = "KID"
    convention = "torch-fidelity"
    decimals = 5
    summary = "kernel Inception distance to the true photos, unbiased over all images, torch-fidelity's convention (Binkowski 2018)"

    def set_score(self, statistics: ImageStatistics) -> SetScore:
        """Distance of the two sets, and without each pair."""
        truth, own = self.features(statistics)
        return SetScore(*kernel_distance(truth, own))


class KidClean(Kid):
    """Kernel Inception distance, resizing as clean-fid."""

    name = "kid_clean"
    title = "KID clean"
    convention = "clean-fid"
    summary = (
        "kernel Inception distance to the true photos, unbiased over all images, clean-fid's convention (Parmar 2022)"
    )
