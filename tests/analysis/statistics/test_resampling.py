from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.bootstrap import (
    nested_bootstrap,
    nested_bootstrap_samples,
    nested_bootstrap_std_error,
    pigeonhole_samples,
    pigeonhole_variance,
    probability_less,
    script_bootstrap_samples,
    summarise_samples,
)
from analysis.statistics.crossed import CrossedDesign
from evalkit.errors import InputError


def moments(distribution) -> tuple[float, float]:
    x = np.arange(distribution.pmf.size) / distribution.denominator
    mean = np.sum(x * distribution.pmf)
    return mean, np.sqrt(np.sum((x - mean) ** 2 * distribution.pmf))


def plain_loop(answers: list[np.ndarray], n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The scheme as the paper's script writes it: participants, then each one's trials, one at a time."""
    means = []
    for _ in range(n_resamples):
        chosen = [answers[rng.integers(len(answers))] for _ in answers]
        means.append(np.mean([rng.choice(a, size=a.size).mean() for a in chosen]))
    return np.array(means)


def test_reproduces_the_documented_variances() -> None:
    assert nested_bootstrap_std_error([2, 5, 9], 10, resample_trials=False) ** 2 == pytest.approx(
        0.0274074074, abs=5e-11
    )
    assert nested_bootstrap_std_error([2, 5, 9], 10) ** 2 == pytest.approx(0.0329629630, abs=5e-11)


def test_reproduces_the_smallest_distribution() -> None:
    distribution = nested_bootstrap([0, 1], 1)
    assert distribution.pmf == pytest.approx([0.25, 0.5, 0.25], abs=1e-15)
    assert distribution.std_error == pytest.approx(0.3535534, abs=5e-8)


def test_enumerating_every_resample_gives_the_same_distribution() -> None:
    """All 2^2 draws of participants times all 3^3 draws of trials of each."""
    answers = [[0, 0, 1], [1, 1, 0]]
    counted = np.zeros(7)
    for people in itertools.product(answers, repeat=2):
        for first in itertools.product(people[0], repeat=3):
            for second in itertools.product(people[1], repeat=3):
                counted[sum(first) + sum(second)] += 1
    assert nested_bootstrap([1, 2], 3).pmf == pytest.approx(counted / counted.sum(), abs=1e-15)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), equal=st.booleans(), nested=st.booleans())
def test_the_distribution_has_the_closed_form_moments(seed: int, n: int, equal: bool, nested: bool) -> None:
    rng = np.random.default_rng(seed)
    trials = np.full(n, 12) if equal else rng.integers(8, 13, size=n)
    distribution = nested_bootstrap(rng.integers(0, trials + 1), trials, resample_trials=nested)
    assert distribution.exact
    assert distribution.pmf.sum() == pytest.approx(1, abs=1e-12)
    mean, spread = moments(distribution)
    assert mean == pytest.approx(distribution.mean, abs=1e-12)
    # Variances: the transform's rounding is 1e-17 there, whose root would read as a spread of 2e-9.
    assert spread**2 == pytest.approx(distribution.std_error**2, rel=1e-9, abs=1e-15)


def test_many_different_trial_counts_fall_back_to_a_fine_grid() -> None:
    rng = np.random.default_rng(1)
    trials = rng.integers(20, 60, size=40)
    distribution = nested_bootstrap(rng.binomial(trials, 0.3), trials)
    assert not distribution.exact
    mean, spread = moments(distribution)
    assert mean == pytest.approx(distribution.mean, abs=1e-12)
    assert spread == pytest.approx(distribution.std_error, rel=1e-4)


def test_equals_a_million_seeded_draws_within_their_error() -> None:
    rng = np.random.default_rng(7)
    fooled = rng.binomial(20, rng.beta(2, 4, size=16))
    distribution = nested_bootstrap(fooled, 20)
    samples = nested_bootstrap_samples(fooled, 20, n_resamples=1_000_000, seed=11)
    summary = summarise_samples(samples)
    # Standard errors of the mean and of the standard deviation of a million draws, times four.
    assert summary.mean == pytest.approx(distribution.mean, abs=4 * distribution.std_error / 1000)
    assert summary.std_error == pytest.approx(distribution.std_error, rel=4 / np.sqrt(2e6))
    counts = np.bincount(np.rint(samples * distribution.denominator).astype(int), minlength=distribution.pmf.size)
    common = distribution.pmf * 1e6 > 20
    chi_square = np.sum((counts[common] - 1e6 * distribution.pmf[common]) ** 2 / (1e6 * distribution.pmf[common]))
    assert stats.chi2.sf(chi_square, common.sum() - 1) > 1e-4
    low, high = distribution.interval()
    assert abs(summary.ci_low - low) <= 1 / distribution.denominator
    assert abs(summary.ci_high - high) <= 1 / distribution.denominator


def test_the_fast_monte_carlo_follows_the_plain_loop() -> None:
    rng = np.random.default_rng(3)
    answers = [rng.integers(0, 2, size=t).astype(float) for t in (5, 8, 9, 6)]
    fooled, trials = [int(a.sum()) for a in answers], [a.size for a in answers]
    loop = plain_loop(answers, 4000, rng)
    fast = nested_bootstrap_samples(fooled, trials, n_resamples=4000, seed=4)
    assert stats.ks_2samp(np.round(loop, 9), np.round(fast, 9)).pvalue > 1e-3


def test_seeds_decide_the_monte_carlo() -> None:
    one, again, other = (nested_bootstrap_samples([3, 4, 9], 10, n_resamples=50, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_pooling_trials_weighs_participants_by_their_trials() -> None:
    samples = nested_bootstrap_samples([0, 90], [10, 90], n_resamples=4000, seed=0, pooled=True, resample_trials=False)
    assert set(np.round(samples, 6)) == {0.0, 0.9, 1.0}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_three_outcomes_of_a_comparison_add_up_to_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = nested_bootstrap(rng.integers(0, 7, size=5), 6)
    b = nested_bootstrap(rng.integers(0, 5, size=4), 4)
    less, greater = probability_less(a, b), probability_less(b, a)
    halves = probability_less(a, b, ties="half") + probability_less(b, a, ties="half")
    tie = 2 * (probability_less(a, b, ties="half") - less)
    assert halves == pytest.approx(1, abs=1e-12)
    assert less + greater + tie == pytest.approx(1, abs=1e-12)


def test_the_probability_agrees_with_all_pairs_of_outcomes() -> None:
    a, b = nested_bootstrap([1, 2], 3), nested_bootstrap([2, 2, 1], 2)
    x, y = np.arange(a.pmf.size) * b.denominator, np.arange(b.pmf.size) * a.denominator
    joint = np.outer(a.pmf, b.pmf)
    assert probability_less(a, b) == pytest.approx(joint[x[:, None] < y].sum())
    ties = 0.5 * joint[x[:, None] == y].sum()
    assert probability_less(a, b, ties="half") == pytest.approx(joint[x[:, None] < y].sum() + ties)


def test_the_script_variant_follows_the_public_scheme() -> None:
    """Its loop, trial by trial, for methods mixed within participants."""
    rng = np.random.default_rng(5)
    method = rng.integers(0, 2, size=(30, 8))  # trials x participants
    fooled = (rng.random((30, 8)) < np.where(method == 0, 0.2, 0.5)).astype(int)
    loop = []
    for _ in range(3000):
        people = rng.integers(8, size=8)
        trials = rng.integers(30, size=(30, 8))
        m, f = method[trials, people], fooled[trials, people]
        loop.append([f[m == k].mean() for k in (0, 1)])
    counts = [np.stack([(fooled * (method == k)).sum(axis=0) for k in (0, 1)], axis=1)]
    counts.append(np.stack([(method == k).sum(axis=0) for k in (0, 1)], axis=1))
    samples = script_bootstrap_samples(*counts, n_resamples=3000, seed=2)
    for k in (0, 1):
        assert stats.ks_2samp(np.array(loop)[:, k], samples[:, k]).pvalue > 1e-3


def test_a_method_absent_from_a_resample_is_missing_there() -> None:
    samples = script_bootstrap_samples([[3, 0], [0, 1]], [[6, 0], [0, 2]], n_resamples=200, seed=0)
    assert np.isnan(samples).any()
    assert np.isnan(samples).all(axis=1).sum() == 0


def test_pigeonhole_variance_reproduces_the_documented_value() -> None:
    participant, image = np.indices((2, 2))
    design = CrossedDesign.from_labels(participant.ravel(), image.ravel())
    assert pigeonhole_variance([1, 0, 1, 1], design) == pytest.approx(0.078125, abs=1e-15)


def test_pigeonhole_draws_have_the_closed_form_variance() -> None:
    rng = np.random.default_rng(0)
    participant, image = np.indices((7, 5))
    design = CrossedDesign.from_labels(participant.ravel(), image.ravel())
    y = rng.integers(0, 2, size=35)
    samples = pigeonhole_samples(y, design, n_resamples=60_000, seed=1)
    assert samples.var() == pytest.approx(pigeonhole_variance(y, design), rel=0.03)


def test_pigeonhole_draws_without_trials_are_drawn_again() -> None:
    design = CrossedDesign.from_labels([0, 1, 2, 3], [0, 1, 2, 3])
    samples = pigeonhole_samples([0, 1, 1, 0], design, n_resamples=500, seed=1)
    assert samples.size == 500
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("fooled", "trials"), [([3], [2]), ([-1, 2], [4, 4]), ([0.5, 1], [2, 2]), ([], []), ([1, 2], [0, 3])]
)
def test_impossible_counts_are_refused(fooled: list, trials: list) -> None:
    with pytest.raises(InputError, match="0 <= fooled <= trials"):
        nested_bootstrap(fooled, trials)


def test_too_few_resamples_are_refused() -> None:
    with pytest.raises(InputError, match="n_resamples is 1"):
        nested_bootstrap_samples([1, 2], 3, n_resamples=1)
    with pytest.raises(InputError, match=r"\(participants, methods\)"):
        script_bootstrap_samples([1, 2], [3, 3])
