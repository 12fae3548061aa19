"""Hints spread by likeness of texture: pixels are labelled first, then each label's lightnesses are mapped to colours.

Taken from the paper: the two stages, colour labelling and colour mapping; texture by a bank of Gabor filters; a map of
smoothness that says where likeness of intensity and where likeness of texture counts; labels by a graph cut that groups
pixels near and far; within a label a piecewise linear map from lightness to colour through the given pixels.

Left open by what is published, or not at hand as text, and decided here (so no equation numbers are given but those of
the filters): the paper's user groups strokes by hand and picks colours afterwards, here hints of nearly one colour make
a label and their own pixels are the map's; the form of the map of smoothness; the scale of each cost; the blending
across borders of labels; ab of CIE Lab in place of U and V.

References
----------
.. [1] Q. Luan, F. Wen, D. Cohen-Or, L. Liang, Y.-Q. Xu, H.-Y. Shum, "Natural Image Colorization", Eurographics
   Symposium on Rendering 2007.
.. [2] B. S. Manjunath, W. Y. Ma, "Texture Features for Browsing and Retrieval of Image Data", IEEE TPAMI 18(8), 1996:
   the bank of Gabor filters, eqs. 1 to 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, IntArray
    from evalkit.hints.hint import HintMaps


__all__ = ["colour_map", "gabor_textures", "group_hints", "propagate", "smoothness"]

N_SCALES, N_ORIENTATIONS = 4, 6
"""Of the bank of filters [2]."""
LOWEST, HIGHEST = 0.05, 0.4
"""Centre frequencies of its coarsest and finest filters, cycles per pixel [2]."""
TEXTURE_WINDOW = 4.0
"""Standard deviation of the Gaussian window in which responses are averaged, pixels."""
ONE_LABEL = 12.0
"""Hints whose colours are linked by steps of at most this make one label, CIE Lab units."""
SAMPLES_OF_LABEL = 60
"""Given pixels of each label that a pixel is compared with, evenly through them."""
SMOOTH_DEVIATION = 5.0
"""Local standard deviation of L at which a place counts half as smooth, L units."""
LIGHTNESS_SCALE = 10.0
"""Difference of L that counts as much as a texture one standard deviation away in each filter, L units."""
COHERENCE = 1.5
"""Cost of two neighbours of unlike label where L does not change, beside the data costs."""
EDGE = 4.0
"""Difference of L between neighbours at which that cost has fallen to exp(-1/2), L units."""
GIVEN = 16.0
"""Cost of contradicting a hint: more than all else can gain."""
BLEND = 1.5
"""Standard deviation of the blending of colours across borders of labels, pixels."""
MAX_PIXELS = 1 << 18
"""Larger photos are coloured at a reduced size."""


def gabor_textures(lightness: FloatArray) -> FloatArray:
    """Texture about each pixel: mean and deviation of the magnitude of 24 Gabor filters in a Gaussian window [2].

    The filters are used in the frequency domain ([2], eq. 2), ``G(u, v) = exp(-((u - W)^2 / s_u^2 + v^2 / s_v^2) / 2)``,
    turned and scaled (eq. 3) so that neighbours touch at half of their peaks.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.

    Returns
    -------
    ndarray of float64, shape (H, W, 48)
        Mean and deviation of each filter, finest scale first, then by direction; L units.
    """
    import numpy as np
    from scipy import fft
    from scipy.ndimage import gaussian_filter

    height, width = lightness.shape
    margin = min(32, height, width)
    padded = np.pad(lightness - lightness.mean(), margin, mode="symmetric")
    size = [fft.next_fast_len(n) for n in padded.shape]
    spectrum = fft.fft2(padded, s=size)
    v, u = fft.fftfreq(size[0])[:, None], fft.fftfreq(size[1])[None, :]
    ratio = (HIGHEST / LOWEST) ** (1 / (N_SCALES - 1))
    columns = []
    for scale in range(N_SCALES):
        centre = HIGHEST / ratio**scale
        s_u = (ratio - 1) * centre / ((ratio + 1) * math.sqrt(2 * math.log(2)))
        s_v = (
            math.tan(math.pi / (2 * N_ORIENTATIONS))
            * (centre - 2 * math.log(2) * s_u**2 / centre)
            / math.sqrt(2 * math.log(2) - (2 * math.log(2) * s_u / centre) ** 2)
        )
        for k in range(N_ORIENTATIONS):
            angle = math.pi * k / N_ORIENTATIONS
            along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
            response = np.exp(-(((along - centre) / s_u) ** 2 + (across / s_v) ** 2) / 2)
            magnitude = np.abs(fft.ifft2(spectrum * response))[: padded.shape[0], : padded.shape[1]]
            mean = gaussian_filter(magnitude, TEXTURE_WINDOW)
            variance = gaussian_filter(magnitude**2, TEXTURE_WINDOW) - mean**2
            columns += [mean, np.sqrt(np.maximum(variance, 0.0))]
    textures: FloatArray = np.stack(columns, axis=-1)[margin : margin + height, margin : margin + width]
    return textures


def smoothness(lightness: FloatArray) -> FloatArray:
    """Map of smoothness: 1 where L is constant about a pixel, 1/2 at a local deviation of ``SMOOTH_DEVIATION``."""
    from evalkit.colorizers.classical.welsh2002 import local_deviation

    smooth: FloatArray = 1 / (1 + (local_deviation(lightness) / SMOOTH_DEVIATION) ** 2)
    return smooth


def group_hints(ab: FloatArray) -> IntArray:
    """Labels of given pixels: hints whose colours are linked by steps of at most ``ONE_LABEL`` share one.

    Parameters
    ----------
    ab : ndarray of float64, shape (n, 2)
        Given colours.

    Returns
    -------
    ndarray of int64, shape (n,)
        0..K - 1.
    """
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage

    # Painted scribbles have many shades: cells of 2 units keep the number of colours small.
    colours, inverse = np.unique(np.rint(ab / 2) * 2, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    if len(colours) == 1:
        return np.zeros(len(ab), np.int64)
    groups = fcluster(linkage(colours, method="average"), ONE_LABEL, criterion="distance") - 1
    labels: IntArray = groups.astype(np.int64)[inverse]
    return labels


def colour_map(lightness: FloatArray, given_lightness: FloatArray, given_ab: FloatArray) -> FloatArray:
    """Piecewise linear map from L to ab through given pixels, constant outside them (colour mapping, [1]).

    Parameters
    ----------
    lightness : ndarray of float64, any shape
        L to be coloured.
    given_lightness : ndarray of float64, shape (n,)
    given_ab : ndarray of float64, shape (n, 2)
        The nodes are the mean colours of the given pixels in steps of 5 L.

    Returns
    -------
    ndarray of float64, shape of ``lightness`` and 2
    """
    import numpy as np

    _, step = np.unique(np.floor(given_lightness / 5), return_inverse=True)
    counts = np.bincount(step)
    nodes = np.bincount(step, given_lightness) / counts
    ab: FloatArray = np.stack(
        [np.interp(lightness, nodes, np.bincount(step, given_ab[:, k]) / counts) for k in (0, 1)], axis=-1
    )
    return ab


def propagate(lightness: FloatArray, hints: HintMaps) -> FloatArray:
    """Colours of a photo from hints: labelling by intensity and texture, then a map from L to ab for each label.

    The labelling minimises, by expansion moves over graph cuts,
    ``sum_p (S_p d_L(p, l_p) + (1 - S_p) d_T(p, l_p)) + sum_pq exp(-(L_p - L_q)^2 / 2 EDGE^2) COHERENCE [l_p != l_q]``:
    S is the map of smoothness, d_L and d_T are the differences of L and of texture to the nearest given pixel of the
    label.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.
    hints : HintMaps
        Given colours, shape (H, W).

    Returns
    -------
    ndarray of float64, shape (H, W, 2)
        ab, CIE Lab units. All zero where no colour is given at all; else in the convex hull of those given, which stay
        as they are.

    Raises
    ------
    InputError
        If SciPy is not installed.
    """
    import numpy as np

    from evalkit.needs import need_scipy

    need_scipy("hints spread by texture")

    given = np.where(hints.mask[..., None], hints.ab, 0.0)
    if not hints.mask.any() or hints.mask.all():
        return given
    rows, columns = np.nonzero(hints.mask)
    groups = group_hints(hints.ab[rows, columns])
    maps = [
        (lightness[rows, columns][groups == k], hints.ab[rows, columns][groups == k]) for k in range(groups.max() + 1)
    ]
    shares = _shares_of_labels(lightness, rows, columns, groups)
    ab = np.zeros((*lightness.shape, 2))
    for k, (given_lightness, given_ab) in enumerate(maps):
        ab += shares[..., k, None] * colour_map(lightness, given_lightness, given_ab)
    return np.where(hints.mask[..., None], hints.ab, ab)


def _shares_of_labels(lightness: FloatArray, rows: IntArray, columns: IntArray, groups: IntArray) -> FloatArray:
    """How far each pixel belongs to each label, shape (H, W, K), sum 1: one label inside, blended at borders."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from evalkit.colorizers.classical.graph_cut import alpha_expansion
    from evalkit.colorizers.classical.reduction import resized

    height, width = lightness.shape
    n_labels = int(groups.max()) + 1
    if n_labels == 1:
        return np.ones((height, width, 1))
    scale = min(1.0, math.sqrt(MAX_PIXELS / (height * width)))
    small = lightness
    if scale < 1:
        small = resized(lightness, max(1, int(height * scale)), max(1, int(width * scale)))
        rows = np.minimum((rows * small.shape[0]) // height, small.shape[0] - 1)
        columns = np.minimum((columns * small.shape[1]) // width, small.shape[1] - 1)
    costs = _data_costs(small, rows, columns, groups)
    potts = COHERENCE * (1 - np.eye(n_labels))
    right = np.exp(-((small[:, 1:] - small[:, :-1]) ** 2) / (2 * EDGE**2))
    below = np.exp(-((small[1:] - small[:-1]) ** 2) / (2 * EDGE**2))
    labels = alpha_expansion(costs, potts, right, below)
    shares = np.stack([gaussian_filter((labels == k).astype(np.float64), BLEND) for k in range(n_labels)], axis=-1)
    if scale < 1:
        shares = np.stack([resized(shares[..., k], height, width) for k in range(n_labels)], axis=-1)
    normalised: FloatArray = shares / shares.sum(axis=-1, keepdims=True)
    return normalised


def _data_costs(lightness: FloatArray, rows: IntArray, columns: IntArray, groups: IntArray) -> FloatArray:
    """Cost of each label at each pixel, shape (H, W, K)."""
    import numpy as np

    responses = gabor_textures(lightness).reshape(lightness.size, -1)
    spread = responses.std(axis=0)
    # Each column with mean 0 and deviation 1 over the photo, but where it is the same everywhere and holds rounding.
    standardised = (responses - responses.mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf)
    textures = (standardised / math.sqrt(spread.size)).astype(np.float32)  # distances per filter
    lengths = (textures**2).sum(axis=1)
    flat = lightness.ravel()
    smooth = smoothness(lightness).ravel()
    at = rows * lightness.shape[1] + columns
    costs = np.empty((lightness.size, int(groups.max()) + 1))
    for k in range(costs.shape[1]):
        pixels = at[groups == k]
        pixels = pixels[np.linspace(0, pixels.size - 1, min(pixels.size, SAMPLES_OF_LABEL)).astype(np.int64)]
        # |t - s|^2 by parts; rounding can leave it a hair below zero.
        nearness = (lengths[pixels] - 2 * textures @ textures[pixels].T).min(axis=1)
        texture = np.maximum(lengths + nearness, 0.0)
        sorted_lightness = np.sort(flat[pixels])
        above = np.searchsorted(sorted_lightness, flat).clip(0, pixels.size - 1)
        nearest = np.minimum(
            np.abs(flat - sorted_lightness[above]), np.abs(flat - sorted_lightness[np.maximum(above - 1, 0)])
        )
        costs[:, k] = smooth * nearest / LIGHTNESS_SCALE + (1 - smooth) * np.sqrt(texture)
    for k in range(costs.shape[1]):
        costs[at[groups != k], k] = GIVEN
        costs[at[groups == k], k] = 0.0
    return costs.reshape(*lightness.shape, -1)
