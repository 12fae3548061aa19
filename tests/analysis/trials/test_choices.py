"""Choices among several images: wins over the others, Luce's choice model, shares against chance."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.report.preference import choices_title, preference_paragraph, preference_sentences, wins_title
from analysis.statistics.preference import preference_scale
from analysis.study.breakdowns import diagnose, image_rows, participant_rows
from analysis.study.preferences import analyze_preferences
from analysis.study.rates import fool_rates
from analysis.trials.choices import as_pairs
from analysis.trials.columns import PLACES
from analysis.trials.exclusions import ExclusionRule, apply_exclusions
from analysis.trials.trial_files import check_together, table_of_records
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


def raw_of(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return table_of_records("rows", {name: [row.get(name, "") for row in rows] for name in names})


def searches(n_people=6, n_images=9, *, seed=0, study=None, **more):
    """Rows of people who look for the real photo among three, at random, with a vigilance trial each."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(n_people):
        for image in range(n_images):
            shown = [str(name) for name in rng.permutation(["truth", "a", "b"])]
            row = {
                "participant": f"p{person}",
                "image": f"i{image}",
                "kind": "test",
                "response": str(rng.choice(PLACES[:3])),
            }
            row |= {f"method_{place}": name for place, name in zip(PLACES, shown, strict=False)}
            rows.append({**row, "real_position": PLACES[shown.index("truth")], **more})
        check = {"participant": f"p{person}", "image": "check", "kind": "vigilance", "response": PLACES[person % 2]}
        check |= {
            "method_first": "truth",
            "method_second": "vigilance",
            "method_third": "vigilance",
            "real_position": "first",
        }
        rows.append({**check, **more})
    return rows


def test_a_search_for_the_real_photo_says_how_often_it_was_found_and_is_no_fool_rate():
    table = check_trials(raw_of(searches()))
    assert (table.seeks_real, table.question) == (True, "real photo among several")
    assert table.methods == ("a", "b", "truth")
    assert table.of_kind("vigilance").value.tolist() == [0.0, 1.0] * 3  # of two the wrong one was taken for real
    rule = ExclusionRule(name="looks", condition="vigilance_share_below", value=0.5)
    kept = apply_exclusions(table, (rule,))
    assert sorted(set(kept["participant"].tolist())) == ["p0", "p2", "p4"]
    with pytest.raises(
        InputError, match=r"is a search for the real photo among 3 images; .* no fool rates, which are of two"
    ):
        fool_rates(table)
    results = analyze_preferences(table)
    test = table.of_kind("test")
    found = int((test["response"] == test["real_position"]).sum())
    (photo,) = [share for share in results.choices if share.name == "truth"]
    assert (photo.n_chosen, photo.n_trials, photo.chance) == (found, 54, pytest.approx(1 / 3))
    assert photo.mean.ci_low < found / 54 < photo.mean.ci_high
    assert sum(share.n_chosen for share in results.choices) == 54
    sentences = preference_sentences(results)
    assert sentences[0].startswith(f"The real photo was found in {100 * found / 54:.1f} %")
    assert "chance is 33.3 %" in sentences[0]
    assert (
        sentences[1]
        == "These shares are no fool rates of tests with two images, whose chance is 50 %: here it is 33.3 %."
    )
    assert sentences[1] in preference_paragraph(results, "new people", 0.95)
    assert "taken for the real photo" in choices_title(results)
    assert wins_title(results) == "How often the row was taken for the real photo rather than the column, %:"


def test_a_preference_with_the_photos_among_the_methods_is_no_search_for_them():
    rows = [
        {key: cell for key, cell in row.items() if key != "real_position"}
        for row in searches()
        if row["kind"] == "test"
    ]
    table = check_trials(raw_of(rows))
    assert not table.seeks_real
    results = analyze_preferences(table)
    assert not any("real photo" in sentence for sentence in preference_sentences(results))
    assert wins_title(results) == "How often the row was preferred to the column, %:"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"real_position": "third"}, "has real_position 'third', where method_third is not 'truth'"),
        ({"real_position": ""}, "has no real_position, and other rows have one"),
        ({"method_third": "a"}, "shows method 'a' against itself"),
    ],
)
def test_a_search_whose_rows_contradict_each_other_is_refused(changes, said):
    rows = searches()
    rows[0] |= {"method_first": "truth", "method_second": "a", "method_third": "b", "real_position": "first"} | changes
    with pytest.raises(InputError, match=said):
        check_trials(raw_of(rows))


def test_a_place_beyond_the_pair_is_refused_of_two_images():
    row = {"participant": "p", "image": "i", "method": "a", "real_position": "third", "response": "first"}
    with pytest.raises(InputError, match="has real_position 'third'; first, second or an empty cell is allowed"):
        check_trials(raw_of([row]))


def test_a_search_never_becomes_one_table_with_what_asks_otherwise():
    search = raw_of(searches())
    of_two = [{"participant": f"q{k}", "image": f"i{k}", "method": "a", "fooled": "1"} for k in range(4)]
    preference = [
        {key: cell for key, cell in row.items() if key != "real_position"}
        for row in searches()
        if row["kind"] == "test"
    ]
    for rows in (of_two, preference):
        for tables in ([search, raw_of(rows)], [raw_of(rows), search]):
            with pytest.raises(InputError, match=r"asks one question .* and .* another .*; analyse them apart"):
                check_together(tables, check_trials)


def test_searches_among_different_numbers_of_images_are_never_one_table():
    of_three = searches()
    of_four = [
        row | {"method_fourth": "c" if row["kind"] == "test" else "vigilance", "participant": f"q{row['participant']}"}
        for row in searches()
    ]
    said = r"\(real photo among 3, chance 33.3 %\) and .* another \(real photo among 4, chance 25 %\)"
    with pytest.raises(InputError, match=said):
        check_together([raw_of(of_three), raw_of(of_four)], check_trials)
    with pytest.raises(
        InputError, match="row 1 shows 3 images, and other rows show 4; searches among different numbers"
    ):
        check_trials(raw_of([*of_three, *of_four]))
