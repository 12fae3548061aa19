"""The ranks that methods can have, from the pairs that are told apart."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.statistics import rank_ranges as module
from analysis.statistics.rank_ranges import rank_ranges


def better(k: int, *pairs: tuple[int, int]) -> np.ndarray:
    claims = np.zeros((k, k), dtype=bool)
    for first, second in pairs:
        claims[first, second] = True
    return claims


def test_the_example_of_a_like_b_like_c_but_a_above_c() -> None:
    assert doctest.testmod(module) == (0, 1)


@pytest.mark.parametrize(
    ("claims", "ranges"),
    [
        (better(3), [[1, 3], [1, 3], [1, 3]]),
        (better(3, (0, 1), (0, 2), (1, 2)), [[1, 1], [2, 2], [3, 3]]),
        (better(4, (0, 1), (0, 2), (0, 3)), [[1, 1], [2, 4], [2, 4], [2, 4]]),
        # 0 above 1 and 2, these above 3: no test of 0 with 3 is needed, they have no rank in common either way.
        (better(4, (0, 1), (0, 2), (1, 3), (2, 3)), [[1, 1], [2, 3], [2, 3], [4, 4]]),
        # Three claims in a circle contradict each other: none of them counts.
        (better(3, (0, 1), (1, 2), (2, 0)), [[1, 3], [1, 3], [1, 3]]),
    ],
)
def test_ranks_of_small_tables(claims: np.ndarray, ranges: list[list[int]]) -> None:
    assert rank_ranges(claims).tolist() == ranges


@given(arrays.arrays(bool, st.integers(1, 6).map(lambda k: (k, k))))
def test_a_pair_without_a_common_rank_is_told_apart_and_the_order_fits(claims: np.ndarray) -> None:
    """Whatever the claims: ranks stay in 1 to k, and no range ends before that of a method begins that it does not beat."""
    np.fill_diagonal(claims, False)
    ranges = rank_ranges(claims)
    k = len(claims)
    assert (ranges[:, 0] >= 1).all()
    assert (ranges[:, 1] <= k).all()
    assert (ranges[:, 0] <= ranges[:, 1]).all()
    reach = claims.copy()
    for _ in range(k):
        reach |= (reach.astype(int) @ reach.astype(int)) > 0
    for i in range(k):
        for j in range(k):
            if ranges[i, 1] < ranges[j, 0]:
                assert reach[i, j]
                assert not reach[j, i]
