from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.crossed import CrossedDesign, one_way_variances, variance_components
from evalkit.errors import InputError

TABLE = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=float)
MASK = np.array([[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)


def design_of(mask: np.ndarray) -> CrossedDesign:
    participant, image = np.nonzero(mask)
    return CrossedDesign.from_labels(participant, image)


def test_reproduces_the_components_of_the_worked_table() -> None:
    components = variance_components(TABLE.ravel(), design_of(np.ones_like(TABLE)))
    assert components.participant == pytest.approx(0.0666667, abs=5e-8)
    assert components.image == pytest.approx(0.0583333, abs=5e-8)
    assert components.residual == pytest.approx(0.1583333, abs=5e-8)
    assert components.variance == pytest.approx(0.0358333, abs=5e-8)
    assert components.pooled is None


def test_reproduces_the_one_way_variances_of_the_worked_table() -> None:
    one_way = one_way_variances(TABLE.ravel(), design_of(np.ones_like(TABLE)))
    assert (one_way.participant, one_way.image, one_way.cell) == pytest.approx((0.017, 0.016875, 0.012375))


def test_reproduces_the_components_of_the_worked_table_with_missing_cells() -> None:
    values = TABLE[MASK]
    components = variance_components(values, design_of(MASK))
    assert values.mean() == 0.5
    assert components.participant == pytest.approx(0.1095571, abs=5e-8)
    assert components.image == pytest.approx(0.0413753, abs=5e-8)
    assert components.residual == pytest.approx(0.1404429, abs=5e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_p=st.integers(4, 9), n_i=st.integers(5, 9))
def test_equals_the_analysis_of_variance_when_balanced(seed: int, n_p: int, n_i: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n_p, 1)) + 2 * rng.normal(size=(1, n_i)) + rng.normal(size=(n_p, n_i))
    row, column = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    mean_square_p = n_i * np.sum((row - y.mean()) ** 2) / (n_p - 1)
    mean_square_i = n_p * np.sum((column - y.mean()) ** 2) / (n_i - 1)
    mean_square_e = np.sum((y - row - column + y.mean()) ** 2) / ((n_p - 1) * (n_i - 1))
    components = variance_components(y.ravel(), design_of(np.ones_like(y)))
    expected_p = max((mean_square_p - mean_square_e) / n_i, 0)
    expected_i = max((mean_square_i - mean_square_e) / n_p, 0)
    found = (components.participant, components.image, components.residual)
    assert found == pytest.approx((expected_p, expected_i, mean_square_e), abs=1e-9)


def test_recovers_the_components_that_generated_unbalanced_data() -> None:
    rng = np.random.default_rng(5)
    mask = rng.random((400, 300)) < rng.uniform(0.05, 0.6, size=(400, 1))
    y = 0.7 * rng.normal(size=(400, 1)) + 0.4 * rng.normal(size=(1, 300)) + rng.normal(size=(400, 300))
    components = variance_components(y[mask], design_of(mask))
    found = (components.participant, components.image, components.residual)
    assert found == pytest.approx((0.49, 0.16, 1.0), rel=0.15)


def test_images_that_never_repeat_are_counted_in_the_residual() -> None:
    rng = np.random.default_rng(0)
    participant = np.repeat(np.arange(20), 10)
    design = CrossedDesign.from_labels(participant, np.arange(200))
    y = rng.normal(size=20)[participant] + rng.normal(size=200)
    components = variance_components(y, design)
    assert components.pooled == "image"
    assert components.image == 0.0
    assert components.df == 19
    means = y.reshape(20, 10).mean(axis=1)
    assert components.variance == pytest.approx(means.var(ddof=1) / 20)  # balanced one-way analysis of variance


def test_participants_of_one_trial_each_are_counted_in_the_residual() -> None:
    rng = np.random.default_rng(0)
    image = np.tile(np.arange(10), 20)
    design = CrossedDesign.from_labels(np.arange(200), image)
    y = rng.normal(size=10)[image] + rng.normal(size=200)
    components = variance_components(y, design)
    assert components.pooled == "participant"
    assert components.df == 9
    assert components.variance == pytest.approx(y.reshape(20, 10).mean(axis=0).var(ddof=1) / 10)


def test_a_small_complete_table_keeps_both_factors() -> None:
    rng = np.random.default_rng(0)
    components = variance_components(rng.normal(size=20), design_of(np.ones((10, 2))))
    assert components.pooled is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_and_the_names_of_rows_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    participant, image = np.nonzero(rng.random((7, 9)) < 0.8)
    y = rng.integers(0, 2, size=participant.size).astype(float)
    y[:2] = 0, 1
    order = rng.permutation(y.size)
    names = np.array([f"p{code}" for code in rng.permutation(7)])
    one = variance_components(y, CrossedDesign.from_labels(participant, image))
    two = variance_components(y[order], CrossedDesign.from_labels(names[participant][order], image[order]))
    assert two.variance == pytest.approx(one.variance, rel=1e-9)
    assert two.df == pytest.approx(one.df, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_repeating_every_trial_leaves_the_one_way_variances_unchanged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    participant, image = np.nonzero(rng.random((6, 8)) < 0.7)
    y = rng.integers(0, 2, size=participant.size).astype(float)
    once = one_way_variances(y, CrossedDesign.from_labels(participant, image))
    twice = one_way_variances(np.tile(y, 2), CrossedDesign.from_labels(np.tile(participant, 2), np.tile(image, 2)))
    assert (twice.participant, twice.image, twice.cell) == pytest.approx((once.participant, once.image, once.cell))


def test_finds_the_first_repeated_cell() -> None:
    design = CrossedDesign.from_labels(["a", "b", "a", "b", "a"], [1, 1, 2, 1, 1])
    assert design.first_duplicate() == (1, 3)
    with pytest.raises(InputError, match=r"Participant b has two trials of image 1 \(entries 1 and 3"):
        design.refuse_duplicates()


@pytest.mark.parametrize(
    ("values", "participant", "image", "message"),
    [
        ([0, 1], ["a", "a"], [1, 2], "1 participant and 2 images"),
        ([0, 1], ["a", "b"], [1, 1], "2 participants and 1 image"),
        ([1, 1, 1, 1], ["a", "a", "b", "b"], [1, 2, 1, 2], "All 4 values are 1"),
        ([0, np.nan, 1, 1], ["a", "a", "b", "b"], [1, 2, 1, 2], r"values\[1\] is nan"),
        ([0, 1], ["a", "a", "b", "b"], [1, 2, 1, 2], r"shape \(2,\)"),
        ([], [], [], "There are no trials"),
        ([0, 1], ["a", "b"], [1], "participant has 2 entries and image has 1"),
    ],
)
def test_bad_input_is_a_plain_sentence(values: list, participant: list, image: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        variance_components(values, CrossedDesign.from_labels(participant, image))
