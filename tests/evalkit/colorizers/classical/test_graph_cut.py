"""Expansion moves: exact answers of small problems by trying every labelling, and what a minimum must satisfy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evalkit.colorizers.classical.graph_cut import alpha_expansion, labelling_energy


def made_problem(
    height: int, width: int, n_labels: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Costs in whole sixteenths, so that rounding changes none; labels are points of the line, a metric."""
    random = np.random.default_rng(seed)

    def sixteenths(*shape: int) -> np.ndarray:
        return random.integers(0, 33, shape) / 16

    places = random.integers(0, 5, n_labels) / 1.0
    distance = np.abs(places[:, None] - places)
    return sixteenths(height, width, n_labels), distance, sixteenths(height, width - 1), sixteenths(height - 1, width)


def least_energy(problem: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> float:
    height, width, n_labels = problem[0].shape
    labellings = itertools.product(range(n_labels), repeat=height * width)
    return min(labelling_energy(np.array(labels).reshape(height, width), *problem) for labels in labellings)


@pytest.mark.parametrize("seed", range(20))
def test_two_labels_reach_the_least_energy_of_all_labellings(seed: int) -> None:
    problem = made_problem(3, 4, 2, seed)
    assert labelling_energy(alpha_expansion(*problem), *problem) == pytest.approx(least_energy(problem))


@pytest.mark.parametrize("seed", range(10))
def test_three_labels_come_within_the_published_bound(seed: int) -> None:
    """Boykov, Veksler, Zabih (2001), theorem 6.1: at most 2 max V / min V times the least energy."""
    problem = made_problem(2, 4, 3, seed)
    problem = (problem[0], 1.0 - np.eye(3), *problem[2:])
    assert labelling_energy(alpha_expansion(*problem), *problem) <= 2 * least_energy(problem) + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_reaches_the_energy_of_dynamic_programming(seed: int) -> None:
    """Labels on a line with absolute differences: expansion against Viterbi's recursion on one row of 40 pixels."""
    random = np.random.default_rng(seed)
    distance = np.abs(np.arange(2.0)[:, None] - np.arange(2.0))
    unary, right = random.integers(0, 33, (1, 40, 2)) / 16, random.integers(0, 33, (1, 39)) / 16
    cheapest = unary[0, 0]
    for column in range(1, 40):
        cheapest = (cheapest[:, None] + right[0, column - 1] * distance).min(axis=0) + unary[0, column]
    problem = (unary, distance, right, np.zeros((0, 40)))
    assert labelling_energy(alpha_expansion(*problem), *problem) == pytest.approx(cheapest.min())


def test_without_neighbours_each_pixel_has_its_cheapest_label_and_with_strong_ones_all_share_one() -> None:
    unary, distance, right, below = made_problem(9, 8, 4, 0)
    distance = 1.0 - np.eye(4)
    alone = alpha_expansion(unary, distance, 0 * right, 0 * below)
    np.testing.assert_array_equal(np.take_along_axis(unary, alone[..., None], -1)[..., 0], unary.min(axis=-1))
    joined = alpha_expansion(unary, distance, 0 * right + 100, 0 * below + 100)
    assert (joined == unary.sum(axis=(0, 1)).argmin()).all()


def test_a_noisy_picture_of_three_regions_is_cleaned() -> None:
    truth = np.repeat(np.arange(3), 20)[None].repeat(30, axis=0)
    random = np.random.default_rng(0)
    unary = (np.arange(3) != truth[..., None]) + random.normal(0, 0.7, (30, 60, 3))
    assert (unary.argmin(axis=-1) == truth).mean() < 0.85
    labels = alpha_expansion(unary, 1.0 - np.eye(3), np.full((30, 59), 0.7), np.full((29, 60), 0.7))
    assert (labels == truth).mean() > 0.98
