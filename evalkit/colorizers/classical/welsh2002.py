"""Colours of an example photo, moved pixel by pixel to where lightness and texture match.

Where it differs from the paper: the space is CIE Lab (the paper: l alpha beta), so that the photo's own L is kept as
everywhere in this project; the paper leaves the exact form of the "weighted average" of the two differences open, here
it is the weighted sum of their absolute values.

References
----------
.. [1] T. Welsh, M. Ashikhmin, K. Mueller, "Transferring Color to Greyscale Images", ACM TOG 21(3), 2002, sections 3.1
   (global matching) and 3.2 (swatches).
.. [2] A. Hertzmann et al., "Image Analogies", SIGGRAPH 2001, section 3.4: the luminance remapping that [1] uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.errors import InputError

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, IntArray

__all__ = ["Swatch", "jittered_sample", "local_deviation", "remap_lightness", "transfer", "transfer_swatches"]

N_SAMPLES = 200
"""Section 3.1: about 200 samples of the example suffice."""
N_SWATCH_SAMPLES = 50
"""Section 3.2: about 50 samples for each swatch."""
NEIGHBOURHOOD = 5
"""Section 3.1: side of the neighbourhood whose standard deviation is compared, pixels."""
WEIGHT = 0.5
"""Section 3.1: share of lightness in the match; the rest is the standard deviation's."""
_ROWS_AT_ONCE = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Swatch:
    """A rectangle of the photo and the rectangle of the example whose colours it gets.

    Attributes
    ----------
    target, example : tuple of int
        Top, left, height, width; pixels.
    """

    target: tuple[int, int, int, int]
    example: tuple[int, int, int, int]


def remap_lightness(example: FloatArray, target: FloatArray) -> FloatArray:
    """The example's L with mean and standard deviation of the target's [2].

    ``Y(p) = (sigma_B / sigma_A) (Y_A(p) - mu_A) + mu_B``; a flat example keeps no deviation.

    Parameters
    ----------
    example, target : ndarray of float64
        L, 0..100, any shapes.

    Returns
    -------
    ndarray of float64, shape of ``example``
    """
    spread = float(example.std())
    scale = float(target.std()) / spread if spread > 1e-9 else 0.0
    remapped: FloatArray = scale * (example - example.mean()) + target.mean()
    return remapped


def local_deviation(lightness: FloatArray, side: int = NEIGHBOURHOOD) -> FloatArray:
    """Standard deviation of L in the square about each pixel, the photo mirrored at its edges: shape (H, W) to (H, W)."""
    import numpy as np

    margin = side // 2
    centred = lightness - lightness.mean()  # so that squares lose no digits
    padded = np.pad(centred, margin, mode="symmetric")

    def box_mean(values: FloatArray) -> FloatArray:
        sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        total: FloatArray = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        return total / side**2

    variance = box_mean(padded**2) - box_mean(padded) ** 2
    deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def jittered_sample(height: int, width: int, count: int, seed: int) -> IntArray:
    """One random pixel in each cell of a lattice of about ``count`` nearly square cells (jittered sampling).

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Rows and columns; every pixel where the image has no more than ``count``.
    """
    import numpy as np

    if height * width <= count:
        every: IntArray = np.argwhere(np.ones((height, width), np.bool_))
        return every
    n_rows = min(height, max(1, round(math.sqrt(count * height / width))))
    n_columns = min(width, max(1, round(count / n_rows)))
    random = np.random.default_rng(abs(seed))
    # Whole pixels to each cell, so that no pixel is drawn twice.
    edges = [-(-np.arange(n + 1) * size // n) for n, size in ((n_rows, height), (n_columns, width))]
    first = np.stack(np.meshgrid(edges[0][:-1], edges[1][:-1], indexing="ij"), axis=-1)
    extent = np.stack(np.meshgrid(np.diff(edges[0]), np.diff(edges[1]), indexing="ij"), axis=-1)
    places = first + np.floor(random.random((n_rows, n_columns, 2)) * extent)
    drawn: IntArray = places.reshape(-1, 2).astype(np.int64)
    return drawn


def transfer(lightness: FloatArray, example: FloatArray, *, seed: int = 0, n_samples: int = N_SAMPLES) -> FloatArray:
    """Global matching, section 3.1: each pixel gets the ab of the sample that is nearest in L and local deviation.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L of the photo, 0..100.
    example : ndarray of float64, shape (H', W', 3)
        CIE Lab of the example.
    seed : int
        Of the jittered samples.
    n_samples : int
        About how many.

    Returns
    -------
    ndarray of float64, shape (H, W, 2)
        ab, CIE Lab units: colours that the example has, and no others.
    """
    import numpy as np

    remapped = remap_lightness(example[..., 0], lightness)
    rows, columns = jittered_sample(remapped.shape[0], remapped.shape[1], n_samples, seed).T
    sampled = np.stack([remapped[rows, columns], local_deviation(remapped)[rows, columns]], axis=-1)
    wanted = np.stack([lightness, local_deviation(lightness)], axis=-1).reshape(-1, 2)
    chosen = _nearest(wanted, sampled)
    ab: FloatArray = example[rows, columns, 1:][chosen].reshape(*lightness.shape, 2)
    return ab


def _nearest(wanted: FloatArray, sampled: FloatArray) -> IntArray:
    import numpy as np

    parts = []
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = wanted[start : start + _ROWS_AT_ONCE]
        distance = WEIGHT * np.abs(part[:, :1] - sampled[:, 0])
        distance += (1 - WEIGHT) * np.abs(part[:, 1:] - sampled[:, 1])
        parts.append(distance.argmin(axis=1))
    return np.concatenate(parts)


def transfer_swatches(
    lightness: FloatArray, example: FloatArray, swatches: Sequence[Swatch], *, seed: int = 0
) -> FloatArray:
    """Swatches, section 3.2: global matching inside each pair, then texture matching from the coloured swatches outward.

    Outside the swatches each pixel gets the ab of the sample, among about 50 in each coloured swatch of the photo
    itself, whose neighbourhood is nearest: ``E(N_g, N_s) = sum_p (I(p) - S(p))^2`` over 5 x 5 pixels of L.

    Parameters
    ----------
    lightness, example, seed
        As for `transfer`.
    swatches : sequence of Swatch

    Returns
    -------
    ndarray of float64, shape (H, W, 2)
        ab, CIE Lab units.

    Raises
    ------
    InputError
        If there is no swatch, or one lies partly outside its image.
    """
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    if not swatches:
        raise InputError("there is no swatch; give at least one pair of rectangles")
    for swatch in swatches:
        for what, (top, left, height, width), image in (
            ("photo", swatch.target, lightness),
            ("example", swatch.example, example),
        ):
            fits = min(top, left) >= 0 and min(height, width) >= 1
            if not fits or top + height > image.shape[0] or left + width > image.shape[1]:
                raise InputError(
                    f"the swatch {top},{left},{height},{width} (top, left, height, width) does not lie in the {what} of "
                    f"{image.shape[1]} x {image.shape[0]} pixels"
                )
    ab = np.zeros((*lightness.shape, 2))
    inside = np.zeros(lightness.shape, np.bool_)
    places = []
    for k, swatch in enumerate(swatches):
        box, lent = _slices(swatch.target), _slices(swatch.example)
        ab[box] = transfer(lightness[box], example[lent], seed=seed + k, n_samples=N_SWATCH_SAMPLES)
        inside[box] = True
        corner = np.array(swatch.target[:2])
        places.append(corner + jittered_sample(swatch.target[2], swatch.target[3], N_SWATCH_SAMPLES, seed + k))
    rows, columns = np.concatenate(places).T
    margin = NEIGHBOURHOOD // 2
    padded = np.pad(lightness, margin, mode="symmetric")
    windows = sliding_window_view(padded, (NEIGHBOURHOOD, NEIGHBOURHOOD)).reshape(*lightness.shape, -1)
    samples = windows[rows, columns]
    wanted = windows[~inside]
    chosen = []
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = wanted[start : start + _ROWS_AT_ONCE]
        # |g - s|^2 without the term of g alone, which moves no minimum.
        chosen.append(((samples**2).sum(axis=1) - 2 * part @ samples.T).argmin(axis=1))
    if chosen:
        ab[~inside] = ab[rows, columns][np.concatenate(chosen)]
    return ab


def _slices(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, left, height, width = box
    return slice(top, top + height), slice(left, left + width)
