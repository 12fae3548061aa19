from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import analysis
from analysis.commands.analyze import analyze_command, print_summary
from analysis.report.cells import p_text
from analysis.statistics.bootstrap import nested_bootstrap
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.fool_rate import fool_rate
from analysis.statistics.omnibus import equal_means
from analysis.study.analysis import analyze_study
from analysis.study.columns import OUTPUT_COLUMNS
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError
from evalkit.resampling.multiplicity import holm
from tests.analysis.conftest import simulated_rows

Write = Callable[..., Path]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(analyze_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_writes_every_table_and_says_so(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    result = run(
        write_csv(study_rows), "--out", tmp_path / "out", "--bootstrap", "zhang2016", "--bootstrap", "pigeonhole"
    )
    names = ("fool_rates.csv", "comparisons.csv", "per_image.csv", "per_participant.csv", "variance_components.csv",
             "bootstrap.csv", "diagnostics.json", "run.json")  # fmt: skip
    for name in names:
        assert (tmp_path / "out" / name).is_file()
        assert name in result.output
    columns = [
        "method",
        "fool_rate",
        "std_error",
        "ci_low",
        "ci_high",
        "df",
        "std_error_zhang2016",
        "ci_low_zhang2016",
        "ci_high_zhang2016",
        "n_participants",
        "n_images",
        "n_trials",
        "dprime",
        "vigilance_accuracy",
        "equivalence_p",
        "estimand",
    ]
    assert list(rows_of(tmp_path / "out" / "fool_rates.csv")[0])[:16] == columns
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert len(record["sha256"]) == 64
    assert record["options"]["estimand"] == "participants+images"


def test_the_table_holds_what_the_array_core_says(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    run(write_csv(study_rows), "--out", tmp_path)
    test = [row for row in study_rows if row["kind"] == "test" and row["method"] == "mine"]
    expected = fool_rate([r["fooled"] for r in test], [r["participant"] for r in test], [r["image"] for r in test])
    found = next(row for row in rows_of(tmp_path / "fool_rates.csv") if row["method"] == "mine")
    assert float(found["fool_rate"]) == expected.estimate
    assert float(found["ci_low"]) == expected.ci_low
    people = sorted({r["participant"] for r in test})
    counts = [sum(r["fooled"] for r in test if r["participant"] == p) for p in people]
    assert float(found["std_error_zhang2016"]) == pytest.approx(nested_bootstrap(counts, 10).std_error)
    watched = [r["fooled"] for r in study_rows if r["kind"] == "vigilance" and r["method"] == "mine"]
    assert float(found["vigilance_accuracy"]) == pytest.approx(1 - np.mean(watched))
    vigilance = rows_of(tmp_path / "fool_rates.csv")[-1]
    assert (vigilance["method"], vigilance["n_trials"]) == ("vigilance", "24")


def test_all_data_stand_beside_what_the_exclusions_left(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "late"\nflags = ["late"]\n')
    result = run(write_csv(study_rows), "--out", tmp_path, "--exclude", tmp_path / "rules.toml")
    rows = rows_of(tmp_path / "fool_rates.csv")
    late = sum(row["flags"] == "late" for row in study_rows)
    assert [row["subset"] for row in rows] == ["all"] * 3 + ["after exclusions"] * 3
    assert int(rows[0]["n_trials"]) > int(rows[3]["n_trials"])
    assert f"{late} trials  late" in result.output
    left_out = json.loads((tmp_path / "run.json").read_text())["left_out"]
    in_rates = sum(int(row["n_trials"]) for row in rows[3:5])
    assert in_rates + sum(entry["n_trials"] for entry in left_out) == len(study_rows)
    assert "practice" in result.output
    assert left_out[0] == {"reason": "late", "n_trials": late, "n_participants": 0}


def test_unscored_trials_are_counted(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    rows = [{**row, "fooled": "", "response": ""} if row["image"] == "test5" else row for row in study_rows]
    assert "12 trials  unscored: no answer" in run(write_csv(rows), "--out", tmp_path).output


def test_a_baseline_makes_the_family_smaller(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    run(write_csv(study_rows), "--out", tmp_path, "--baseline", "gray")
    rows = rows_of(tmp_path / "comparisons.csv")
    assert [(row["method_a"], row["method_b"]) for row in rows] == [("mine", "gray"), ("vigilance", "gray")]
    assert rows[0]["p_holm"] == rows[0]["p_value"]
    assert float(rows[0]["difference"]) > 0
    assert float(rows[0]["probability_less_zhang2016"]) < 0.1  # P(mine < gray)
    assert rows[1]["p_holm"] == ""


def test_monte_carlo_bootstraps_follow_their_seed(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    path = write_csv(study_rows)
    found = []
    for seed in (1, 1, 2):
        run(path, "--out", tmp_path, "--bootstrap", "participants", "--resamples", 200, "--seed", seed)
        found.append(rows_of(tmp_path / "bootstrap.csv"))
    assert found[0] == found[1] != found[2]
    assert found[0][0]["n_resamples"] == "200"


def test_preference_studies_get_a_scale_and_a_win_matrix(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "participant": f"p{p}",
            "image": f"i{t}",
            "method_first": a,
            "method_second": b,
            "response": "first" if rng.random() < (0.7 if a < b else 0.3) else "second",
        }
        for p in range(10)
        for t in range(12)
        for a, b in [rng.permutation(["x", "y", "z"])[:2]]
    ]
    result = run(write_csv(rows), "--out", tmp_path)
    assert "strength" in result.output
    assert "All methods at once: F(2, " in result.output
    assert "Effect of being shown first" in result.output
    scale = rows_of(tmp_path / "preference_scale.csv")
    assert [row["method"] for row in scale[::3]] == ["x", "shown first"]
    wins = {(row["method"], row["other"]): row for row in rows_of(tmp_path / "win_matrix.csv")}
    assert len(wins) == 6
    assert float(wins["x", "y"]["share"]) == pytest.approx(1 - float(wins["y", "x"]["share"]))
    assert float(wins["x", "y"]["ci_low"]) == pytest.approx(1 - float(wins["y", "x"]["ci_high"]))
    pairs = rows_of(tmp_path / "preference_comparisons.csv")
    assert len(pairs) == 3
    assert all(float(row["p_holm"]) >= float(row["p_value"]) for row in pairs)
    assert all(float(row["std_error"]) > 0.05 for row in pairs)
    assert not (tmp_path / "fool_rates.csv").exists()
    run(tmp_path / "trials.csv", "--out", tmp_path, "--baseline", "z")
    assert [row["method_b"] for row in rows_of(tmp_path / "preference_comparisons.csv")] == ["z", "z"]
    with pytest.raises(InputError, match=r"baseline 'nonsense' is not a method of trials\.csv; it has x, y, z"):
        run(tmp_path / "trials.csv", "--out", tmp_path, "--baseline", "nonsense")


def test_ties_count_half_and_are_counted(tmp_path: Path, write_csv: Write) -> None:
    header = ["participant", "image", "method_first", "method_second", "response"]
    answers = ["first", "second", "tie", "first"]
    rows = [
        [f"p{p}", f"i{i}", *(("x", "y") if i % 2 else ("y", "x")), answers[(p * 3 + i) % 4]]
        for p in range(8)
        for i in range(8)
    ]
    result = run(write_csv([header, *rows]), "--out", tmp_path)
    assert "16 ties: each counts as half a win" in result.output
    (row,) = rows_of(tmp_path / "preference_comparisons.csv")
    assert row["ties"] == "16"
    assert float(row["share"]) == pytest.approx((int(row["wins_a"]) + 8) / 64)
    bad = write_csv([["participant", "image", "method", "response"], ["p", "i", "m", "yes"], ["q", "i", "m", "tie"]])
    with pytest.raises(InputError, match="has response 'tie'; yes, no or an empty cell is allowed"):
        run(bad, "--out", tmp_path)


def test_a_method_that_always_wins_is_answered_with_a_bound(tmp_path: Path, write_csv: Write) -> None:
    header = ["participant", "image", "method_first", "method_second", "response"]
    rows = [[f"p{p}", f"i{i}", "x", "y", "first"] for p in range(10) for i in range(10)]
    result = run(write_csv([header, *rows]), "--out", tmp_path)
    assert "100 : 0" in result.output
    assert "at least +1.05" in result.output  # logit of 0.05^(1/10)
    (row,) = rows_of(tmp_path / "preference_comparisons.csv")
    assert (row["difference"], row["share"]) == ("", "1.0")
    assert float(row["share_ci_low"]) == pytest.approx(0.025**0.1)


def test_ratings_stay_on_their_own_scale(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    rows = [["who", "img", "score"], *([f"p{p}", f"i{i}", rng.integers(1, 8)] for p in range(8) for i in range(9))]
    result = run(write_csv(rows, delimiter=";"), "--out", tmp_path, "--column", "participant=who", "--column", "image=img",
                 "--column", "rating=score", "--constant", "method=faces", "--missing", "rating=4")  # fmt: skip
    row = rows_of(tmp_path / "mean_ratings.csv")[0]
    assert 1 < float(row["mean_rating"]) < 7
    assert not {"dprime", "equivalence_p"} & set(row)
    assert "unscored: no rating" in result.output


def test_an_amt_results_file_is_analysed(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for worker in range(5):
        row = {"WorkerId": f"w{worker}"}
        for t in range(1, 13):
            row |= {f"Input.gt_side{t}": "left", f"Input.images_left{t}": f"gt/{t}", f"Input.images_right{t}": f"m/{t}",
                    f"Answer.selection{t}": rng.choice(["left", "right"])}  # fmt: skip
        rows.append(row)
    run(write_csv(rows), "--out", tmp_path, "--format", "amt-real-vs-fake", "--practice", 2, "--truth-folder", "gt")
    assert rows_of(tmp_path / "fool_rates.csv")[0]["n_trials"] == "50"


def test_only_the_methods_asked_for(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    result = run(write_csv(study_rows), "--out", tmp_path, "--method", "mine")
    assert [row["method"] for row in rows_of(tmp_path / "fool_rates.csv")] == ["mine", "vigilance"]
    assert "methods not asked for" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "yours"], "baseline 'yours' is not a method of trials.csv; it has gray, mine"),
        (["--method", "yours"], "--method 'yours' is not in trials.csv"),
        (["--column", "participant"], "has no '='"),
        (["--column", "=worker"], "has no name before its '='"),
        (["--column", "image=a", "--column", "image=b"], "--column: image is given twice"),
        (["--truth-folder", "gt"], "--truth-folder has an effect with --format amt-real-vs-fake alone"),
        (["--format", "amt-real-vs-fake", "--column", "a=b"], "--column has an effect with --format table alone"),
    ],
)
def test_bad_options_are_a_plain_sentence(
    tmp_path: Path, write_csv: Write, study_rows: list[dict], options: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(write_csv(study_rows), "--out", tmp_path, *options)


def test_a_stray_method_keeps_its_row_and_the_others_are_analysed(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    extra = {**study_rows[-1], "participant": "px", "session": "sx", "method": "stray"}
    output = run(write_csv([*study_rows, extra]), "--out", tmp_path / "out").output
    rates = {row["method"]: row for row in rows_of(tmp_path / "out" / "fool_rates.csv")}
    assert rates["stray"]["fool_rate"] == ""
    assert "There is one participant" in rates["stray"]["note"]
    assert "stray: There is one participant" in output
    run(write_csv(study_rows), "--out", tmp_path / "without")
    without = {row["method"]: row for row in rows_of(tmp_path / "without" / "fool_rates.csv")}
    assert all(rates[name] == without[name] for name in ("mine", "gray"))
    pairs = {(row["method_a"], row["method_b"]): row for row in rows_of(tmp_path / "out" / "comparisons.csv")}
    assert pairs["mine", "stray"]["p_holm"] == ""
    assert pairs["gray", "mine"]["p_holm"] == pairs["gray", "mine"]["p_value"]  # a family of one


def test_a_study_of_which_nothing_can_be_analysed_is_refused_by_name_and_row(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    alone = [row for row in study_rows if row["participant"] == study_rows[0]["participant"]]
    with pytest.raises(InputError, match=r"trials.csv row 6: method gray \(10 scored trials\) cannot be analysed"):
        run(write_csv(alone), "--out", tmp_path)


def even_study(fooled: Callable[[int, int], float], kinds: Sequence[str] = ("test",) * 40) -> list[list[object]]:
    """40 people; `fooled` says for person and trial whether the real photo is taken for the fake."""
    header: list[object] = ["participant", "image", "method", "kind", "trial", "real_position", "response"]
    rows = [header]
    for p in range(40):
        for t, kind in enumerate(kinds):
            real = "first" if (p + t) % 2 else "second"
            other = "second" if real == "first" else "first"
            answer = real if fooled(p, t) else other
            rows.append([f"p{p}", f"{kind}{t}", "m", kind, t + 1, real, answer])
    return rows


CHECKED = (*("vigilance",) * 4, *("test",) * 40)


def test_people_who_press_one_button_show_no_equivalence(tmp_path: Path, write_csv: Write) -> None:
    """40 of them read 50.0 %, and 'equal to 50 %: yes' with p 0.001 was the verdict."""
    always_first = even_study(lambda p, t: float((p + t) % 2), CHECKED)
    output = run(write_csv(always_first), "--out", tmp_path).output
    row = rows_of(tmp_path / "fool_rates.csv")[0]
    assert float(row["fool_rate"]) == pytest.approx(0.5)
    assert row["equivalence_p"] == ""
    assert "50 % of 160 vigilance trials right is not clearly above chance" in row["note"]
    assert "no verdict" in output
    assert "40 participants of 40 gave nearly always the same answer" in output
    people = rows_of(tmp_path / "per_participant.csv")
    assert {(row["straight_lining"], row["same_answer_share"], row["longest_run"]) for row in people} == {
        ("1", "1.0", "44")
    }


def test_people_who_see_the_vigilance_trials_may_show_equivalence(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(5)
    coin = rng.random((40, 44)) < 0.5
    watchful = even_study(lambda p, t: float(coin[p, t]) if t >= 4 else float(p == 0 and t == 0), CHECKED)
    run(write_csv(watchful), "--out", tmp_path / "watchful")
    row = rows_of(tmp_path / "watchful" / "fool_rates.csv")[0]
    assert float(row["equivalence_p"]) < 0.05
    assert row["note"] == ""
    # The same answers without any check of who looked, and no other method that people could tell.
    unchecked = even_study(lambda p, t: float(coin[p, t]))
    output = run(write_csv(unchecked), "--out", tmp_path / "unchecked").output
    assert rows_of(tmp_path / "unchecked" / "fool_rates.csv")[0]["equivalence_p"] == ""
    assert "no vigilance or catch trials" in output
    assert "same answer" not in output
    # One that they could: evidence enough.
    gray = [
        [f"q{p}", image, "gray", *cells] for p, image, _, *cells in even_study(lambda p, t: float((p + t) % 9 == 0))[1:]
    ]
    run(write_csv([*unchecked, *gray]), "--out", tmp_path / "gray")
    rates = {row["method"]: row for row in rows_of(tmp_path / "gray" / "fool_rates.csv")}
    assert float(rates["m"]["equivalence_p"]) < 0.05


def test_unequal_numbers_of_trials_that_go_with_the_answers_are_warned_of(tmp_path: Path, write_csv: Write) -> None:
    """Whoever is fooled more often stays longer: 30 % over trials, 25 % over people."""
    header = ["participant", "image", "method", "fooled"]
    rows = [
        [f"p{p}", f"i{t}", "m", int((p + t) % (3 if p % 2 else 8) == 0)]
        for p in range(40)
        for t in range(40 if p % 2 else 8)
    ]
    output = run(write_csv([header, *rows]), "--out", tmp_path).output
    note = rows_of(tmp_path / "fool_rates.csv")[0]["note"]
    assert "more than a standard error from" in note
    assert "people with more trials answered otherwise" in " ".join(output.split())


def test_dprime_has_the_interval_of_the_rate(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    from scipy.stats import norm

    run(write_csv(study_rows), "--out", tmp_path)
    for row in rows_of(tmp_path / "fool_rates.csv"):
        for end, limit in (("low", "ci_high"), ("high", "ci_low")):
            expected = np.sqrt(2) * norm.ppf(1 - float(row[limit]))
            assert float(row[f"dprime_ci_{end}"]) == pytest.approx(expected)


def test_exclusions_that_leave_a_method_too_small_keep_its_row_with_a_note(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    people = json.dumps([f"p1-{k}" for k in range(5)])
    (tmp_path / "rules.toml").write_text(f'[[rule]]\nname = "left"\nparticipants = {people}\n')
    run(write_csv(study_rows), "--out", tmp_path, "--exclude", tmp_path / "rules.toml")
    row = next(r for r in rows_of(tmp_path / "fool_rates.csv") if r["method"] == "mine" and r["subset"] != "all")
    assert row["fool_rate"] == ""
    assert "one participant" in row["note"]


def test_exclusions_that_leave_nothing_are_refused(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "slow"\nresponse_ms_above = 0\n')
    with pytest.raises(InputError, match="leave no scored test trial"):
        run(write_csv(study_rows), "--out", tmp_path, "--exclude", tmp_path / "rules.toml")


def test_a_method_nobody_was_fooled_by_has_an_honest_row(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    rows = [
        {**r, "fooled": "", "response": "first", "real_position": "second"} if r["method"] == "gray" else r
        for r in study_rows
    ]
    run(write_csv(rows), "--out", tmp_path)
    row = next(r for r in rows_of(tmp_path / "fool_rates.csv") if r["method"] == "gray")
    assert (row["fool_rate"], row["ci_low"], row["interval"]) == ("0.0", "0.0", "clopper-pearson")
    assert row["std_error"] == ""
    assert "no standard error" in row["note"]


def test_naturalness_has_a_rate_of_its_own(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(0)
    header = ["participant", "image", "method", "response"]
    rows = [[f"p{p}", f"i{i}", "mine", rng.choice(["yes", "no"])] for p in range(9) for i in range(9)]
    run(write_csv([header, *rows]), "--out", tmp_path)
    found = rows_of(tmp_path / "natural_rates.csv")[0]
    assert float(found["natural_rate"]) == pytest.approx(np.mean([row[3] == "yes" for row in rows]))
    assert not {"dprime", "equivalence_p", "vigilance_accuracy"} & set(found)  # nobody had to find a fake


def test_naturalness_is_judged_against_the_photos(tmp_path: Path, write_csv: Write) -> None:
    """Everybody judges truth and a method that looks natural as often: equal within 15 points, no difference shown."""
    rng = np.random.default_rng(3)
    header = ["participant", "image", "method", "response"]
    rates = {"truth": 0.93, "near": 0.93, "far": 0.6}
    rows = [
        [f"p{p}", f"i{i}", method, "yes" if rng.random() < rate else "no"]
        for p in range(20)
        for i in range(30)
        for method, rate in rates.items()
    ]
    result = run(write_csv([header, *rows]), "--out", tmp_path, "--equivalence-margin", 15)
    assert "50 +-" not in result.output
    assert "Against the photos themselves (truth)" in result.output
    against = {row["method_a"]: row for row in rows_of(tmp_path / "against_truth.csv")}
    assert set(against) == {"near", "far"}
    assert float(against["near"]["equivalence_p_holm"]) < 0.05 < float(against["near"]["p_holm"])
    assert float(against["far"]["equivalence_p_holm"]) > 0.05 > float(against["far"]["p_holm"])
    share = {m: np.mean([row[3] == "yes" for row in rows if row[2] == m]) for m in rates}
    assert float(against["far"]["difference"]) == pytest.approx(share["far"] - share["truth"])


def test_the_screen_shows_t_and_the_unadjusted_p(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    result = run(write_csv(study_rows), "--out", tmp_path, "--baseline", "gray")
    row = rows_of(tmp_path / "comparisons.csv")[0]
    t = float(row["difference"]) / float(row["std_error"])
    assert f"{t:.2f} ({float(row['df']):.0f})" in result.output
    assert f"{float(row['p_value']):.4f}" in result.output


def test_methods_without_a_common_image_are_said_to_be_unpaired(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    run(write_csv(study_rows), "--out", tmp_path)
    assert rows_of(tmp_path / "comparisons.csv")[0]["note"] == ""
    apart = [{**row, "image": f"{row['method']} {row['image']}"} for row in study_rows]
    result = run(write_csv(apart), "--out", tmp_path)
    row = rows_of(tmp_path / "comparisons.csv")[0]
    assert row["n_shared_images"] == "0"
    assert "no image was shown for both" in row["note"]
    assert "no image was shown for both" in result.output


def test_intervals_for_all_times(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    from analysis.statistics.sequential import betting_confidence_sequence

    result = run(write_csv(study_rows), "--out", tmp_path, "--anytime")
    assert "At all times (95 % for all methods and looks together" in result.output
    rows = [row for row in rows_of(tmp_path / "anytime.csv") if row["method"] == "mine"]
    test = [row for row in study_rows if row["kind"] == "test" and row["method"] == "mine"]
    people = list(dict.fromkeys(row["participant"] for row in test))  # in the order of the file
    assert [row["participant"] for row in rows] == people
    means = [np.mean([row["fooled"] for row in test if row["participant"] == p]) for p in people]
    low, high = betting_confidence_sequence(means, confidence=0.975)  # two methods share the 5 %
    assert [float(row["ci_low"]) for row in rows] == pytest.approx(low)
    assert [float(row["ci_high"]) for row in rows] == pytest.approx(high)
    (difference,) = rows_of(tmp_path / "anytime_differences.csv")
    other = [row for row in rows_of(tmp_path / "anytime.csv") if row["method"] == "gray"][-1]
    assert float(difference["ci_low"]) == pytest.approx(float(other["ci_low"]) - high[-1])
    run(tmp_path / "trials.csv", "--out", tmp_path)
    assert not (tmp_path / "anytime.csv").exists()  # results of two runs never mix


def test_ratings_have_no_interval_for_all_times(tmp_path: Path, write_csv: Write) -> None:
    rows = [
        ["participant", "image", "method", "rating"],
        *([f"p{p}", f"i{i}", "m", (p * i) % 7 + 1] for p in range(4) for i in range(5)),
    ]
    with pytest.raises(InputError, match="holds ratings; an interval for all times needs"):
        run(write_csv(rows), "--out", tmp_path, "--anytime")


def test_every_column_is_explained(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    run(write_csv(study_rows), "--out", tmp_path / "rates", "--bootstrap", "zhang2016")
    header = ["participant", "image", "method_first", "method_second", "response"]
    rows = [[f"p{p}", f"i{i}", "x", "y", ["first", "second"][(p + i) % 2]] for p in range(5) for i in range(5)]
    run(write_csv([header, *rows]), "--out", tmp_path / "preferences")
    header.insert(4, "method_third")
    rows = [
        [f"p{p}", f"i{i}", "x", "y", "z", ["first", "second", "third"][(p + i * i) % 3]]
        for p in range(5)
        for i in range(5)
    ]
    printed = run(write_csv([header, *rows]), "--out", tmp_path / "choices").output
    assert "chosen of the trials that showed it, %; chance is 33.3 %" in printed
    assert (tmp_path / "choices" / "choice_shares.csv").exists()
    files = [*(tmp_path / "rates").glob("*.csv"), *(tmp_path / "preferences").glob("*.csv")]
    files += (tmp_path / "choices").glob("*.csv")
    assert len(files) >= 9
    for path in files:
        with path.open(newline="") as file:
            assert next(csv.reader(file)) == list(OUTPUT_COLUMNS[path.name]), path.name


def test_the_python_interface_gives_the_same_numbers(write_csv: Write, study_rows: list[dict]) -> None:
    trials = analysis.read_trials(write_csv(study_rows))
    frame = analysis.fool_rates(trials).to_frame()
    assert frame["method"].tolist() == ["mine", "gray", "vigilance"]
    differences = analysis.comparisons(trials).to_frame()
    assert differences["difference"].iloc[0] == pytest.approx(frame["fool_rate"][1] - frame["fool_rate"][0])
    with pytest.raises(AttributeError, match="No analysis attribute scores"):
        _ = analysis.scores


def test_the_order_of_rows_does_not_matter(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    order = np.random.default_rng(0).permutation(len(study_rows))
    one = read_trials(write_csv(study_rows))
    other = read_trials(write_csv([study_rows[k] for k in order]))
    for a, b in zip(analysis.fool_rates(one), analysis.fool_rates(other), strict=True):
        assert a.mean is not None
        assert b.mean is not None
        assert (b.mean.estimate, b.mean.ci_low) == pytest.approx((a.mean.estimate, a.mean.ci_low))


def test_covariates_and_the_table_for_mixed_models_are_written(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    run(write_csv(study_rows), "--out", tmp_path)
    trials = [row for row in rows_of(tmp_path / "model_trials.csv") if row["method"] == "mine"]
    test = [row for row in study_rows if row["kind"] == "test" and row["method"] == "mine"]
    assert [float(row["value"]) for row in trials] == [row["fooled"] for row in test]
    covariates = {
        (r["covariate"], r["level"]): r for r in rows_of(tmp_path / "covariates.csv") if r["method"] == "mine"
    }
    for side in ("first", "second"):
        own = [row["fooled"] for row in test if row["real_position"] == side]
        assert float(covariates["real_position", side]["rate"]) == pytest.approx(np.mean(own))
        assert int(covariates["real_position", side]["n_trials"]) == len(own)
    assert {level for name, level in covariates if name == "half"} == {"first", "second"}
    pair = rows_of(tmp_path / "comparisons.csv")[0]
    assert float(pair["odds_ratio_ci_low"]) < float(pair["odds_ratio"]) < float(pair["odds_ratio_ci_high"])


def test_several_tables_are_analysed_as_one(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    people = sorted({row["participant"] for row in study_rows})
    half = set(people[: len(people) // 2])  # the rows stay in their order, so that sums are rounded alike
    one = write_csv([row for row in study_rows if row["participant"] in half], "one.csv")
    two = write_csv([row for row in study_rows if row["participant"] not in half], "two.csv")
    assert run(write_csv(study_rows), "--out", tmp_path / "whole").exit_code == 0
    assert run(one, two, "--out", tmp_path / "parts").exit_code == 0
    for name in ("fool_rates.csv", "comparisons.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    with pytest.raises(InputError, match="two trials of participant"):
        run(one, one, "--out", tmp_path / "twice")


def test_three_methods_are_tested_at_once(tmp_path: Path, write_csv: Write) -> None:
    rows = simulated_rows({"gray": 0.1, "mine": 0.45, "other": 0.4})
    result = run(write_csv(rows), "--out", tmp_path)
    (row,) = rows_of(tmp_path / "omnibus.csv")
    test = [entry for entry in rows if entry["kind"] == "test"]
    by_method = [[entry for entry in test if entry["method"] == name] for name in ("gray", "mine", "other")]
    expected = equal_means(
        [
            (
                [entry["fooled"] for entry in own],
                CrossedDesign.from_labels([e["participant"] for e in own], [e["image"] for e in own]),
            )
            for own in by_method
        ]
    )
    assert row["methods"] == "gray; mine; other"
    assert float(row["omnibus_f"]) == pytest.approx(expected.statistic)
    assert float(row["omnibus_p"]) == pytest.approx(expected.p_value)
    assert f"All methods at once: F(2, {expected.df_denominator:.4g}) = {expected.statistic:.2f}" in result.output


def test_two_methods_have_their_comparison_and_no_other_test(
    tmp_path: Path, write_csv: Write, study_rows: list[dict]
) -> None:
    assert "at once" not in run(write_csv(study_rows), "--out", tmp_path).output
    assert not (tmp_path / "omnibus.csv").exists()


def test_a_method_that_never_varies_is_left_out_of_the_test_of_all_by_name(tmp_path: Path, write_csv: Write) -> None:
    rows = simulated_rows({"gray": 0.0, "mine": 0.45, "other": 0.4, "third": 0.2})
    result = run(write_csv(rows), "--out", tmp_path)
    (row,) = rows_of(tmp_path / "omnibus.csv")
    assert (row["methods"], row["left_out"]) == ("mine; other; third", "gray")
    assert "all methods at once: every answer of gray is 0" in result.output


def test_the_photos_themselves_are_not_among_the_methods_tested_at_once(tmp_path: Path, write_csv: Write) -> None:
    rng = np.random.default_rng(3)
    rates = {"truth": 0.95, "a": 0.6, "b": 0.6, "c": 0.6}
    rows = [
        [f"p{p}", f"i{i}", method, "yes" if rng.random() < rate else "no"]
        for p in range(12)
        for i in range(12)
        for method, rate in rates.items()
    ]
    run(write_csv([["participant", "image", "method", "response"], *rows]), "--out", tmp_path)
    (row,) = rows_of(tmp_path / "omnibus.csv")
    assert row["methods"] == "a; b; c"
    assert float(row["omnibus_p"]) > 0.01


def test_equality_with_half_is_adjusted_for_the_number_of_methods(tmp_path: Path, write_csv: Write) -> None:
    """Two methods at 50 %, each equal within 12 points at 5 % by itself; the verdict knows that there are two."""
    rows = simulated_rows({"one": 0.5, "two": 0.5, "gray": 0.05}, n_participants=30, n_trials=20, seed=4)
    result = run(write_csv(rows), "--out", tmp_path, "--equivalence-margin", 12)
    found = {row["method"]: row for row in rows_of(tmp_path / "fool_rates.csv")}
    p = [float(found[name]["equivalence_p"]) for name in ("one", "two", "gray")]
    assert [float(found[name]["equivalence_p_holm"]) for name in ("one", "two", "gray")] == pytest.approx(holm(p))
    assert float(found["one"]["equivalence_p_holm"]) > float(found["one"]["equivalence_p"])
    assert found["vigilance"]["equivalence_p_holm"] == ""
    assert re.search(r"50 \+- 12\s*\n.*p \(Holm\)\s*$", result.output, re.MULTILINE)
    assert p_text(float(found["one"]["equivalence_p_holm"])) in result.output


def test_ratings_by_order_are_adjusted_for_the_number_of_comparisons(tmp_path: Path, write_csv: Write) -> None:
    """Ties, and four methods with six comparisons: Holm's p is on screen, both are in the file."""
    rng = np.random.default_rng(0)
    means = {"a": 3.0, "b": 3.3, "c": 3.6, "d": 4.6}
    rows = [
        [f"p{p}", f"i{i}", method, int(np.clip(round(rng.normal(mean, 1.5)), 1, 7))]
        for p in range(10)
        for i in range(12)
        for method, mean in means.items()
    ]
    result = run(write_csv([["participant", "image", "method", "rating"], *rows]), "--out", tmp_path)
    found = rows_of(tmp_path / "comparisons.csv")
    p = [float(row["superiority_p"]) for row in found]
    assert [float(row["superiority_p_holm"]) for row in found] == pytest.approx(holm(p))
    assert re.search(r"by order\s.*\n.*p \(Holm\)\s*$", result.output, re.MULTILINE)
    assert p_text(float(found[0]["superiority_p_holm"])) in result.output
    first = found[0]
    a, b = (np.array([row[3] for row in rows if row[2] == name]) for name in ("a", "b"))
    by_hand = np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b))
    assert float(first["superiority"]) == pytest.approx(by_hand)


def test_the_screen_of_eighty_columns_keeps_every_name(tmp_path: Path, write_csv: Write) -> None:
    rows = simulated_rows({"a method of ours": 0.1, "another method": 0.45, "a third one": 0.4})
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_summary(analyze_study(read_trials(write_csv(rows))), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for name in ("a method of ours", "another method", "a third one"):
        assert text.count(name) >= 2
    assert "No room for odds ratio" in text


def test_the_p_of_an_early_look_has_the_digits_of_its_limit(tmp_path: Path, write_csv: Write) -> None:
    """The first of four O'Brien-Fleming looks stops at p 0.0000513: "below 0.0001" does not say whether."""
    result = run(
        write_csv(simulated_rows({"gray": 0.1, "mine": 0.6}, n_participants=12, n_trials=30)), "--out", tmp_path
    )
    p = float(rows_of(tmp_path / "comparisons.csv")[0]["p_value"])
    assert 1e-12 < p < 1e-4
    assert f"{p:.1e}" in result.output
