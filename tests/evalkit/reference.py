"""The metrics of ab error once more, as plainly as they can be written: scikit-image, a KD-tree, explicit thresholds.

Shares no code with the package: what the package computes fast must equal what stands here. float64 throughout.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from skimage.color import rgb2lab

MAX_THRESHOLD = 150


def lab_of(rgb8: np.ndarray) -> np.ndarray:
    """CIE Lab of 8-bit sRGB, shape (..., 3), by scikit-image."""
    return rgb2lab(np.asarray(rgb8, dtype=np.uint8) / 255.0)


def cube_slice(red: int) -> np.ndarray:
    """All 65,536 colours of one red value, uint8, shape (65536, 3); the 256 slices are the whole sRGB cube."""
    green, blue = np.divmod(np.arange(65536), 256)
    return np.column_stack([np.full(65536, red), green, blue]).astype(np.uint8)


def errors_of(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """ab error of each pixel, shape (n,)."""
    difference = lab_of(truth)[..., 1:] - lab_of(prediction)[..., 1:]
    return np.hypot(difference[..., 0], difference[..., 1]).ravel()


def classes_of(truth: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Class of each pixel, shape (n,): the nearest centre."""
    return cKDTree(centers).query(lab_of(truth)[..., 1:].reshape(-1, 2))[1]


def histogram_of(truth: np.ndarray, prediction: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Pixels per class and error bin, shape (Q, 152): d = 0; k - 1 < d <= k for k in 1..150; d > 150."""
    errors = errors_of(truth, prediction)
    bins = np.minimum(np.ceil(errors), MAX_THRESHOLD + 1).astype(int)
    counts = np.zeros((len(centers), MAX_THRESHOLD + 2), dtype=np.int64)
    np.add.at(counts, (classes_of(truth, centers), bins), 1)
    return counts


def weights_of(classes: np.ndarray, shares: np.ndarray | None, n_classes: int, rebalancing: float = 0.0) -> np.ndarray:
    """Weight of each pixel: 1 / ((1 - lambda) p + lambda / Q) of its class; p its share of the pixels by default."""
    if shares is None:
        shares = np.bincount(classes, minlength=n_classes)
    p = shares / np.sum(shares)
    return 1.0 / ((1 - rebalancing) * p + rebalancing / n_classes)[classes]


def cmf(errors: np.ndarray, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Weighted share of pixels with an error of at most each threshold."""
    return np.array([weights[errors <= t].sum() for t in thresholds]) / weights.sum()


def auc_exact(errors: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the step function CMF over 0..150, over 150: each pixel adds 1 from its error to 150."""
    return float(np.average(np.maximum(MAX_THRESHOLD - errors, 0.0), weights=weights) / MAX_THRESHOLD)


def auc_trapezoid(errors: np.ndarray, weights: np.ndarray | None = None, steps: int = 1_000_000) -> float:
    """The same area by the trapezoid rule on a fine curve."""
    weights = np.ones(len(errors)) if weights is None else weights
    order = np.argsort(errors)
    cumulated = np.concatenate([[0.0], np.cumsum(weights[order])])
    thresholds = np.linspace(0, MAX_THRESHOLD, steps + 1)
    curve = cumulated[np.searchsorted(errors[order], thresholds, side="right")] / cumulated[-1]
    return float(np.trapezoid(curve, thresholds) / MAX_THRESHOLD)


def auc_thresholds(errors: np.ndarray, weights: np.ndarray | None = None, max_threshold: int = MAX_THRESHOLD) -> float:
    """Mean of CMF(0), CMF(1), ..., CMF(max_threshold)."""
    weights = np.ones(len(errors)) if weights is None else weights
    return float(cmf(errors, weights, np.arange(max_threshold + 1)).mean())
