"""Bootstrap replicates of many scores, from the stored terms alone.

Every metric is a function of sums over images, ``score(terms.sum(axis=0))``, so a resampled score is
``score(weights @ terms)``. One shared stream of image weights serves all metrics and all methods: the
replicates of two columns belong together draw by draw, and their differences are paired for free.

Sums are exact, hence independent of the order of images, the number of threads, the blocking, and which other
columns are computed beside them (`TermMatrix` says how).

References
----------
.. [1] Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies",
   Computer Methods and Programs in Biomedicine 83(1), 2006.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.wording import counted

__all__ = [
    "BLOCK_ELEMENTS",
    "FEW_IMAGES",
    "Column",
    "ScoreFunction",
    "TermMatrix",
    "as_floats",
    "checked_terms",
    "image_weights",
    "multinomial_weights",
    "on_exact_grid",
    "quietly",
    "random_bytes",
    "replicate_scores",
]

ScoreFunction = Callable[[FloatArray], FloatArray]
Column = tuple[npt.NDArray[Any], ScoreFunction]
"""Additive terms of one number, shape (n_images, k), and the score of their sums, (..., k) to (...)."""

POISSON_BYTE = np.repeat(np.arange(6, dtype=np.uint8), (94, 95, 46, 16, 4, 1))
"""Image weight for each value of a random byte: Poisson(1) in steps of 1/256.

Mean and variance are exactly 1, and standard errors depend on no more. The third central moment is 0.984 instead of
1, the total variation from Poisson(1) 0.006. Ratios of 100 skewed terms showed no difference from true Poisson
weights beyond the Monte Carlo error of a million replicates, in standard error or ends; nor did 16 bits change any.
"""
MAX_WEIGHT = int(POISSON_BYTE.max())
FEW_IMAGES = 100
"""Below it images are drawn as the ordinary bootstrap draws them, and scores have the jackknife's interval instead: it
covers better there (`evalkit.resampling.intervals.jackknife_interval`)."""
BLOCK_ELEMENTS = 2**21
"""Numbers in a block of weights, 16 MB as float64; results do not depend on it."""


def image_weights(
    n_images: int,
    n_replicates: int = 10_000,
    seed: int = 0,
    *,
    block_rows: int | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Bootstrap weights, one row a replicate: how often each image counts.

    Independent Poisson(1) weights stand for drawing images with replacement ([1]_; the total varies, which ratios do
    not notice). Row r is made of the same random bytes whatever the block size.

    Parameters
    ----------
    n_images, n_replicates : int
        Columns and rows in total, at least 1.
    seed : int
        Not negative. The same seed gives the same weights everywhere.
    block_rows : int, optional
        Rows a block; by default what keeps a float64 copy of the block at 16 MB.

    Yields
    ------
    ndarray of uint8, shape (rows, n_images)
        Weights 0 to 5. A row may be all zero (probability exp(-n_images)): no image drawn, all scores undefined.

    Raises
    ------
    InputError
        For counts below 1 or a negative seed.
    """
    for drawn in random_bytes(n_images, n_replicates, seed, stream=0, block_rows=block_rows):
        yield np.take(POISSON_BYTE, drawn)


def random_bytes(
    n_bytes: int, n_rows: int, seed: int, *, stream: int, block_rows: int | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Blocks of shape (rows, n_bytes) of one seeded stream, each row starting at a whole 64-bit word."""
    for name, count in (
        ("images", n_bytes),
        ("replicates", n_rows),
        ("rows per block", 1 if block_rows is None else block_rows),
    ):
        if count < 1:
            raise InputError(f"The number of {name} is {count}; at least 1 is needed.")
    if seed < 0:
        raise InputError(f"The seed is {seed}; a whole number of 0 or more is needed.")
    words = -(-n_bytes // 8)
    rows = block_rows or max(1, BLOCK_ELEMENTS // (8 * words))
    source = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream,)))
    for start in range(0, n_rows, rows):
        block = min(rows, n_rows - start)
        # Little-endian by name: the same weights on a big-endian machine.
        raw = np.asarray(source.random_raw(block * words)).astype("<u8", copy=False)
        yield raw.view(np.uint8).reshape(block, 8 * words)[:, :n_bytes]


def multinomial_weights(
    n_images: int, n_replicates: int, seed: int, block_rows: int
) -> Iterator[npt.NDArray[np.uint16]]:
    """Weights of the ordinary bootstrap, one row per replicate: n images drawn with replacement, so that each row sums to n.

    For few images, where the total of Poisson weights varies enough to widen intervals (by 2 % at 16 images, measured).

    Yields
    ------
    ndarray of uint16, shape (rows, n_images)
    """
    source = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(2,))))
    for start in range(0, n_replicates, block_rows):
        rows = min(block_rows, n_replicates - start)
        drawn = source.integers(n_images, size=(rows, n_images)) + n_images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n_images)
        yield counts.reshape(rows, n_images).astype(np.uint16)


class TermMatrix:
    """The terms of many columns side by side, each distinct term once, ready to be weighted and summed.

    Parameters
    ----------
    columns : iterable of (terms, score)
        Terms of shape (n_images, k), integer or float, finite; the score maps sums of shape (..., k) to
        (...). A generator keeps memory low where k is large: terms are read once, one column at a time.
    max_weight : int
        Largest weight of an image.

    Raises
    ------
    InputError
        When there is no column, or terms are not finite, not 2-D, or differ in their number of images.

    Notes
    -----
    Equal terms of different columns (the pixel counts that all methods share, classes no image has) are
    stored and summed once.

    Sums are exact. Terms are rounded to a power of two so coarse that every weighted sum is a whole number of
    steps below 2**53: then no addition rounds, in whatever order a BLAS adds. Integers are not changed while ten
    times the sum of their magnitudes stays below 2**53; means of floats over 10,000 images moved by 3e-13 of
    their size. Sums in float32 would take half the time, but move scores by up to 5e-7, on every machine
    differently.
    """

    def __init__(self, columns: Iterable[Column], max_weight: int = MAX_WEIGHT) -> None:
        distinct: dict[bytes, int] = {}
        self._scores: list[ScoreFunction] = []
        self._positions: list[npt.NDArray[np.intp]] = []
        self.n_images = 0
        for place, (terms, score) in enumerate(columns):
            checked = checked_terms(terms, f"column {place}", self.n_images or None)
            if place == 0:
                self.n_images = len(checked)
                distinct[np.ones(self.n_images).tobytes()] = 0  # sums to the total weight
            rows = np.ascontiguousarray(on_exact_grid(checked, max_weight).T)
            self._positions.append(np.array([distinct.setdefault(row.tobytes(), len(distinct)) for row in rows]))
            self._scores.append(score)
        if not self._scores:
            raise InputError("There is no column to resample; give at least one pair of terms and score.")
        self._terms = np.frombuffer(b"".join(distinct)).reshape(len(distinct), self.n_images).T

    @property
    def n_columns(self) -> int:
        """Number of scores."""
        return len(self._scores)

    @property
    def n_distinct_terms(self) -> int:
        """Number of terms that are summed, the total weight included."""
        return self._terms.shape[1]

    def scores(self, weights: npt.NDArray[Any]) -> FloatArray:
        """Scores under weighted images.

        Parameters
        ----------
        weights : ndarray, shape (rows, n_images)
            Whole numbers from 0 to 5 (others work, but their sums may round).

        Returns
        -------
        ndarray of float64, shape (rows, n_columns)
            NaN where a score is undefined, and in rows whose weights are all zero.
        """
        sums = np.asarray(weights, dtype=np.float64) @ self._terms
        scores = np.empty((len(weights), self.n_columns))
        for j, (positions, score) in enumerate(zip(self._positions, self._scores, strict=True)):
            scores[:, j] = quietly(score, np.take(sums, positions, axis=1))
        scores[sums[:, 0] == 0] = np.nan
        return scores


def replicate_scores(columns: Iterable[Column], n_replicates: int = 10_000, seed: int = 0) -> FloatArray:
    """Bootstrap replicates of many scores under one shared set of weights.

    The weights are those of `image_weights`, or for fewer than 100 images of `multinomial_weights`.

    Parameters
    ----------
    columns : iterable of (terms, score)
        As for `TermMatrix`.
    n_replicates : int
        Rows of the result.
    seed : int
        As for `image_weights`.

    Returns
    -------
    ndarray of float64, shape (n_replicates, n_columns)
        NaN where a score is undefined in a replicate.

    Raises
    ------
    InputError
        As for `TermMatrix` and `image_weights`.

    Examples
    --------
    >>> import numpy as np
    >>> def mean(sums):
    ...     return sums[..., 0] / sums[..., 1]
    >>> values = np.array([31.0, 28.5, 30.0, 26.5, 33.0, 29.0, 27.5, 30.5])
    >>> replicates = replicate_scores([(np.column_stack([values, np.ones(8)]), mean)], seed=1)
    >>> round(interval(values.mean(), replicates[:, 0]).std_error, 1)
    0.7
    """
    matrix = TermMatrix(columns, max_weight=max(MAX_WEIGHT, FEW_IMAGES))
    rows = max(1, BLOCK_ELEMENTS // max(matrix.n_images, matrix.n_distinct_terms))
    blocks: Iterable[npt.NDArray[Any]] = (
        multinomial_weights(matrix.n_images, n_replicates, seed, rows)
        # A single image is drawn for certain and would seem to have no error; Poisson weights leave it out at times.
        if 1 < matrix.n_images < FEW_IMAGES
        else image_weights(matrix.n_images, n_replicates, seed, block_rows=rows)
    )
    return np.concatenate([matrix.scores(weights) for weights in as_floats(blocks, rows, matrix.n_images)])


def as_floats(blocks: Iterable[npt.NDArray[Any]], rows: int, n_images: int) -> Iterator[FloatArray]:
    """Blocks as float64 in one reused buffer: fresh memory for each would cost as much as the sums."""
    buffer = np.empty((rows, n_images))
    for block in blocks:
        np.copyto(buffer[: len(block)], block)
        yield buffer[: len(block)]


def quietly(score: ScoreFunction, sums: FloatArray) -> FloatArray:
    """Scores without numpy's warnings: sums of 0 are normal where images are left out, and give NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return score(sums)


def checked_terms(terms: npt.NDArray[Any], name: str, n_images: int | None) -> npt.NDArray[Any]:
    """Terms as an array, shape (n_images, k), finite; `name` is what a sentence of refusal calls them."""
    terms = np.asarray(terms)
    if terms.ndim != 2 or not terms.size:
        raise InputError(f"The terms of {name} have shape {terms.shape}; (images, terms) is needed, each at least 1.")
    if n_images is not None and len(terms) != n_images:
        raise InputError(
            f"The terms of {name} have {counted(len(terms), 'image')}, those before it {n_images}; all need as many."
        )
    if not np.isfinite(terms).all():
        image, term = np.argwhere(~np.isfinite(terms))[0]
        raise InputError(f"Term {term} of image {image} in {name} is not finite; give a term and a count of 0 instead.")
    return terms


def on_exact_grid(terms: npt.NDArray[Any], max_weight: int, magnitude: FloatArray | None = None) -> FloatArray:
    """Terms rounded so that all sums with weights 0..max_weight are exact in float64; see `TermMatrix`."""
    values = terms.astype(np.float64)
    if magnitude is None:
        magnitude = np.abs(values).sum(axis=0)
    # frexp: bound < 2**exponent, so steps of 2**(exponent - 53) keep sums below 2**53 steps; the factor 2
    # covers the rounding of the terms and of the bound itself.
    exponent = np.frexp(2.0 * max_weight * magnitude)[1] - 53
    # Adding 0 turns -0 into 0, so that equal columns have equal bytes.
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent) + 0.0)
