"""The command group: what it imports, how it finds commands, and how mistakes end."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import evalkit.cli
from evalkit.cli import SECTIONS, CommandGroup, main
from evalkit.errors import InputError

HEAVY = (
    "numpy",
    "numba",
    "PIL",
    "pyarrow",
    "rich",
    "torch",
    "pandas",
    "scipy",
    "matplotlib",
    "skimage",
    "kornia_rs",
)


def group(*commands: click.Command) -> CommandGroup:
    """A command group of its own, with main's options and these commands beside the installed ones."""
    return CommandGroup("evalkit", params=main.params, callback=main.callback, commands=list(commands))


def failing(error: BaseException) -> click.Command:
    @click.command("fail")
    def fail() -> None:
        """Fail."""
        raise error

    return fail


def run(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), prog_name="evalkit")


def plug_in(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    """Register entry points beside the installed ones, as another package would."""
    installed = list(evalkit.cli.entry_points(group="evalkit.commands"))
    added = [EntryPoint(name, target, "evalkit.commands") for name, target in targets.items()]
    monkeypatch.setattr(evalkit.cli, "entry_points", lambda group: added + installed)


@click.command()
def hello() -> None:
    """Say hello from a plugin."""
    click.echo("hello")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom evalkit.cli import main\nmain(['--help'], standalone_mode=False)\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_help_of_a_command_imports_nothing_that_only_mistakes_need() -> None:
    code = (
        "import sys\nfrom evalkit.cli import main\nmain(['score', '--help'], standalone_mode=False)\n"
        "print('LOADED', sorted({'numpy', 'json', 'difflib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_lists_commands_under_their_headings() -> None:
    output = run(main, "--help").output
    assert output.index("Colorizers:") < output.index("colorize  ") < output.index("Shell:")
    assert re.search(r"completion +Print the script that completes evalkit in your shell\.", output)


def test_every_command_of_ours_stands_under_a_heading_of_ours() -> None:
    from importlib.metadata import entry_points

    ours = {point.name for point in entry_points(group="evalkit.commands") if point.dist.name == "colorization-evalkit"}
    assert ours == {name for names in SECTIONS.values() for name in names}


def test_version_names_the_command() -> None:
    assert run(main, "--version").output.startswith("evalkit, version ")


def test_a_command_of_another_package_is_found_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, hello=f"{__name__}:hello")
    commands = group()
    assert "From other packages:" in run(commands, "--help").output
    assert re.search(r"hello +Say hello from a plugin\.", run(commands, "--help").output)
    assert run(commands, "hello").output == "hello\n"


def test_a_plugin_that_does_not_import_is_one_warning_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plug_in(monkeypatch, broken="no_such_module_anywhere:command", hello=f"{__name__}:hello")
    commands = group()
    result = run(commands, "--help")
    assert result.exit_code == 0
    assert result.output.count("'broken'") == 1
    assert "No module named 'no_such_module_anywhere'" in result.output
    assert "Say hello from a plugin." in result.output
    assert run(commands, "hello").output == "hello\n"
    called = run(commands, "broken")
    assert called.exit_code == 2
    assert called.stderr.startswith("Error: the command 'broken'")


def test_a_plugin_that_is_no_command_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, odd=f"{__name__}:HEAVY")
    result = run(group(), "odd")
    assert result.exit_code == 2
    assert "not a click command" in result.stderr


def test_a_plugin_cannot_replace_a_command_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, completion=f"{__name__}:hello")
    assert "_EVALKIT_COMPLETE" in run(group(), "completion", "bash").output


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = run(main, "colorise")
    assert result.exit_code == 2
    assert "there is no command 'colorise'. Did you mean 'colorize'?" in result.stderr
    assert "lists all commands" in run(main, "xyzzy").stderr


def test_an_unknown_command_of_a_group_is_answered_with_the_nearest() -> None:
    result = run(main, "study", "creat")
    assert result.exit_code == 2
    assert "Did you mean 'create'?" in result.stderr


def test_an_input_error_is_one_sentence_and_status_2() -> None:
    result = run(group(failing(InputError("a/b.png: has no colour."))), "fail")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "Error: a/b.png: has no colour.\n")


def test_an_input_error_in_a_group_of_commands_is_told_the_same_way() -> None:
    inner = click.Group("inner", commands=[failing(InputError("bad."))])
    result = run(group(inner), "inner", "fail")
    assert (result.exit_code, result.stderr) == (2, "Error: bad.\n")


@pytest.mark.parametrize("ask", ["option", "environment"])
def test_developers_can_ask_for_the_traceback(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if ask == "environment":
        monkeypatch.setenv("EVALKIT_TRACEBACK", "1")
    arguments = ("--traceback", "fail") if ask == "option" else ("fail",)
    result = run(group(failing(InputError("bad."))), *arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "in fail" in result.stderr
    assert result.stderr.endswith("Error: bad.\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "no space left on device."),
        (PermissionError(13, "Permission denied", "/out/x"), "/out/x: permission denied."),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), "/a -> /b: invalid cross-device link."),
    ],
)
def test_a_machine_that_refuses_is_one_sentence_and_status_2(error: OSError, sentence: str) -> None:
    result = run(group(failing(error)), "fail")
    assert (result.exit_code, result.stderr) == (2, f"Error: {sentence}\n")


def test_an_interruption_is_one_line_and_status_130() -> None:
    result = run(group(failing(KeyboardInterrupt())), "fail")
    assert (result.exit_code, result.stderr) == (130, "\nInterrupted.\n")


def test_a_closed_pipe_is_quiet() -> None:
    result = run(group(failing(BrokenPipeError(32, "Broken pipe"))), "fail")
    assert result.output == ""
    assert isinstance(result.exception, SystemExit)


def test_a_bug_keeps_its_traceback_and_status_1() -> None:
    result = run(group(failing(ZeroDivisionError("a bug"))), "fail")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(shell: str) -> None:
    result = run(main, "completion", shell)
    assert result.exit_code == 0
    assert "_EVALKIT_COMPLETE" in result.output
    assert f"{shell}_complete" in result.output


def test_completion_offers_commands_although_a_plugin_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    plug_in(monkeypatch, cobroken="no_such_module_anywhere:command")
    offered = BashComplete(group(), {}, "evalkit", "_EVALKIT_COMPLETE").get_completions([], "co")
    assert "completion" in [item.value for item in offered]
    assert "cobroken" not in [item.value for item in offered]


# --- a folder of results that bears the name of a package of ours ------------------------------------------------------


@pytest.mark.parametrize("content", [None, "__init__.py"])
def test_python_m_evalkit_does_not_look_for_its_packages_in_the_current_folder(tmp_path: Path, content) -> None:
    (tmp_path / "analysis").mkdir()
    if content:
        (tmp_path / "analysis" / content).touch()
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", "analyze", "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "evalkit analyze [OPTIONS]" in done.stdout


def test_a_package_that_hides_ours_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").touch()
    # As from a wheel: without the finder of editable installs, which hands out submodules of a hidden package.
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'Editable' not in getattr(f, '__name__', '')]\n"
        f"sys.path[:] = [{str(tmp_path)!r}, *sys.path, {str(Path(evalkit.cli.__file__).parents[1])!r}]\n"
        "from evalkit.cli import main\n"
        "sys.argv = ['evalkit', 'analyze', 'trials.csv', '--out', 'x']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    sentence = " ".join(done.stderr.split())
    assert f"{tmp_path / 'analysis'} hides evalkit's own package 'analysis'" in sentence
    assert "another name" in sentence
    assert "PYTHONPATH" in sentence
