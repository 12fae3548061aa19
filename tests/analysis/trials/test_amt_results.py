from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.trials.amt_results import read_amt_results
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError

Write = Callable[..., Path]


def results(first: int, n_people: int = 6, n_trials: int = 9, suffix: str = "", seed: int = 0) -> list[dict]:
    """A results file as the tool makes it: methods a and b, a vigilance trial now and then."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(n_people):
        row: dict = {"AssignmentId": f"A{person}", "WorkerId": f"W{person}", "AssignmentStatus": "Approved"}
        images = rng.permutation(30)
        for t in range(n_trials):
            folder = "vig" if t % 4 == 3 else "ab"[person % 2]
            real, fake = f"gt/{images[t]}{suffix}", f"{folder}/{images[t]}{suffix}"
            side = rng.choice(["left", "right"])
            row |= {
                f"Input.gt_side{t + first}": side,
                f"Input.images_left{t + first}": real if side == "left" else fake,
                f"Input.images_right{t + first}": fake if side == "left" else real,
                f"Answer.selection{t + first}": rng.choice(["left", "right"]),
            }
        rows.append(row)
    return rows


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_reads_columns_counted_from_zero_or_one(write_csv: Write, first: int, suffix: str) -> None:
    rows = results(first, suffix=suffix)
    trials = read_amt_results(write_csv(rows), practice=3, vigilance_folder="vig")
    assert trials.methods == ("a", "b")
    assert {str(k): int((trials["kind"] == k).sum()) for k in np.unique(trials["kind"])} == {
        "practice": 18, "test": 24, "vigilance": 12}  # fmt: skip
    expected = {
        (row["WorkerId"], t): row[f"Input.gt_side{t + first}"] == row[f"Answer.selection{t + first}"]
        for row in rows
        for t in range(9)
    }
    for person, trial, value in zip(trials["participant"], trials["trial"], trials.value, strict=True):
        assert value == expected[str(person), int(trial) - 1]
    assert all(str(image).isdigit() for image in trials["image"])


def test_selections_that_were_never_made_are_unscored(write_csv: Write) -> None:
    rows = results(0)
    rows[0]["Answer.selection8"] = "unset"
    trials = read_amt_results(write_csv(rows), practice=3)
    assert (trials.unscored == "no answer").sum() == 1


def test_without_a_vigilance_folder_its_images_are_a_method(write_csv: Write) -> None:
    assert read_amt_results(write_csv(results(0)), practice=3).methods == ("a", "b", "vig")


def test_agrees_with_the_public_script(write_csv: Write) -> None:
    """Its fool rate of a method: 1 - mean of (answer right), over all test trials of the method."""
    rows = results(0, n_people=8)
    trials = read_amt_results(write_csv(rows), practice=3).of_kind("test")
    for method in ("a", "b"):
        right = [
            (row[f"Input.gt_side{t}"] == "right") == (1 - (row[f"Answer.selection{t}"] == "right"))
            for row in rows
            for t in range(3, 9)
            if f"{method}/" in row[f"Input.images_left{t}"] + row[f"Input.images_right{t}"]
        ]
        assert trials.value[trials["method"] == method].mean() == pytest.approx(1 - np.mean(right))


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ({"Input.gt_side4": "up"}, {}, "row 2 trial 4 has gt_side 'up'; left or right"),
        ({"Input.images_left4": "x/3", "Input.images_right4": "x/3"}, {}, "row 2 trial 4: the real image is x/3"),
        ({"Answer.selection9": "left"}, {}, r"no column Input.gt_side9"),
        ({}, {"practice": 9}, "9 trials per row and --practice is 9"),
        ({}, {"truth_folder": "photos"}, "not of the truth folder 'photos'"),
    ],
)
def test_bad_input_is_a_plain_sentence(write_csv: Write, cells: dict, options: dict, message: str) -> None:
    rows = results(0)
    rows[0] |= cells
    header = list(rows[0])
    table = [header, *([row.get(name, "") for name in header] for row in rows)]
    with pytest.raises(InputError, match=message):
        read_amt_results(write_csv(table), **{"practice": 3, **options})


def test_a_file_of_another_tool_is_said(write_csv: Write) -> None:
    with pytest.raises(InputError, match=r"no column Input.gt_side0; a results file of AMT_Real_vs_Fake has"):
        read_amt_results(write_csv([{"a": 1}]))


def test_two_folders_in_every_pair_need_the_truth_to_be_named(write_csv: Write) -> None:
    rows = results(0, n_people=1, n_trials=3)
    with pytest.raises(InputError, match="--truth-folder"):
        read_amt_results(write_csv(rows), practice=1)
    assert read_amt_results(write_csv(rows), practice=1, truth_folder="gt").methods == ("a",)


def test_a_worker_with_two_assignments_is_refused(write_csv: Write) -> None:
    rows = results(0)
    rows[1]["WorkerId"] = "W0"
    with pytest.raises(InputError, match="2 sessions of participant W0"):
        read_amt_results(write_csv(rows), practice=3)


# --- results as MTurk sends them -------------------------------------------------------------------------------------


def as_downloaded(rows: list[dict]) -> list[list[str]]:
    """With the two columns for the requester's decision, whose empty cells MTurk leaves out."""
    header = ["HITId", *rows[0], "Approve", "Reject"]
    return [header, *(["H", *row.values()] for row in rows)]


def test_rows_that_end_before_the_columns_for_the_decision_are_read(write_csv: Write) -> None:
    downloaded = read_amt_results(write_csv(as_downloaded(results(0))), practice=3)
    plain = read_amt_results(write_csv(results(0), "plain.csv"), practice=3)
    assert np.array_equal(downloaded.value, plain.value)
    assert np.array_equal(downloaded["method"], plain["method"])


def test_short_rows_of_any_other_table_are_still_a_mistake(write_csv: Write) -> None:
    with pytest.raises(InputError, match="row 2 has 2 cells, but the header has 3"):
        read_trials(write_csv([["participant", "image", "method"], ["p", "i"]]))


def test_rejected_assignments_are_left_out_and_counted_unless_asked_for(write_csv: Write) -> None:
    rows = results(0)
    rows[1]["AssignmentStatus"] = "Rejected"
    rows[3]["AssignmentStatus"] = "Submitted"
    trials = read_amt_results(write_csv(rows), practice=3)
    assert set(trials["participant"]) == {"W0", "W2", "W3", "W4", "W5"}
    assert [(e.reason, e.n_trials, e.n_participants) for e in trials.left_out] == [
        ("assignment rejected at MTurk", 9, 1)
    ]
    assert len(read_amt_results(write_csv(rows), practice=3, rejected="keep")) == 6 * 9


def test_what_a_spreadsheet_did_to_a_results_file_changes_nothing(write_csv: Write) -> None:
    rows = results(0)
    rows[1]["AssignmentStatus"] = "REJECTED"
    plain = read_amt_results(write_csv(rows), practice=3)
    renamed = [
        {
            key.upper() if key in ("WorkerId", "AssignmentId", "AssignmentStatus") else key: f" {cell.title()} "
            if key.startswith(("Input.gt_side", "Answer.selection"))
            else cell
            for key, cell in row.items()
        }
        for row in rows
    ]
    nothing = [""] * len(renamed[0])
    table = [list(renamed[0]), *(list(row.values()) for row in renamed), nothing, nothing[:4]]
    spoiled = read_amt_results(write_csv(table, "spoiled.csv"), practice=3)
    assert np.array_equal(spoiled.value, plain.value)
    assert np.array_equal(spoiled["participant"], plain["participant"])
    assert spoiled.left_out == plain.left_out
    assert len(plain) == 5 * 9


def test_a_file_of_rejected_assignments_alone_says_what_to_do(write_csv: Write) -> None:
    rows = [row | {"AssignmentStatus": "Rejected"} for row in results(0)]
    with pytest.raises(InputError, match=r"all assignments were rejected at MTurk.*--rejected keep"):
        read_amt_results(write_csv(rows), practice=3)


def test_batches_become_one_table_and_a_worker_of_both_is_found(write_csv: Write) -> None:
    one, two = results(0), results(0, seed=1)
    for row in two:
        row |= {"AssignmentId": f"B{row['AssignmentId']}", "WorkerId": f"B{row['WorkerId']}"}
    paths = [write_csv(one, "one.csv"), write_csv(as_downloaded(two), "two.csv")]
    both = read_amt_results(paths, practice=3)
    assert len(both) == 2 * 6 * 9
    assert both.source == "one.csv + two.csv"
    two[0]["WorkerId"] = "W0"
    write_csv(two, "two.csv")
    with pytest.raises(InputError, match=r"one.csv \+ two.csv has 2 sessions of participant W0"):
        read_amt_results(paths, practice=3)
    two[0] |= {"WorkerId": "BW0", "Input.gt_side4": "up"}
    write_csv(two, "two.csv")
    with pytest.raises(InputError, match=r"^two\.csv row 2 trial 4 has gt_side 'up'"):
        read_amt_results(paths, practice=3)


def test_answers_of_a_crowd_form_are_read_from_their_json(write_csv: Write) -> None:
    rows = results(0)
    packed = []
    for k, row in enumerate(rows):
        answers = {name.removeprefix("Answer."): cell for name, cell in row.items() if name.startswith("Answer.")}
        if k == 0:  # buttons come as one truth value each
            answers = {name: {"left": side == "left", "right": side == "right"} for name, side in answers.items()}
        rest = {name: cell for name, cell in row.items() if not name.startswith("Answer.")}
        packed.append({**rest, "Answer.taskAnswers": json.dumps([answers])})
    packed_trials = read_amt_results(write_csv(packed, "packed.csv"), practice=3)
    plain = read_amt_results(write_csv(rows), practice=3)
    assert np.array_equal(packed_trials.value, plain.value)
    packed[2]["Answer.taskAnswers"] = "[{"
    with pytest.raises(InputError, match=r"packed.csv row 4 has Answer.taskAnswers that is no JSON"):
        read_amt_results(write_csv(packed, "packed.csv"), practice=3)
    packed[2]["Answer.taskAnswers"] = '["left"]'
    with pytest.raises(InputError, match=r"packed.csv row 4 has Answer.taskAnswers"):
        read_amt_results(write_csv(packed, "packed.csv"), practice=3)
