"""What a metric is: two pure steps, *pair -> statistics* and *sum of statistics -> score*.

Because a score is a function of sums over images, everything downstream (bootstrap intervals, subsets, merged runs,
duplicated or weighted images) works on the stored statistics and never needs the images again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evalkit.metrics.ab_error import AbErrorOptions, AbErrorTable

__all__ = [
    "Better",
    "ImageStatistics",
    "MeanMetric",
    "Metric",
    "Photo",
    "SetScore",
    "mean_score",
    "mean_terms",
]

from evalkit.arrays import FloatArray, IntArray, Rgb8

Better = Literal["higher", "lower", "neither"]


class Photo:
    """One decoded image together with what metrics derive from it, each derived at most once.

    The scoring run makes one ``Photo`` per file: the truth's is shared by every method and every metric.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        8-bit sRGB pixels, C-contiguous.
    """

    def __init__(self, rgb8: Rgb8) -> None:
        self.rgb8: Rgb8 = np.ascontiguousarray(rgb8)
        self.derived: dict[Any, Any] = {}
        """Room for a metric family's own intermediate results (say, the filtered truth of SSIM), by key."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb8.shape[0], self.rgb8.shape[1]

    @property
    def n_pixels(self) -> int:
        """Number of pixels, H * W."""
        return int(self.rgb8.shape[0] * self.rgb8.shape[1])

    @cached_property
    def lab(self) -> FloatArray:
        """CIE Lab planes (L, a, b): float64, shape (3, H * W), from the fast path of `evalkit.color.colorspace`."""
        from evalkit.color.colorspace import lab_planes

        return lab_planes(self.rgb8)


@dataclass(frozen=True)
class ImageStatistics:
    """What was stored for one method: one row per image, in the order of ``images``.

    Attributes
    ----------
    images : tuple of str, length n
        Image names (file stems), sorted.
    n_pixels : ndarray of int64, shape (n,)
        Pixels per image.
    columns : mapping of str to ndarray, shape (n,)
        The scalars that the metrics' ``measure`` returned, by column name.
    ab_error : AbErrorTable or None
        Per image and class: pixel count, fixed-point error sum, histogram. None when no metric asked for it.
    """

    images: tuple[str, ...]
    n_pixels: IntArray
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    ab_error: AbErrorTable | None = None
    vectors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Feature vectors, shape (n, k), by column name; only those of metrics that ask for them."""

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: range) -> ImageStatistics:
        """Statistics of a run of consecutive images."""
        start, stop = rows.start, rows.stop
        return ImageStatistics(
            self.images[start:stop],
            self.n_pixels[start:stop],
            {name: column[start:stop] for name, column in self.columns.items()},
            None if self.ab_error is None else self.ab_error.part(rows),
            {name: vectors[start:stop] for name, vectors in self.vectors.items()},
        )


@dataclass(frozen=True)
class SetScore:
    """Score of a metric that is no function of sums over images.

    Attributes
    ----------
    value : float
    leave_one_out : ndarray, shape (n_images,), or None
        The value without each image, for a jackknife interval; None where that costs too much: there is no interval.
    """

    value: float
    leave_one_out: FloatArray | None


class Metric(ABC):
    """A number about how close a prediction is to the truth, or about the prediction alone.

    A metric says what it stores per image (`columns`, `measure`), how the stored rows become additive terms (`terms`)
    and how sums of terms become the score (`score`). All three are pure.
    """

    name: ClassVar[str]
    """Name on the command line and in every table."""
    title: ClassVar[str]
    """Short heading for tables, for example ``"AuC"``."""
    better: ClassVar[Better]
    """Which direction is better; ``"neither"`` for descriptive numbers such as colourfulness."""
    summary: ClassVar[str]
    """One line for ``evalkit metrics``: definition and source."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What must be given beside the images: ``"labels"``, ``"weights:vgg16"``, ..."""
    percent: ClassVar[bool] = False
    """Shown multiplied by 100 on the terminal (files always hold the fraction)."""
    decimals: ClassVar[int] = 2
    """Digits after the point on the terminal."""
    uses_ab_error: ClassVar[bool] = False
    """Whether `terms` reads ``statistics.ab_error``."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Metrics that a table shows wherever it shows this one, for example the share kept beside an accuracy."""
    details: ClassVar[tuple[str, ...]] = ()
    """Those of `columns` that ``per_image.parquet`` shows beside the metric itself."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Diagnostics of the run (`evalkit.scoring.statistics_store.DIAGNOSTICS`) that `terms` reads as columns."""
    of_samples: ClassVar[bool] = False
    """Whether a value belongs to all samples of an image together (methods with several images a photo)."""
    of_set: ClassVar[bool] = False
    """Whether the value is `set_score`'s, a function of the whole set that single images do not have."""
    unscored_because: ClassVar[str] = "too small for this metric"
    """Why single images may be unscored, for the reason that the tables give."""

    interval: Literal["bootstrap", "jackknife"] = "bootstrap"
    """Which interval over images covers: the jackknife's where replicates miss what the sample has (rare classes)."""

    @classmethod
    def create(cls, options: AbErrorOptions) -> Self:
        """The metric under the options of a run; most metrics have none."""
        return cls()

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """Per-image scalars that `measure` returns, in order: name and storage type."""
        return {}

    @property
    def vectors(self) -> Mapping[str, int]:
        """Feature vectors stored per image beside `columns`: name and length."""
        return {}

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Pair to statistics: one number per entry of `columns`."""
        return ()

    @abstractmethod
    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Additive terms, shape (n_images, k), int64 where they are counts, else float64."""

    @abstractmethod
    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Score of summed (or weighted and summed) terms: shape (..., k) to (...); NaN where undefined."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Signature fields of this metric alone, for example ``{"quad": "exact150"}``."""
        return {}

    def set_score(self, statistics: ImageStatistics) -> SetScore:
        """Score of the whole set, for metrics `of_set`; others have `terms` and `score`."""
        raise NotImplementedError

    def fields_of(self, statistics: ImageStatistics) -> Mapping[str, str]:
        """Signature fields, with those that only the statistics know (say, the digest of the labels)."""
        return self.fields

    def caution(self, method: str, value: float, n_images: int) -> str:
        """A sentence about a value that is most likely a mistake of the set-up; empty otherwise."""
        return ""

    def per_image(self, statistics: ImageStatistics) -> FloatArray:
        """The metric on each image alone, shape (n_images,); NaN where undefined."""
        return self.score(self.terms(statistics))


def mean_terms(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Value and count of the finite images, shape (n, 2): the terms of a plain mean over images."""
    finite = np.isfinite(values)
    return np.column_stack([np.where(finite, values, 0.0), finite.astype(np.float64)])


def mean_score(sums: npt.NDArray[Any]) -> FloatArray:
    """Mean over the finite images; NaN when there is none."""
    total, count = sums[..., 0], sums[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan), dtype=np.float64)


class MeanMetric(Metric):
    """A metric that is the plain mean of one finite number per image.

    Subclasses implement `value`. Values that are not finite (an infinite PSNR of identical images, say) are counted
    apart and never averaged in.
    """

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """One float64 column, named like the metric."""
        return {self.name: np.float64}

    @abstractmethod
    def value(self, truth: Photo, prediction: Photo) -> float:
        """The metric on one pair."""

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Pair to statistics: the value alone."""
        return (self.value(truth, prediction),)

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Value and count of the finite images, shape (n, 2)."""
        return mean_terms(statistics.columns[self.name])

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Mean over the finite images; NaN when there is none."""
        return mean_score(sums)

    @property
    def fields(self) -> Mapping[str, str]:
        """Mean over images."""
        return {"agg": "image"}
