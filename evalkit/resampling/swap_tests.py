"""Do two methods differ on these images? Tests that swap their labels image by image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.resampling.replicates import (
    BLOCK_ELEMENTS,
    ScoreFunction,
    as_floats,
    checked_terms,
    on_exact_grid,
    quietly,
    random_bytes,
)

__all__ = ["SwapTest", "sign_flip_test", "sign_flip_tests"]


@dataclass(frozen=True)
class SwapTest:
    """Result of `sign_flip_test`.

    Attributes
    ----------
    difference : float
        Score of *a* minus score of *b* as observed.
    p_value : float
        Two-sided, in (0, 1], never zero; NaN where the difference is undefined.
    n_draws : int
        Random swaps behind it.
    """

    difference: float
    p_value: float
    n_draws: int


def sign_flip_test(
    a_terms: npt.NDArray[Any],
    b_terms: npt.NDArray[Any],
    score: ScoreFunction,
    n_draws: int = 10_000,
    seed: int = 0,
) -> SwapTest:
    """Do two methods differ? Swap their labels image by image and score again.

    If the methods were exchangeable on every image, any pattern of swaps would be as likely as the observed
    one. For a plain mean this is the sign-flip test of the per-image differences.

    Parameters
    ----------
    a_terms, b_terms : ndarray, shape (n_images, k)
        Terms of the two methods on the same images, in the same order.
    score : callable
        Sums of shape (..., k) to scores of shape (...).
    n_draws : int
        Random swap patterns.
    seed : int
        Not negative.

    Returns
    -------
    SwapTest
        ``p = (1 + number of draws at least as far from 0 as observed) / (1 + n_draws)``: the observed pattern
        is one of the possible ones, so p is never zero. Ties are exact, because sums are. A draw with an
        undefined score counts as far.

    Raises
    ------
    InputError
        As for `TermMatrix`; also when the two shapes differ.
    """
    return sign_flip_tests([(a_terms, b_terms, score)], n_draws, seed)[0]


def sign_flip_tests(
    pairs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any], ScoreFunction]],
    n_draws: int = 10_000,
    seed: int = 0,
) -> list[SwapTest]:
    """Run `sign_flip_test` on many pairs under one shared set of swaps; the p-values are the same.

    Parameters
    ----------
    pairs : iterable of (a_terms, b_terms, score)
        All on the same images.
    n_draws, seed
        As for `sign_flip_test`.

    Returns
    -------
    list of SwapTest
        One a pair, in order.
    """
    totals: list[tuple[FloatArray, FloatArray, ScoreFunction]] = []
    deltas: list[FloatArray] = []
    n_images: int | None = None
    for place, (a_terms, b_terms, score) in enumerate(pairs):
        a = checked_terms(a_terms, f"the first method of pair {place}", n_images)
        b = checked_terms(b_terms, f"the second method of pair {place}", len(a))
        if a.shape != b.shape:
            raise InputError(f"The two methods of pair {place} have {a.shape[1]} and {b.shape[1]} terms per image.")
        n_images = len(a)
        # One grid for both: then differences and their sums are exact too.
        magnitude = np.abs(a.astype(np.float64)).sum(axis=0) + np.abs(b.astype(np.float64)).sum(axis=0)
        a, b = on_exact_grid(a, 1, magnitude), on_exact_grid(b, 1, magnitude)
        totals.append((a.sum(axis=0), b.sum(axis=0), score))
        deltas.append(a - b)
    if n_images is None:
        raise InputError("There is no pair to test; give at least one.")
    stacked = np.concatenate(deltas, axis=1)
    ends = np.cumsum([delta.shape[1] for delta in deltas])[:-1]
    observed = [float(quietly(score, a)) - float(quietly(score, b)) for a, b, score in totals]
    counts = [0] * len(totals)
    rows = max(1, BLOCK_ELEMENTS // max(n_images, stacked.shape[1]))
    blocks = random_bytes(-(-n_images // 8), n_draws, seed, stream=1, block_rows=rows)
    bits = (np.unpackbits(block, axis=1, count=n_images) for block in blocks)
    for kept in as_floats(bits, rows, n_images):
        for j, moved in enumerate(np.split(kept @ stacked, ends, axis=1)):
            a, b, score = totals[j]
            drawn = np.abs(quietly(score, b + moved) - quietly(score, a - moved))
            counts[j] += int(np.count_nonzero(~(drawn < abs(observed[j]))))
    return [
        SwapTest(difference, math.nan if math.isnan(difference) else (1 + count) / (1 + n_draws), n_draws)
        for difference, count in zip(observed, counts, strict=True)
    ]
