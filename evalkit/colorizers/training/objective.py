"""What the variants minimise: cross-entropy with the soft-encoded truth, rebalanced or not, and L2.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, eqs. 1 to 4.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from evalkit.color.ab_classes import SOFT_NEIGHBORS, AbClasses, loss_weights
from evalkit.colorizers.learned.network import AB_SPAN

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

__all__ = ["ClassificationLoss", "L2Loss", "SoftEncoder"]


class SoftEncoder(nn.Module):
    """Soft-encoding of colours, sparse and fast: a table says which classes can be near, the distances decide.

    Parameters
    ----------
    classes : AbClasses
    n_neighbors : int, default 10
        Classes that share a colour; 1 is the nearest class alone.
    """

    centers: Tensor
    candidates: Tensor

    def __init__(self, classes: AbClasses, n_neighbors: int = SOFT_NEIGHBORS) -> None:
        super().__init__()
        self.sigma = classes.sigma
        self.n_neighbors = min(n_neighbors, len(classes))
        # One row more, infinitely far: it fills up the rows of cells that have fewer candidates than others.
        far = np.full((1, 2), 1e6)
        self.register_buffer("centers", torch.from_numpy(np.concatenate([classes.centers, far])).float(), False)
        self.register_buffer(
            "candidates", torch.from_numpy(_candidates(classes.centers.tobytes(), self.n_neighbors).copy()), False
        )

    def forward(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Encode colours.

        Parameters
        ----------
        ab : Tensor, shape (n, 2)
            CIE Lab units, in [-128, 128) as all of sRGB.

        Returns
        -------
        indices : Tensor of int64, shape (n, n_neighbors)
            Nearest classes, the nearest first; which of two equally far ones comes first is not defined.
        shares : Tensor, shape (n, n_neighbors)
            Their shares, the numbers of `evalkit.color.ab_classes.soft_encode`; each row sums to 1.
        """
        cell = (ab.floor().clamp(-128, 127) + 128).long()
        near = self.candidates[cell[:, 0] * 256 + cell[:, 1]]
        squared = (self.centers.to(ab.dtype)[near] - ab[:, None]).square().sum(dim=2)
        found, place = torch.topk(squared, self.n_neighbors, dim=1, largest=False)
        return near.gather(1, place).long(), torch.softmax(found / (-2.0 * self.sigma**2), dim=1)


@cache
def _candidates(centers_bytes: bytes, n_neighbors: int) -> npt.NDArray[np.int32]:
    """Classes that can be among the nearest somewhere in a cell of one ab unit, for 256 x 256 cells.

    Moving from the middle of a cell to any point of it changes every distance by at most half a diagonal. So a
    class that is further from the middle than the last neighbour by more than a whole diagonal is never one.
    """
    centers = np.frombuffer(centers_bytes).reshape(-1, 2)
    middles = np.arange(256) - 127.5
    rows = []
    for a in middles:
        cells = np.column_stack([np.full(256, a), middles])
        distance = np.sqrt(((cells[:, None] - centers) ** 2).sum(axis=2))
        limit = np.partition(distance, n_neighbors - 1, axis=1)[:, n_neighbors - 1 : n_neighbors] + np.sqrt(2) + 1e-9
        width = int((distance <= limit).sum(axis=1).max())
        order = np.argsort(distance, axis=1, kind="stable")[:, :width]
        rows.append(np.where(np.take_along_axis(distance, order, 1) <= limit, order, len(centers)))
    table = np.full((256, 256, max(row.shape[1] for row in rows)), len(centers), np.int32)
    for k, row in enumerate(rows):
        table[k, :, : row.shape[1]] = row
    return table.reshape(256 * 256, -1)


class _SparseCrossEntropy(torch.autograd.Function):
    """Mean over pixels of -sum_q t_q log softmax(s)_q, where few t_q are not zero.

    Its gradient, (softmax(s) sum_q t_q - t) / n, is written in one pass over the scores; automatic differentiation
    of the gather would fill a second array of their size.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, indices: Tensor, target: Tensor) -> Tensor:
        log_p = torch.log_softmax(scores, dim=1)
        ctx.save_for_backward(log_p, indices, target)
        return -(target * log_p.gather(1, indices)).sum() / len(scores)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        log_p, indices, target = ctx.saved_tensors
        scale = upstream[0] / len(log_p)
        gradient = log_p.exp().mul_(target.sum(dim=1, keepdim=True) * scale)
        return gradient.scatter_add_(1, indices, target * -scale), None, None


class ClassificationLoss(nn.Module):
    """Multinomial cross-entropy with the soft-encoded truth (eq. 2), each pixel weighted by its class (eqs. 3, 4).

    Parameters
    ----------
    classes : AbClasses
    shares : array_like, shape (Q,), optional
        Class shares of the training photos: the loss is rebalanced, with the shares smoothed and mixed with the
        uniform distribution as the classes say, and weights that average to 1 over the smoothed shares. Without
        them every weight is 1.
    n_neighbors : int, default 10
        Classes that share a pixel; 1 is the plain cross-entropy with the nearest class.
    """

    weights: Tensor

    def __init__(
        self, classes: AbClasses, shares: npt.ArrayLike | None = None, n_neighbors: int = SOFT_NEIGHBORS
    ) -> None:
        super().__init__()
        self.encode = SoftEncoder(classes, n_neighbors)
        self.rebalanced = shares is not None
        weights = np.ones(len(classes)) if shares is None else loss_weights(shares, classes)
        self.register_buffer("weights", torch.from_numpy(weights).float(), False)

    def forward(self, logits: Tensor, ab: Tensor) -> Tensor:
        """Mean loss over pixels, in nats.

        Parameters
        ----------
        logits : Tensor, shape (N, Q, h, w)
            Scores of the network.
        ab : Tensor, shape (N, 2, h, w)
            True colours at the same resolution, CIE Lab units.

        Returns
        -------
        Tensor, scalar
        """
        indices, target = self.encode(ab.permute(0, 2, 3, 1).reshape(-1, 2))
        if self.rebalanced:
            target = target * self.weights.to(target.dtype)[indices[:, :1]]
        scores = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
        loss: Tensor = _SparseCrossEntropy.apply(scores, indices, target.to(scores.dtype))  # type: ignore[no-untyped-call]
        return loss


class L2Loss(nn.Module):
    """Half the squared distance of the ab vectors (eq. 1), mean over pixels, in units of 110 ab."""

    def forward(self, predicted: Tensor, ab: Tensor) -> Tensor:
        """Mean loss over pixels.

        Parameters
        ----------
        predicted : Tensor, shape (N, 2, h, w)
            Output of a regression network, ab / 110.
        ab : Tensor, shape (N, 2, h, w)
            True colours, CIE Lab units.

        Returns
        -------
        Tensor, scalar
        """
        return 0.5 * ((predicted - ab / AB_SPAN) ** 2).sum(dim=1).mean()
