from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.planning.assumptions import PlanningModel, StudyDesign
from analysis.planning.simulation import simulate_answers
from analysis.statistics.fool_rate import clopper_pearson, fool_rate, rating_mean, wilson
from evalkit.errors import InputError

TABLE = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=float)


def full(n_p: int, n_i: int) -> tuple[np.ndarray, np.ndarray]:
    participant, image = np.indices((n_p, n_i))
    return participant.ravel(), image.ravel()


def test_reproduces_the_interval_of_the_worked_table() -> None:
    rate = fool_rate(TABLE.ravel(), *full(5, 4))
    assert rate.estimate == pytest.approx(0.45)
    assert rate.std_error**2 == pytest.approx(0.0358333, abs=5e-8)
    assert (rate.ci_low, rate.ci_high) == pytest.approx((0.0963881, 0.8625551), abs=5e-8)
    assert (rate.n_participants, rate.n_images, rate.n_trials) == (5, 4, 20)
    assert rate.interval == "logit-t"


def test_the_claim_about_these_images_uses_the_spread_of_participants_only() -> None:
    rate = fool_rate(TABLE.ravel(), *full(5, 4), estimand="participants")
    assert rate.std_error == pytest.approx(stats.sem(TABLE.mean(axis=1)))
    assert rate.df == 4
    half = stats.t.ppf(0.975, 4) * rate.std_error / (0.45 * 0.55)
    expected = 1 / (1 + np.exp(-(np.log(0.45 / 0.55) + half * np.array([-1, 1]))))
    assert (rate.ci_low, rate.ci_high) == pytest.approx(tuple(expected))


def test_trials_weigh_equally_and_the_mean_of_participant_means_stands_beside() -> None:
    rate = fool_rate([1, 1, 1, 0, 0, 1], ["a", "a", "a", "a", "b", "b"], [1, 2, 3, 4, 1, 2])
    assert rate.estimate == pytest.approx(4 / 6)
    assert rate.participant_mean == pytest.approx((0.75 + 0.5) / 2)


@pytest.mark.parametrize("n_images", [25, 150, 5000])
def test_the_interval_holds_what_it_promises(n_images: int) -> None:
    """A small version of benchmarks/interval_coverage.py: 400 studies, so 95 % +- 1.1."""
    rng = np.random.default_rng(n_images)
    model = PlanningModel(rate=0.32, participant_sd=0.6, image_sd=1.0)
    intercept, sd_p, sd_i = model.intercept, model.participant_sd, model.image_sd
    design = StudyDesign(n_participants=20, n_trials=25, n_images=n_images)
    held = 0
    for _ in range(400):
        answers = simulate_answers(design, intercept, sd_p, sd_i * rng.standard_normal(n_images), rng)
        rate = fool_rate(*answers)
        held += rate.ci_low <= 0.32 <= rate.ci_high
    assert 0.92 <= held / 400 <= 0.985


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(("estimand", "n"), [("participants+images", 5), ("participants", 12)])
def test_a_rate_of_zero_or_one_has_a_conservative_exact_interval(value: int, estimand: str, n: int) -> None:
    rate = fool_rate(np.full(60, value), *full(12, 5), estimand=estimand)
    expected = stats.binomtest(value * n, n).proportion_ci(method="exact")
    assert (rate.ci_low, rate.ci_high) == pytest.approx((expected.low, expected.high))
    assert rate.interval == "clopper-pearson"
    assert math.isnan(rate.std_error)
    assert f"{n} independent answers" in rate.note


def test_ratings_have_an_interval_on_their_own_scale() -> None:
    rng = np.random.default_rng(3)
    ratings = 4 + rng.normal(size=(30, 1)) + rng.normal(size=(1, 20)) + rng.normal(size=(30, 20))
    mean = rating_mean(ratings.ravel(), *full(30, 20))
    assert mean.ci_low < mean.estimate < mean.ci_high
    assert mean.estimate - mean.ci_low == pytest.approx(mean.ci_high - mean.estimate)
    assert mean.ci_high - mean.estimate == pytest.approx(stats.t.ppf(0.975, mean.df) * mean.std_error)


def test_images_that_never_repeat_are_said_to_be_counted_in_the_residual() -> None:
    rng = np.random.default_rng(2)
    rate = fool_rate(rng.integers(0, 2, 200), np.repeat(np.arange(10), 20), np.arange(200))
    assert "images hardly repeat" in rate.note
    assert rate.df == 9


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_swapping_fooled_and_not_mirrors_the_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    participant, image = np.nonzero(rng.random((8, 9)) < 0.8)
    fooled = (rng.random(participant.size) < rng.uniform(0.1, 0.9)).astype(float)
    fooled[:2] = 0, 1
    one = fool_rate(fooled, participant, image)
    other = fool_rate(1 - fooled, participant, image)
    assert other.estimate == pytest.approx(1 - one.estimate)
    assert (other.ci_low, other.ci_high) == pytest.approx((1 - one.ci_high, 1 - one.ci_low))
    assert 0 <= one.ci_low < one.estimate < one.ci_high <= 1


def test_one_image_is_enough_for_a_claim_about_that_image() -> None:
    rate = fool_rate([0, 1, 1, 0, 1], list("abcde"), ["x"] * 5, estimand="participants")
    assert rate.df == 4
    assert rate.components is None


@pytest.mark.parametrize(
    ("fooled", "participant", "image", "options", "message"),
    [
        ([0, 1], ["a", "a"], [1, 2], {}, "one participant"),
        ([0, 1], ["a", "b"], [1, 1], {}, "one image"),
        ([0, 2], ["a", "b"], [1, 2], {}, r"fooled\[1\] is 2"),
        ([0, 1, 1], ["a", "b", "b"], [1, 2, 2], {}, "two trials of image 2"),
        ([0, 1, np.nan], ["a", "b", "b"], [1, 2, 3], {}, r"values\[2\] is nan"),
        ([0, 1], ["a", "b"], [1, 2], {"confidence": 95}, "confidence is 95"),
        ([0, 1], ["a", "b"], [1, 2], {"estimand": "people"}, "'participants'"),
        ([0, 1, 1, 0], ["a", "a", "b", "b"], [1, 2, 1, 2], {"estimand": "participants"}, "same mean"),
    ],
)
def test_bad_input_is_a_plain_sentence(
    fooled: list, participant: list, image: list, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fool_rate(fooled, participant, image, **options)


def test_equal_ratings_have_no_interval() -> None:
    with pytest.raises(InputError, match="All 4 values are 3"):
        rating_mean([3, 3, 3, 3], ["a", "a", "b", "b"], [1, 2, 1, 2])


def test_means_that_differ_by_rounding_alone_have_no_interval() -> None:
    with pytest.raises(InputError, match="same mean"):
        rating_mean([0.1, 0.2, 0.3, 0.2, 0.3, 0.1], list("aaabbb"), [1, 2, 3, 1, 2, 3], estimand="participants")


def test_wilson_reproduces_the_documented_value_and_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert wilson(10, 20) == pytest.approx((0.299298, 0.700702), abs=5e-7)
    for successes, trials in [(0, 4), (3, 40), (40, 40)]:
        expected = proportion_confint(successes, trials, method="wilson")
        assert wilson(successes, trials) == pytest.approx(expected, abs=1e-12)


@given(trials=st.integers(1, 300), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_clopper_pearson_agrees_with_scipy(trials: int, share: float, confidence: float) -> None:
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_impossible_counts_are_refused(interval) -> None:
    with pytest.raises(InputError, match="5 of 4"):
        interval(5, 4)
