"""The anchors of every table: the truth itself, no colour at all, and the colours of a random other photo.

Each keeps the L of the input and returns what an 8-bit file would hold, since rounding to 8 bits alone moves
the random anchor by a point of AuC.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 3.1 ("Gray",
   "Random").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.color.row_parts import row_parts
from evalkit.colorizers.base import BUILTIN_METHODS, BuiltinMethod
from evalkit.errors import InputError
from evalkit.wording import unknown_name

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8

__all__ = ["Gray", "Random", "Truth", "builtin", "random_donors"]


def builtin(name: str, names: Sequence[str], seed: int = 0) -> BuiltinMethod:
    """Make a built-in method for a set of images.

    Parameters
    ----------
    name : {"truth", "gray", "random"}
        Which method.
    names : sequence of str
        Names of all images of the set; the method addresses them by index.
    seed : int, default 0
        Which of the random assignments of donors. Only ``random`` reads it.

    Returns
    -------
    BuiltinMethod

    Raises
    ------
    InputError
        If the name is unknown, or ``random`` gets fewer than two images.

    Examples
    --------
    >>> method = builtin("random", ["bird", "boat", "cat"], seed=1)
    >>> sorted(method.donor(i) for i in range(3))
    [0, 1, 2]
    """
    makers: dict[str, Callable[[], BuiltinMethod]] = {
        "truth": Truth,
        "gray": Gray,
        "random": lambda: Random(random_donors(names, seed)),
    }
    if name not in makers:
        raise InputError(unknown_name("built-in method", name, BUILTIN_METHODS))
    return makers[name]()


@dataclass(frozen=True)
class Truth:
    """The true photo, unchanged: the upper anchor."""

    name = "truth"

    def donor(self, i: int) -> int | None:
        """No other image."""
        return None

    def colorize(self, truth_rgb8: Rgb8, donor_rgb8: Rgb8 | None) -> tuple[Rgb8, int]:
        """Return the photo itself; nothing is clipped."""
        return truth_rgb8, 0


@dataclass(frozen=True)
class Gray:
    """L kept, ab zero: what a method that predicts nothing scores."""

    name = "gray"

    def donor(self, i: int) -> int | None:
        """No other image."""
        return None

    def colorize(self, truth_rgb8: Rgb8, donor_rgb8: Rgb8 | None) -> tuple[Rgb8, int]:
        """Set a and b to zero."""
        import numpy as np

        from evalkit.color.colorspace import lab_planes
        from evalkit.color.lab_join import join_lab

        gray = np.empty(truth_rgb8.shape, np.uint8)
        n_clipped = 0
        for rows in row_parts(truth_rgb8):
            lightness = lab_planes(truth_rgb8[rows])[0]
            zero = np.zeros_like(lightness)
            flat, n_of_part = join_lab(lightness, zero, zero)
            gray[rows] = flat.reshape(gray[rows].shape)
            n_clipped += n_of_part
        return gray, n_clipped


@dataclass(frozen=True)
class Random:
    """L kept, ab of another photo of the set: natural colours in the wrong places.

    Parameters
    ----------
    donors : tuple of int
        Index of the other photo, for each photo (`random_donors`).
    """

    donors: tuple[int, ...]
    name = "random"

    def donor(self, i: int) -> int | None:
        """Index of the photo whose colours image ``i`` gets; never ``i``."""
        return self.donors[i]

    def colorize(self, truth_rgb8: Rgb8, donor_rgb8: Rgb8 | None) -> tuple[Rgb8, int]:
        """Join the photo's L with the donor's ab; a donor of another size is resized first (bicubic, RGB)."""
        import numpy as np

        from evalkit.color.colorspace import lab_planes
        from evalkit.color.lab_join import join_lab

        if donor_rgb8 is None:
            raise TypeError("the random method needs the photo that donor(i) names, not None")
        donor = _resized(donor_rgb8, truth_rgb8.shape[0], truth_rgb8.shape[1])
        joined = np.empty(truth_rgb8.shape, np.uint8)
        n_clipped = 0
        for rows in row_parts(truth_rgb8):
            _, a, b = lab_planes(donor[rows])
            flat, n_of_part = join_lab(lab_planes(truth_rgb8[rows])[0], a, b)
            joined[rows] = flat.reshape(joined[rows].shape)
            n_clipped += n_of_part
        return joined, n_clipped


def random_donors(names: Sequence[str], seed: int) -> tuple[int, ...]:
    """For each image the index of another one: a seeded random permutation without fixed points.

    The images stand in a circle, in the order of a keyed hash of their names, and each takes the colours of
    the next: a uniformly random cyclic permutation. It depends on the set of names and the seed alone, not on
    their order or on any library's random numbers, and one image more changes the donor of one other only.

    Parameters
    ----------
    names : sequence of str
        Distinct names, at least two.
    seed : int
        Any integer.

    Returns
    -------
    tuple of int
        ``donors[i] != i``, each index once.

    Raises
    ------
    InputError
        If there are fewer than two images, or a name comes twice.
    """
    if len(names) < 2:
        raise InputError(f"the random method takes another image's colours: it needs 2 images, not {len(names)}.")
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise InputError(f"image '{twice}' comes twice; each image of a set needs a name of its own.")
    circle = sorted(range(len(names)), key=lambda i: _keyed_hash(names[i], seed))
    donors = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    return tuple(donors[i] for i in range(len(names)))


def _keyed_hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()


def _resized(rgb8: Rgb8, height: int, width: int) -> Rgb8:
    """Pillow's bicubic filter on 8-bit RGB, as a researcher would prepare the donor; unchanged if it fits."""
    if rgb8.shape[:2] == (height, width):
        return rgb8
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(rgb8).resize((width, height), Image.Resampling.BICUBIC))
