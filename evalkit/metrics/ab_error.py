"""AuC of the cumulative ab-error curve, plain and class-rebalanced (Zhang, Isola and Efros, ECCV 2016, section 3.1).

With d the L2 distance of truth and prediction in ab and CMF(t) the share of pixels with d <= t, AuC is the area under
CMF over the thresholds 0..150, divided by 150. In closed form AuC = 1 - E[min(d, 150)] / 150. The rebalanced variant
weights every pixel by 1 / p(class of its true colour).

The counts that these formulas stand on are in `evalkit.metrics.ab_counts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray, Rgb8
from evalkit.color.ab_classes import rebalancing_weights
from evalkit.color.colorspace import LAB
from evalkit.errors import InputError
from evalkit.metrics._arrays import each_pair
from evalkit.metrics.ab_counts import AbErrorOptions, AbErrorTable, PairCounter, chosen_options, table_of
from evalkit.metrics.base import Better, ImageStatistics, SumMetric
from evalkit.metrics.photo import Photo

__all__ = ["AbAuc", "AbAucRebalanced", "ab_auc", "ab_auc_rebal", "curve"]


class _AbErrorMetric(SumMetric):
    better: ClassVar[Better] = "higher"
    percent: ClassVar[bool] = True
    decimals: ClassVar[int] = 2
    uses_ab_error: ClassVar[bool] = True
    scale = "logit"

    def __init__(self, options: AbErrorOptions | None = None) -> None:
        self.options = chosen_options(options)

    @classmethod
    def create(cls, options: AbErrorOptions) -> Self:
        """The metric under these classes, prior, lambda and quadrature."""
        return cls(options)

    def _table(self, statistics: ImageStatistics) -> AbErrorTable:
        if statistics.ab_error is None:
            raise InputError(f"{self.name}: the statistics of this run hold no ab errors; score again with {self.name}")
        return statistics.ab_error

    @property
    def fields(self) -> Mapping[str, str]:
        """Lab conversion, quadrature, pooling over pixels."""
        return {"lab": LAB, "q": "round", "quad": self.options.quadrature_field, "agg": "pixel"}


class AbAuc(_AbErrorMetric):
    """AuC of the cumulative ab-error curve, pixels pooled over the set."""

    name: ClassVar[str] = "ab_auc"
    title: ClassVar[str] = "AuC"
    summary: ClassVar[str] = "area under the cumulative ab-error curve, 0..150 (Zhang et al. 2016)"

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Loss and pixels of each image, int64, shape (n, 2)."""
        table = self._table(statistics)
        return np.column_stack([table.totals(table.losses(self.options)), table.totals(table.class_count)])

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """AuC = 1 - E[min(d, 150)] / 150, or the mean of CMF over the thresholds."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - sums[..., 0] / (sums[..., 1] * float(self.options.scale)), dtype=np.float64)


class AbAucRebalanced(_AbErrorMetric):
    """AuC with every pixel weighted by 1 / p(class of its true colour), pixels pooled over the set.

    With the shares of the evaluated truth itself (``prior:truth``) this is the plain mean over the classes present; it
    is comparable on the same images only, since more images bring more rare classes.
    """

    name: ClassVar[str] = "ab_auc_rebal"
    title: ClassVar[str] = "AuC rebal."
    summary: ClassVar[str] = "the same with pixels weighted by 1 / p(class of the true colour) (Zhang et al. 2016)"

    def __init__(self, options: AbErrorOptions | None = None) -> None:
        super().__init__(options)
        # A mean over the classes *present*: bootstrap replicates miss rare classes and cover 54 to 81 % only, measured
        # in `evalkit.resampling.intervals.jackknife_interval`.
        if self.options.prior is None:
            self.interval = "jackknife"

    @property
    def fields(self) -> Mapping[str, str]:
        """As AuC, with classes, prior and lambda."""
        prior = "truth" if self.options.prior is None else self.options.prior.name
        classes = self.options.classes
        return {
            **super().fields,
            "classes": classes.name if classes.name.startswith("file") else f"{classes.name}-{len(classes)}",
            "prior": prior,
            "lam": f"{self.options.rebalancing:g}",
        }

    def terms(self, statistics: ImageStatistics) -> npt.NDArray[Any]:
        """Loss and pixels per class, int64, shape (n, 2 Q); with a fixed prior their weighted sums, float64, (n, 2)."""
        table = self._table(statistics)
        losses = table.losses(self.options)
        if self.options.prior is None:
            return np.hstack([table.dense(losses), table.dense(table.class_count)])
        weights = rebalancing_weights(self.options.prior.shares, self.options.rebalancing)
        present = np.unique(table.class_id)
        if np.any(weights[present] == 0):
            lost = present[weights[present] == 0][0]
            a, b = self.options.classes.centers[lost]
            raise InputError(
                f"prior {self.options.prior.name} gives share 0 to class ({a:g}, {b:g}), which the truth has; use a prior "
                "without zeros, --prior truth, or --lambda above 0"
            )
        # Summed in Python's exact order of entries: the same rows give the same bits in every run.
        w = weights[table.class_id]
        image = np.repeat(np.arange(len(table)), np.diff(table.offsets))
        return np.column_stack(
            [
                np.bincount(image, weights=w * losses, minlength=len(table)),
                np.bincount(image, weights=w * table.class_count, minlength=len(table)),
            ]
        )

    def score(self, sums: npt.NDArray[Any]) -> FloatArray:
        """1 - E_w[loss]; the weights follow the summed class shares where the prior is the truth's own."""
        scale = float(self.options.scale)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.options.prior is not None:
                return np.asarray(1.0 - sums[..., 0] / (sums[..., 1] * scale), dtype=np.float64)
            q = sums.shape[-1] // 2
            losses, counts = sums[..., :q], sums[..., q:]
            if self.options.rebalancing == 0.0:  # w = 1 / p: the plain mean over the classes present
                error = np.where(counts > 0, losses / (counts * scale), 0.0)
                return np.asarray(1.0 - error.sum(axis=-1) / (counts > 0).sum(axis=-1), dtype=np.float64)
            weights = rebalancing_weights(counts, self.options.rebalancing)
            return np.asarray(
                1.0 - (weights * losses).sum(axis=-1) / ((weights * counts).sum(axis=-1) * scale), dtype=np.float64
            )


def curve(histogram: npt.ArrayLike, options: AbErrorOptions | None = None) -> tuple[FloatArray, FloatArray]:
    """Cumulative ab-error curve at the thresholds 0, 1, ..., 150.

    Parameters
    ----------
    histogram : array_like, shape (Q, 152)
        Pixels per class and bin, see `AbErrorTable`.
    options : AbErrorOptions, optional
        Prior and lambda of the rebalanced curve.

    Returns
    -------
    fraction, fraction_rebalanced : ndarray of float64, shape (151,)
        CMF(t), plain and weighted.
    """
    options = chosen_options(options)
    counts = np.asarray(histogram, dtype=np.float64)
    per_class = counts.sum(axis=1)
    shares = per_class if options.prior is None else options.prior.shares
    weights = rebalancing_weights(shares, options.rebalancing)
    below = np.cumsum(counts, axis=1)[:, :-1]
    return below.sum(axis=0) / per_class.sum(), weights @ below / (weights @ per_class)


def _on_arrays(
    metric: _AbErrorMetric, truth_rgb8: Rgb8, pred_rgb8: Rgb8, options: AbErrorOptions
) -> float | FloatArray:
    counter = PairCounter(options.classes)

    def of_pair(truth: Photo, prediction: Photo) -> float:
        table = table_of([counter.count(truth, prediction)], len(options.classes))
        statistics = ImageStatistics(images=("pair",), n_pixels=np.array([truth.n_pixels]), ab_error=table)
        return float(metric.per_image(statistics)[0])

    return each_pair(of_pair, truth_rgb8, pred_rgb8)


def ab_auc(truth_rgb8: Rgb8, pred_rgb8: Rgb8, options: AbErrorOptions | None = None) -> float | FloatArray:
    """AuC of the cumulative ab-error curve of one pair, or of each pair of a batch.

    Parameters
    ----------
    truth_rgb8, pred_rgb8 : ndarray of uint8, shape (H, W, 3) or (N, H, W, 3)
        8-bit sRGB.
    options : AbErrorOptions, optional

    Returns
    -------
    float or ndarray of float64, shape (N,)
        Fractions of 1; 1 is a perfect prediction.

    Raises
    ------
    InputError
        If the arrays are not uint8, not of these shapes, or differ in shape.

    References
    ----------
    Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    >>> gray = np.full((8, 8, 3), 128, np.uint8)
    >>> round(ab_auc(red, gray), 4)  # ab of red is (80.1, 67.2): 1 - 104.55 / 150
    0.303
    >>> ab_auc(red, red)
    1.0
    """
    options = chosen_options(options)
    return _on_arrays(AbAuc(options), truth_rgb8, pred_rgb8, options)


def ab_auc_rebal(truth_rgb8: Rgb8, pred_rgb8: Rgb8, options: AbErrorOptions | None = None) -> float | FloatArray:
    """Class-rebalanced AuC of one pair, or of each pair of a batch (each with its own class shares).

    The number of a table pools the pixels of all images: use `evalkit.Accumulator` or `evalkit.score` for it.

    Parameters, returns, raises as in `ab_auc`.
    """
    options = chosen_options(options)
    return _on_arrays(AbAucRebalanced(options), truth_rgb8, pred_rgb8, options)
