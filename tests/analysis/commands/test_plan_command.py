from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.commands.plan import plan
from evalkit.errors import InputError

Write = Callable[..., Path]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(plan, [str(argument) for argument in arguments])
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
    assert "Pocock           2.178 2.178" in output
    assert "O'Brien-Fleming  2.797 1.977" in output


def test_a_pilot_replaces_the_assumed_spread(write_csv: Write, study_rows: list[dict]) -> None:
    output = run("--from", write_csv(study_rows), "--participants", 20, "--images", 50, "--simulate", 0)
    assert "Fool rate 50 %" not in output
    assert "20 participants, 50 images" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--difference", 5, "--equivalence-margin", 5], "not both"),
        (["--trials", 4], "leaves none of 4 trials"),
        (["--images", 30], "36 trials need as many images"),
    ],
)
def test_bad_options_are_a_plain_sentence(options: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*options)
