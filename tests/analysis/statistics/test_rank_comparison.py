from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import brunnermunzel, mannwhitneyu

from analysis.statistics.rank_comparison import superiority
from evalkit.errors import InputError


def ratings(
    rng: np.random.Generator, shift: float, image: np.ndarray, *, n_people: int = 15, first: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings of 1 to 7 of people of their own mildness, on images of their own difficulty."""
    person = np.repeat(np.arange(n_people), image.size)
    picture = np.tile(np.arange(image.size), n_people)
    latent = shift + 0.6 * rng.standard_normal(n_people)[person] + image[picture] + rng.standard_normal(person.size)
    return np.clip(np.round(4 + 1.5 * latent), 1, 7), person + first, picture


def test_independent_ratings_give_brunner_and_munzels_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 8, 25).astype(float), rng.integers(2, 8, 19).astype(float)
    found = superiority(
        a, np.arange(25), np.arange(25), b, 100 + np.arange(19), 100 + np.arange(19), estimand="participants"
    )
    expected = brunnermunzel(a, b)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.probability == pytest.approx(mannwhitneyu(a, b).statistic / (25 * 19))


def test_it_keeps_its_level_where_people_and_images_vary() -> None:
    """300 null studies: 5 % +- 1.3; a test that takes ratings for independent calls a difference in four of ten."""
    alarms = naive = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        image = 0.7 * rng.standard_normal(20)
        a = ratings(rng, 0.0, image)
        b = ratings(rng, 0.0, image, first=100)
        alarms += superiority(*a, *b).p_value <= 0.05
        naive += brunnermunzel(a[0], b[0]).pvalue <= 0.05
    assert 4 <= alarms <= 27
    assert naive > 60


def test_only_the_order_counts() -> None:
    rng = np.random.default_rng(1)
    image = rng.standard_normal(12)
    (a, *labels_a), (b, *labels_b) = ratings(rng, 0.4, image), ratings(rng, 0.0, image, first=50)
    one, two = superiority(a, *labels_a, b, *labels_b), superiority(a**3, *labels_a, b**3, *labels_b)
    assert two == one
    turned = superiority(b, *labels_b, a, *labels_a)
    assert (turned.probability, turned.ci_low) == pytest.approx((1 - one.probability, 1 - one.ci_high))


def test_ratings_that_never_overlap_have_no_standard_error() -> None:
    people, images = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    found = superiority(np.full(16, 5.0), people, images, np.full(16, 2.0), people, images)
    assert found.probability == 1.0
    assert math.isnan(found.std_error)
    with pytest.raises(InputError, match="ratings that differ"):
        superiority(np.full(16, 5.0), people, images, np.full(16, 5.0), people, images)
