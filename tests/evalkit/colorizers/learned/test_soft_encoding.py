"""Soft-encoding, smoothed priors and the annealed mean: the plain references, and the fast paths equal to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import entr, softmax
from scipy.stats import multivariate_normal
from skimage.color import rgb2lab

from evalkit.color.ab_classes import (
    PRESETS,
    annealed_mean,
    preset,
    rebalancing_weights,
    smoothed_shares,
    soft_encode,
)
from evalkit.errors import InputError

IN_GAMUT = rgb2lab(np.random.default_rng(0).integers(0, 256, (20_000, 3), dtype=np.uint8))[:, 1:]
"""ab of random sRGB colours: all over the gamut, as saturated as it gets."""


@pytest.mark.parametrize("name", PRESETS)
def test_an_encoding_has_ten_gaussian_shares_that_sum_to_one(name: str) -> None:
    classes = preset(name)
    encoded = soft_encode(IN_GAMUT[:500], classes)
    np.testing.assert_allclose(encoded.sum(axis=1), 1, rtol=1e-12)
    assert ((encoded > 0).sum(axis=1) == 10).all()
    for colour, row in zip(IN_GAMUT[:50], encoded, strict=False):
        density = multivariate_normal(colour, classes.sigma**2).pdf(classes.centers)
        nearest = np.argsort(-density)[:10]
        assert set(np.flatnonzero(row)) == set(nearest)
        np.testing.assert_allclose(row[nearest], density[nearest] / density[nearest].sum(), rtol=1e-9)


@pytest.mark.parametrize(("name", "bound", "usual"), [("zhang2016", 7.0, 0.9), ("seed2024", 8.5, 1.2)])
def test_the_expectation_of_an_encoding_is_near_the_colour(name: str, bound: float, usual: float) -> None:
    classes = preset(name)
    back = soft_encode(IN_GAMUT, classes) @ classes.centers
    distance = np.linalg.norm(back - IN_GAMUT, axis=1)
    assert distance.max() < bound  # at the rim of the gamut, where centres lie on one side only
    assert np.median(distance) < usual
    inner = np.hypot(*IN_GAMUT.T) < 30
    assert distance[inner].max() < 2.5


def test_one_neighbour_is_the_nearest_class_and_far_colours_do_not_underflow() -> None:
    classes = preset("zhang2016")
    hard = soft_encode(IN_GAMUT[:1000], classes, 1)
    np.testing.assert_array_equal(hard.argmax(axis=1), classes.nearest(IN_GAMUT[:1000]))
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert np.isfinite(soft_encode([[500.0, 500.0]], classes)).all()


def test_shapes_are_kept() -> None:
    classes = preset("seed2024")
    encoded = soft_encode(np.zeros((2, 3, 2)), classes)
    assert encoded.shape == (2, 3, 256)
    assert annealed_mean(encoded, classes).shape == (2, 3, 2)


@pytest.mark.parametrize("name", PRESETS)
@given(counts=arrays(np.int64, 256, elements=st.integers(0, 10**6)).filter(lambda found: found.sum() > 0))
def test_training_weights_average_to_one_under_the_smoothed_prior(name: str, counts: np.ndarray) -> None:
    classes = preset(name)
    shares = smoothed_shares(np.resize(counts, len(classes)), classes)
    assert shares.sum() == pytest.approx(1)
    weights = rebalancing_weights(shares, classes.rebalancing)
    assert (shares * weights).sum() == pytest.approx(1)
    # lambda bounds how much more a rare class weighs than a common one.
    assert weights.max() / weights.min() <= 1 + (1 / classes.rebalancing - 1) * len(classes) + 1e-9


def test_smoothing_spreads_one_class_like_a_gaussian() -> None:
    classes = preset("zhang2016")
    smooth = smoothed_shares(np.eye(313)[classes.neutral], classes)
    density = multivariate_normal(np.zeros(2), classes.smoothing_sigma**2).pdf(classes.centers)
    np.testing.assert_allclose(smooth, density / density.sum(), rtol=1e-9)


DISTRIBUTIONS = arrays(np.float64, (4, 256), elements=st.floats(-12, 12)).map(lambda logits: softmax(logits, axis=1))


@given(DISTRIBUTIONS)
def test_the_limits_of_the_annealed_mean_are_the_mean_and_the_mode(z: np.ndarray) -> None:
    classes = preset("seed2024")
    np.testing.assert_allclose(annealed_mean(z, classes, 1.0), z @ classes.centers, atol=1e-9)
    np.testing.assert_array_equal(annealed_mean(z, classes, 0), classes.centers[z.argmax(axis=1)])
    top = np.sort(z, axis=1)
    clear = top[:, -1] > 1.01 * top[:, -2]
    cold = annealed_mean(z, classes, 1e-4)
    np.testing.assert_allclose(cold[clear], classes.centers[z.argmax(axis=1)][clear], atol=1e-6)


@given(DISTRIBUTIONS)
def test_the_entropy_of_the_annealed_distribution_falls_with_the_temperature(z: np.ndarray) -> None:
    temperatures = (1.0, 0.7, 0.45, 0.38, 0.2, 0.05)
    entropies = [entr(softmax(np.log(z) / t, axis=1)).sum(axis=1) for t in temperatures]
    assert (np.diff(entropies, axis=0) <= 1e-9).all()
    # ... and the mean of that distribution is what the function returns.
    classes = preset("seed2024")
    for t in temperatures:
        np.testing.assert_allclose(
            annealed_mean(z, classes, t), softmax(np.log(z) / t, axis=1) @ classes.centers, atol=1e-8
        )


def test_the_temperature_is_that_of_the_classes_unless_given() -> None:
    classes = preset("zhang2016")
    z = softmax(np.random.default_rng(1).normal(size=(5, 313)), axis=1)
    np.testing.assert_array_equal(annealed_mean(z, classes), annealed_mean(z, classes, 0.38))
    np.testing.assert_allclose(annealed_mean(7 * z, classes), annealed_mean(z, classes), atol=1e-9)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_temperature_without_meaning_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        annealed_mean(np.ones(313), preset("zhang2016"), temperature)
