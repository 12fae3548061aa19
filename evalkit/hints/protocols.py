"""Where hints are put on a true photo, without a person: random, grid, regions, zhang2017.

Every photo has random numbers of its own, keyed by seed and name: its hints do not depend on which other photos are in
the folder. The first k hints of a run with more are those of a run with k, except on a grid and in `zhang2017`, which
draws the number itself.

References
----------
.. [1] R. Zhang, J.-Y. Zhu, P. Isola, X. Geng, A. S. Lin, T. Yu, A. A. Efros, "Real-Time User-Guided Image Colorization
   with Learned Deep Priors", ACM TOG 36(4), 2017, section 3.2 ("Local Hints Network").
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.errors import InputError
from evalkit.hints.hint import Hint, patch_slices

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray

__all__ = ["PROTOCOLS", "HintRecipe", "draw_hints"]

PROTOCOLS = {
    "random": "the given number of places, anywhere with equal chance",
    "grid": "the given number of places, as even a lattice as the photo's shape allows",
    "regions": "the middle of the largest regions of nearly one colour, largest first",
    "zhang2017": "as the user-guided network was trained: number, place and size drawn for each photo",
}
"""Name and one line of every protocol."""

GEOMETRIC_P = 1 / 8
"""Zhang et al. (2017): the number of hints is geometric with this p; 0 is the first number."""
LARGEST_PATCH = 9
"""Zhang et al. (2017): the side of a patch is uniform over 1 ... 9 pixels."""
REGION_STEP = 10.0
"""Width in ab of the cells in which `regions` counts two neighbouring pixels as one colour, CIE Lab units."""


@dataclass(frozen=True, kw_only=True)
class HintRecipe:
    """How hints are drawn.

    Attributes
    ----------
    protocol : str
        One of `PROTOCOLS`.
    count : int, optional
        Hints of each photo; None for `zhang2017`, which draws it.
    side : int, optional
        Side of a patch, pixels; None for `zhang2017`, which draws it.
    seed : int
        Which of the random places; `grid` and `regions` do not read it.
    """

    protocol: str = "random"
    count: int | None = 10
    side: int | None = 7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InputError(f"'{self.protocol}' is no protocol of hints; allowed are {', '.join(PROTOCOLS)}")
        drawn = self.protocol == "zhang2017"
        if drawn and (self.count is not None or self.side is not None):
            raise InputError("the protocol zhang2017 draws number and side of the patches itself: leave out both")
        if not drawn and (self.count is None or self.side is None):
            raise InputError(f"the protocol {self.protocol} needs a number of hints and the side of a patch")
        if self.count is not None and self.count < 0:
            raise InputError(f"the number of hints is {self.count}; it must be at least 0")
        if self.side is not None and self.side < 1:
            raise InputError(f"the side of a patch is {self.side} pixels; it must be at least 1")


def draw_hints(ab: FloatArray, name: str, recipe: HintRecipe) -> list[Hint]:
    """Hints of one photo; each has the mean true colour of its patch.

    Parameters
    ----------
    ab : ndarray of float64, shape (H, W, 2)
        True colours, CIE Lab units.
    name : str
        Name of the photo: the key of its random numbers.
    recipe : HintRecipe

    Returns
    -------
    list of Hint
        `recipe.count` of them; fewer for `regions` if the photo has fewer regions.
    """
    import numpy as np

    height, width = ab.shape[:2]
    key = hashlib.sha256(f"{recipe.seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
    random = np.random.default_rng(int.from_bytes(key[:16], "big"))
    places: list[tuple[int, int, int]] = []
    if recipe.count is None or recipe.side is None:
        for _ in range(int(random.geometric(GEOMETRIC_P)) - 1):
            # N((H, W) / 2, diag((H / 4)^2, (W / 4)^2)), held inside the photo.
            row, column = random.normal((height / 2, width / 2), (height / 4, width / 4))
            side = int(random.integers(1, LARGEST_PATCH + 1))
            places.append((int(np.clip(row, 0, height - 1)), int(np.clip(column, 0, width - 1)), side))
    elif recipe.protocol == "random":
        drawn = random.random((recipe.count, 2)) * (height, width)
        places = [(int(row), int(column), recipe.side) for row, column in drawn]
    elif recipe.protocol == "grid":
        places = [(row, column, recipe.side) for row, column in _lattice(recipe.count, height, width)]
    else:
        places = [(row, column, recipe.side) for row, column in _largest_regions(ab, recipe.count)]
    return [_hint(ab, *place) for place in places]


def _hint(ab: FloatArray, row: int, column: int, side: int) -> Hint:
    a, b = ab[patch_slices(row, column, side)].mean(axis=(0, 1))
    return Hint(row=row, column=column, side=side, a=float(a), b=float(b))


def _lattice(count: int, height: int, width: int) -> list[tuple[int, int]]:
    """So many rows that cells are nearly square; the hints are spread over the rows as evenly as they go."""
    if count == 0:
        return []
    n_rows = min(count, max(1, round(math.sqrt(count * height / width))))
    places = []
    for i in range(n_rows):
        n_columns = count * (i + 1) // n_rows - count * i // n_rows
        row = (2 * i + 1) * height // (2 * n_rows)
        places += [(row, (2 * j + 1) * width // (2 * n_columns)) for j in range(n_columns)]
    return places


def _largest_regions(ab: FloatArray, count: int) -> list[tuple[int, int]]:
    """The pixel farthest from the edge of each of the largest regions; ties go to the first in reading order."""
    import numpy as np

    from evalkit.needs import need_scipy

    need_scipy("hints in the largest regions")
    from scipy import ndimage

    cells = np.floor(ab / REGION_STEP + 0.5).astype(np.int64)
    colour = np.unique(cells.reshape(-1, 2), axis=0, return_inverse=True)[1].reshape(ab.shape[:2])
    labels = np.zeros(colour.shape, np.int64)
    n_regions = 0
    for value in range(int(colour.max()) + 1):
        pieces, n_pieces = ndimage.label(colour == value)
        labels = np.where(pieces > 0, pieces + n_regions, labels)
        n_regions += n_pieces
    sizes = np.bincount(labels.ravel())
    largest = sorted(range(1, n_regions + 1), key=lambda region: (-sizes[region], region))[:count]
    places = []
    for region in largest:
        # Padded, so that the photo's own edge counts as an edge of the region.
        depth = ndimage.distance_transform_edt(np.pad(labels == region, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        places.append((int(row), int(column)))
    return places
