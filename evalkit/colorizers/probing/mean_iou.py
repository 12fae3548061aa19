"""Mean intersection over union: from labels of pixels to one number, with intervals over images.

References
----------
.. [1] M. Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 111, 2015, section 4.2:
   intersection over union by class over all pixels of the set, pixels marked as void left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import InputError
from evalkit.resampling.intervals import Interval, jackknife_interval, leave_one_out_scores

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, IntArray

__all__ = ["IGNORED", "SegmentationResult", "class_ious", "intersections_and_unions", "mean_iou"]

IGNORED = -1
"""Label of pixels that are not scored."""


def intersections_and_unions(truth: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Pixels of one image that are a class in both, and in either, for each class.

    Parameters
    ----------
    truth : ndarray of int64, shape (H, W)
        Classes, 0 to ``n_classes - 1``; `IGNORED` pixels count nowhere, whatever is predicted there.
    predicted : ndarray of int64, shape (H, W)
    n_classes : int

    Returns
    -------
    ndarray of int64, shape (2, n_classes)

    Raises
    ------
    InputError
        If the shapes differ, or a label is out of range.

    Examples
    --------
    >>> intersections_and_unions(np.array([[0, 1, -1]]), np.array([[0, 0, 0]]), 3).tolist()
    [[1, 0, 0], [2, 1, 0]]
    """
    if truth.shape != predicted.shape:
        raise InputError(f"labels of shapes {truth.shape} and {predicted.shape} cannot be compared")
    kept = truth != IGNORED
    true, said = truth[kept], predicted[kept]
    for labels in (true, said):
        if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
            raise InputError(f"labels go from {labels.min()} to {labels.max()}; allowed are 0 to {n_classes - 1}")
    n_true, n_said = (np.bincount(labels, minlength=n_classes) for labels in (true, said))
    n_both = np.bincount(true[true == said], minlength=n_classes)
    return np.stack([n_both, n_true + n_said - n_both]).astype(np.int64)


def class_ious(sums: IntArray | FloatArray) -> FloatArray:
    """Intersection over union of each class; NaN for one that is neither in the truth nor predicted anywhere.

    Parameters
    ----------
    sums : ndarray, shape (..., 2, n_classes)
        Sums of `intersections_and_unions` over images.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ious: FloatArray = sums[..., 0, :] / sums[..., 1, :]
    return ious


def mean_iou(sums: IntArray | FloatArray) -> FloatArray:
    """Mean of `class_ious` over the classes that are in the truth or predicted somewhere, 0..1.

    A class that is predicted and never true counts with 0, one that is neither is left out, as in the PASCAL toolkit
    and in torchmetrics. NaN without any class.

    Examples
    --------
    >>> float(mean_iou(np.array([[3, 0, 0], [4, 1, 0]])))
    0.375
    """
    ious = class_ious(sums)
    n_classes = (~np.isnan(ious)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.nansum(ious, axis=-1) / n_classes
    return mean


@dataclass(frozen=True, kw_only=True)
class SegmentationResult:
    """Mean IoU of the linear per-pixel classifier of one block.

    Attributes
    ----------
    network : str
    size : int or None
        Side of the square that photos were resized to.
    block : str
    n_features : int
        Channels of the block.
    counts : ndarray of int64, shape (n, 2, n_classes)
        `intersections_and_unions` of each image that was validated on.
    """

    network: str
    size: int | None
    block: str
    n_features: int
    counts: IntArray

    @property
    def value(self) -> float:
        """Mean IoU over all images, 0..1."""
        return float(mean_iou(self.counts.sum(axis=0)))

    @property
    def n_images(self) -> int:
        """Images that were validated on."""
        return len(self.counts)

    @property
    def std_error(self) -> float:
        """Standard error of mean IoU over images, by the jackknife."""
        return self.interval().std_error

    @property
    def ious(self) -> FloatArray:
        """Intersection over union of each class, shape (n_classes,)."""
        return class_ious(self.counts.sum(axis=0))

    def interval(self) -> Interval:
        """Of mean IoU over images, 95 %: jackknife with Student's t, on the logit scale.

        The classes are fixed, and the classifier is. The percentile bootstrap covers worse where some classes are in a
        few images: a replicate cannot meet a class that it has not drawn (``benchmarks/mean_iou_coverage.py``).
        """
        return jackknife_interval(self.value, self._leave_one_out(), scale="logit")

    def interval_above(self, baseline: SegmentationResult) -> Interval:
        """Of mean IoU less that of another network on the same images, 95 %: paired jackknife with Student's t."""
        return jackknife_interval(self.value - baseline.value, self._leave_one_out() - baseline._leave_one_out())

    def _leave_one_out(self) -> FloatArray:
        n_classes = self.counts.shape[2]
        return leave_one_out_scores(
            self.counts.reshape(len(self.counts), -1),
            lambda sums: mean_iou(sums.reshape(*sums.shape[:-1], 2, n_classes)),
        )
