"""What needs a package that is not installed says so in one sentence, with the command that brings it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import analysis
import evalkit
import evalkit.needs
from analysis.commands._needs import need
from analysis.trials.trial_table import TrialTable
from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.scoring.score_comparison import Differences
from turing_test.commands.study import NEEDS, study


def with_frames() -> list[type]:
    """Every public class, and those that public functions return, that can become a data frame."""
    public = [getattr(package, name) for package in (evalkit, analysis) for name in package.__all__]
    classes = {value for value in [*public, Differences, TrialTable] if inspect.isclass(value)}
    return sorted((value for value in classes if hasattr(value, "to_frame")), key=lambda value: value.__name__)


@pytest.mark.parametrize("kind", with_frames(), ids=lambda kind: kind.__name__)
def test_a_data_frame_without_pandas_is_one_sentence(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evalkit.needs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pandas is not installed; for data frames, pip install .*\[report\]"):
        kind.to_frame(object.__new__(kind))


def test_there_are_classes_that_become_data_frames() -> None:
    assert {"Scores", "TrialTable"} <= {kind.__name__ for kind in with_frames()}


def test_every_study_command_without_its_packages_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is imported, or made, before what is absent is named; their help needs none of it."""
    genuine = importlib.util.find_spec
    monkeypatch.setattr(evalkit.needs, "find_spec", lambda name: None if name in NEEDS else genuine(name))
    for name in study.list_commands(click.Context(study)):
        refused = CliRunner().invoke(main, ["study", name, str(tmp_path / "study")], prog_name="evalkit")
        assert refused.exit_code == 2, refused.output
        sentence = " ".join(refused.stderr.split())
        assert sentence.startswith(
            f"Error: flask, sqlalchemy, alembic and {len(NEEDS) - 3} more are not installed; for 'evalkit study', "
        )
        assert sentence.endswith('[study]" brings them.')
        helped = CliRunner().invoke(main, ["study", name, "--help"], prog_name="evalkit")
        assert (helped.exit_code, helped.stderr) == (0, ""), name
        assert helped.stdout.startswith(f"Usage: evalkit study {name} ")
    assert not list(tmp_path.iterdir())


def test_the_study_commands_ask_for_what_their_extra_brings() -> None:
    """By the names under which it is imported; psycopg is for PostgreSQL alone, the rest comes with Flask and Alembic."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {re.split(r"[\[>]", line)[0] for line in project["optional-dependencies"]["study"]}
    imported = {"pyjwt": "jwt", "zlib-ng": "zlib_ng"}
    assert {imported.get(name, name) for name in brought - {"werkzeug", "mako", "psycopg"}} == set(NEEDS)


def test_several_absent_packages_are_listed_as_a_sentence_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evalkit.needs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^scipy, matplotlib and jinja2 are not installed; .* brings them\.$"):
        need("scipy", "matplotlib", "jinja2")
