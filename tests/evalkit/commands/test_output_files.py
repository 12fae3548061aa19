"""Files that commands write or read: what cannot be one is refused before any work, the same way in every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from analysis import read_trials
from analysis.records import replace_results
from evalkit import NetworkOptions, Scores, compare_runs
from evalkit.cli import main
from evalkit.commands._shared import GivenPath, OutputFile
from evalkit.errors import InputError

WRITTEN = {"--out", "--figure", "--gallery"}
"""What options are called that name what is written."""


def written_files(group: click.Group = main, above: str = "") -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from written_files(command, f"{above}{name} ")
        else:
            for option in command.params:
                if WRITTEN & set(option.opts) and isinstance(option, click.Option) and option.metavar == "FILE":
                    yield f"{above}{name} {option.opts[0]}", option


def test_every_command_refuses_them_alike() -> None:
    options = dict(written_files())
    assert {"study backup --out", "study people --out", "study audit --out", "compare --out"} <= options.keys()
    assert [name for name, option in options.items() if not isinstance(option.type, OutputFile)] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("missing/", "--out missing/: is a folder; a file such as missing/people.csv is needed."),
        ("there", "--out there: is a folder; a file such as there/people.csv is needed."),
        ("there/", "--out there/: is a folder; a file such as there/people.csv is needed."),
        ("missing/people.csv", "--out missing/people.csv: there is no folder missing; make it first."),
    ],
)
def test_a_folder_and_a_file_in_none_are_a_sentence(
    given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError) as refused:
        OutputFile("people.csv").convert(given, click.Option(["--out"]), None)
    assert str(refused.value) == said
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_can_be_written_is_a_path(tmp_path: Path) -> None:
    assert OutputFile("people.csv").convert(str(tmp_path / "pay.csv"), None, None) == tmp_path / "pay.csv"
    in_new = tmp_path / "new" / "figure.pdf"
    assert OutputFile("figure.pdf", makes_folder=True).convert(str(in_new), None, None) == in_new


@pytest.mark.parametrize("name", ["analysis", "evalkit", "turing_test"])
def test_no_folder_of_results_hides_a_package(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is a package to a Python that starts beside it, and ``import analysis`` finds an empty one."""
    monkeypatch.chdir(tmp_path)
    Path("truth").mkdir()
    Image.new("RGB", (16, 16), (200, 20, 20)).save("truth/a.png")
    commands = (
        ["score", "--truth", "truth", "--method", "gray", "--metrics", "psnr_rgb", "--bootstrap", "0", "--out"],
        ["plan", "--difference", "10", "--images", "400", "--simulate", "0", "--out"],
    )
    for command in commands:
        refused = CliRunner().invoke(main, [*command, name])
        assert refused.exit_code == 2
        assert f"would hide evalkit's own package '{name}' from Python here" in " ".join(refused.stderr.split())
    with pytest.raises(InputError, match="would hide"):
        replace_results(Path(name), {"run.json": "{}"}, record="run.json", command="analyze")
    assert [path.name for path in tmp_path.iterdir()] == ["truth"]
    Path("results").mkdir()
    replace_results(Path("results", name), {"run.json": "{}"}, record="run.json", command="analyze")
    assert Path("results", name, "run.json").exists()


def _every_path() -> Iterator[tuple[list[str], str]]:
    """Command and option (empty for an argument) of whatever is a path."""
    group = click.Context(main)

    def of(command: click.Command, words: list[str]) -> Iterator[tuple[list[str], str]]:
        for name in command.list_commands(group) if isinstance(command, click.Group) else ():
            below = command.get_command(group, name)
            assert below is not None
            yield from of(below, [*words, name])
        for param in command.params:
            if isinstance(param.type, click.Path | OutputFile):
                yield words, param.opts[0] if isinstance(param, click.Option) else ""

    return of(main, [])


def test_an_empty_path_is_the_current_folder_to_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = list(_every_path())
    assert len(paths) > 90
    for words, option in paths:
        refused = CliRunner().invoke(main, [*words, option, ""] if option else [*words, "", ""])
        assert refused.exit_code == 2, (words, option)
        said = " ".join(refused.stderr.split())
        assert "is empty; a file or folder is needed." in said, (words, option)
        assert not option or f"{option} is empty" in said
    assert not list(tmp_path.iterdir())


def test_every_path_of_a_command_is_one_that_may_not_be_empty() -> None:
    assert GivenPath().convert("a/b", None, None) == "a/b"
    with pytest.raises(InputError, match=r"^the path is empty; a file or folder is needed\.$"):
        GivenPath().convert("", None, None)


def test_an_empty_path_is_the_current_folder_to_no_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cache is empty; a file or folder is needed"):
        NetworkOptions(cache="")
    with pytest.raises(InputError, match="out is empty; a file or folder is needed"):
        Scores.read("")
    with pytest.raises(InputError, match="the folder of a run is empty; a file or folder is needed"):
        compare_runs("", "b")
    with pytest.raises(InputError, match="one of the paths is empty; a file or folder is needed"):
        read_trials("")
