from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.trials.exclusions import CONDITIONS, apply_exclusions, read_exclusions
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError

Write = Callable[..., Path]


def rules(tmp_path: Path, text: str) -> tuple:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_exclusions(path)


def catch_rows() -> list[dict]:
    """Person a gets 1 of 3 catch trials right, person b all."""
    return [
        {"participant": p, "method": "m", "image": f"{kind}{t}", "kind": kind, "fooled": int(f), "flags": flags}
        for p, kind, fooled, flags in (
            ("a", "catch", "110", ""),
            ("b", "catch", "000", ""),
            ("a", "test", "01", "late"),
            ("b", "test", "11", "late,hidden"),
        )
        for t, f in enumerate(fooled)
    ]


def test_participants_who_fail_the_catch_trials_are_left_out(tmp_path: Path, write_csv: Write) -> None:
    declared = rules(tmp_path, '[[rule]]\nname = "failed catch trials"\ncatch_right_below = 2')
    kept = apply_exclusions(read_trials(write_csv(catch_rows())), declared)
    assert np.unique(kept["participant"]).tolist() == ["b"]
    assert [(e.reason, e.n_trials, e.n_participants) for e in kept.left_out] == [("failed catch trials", 5, 1)]


def test_who_reaches_the_limit_stays(tmp_path: Path, write_csv: Write) -> None:
    declared = rules(tmp_path, '[[rule]]\nname = "none right"\ncatch_right_below = 1')
    assert len(apply_exclusions(read_trials(write_csv(catch_rows())), declared)) == 10


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ('flags = ["hidden"]', 8),
        ('flags = ["late"]', 6),
        ('participants = ["a"]', 5),
        ('images = ["test0", "test1"]', 6),
        ("vigilance_share_below = 0.9", 10),
    ],
)
def test_each_condition_finds_its_trials(tmp_path: Path, write_csv: Write, condition: str, left: int) -> None:
    declared = rules(tmp_path, f'[[rule]]\nname = "x"\n{condition}')
    assert len(apply_exclusions(read_trials(write_csv(catch_rows())), declared)) == left


def test_answer_times_have_two_limits(tmp_path: Path, write_csv: Write, study_rows: list[dict]) -> None:
    trials = read_trials(write_csv(study_rows))
    text = '[[rule]]\nname = "fast"\nresponse_ms_below = 400\n[[rule]]\nname = "slow"\nresponse_ms_above = 2000'
    kept = apply_exclusions(trials, rules(tmp_path, text))
    fast, slow = trials["response_ms"] < 400, trials["response_ms"] > 2000
    assert [(e.reason, e.n_trials) for e in kept.left_out] == [("fast", fast.sum()), ("slow", slow.sum())]
    assert len(kept) == len(trials) - fast.sum() - slow.sum()


def test_what_the_study_itself_excluded_is_left_out_too(write_csv: Write, study_rows: list[dict]) -> None:
    for row in study_rows:
        row |= {"excluded": int(row["participant"] == "p0-1"), "exclusion_rule": ""}
        if row["excluded"]:
            row["exclusion_rule"] = "duplicate device"
    kept = apply_exclusions(read_trials(write_csv(study_rows)), ())
    assert [(e.reason, e.n_trials, e.n_participants) for e in kept.left_out] == [
        ("study file: duplicate device", 14, 1)
    ]


def test_no_condition_looks_at_answers_of_test_trials() -> None:
    assert not any("fool" in name or "test" in name for name in CONDITIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = []", "has the key 'rules'; declared, rule are allowed"),
        ("[[rule]]\ncatch_right_below = 5", "rule 1 needs a name and exactly one condition"),
        ('[[rule]]\nname = "x"\ncatch_right_below = 5\nflags = ["a"]', "exactly one condition"),
        ('[[rule]]\nname = "x"\nfool_rate_above = 0.9', "condition 'fool_rate_above'; participants, images"),
        ('[[rule]]\nname = "x"\ncatch_right_below = "5"', "catch_right_below = '5'; a number is allowed"),
        ('[[rule]]\nname = "x"\nflags = "late"', "a list of texts"),
    ],
)
def test_a_bad_rule_is_a_plain_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules(tmp_path, text)


def test_a_rule_on_an_absent_column_is_said(tmp_path: Path, write_csv: Write) -> None:
    declared = rules(tmp_path, '[[rule]]\nname = "fast"\nresponse_ms_below = 100')
    with pytest.raises(InputError, match=r"'fast' needs the column response_ms, which trials\.csv lacks"):
        apply_exclusions(read_trials(write_csv(catch_rows())), declared)


def side_rows() -> list[dict]:
    """Person a says "first" in 9 of 10 trials, b in turn, c five times the one and then the other; a answers fast."""
    answers = {"a": "1111111112", "b": "1212121212", "c": "1111122222"}
    return [
        {"participant": person, "method": "m", "image": f"i{t}", "trial": t, "real_position": ["first", "second"][t % 2],
         "response": {"1": "first", "2": "second"}[answer], "response_ms": 100 if person == "a" else 600}
        for person, given in answers.items() for t, answer in enumerate(given)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("same_answer_share_above = 0.8", ["b", "c"]),
        ("same_answer_share_above = 0.9", ["a", "b", "c"]),
        ("same_answer_run_above = 4", ["b"]),
        ("same_answer_run_above = 5", ["b", "c"]),
        ("median_response_ms_below = 150", ["b", "c"]),
    ],
)
def test_rules_on_the_side_and_the_time_do_not_look_at_what_was_right(
    tmp_path: Path, write_csv: Write, condition: str, left: list[str]
) -> None:
    declared = rules(tmp_path, f'[[rule]]\nname = "x"\n{condition}')
    rows = side_rows()
    mirrored = [{**row, "real_position": {"first": "second", "second": "first"}[row["real_position"]]} for row in rows]
    for version in (rows, mirrored, rows[::-1]):
        kept = apply_exclusions(read_trials(write_csv(version)), declared)
        assert np.unique(kept["participant"]).tolist() == left


def test_the_day_on_which_rules_were_declared_is_kept(tmp_path: Path) -> None:
    text = '[[rule]]\nname = "x"\ncatch_right_below = 1'
    assert rules(tmp_path, f"declared = 2026-11-02\n{text}")[0].declared == "2026-11-02"
    assert rules(tmp_path, text)[0].declared == ""
    with pytest.raises(InputError, match="a day without quotes is allowed"):
        rules(tmp_path, f'declared = "soon"\n{text}')
