"""Colours learnt from an example: made textures with known answers, the descriptors, the edges."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.color.colorspace import srgb8_to_lab
from evalkit.colorizers.classical.sousa2012 import edge_weights, learn_example, local_features, surf_descriptors

FLAT, ACROSS, ALONG = (40.0, 10.0), (-30.0, 30.0), (5.0, -40.0)


def texture(kind: tuple[float, float]) -> np.ndarray:
    """L of 60 x 100 pixels: constant, or ruled across or along with the same mean."""
    if kind == FLAT:
        return np.full((60, 100), 50.0)
    return np.where(np.indices((60, 100))[0 if kind == ACROSS else 1] // 4 % 2, 70.0, 30.0)


def picture(*kinds: tuple[float, float]) -> np.ndarray:
    lab = [np.dstack([texture(kind), np.full((60, 100), kind[0]), np.full((60, 100), kind[1])]) for kind in kinds]
    return np.concatenate(lab, axis=1)


def test_textures_of_one_mean_get_the_colours_that_they_have_in_the_example() -> None:
    example, photo = picture(FLAT, ACROSS, ALONG), picture(ALONG, FLAT, ACROSS)
    ab = learn_example(example).colorize(photo[..., 0])
    right = np.linalg.norm(ab - photo[..., 1:], axis=-1) < 1
    for start in (
        0,
        100,
        200,
    ):  # windows of 22 pixels on each side see the neighbour, and such a pair is not in the example
        assert right[:, start + 30 : start + 70].all()
    assert right.mean() > 0.85


def test_an_example_of_one_colour_gives_that_colour() -> None:
    ab = learn_example(picture(ACROSS)).colorize(np.random.default_rng(0).uniform(0, 100, (20, 31)))
    np.testing.assert_allclose(ab, np.broadcast_to(ACROSS, (20, 31, 2)))


def test_only_colours_of_the_examples_k_means_are_used(photos: dict[str, np.ndarray]) -> None:
    example, photo = srgb8_to_lab(photos["chelsea"][:100, :100]), srgb8_to_lab(photos["coffee"][:70, :80])
    model = learn_example(example)
    ab = model.colorize(photo[..., 0])
    colours = {tuple(colour) for colour in model.colours}
    assert len(colours) == 16
    assert {tuple(colour) for colour in ab.reshape(-1, 2)} <= colours


def test_a_photo_as_its_own_example_comes_nearer_than_gray(photos: dict[str, np.ndarray]) -> None:
    for name in ("coffee", "chelsea"):
        lab = srgb8_to_lab(photos[name][60:188, 80:208])
        ab = learn_example(lab).colorize(lab[..., 0])
        assert ((ab - lab[..., 1:]) ** 2).mean() < 0.5 * (lab[..., 1:] ** 2).mean()


def test_the_same_example_and_seed_give_the_same_colours() -> None:
    example, photo = picture(FLAT, ALONG), texture(ACROSS)
    one, two = (learn_example(example, seed=3).colorize(photo) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_descriptors_have_length_one_and_see_no_constant() -> None:
    photo = np.random.default_rng(0).uniform(0, 80, (50, 60))
    places = np.argwhere(np.ones((50, 60)))[::97]
    described = surf_descriptors(photo, places)
    assert described.shape == (len(places), 128)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1)
    np.testing.assert_allclose(surf_descriptors(photo + 20, places), described, atol=1e-9)
    np.testing.assert_allclose(surf_descriptors(0.5 * photo, places), described, atol=1e-9)
    assert not surf_descriptors(np.full((50, 60), 33.0), places).any()


def test_a_slope_gives_the_descriptor_that_can_be_reckoned_by_hand() -> None:
    """L rising to the right: dx is the same everywhere, dy is 0, so each square holds its Gaussian weights, twice."""
    photo = np.broadcast_to(np.arange(100.0), (100, 100))
    [described] = surf_descriptors(photo, np.array([[50, 50]])).reshape(1, 16, 8)
    sample = np.arange(-10, 10) + 0.5
    weight = np.exp(-(sample**2) / (2 * 3.3**2)).reshape(4, 5).sum(axis=1)
    squares = np.outer(weight, weight).ravel()
    expected = np.zeros((16, 8))
    # dx, |dx| where dy >= 0; the others hold dy, which is 0.
    expected[:, 2] = expected[:, 3] = squares / np.sqrt(2 * (squares**2).sum())
    np.testing.assert_allclose(described, expected, atol=1e-9)


def test_features_hold_mean_and_variance_of_the_window() -> None:
    photo = np.random.default_rng(0).uniform(0, 100, (60, 50))
    features = local_features(photo, np.array([[30, 25], [12, 11]]))
    for row, (r, c) in zip(features, ((30, 25), (12, 11)), strict=True):
        window = photo[r - 10 : r + 11, c - 10 : c + 11] / 100
        assert row[0] == pytest.approx(window.mean())
        assert row[1] == pytest.approx(window.var())
        assert row[2] == pytest.approx(window.sum())  # the spectrum's constant term
    assert features.shape == (2, 617)


def test_neighbours_hold_together_but_across_an_edge() -> None:
    photo = np.full((40, 60), 20.0)
    photo[:, 30:] = 80.0
    right, below = edge_weights(photo)
    assert (right.shape, below.shape) == ((40, 59), (39, 60))
    assert right[:, 29].max() < 0.06
    np.testing.assert_array_equal(right[:, :15], 1)
    np.testing.assert_array_equal(below, 1)
