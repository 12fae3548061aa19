"""What a metric is: two pure steps, *pair -> statistics* and *statistics -> score*.

Nothing downstream (intervals, subsets, merged runs, duplicated or weighted images) needs the images again: everything
works on the stored statistics. How statistics become a score is said by the base class:

`MeanMetric`
    the plain mean of one number per image; the author writes `MeanMetric.value`;
`SumMetric`
    a function of sums over images: `SumMetric.terms` and `SumMetric.score`;
`SetMetric`
    a function of the whole set, which no sums give (FID, say): `SetMetric.set_score`.

How the statistics come about is another matter: pair by pair through `Metric.measure`, or block by block, where a
network wants batches, through `evalkit.metrics.blocks.BlockMetric`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray, IntArray
from evalkit.metrics.ab_counts import AbErrorOptions, AbErrorTable
from evalkit.metrics.photo import Photo

__all__ = [
    "Better",
    "ColumnMeanMetric",
    "ImageStatistics",
    "IntervalKind",
    "MeanMetric",
    "Metric",
    "ReferenceSet",
    "SetMetric",
    "SetScore",
    "SumMetric",
    "exact_parts",
    "exact_sum",
    "mean_score",
    "mean_terms",
    "share_of_sums",
]

Better = Literal["higher", "lower", "neither"]
IntervalKind = Literal["bootstrap", "jackknife", "share", "ratio of shares"]


@dataclass(frozen=True)
class ReferenceSet:
    """Feature vectors of a set of images that methods are compared with instead of the true photos.

    Attributes
    ----------
    vectors : mapping of str to ndarray of float32, shape (m, k)
        By column name, as `ImageStatistics.vectors`.
    digest : str
        sha256 over the lines ``<sha256 of the file>  <image>``.
    """

    vectors: Mapping[str, npt.NDArray[np.float32]]
    digest: str
    _derived: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, derive: Callable[[], Any]) -> Any:
        """What follows from the set alone, derived for the first method and kept for the others."""
        if name not in self._derived:
            self._derived[name] = derive()
        return self._derived[name]


@dataclass(frozen=True, kw_only=True)
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
    vectors : mapping of str to ndarray of float32, shape (n, k)
        Feature vectors by column name; only those of metrics that ask for them.
    reference : ReferenceSet or None
        What metrics of whole sets compare with; None for the true photos.
    """

    images: tuple[str, ...]
    n_pixels: IntArray
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    ab_error: AbErrorTable | None = None
    vectors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    reference: ReferenceSet | None = None

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: range) -> ImageStatistics:
        """Statistics of a run of consecutive images."""
        start, stop = rows.start, rows.stop
        return ImageStatistics(
            images=self.images[start:stop],
            n_pixels=self.n_pixels[start:stop],
            columns={name: column[start:stop] for name, column in self.columns.items()},
            ab_error=None if self.ab_error is None else self.ab_error.part(rows),
            vectors={name: vectors[start:stop] for name, vectors in self.vectors.items()},
            reference=self.reference,
        )


@dataclass(frozen=True)
class SetScore:
    """What a `SetMetric` makes of a set.

    Attributes
    ----------
    value : float
    leave_one_out : ndarray, shape (n_images,), or None
        The value without each image, for a jackknife interval; None where that costs too much: there is no interval.
    """

    value: float
    leave_one_out: FloatArray | None


class Metric(ABC):
    """What every metric says of itself: its name, its direction, what is stored for it, how it is signed.

    A metric derives from one of `SumMetric` (or its special case `MeanMetric`) and `SetMetric`.
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
    companions: ClassVar[tuple[str, ...]] = ()
    """Metrics that a table shows wherever it shows this one, for example the share kept beside an accuracy."""
    details: ClassVar[tuple[str, ...]] = ()
    """Those of `columns` that ``per_image.parquet`` shows beside the metric itself."""
    of_samples: ClassVar[bool] = False
    """Whether a value belongs to all samples of an image together (methods with several images per photo)."""
    unscored_because: ClassVar[str] = "too small for this metric"
    """Why single images may be unscored, for the reason that the tables give."""
    undefined_because: ClassVar[str] = "the images do not determine it"
    """Why the whole set may have no value although every image has one."""

    @classmethod
    def create(cls, options: AbErrorOptions) -> Self:
        """The metric under the options of a run; most metrics have none."""
        return cls()

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """Numbers stored per image, in order: name and storage type."""
        return {}

    @property
    def vectors(self) -> Mapping[str, int]:
        """Feature vectors stored per image beside `columns`: name and length."""
        return {}

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Pair to statistics: one number per entry of `columns`. A `BlockMetric` is measured by its meter instead."""
        return ()

    @property
    def fields(self) -> Mapping[str, str]:
        """Signature fields of this metric alone, for example ``{"quad": "exact150"}``."""
        return {}

    def fields_of(self, statistics: ImageStatistics) -> Mapping[str, str]:
        """Signature fields, with those that only the statistics know (say, the digest of the labels)."""
        return self.fields

    @classmethod
    def number_text(cls, value: float) -> str:
        """A score or a difference of scores as tables print it: with the metric's decimals, shares in per cent."""
        return f"{100 * value if cls.percent else value:.{cls.decimals}f}"

    def caution(self, method: str, value: float, n_images: int) -> str:
        """A sentence about a value that is most likely a mistake of the set-up; empty otherwise."""
        return ""

    def notice(self, method: str, statistics: ImageStatistics) -> str:
        """A sentence about how a method's images were measured, for readers of the number; empty where there is none."""
        return ""


class SumMetric(Metric):
    """A metric that is a function of sums over images, ``score(terms.sum(axis=0))``: intervals come for free."""

    uses_ab_error: ClassVar[bool] = False
    """Whether `terms` reads ``statistics.ab_error``."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Diagnostics of the run (`evalkit.scoring.statistics_store.DIAGNOSTICS`) that `terms` reads as columns."""

    interval: IntervalKind = "bootstrap"
    """Which interval over images covers: the jackknife's where replicates miss what the sample has (rare classes), that of
    a share or of the ratio of two where each image is right or wrong (terms of 0 and 1)."""
    scale: ClassVar[Literal["linear", "log", "logit"]] = "linear"
    """On which scale an interval of few images is symmetric: the logarithm of a positive number, the logit of a fraction."""

    @abstractmethod
    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Additive terms, shape (n_images, k), int64 where they are counts, else float64."""

    @abstractmethod
    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """Score of summed (or weighted and summed) terms: shape (..., k) to (...); NaN where undefined."""

    def per_image(self, statistics: ImageStatistics) -> FloatArray:
        """The metric on each image alone, shape (n_images,); NaN where undefined."""
        return self.score(self.terms(statistics))


class ColumnMeanMetric(SumMetric):
    """The mean over images of one stored column that is named like the metric.

    Values that are not finite (an infinite PSNR of identical images, say) are counted apart and never averaged in.
    """

    @property
    def columns(self) -> Mapping[str, type[np.generic]]:
        """One float64 column, named like the metric."""
        return {self.name: np.float64}

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


class MeanMetric(ColumnMeanMetric):
    """A metric that is the plain mean of one finite number per image. Its author writes `value`."""

    @abstractmethod
    def value(self, truth: Photo, prediction: Photo) -> float:
        """The metric on one pair."""

    def measure(self, truth: Photo, prediction: Photo) -> tuple[float, ...]:
        """Pair to statistics: the value alone."""
        return (self.value(truth, prediction),)


class SetMetric(Metric):
    """A metric of the whole set that single images do not have and no sums over images give."""

    @abstractmethod
    def set_score(self, statistics: ImageStatistics) -> SetScore:
        """Score of the set."""


def mean_terms(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Value and count of the finite images, shape (n, 2): the terms of a plain mean over images."""
    finite = np.isfinite(values)
    return np.column_stack([np.where(finite, values, 0.0), finite.astype(np.float64)])


def share_of_sums(sums: npt.NDArray[Any]) -> FloatArray:
    """First sum over the second, shape (..., 2) to (...); NaN where the second is 0."""
    total, count = sums[..., 0], sums[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan), dtype=np.float64)


mean_score = share_of_sums
"""Mean over the finite images, of the sums of `mean_terms`; NaN when there is none."""


def exact_sum(terms: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum over the first axis, the same bits in any order: integers as they are, floats correctly rounded."""
    if np.issubdtype(terms.dtype, np.integer):
        return np.asarray(terms.sum(axis=0, dtype=np.int64))
    return np.array([math.fsum(column) for column in terms.T], dtype=np.float64)


N_PARTS = 40
"""As many doubles as hold any sum of doubles exactly: 2,098 binary places, 53 in each."""


def exact_parts(values: Iterable[float]) -> FloatArray:
    """The sum of numbers without any rounding, as the sum of a few doubles: what can be added to later, in any order.

    Parameters
    ----------
    values : iterable of float

    Returns
    -------
    ndarray of float64, shape (40,)
        Each is the correctly rounded rest that those before it leave; zeros follow the last. The first is the sum as
        `exact_sum` gives it.

    References
    ----------
    J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", Discrete &
    Computational Geometry 18, 1997 (expansions); the sums themselves are those of `math.fsum`.

    Examples
    --------
    >>> exact_parts([1e16, 1.0, 1e-3])[:3].tolist()
    [1e+16, 1.001, 0.0]
    """
    rest = list(values)
    parts = np.zeros(N_PARTS)
    for k in range(N_PARTS):
        parts[k] = part = math.fsum(rest)
        if part == 0 or not math.isfinite(part):
            break
        rest.append(-part)
    return parts
