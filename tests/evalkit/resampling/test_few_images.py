"""Intervals and tests of few images: known answers, and coverage where the bootstrap's percentiles fail."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from evalkit.resampling.intervals import (
    interval,
    jackknife_interval,
    jackknife_p_value,
    leave_one_out_scores,
    paired_ratio_interval,
    paired_share_difference_interval,
    student_t_two_sided,
    wilson_interval,
)
from evalkit.resampling.replicates import multinomial_weights, replicate_scores
from evalkit.resampling.swap_tests import SwapTest, sign_flip_test, studentised_swap_test


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def mean_terms(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


# --- the bootstrap ------------------------------------------------------------------------------------------


def test_the_percentiles_are_those_of_r_boot() -> None:
    # R: x <- c(10, 12, 12.5, ...); b <- boot(x, function(d, i) mean(d[i]), 1e5); boot.ci(b, type = "perc")
    # percentile (28.86, 84.21); Poisson weights gave 27.82 to 85.50.
    values = np.array([10, 12, 12.5, 12.5, 13.9, 15, 21, 22, 23, 34, 50, 81, 89, 121, 134, 213])
    replicates = replicate_scores([(mean_terms(values), mean)], 20_000, seed=1)[:, 0]
    found = interval(values.mean(), replicates)
    assert (found.low, found.high) == (pytest.approx(28.86, abs=0.35), pytest.approx(84.21, abs=0.6))


def test_multinomial_weights_count_n_draws_and_do_not_depend_on_the_blocking() -> None:
    whole = np.concatenate(list(multinomial_weights(7, 1000, seed=3, block_rows=1000)))
    blocks = np.concatenate(list(multinomial_weights(7, 1000, seed=3, block_rows=13)))
    np.testing.assert_array_equal(whole, blocks)
    assert set(whole.sum(axis=1)) == {7}
    np.testing.assert_allclose(whole.mean(axis=0), 1, atol=0.12)
    np.testing.assert_allclose(whole.var(axis=0), 1 - 1 / 7, atol=0.15)


# --- the jackknife ------------------------------------------------------------------------------------------


def test_of_a_plain_mean_the_interval_is_students() -> None:
    values = np.array([3.0, 5.0, 6.0, 8.0, 9.5])
    found = jackknife_interval(values.mean(), leave_one_out_scores(mean_terms(values), mean))
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert (found.std_error, found.low, found.high) == pytest.approx((stats.sem(values), low, high), rel=1e-9)


@pytest.mark.parametrize(
    ("draw", "truth", "scale", "at_least"),
    [
        (lambda rng, n: rng.normal(25, 4, n), 25.0, "linear", 0.93),
        (lambda rng, n: np.exp(rng.normal(0, 1, n)), math.exp(0.5), "log", 0.87),
        (lambda rng, n: rng.beta(8, 1, n), 8 / 9, "logit", 0.90),
    ],
    ids=["normal", "log-normal", "beta"],
)
@pytest.mark.parametrize("n", [5, 10])
def test_it_covers_where_percentiles_do_not(
    n: int, draw: Callable[..., np.ndarray], truth: float, scale: str, at_least: float
) -> None:
    rng = np.random.default_rng(11)
    n_sets, covered, percentile = 600, 0, 0
    for _ in range(n_sets):
        values = draw(rng, n)
        found = jackknife_interval(values.mean(), leave_one_out_scores(mean_terms(values), mean), scale=scale)
        covered += found.low <= truth <= found.high
        resampled = values[rng.integers(n, size=(300, n))].mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        percentile += low <= truth <= high
    assert covered / n_sets >= at_least
    assert covered - percentile > 0.04 * n_sets


def test_on_the_logit_scale_a_fraction_stays_one() -> None:
    values = np.array([0.99, 0.98, 0.999, 0.45, 0.97, 0.99])
    leave_one_out = leave_one_out_scores(mean_terms(values), mean)
    assert jackknife_interval(values.mean(), leave_one_out).high > 1
    found = jackknife_interval(values.mean(), leave_one_out, scale="logit")
    assert 0 < found.low < values.mean() < found.high < 1
    assert found.std_error == jackknife_interval(values.mean(), leave_one_out).std_error


def test_at_the_end_of_its_range_a_score_has_the_linear_interval() -> None:
    values = np.array([1.0, 1.0, 0.9, 1.0])
    leave_one_out = leave_one_out_scores(mean_terms(values), mean)
    assert max(leave_one_out) == 1.0
    assert jackknife_interval(values.mean(), leave_one_out, scale="logit") == jackknife_interval(
        values.mean(), leave_one_out
    )


@pytest.mark.parametrize(("t", "freedom"), [(0.3, 2.0), (2.0, 4.5), (5.0, 20.0), (10.0, 1000.0), (0.0, 7.0)])
def test_the_tail_of_students_t_is_scipys(t: float, freedom: float) -> None:
    assert student_t_two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9)


def test_the_p_value_of_a_paired_mean_is_the_paired_t_tests() -> None:
    a, b = np.array([3.0, 5.0, 6.0, 8.0, 9.5]), np.array([2.0, 5.5, 4.0, 7.0, 9.0])
    leave_one_out = [leave_one_out_scores(mean_terms(values), mean) for values in (a, b)]
    found = jackknife_p_value(a.mean() - b.mean(), leave_one_out[0] - leave_one_out[1])
    assert found == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert jackknife_p_value(0.0, np.zeros(5)) == 1.0


# --- right or wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (10, 20), (1, 300)])
def test_shares_have_wilsons_interval(successes: int, n: int) -> None:
    found = wilson_interval(successes, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    assert found.high > found.low


def test_the_difference_of_paired_shares_is_newcombes() -> None:
    # R. G. Newcombe 1998, table IV, method 10: 36 both, 12 first only, 2 second only, 0 neither: 0.0569 to 0.3404.
    first = [1] * 36 + [1] * 12 + [0] * 2
    second = [1] * 36 + [0] * 12 + [1] * 2
    found = paired_share_difference_interval(second, first)
    assert (found.low, found.high) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


@pytest.mark.parametrize("n", [5, 10])
def test_intervals_of_shares_cover_where_the_jackknife_has_no_width(n: int) -> None:
    rng = np.random.default_rng(5)
    n_sets, share, wide = 2000, 0, {"ratio": 0, "difference": 0}
    for _ in range(n_sets):
        truth = rng.random(n) < 0.9
        kept = truth & (rng.random(n) < 0.9)  # recognised in 81 %, of the true photos in 90 %
        found = wilson_interval(int(truth.sum()), n)
        share += found.low <= 0.9 <= found.high
        ratio = paired_ratio_interval(kept, truth)
        wide["ratio"] += bool(ratio.reason) or ratio.low <= 0.9 <= ratio.high
        difference = paired_share_difference_interval(truth, kept)
        wide["difference"] += difference.low <= -0.09 <= difference.high
    assert share / n_sets > 0.9
    assert min(wide.values()) / n_sets > 0.9


def test_the_ratio_of_a_share_to_itself_is_not_certain() -> None:
    found = paired_ratio_interval([1] * 5, [1] * 5)
    assert found.low < 1 < found.high
    assert found.low == pytest.approx(1 / found.high, rel=1e-9)


# --- tests --------------------------------------------------------------------------------------------------


def test_of_few_images_every_swap_is_tried() -> None:
    a, b = np.arange(1.0, 6.0), np.zeros(5)
    found = sign_flip_test(mean_terms(a), mean_terms(b), mean)
    assert found == SwapTest(3.0, 2 / 32, 0)  # all keep, all swap
    assert not found.is_at_floor
    mixed = np.array([1.0, -1.0, 2.0, 0.5, 3.0])
    expected = stats.permutation_test(
        (mixed, np.zeros(5)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_test(mean_terms(mixed), mean_terms(b), mean).p_value == pytest.approx(expected)


def test_a_p_value_that_the_number_of_draws_bounds_says_so() -> None:
    a = np.linspace(1, 2, 40)
    found = sign_flip_test(mean_terms(a), mean_terms(np.zeros(40)), mean, n_draws=1000)
    assert found.p_value == 1 / 1001
    assert found.is_at_floor


def class_mean(sums: np.ndarray) -> np.ndarray:
    """1 - mean over the classes present of loss / pixels: the rebalanced AuC in small."""
    k = sums.shape[-1] // 2
    losses, counts = sums[..., :k], sums[..., k:]
    present = counts > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - np.where(present, losses / counts, 0.0).sum(axis=-1) / present.sum(axis=-1)


def two_methods(rng: np.random.Generator, effect: float, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Terms of two methods: most images hold one common class, three hold a dozen rare ones each."""
    counts = np.zeros((n, 37))
    counts[:, 0] = 100
    for i, image in enumerate(rng.choice(n, 3, replace=False)):
        counts[image, 1 + 12 * i : 13 + 12 * i] = 10
    base = rng.uniform(0.2, 0.4, size=(n, 37))
    rare = np.arange(37) > 0
    a, b = (base + rng.normal(0, 0.03, size=(n, 37)) + shift * rare for shift in (0.0, effect))
    return np.hstack([a * counts, counts]), np.hstack([b * counts, counts])


def test_studentised_swaps_are_ratios_to_the_jackknifes_error_pattern_by_pattern() -> None:
    a, b = two_methods(np.random.default_rng(2), effect=0.01, n=7)
    a[:, 37] = b[:, 37] = np.arange(1, 8)  # pixels of a class that all images share unevenly

    def ratio(swapped: int) -> float:
        keep = ((swapped >> np.arange(7)) & 1 == 0)[:, None]
        first, second = np.where(keep, a, b), np.where(keep, b, a)
        leave_one_out = leave_one_out_scores(first, class_mean) - leave_one_out_scores(second, class_mean)
        spread = math.sqrt(6 / 7 * np.square(leave_one_out - leave_one_out.mean()).sum())
        return abs(float(class_mean(first.sum(axis=0)) - class_mean(second.sum(axis=0)))) / spread

    ratios = np.array([ratio(swapped) for swapped in range(2**7)])
    found = studentised_swap_test(a, b, class_mean)
    assert found.n_draws == 0
    assert found.p_value == np.mean(ratios >= ratios[0] * (1 - 1e-9))
    assert 0.02 < found.p_value < 1


def test_studentised_swaps_keep_their_level() -> None:
    rng = np.random.default_rng(3)
    n_sets = 200
    alarms = sum(studentised_swap_test(*two_methods(rng, 0.0), class_mean, 200).p_value < 0.05 for _ in range(n_sets))
    assert alarms / n_sets < 0.10
