"""The quantised ab plane: its classes, the class of a pixel, priors and rebalancing weights.

A preset is a set of class centres on a square grid together with the parameters that a paper uses with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.color.ab_bins import CELLS, ORIGIN
from evalkit.errors import InputError
from evalkit.text_formats import parse_json

__all__ = [
    "PRESETS",
    "SOFT_NEIGHBORS",
    "AbClasses",
    "Prior",
    "annealed_mean",
    "load_classes",
    "load_prior",
    "loss_weights",
    "preset",
    "rebalancing_weights",
    "smoothed_shares",
    "soft_encode",
]

from evalkit.arrays import FloatArray, IntArray
from evalkit.wording import counted, error_reason

# (a, first b, last b) of each grid row: facts of the published pts_in_hull.npy (Zhang, Isola, Efros 2016 release).
_ZHANG2016_ROWS = (
    (-90, 50, 90), (-80, 20, 90), (-70, 0, 90), (-60, -20, 90), (-50, -30, 100), (-40, -40, 100), (-30, -50, 100),
    (-20, -50, 100), (-10, -60, 100), (0, -70, 100), (10, -80, 90), (20, -80, 90), (30, -90, 90), (40, -100, 90),
    (50, -100, 80), (60, -110, 80), (70, -110, 80), (80, -110, 70), (90, -110, 70), (100, -90, 0),
)  # fmt: skip
# The rule is in `preset`; a test derives these rows from the gamut again.
_SEED2024_ROWS = (
    (-96, 48, 96), (-84, 12, 96), (-72, -12, 96), (-60, -24, 108), (-48, -36, 108), (-36, -48, 108),
    (-24, -60, 108), (-12, -72, 108), (0, -84, 108), (12, -84, 96), (24, -96, 96), (36, -108, 96),
    (48, -108, 84), (60, -120, 84), (72, -120, 84), (84, -120, 84), (96, -120, 72), (108, -84, -12),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AbClasses:
    """Class centres in the ab plane, with the parameters that go with them.

    Attributes
    ----------
    name : str
        Name in signatures.
    centers : ndarray of float64, shape (Q, 2)
        Class centres (a, b), CIE Lab units; a pixel's class is the nearest one.
    sigma : float
        Standard deviation of the Gaussian soft-encoding, ab units.
    smoothing_sigma : float
        Standard deviation of the Gaussian that smooths the prior (eq. 4), ab units: another parameter than `sigma`.
    rebalancing : float
        lambda, share of the uniform distribution mixed into the prior when training.
    temperature : float
        T of the annealed mean (eq. 5).
    """

    name: str
    centers: FloatArray = field(repr=False)
    sigma: float = 5.0
    smoothing_sigma: float = 5.0
    rebalancing: float = 0.5
    temperature: float = 0.38

    def __len__(self) -> int:
        return len(self.centers)

    def __reduce__(self) -> tuple[Callable[..., AbClasses], tuple[Any, ...]]:
        # Without the cells, a megabyte that whoever receives them has already or makes in milliseconds.
        if self.name in PRESETS and self is preset(self.name):
            return preset, (self.name,)
        return AbClasses, tuple(getattr(self, one.name) for one in fields(self))

    @property
    def neutral(self) -> int:
        """Index of the class nearest to (0, 0)."""
        return int(np.argmin((self.centers**2).sum(axis=1)))

    @cached_property
    def digest(self) -> str:
        """First 8 hexadecimal digits of the SHA-256 of the centres as little-endian float64, in order."""
        return hashlib.sha256(np.ascontiguousarray(self.centers, dtype="<f8").tobytes()).hexdigest()[:8]

    def nearest(self, ab: npt.ArrayLike) -> IntArray:
        """Class of each colour: the reference path, float64 distances to every centre.

        Parameters
        ----------
        ab : array_like, shape (..., 2)

        Returns
        -------
        ndarray of int64, shape (...)
            Index of the nearest centre, the lower one on a tie.
        """
        points = np.asarray(ab, dtype=np.float64)
        flat = points.reshape(-1, 2)
        nearest_class = np.empty(len(flat), np.int64)
        for start in range(0, len(flat), 4096):  # keeps the (points, Q) distances to a few megabytes
            part = flat[start : start + 4096]
            nearest_class[start : start + 4096] = ((part[:, None] - self.centers) ** 2).sum(axis=2).argmin(axis=1)
        return nearest_class.reshape(points.shape[:-1])

    @cached_property
    def cell_table(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Cells of one ab unit over [-128, 128)^2, for the fast path.

        Returns
        -------
        cells : ndarray of int32, shape (2 * 65536,)
            The class when the whole closed cell belongs to it, else -1. Then the same for a colour at the edge of the
            cell: the class when all nine cells around belong to it, else -1. (Every neutral pixel is at a corner.)
        candidates, offsets : ndarray of int32
            ``candidates[offsets[i]:offsets[i + 1]]`` are the classes that can be nearest somewhere in cell i.
        """
        middle = np.arange(CELLS) - ORIGIN + 0.5
        squared_a, squared_b = ((middle[:, None] - along) ** 2 for along in self.centers.T)
        places, candidates, counts = [], [], []
        for i in range(CELLS):
            squared = squared_a[i] + squared_b
            # No point of the cell is further than half a diagonal from its middle: neither bound moves by more.
            reach = (np.sqrt(squared.min(axis=1)) + np.sqrt(2.0) + 1e-9) ** 2
            j, c = np.divmod(np.flatnonzero(squared <= reach[:, None]), len(self))  # np.nonzero takes twice as long
            places.append(i * CELLS + j)
            candidates.append(c)
            counts.append(np.bincount(j, minlength=CELLS))
        place, candidate = np.concatenate(places), np.concatenate(candidates)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        a, b = middle[place // CELLS], middle[place % CELLS]
        center_a, center_b = self.centers[candidate].T
        # Voronoi regions are convex: a class that is nearest (ties included) at all four corners owns the cell.
        owns = np.ones(len(place), bool)
        for da in (-0.5, 0.5):
            for db in (-0.5, 0.5):
                own = (center_a - (a + da)) ** 2 + (center_b - (b + db)) ** 2
                owns &= np.minimum.reduceat(own, offsets[:-1])[place] >= own - 1e-9
        cells = np.full(CELLS * CELLS, -1, np.int32)
        # Backwards: of several owners the first is written last.
        cells[place[owns][::-1]] = candidate[owns][::-1]
        around = np.lib.stride_tricks.sliding_window_view(cells.reshape(CELLS, CELLS), (3, 3))
        at_edge = np.full((CELLS, CELLS), -1, np.int32)
        lowest = around.min(axis=(2, 3))
        at_edge[1:-1, 1:-1] = np.where(lowest == around.max(axis=(2, 3)), lowest, -1)
        return np.concatenate([cells, at_edge.ravel()]), candidate.astype(np.int32), offsets.astype(np.int32)


def _from_rows(rows: Sequence[tuple[int, int, int]], step: int) -> FloatArray:
    return np.array([(a, b) for a, first, last in rows for b in range(first, last + 1, step)], dtype=np.float64)


PRESETS = ("zhang2016", "seed2024")
"""Names accepted by `preset`."""


@cache
def preset(name: str) -> AbClasses:
    """Ab classes by name.

    ``zhang2016``
        The 313 published centres on a grid of 10 (Zhang, Isola and Efros, ECCV 2016).
    ``seed2024``
        The document that restates the system gives grid 12 and Q = 256, and no rule. Here: the 256 points of the
        grid-12 lattice that are nearest to the ab projection of the sRGB gamut (distance zero inside; ties by chroma,
        then a, then b), listed by a, then b.

    Raises
    ------
    InputError
        If the name is neither.
    """
    if name == "zhang2016":
        return AbClasses(
            name=name,
            centers=_from_rows(_ZHANG2016_ROWS, 10),
            sigma=5.0,
            smoothing_sigma=5.0,
            rebalancing=0.5,
            temperature=0.38,
        )
    if name == "seed2024":
        return AbClasses(
            name=name,
            centers=_from_rows(_SEED2024_ROWS, 12),
            sigma=6.0,
            smoothing_sigma=6.0,
            rebalancing=0.25,
            temperature=0.45,
        )
    raise InputError(f"unknown ab classes {name!r}; allowed: {', '.join(PRESETS)}, or a .npy file of shape (Q, 2)")


def load_classes(spec: str) -> AbClasses:
    """Ab classes from a preset's name or from a ``.npy`` file of centres.

    Raises
    ------
    InputError
        If the file cannot be read, has not the shape (Q, 2) with 2 <= Q <= 4096, or holds anything but finite,
        distinct points with |a|, |b| <= 128.
    """
    if spec in PRESETS:
        return preset(spec)
    path = Path(spec)
    if not path.is_file():
        return preset(spec)
    centers = _load_npy(path)
    if centers.ndim != 2 or centers.shape[1] != 2 or not 2 <= len(centers) <= 4096:
        raise InputError(
            f"{path}: class centres have shape {centers.shape}; allowed: (Q, 2) with 2 to 4096 rows of (a, b)"
        )
    if not np.all(np.isfinite(centers)) or np.abs(centers).max() > 128:
        raise InputError(f"{path}: class centres must be finite with |a| and |b| at most 128")
    if len(np.unique(centers, axis=0)) != len(centers):
        raise InputError(f"{path}: class centres must be distinct")
    for name in PRESETS:
        if np.array_equal(centers, preset(name).centers):
            return preset(name)
    classes = AbClasses(name="file", centers=centers)
    return AbClasses(name=f"file@{classes.digest}", centers=centers)


def _load_npy(path: Path) -> FloatArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error_reason(error)})") from None
    except (ValueError, EOFError):  # numpy takes whatever it does not know for pickled objects, and says so
        raise InputError(f"{path}: not a readable .npy file of numbers") from None


@dataclass(frozen=True)
class Prior:
    """Share of each ab class among the pixels of a photo set.

    Attributes
    ----------
    name : str
        Name in signatures, for example ``zhang2016@19d00659``.
    shares : ndarray of float64, shape (Q,)
        Non-negative, sums to 1.
    warnings : tuple of str
        What looks odd about it.
    """

    name: str
    shares: FloatArray = field(repr=False)
    warnings: tuple[str, ...] = ()


_KNOWN_PRIORS = {"19d00659c7d6f6ee47456fd2c19c86a073f7124875e3d5ab9d601864e062b56c": "zhang2016"}
_WRONG_PRIOR = "11b176270fc45dbb6b478e17028ba196be43e7b2909ecff12a97ec15f626c4a5"


def load_prior(path: Path, classes: AbClasses) -> Prior:
    """Class shares from a ``.npy`` file or from a file that ``evalkit prior`` wrote.

    Raises
    ------
    InputError
        If the file cannot be read, is the widely copied prior whose order does not match the centres, belongs to other
        classes, or holds anything but non-negative finite numbers with a positive sum.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such prior file; allowed: 'truth', or a file of {len(classes)} class shares")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest == _WRONG_PRIOR:
        raise InputError(
            f"{path}: this copy of prior_probs.npy (sha256 {digest[:8]}) is not in the order of the class centres: its "
            "largest class is (-90, 90); use the file of the paper's release (sha256 19d00659) or --prior truth"
        )
    if data[:1] == b"{":
        shares, owner = _read_counts(path, data)
        if owner != classes.digest:
            raise InputError(f"{path}: counted for other ab classes ({owner}) than {classes.name} ({classes.digest})")
    else:
        shares = _load_npy(path)
    if shares.shape != (len(classes),):
        raise InputError(
            f"{path}: holds {shares.size} class shares; {classes.name} has {counted(len(classes), 'class', 'classes')}"
        )
    if not np.all(np.isfinite(shares)) or shares.min() < 0 or shares.sum() <= 0:
        raise InputError(f"{path}: class shares must be finite, non-negative and not all zero")
    shares = shares / shares.sum()
    warnings: tuple[str, ...] = ()
    largest = int(shares.argmax())
    if largest != classes.neutral:
        a, b = classes.centers[largest]
        warnings = (
            f"the largest class of prior {path.name} is ({a:g}, {b:g}), not the neutral one: is its order that of the "
            "class centres? (small photo sets can have this by chance)",
        )
    return Prior(f"{_KNOWN_PRIORS.get(digest, 'file')}@{digest[:8]}", shares, warnings)


def _read_counts(path: Path, data: bytes) -> tuple[FloatArray, str]:
    try:
        record = parse_json(data)
        return np.asarray(record["counts"], dtype=np.float64), str(record["classes_digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a prior file of 'evalkit prior' ({error_reason(error)})") from None


def rebalancing_weights(shares: npt.ArrayLike, rebalancing: float = 0.0) -> FloatArray:
    """Class weights w = ((1 - lambda) p + lambda / Q)^-1, normalised so that sum p w = 1 (Zhang et al. 2016, eq. 4).

    Parameters
    ----------
    shares : array_like, shape (..., Q)
        Class shares p, non-negative; normalised here, so any scale gives the same weights.
    rebalancing : float
        lambda in [0, 1]; 0 for evaluation.

    Returns
    -------
    ndarray of float64, shape (..., Q)
        Weights; 0 for classes of share 0 when lambda is 0 (they carry no pixel of the set the shares come from).
    """
    p = np.asarray(shares, dtype=np.float64)
    p = p / p.sum(axis=-1, keepdims=True)
    mixed = (1.0 - rebalancing) * p + rebalancing / p.shape[-1]
    with np.errstate(divide="ignore"):
        weights = np.where(mixed > 0, 1.0 / mixed, 0.0)
    scale: FloatArray = weights / (p * weights).sum(axis=-1, keepdims=True)
    return scale


def smoothed_shares(shares: npt.ArrayLike, classes: AbClasses) -> FloatArray:
    """Class shares smoothed by a Gaussian in the ab plane: p tilde of Zhang et al. 2016, section 2.2.

    The mass of each class is spread over all classes in proportion to a Gaussian of `AbClasses.smoothing_sigma`, so
    the result sums to 1 and no class that a near colour could have stays at zero.

    Parameters
    ----------
    shares : array_like, shape (Q,)
        Class shares or counts, non-negative; normalised here.
    classes : AbClasses

    Returns
    -------
    ndarray of float64, shape (Q,)
    """
    p = np.asarray(shares, dtype=np.float64)
    squared = ((classes.centers[:, None] - classes.centers) ** 2).sum(axis=2)
    kernel = np.exp(-squared / (2.0 * classes.smoothing_sigma**2))
    smooth: FloatArray = (p / p.sum()) @ (kernel / kernel.sum(axis=1, keepdims=True))
    return smooth


def loss_weights(shares: npt.ArrayLike, classes: AbClasses, rebalancing: float | None = None) -> FloatArray:
    """Weight of each class in a rebalanced loss: eq. 4 of Zhang et al. 2016 on the smoothed shares of the photos.

    Parameters
    ----------
    shares : array_like, shape (Q,)
        Class shares or counts of the photos that are learnt from.
    classes : AbClasses
    rebalancing : float, optional
        lambda; that of the classes where not given. 1 weighs all classes alike.

    Returns
    -------
    ndarray of float64, shape (Q,)
        Weights whose mean over the smoothed shares is 1.
    """
    return rebalancing_weights(
        smoothed_shares(shares, classes), classes.rebalancing if rebalancing is None else rebalancing
    )


SOFT_NEIGHBORS = 10
"""Nearest centres that share a pixel in the soft-encoding: the number of the paper's code (its text says 5)."""


def soft_encode(ab: npt.ArrayLike, classes: AbClasses, n_neighbors: int = SOFT_NEIGHBORS) -> FloatArray:
    """Spread each colour over its nearest classes (Zhang et al. 2016, section 2.1): the plain reference.

    Each of the ``n_neighbors`` nearest centres gets a weight exp(-d^2 / (2 sigma^2)) by its distance d; the weights of
    a colour sum to 1.

    Parameters
    ----------
    ab : array_like, shape (..., 2)
        Colours, CIE Lab units.
    classes : AbClasses
    n_neighbors : int, default 10
        Of centres at the same distance the one listed first is nearer.

    Returns
    -------
    ndarray of float64, shape (..., Q)

    Examples
    --------
    >>> encoded = soft_encode([5.0, 0.0], preset("zhang2016"))  # half way between (0, 0) and (10, 0)
    >>> int((encoded > 0).sum()), np.round(np.sort(encoded)[-2:], 4).tolist()
    (10, [0.3872, 0.3872])
    """
    points = np.asarray(ab, dtype=np.float64)
    flat = points.reshape(-1, 2)
    encoded = np.zeros((len(flat), len(classes)))
    for start in range(0, len(flat), 4096):
        squared = ((flat[start : start + 4096, None] - classes.centers) ** 2).sum(axis=2)
        nearest = np.argsort(squared, axis=1, kind="stable")[:, :n_neighbors]
        distances = np.take_along_axis(squared, nearest, axis=1)
        # Relative to the nearest: the same shares, and a colour far outside does not underflow to 0 / 0.
        weights = np.exp((distances[:, :1] - distances) / (2.0 * classes.sigma**2))
        weights /= weights.sum(axis=1, keepdims=True)
        np.put_along_axis(encoded[start : start + 4096], nearest, weights, axis=1)
    return encoded.reshape(*points.shape[:-1], len(classes))


def annealed_mean(probabilities: npt.ArrayLike, classes: AbClasses, temperature: float | None = None) -> FloatArray:
    """Colour of a distribution over classes (Zhang et al. 2016, eq. 5): the plain reference.

    The distribution is sharpened to softmax(log z / T); its expectation is the colour. T = 1 is the mean; the limit
    T = 0 is the mode (the class listed first on a tie).

    Parameters
    ----------
    probabilities : array_like, shape (..., Q)
        z, non-negative with a positive sum; any scale.
    classes : AbClasses
    temperature : float, optional
        T >= 0; that of the classes where not given.

    Returns
    -------
    ndarray of float64, shape (..., 2)

    Raises
    ------
    InputError
        If T is negative or not finite.
    """
    t = classes.temperature if temperature is None else temperature
    if not 0 <= t < np.inf:
        raise InputError(f"the temperature is {t}; it must be 0 (the mode) or a positive number")
    z = np.asarray(probabilities, dtype=np.float64)
    if t == 0:
        mode: FloatArray = classes.centers[z.argmax(axis=-1)]
        return mode
    powered = (z / z.max(axis=-1, keepdims=True)) ** (1.0 / t)
    mean: FloatArray = (powered / powered.sum(axis=-1, keepdims=True)) @ classes.centers
    return mean
