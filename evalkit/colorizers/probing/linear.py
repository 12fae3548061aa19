"""Multinomial logistic regression with an L2 penalty: the one linear classifier of every probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.arrays import FloatArray, IntArray

__all__ = ["PENALTY", "LinearClassifier", "fit_linear"]

PENALTY = 1e-2
"""Weight of the squared norm of the coefficients, beside the mean loss."""


@dataclass(frozen=True, kw_only=True)
class LinearClassifier:
    """Class scores that are linear in the features.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (n_features, n_classes)
        Of the features as they are, not standardised.
    intercepts : ndarray of float64, shape (n_classes,)
    """

    coefficients: FloatArray
    intercepts: FloatArray

    def scores(self, features: FloatArray) -> FloatArray:
        """Unnormalised log-probabilities of the classes, shape (n, n_classes)."""
        scores: FloatArray = features @ self.coefficients + self.intercepts
        return scores

    def predict(self, features: FloatArray) -> IntArray:
        """The class of the highest score; of equal ones the first."""
        predicted: IntArray = self.scores(features).argmax(axis=1).astype(np.int64)
        return predicted


def fit_linear(
    features: FloatArray, labels: IntArray, n_classes: int, penalty: float = PENALTY, what: str = "features"
) -> LinearClassifier:
    """Fit by L-BFGS in float64.

    Features are standardised, and divided by the square root of their number: the penalty means the same for any
    number of them.

    Parameters
    ----------
    features : ndarray of float64, shape (n, n_features)
    labels : ndarray of int64, shape (n,)
        Classes, 0 to ``n_classes - 1``.
    n_classes : int
        A class without an example gets the lowest score by itself.
    penalty : float
        Weight of the squared norm of the coefficients, beside the mean loss.
    what : str
        What errors call the features.

    Raises
    ------
    InputError
        If a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise InputError(f"{what}: not every activation is a finite number; the weights are of a run that diverged")
    mean, scale = features.mean(axis=0), features.std(axis=0)
    # A feature that is the same everywhere says nothing: divided by infinity it is 0.
    scale = np.where(scale > 1e-12, scale, np.inf) * math.sqrt(features.shape[1])
    x = (features - mean) / scale
    back: FloatArray | None = None
    if len(x) < x.shape[1]:
        # The best coefficients lie in the span of the examples: with fewer of them than features it is solved there.
        values, vectors = np.linalg.eigh(x @ x.T)
        kept = values > 1e-10 * values[-1]
        vectors, roots = vectors[:, kept], np.sqrt(values[kept])
        back = x.T @ (vectors / roots)
        x = vectors * roots
    inner, target = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(labels)
    weights = torch.zeros(inner.shape[1], n_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(n_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(inner @ weights + bias, target) + penalty * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    found = weights.detach().numpy()
    coefficients = (found if back is None else back @ found) / scale[:, np.newaxis]
    return LinearClassifier(coefficients=coefficients, intercepts=bias.detach().numpy() - mean @ coefficients)
