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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, FloatArray, Rgb8
from evalkit.datasets.ctest10k import image_set_field
from evalkit.errors import InputError
from evalkit.metrics._arrays import as_rgb8
from evalkit.metrics.array_pairs import kept_measurer
from evalkit.metrics.base import ImageStatistics, ReferenceSet, SetMetric, SetScore
from evalkit.metrics.blocks import BatchedMeter, BlockMeter, BlockMetric, RunInputs
from evalkit.metrics.photo import Photo
from evalkit.networks.catalogue import check_weights_file, published_inception
from evalkit.networks.devices import BatchRunner, choose_device, chosen_batch_size, torch_dtype, uploaded
from evalkit.networks.inception import N_FEATURES, RESIZE, load_inception
from evalkit.networks.needs import missing_packages
from evalkit.networks.options import NetworkOptions, Setup
from evalkit.networks.output_cache import OutputCache, computed_by
from evalkit.networks.weight_files import file_digest
from evalkit.wording import counted

__all__ = [
    "Convention",
    "Fid",
    "FidClean",
    "Kid",
    "KidClean",
    "fid",
    "frechet_distance",
    "kernel_distance",
    "kernel_sum",
    "kid",
    "unpaired_kernel_distance",
]

Convention = Literal["torch-fidelity", "clean-fid"]

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
    return _distance_of_moments(_moments(first), _moments(second))


def _distance_of_moments(one: _Moments, two: _Moments) -> float:
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

    own = np.zeros(n)
    cross = np.zeros(n)
    diagonal = np.zeros(n)
    for start in range(0, n, KERNEL_BLOCK):
        rows = np.arange(start, min(start + KERNEL_BLOCK, n))
        for one in (x, y):
            values = _kernel(one[rows], one)
            values[np.arange(len(rows)), rows] = 0
            own[rows] += values.sum(axis=1)
        values = _kernel(x[rows], y)
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


def unpaired_kernel_distance(
    reference: FloatOrSingle, features: FloatOrSingle, sum_of_reference: float | None = None
) -> tuple[float, FloatArray]:
    """`kernel_distance` between sets that are no pairs, the first of which is taken as given.

    Parameters
    ----------
    reference : ndarray, shape (m, k)
        Features of the set that is compared with.
    features : ndarray, shape (n, k)
    sum_of_reference : float, optional
        What `kernel_sum` gives of the reference, where it is known.

    Returns
    -------
    value : float
        NaN where either set has fewer than two images.
    leave_one_out : ndarray, shape (n,)
        The value without each image of the second set; the reference stays whole.
    """
    m, n = len(reference), len(features)
    if m < 2 or n < 2:
        return float("nan"), np.full(n, np.nan)
    of_reference = kernel_sum(reference) if sum_of_reference is None else sum_of_reference
    x, y = reference.astype(np.float64), features.astype(np.float64)
    own, cross = np.zeros(n), np.zeros(n)
    for start in range(0, n, KERNEL_BLOCK):
        rows = np.arange(start, min(start + KERNEL_BLOCK, n))
        values = _kernel(y[rows], y)
        values[np.arange(len(rows)), rows] = 0
        own[rows] = values.sum(axis=1)
    for start in range(0, m, KERNEL_BLOCK):
        cross += _kernel(x[start : start + KERNEL_BLOCK], y).sum(axis=0)

    def distance(own_sum: Any, cross_sum: Any, size: int) -> Any:
        return of_reference / (m * (m - 1)) + own_sum / (size * (size - 1)) - 2 * cross_sum / (m * size)

    value = float(distance(own.sum(), cross.sum(), n))
    if n < 3:
        return value, np.full(n, np.nan)
    return value, np.asarray(distance(own.sum() - 2 * own, cross.sum() - cross, n - 1))


def kernel_sum(features: FloatOrSingle) -> float:
    """Sum of the kernel over all pairs of different images of one set, shape (m, k)."""
    x = features.astype(np.float64)
    total = 0.0
    for start in range(0, len(x), KERNEL_BLOCK):
        rows = x[start : start + KERNEL_BLOCK]
        own = (rows * rows).sum(axis=1)
        total += float(_kernel(rows, x).sum() - ((own / x.shape[1] + 1) ** 3).sum())
    return total


def _kernel(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


class InceptionMeter(BatchedMeter):
    """Features of every image of a block."""

    def __init__(self, convention: str, path: Path, options: NetworkOptions) -> None:
        self.columns = _columns(convention)
        self.resize = RESIZE[convention]
        self.device = choose_device(options.device)
        self.dtype = torch_dtype(options.precision)
        self.model = load_inception(path).to(self.device, self.dtype)
        batch_size = chosen_batch_size(options.batch_size, self.device)
        cache = None
        if options.cache_folder is not None:
            signature = {
                "network": "inception-2048",
                "resize": convention,
                "weights": file_digest(path),
                **computed_by(self.device, options.precision, batch_size, "torch-fidelity"),
            }
            metrics = [kind.name for kind in (Fid, FidClean, Kid, KidClean) if kind.convention == convention]
            cache = OutputCache(options.cache_folder, signature, metrics)
        super().__init__(BatchRunner(self.features, batch_size), cache)

    def prepare(self, photo: Photo) -> npt.NDArray[np.float32]:
        """Resize: float32, shape (3, 299, 299), 0 to 255."""
        return self.resize(photo.rgb8)

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Pixels from 0 to 255, shape (n, 3, 299, 299), to features, shape (n, 2048)."""
        import torch

        with torch.inference_mode():
            x = (uploaded(batch, self.device) - 128) / 128
            pooled: npt.NDArray[np.float32] = self.model(x.to(self.dtype)).float().mean(dim=(2, 3)).cpu().numpy()
            return pooled

    def statistics_of_pairs(
        self, outputs: npt.NDArray[Any], images: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> Sequence[Mapping[str, Any]]:
        """Features of truth and prediction."""
        return [dict(zip(self.columns, (outputs[truth], outputs[item]), strict=True)) for truth, item in pairs]


def _columns(convention: str) -> tuple[str, str]:
    name = convention.replace("-", "_")
    return f"inception_{name}_truth", f"inception_{name}"


class _InceptionMetric(BlockMetric, SetMetric):
    """A distance between the set of true photos and that of a method."""

    convention: ClassVar[str]
    """Whose resizing: ``torch-fidelity`` or ``clean-fid``."""

    better = "lower"
    caches_outputs = True
    needs = ("weights:inception_fid",)

    @property
    def vectors(self) -> Mapping[str, int]:
        """2,048 features of the true photo and of the prediction."""
        return dict.fromkeys(_columns(self.convention), N_FEATURES)

    @property
    def reference_columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """The features that a method's images have too."""
        return (_columns(self.convention)[1],)

    @property
    def meter_key(self) -> str:
        """One meter a convention."""
        return f"inception:{self.convention}"

    def set_up(self, run: RunInputs) -> Setup:
        """Weights of the Inception network, precision."""
        reason = missing_packages("torch", "torchvision", "torch_fidelity")
        if reason:
            return Setup(reason=reason)
        options = run.networks
        choose_device(options.device)
        precision: dict[str, str] = {"prec": options.precision}
        if run.reference:
            precision |= {"ref": image_set_field(run.reference), "nref": str(len(run.reference))}
        published = published_inception()
        path = options.weights.get("inception_fid", published.path)
        if "inception_fid" in options.weights:
            check_weights_file("inception_fid", path)
        if not path.is_file():
            return Setup(precision, published.absence)
        load_inception(path)
        digest = file_digest(path)
        name = published.version if digest.startswith(published.sha256) else "file"
        return Setup({"weights": f"{name}@{digest[:8]}", **precision})

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Load the network."""
        path = run.networks.weights.get("inception_fid", published_inception().path)
        return InceptionMeter(self.convention, path, run.networks)

    @property
    def own_fields(self) -> Mapping[str, str]:
        """A function of two sets; network, resizing, what is compared with."""
        return {"agg": "set", "net": "inception-2048", "resize": self.convention, "ref": "truth"}

    def of_reference(self, reference: ReferenceSet) -> npt.NDArray[np.float32]:
        """Features of the reference set: shape (m, 2048)."""
        return reference.vectors[_columns(self.convention)[1]]

    def features(self, statistics: ImageStatistics) -> tuple[FloatOrSingle, FloatOrSingle]:
        """Features of truth and method, images without any left out: float32, shape (n, 2048) each."""
        truth, own = (statistics.vectors[name] for name in _columns(self.convention))
        is_scored: BoolArray = np.isfinite(truth[:, 0]) & np.isfinite(own[:, 0])
        return truth[is_scored], own[is_scored]


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
        if statistics.reference is None:
            return SetScore(frechet_distance(truth, own), None)
        reference = self.of_reference(statistics.reference)
        if len(reference) < 2 or len(own) < 2:
            return SetScore(float("nan"), None)
        moments = statistics.reference.once(f"moments {self.convention}", lambda: _moments(reference))
        return SetScore(_distance_of_moments(moments, _moments(own)), None)

    def caution(self, method: str, value: float, n_images: int) -> str:
        """A covariance of more features than images is biased upwards."""
        n_reference = int(self.setup.fields.get("nref", n_images))
        is_itself = method == "truth" and "nref" not in self.setup.fields
        if min(n_images, n_reference) >= N_FEATURES or np.isnan(value) or is_itself:
            return ""
        against = f" against {n_reference:,}" if n_reference != n_images else ""
        return (
            f"{self.name} of {counted(n_images, 'image')}{against}: with fewer images than its {N_FEATURES:,} features it is biased and depends on "
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
        """Distance of the two sets, and without each pair (of a reference set: without each image of the method)."""
        truth, own = self.features(statistics)
        if statistics.reference is None:
            return SetScore(*kernel_distance(truth, own))
        reference = self.of_reference(statistics.reference)
        total = statistics.reference.once(f"kernel sum {self.convention}", lambda: kernel_sum(reference))
        return SetScore(*unpaired_kernel_distance(reference, own, total))


class KidClean(Kid):
    """Kernel Inception distance, resizing as clean-fid."""

    name = "kid_clean"
    title = "KID clean"
    convention = "clean-fid"
    summary = (
        "kernel Inception distance to the true photos, unbiased over all images, clean-fid's convention (Parmar 2022)"
    )


def fid(
    truth_rgb8: npt.ArrayLike | Sequence[Rgb8],
    pred_rgb8: npt.ArrayLike | Sequence[Rgb8],
    *,
    convention: Convention = "torch-fidelity",
    networks: NetworkOptions | None = None,
) -> float:
    """Frechet Inception distance between true photos and their colorizations.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : array_like of uint8, shape (N, H, W, 3), or sequence of N arrays of shape (H, W, 3)
        8-bit sRGB. Images of a sequence may differ in size; the two of a pair may not.
    convention : {"torch-fidelity", "clean-fid"}
        How images are brought to 299 x 299 pixels; two different metrics.
    networks : NetworkOptions, optional
        ``weights={"inception_fid": PATH}``, device, batch size, precision. The network stays loaded for the next call.

    Returns
    -------
    float
        At least 0; NaN below two pairs. Biased below some thousand images: compare at the same number, or use `kid`.

    Raises
    ------
    InputError
        If the images are of another type or shape, the convention is unknown, or weights or packages are missing.

    References
    ----------
    M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017.
    """
    kinds: dict[str, type[_InceptionMetric]] = {"torch-fidelity": Fid, "clean-fid": FidClean}
    return _distance_on_arrays(kinds, convention, truth_rgb8, pred_rgb8, networks)


def kid(
    truth_rgb8: npt.ArrayLike | Sequence[Rgb8],
    pred_rgb8: npt.ArrayLike | Sequence[Rgb8],
    *,
    convention: Convention = "torch-fidelity",
    networks: NetworkOptions | None = None,
) -> float:
    """Kernel Inception distance between true photos and their colorizations, unbiased over all images.

    Parameters and errors as in `fid`.

    Returns
    -------
    float
        Near 0, also below it, for equal sets; NaN below two pairs.

    References
    ----------
    M. Binkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018.
    """
    kinds: dict[str, type[_InceptionMetric]] = {"torch-fidelity": Kid, "clean-fid": KidClean}
    return _distance_on_arrays(kinds, convention, truth_rgb8, pred_rgb8, networks)


def _distance_on_arrays(
    kinds: Mapping[str, type[_InceptionMetric]],
    convention: str,
    truth_rgb8: npt.ArrayLike | Sequence[Rgb8],
    pred_rgb8: npt.ArrayLike | Sequence[Rgb8],
    networks: NetworkOptions | None,
) -> float:
    if convention not in kinds:
        raise InputError(f"convention {convention!r}: allowed are {' and '.join(kinds)}")
    truth, prediction = _image_list("truth_rgb8", truth_rgb8), _image_list("pred_rgb8", pred_rgb8)
    if len(truth) != len(prediction):
        raise InputError(
            f"truth_rgb8 has {counted(len(truth), 'image')} but pred_rgb8 has {len(prediction)}; give pairs"
        )
    measurer = kept_measurer(kinds[convention], networks)
    (metric,) = measurer.metrics
    statistics = measurer.measure(list(zip(truth, prediction, strict=True)))
    return metric.set_score(statistics).value if isinstance(metric, SetMetric) else float("nan")


def _image_list(name: str, images: npt.ArrayLike | Sequence[Rgb8]) -> list[Rgb8]:
    if isinstance(images, Sequence):
        each = [as_rgb8(f"{name}[{i}]", image) for i, image in enumerate(images)]
    else:
        batch = as_rgb8(name, images)
        each = [batch] if batch.ndim == 3 else list(batch)
    wrong = next((i for i, image in enumerate(each) if image.ndim != 3), None)
    if wrong is not None:
        raise InputError(f"{name}[{wrong}]: expected shape (H, W, 3), got {each[wrong].shape}")
    return each
