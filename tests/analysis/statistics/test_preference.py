from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.preference import (
    Preferences,
    one_sided_bound,
    pair_shares,
    preference_scale,
    win_matrix,
)
from evalkit.errors import InputError

STRENGTH = {"a": 0.9, "b": 0.2, "c": -0.3, "d": -0.8}


def answers(
    seed: int,
    *,
    n_participants: int = 25,
    n_images: int = 24,
    strength: dict[str, float] | None = None,
    spread: float = 0.0,
    image_spread: float = 0.0,
    order: float = 0.0,
) -> Preferences:
    """Participants and images that agree on the strengths up to their own taste."""
    rng = np.random.default_rng(seed)
    strength = STRENGTH if strength is None else strength
    names, worth = np.array(list(strength)), np.array(list(strength.values()))
    taste = spread * rng.normal(size=(n_participants, names.size))
    picture = image_spread * rng.normal(size=(n_images, names.size))
    participant, image = np.repeat(np.arange(n_participants), n_images), np.tile(np.arange(n_images), n_participants)
    first = rng.integers(names.size, size=participant.size)
    second = (first + rng.integers(1, names.size, size=participant.size)) % names.size
    total = worth + taste[participant] + picture[image]
    rows = np.arange(participant.size)
    chance = 1 / (1 + np.exp(-(order + total[rows, first] - total[rows, second])))
    value = (rng.random(participant.size) < chance).astype(float)
    return Preferences.from_labels(names[first], names[second], value, participant, image)


def formula_answers() -> Preferences:
    """Twelve people and twelve images without any random number, for programs that share none with this one."""
    rows = []
    for p in range(12):
        for i in range(12):
            a, b = [("a", "b"), ("a", "c"), ("b", "c")][(p + i) % 3]
            if (p * i + i // 2) % 2:
                a, b = b, a
            worth = {name: 2 * np.sin(3 * p + ord(name)) + 2 * np.cos(5 * i + 2 * ord(name)) for name in "abc"}
            eta = {"a": 0.9, "b": 0.2, "c": -0.6}[a] - {"a": 0.9, "b": 0.2, "c": -0.6}[b] + worth[a] - worth[b]
            uniform = ((p * 37 + i * 53 + p * i * 11) % 97 + 0.5) / 97
            rows.append((a, b, float(uniform < 1 / (1 + np.exp(-(eta + 0.8 * (-1) ** p + 0.3)))), p, i))
    return Preferences.from_labels(*(np.array(column) for column in zip(*rows, strict=True)))


def test_counts_every_win_and_half_of_every_tie() -> None:
    preferences = Preferences.from_labels(
        ["a", "a", "a", "c", "a"], ["b", "b", "b", "a", "c"], [1, 1, 0, 0, 0.5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]
    )
    wins, n_trials = win_matrix(preferences)
    assert wins.tolist() == [[0, 2, 1.5], [1, 0, 0], [0.5, 0, 0]]
    assert n_trials.tolist() == [[0, 3, 2], [3, 0, 0], [2, 0, 0]]
    shares = {(share.method_a, share.method_b): share for share in pair_shares(preferences)}
    assert set(shares) == {("a", "b"), ("a", "c")}  # b and c never met
    assert (shares["a", "c"].wins_a, shares["a", "c"].ties, shares["a", "c"].estimate) == (1, 1, 0.75)
    turned = shares["a", "b"].seen_from("b")
    assert (turned.wins_a, turned.wins_b, turned.estimate) == (1, 2, pytest.approx(1 / 3))


def test_the_share_of_a_pair_is_the_two_way_mean() -> None:
    from analysis.statistics.fool_rate import fool_rate

    preferences = answers(5, strength={"x": 0.4, "y": 0.0}, spread=0.5, image_spread=0.5)
    (share,) = pair_shares(preferences)
    won = np.where(preferences.first == 0, preferences.value, 1 - preferences.value)
    expected = fool_rate(won, preferences.participant, preferences.image)
    assert share.mean == expected
    turned = share.seen_from("y").mean
    assert turned is not None
    assert (turned.ci_low, turned.ci_high) == pytest.approx((1 - expected.ci_high, 1 - expected.ci_low))


def test_both_orders_of_a_pair_on_one_image_are_one_answer() -> None:
    once = answers(7, n_participants=8, n_images=8, strength={"x": 0.5, "y": 0.0})
    twice = Preferences(
        methods=once.methods,
        first=np.concatenate([once.first, once.second]),
        second=np.concatenate([once.second, once.first]),
        value=np.concatenate([once.value, 1 - once.value]),
        participant=np.tile(once.participant, 2),
        image=np.tile(once.image, 2),
    )
    one, two = pair_shares(once)[0].mean, pair_shares(twice)[0].mean
    assert one is not None
    assert two is not None
    assert two.std_error == pytest.approx(one.std_error)


def test_strengths_agree_with_choix() -> None:
    import choix

    preferences = answers(0)
    turned = Preferences(  # every trial also in the other order: nothing is left for the order to explain
        methods=preferences.methods,
        first=np.concatenate([preferences.first, preferences.second]),
        second=np.concatenate([preferences.second, preferences.first]),
        value=np.concatenate([preferences.value, 1 - preferences.value]),
        participant=np.tile(preferences.participant, 2),
        image=np.tile(preferences.image, 2),
    )
    scale = preference_scale(turned)
    pairs = [
        (w, x) if y else (x, w)
        for w, x, y in zip(preferences.first, preferences.second, preferences.value, strict=True)
    ]
    expected = choix.ilsr_pairwise(4, pairs)
    assert scale.strength == pytest.approx(expected - expected.mean(), abs=1e-6)
    assert scale.strength.sum() == pytest.approx(0, abs=1e-12)
    assert scale.order is not None
    assert scale.order.estimate == pytest.approx(0, abs=1e-9)


def test_scale_order_effect_differences_and_omnibus_agree_with_r() -> None:
    """R 4.2, sandwich 3.0; literals in R's digits:

    library(sandwich)  # d: the rows of formula_answers()
    for (m in c("b", "c")) d[[m]] <- (d$first == m) - (d$second == m)
    fit <- glm(value ~ b + c, binomial, d); d$cell <- interaction(d$participant, d$image)
    v <- function(cluster) vcovCL(fit, cluster = cluster, type = "HC0", cadjust = TRUE)
    V <- v(d$participant) + v(d$image) - v(d$cell); b <- coef(fit)[2:3]
    W <- t(b) %*% solve(V[2:3, 2:3]) %*% b; nu <- 11; q <- 2; f <- W * (nu - q + 1) / (nu * q)
    pf(f, q, nu - q + 1, lower = FALSE)
    """
    scale = preference_scale(formula_answers())
    a_b, a_c, b_c = (scale.difference(*pair) for pair in ("ab", "ac", "bc"))
    assert scale.order is not None
    assert (a_b.estimate, a_c.estimate) == pytest.approx((0.05771299121, 0.54844685155), abs=1e-8)
    assert (a_b.std_error, a_c.std_error, b_c.std_error) == pytest.approx(
        (0.3915075116, 0.5398467869, 0.4039424474), rel=1e-7
    )
    assert (scale.order.estimate, scale.order.std_error) == pytest.approx((0.26266040420, 0.2972107563), rel=1e-7)
    assert (scale.omnibus.statistic, scale.omnibus.p_value) == pytest.approx((0.69797514, 0.52029215), rel=1e-6)
    one_way = preference_scale(formula_answers(), estimand="participants")
    assert one_way.difference("a", "b").std_error == pytest.approx(0.2530036596, rel=1e-7)
    assert one_way.difference("a", "b").df == pytest.approx(11)
    assert (one_way.omnibus.statistic, one_way.omnibus.p_value) == pytest.approx((1.191060204, 0.343577634), rel=1e-6)


def test_thurstone_with_clusters_agrees_with_statsmodels() -> None:
    import statsmodels.api as sm

    preferences = answers(1, spread=0.5)
    scale = preference_scale(preferences, link="probit", estimand="participants")
    rows = np.arange(preferences.value.size)
    x = np.zeros((rows.size, 4))
    x[rows, preferences.first], x[rows, preferences.second] = 1, -1
    fit = sm.GLM(
        preferences.value, np.column_stack([np.ones(rows.size), x[:, 1:]]), family=sm.families.Binomial(sm.families.links.Probit())
    ).fit(cov_type="cluster", cov_kwds={"groups": preferences.participant, "use_correction": False})  # fmt: skip
    assert scale.strength[1:] - scale.strength[0] == pytest.approx(fit.params[1:], abs=1e-6)
    expected = np.sqrt(np.diag(fit.cov_params())[1:] * 25 / 24)
    found = [scale.difference(name, "a").std_error for name in "bcd"]
    # statsmodels takes the observed information, we the expected one (Fisher scoring).
    assert found == pytest.approx(expected, rel=3e-2)


def test_the_error_of_a_difference_is_not_that_of_two_separate_strengths() -> None:
    scale = preference_scale(answers(4, spread=0.8, image_spread=0.8))
    combined = math.hypot(scale.strength_of("a").std_error, scale.strength_of("b").std_error)
    assert combined / scale.difference("a", "b").std_error < 0.95


def test_people_of_different_taste_make_the_interval_longer() -> None:
    same, different = (preference_scale(answers(2, spread=s)).difference("a", "b") for s in (0.0, 2.0))
    assert different.std_error > 1.5 * same.std_error


def test_the_order_effect_is_found_and_taken_out() -> None:
    scale = preference_scale(answers(11, n_participants=60, order=0.6))
    assert scale.order is not None
    assert scale.order.ci_low < 0.6 < scale.order.ci_high
    assert scale.order.p_value < 0.001
    fixed = answers(12, strength={"x": 0.5, "y": 0.0})
    keep = fixed.first == 0  # x always first: its strength and the order cannot be told apart
    one_sided = Preferences(
        methods=fixed.methods,
        first=fixed.first[keep],
        second=fixed.second[keep],
        value=fixed.value[keep],
        participant=fixed.participant[keep],
        image=fixed.image[keep],
    )
    scale = preference_scale(one_sided)
    assert scale.order is None
    assert "shown first cannot be told" in scale.note


def test_no_standard_error_is_zero_in_small_studies() -> None:
    """Twelve people and images: with negative eigenvalues set to 0 a standard error of 0.00 came out in 2 %."""
    smallest = 1.0
    for seed in range(150):
        preferences = answers(seed, n_participants=12, n_images=12, strength={"x": 0.0, "y": 0.0})
        smallest = min(smallest, preference_scale(preferences).difference("x", "y").std_error)
    assert smallest > 0.05


def test_differences_and_omnibus_keep_their_level() -> None:
    """300 studies of three equal methods, people and images both of their own taste: 5 % +- 1.3."""
    single = omnibus = 0
    for seed in range(300):
        preferences = answers(
            seed, n_participants=20, n_images=30, strength=dict.fromkeys("xyz", 0.0), spread=0.4, image_spread=0.6
        )
        scale = preference_scale(preferences)
        single += scale.difference("x", "y").p_value <= 0.05
        omnibus += scale.omnibus.p_value <= 0.05
    assert 3 <= single <= 27
    assert omnibus <= 27


def test_a_pair_that_one_method_always_won_has_a_share_an_exact_interval_and_a_bound() -> None:
    """100 of 100 by ten people on ten images: as of ten answers; bounds are powers of the error (Clopper, Pearson)."""
    people, images = np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10)
    preferences = Preferences.from_labels(
        np.where(images % 2, "x", "y"), np.where(images % 2, "y", "x"), images % 2, people, images
    )
    (share,) = pair_shares(preferences)
    assert share.estimate == 1.0
    assert share.mean is not None
    assert (share.mean.ci_low, share.mean.ci_high) == pytest.approx((0.025 ** (1 / 10), 1.0))
    low = 0.05 ** (1 / 10)
    assert one_sided_bound(share) == pytest.approx(math.log(low / (1 - low)))
    assert one_sided_bound(share.seen_from("y")) == pytest.approx(-math.log(low / (1 - low)))
    assert share.p_value == pytest.approx(2 * 0.5**10)
    assert "won every trial" in share.note
    assert "10 independent answers" in share.note
    with pytest.raises(InputError, match="No two of x, y have won against each other"):
        preference_scale(preferences)


def test_a_method_that_always_won_does_not_keep_the_others_from_their_scale() -> None:
    rest = answers(3, n_participants=12, n_images=12, strength={"b": 0.3, "c": 0.0})
    people, images = np.divmod(np.arange(144), 12)
    preferences = Preferences.from_labels(
        np.concatenate([np.array(rest.methods)[rest.first], np.full(144, "truth")]),
        np.concatenate([np.array(rest.methods)[rest.second], np.where(images % 2, "b", "c")]),
        np.concatenate([rest.value, np.ones(144)]),
        np.concatenate([rest.participant, people]),
        np.concatenate([rest.image, images]),
    )
    scale = preference_scale(preferences)
    assert scale.methods == ("b", "c")
    assert "truth always won, always lost or never met" in scale.note
    assert scale.difference("b", "c").estimate == pytest.approx(preference_scale(rest).difference("b", "c").estimate)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_exchanging_winner_and_loser_flips_the_scale(seed: int) -> None:
    one = answers(seed)
    flipped = Preferences(
        methods=one.methods,
        first=one.first,
        second=one.second,
        value=1 - one.value,
        participant=one.participant,
        image=one.image,
    )
    scale, other = preference_scale(one), preference_scale(flipped)
    assert other.strength == pytest.approx(-scale.strength, abs=1e-8)
    assert other.difference("a", "b").std_error == pytest.approx(scale.difference("a", "b").std_error, rel=1e-6)


ARGUMENTS = {"first": ["a", "b"], "second": ["b", "a"], "value": [1, 1], "participant": [1, 2], "image": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"second": ["b", "b"]}, {}, "Trial 1 shows method b against itself"),
        ({"value": [1, 0.3]}, {}, r"value\[1\] is 0.3"),
        ({"participant": [1, 1]}, {}, "one participant"),
        ({"image": [1, 1]}, {}, "one image"),
        ({"value": [1]}, {}, "one of each per trial"),
        ({"value": [1, 0]}, {}, "No two of a, b have won"),
        ({}, {"link": "elo"}, "'probit'"),
        ({}, {"estimand": "images"}, "'participants' is allowed"),
    ],
)
def test_bad_input_is_a_plain_sentence(changes: dict, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preference_scale(Preferences.from_labels(**ARGUMENTS | changes), **options)
