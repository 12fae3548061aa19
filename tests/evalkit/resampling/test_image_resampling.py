"""Intervals over images: against theory, scipy, the book's algorithm, and themselves."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from evalkit.errors import InputError
from evalkit.resampling import intervals as resampling
from evalkit.resampling.intervals import (
    Interval,
    abc_interval_ratio,
    interval,
    jackknife_interval,
    leave_one_out_scores,
    paired_difference,
)
from evalkit.resampling.replicates import POISSON_BYTE, TermMatrix, image_weights, replicate_scores
from evalkit.resampling.swap_tests import sign_flip_test, sign_flip_tests


def ratio(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def mean_over_classes_present(sums: np.ndarray) -> np.ndarray:
    """The shape of the class-rebalanced AuC: half error sums, half pixel counts."""
    errors, pixels = np.split(sums, 2, axis=-1)
    present = pixels > 0
    return np.divide(errors, pixels, out=np.zeros(pixels.shape), where=present).sum(-1) / present.sum(-1)


def means(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


@pytest.fixture(scope="module")
def skewed() -> np.ndarray:
    return np.random.default_rng(7).lognormal(size=200)


@pytest.fixture(scope="module")
def class_terms() -> np.ndarray:
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 4000, (60, 40)) * (rng.random((60, 40)) < 0.08)
    return np.hstack([pixels * rng.integers(1, 150_000, pixels.shape), pixels])


def test_the_byte_table_is_poisson_with_mean_and_variance_exactly_one():
    table = POISSON_BYTE.astype(float)
    assert table.size == 256
    assert table.mean() == 1
    assert table.var() == 1
    shares = np.bincount(POISSON_BYTE, minlength=20) / 256
    assert np.abs(shares - stats.poisson.pmf(np.arange(20), 1)).sum() / 2 == pytest.approx(0.0055, abs=1e-4)


def test_weights_are_the_same_on_every_machine_and_in_every_version():
    # Literal values: a change here changes every published interval.
    (weights,) = image_weights(12, 3, seed=0)
    assert weights.dtype == np.uint8
    assert weights.tolist() == [
        [0, 3, 1, 0, 1, 0, 1, 1, 2, 1, 3, 0],
        [1, 1, 0, 0, 1, 2, 0, 1, 0, 0, 1, 1],
        [0, 1, 1, 0, 1, 2, 1, 0, 1, 0, 0, 1],
    ]


@given(n_images=st.integers(1, 40), n_replicates=st.integers(1, 60), block_rows=st.integers(1, 70))
def test_weights_do_not_depend_on_the_block_size(n_images, n_replicates, block_rows):
    whole = np.concatenate(list(image_weights(n_images, n_replicates, 5, block_rows=n_replicates)))
    blocks = list(image_weights(n_images, n_replicates, 5, block_rows=block_rows))
    assert all(len(block) <= block_rows for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert whole.shape == (n_replicates, n_images)


def test_weights_look_independent_and_poisson():
    weights = np.concatenate(list(image_weights(50, 20_000, seed=1)))
    assert np.abs(weights.mean(axis=0) - 1).max() < 5 / math.sqrt(20_000)
    assert np.abs(np.corrcoef(weights, rowvar=False) - np.eye(50)).max() < 5 / math.sqrt(20_000)
    assert not np.array_equal(weights[:100], np.concatenate(list(image_weights(50, 100, seed=2))))


def test_the_variance_of_the_mean_is_the_sum_of_squares_over_n_squared(skewed):
    # Weights with mean and variance 1: var(sum w (x - xbar) / n) = sum (x - xbar)^2 / n^2.
    deviations = skewed - skewed.mean()
    replicates = replicate_scores([(deviations[:, None], lambda sums: sums[..., 0] / 200)], 40_000, seed=1)
    expected = (deviations**2).sum() / 200**2
    assert replicates.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / 40_000))


def test_agrees_with_scipy_on_a_ratio_of_sums():
    rng = np.random.default_rng(11)
    bottom = rng.integers(100, 1000, 300).astype(float)
    top = bottom * rng.beta(2, 5, 300)
    found = interval(
        top.sum() / bottom.sum(), replicate_scores([(np.column_stack([top, bottom]), ratio)], 20_000)[:, 0]
    )
    reference = stats.bootstrap(
        (top, bottom),
        lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis),
        paired=True,
        n_resamples=20_000,
        batch=2_000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    se = reference.standard_error
    assert found.std_error == pytest.approx(se, rel=0.03)
    # A 2.5 % point of 20,000 replicates has a Monte Carlo error of 0.019 standard errors.
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.1 * se)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.1 * se)


def test_scores_are_those_of_images_repeated_by_weight(class_terms):
    weights = np.concatenate(list(image_weights(60, 50, seed=4)))
    found = TermMatrix([(class_terms, mean_over_classes_present)]).scores(weights)[:, 0]
    for row, score in zip(weights, found, strict=True):
        repeated = np.repeat(class_terms, row, axis=0)
        assert score == pytest.approx(float(mean_over_classes_present(repeated.sum(axis=0))), rel=1e-12)


@given(
    terms=arrays(np.float64, (7, 2), elements=st.floats(0.001, 1e6)),
    weights=arrays(np.uint8, (5, 7), elements=st.integers(0, 5)),
    order=st.permutations(range(7)),
)
def test_permuting_images_with_their_weights_changes_no_bit(terms, weights, order):
    plain = TermMatrix([(terms, ratio)]).scores(weights)
    shuffled = TermMatrix([(terms[list(order)], ratio)]).scores(weights[:, order])
    np.testing.assert_array_equal(shuffled, plain)


@given(
    terms=arrays(np.int64, (7, 2), elements=st.integers(1, 10**9)),
    weights=arrays(np.uint8, (5, 7), elements=st.integers(0, 2)),
)
def test_an_image_listed_twice_counts_twice(terms, weights):
    doubled = TermMatrix([(terms, ratio)]).scores(2 * weights)
    listed = TermMatrix([(np.repeat(terms, 2, axis=0), ratio)]).scores(np.repeat(weights, 2, axis=1))
    np.testing.assert_array_equal(listed, doubled)


@pytest.mark.parametrize("block_elements", [1, 300, 2**12, 2**22])
def test_replicates_do_not_depend_on_blocks_or_on_other_columns(monkeypatch, skewed, class_terms, block_elements):
    columns = [
        (means(skewed[:60]), ratio),
        (class_terms, mean_over_classes_present),
        (means(skewed[60:120]), ratio),
    ]
    expected = replicate_scores(columns, 200, seed=9)
    monkeypatch.setattr(resampling, "BLOCK_ELEMENTS", block_elements)
    np.testing.assert_array_equal(replicate_scores(columns, 200, seed=9), expected)
    for j, column in enumerate(columns):
        np.testing.assert_array_equal(replicate_scores([column], 200, seed=9)[:, 0], expected[:, j])
    np.testing.assert_array_equal(replicate_scores(iter(columns), 100, seed=9), expected[:100])


def test_sums_of_large_integers_are_exact():
    rng = np.random.default_rng(2)
    terms = rng.integers(0, 10**12, (300, 1))  # weighted sums stay below 2**53
    weights = np.concatenate(list(image_weights(300, 40)))
    found = TermMatrix([(terms, lambda sums: sums[..., 0])]).scores(weights)[:, 0]
    assert found.tolist() == [int(w.astype(object) @ terms[:, 0].astype(object)) for w in weights]


def test_sums_beyond_53_bits_lose_only_their_last_digits():
    terms = np.random.default_rng(2).integers(0, 10**15, (300, 1))
    weights = np.concatenate(list(image_weights(300, 40)))
    found = TermMatrix([(terms, lambda sums: sums[..., 0])]).scores(weights)[:, 0]
    exact = [int(w.astype(object) @ terms[:, 0].astype(object)) for w in weights]
    np.testing.assert_allclose(found, np.array(exact, dtype=float), rtol=1e-12)


def test_equal_terms_and_absent_classes_are_stored_once(class_terms):
    pixels = class_terms[:, 40:]
    absent = np.zeros((60, 10), dtype=np.int64)
    columns = [(np.hstack([k * class_terms[:, :40], pixels, absent]), lambda sums: sums[..., 0]) for k in (1, 2, 3)]
    columns.append((np.full((60, 1), -0.0), lambda sums: sums[..., 0]))
    used = int(pixels.any(axis=0).sum())
    total_weight = zeros = 1
    assert TermMatrix(columns).n_distinct_terms == total_weight + 4 * used + zeros


def test_rows_without_any_image_are_undefined_whatever_the_score_says():
    matrix = TermMatrix([(np.ones((2, 1)), lambda sums: sums[..., 0])])
    np.testing.assert_array_equal(matrix.scores(np.array([[0, 0], [0, 3]])), [[np.nan], [3.0]])


def test_shifting_the_values_shifts_the_interval(skewed):
    one = interval(skewed.mean(), replicate_scores([(means(skewed), ratio)])[:, 0])
    two = interval(skewed.mean() + 40, replicate_scores([(means(skewed + 40), ratio)])[:, 0])
    assert (two.low, two.high) == pytest.approx((one.low + 40, one.high + 40))
    assert two.std_error == pytest.approx(one.std_error)


def test_bias_correction_moves_the_mean_of_the_replicates_to_the_estimate():
    replicates = np.random.default_rng(0).normal(12.0, 1.0, 5000)
    raw, corrected = interval(10.0, replicates), interval(10.0, replicates, correct_bias=True)
    shift = replicates.mean() - 10
    assert (corrected.low, corrected.high) == pytest.approx((raw.low - shift, raw.high - shift))
    assert corrected.std_error == raw.std_error == pytest.approx(replicates.std(ddof=1))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3, 27.123456789])
def test_equal_images_give_an_interval_of_width_zero(value):
    terms = means(np.full(30, value))
    estimate = float(ratio(terms.sum(axis=0)))
    for n_replicates in (500, 1000, 3000):
        replicates = replicate_scores([(terms, ratio)], n_replicates)[:, 0]
        assert interval(estimate, replicates) == Interval(std_error=0.0, low=estimate, high=estimate)
    jackknife = jackknife_interval(value, leave_one_out_scores(terms, ratio))
    assert jackknife.low == pytest.approx(value, abs=1e-12)
    assert jackknife.high == pytest.approx(value, abs=1e-12)
    closed = abc_interval_ratio(*terms.T)
    assert closed.std_error == 0
    assert closed.low == closed.high == pytest.approx(value, abs=1e-12)


def test_one_image_has_no_interval_and_says_why():
    terms = np.array([[3.0, 1.0]])
    found = interval(3.0, replicate_scores([(terms, ratio)])[:, 0])
    assert math.isnan(found.low)
    assert math.isnan(found.std_error)
    assert found.n_undefined == pytest.approx(10_000 * math.exp(-1), abs=300)
    assert "one image alone" in found.reason
    assert "One image alone" in jackknife_interval(3.0, leave_one_out_scores(terms, ratio)).reason
    assert "two images" in abc_interval_ratio([3.0], [1.0]).reason


def test_a_number_that_one_of_many_images_carries_has_no_interval():
    # Say, a PSNR where every other pair is identical: terms (0, 0).
    terms = np.zeros((50, 2))
    terms[17] = 30.0, 1.0
    assert "one image alone" in interval(30.0, replicate_scores([(terms, ratio)])[:, 0]).reason
    assert "One image alone" in jackknife_interval(30.0, leave_one_out_scores(terms, ratio)).reason
    assert "two images" in abc_interval_ratio(*terms.T).reason
    terms[18] = 31.0, 1.0
    found = interval(30.5, replicate_scores([(terms, ratio)])[:, 0])
    assert found.reason == ""
    assert (found.low, found.high) == (30.0, 31.0)
    assert found.n_undefined == pytest.approx(10_000 * math.exp(-2), abs=200)


def test_an_undefined_score_has_no_interval():
    for found in (interval(math.nan, [1.0, 2.0]), jackknife_interval(math.nan, [1.0, 2.0])):
        assert found.reason == "The score itself is undefined."


def test_a_column_differs_from_itself_by_exactly_nothing(skewed):
    replicates = replicate_scores([(means(skewed), ratio), (means(skewed.copy()), ratio)], 300)
    assert paired_difference(replicates[:, 0], replicates[:, 1], 0.0) == Interval(std_error=0.0, low=0.0, high=0.0)


def test_pairing_removes_what_the_images_share(skewed):
    noise = np.random.default_rng(0).normal(3, 0.01, 200)
    replicates = replicate_scores([(means(skewed), ratio), (means(skewed + noise), ratio)])
    found = paired_difference(replicates[:, 1], replicates[:, 0], float(noise.mean()))
    assert found.std_error == pytest.approx(noise.std() / math.sqrt(200), rel=0.05)
    assert found.low < noise.mean() < found.high


def test_the_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    found = jackknife_interval(float(values.mean()), leave_one_out_scores(means(values), ratio))
    assert found.std_error == pytest.approx(values.std(ddof=1) / math.sqrt(400), rel=1e-9)
    # Normal values: about as many degrees of freedom as images.
    low, high = stats.t.interval(0.95, 399, values.mean(), found.std_error)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)


def test_the_jackknife_widens_where_few_images_carry_the_score():
    values = np.zeros(100)
    values[:3] = 5.0, 6.0, 7.0
    left_out = leave_one_out_scores(means(values), ratio)
    found = jackknife_interval(float(values.mean()), left_out)
    u = left_out - left_out.mean()
    freedom = 2 * (u**2).sum() ** 2 / ((u**4).sum() - (u**2).sum() ** 2 / 100)
    assert 4 < freedom < 8
    assert found.high - values.mean() == pytest.approx(stats.t.ppf(0.975, freedom) * found.std_error)
    values[1:3] = 0.0  # one image: the floor of 4 degrees of freedom
    found = jackknife_interval(float(values.mean()), leave_one_out_scores(means(values), ratio))
    assert found.high - values.mean() == pytest.approx(stats.t.ppf(0.975, 4) * found.std_error)


def test_leave_one_out_recomputes_the_classes_present(class_terms):
    found = leave_one_out_scores(class_terms, mean_over_classes_present)
    for i in range(60):
        others = np.delete(class_terms, i, axis=0).sum(axis=0)
        assert found[i] == pytest.approx(float(mean_over_classes_present(others)), rel=1e-12)


def test_the_jackknife_covers_a_mean_over_classes_present_where_the_bootstrap_does_not():
    # A world whose truth is known: 15 common classes, and 45 rare ones with larger errors that only the 40 colourful
    # of 400 images have, several at once, as in photos.
    rng = np.random.default_rng(5)
    present = rng.random((400, 60)) < np.r_[np.full(15, 0.5), np.zeros(45)]
    present[:40, 15:] = rng.random((40, 45)) < 0.1
    pixels = rng.integers(1, 100, (400, 60)) * present
    world = np.hstack([pixels * np.r_[np.full(15, 0.2), rng.uniform(0.6, 1.0, 45)], pixels])
    many = [mean_over_classes_present(world[rng.integers(0, 400, 50)].sum(axis=0)) for _ in range(4000)]
    expected, spread = np.mean(many), np.std(many)
    covered, ratios = [], []
    for k in range(200):
        terms = world[rng.integers(0, 400, 50)]
        estimate = float(mean_over_classes_present(terms.sum(axis=0)))
        jackknife = jackknife_interval(estimate, leave_one_out_scores(terms, mean_over_classes_present))
        bootstrap = interval(
            estimate, replicate_scores([(terms, mean_over_classes_present)], 400, seed=k)[:, 0], correct_bias=True
        )
        covered.append([found.low <= expected <= found.high for found in (jackknife, bootstrap)])
        ratios.append([found.std_error / spread for found in (jackknife, bootstrap)])
    assert np.mean(covered, axis=0)[0] > 0.9
    assert np.mean(covered, axis=0)[1] < 0.9
    assert np.mean(ratios, axis=0)[0] == pytest.approx(1.0, abs=0.15)
    assert np.mean(ratios, axis=0)[1] < 0.92


@pytest.mark.parametrize("freedom", [1, 1.5, 4, 7.3, 30, 9999])
@pytest.mark.parametrize("share", [0.6, 0.95, 0.975, 0.9995])
def test_the_t_quantile_is_scipys(share, freedom):
    assert resampling._student_t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-8)


def abc_of_the_book(top: np.ndarray, bottom: np.ndarray, level: float) -> tuple[float, float, float]:
    """Efron and Tibshirani 1993, algorithm ``abcnon``, with finite differences: any statistic of weights."""

    def statistic(p: np.ndarray) -> float:
        return float(p @ top / (p @ bottom))

    n, step = len(top), 0.001 / len(top)
    center, identity = np.full(n, 1 / n), np.eye(n)
    t0 = statistic(center)
    plus = np.array([statistic(center + step * (e - center)) for e in identity])
    minus = np.array([statistic(center - step * (e - center)) for e in identity])
    first, second = (plus - minus) / (2 * step), (plus - 2 * t0 + minus) / step**2
    sigma = math.sqrt((first**2).sum()) / n
    a = (first**3).sum() / (6 * n**3 * sigma**3)
    delta = first / (n**2 * sigma)
    cq = (statistic(center + step * delta) - 2 * t0 + statistic(center - step * delta)) / (2 * sigma * step**2)
    curvature = second.sum() / (2 * n**2) / sigma - cq
    z0 = stats.norm.ppf(2 * stats.norm.cdf(a) * stats.norm.cdf(-curvature))
    z = z0 + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = (statistic(center + x * delta) for x in z / (1 - a * z) ** 2)
    return sigma, low, high


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [12, 80])
def test_the_closed_form_is_the_abc_interval_of_the_book(n, level):
    rng = np.random.default_rng(n)
    bottom = rng.gamma(2, 1, n)
    top = bottom**1.5 * rng.lognormal(size=n)
    found = abc_interval_ratio(top, bottom, level)
    assert (found.std_error, found.low, found.high) == pytest.approx(abc_of_the_book(top, bottom, level), rel=1e-4)


def test_the_closed_form_is_close_to_scipys_bca(skewed):
    found = abc_interval_ratio(skewed, np.ones(200))
    bca = stats.bootstrap((skewed,), np.mean, n_resamples=20_000, batch=2_000, rng=np.random.default_rng(0))
    assert found.low == pytest.approx(bca.confidence_interval.low, abs=0.1 * found.std_error)
    assert found.high == pytest.approx(bca.confidence_interval.high, abs=0.1 * found.std_error)


def test_closed_form_and_percentile_agree_on_many_images():
    # The two differ by skewness / sqrt(n), far below what a table shows.
    rng = np.random.default_rng(4)
    bottom = rng.integers(50_000, 65_000, 5000).astype(float)
    top = bottom * rng.beta(20, 2, 5000)
    terms = np.column_stack([top, bottom])
    closed = abc_interval_ratio(top, bottom)
    sampled = interval(top.sum() / bottom.sum(), replicate_scores([(terms, ratio)])[:, 0])
    assert closed.low == pytest.approx(sampled.low, abs=1e-4)
    assert closed.high == pytest.approx(sampled.high, abs=1e-4)


def exact_swap_p_value(a: np.ndarray, b: np.ndarray, score) -> float:
    """All 2**n patterns, one by one."""
    observed = abs(score(a.sum(axis=0)) - score(b.sum(axis=0)))
    far = 0
    for pattern in product([True, False], repeat=len(a)):
        keep = np.array(pattern)[:, None]
        one, two = np.where(keep, a, b).sum(axis=0), np.where(keep, b, a).sum(axis=0)
        far += abs(score(one) - score(two)) >= observed - 1e-12
    return far / 2 ** len(a)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_label_swap_agrees_with_all_patterns_on_a_pooled_ratio(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 1000, 9).astype(float)
    a = np.column_stack([pixels * rng.random(9), pixels])
    b = np.column_stack([pixels * (rng.random(9) + 0.2), pixels])
    found = sign_flip_test(a, b, ratio, n_draws=20_000, seed=seed)
    assert found.difference == pytest.approx(float(ratio(a.sum(axis=0)) - ratio(b.sum(axis=0))))
    assert found.p_value == pytest.approx(exact_swap_p_value(a, b, ratio), abs=5 * math.sqrt(0.25 / 20_000))


def test_label_swap_of_means_is_scipys_sign_flip_test(skewed):
    values = skewed - np.random.default_rng(1).lognormal(0.1, size=200)
    found = sign_flip_test(means(values), means(np.zeros(200)), ratio, n_draws=20_000)
    reference = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        batch=2_000,
        rng=np.random.default_rng(0),
    )
    assert found.p_value == pytest.approx(reference.pvalue, abs=0.025)


def test_p_is_never_zero_and_one_for_a_method_against_itself(skewed):
    better = sign_flip_test(means(skewed + 5), means(skewed), ratio, n_draws=999)
    assert better.p_value == 1 / 1000
    same = sign_flip_test(means(skewed), means(skewed), ratio, n_draws=999)
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_ties_count_as_far():
    # Two images, all four patterns give +-1 or 0: the observed difference of 1 is tied in half of the draws.
    found = sign_flip_test(means(np.array([0.1, 0.3])), means(np.array([0.3, 0.1]) + 0.2), ratio, n_draws=4000)
    exact = exact_swap_p_value(means(np.array([0.1, 0.3])), means(np.array([0.3, 0.1]) + 0.2), ratio)
    assert found.p_value == pytest.approx(exact, abs=0.04)


def test_many_tests_at_once_are_the_single_tests(skewed, class_terms):
    worse = class_terms + np.hstack([class_terms[:, 40:] * 9000, np.zeros((60, 40), dtype=np.int64)])
    pairs = [
        (means(skewed[:60]), means(skewed[60:120]), ratio),
        (class_terms, worse, mean_over_classes_present),
    ]
    together = sign_flip_tests(pairs, 500, seed=3)
    assert together == [sign_flip_test(*pair, 500, seed=3) for pair in pairs]
    assert sign_flip_test(class_terms, worse, mean_over_classes_present, 500).difference == pytest.approx(-9000)


def test_an_undefined_difference_has_no_p_value():
    found = sign_flip_test(np.zeros((4, 2)), means(np.ones(4)), ratio, n_draws=50)
    assert math.isnan(found.difference)
    assert math.isnan(found.p_value)


GOOD = (np.ones((4, 2)), ratio)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list(image_weights(0)), "The number of images is 0"),
        (lambda: list(image_weights(3, 0)), "The number of replicates is 0"),
        (lambda: list(image_weights(3, block_rows=0)), "The number of rows per block is 0"),
        (lambda: list(image_weights(3, seed=-1)), "The seed is -1"),
        (lambda: TermMatrix([]), "There is no column"),
        (lambda: TermMatrix([GOOD, (np.ones((5, 2)), ratio)]), "column 1 have 5 images, those before it 4"),
        (lambda: TermMatrix([(np.ones(4), ratio)]), r"column 0 have shape \(4,\)"),
        (lambda: TermMatrix([(np.array([[1.0], [np.inf]]), ratio)]), "Term 0 of image 1 in column 0"),
        (lambda: interval(1.0, [1.0, 2.0], level=95), "The level is 95"),
        (lambda: jackknife_interval(1.0, [1.0, 2.0], level=0), "The level is 0"),
        (lambda: abc_interval_ratio([1.0], [1.0], level=1), "The level is 1"),
        (lambda: abc_interval_ratio([1.0, 2.0], [1.0]), r"shapes \(2,\) and \(1,\)"),
        (lambda: abc_interval_ratio([1.0, np.nan], [1.0, 1.0]), "Term 0 of image 1 in the ratio"),
        (lambda: paired_difference([1.0, 2.0], [1.0], 0.0), "there are 2 and 1"),
        (lambda: sign_flip_tests([]), "There is no pair"),
        (lambda: sign_flip_test(np.ones((4, 2)), np.ones((4, 3)), ratio), "2 and 3 terms per image"),
        (lambda: sign_flip_test(np.ones((4, 2)), np.ones((5, 2)), ratio), "have 5 images"),
        (lambda: sign_flip_test(*[np.ones((4, 2))] * 2, ratio, n_draws=0), "The number of replicates is 0"),
    ],
)
def test_mistakes_are_plain_sentences(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_starts_without_scipy_pandas_or_numba():
    code = (
        "import sys, evalkit.resampling.intervals; print([m for m in ('scipy', 'pandas', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(resampling).failed == 0
