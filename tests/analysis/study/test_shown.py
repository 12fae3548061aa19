"""What results show of themselves in a console and in a notebook, and tables of trials from data frames."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.trials.trial_files import as_trials
from evalkit.errors import InputError


def frame(preset: str = "real-vs-fake") -> pd.DataFrame:
    """Twelve people, eight images, two methods."""
    rows = []
    for person in range(12):
        for number in range(8):
            method = "mine<b>" if number % 2 else "other"
            trial = {"participant": f"p{person}", "image": f"i{number}", "trial": number}
            if preset == "preference":
                response = "second" if (person + number) % 3 else "first"
                rows.append({**trial, "method_first": method, "method_second": "third", "response": response})
            else:
                rows.append({**trial, "method": method, "fooled": int((person + number) % 3 == 0)})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def trials() -> analysis.TrialTable:
    return as_trials(frame())


def test_a_data_frame_gives_the_rates_of_its_file(tmp_path) -> None:
    path = tmp_path / "trials.csv"
    frame().to_csv(path, index=False)
    from_file = analysis.read_trials(path)
    wanted, rates = analysis.fool_rates(from_file), analysis.fool_rates(frame())
    pd.testing.assert_frame_equal(rates.to_frame(), wanted.to_frame())
    pd.testing.assert_frame_equal(analysis.comparisons(frame()).to_frame(), analysis.comparisons(from_file).to_frame())


def test_a_data_frame_is_read_as_a_file_of_its_columns() -> None:
    other_names = frame().rename(columns={"participant": "worker", "fooled": "said real"})
    columns = {"participant": "worker", "fooled": "said real"}
    twice = pd.concat([other_names, other_names.iloc[:3]])
    trials = analysis.read_trials(twice, mapping=analysis.ColumnMapping(columns=columns), duplicates="first")
    pd.testing.assert_frame_equal(analysis.fool_rates(trials).to_frame(), analysis.fool_rates(frame()).to_frame())


@pytest.mark.parametrize("kind", ["Int64", "float64", "object"])
def test_missing_cells_of_a_frame_are_unscored_whatever_their_type(kind) -> None:
    table = frame()
    table["fooled"] = table["fooled"].astype(kind)
    table.loc[3, "fooled"] = pd.NA if kind == "Int64" else None
    assert int((as_trials(table).unscored != "").sum()) == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("trials.csv", r"trials is a text; analysis.read_trials\('trials.csv'\) reads a file"),
        ([1, 2], "trials is list; a TrialTable or a pandas data frame is needed"),
        (frame().drop(columns="participant"), "the data frame .*in Python rename those of a data frame"),
        (frame().assign(fooled="yes"), "fooled 'yes'; a number, true, false or an empty cell is allowed"),
        (pd.concat([frame(), frame()[["image"]]], axis=1), "the data frame names a column 'image' twice"),
        (pd.concat([frame(), frame()]), "in Python .*drop_duplicates|no column method_first"),
    ],
)
def test_what_is_no_table_of_trials_is_told(given, sentence) -> None:
    for function in (analysis.fool_rates, analysis.comparisons, analysis.analyze_preferences):
        with pytest.raises(InputError, match=sentence):
            function(given)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_truth_values_may_be_words(words, tmp_path) -> None:
    table = frame()
    table["fooled"] = [words[0] if fooled else words[1] for fooled in table["fooled"]]
    wanted = analysis.fool_rates(frame()).to_frame()
    pd.testing.assert_frame_equal(analysis.fool_rates(table).to_frame(), wanted)
    table.to_csv(tmp_path / "trials.csv", index=False)
    pd.testing.assert_frame_equal(analysis.fool_rates(analysis.read_trials(tmp_path / "trials.csv")).to_frame(), wanted)


def test_frames_have_their_columns_without_a_row_and_numbers_where_a_cell_is_empty() -> None:
    of_one = frame().query("method == 'other'")
    nothing = analysis.comparisons(of_one).to_frame()
    pd.testing.assert_series_equal(nothing.dtypes, analysis.comparisons(frame()).to_frame().dtypes)
    assert len(nothing) == 0
    plan = analysis.plan_study(analysis.PlanOptions(difference=10, images=400, simulate=0)).to_frame()
    assert {"participants_low", "participants_high"} <= set(plan)
    assert all(kind in ("int64", "float64") for kind in plan.dtypes.astype(str))


def test_a_rate_is_asked_for_by_its_method(trials) -> None:
    rates = analysis.fool_rates(trials)
    assert "other" in rates
    assert rates.records[0] in rates
    assert "third" not in rates
    assert len(repr(rates["other"])) < 1500  # not the whole distribution of its bootstrap


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"difference": "10"}, "difference is '10'; a number is needed"),
        ({"images": 400.5}, "images is 400.5; a whole number is needed"),
        ({"participants": True}, "participants is True; a whole number is needed"),
    ],
)
def test_a_plan_refuses_what_is_no_number(options, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        analysis.plan_study(analysis.PlanOptions(**options))
    with pytest.raises(InputError, match=r"options is dict; analysis\.PlanOptions"):
        analysis.plan_study(options)


LABELS = (["p", "q"], ["x", "y"])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: analysis.read_trials(5), "paths is int; a path, or a list of paths, is needed"),
        (lambda: analysis.read_trials(None), "paths is NoneType; a path, or a list of paths, is needed"),
        (lambda: analysis.read_trials([]), "paths is empty; at least one file or study is needed"),
        (lambda: analysis.read_trials(["trials.csv", 5]), "one of the paths is int; a path is needed"),
        (lambda: analysis.read_trials({"trials.csv": 1}), "paths is dict; a path, or a list of paths, is needed"),
        (
            lambda: analysis.read_trials("a.csv", mapping="b.toml"),
            "mapping is str; analysis.ColumnMapping(...) is needed",
        ),
        (lambda: analysis.read_trials("a.csv", duplicates="last"), "duplicates is 'last'; allowed: error, first"),
        (lambda: analysis.read_trials("a.csv", rejected=True), "rejected is True; allowed: leave-out, keep"),
        (lambda: analysis.read_amt_results([]), "paths is empty; at least one file or study is needed"),
        (lambda: analysis.read_amt_results("a.csv", practice="10"), "practice is '10'; a whole number is needed"),
        (lambda: analysis.read_amt_results("a.csv", duplicates=1), "duplicates is 1; allowed: error, first"),
        (lambda: analysis.read_exclusions(5), "path is int; a path is needed"),
        (
            lambda: analysis.apply_exclusions("a.csv", ()),
            "trials is str; a TrialTable, as analysis.read_trials gives it,",
        ),
        (
            lambda: analysis.ColumnMapping(columns="method"),
            "columns is str; a mapping by the name of a column is needed",
        ),
        (
            lambda: analysis.ColumnMapping(missing={"rating": "-1"}),
            "missing['rating'] is str; a list of texts is needed",
        ),
        (lambda: analysis.ColumnMapping(lookup=5), "lookup is int; a path is needed"),
        (
            lambda: analysis.plan_study(analysis.PlanOptions(difference=10), pilot="a.csv"),
            "pilot is str; a TrialTable, as analysis.read_trials gives it, is needed",
        ),
        (lambda: analysis.PlanningModel(rate="0.3"), "rate is '0.3'; a number is needed"),
        (lambda: analysis.PlanningModel(image_sd=None), "image_sd is None; a number is needed"),
        (
            lambda: analysis.StudyDesign(n_participants=10, n_trials=1.5, n_images=20),
            "n_trials is 1.5; a whole number is needed",
        ),
        (
            lambda: analysis.StudyDesign(n_participants=10, n_trials=5, n_images=20, exposure="even"),
            "exposure is 'even'; allowed: random, balanced",
        ),
        (
            lambda: analysis.compare([0, 1], *LABELS, [1, 0], *LABELS, confidence=95),
            "confidence is 95; a number between 0 and 1 is allowed",
        ),
        (
            lambda: analysis.compare([0, 1], *LABELS, [1, 0], *LABELS, confidence="95"),
            "confidence is str; a number between 0 and 1 is needed",
        ),
        (
            lambda: analysis.compare([0, 1], *LABELS, [1, 0], *LABELS, estimand="people"),
            "estimand is 'people'; 'partic",
        ),
        (lambda: analysis.compare(["yes", "no"], *LABELS, [1, 0], *LABELS), "values_a holds what is no number"),
        (lambda: analysis.nested_bootstrap(["a"], [3]), "whole numbers per participant"),
        (lambda: analysis.nested_bootstrap(None, None), "whole numbers per participant"),
        (lambda: analysis.nested_bootstrap([1, 2], [3, 4, 5]), "whole numbers per participant"),
    ],
)
def test_wrong_calls_are_told_in_a_sentence(call, sentence) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        call()


def test_trials_say_what_they_are(trials) -> None:
    lines = repr(trials).splitlines()
    assert lines[0] == "the data frame: real-vs-fake, 96 trials of 12 participants"
    assert lines[1].split() == ["kind", "method", "trials", "participants", "images", "unscored"]
    assert lines[3].split() == ["test", "other", "48", "12", "4", "0"]


def test_rates_and_comparisons_show_what_people_read_first(trials) -> None:
    rates, differences = analysis.fool_rates(trials), analysis.comparisons(trials)
    assert repr(rates).startswith("Rates as fractions, with 95 % intervals\nmethod")
    assert f"{rates['other'].mean.ci_low:.4g}" in repr(rates)
    assert "std_error" not in repr(rates)  # all columns are in the frame
    assert "std_error" in rates.to_frame()
    page = rates._repr_html_()
    assert "mine&lt;b&gt;" in page
    assert "<b>" not in page
    assert repr(differences).startswith("Differences of rates, A minus B")
    assert "<td>other</td>" in differences._repr_html_()
    with pytest.raises(InputError, match=r"in these rates there is no method 'othr' .did you mean 'other'"):
        rates["othr"]


def test_plans_and_preferences_too() -> None:
    plan = analysis.plan_study(analysis.PlanOptions(difference=10, images=400, simulate=0))
    assert repr(plan).startswith("Participants per method for difference, 10 points\nimages  participants")
    assert list(plan.to_frame()["images"]) == [400]
    results = analysis.analyze_preferences(frame("preference"))
    assert repr(results).startswith("Preference study of 3 methods, strongest first: ")
    assert "method_a" in results._repr_html_()
    assert len(results.to_frame()) == len(results.differences)


def test_rates_are_drawn_on_the_axes_that_are_given(trials) -> None:
    from matplotlib.figure import Figure

    rates = analysis.fool_rates(trials)
    axes = Figure().subplots()
    with pytest.raises(InputError, match="ax is Figure; give the axes to draw on"):
        rates.plot(axes.figure)
    assert rates.plot(axes) is axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        record.method for record in reversed(rates.records)
    ]
    intervals = [line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 2][1:]
    mean = rates.records[-1].mean
    assert list(intervals[0]) == [100 * mean.ci_low, 100 * mean.ci_high]


def test_preferences_are_drawn_strongest_at_the_top() -> None:
    from dataclasses import replace

    from matplotlib.figure import Figure

    results = analysis.analyze_preferences(frame("preference"))
    axes = Figure().subplots()
    assert results.plot(axes) is axes
    drawn = [label.get_text() for label in axes.get_yticklabels()]
    assert drawn == [method for method in reversed(results.methods) if method in results.scale.methods]
    intervals = [line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 2][1:]
    weakest = results.scale.strength_of(drawn[0])
    assert list(intervals[0]) == [weakest.ci_low, weakest.ci_high]
    with pytest.raises(InputError, match="these methods have no common scale"):
        replace(results, scale=None).plot(axes)


def test_a_plan_draws_one_line_per_number_of_images_and_what_is_needed() -> None:
    from matplotlib.figure import Figure

    from analysis.planning.power import needed_std_error

    plan = analysis.plan_study(analysis.PlanOptions(difference=10, simulate=0))
    axes = Figure().subplots()
    assert plan.plot(axes) is axes
    *lines, needed = axes.get_lines()
    assert [line.get_label() for line in lines] == [f"{row.images:,}" for row in plan.rows]
    assert set(needed.get_ydata()) == {100 * needed_std_error(plan.goal)}
    for line in lines:  # more people, smaller errors
        errors = list(line.get_ydata())
        assert errors == sorted(errors, reverse=True)


def test_a_wrong_confidence_is_not_blamed_on_the_data() -> None:
    with pytest.raises(InputError, match=r"^confidence is 95; a number between 0 and 1 is allowed"):
        analysis.fool_rates(frame(), confidence=95)


def three_methods() -> pd.DataFrame:
    """Six people, six images, methods x, y and z."""
    return pd.DataFrame(
        {"participant": f"p{person}", "image": f"i{image}", "method": method, "fooled": (person + image + k) % 3 % 2}
        for person in range(6)
        for image in range(6)
        for k, method in enumerate("xyz")
    )


def test_comparisons_are_looked_up_by_their_methods() -> None:
    found = analysis.comparisons(three_methods())
    assert found["x", "y"] is found[0]
    assert found["y", "z"] is found[2]
    assert ("x", "z") in found
    assert ("z", "x") not in found
    against = analysis.comparisons(three_methods(), baseline="y")
    assert against["x"] is against["x", "y"] is against[0]
    assert against["z"].method_a == "z"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (("y", "x"), "these comparisons have x minus y: ask for ['x', 'y']"),
        (("x", "w"), "in these comparisons there is no method 'w'"),
        (("x", "x"), "no row of x and x; they have x minus y, x minus z, y minus z"),
        ("x", "2 rows have the method 'x'; give the other one too: y, z"),
        ("xx", "in these comparisons there is no method 'xx'"),
    ],
)
def test_a_comparison_that_is_not_there_is_told_by_name(key, sentence: str) -> None:
    with pytest.raises(KeyError, match=re.escape(sentence)) as told:
        analysis.comparisons(three_methods())[key]
    assert isinstance(told.value, InputError)


@pytest.mark.parametrize("key", [("x",), ("x", "y", "z"), None, 1.0, ["x", "y"], ("x", 1), np.array(["x", "y"])])
def test_a_key_of_another_kind_is_refused_in_a_sentence(key) -> None:
    with pytest.raises(InputError, match="give two methods, comparisons"):
        analysis.comparisons(three_methods())[key]
    with pytest.raises(InputError, match="give a method, rates"):
        analysis.fool_rates(three_methods())[key]
    with pytest.raises(InputError, match="has no column"):
        as_trials(three_methods())[key]
    beside = analysis.analyze_preferences(as_trials(frame("preference"))).differences
    with pytest.raises(InputError, match="give two methods, comparisons"):
        beside[key]


def test_rows_are_numbered_and_cut_as_those_of_a_list() -> None:
    for table in (analysis.fool_rates(three_methods()), analysis.comparisons(three_methods())):
        rows = list(table)
        assert table[np.int64(1)] is rows[1]
        assert table[-1] is rows[-1]
        for part in (slice(2), slice(None, None, -1), slice(np.int64(1), None), slice(7, 9)):
            assert type(table[part]) is type(table)
            assert list(table[part]) == rows[part]
            assert repr(table[part])
        with pytest.raises(IndexError):
            table[3]
        with pytest.raises(InputError, match="rows are cut out by whole numbers"):
            table["x":"y"]
        with pytest.raises(InputError, match="rows are cut out by whole numbers"):
            table[::0]


def test_preferences_are_looked_up_by_their_methods() -> None:
    found = analysis.analyze_preferences(as_trials(frame("preference"))).differences
    row = found[0]
    assert found[row.method_a, row.method_b] is row
    assert list(found[1:]) == list(found)[1:]
