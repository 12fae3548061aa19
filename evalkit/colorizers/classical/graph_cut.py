"""Labels of pixels that minimise data costs plus costs of unlike neighbours, by alpha-expansion over SciPy's maximum flow.

References
----------
.. [1] Y. Boykov, O. Veksler, R. Zabih, "Fast Approximate Energy Minimization via Graph Cuts", IEEE TPAMI 23(11), 2001:
   the energy (eq. 1) and the expansion moves (section 4).
.. [2] V. Kolmogorov, R. Zabih, "What Energy Functions Can Be Minimized via Graph Cuts?", IEEE TPAMI 26(2), 2004,
   section 4: the graph of a binary energy of pairs, without auxiliary nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, IntArray


__all__ = ["alpha_expansion", "labelling_energy"]

STEPS_PER_UNIT = 256
"""Costs are rounded to this fraction of one: SciPy's maximum flow wants 32-bit whole numbers."""
LARGEST_COST = 1 << 12
"""A data cost above the cheapest one of its pixel counts as this many steps; keeps the total flow of 2^18 pixels in
32 bits. At 16 units it is a constraint for every purpose of ours."""
MAX_SWEEPS = 3
"""Rounds over all labels at most; the energy falls little after the second."""


def labelling_energy(
    labels: IntArray, unary: FloatArray, distance: FloatArray, right: FloatArray, below: FloatArray
) -> float:
    """Energy of a labelling, [1] eq. 1: ``E(f) = sum_pq w_pq V(f_p, f_q) + sum_p D_p(f_p)``, p and q next to each other.

    Parameters
    ----------
    labels : ndarray of int64, shape (H, W)
        0..K - 1.
    unary : ndarray of float64, shape (H, W, K)
        D, the cost of each label at each pixel.
    distance : ndarray of float64, shape (K, K)
        V, a metric between labels.
    right : ndarray of float64, shape (H, W - 1)
        w of each pixel and the one to its right, at least 0.
    below : ndarray of float64, shape (H - 1, W)
        w of each pixel and the one below.

    Returns
    -------
    float
    """
    import numpy as np

    data = np.take_along_axis(unary, labels[..., None], axis=-1).sum()
    across = (right * distance[labels[:, :-1], labels[:, 1:]]).sum()
    down = (below * distance[labels[:-1], labels[1:]]).sum()
    return float(data + across + down)


def alpha_expansion(unary: FloatArray, distance: FloatArray, right: FloatArray, below: FloatArray) -> IntArray:
    """A labelling whose energy no single expansion move lowers (exact for two labels).

    Starts from the cheapest label of each pixel. An expansion move of label alpha lets every pixel keep its label or
    take alpha; the best of all such moves is one minimum cut ([1] section 4). Costs are rounded to 1/256.

    Parameters
    ----------
    unary, distance, right, below
        As for `labelling_energy`; at most 2^18 pixels.

    Returns
    -------
    ndarray of int64, shape (H, W)
    """
    import numpy as np

    height, width, n_labels = unary.shape
    above_least = np.rint((unary - unary.min(axis=-1, keepdims=True)) * STEPS_PER_UNIT)
    data = np.minimum(above_least, LARGEST_COST).astype(np.int64).reshape(-1, n_labels)
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    weights = np.concatenate([right.ravel(), below.ravel()])
    labels: IntArray = data.argmin(axis=1)

    def energy(candidate: IntArray) -> int:
        unlike = np.rint(weights * distance[candidate[first], candidate[second]] * STEPS_PER_UNIT)
        return int(data[np.arange(data.shape[0]), candidate].sum() + unlike.sum())

    lowest = energy(labels)
    unchanged = 0
    for move in range(MAX_SWEEPS * n_labels):
        if unchanged == n_labels:
            break
        candidate = _best_expansion(
            move % n_labels, labels, data, distance, first=first, second=second, weights=weights
        )
        reached = energy(candidate)
        if reached < lowest:
            labels, lowest, unchanged = candidate, reached, 0
        else:
            unchanged += 1
    return labels.reshape(height, width)


def _best_expansion(
    alpha: int,
    labels: IntArray,
    data: IntArray,
    distance: FloatArray,
    *,
    first: IntArray,
    second: IntArray,
    weights: FloatArray,
) -> IntArray:
    """The labelling of least energy among those where each pixel keeps its label or takes alpha."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    n = labels.size

    def cost(one: FloatArray) -> IntArray:
        rounded: IntArray = np.rint(weights * one * STEPS_PER_UNIT).astype(np.int64)
        return rounded

    # x = 1 takes alpha. E(x_p, x_q) = A + (C - A) x_p - C x_q + (B + C - A) (1 - x_p) x_q, where E(1, 1) = 0.
    both_keep = cost(distance[labels[first], labels[second]])
    second_takes = cost(distance[labels[first], alpha])
    first_takes = cost(distance[alpha, labels[second]])
    gain = data[:, alpha] - data[np.arange(n), labels]
    gain = gain + np.bincount(first, first_takes - both_keep, n).astype(np.int64)
    gain = gain - np.bincount(second, first_takes, n).astype(np.int64)
    # Never negative for a metric but by rounding.
    between = np.maximum(second_takes + first_takes - both_keep, 0)
    # Nodes on the source's side keep (x = 0): the cut edge first -> second is paid where first keeps and second takes.
    dear, cheap = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    linked = between > 0
    source, sink = n, n + 1
    rows = np.concatenate([first[linked], np.full(dear.size, source), cheap])
    columns = np.concatenate([second[linked], dear, np.full(cheap.size, sink)])
    capacity = np.concatenate([between[linked], gain[dear], -gain[cheap]]).astype(np.int32)
    graph = sparse.csr_matrix((capacity, (rows, columns)), shape=(n + 2, n + 2))
    flow = maximum_flow(graph, source, sink).flow
    residual = graph - flow
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, directed=True, return_predecessors=False)
    keeps = np.zeros(n + 2, np.bool_)
    keeps[reached] = True
    moved: IntArray = np.where(keeps[:n], labels, alpha)
    return moved
