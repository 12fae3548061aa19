"""Choices among several images: wins over the others, Luce's choice model, shares against chance."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.statistics.preference import preference_scale
from analysis.study.breakdowns import diagnose, image_rows, participant_rows
from analysis.study.preferences import analyze_preferences
from analysis.trials.choices import as_pairs
from analysis.trials.columns import PLACES
from analysis.trials.trial_files import table_of_records
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError

WORTH = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.5}


def choices(n_people=30, n_images=40, *, shown=4, seed=0, place_bias=0.0, person_sd=0.0):
    """Rows of people who choose by Luce's model, methods in random places."""
    rng = np.random.default_rng(seed)
    names = np.array(sorted(WORTH))
    rows = []
    for person in range(n_people):
        taste = person_sd * rng.standard_normal(4)
        for image in rng.choice(n_images, n_images // 2, replace=False):
            order = rng.choice(4, shown, replace=False)
            worth = np.array([WORTH[names[k]] * np.exp(taste[k]) for k in order])
            worth[0] *= np.exp(place_bias)
            chosen = rng.choice(shown, p=worth / worth.sum())
            cells = {f"method_{place}": names[k] for place, k in zip(PLACES, order, strict=False)}
            rows.append({"participant": f"p{person}", "image": f"i{image}", **cells, "response": PLACES[chosen]})
    return rows


def table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    return check_trials(table_of_records("choices", {name: [row.get(name, "") for row in rows] for name in names}))


def test_a_choice_is_as_many_wins_as_there_were_others():
    rows = [
        {"participant": "p", "image": "i", "method_first": "x", "method_second": "y", "method_third": "z", "response": "third"},
        {"participant": "p", "image": "j", "method_first": "y", "method_second": "x", "method_third": "", "response": "tie"},
        {"participant": "q", "image": "i", "method_first": "z", "method_second": "y", "method_third": "x", "response": "second"},
    ]  # fmt: skip
    trials = table(rows)
    assert trials.methods == ("x", "y", "z")
    pairs = as_pairs(trials)
    found = [
        (str(p), str(a), str(b), float(v))
        for p, a, b, v in zip(
            pairs["participant"], pairs["method_first"], pairs["method_second"], pairs.value, strict=True
        )
    ]
    assert sorted(found) == [
        ("p", "x", "z", 0.0), ("p", "y", "x", 0.5), ("p", "y", "z", 0.0), ("q", "y", "x", 1.0), ("q", "z", "y", 0.0)
    ]  # fmt: skip


def test_the_scale_of_complete_choices_is_that_of_luces_full_likelihood():
    trials = table(choices(seed=1))
    results = analyze_preferences(trials)
    counts = {share.name: share.n_chosen for share in results.choices}
    logs = np.log([counts[name] for name in results.scale.methods])
    np.testing.assert_allclose(results.scale.strength, logs - logs.mean(), atol=1e-8)
    assert results.scale.order is None
    assert results.methods[0] == "c"


def test_sets_that_differ_from_trial_to_trial_give_the_worths_as_well():
    results = analyze_preferences(table(choices(300, 40, shown=3, seed=2)))
    truth = np.log([WORTH[name] for name in results.scale.methods])
    for k, name in enumerate(results.scale.methods):
        contrast = results.scale.strength_of(name)
        assert abs(contrast.estimate - (truth - truth.mean())[k]) < 4 * contrast.std_error < 0.3


def test_the_standard_error_is_that_of_the_choices_not_of_the_wins():
    trials = table(choices(40, 40, seed=3))
    scale = analyze_preferences(trials).scale
    # Of independent choices, the covariance of the log counts is that of the multinomial.
    n = {name: np.sum(scale.n_trials / 3 * WORTH[name] / 7.5) for name in "ab"}
    expected = np.sqrt(1 / n["a"] + 1 / n["b"])
    assert scale.difference("a", "b").std_error == pytest.approx(expected, rel=0.25)


def test_intervals_cover_the_difference_although_people_differ():
    covered = 0
    for seed in range(60):
        scale = analyze_preferences(table(choices(16, 16, seed=seed, person_sd=0.7))).scale
        found = scale.difference("c", "a")
        covered += found.ci_low <= np.log(4.0) <= found.ci_high
    assert covered >= 52  # 57 expected


def test_shares_are_held_against_one_in_so_many():
    results = analyze_preferences(table(choices(seed=4, place_bias=1.0)))
    assert {share.chance for share in (*results.choices, *results.places)} == {0.25}
    by_name = {share.name: share for share in results.choices}
    assert by_name["c"].p_value < 0.001
    assert by_name["c"].n_trials == 600
    places = {share.name: share for share in results.places}
    assert places["first"].p_value < 0.01 < places["second"].n_chosen
    assert [row["quantity"] for row in results.choice_rows()] == ["method"] * 4 + ["place"] * 4


def test_tables_of_images_and_people_know_that_there_are_several():
    rows = choices(6, 20, seed=5)
    trials = table([row | {"response": "first"} if row["participant"] == "p0" else row for row in rows])
    images = image_rows(trials)
    assert sum(row["raw_rate"] * row["n_trials"] for row in images) == pytest.approx(len(trials))
    people = participant_rows(trials)
    assert np.isnan(people[0]["first_share"])
    assert [row["straight_lining"] for row in people] == [True] + [False] * 5
    assert "side_bias" not in diagnose(trials)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"response": "fourth"}, "row 1 has response 'fourth'; a place that has a method, tie"),
        ({"response": "tie"}, "row 1 has response 'tie'"),
        ({"response": "yes"}, "row 1 has response 'yes'"),
        ({"method_third": "x"}, "row 1 shows method 'x' against itself"),
        ({"method_fourth": "w", "method_third": ""}, "row 1 has a method_fourth and no method_third"),
    ],
)
def test_rows_that_make_no_sense_are_refused(changes, said):
    row = {
        "participant": "p",
        "image": "i",
        "method_first": "x",
        "method_second": "y",
        "method_third": "z",
        "response": "third",
    }
    with pytest.raises(InputError, match=said):
        table([row | changes])


def test_two_at_once_stay_what_they_were():
    rows = [
        {key: value for key, value in row.items() if key not in ("method_third", "method_fourth")}
        for row in choices(shown=2, seed=6)
    ]
    trials = table(rows)
    assert as_pairs(trials) is trials
    results = analyze_preferences(trials)
    assert results.choices == results.places == ()
    assert results.scale.order is not None
    assert preference_scale.__kwdefaults__["with_order"] is True
