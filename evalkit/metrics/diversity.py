"""How different the samples of a method are that gives several colorizations of a photo.

A. Deshpande et al., "Learning Diverse Image Colorization", CVPR 2017 (variance); C. Saharia et al., "Palette: Image-to-Image
Diffusion Models", SIGGRAPH 2022 (LPIPS of consecutive samples).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.color.colorspace import LAB
from evalkit.errors import InputError
from evalkit.metrics.base import ColumnMeanMetric
from evalkit.metrics.blocks import BlockMeter, BlockMetric, RunInputs
from evalkit.metrics.perceptual import Lpips, LpipsAlex, StageFeatures
from evalkit.metrics.photo import Photo
from evalkit.networks.options import Setup

__all__ = ["DiversityLpips", "DiversityLpipsConsecutive", "DiversityVariance", "ab_variance"]


def ab_variance(ab: npt.ArrayLike) -> float:
    """Variance of the colours of several samples.

    Parameters
    ----------
    ab : array_like, shape (n_samples, 2, n_pixels)
        CIE Lab units.

    Returns
    -------
    float
        Unbiased variance over the samples, mean over pixels and both channels; NaN below two samples.

    Examples
    --------
    >>> ab_variance([[[0.0], [0.0]], [[2.0], [0.0]]])
    1.0
    """
    values = np.asarray(ab, dtype=np.float64)
    return float(values.var(axis=0, ddof=1).mean()) if len(values) > 1 else float("nan")


class _SamplesMeter(BlockMeter):
    """Gathers the samples of each image; subclasses say what is kept of one and what of all."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], columns: Sequence[str]) -> None:
        super().__init__()
        self.columns = columns
        self._group_of = {method: name for name, methods in groups.items() for method in methods}
        self._rows: list[tuple[str, str]] = []
        self._kept: dict[str, list[Any]] = {}
        self._values: dict[tuple[str, str], tuple[float, ...]] = {}
        self._image = ""

    def keep(self, prediction: Photo) -> Any:
        """What is kept of one sample until all of its image are there."""
        raise NotImplementedError

    def together(self, kept: Sequence[Any]) -> tuple[float, ...]:
        """One value per column."""
        raise NotImplementedError

    def add(self, image: str, method: str, truth: Photo, prediction: Photo) -> None:
        """Take up one sample; methods of one image per photo are passed over."""
        if image != self._image:
            self._close()
            self._image = image
        group = self._group_of.get(method, "")
        if group:
            self._kept.setdefault(group, []).append(self.keep(prediction))
        self._rows.append((image, group))

    def _close(self) -> None:
        for group, kept in self._kept.items():
            self._values[self._image, group] = self.together(kept)
        self._kept = {}

    def finish(self) -> Sequence[Mapping[str, Any]]:
        """The value of an image stands in the row of every sample of it."""
        self._close()
        nothing = (float("nan"),) * len(self.columns)
        rows = [dict(zip(self.columns, self._values.get(key, nothing), strict=True)) for key in self._rows]
        self._rows, self._values, self._image = [], {}, ""
        return rows


class _VarianceMeter(_SamplesMeter):
    def keep(self, prediction: Photo) -> FloatArray | Photo:
        """Ab, shape (2, n_pixels); of a large photo its pixels, a fifth of that."""
        return Photo(prediction.rgb8) if prediction.is_large else prediction.lab[1:]

    def together(self, kept: Sequence[FloatArray | Photo]) -> tuple[float, ...]:
        large = [sample for sample in kept if isinstance(sample, Photo)]
        if not large:
            return (ab_variance(np.stack([sample for sample in kept if not isinstance(sample, Photo)])),)
        parts = zip(*(sample.lab_parts() for sample in large), strict=True)
        sums = (ab_variance(ab) * ab.shape[-1] for part in parts for ab in [np.stack([lab[1:] for lab in part])])
        return (math.fsum(sums) / large[0].n_pixels,)


class _LpipsMeter(_SamplesMeter):
    def __init__(self, groups: Mapping[str, tuple[str, ...]], columns: Sequence[str], lpips: Lpips) -> None:
        super().__init__(groups, columns)
        self.lpips = lpips

    def keep(self, prediction: Photo) -> list[StageFeatures] | None:
        return None if min(prediction.shape) < self.lpips.trunk.smallest else self.lpips.features(prediction)

    def together(self, kept: Sequence[Any]) -> tuple[float, ...]:
        if len(kept) < 2 or kept[0] is None:
            return float("nan"), float("nan")
        every = np.mean([self.lpips.distance(one, other) for one, other in combinations(kept, 2)])
        consecutive = np.mean([self.lpips.distance(one, other) for one, other in pairwise(kept)])
        return float(every), float(consecutive)


class _DiversityMetric(BlockMetric, ColumnMeanMetric):
    """Mean over images of a value of all samples of an image."""

    of_samples = True
    better = "neither"
    unscored_because = "the method has one image per photo, or it is too small"

    def _require_samples(self, run: RunInputs) -> None:
        if not run.samples:
            raise InputError(
                f"metric {self.name} needs a method with several images per photo: a folder with stem/0.png, stem/1.png, ... or "
                "stem_0.png, stem_1.png, ..."
            )


class DiversityVariance(_DiversityMetric):
    """Variance of ab over the samples."""

    name = "diversity_variance"
    title = "diversity var"
    summary = "variance of ab over the samples of an image, mean over pixels, channels and images (Deshpande 2017)"

    @property
    def own_fields(self) -> Mapping[str, str]:
        """The conversion to Lab, mean over images, and the divisor of the variance."""
        return {"lab": LAB, **super().own_fields, "var": "n-1"}

    @property
    def meter_key(self) -> str:
        """A meter of its own."""
        return self.name

    def set_up(self, run: RunInputs) -> Setup:
        """It has no options, but samples are needed."""
        self._require_samples(run)
        return Setup()

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Gather ab."""
        return _VarianceMeter(run.samples, [self.name])


class DiversityLpips(_DiversityMetric):
    """LPIPS between all pairs of samples."""

    name = "diversity_lpips"
    title = "diversity LPIPS"
    decimals = 3
    needs = ("weights:alexnet",)
    summary = "LPIPS alex between all pairs of samples of an image, mean over images"
    pairs: ClassVar[str] = "all"

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """Both ways to pair: one meter serves both metrics."""
        return {DiversityLpips.name: np.float64, "diversity_lpips_consecutive": np.float64}

    @property
    def meter_key(self) -> str:
        """One meter for both ways to pair."""
        return "diversity_lpips"

    def set_up(self, run: RunInputs) -> Setup:
        """As LPIPS; and samples are needed."""
        self._require_samples(run)
        return LpipsAlex().set_up(run)

    def open_meter(self, run: RunInputs) -> BlockMeter:
        """Load the network."""
        return _LpipsMeter(run.samples, list(self.columns), Lpips("alex", run.networks))

    @property
    def own_fields(self) -> Mapping[str, str]:
        """Network and version; which samples are paired."""
        return {**LpipsAlex().own_fields, "pairs": self.pairs}


class DiversityLpipsConsecutive(DiversityLpips):
    """LPIPS between consecutive samples."""

    name = "diversity_lpips_consecutive"
    title = "div. LPIPS cons."
    summary = "LPIPS alex between consecutive samples of an image, mean over images (Saharia 2022)"
    pairs = "consecutive"
