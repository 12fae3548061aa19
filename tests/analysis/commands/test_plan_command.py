from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.commands.plan import plan_command
from evalkit.errors import InputError

Write = Callable[..., Path]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(plan_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_names_participants_for_several_numbers_of_images_and_confirms_them() -> None:
    output = run("--difference", 12, "--trials", 22, "--vigilance", 2, "--simulate", 60)
    assert "10,000" in output
    assert "Buy raters or images? " in output
    assert "Simulated 60 studies" in output


def test_writes_table_and_figure(tmp_path: Path) -> None:
    run("--difference", 8, "--simulate", 0, "--out", tmp_path)
    with (tmp_path / "plan.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["40", "100", "400", "1000", "10000"]
    assert float(rows[0]["power"]) >= 0.8
    assert (tmp_path / "plan.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "plan.png").stat().st_size > 5000


def test_equivalence_with_few_images_is_out_of_reach() -> None:
    assert "No number of participants" in run("--equivalence-margin", 5, "--images", 40)


def test_looks_before_the_end_have_their_limits() -> None:
    output = run("--difference", 10, "--simulate", 0, "--looks", 2)
    assert "unadjusted p" in output
    assert "Pocock           0.02939 0.02939" in output
    assert "O'Brien-Fleming  0.005166 0.04799  (planned for)" in output


def test_looks_cost_participants() -> None:
    without, pocock = (
        run("--difference", 10, "--images", 400, "--simulate", 0, *more)
        for more in ((), ("--looks", 4, "--bounds", "pocock"))
    )
    assert participants_of(pocock) > 1.1 * participants_of(without)


def participants_of(output: str) -> int:
    return int(re.findall(r"^(\d+) participants, ", output, flags=re.MULTILINE)[0])


def test_the_family_is_said_aloud() -> None:
    alone, family = (
        run("--difference", 10, "--images", 400, "--simulate", 0, *more) for more in ((), ("--methods", 6))
    )
    assert "One comparison, no adjustment" in alone
    assert "5 comparisons: each is planned at 5 % / 5" in family
    assert participants_of(family) > participants_of(alone)


def test_the_direction_is_said_aloud() -> None:
    output = run("--difference", 5, "--rate", 0.08, "--images", 400, "--simulate", 0)
    assert "taken to be higher, at 13 %: the direction that needs more people" in output
    output = run("--difference", 5, "--rate", 0.08, "--images", 400, "--simulate", 0, "--direction", "lower")
    assert "taken to be lower, at 3 %: as asked" in output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--equivalence-margin", 10, "--images", 100], "equivalence within 10 points of 50 %"),
        (["--difference", 15, "--images", 100, "--unpaired"], "difference of 15 points"),
        (["--preset", "preference", "--difference", 10, "--images", 100], "participants per pair"),
        (["--preset", "preference", "--difference", 10, "--images", 100, "--within-subject", "--methods", 3], "13 test trials of each pair"),
        (["--preset", "naturalness", "--difference", 5, "--images", 100], "Rate of natural 90 %"),
        (["--preset", "naturalness", "--equivalence-margin", 5, "--images", 200, "--within-subject"], "20 test trials of each method"),
        (["--difference", 10, "--images", 400, "--within-subject"], "18 test trials of each method"),
        (["--difference", 10, "--images", 400, "--within-subject", "--methods", 5], 'In study.toml of this study: methods_per_person = "all", '
         "test_trials = 39, vigilance_trials = 4."),
        (["--difference", 10, "--images", 400, "--methods-per-person", 2, "--methods", 5, "--participants", 30],
         "In all 75 participants: each judges 2 of 5 methods, so two methods share 25 % of their participants."),
        (["--difference", 10, "--images", 400, "--methods-per-person", 2, "--methods", 5], "methods_per_person = 2, test_trials = 40"),
    ],
)  # fmt: skip
def test_every_kind_of_plan_is_simulated(options: list, expected: str) -> None:
    output = run(*options, "--simulate", 40)
    assert expected in output
    assert "Simulated 40 studies" in output


def test_a_formula_that_fails_ends_with_a_sentence_and_a_status() -> None:
    """Four people and a rate of 0.5 %: nobody's answers are near normal."""
    arguments = ["--difference", "2", "--rate", "0.005", "--participants", "4", "--images", "400", "--simulate", "300"]
    result = CliRunner().invoke(plan_command, arguments)
    assert result.exit_code == 1
    assert "The formula does not hold here: it promises power" in result.output
    assert CliRunner().invoke(plan_command, [*arguments[:-1], "0"]).exit_code == 0


def test_a_pilot_replaces_the_assumed_spread(write_csv: Write, study_rows: list[dict]) -> None:
    path = write_csv(study_rows)
    output = run("--from", path, "--participants", 20, "--images", 50, "--simulate", 0)
    assert "Fool rate 50 %" not in output
    assert "20 participants, 50 images" in output
    planned, careful = (
        run("--from", path, "--difference", 10, "--images", 400, "--simulate", 0, *more)
        for more in ((), ("--pilot-quantile", 0.9))
    )
    assert "A pilot is uncertain" in planned
    assert participants_of(careful) > participants_of(planned)


def test_choices_among_several_are_planned_as_the_pairs_that_they_tell_apart() -> None:
    several = ("--preset", "preference", "--difference", 12, "--images", 200, "--simulate", 0)
    planned = run(*several, "--alternatives", 4, "--trials", 40)
    assert "tells two methods apart where one of the two is chosen, in 2 of 4 trials" in planned
    assert "20 test trials of each set" in planned
    assert "participants per set" in planned
    assert "In study.toml of this study: alternatives = 4." in planned
    in_pairs = run(*several, "--methods", 4, "--trials", 20)
    assert participants_of(planned) == participants_of(in_pairs)


def test_a_search_for_the_real_photo_is_planned_against_its_chance(write_csv: Write) -> None:
    search = ("--preset", "simultaneous", "--difference", 8, "--images", 200, "--simulate", 0)
    planned = {shown: run(*search, "--alternatives", shown) for shown in (3, 5)}
    assert "Real photo found in 41.3 %, chance 33.3 %" in planned[3]
    assert "36 test trials of each set" in planned[3]
    assert "In study.toml of this study: alternatives = 3." in planned[3]
    # 36 trials leave no place of five equally often: 35 do.
    assert "Real photo found in 28 %, chance 20 %" in planned[5]
    assert "alternatives = 5, test_trials = 39, vigilance_trials = 4." in planned[5]
    assert participants_of(planned[3]) > participants_of(planned[5]), "answers vary less where chance is smaller"
    below = run(*search, "--alternatives", 5, "--direction", "lower")
    assert "Real photo found in 12 %, chance 20 %" in below
    sets = run(*search, "--alternatives", 3, "--methods", 4, "--within-subject")
    assert 'methods_per_person = "all", test_trials = 40, vigilance_trials = 4.' in sets  # six sets of six trials
    rows = [["participant", "image", "method_first", "method_second", "method_third", "real_position", "response"]]
    rng, places = np.random.default_rng(0), ("first", "second", "third")
    rows += [
        [f"p{p}", f"i{i}", "truth", "a", "b", "first", rng.choice(places, p=(0.5, 0.25, 0.25))]
        for p in range(12)
        for i in range(12)
    ]
    pilot = write_csv(rows)
    assert "spreads from the pilot" in run(*search, "--alternatives", 3, "--from", pilot)
    refused = CliRunner().invoke(plan_command, [str(word) for word in (*search, "--alternatives", 4, "--from", pilot)])
    assert "is a search among 3; plan it with --alternatives 3" in str(refused.exception)
    as_preference = ("--preset", "preference", "--from", pilot)
    refused = CliRunner().invoke(plan_command, [str(word) for word in as_preference])
    assert "is a search for the real photo among several; plan it with --preset simultaneous" in str(refused.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "simultaneous"], "say --alternatives N; of two images it is --preset real-vs-fake"),
        (
            ["--preset", "simultaneous", "--alternatives", 3, "--rate", 0.4],
            "finds the photo in 33.3 %; say --difference",
        ),
        (["--preset", "simultaneous", "--alternatives", 3, "--equivalence-margin", 5], "tested against chance"),
        (["--preset", "simultaneous", "--alternatives", 9, "--trials", 12], "8 test trials are fewer than 9"),
        (
            ["--preset", "simultaneous", "--alternatives", 5, "--methods", 3],
            "is more than the 3 methods of the study and the photo",
        ),
        (["--difference", 5, "--equivalence-margin", 5], "not both"),
        (["--trials", 4], "leaves none of 4 trials"),
        (["--images", 30], "36 trials need as many images"),
        (["--pilot-quantile", 0.8], "goes with --from"),
        (["--preset", "preference", "--rate", 0.4], "does not go with --preset preference"),
        (["--within-subject", "--methods", 50], "36 test trials cannot be divided among 50 methods"),
        (["--methods-per-person", 3], "--methods-per-person 3 is more than the 2 methods of the study"),
        (["--methods-per-person", 2, "--within-subject"], "not both"),
        (["--alternatives", 3], "--alternatives 3 is for --preset preference"),
        (
            ["--alternatives", 4, "--methods", 3, "--preset", "preference"],
            "--alternatives 4 is more than the 3 methods",
        ),
        (
            ["--alternatives", 9, "--trials", 4, "--preset", "preference"],
            "4 trials with --alternatives 9 tell too little",
        ),
        (["--equivalence-margin", 5, "--looks", 3], "not for equivalence"),
        (["--difference", 60], "leads to a rate of 110 %"),
    ],
)
def test_bad_options_are_a_plain_sentence(options: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*options)
