"""Scribbles spread by optimisation: neighbours of similar lightness get similar colours.

Where it differs from the paper: colours are a and b of CIE Lab and intensity is L (the paper: YUV), so that the photo's
own L is kept as everywhere in this project; photos only, no video; the Gaussian weight of eq. 2, not the correlation
of eq. 3.

References
----------
.. [1] A. Levin, D. Lischinski, Y. Weiss, "Colorization using Optimization", ACM TOG 23(3), 2004.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy import sparse

    from evalkit.arrays import FloatArray
    from evalkit.hints.hint import HintMaps

__all__ = ["affinities", "propagate"]

VARIANCE_SHARE = 0.3
"""sigma_r^2 of eq. 2 as a share of the variance of L about r. The paper gives no number; with the whole variance a step
between two flat regions has weight exp(-9/4) and leaks, with this share exp(-7.5)."""
LEAST_VARIANCE = 1e-6
"""Floor of sigma_r^2, L in 0..1: in flat regions all neighbours count the same."""

_NEIGHBOURS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


def affinities(lightness: FloatArray) -> sparse.csr_matrix:
    """Weights of eq. 2, rows scaled to sum 1: ``w_rs ~ exp(-(Y(r) - Y(s))^2 / 2 sigma_r^2)``, s in the 3 x 3 about r.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.

    Returns
    -------
    scipy.sparse.csr_matrix, shape (H W, H W)
    """
    import numpy as np
    from scipy import sparse

    height, width = lightness.shape
    intensity = np.pad(lightness / 100.0, 1, constant_values=np.nan)
    window = np.stack([intensity[1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in (*_NEIGHBOURS, (0, 0))])
    spread = np.maximum(VARIANCE_SHARE * np.nanvar(window, axis=0), LEAST_VARIANCE)
    weights = np.exp(-((window[:-1] - window[-1]) ** 2) / (2 * spread))
    inside = ~np.isnan(weights)
    weights = np.where(inside, weights, 0.0)
    weights /= np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
    index = np.arange(height * width).reshape(height, width)
    rows = np.broadcast_to(index, weights.shape)[inside]
    columns = np.stack([index + i * width + j for i, j in _NEIGHBOURS])[inside]
    return sparse.csr_matrix((weights[inside], (rows, columns)), shape=(index.size, index.size))


def propagate(lightness: FloatArray, hints: HintMaps) -> FloatArray:
    """Colours that minimise eq. 1, ``J(U) = sum_r (U(r) - sum_s w_rs U(s))^2``, under the colours that are given.

    The sum runs over the pixels whose colour is not given. Its least value is then 0, where every such pixel has
    exactly the weighted mean of its neighbours: one sparse linear system, solved by factorisation.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.
    hints : HintMaps
        Given colours, shape (H, W).

    Returns
    -------
    ndarray of float64, shape (H, W, 2)
        ab, CIE Lab units. All zero where no colour is given at all; a pixel's ab lies in the convex hull of those given.

    Raises
    ------
    InputError
        If SciPy is not installed.
    """
    import numpy as np

    from evalkit.needs import need_scipy

    need_scipy("scribbles spread by optimisation")
    from scipy import sparse
    from scipy.sparse.linalg import splu

    ab = np.where(hints.mask[..., None], hints.ab, 0.0)
    given = hints.mask.ravel()
    if not given.any() or given.all():
        return ab
    weights = affinities(lightness)[~given]
    system = sparse.identity(int((~given).sum()), format="csc") - weights[:, ~given].tocsc()
    # The pattern is symmetric although the weights are not; symmetric mode keeps the factors sparse.
    factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    flat = ab.reshape(-1, 2)
    flat[~given] = factors.solve(weights[:, given] @ flat[given])
    return flat.reshape(ab.shape)
