"""Tables as CSV, and folders of results that never mix two runs."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.records import replace_results
from evalkit.errors import InputError
from evalkit.text_formats import csv_text, json_text


@pytest.mark.parametrize("row", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "B": 2}])
def test_a_missing_or_unknown_column_is_an_error(row: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Row 2 lacks the columns .* and has the unknown"):
        csv_text([{"a": 0, "b": 0}, row], ["a", "b"])
    with pytest.raises(ValueError, match=r"Row 2"):
        csv_text([{"a": 0, "b": 0}, row])


def test_numbers_keep_their_digits_and_what_is_missing_is_empty() -> None:
    assert csv_text([{"a": 0.1 + 0.2, "b": math.nan, "c": None, "d": True}]) == "a,b,c,d\n0.30000000000000004,,,1\n"
    assert json.loads(json_text({"a": math.inf, "b": [math.nan, 1.5]})) == {"a": None, "b": [None, 1.5]}


def results(run: str, *names: str) -> dict[str, str]:
    files = {name: f"{run} {name}\n" for name in names}
    return files | {"run.json": json.dumps({"command": "analyze", "run": run, "files": [*names, "run.json"]})}


def write(out: Path, files: dict[str, str]) -> None:
    replace_results(out, files, record="run.json", command="analyze")


def test_files_of_the_run_before_go_and_those_of_the_user_stay(tmp_path: Path) -> None:
    write(tmp_path, results("old", "a.csv", "b.csv"))
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, results("new", "a.csv", "figures/c.pdf"))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        "a.csv", "figures/c.pdf", "run.json", "notes.txt",
    }  # fmt: skip
    assert (tmp_path / "a.csv").read_text() == "new a.csv\n"


def test_the_results_of_another_command_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"metrics": []}')
    (tmp_path / "a.csv").write_text("scores")
    with pytest.raises(InputError, match=r"not the record of an earlier run of 'analyze'.*another folder"):
        write(tmp_path, results("new", "a.csv"))
    assert (tmp_path / "a.csv").read_text() == "scores"
    with pytest.raises(InputError, match=r"is a file; a folder"):
        write(tmp_path / "a.csv", results("new", "a.csv"))


def test_a_record_cannot_reach_files_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text(json.dumps({"command": "analyze", "files": ["../precious.txt", "/etc/hosts"]}))
    write(out, results("new", "a.csv"))
    assert (tmp_path / "precious.txt").read_text() == "keep"


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.analysis.test_records import results, write
out, steps = Path(sys.argv[1]), int(sys.argv[2])
left = [steps]
def counted(function):
    def step(*arguments, **options):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return function(*arguments, **options)
    return step
Path.replace, Path.unlink, os.fsync = counted(Path.replace), counted(Path.unlink), counted(os.fsync)
write(out, results("new", "a.csv", "b.csv", "figures/c.pdf"))
"""


def test_whoever_is_killed_leaves_one_run_whole_or_no_record(tmp_path: Path) -> None:
    """Killed before every single step on files, until a run lives through all of its steps."""
    outcomes = set()
    for steps in range(100):
        out = tmp_path / str(steps)
        write(out, results("old", "a.csv", "b.csv", "d.csv"))
        ended = subprocess.run([sys.executable, "-c", KILLED, str(out), str(steps)], check=False)
        assert ended.returncode in (0, -signal.SIGKILL)
        shown = {
            str(path.relative_to(out)): path.read_text()
            for path in out.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
        }
        runs = {json.loads(text)["run"] if name == "run.json" else text.split()[0] for name, text in shown.items()}
        assert all(shown.values()), f"an empty file after {steps} steps"
        if "run.json" in shown:
            run = json.loads(shown["run.json"])["run"]
            expected = results(
                run, *(("a.csv", "b.csv", "d.csv") if run == "old" else ("a.csv", "b.csv", "figures/c.pdf"))
            )
            assert shown == expected, f"mixed after {steps} steps"
            outcomes.add(run)
        else:
            assert len(runs) <= 1, f"mixed after {steps} steps"
            outcomes.add("no record")
        if ended.returncode == 0:
            break
        write(out, results("again", "a.csv"))  # what a dead run left aside is in nobody's way
        assert not list(out.glob(".*"))
    assert ended.returncode == 0
    assert outcomes == {"old", "no record", "new"}
