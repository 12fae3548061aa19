from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from analysis.planning.assumptions import StudyDesign
from analysis.planning.simulation import simulate_answers
from analysis.statistics.comparison import compare, mcnemar, odds_ratio
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.equivalence import equivalence, non_inferiority
from analysis.statistics.fool_rate import fool_rate
from analysis.statistics.sensitivity import dprime, dprime_unbiased
from evalkit.errors import InputError
from evalkit.resampling.multiplicity import benjamini_hochberg, holm


def study(seed: int, n_a: int = 9, n_b: int = 7, n_i: int = 8, shared: bool = False) -> tuple:
    """Two methods on common images; other participants unless shared."""
    rng = np.random.default_rng(seed)
    p_a, i_a = (codes.ravel() for codes in np.indices((n_a, n_i)))
    p_b, i_b = (codes.ravel() for codes in np.indices((n_b, n_i)))
    p_b = p_b if shared else p_b + 1000
    y_a, y_b = (
        rng.integers(0, 2, size=p_a.size).astype(float),
        rng.integers(0, 2, size=p_b.size).astype(float),
    )
    y_a[:2] = y_b[:2] = 0, 1
    return y_a, p_a, i_a, y_b, p_b, i_b


def plain_two_way(y_a, p_a, i_a, y_b, p_b, i_b) -> tuple[float, float]:
    """The documented formula for different participants, written out with loops."""
    r_a, r_b = (y_a - y_a.mean()) / y_a.size, (y_b - y_b.mean()) / y_b.size
    v_pa = sum(r_a[p_a == p].sum() ** 2 for p in set(p_a)) * len(set(p_a)) / (len(set(p_a)) - 1)
    v_pb = sum(r_b[p_b == p].sum() ** 2 for p in set(p_b)) * len(set(p_b)) / (len(set(p_b)) - 1)
    images = set(i_a) | set(i_b)
    v_i = sum((r_a[i_a == i].sum() - r_b[i_b == i].sum()) ** 2 for i in images) * len(images) / (len(images) - 1)
    v = max(v_pa + v_pb + v_i - np.sum(r_a**2) - np.sum(r_b**2), v_pa + v_pb, v_i)
    df = v**2 / (v_pa**2 / (len(set(p_a)) - 1) + v_pb**2 / (len(set(p_b)) - 1) + v_i**2 / (len(images) - 1))
    return v, df


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_formula_written_out(seed: int) -> None:
    data = study(seed)
    found = compare(*data)
    v, df = plain_two_way(*data)
    assert found.difference == pytest.approx(data[0].mean() - data[3].mean())
    assert found.std_error == pytest.approx(math.sqrt(v))
    assert found.df == pytest.approx(df)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.difference) / math.sqrt(v), df))
    assert (found.n_shared_participants, found.n_shared_images) == (0, 8)


def test_the_claim_about_these_images_is_welchs_test_on_participant_means() -> None:
    data = study(3)
    y_a, y_b = data[0], data[3]
    found = compare(*data, estimand="participants")
    expected = stats.ttest_ind(y_a.reshape(9, 8).mean(1), y_b.reshape(7, 8).mean(1), equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    interval = expected.confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_the_same_participants_make_it_a_paired_test() -> None:
    y_a, p_a, i_a, y_b, p_b, i_b = study(4, n_a=9, n_b=9, shared=True)
    found = compare(y_a, p_a, i_a, y_b, p_b, i_b, estimand="participants")
    expected = stats.ttest_rel(y_a.reshape(9, 8).mean(1), y_b.reshape(9, 8).mean(1))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.n_shared_participants == 9


def test_an_image_effect_common_to_both_methods_cancels() -> None:
    rng = np.random.default_rng(0)
    participant, image = (codes.ravel() for codes in np.indices((30, 20)))
    effect = rng.normal(size=20) * 5
    y_a, y_b = (effect[image] + rng.normal(size=600) for _ in range(2))
    paired = compare(y_a, participant, image, y_b, participant + 100, image)
    unpaired = compare(y_a, participant, image, y_b, participant + 100, image + 100)
    assert paired.std_error < 0.2 < unpaired.std_error


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shared=st.booleans(),
    by=st.sampled_from(["participants+images", "participants"]),
)
def test_exchanging_the_methods_flips_the_sign_only(seed: int, shared: bool, by: str) -> None:
    y_a, p_a, i_a, y_b, p_b, i_b = study(seed, shared=shared)
    one = compare(y_a, p_a, i_a, y_b, p_b, i_b, estimand=by)
    other = compare(y_b, p_b, i_b, y_a, p_a, i_a, estimand=by)
    assert other.difference == pytest.approx(-one.difference)
    assert (other.ci_low, other.ci_high) == pytest.approx((-one.ci_high, -one.ci_low))
    assert other.p_value == pytest.approx(one.p_value)


def test_the_order_of_rows_changes_nothing() -> None:
    data = study(8)
    order_a, order_b = np.random.default_rng(1).permutation(72), np.random.default_rng(2).permutation(56)
    shuffled = [column[order_a] for column in data[:3]] + [column[order_b] for column in data[3:]]
    assert compare(*shuffled).p_value == pytest.approx(compare(*data).p_value)


def test_unequal_groups_raise_no_more_false_alarms_than_they_should() -> None:
    """A small version of benchmarks/interval_coverage.py: 400 studies of equal methods, so 5 % +- 1.1."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        effect = rng.standard_normal(30)
        one = simulate_answers(StudyDesign(n_participants=30, n_trials=30, n_images=30), -0.8, 0.6, effect, rng)
        two = simulate_answers(StudyDesign(n_participants=8, n_trials=30, n_images=30), -0.8, 0.6, effect, rng)
        alarms += compare(*one, two[0], two[1] + 1000, two[2]).p_value <= 0.05
    assert 0.015 <= alarms / 400 <= 0.085


def test_two_constant_methods_have_exact_conservative_limits() -> None:
    _, p_a, i_a, _, p_b, i_b = study(0)
    same = compare(np.zeros(72), p_a, i_a, np.zeros(56), p_b, i_b)
    assert (same.difference, same.p_value) == (0, 1)
    assert same.ci_low < -0.3
    assert same.ci_high > 0.3
    apart = compare(np.ones(72), p_a, i_a, np.zeros(56), p_b, i_b)
    assert apart.p_value == pytest.approx(stats.fisher_exact([[8, 0], [0, 7]]).pvalue)
    assert apart.ci_low < apart.ci_high == 1
    assert "8 and 7 independent answers" in apart.note


@pytest.mark.parametrize(("n_a", "n_b"), [(3, 3), (8, 7), (5, 5), (2, 9)])
def test_the_exact_test_of_two_constant_methods_is_two_sided(n_a: int, n_b: int) -> None:
    """Three against three is 0.1: either group may be the one that is always fooled."""
    a = np.repeat(np.arange(n_a), 12), np.tile(np.arange(12), n_a)
    b = 100 + np.repeat(np.arange(n_b), 12), np.tile(np.arange(12), n_b)
    found = compare(np.ones(12 * n_a), *a, np.zeros(12 * n_b), *b)
    assert found.p_value == pytest.approx(stats.fisher_exact([[n_a, 0], [0, n_b]]).pvalue)


def test_a_method_that_never_varies_is_uncertain_all_the_same() -> None:
    """Newcombe's square-and-add of exact limits and the crossed interval, and the p-value that belongs to it."""
    _, p_a, i_a, y_b, p_b, i_b = study(0)
    found = compare(np.zeros(72), p_a, i_a, y_b, p_b, i_b)
    b = fool_rate(y_b, p_b, i_b)
    upper = 1 - 0.025 ** (1 / 8)  # Clopper-Pearson of 0 in 8, people or images, whichever are fewer
    assert found.ci_low == pytest.approx(-b.estimate - (b.ci_high - b.estimate))
    assert found.ci_high == pytest.approx(-b.estimate + np.hypot(upper, b.estimate - b.ci_low))
    assert math.isnan(found.std_error)
    assert "every answer of A is 0" in found.note
    at_p = compare(np.zeros(72), p_a, i_a, y_b, p_b, i_b, confidence=1 - found.p_value)
    assert min(abs(at_p.ci_low), abs(at_p.ci_high)) < 1e-6
    back = compare(y_b, p_b, i_b, np.zeros(72), p_a, i_a)
    assert (back.ci_low, back.ci_high) == pytest.approx((-found.ci_high, -found.ci_low))
    assert back.p_value == pytest.approx(found.p_value)


def test_two_methods_at_two_per_cent_are_not_told_apart_because_one_happens_not_to_vary() -> None:
    """The null hypothesis was rejected in 99 % of such studies."""
    rng = np.random.default_rng(3)
    person, image = np.repeat(np.arange(40), 20), np.tile(np.arange(20), 40)
    alarms = 0
    for _ in range(60):
        y = (rng.random(800) < 0.02).astype(float)
        y[:2] = 0, 1
        alarms += compare(np.zeros(800), person, image, y, person + 100, image).p_value <= 0.05
    assert alarms == 0


def test_a_method_that_never_varies_can_be_told_from_a_good_one() -> None:
    rng = np.random.default_rng(3)
    person, image = np.repeat(np.arange(40), 40), np.tile(np.arange(40), 40)
    y = (rng.random(1600) < 0.4).astype(float)
    assert compare(np.zeros(1600), person, image, y, person + 100, image).p_value < 0.001


@pytest.mark.parametrize(
    ("estimand", "message"),
    [
        ("participants", "means of participants do not vary.*use estimand"),
        ("participants+images", "and of images do not"),
    ],
)
def test_means_that_do_not_vary_but_for_rounding_give_no_interval(estimand: str, message: str) -> None:
    square = [0.1, 0.2, 0.3, 0.2, 0.3, 0.1, 0.3, 0.1, 0.2]  # sums of rows and columns differ in the last digit
    people, images = np.repeat([1, 2, 3], 3), np.tile([1, 2, 3], 3)
    with pytest.raises(InputError, match=message):
        compare(square, people, images, square, people + 10, images, estimand=estimand)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: np.zeros(72, dtype=int)}, "Method A: Participant 0 has two trials"),
        ({0: np.full(72, np.nan)}, "Values of A must be 72 finite numbers"),
        (
            {0: np.array([0.0, 1.0]), 1: np.array([1, 1]), 2: np.array([1, 2])},
            "two participants of each method",
        ),
    ],
)
def test_bad_input_is_a_plain_sentence(change: dict, message: str) -> None:
    data = list(study(0))
    for position, column in change.items():
        data[position] = column
    with pytest.raises(InputError, match=message):
        compare(*data)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 9), (12, 12), (10, 14), (10, 15), (30, 60), (13, 12)])
def test_mcnemar_agrees_with_statsmodels(b: int, c: int) -> None:
    found = mcnemar(b, c)
    assert found.exact == (b + c < 25)
    if b + c:
        expected = statsmodels_mcnemar([[5, b], [c, 5]], exact=b + c < 25)
        assert found.p_value == pytest.approx(expected.pvalue)
    else:
        assert found.p_value == 1


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(InputError, match="-1 and 3"):
        mcnemar(-1, 3)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_agree_with_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


def test_missing_p_values_stay_missing_and_do_not_count() -> None:
    assert holm([0.01, np.nan, 0.04]).tolist() == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([0.2, 1.2])


def test_equivalence_agrees_with_statsmodels() -> None:
    x = np.random.default_rng(0).normal(0.49, 0.1, size=30)
    expected = ttost_paired(x, np.full(30, 0.5), -0.05, 0.05)[0]
    found = equivalence(float(x.mean()), float(stats.sem(x)), 29)
    assert found.p_value == pytest.approx(expected)
    assert found.shown == (expected <= 0.05)


def test_non_inferiority_looks_at_the_lower_side_only() -> None:
    assert non_inferiority(0.62, 0.02, 39).shown
    assert not equivalence(0.62, 0.02, 39).shown
    assert not non_inferiority(0.46, 0.02, 39).shown


def test_nothing_known_shows_nothing() -> None:
    assert equivalence(0.5, math.nan, math.nan).p_value == 1
    with pytest.raises(InputError, match="margin is 0"):
        equivalence(0.5, 0.01, 10, margin=0)


def test_dprime_reproduces_the_documented_value() -> None:
    assert dprime(0.24) == pytest.approx(0.998863, abs=5e-7)
    assert dprime([0.5, 0.0, 1.0]).tolist() == [0.0, math.inf, -math.inf]
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        dprime(1.5)


def test_a_preference_for_one_side_does_not_change_the_unbiased_dprime() -> None:
    """Observers of true d' 1 whose criterion lies at 0 or far to one side, counted in expectation."""
    n = 1e6
    for criterion in (0.0, 0.8):
        hit, false_alarm = (
            stats.norm.sf(criterion - 1 / math.sqrt(2)),
            stats.norm.sf(criterion + 1 / math.sqrt(2)),
        )
        assert dprime_unbiased(hit * n, n, false_alarm * n, n) == pytest.approx(1.0, abs=1e-4)


def test_perfect_observers_have_a_finite_unbiased_dprime() -> None:
    expected = math.sqrt(2) * stats.norm.ppf(18.5 / 19)
    assert dprime_unbiased([18], [18], [0], [18]) == pytest.approx(expected)
    with pytest.raises(InputError, match="impossible"):
        dprime_unbiased([20], [18], [0], [18])


def r_table() -> tuple[np.ndarray, ...]:
    """12 people by 15 images, six people for each method: answers, people, images, and whose method is b."""
    p, i = np.repeat(np.arange(12), 15), np.tile(np.arange(15), 12)
    is_b = p % 2 == 1
    return ((7 * p * p + 3 * i * i + 5 * p * i + 4 * is_b) % 11 < np.where(is_b, 5, 3)).astype(float), p, i, is_b


def test_a_mixed_model_says_the_same() -> None:
    """R 4.2.2 with lme4 1.1-31, once::

    p <- rep(0:11, each=15); i <- rep(0:14, 12); m <- ifelse(p %% 2 == 0, "a", "b")
    y <- as.numeric(((7*p*p + 3*i*i + 5*p*i + (m=="b")*4) %% 11) < ifelse(m=="b", 5, 3))
    d <- data.frame(y, p=factor(p), i=factor(i), m)
    summary(lmer(y ~ m + (1|p) + (1|i), d))$coefficients
    f <- lmer(y ~ 1 + (1|p) + (1|i), d[d$m=="a",]); summary(f)$coefficients; VarCorr(f)
    summary(glmer(y ~ m + (1|p) + (1|i), d, family=binomial))$coefficients
    """
    y, p, i, is_b = r_table()
    a, b = (y[~is_b], p[~is_b], i[~is_b]), (y[is_b], p[is_b], i[is_b])
    found = compare(*b, *a)
    assert found.difference == pytest.approx(0.1666666667)
    assert found.std_error == pytest.approx(0.08270030742, rel=1e-4)
    mean = fool_rate(*a)
    assert mean.estimate == pytest.approx(0.2222222222)
    assert mean.std_error == pytest.approx(0.05879454963, rel=1e-4)
    assert mean.components is not None
    assert mean.components.image == pytest.approx(0.0, abs=1e-9)
    assert mean.components.participant == pytest.approx(0.009629685, rel=0.1)
    # Images vary by 0 in both; lmer fits the rest anew at that edge, moments leave it as it is.
    assert mean.components.residual == pytest.approx(0.166666641, rel=0.05)
    odds = odds_ratio(b[0], CrossedDesign.from_labels(*b[1:]), a[0], CrossedDesign.from_labels(*a[1:]))
    # The mixed model's ratio is for one person and image, so a little further from 1 than that over people and images.
    assert 1 < odds.ratio < np.exp(0.8176791263)
    assert odds.ratio == pytest.approx(np.exp(0.8176791263), rel=0.05)
    assert np.log(odds.ci_high / odds.ci_low) / 2 == pytest.approx(2.2 * 0.3810393357, rel=0.2)


def test_the_odds_ratio_of_independent_answers_is_woolfs() -> None:
    fooled = (np.arange(300) < 90).astype(float), (np.arange(300) < 150).astype(float)
    designs = [CrossedDesign.from_labels(start + np.arange(300), start + np.arange(300)) for start in (0, 1000)]
    odds = odds_ratio(fooled[0], designs[0], fooled[1], designs[1])
    error = np.sqrt(1 / 90 + 1 / 210 + 1 / 150 + 1 / 150)
    assert odds.ratio == pytest.approx((90 / 210) / (150 / 150))
    assert np.log(odds.ci_high / odds.ci_low) / 2 == pytest.approx(1.96 * error, rel=0.02)
    assert math.isnan(odds_ratio(np.zeros(300), designs[0], fooled[1], designs[1]).ratio)
