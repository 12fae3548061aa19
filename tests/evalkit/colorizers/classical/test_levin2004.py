"""Scribbles: how far they spread, and what the solution of the linear system has to satisfy."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.color.colorspace import srgb8_to_lab
from evalkit.colorizers.classical.levin2004 import affinities, propagate
from evalkit.hints.hint import Hint, hint_maps
from evalkit.hints.protocols import HintRecipe, draw_hints


def test_a_scribble_colours_its_region_and_no_further() -> None:
    lightness = np.full((40, 60), 30.0)
    lightness[:, 30:] = 70.0
    hints = [Hint(row=20, column=10, side=3, a=60, b=40), Hint(row=5, column=50, side=3, a=-40, b=20)]
    ab = propagate(lightness, hint_maps(hints, 40, 60))
    np.testing.assert_allclose(ab[:, :29], np.broadcast_to([60, 40], (40, 29, 2)), atol=4)
    np.testing.assert_allclose(ab[:, 31:], np.broadcast_to([-40, 20], (40, 29, 2)), atol=4)


def test_one_colour_alone_reaches_every_pixel() -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (20, 30))
    ab = propagate(lightness, hint_maps([Hint(row=3, column=3, side=1, a=12, b=-7)], 20, 30))
    np.testing.assert_allclose(ab, np.broadcast_to([12, -7], ab.shape), atol=1e-8)


def test_no_hints_are_gray_and_given_colours_stay() -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (8, 9))
    assert not propagate(lightness, hint_maps([], 8, 9)).any()
    maps = hint_maps([Hint(row=4, column=4, side=20, a=1, b=2)], 8, 9)
    np.testing.assert_array_equal(propagate(lightness, maps), maps.ab)


def test_a_constant_lightness_gives_the_discrete_harmonic_function() -> None:
    """On a strip of one row each pixel is the mean of its two neighbours: colours run in a straight line."""
    hints = [Hint(row=0, column=0, side=1, a=0, b=0), Hint(row=0, column=10, side=1, a=50, b=-20)]
    ab = propagate(np.full((1, 11), 42.0), hint_maps(hints, 1, 11))
    np.testing.assert_allclose(ab[0], np.outer(np.arange(11) / 10, [50, -20]), atol=1e-9)


def test_every_free_pixel_is_the_weighted_mean_of_its_neighbours_by_equation_2() -> None:
    """Against eq. 2 written out pixel by pixel."""
    lightness = np.random.default_rng(1).uniform(0, 100, (7, 6))
    weights = affinities(lightness).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for row, column in ((0, 0), (3, 2), (6, 5)):
        rows, columns = range(max(row - 1, 0), min(row + 2, 7)), range(max(column - 1, 0), min(column + 2, 6))
        window = {(i, j): lightness[i, j] / 100 for i in rows for j in columns}
        variance = 0.3 * np.var(list(window.values()))
        expected = {p: np.exp(-((y - lightness[row, column] / 100) ** 2) / (2 * variance)) for p, y in window.items()}
        del expected[row, column]
        total = sum(expected.values())
        for (i, j), value in expected.items():
            assert weights[row * 6 + column, i * 6 + j] == pytest.approx(value / total)
    maps = hint_maps([Hint(row=2, column=2, side=1, a=30, b=9), Hint(row=6, column=5, side=2, a=-8, b=5)], 7, 6)
    flat = propagate(lightness, maps).reshape(-1, 2)
    free = ~maps.mask.ravel()
    np.testing.assert_allclose(flat[free], (weights @ flat)[free], atol=1e-9)


def test_twenty_true_hints_nearly_halve_the_squared_error_of_gray_at_least(photos: dict[str, np.ndarray]) -> None:
    for name in ("coffee", "china"):
        lab = srgb8_to_lab(photos[name][60:188, 80:208])
        hints = draw_hints(lab[..., 1:], name, HintRecipe(count=20))
        ab = propagate(lab[..., 0], hint_maps(hints, 128, 128))
        assert ((ab - lab[..., 1:]) ** 2).mean() < 0.6 * (lab[..., 1:] ** 2).mean()
