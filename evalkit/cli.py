"""The command `evalkit`: subcommands by entry point, loaded when asked for; mistakes told in one sentence.

Exit status: 0 done, 2 a mistake of the user or the machine (bad input, no space, no permission),
130 interrupted, 1 a bug (with a traceback).
"""

from __future__ import annotations

import codecs
import errno
import io
import sys
import traceback
from collections.abc import Iterator
from functools import cache, cached_property
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from evalkit.command_groups import NearestGroup
from evalkit.errors import InputError
from evalkit.release import DISTRIBUTION

__all__ = ["SECTIONS", "CommandGroup", "main"]

ENTRY_POINT_GROUP = "evalkit.commands"

SECTIONS = {
    "Start here": ("demo",),
    "Scores": ("score", "rescore", "merge", "compare", "lint"),
    "What metrics need": ("metrics", "prior", "datasets", "weights", "cache"),
    "Colorizers": ("colorize", "hints", "hint-curve", "train", "probe", "reproduce"),
    "Human test": ("study", "plan"),
    "Analysis": ("analyze", "report", "leaderboard", "figure", "cite", "validate-metrics"),
    "Shell": ("completion",),
}
"""Order and headings of ``evalkit --help``; commands of other packages follow under their own heading."""

PLUGIN_SECTION = "From other packages"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class Mistake(click.ClickException):
    """One sentence on standard error, exit status 2."""

    exit_code = 2


class CommandGroup(NearestGroup):
    """A click group whose commands are the entry points of the group ``evalkit.commands``.

    A command is imported when it is called or when its line of help is printed. One that fails to import
    costs a line of warning in the help and breaks nothing else.
    """

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        # Our own first: another package may add commands, but never silently replace one.
        for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: not _is_own(point)):
            points.setdefault(point.name, point)
        return points

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted; imports none of them."""
        return sorted(self._entry_points.keys() | self.commands.keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is no such name.

        Raises
        ------
        click.ClickException
            If the command is known but does not load.
        """
        point = self._entry_points.get(cmd_name)
        if point is None:
            return super().get_command(ctx, cmd_name)
        try:
            command = point.load()
        except Exception as error:
            if ctx.resilient_parsing:  # the shell asks for completions: offer the others
                return None
            _show_traceback(ctx)
            hidden_by = _hidden_by(point)
            if hidden_by:
                raise Mistake(
                    f"{_label(point)} does not load: {hidden_by} hides evalkit's own package "
                    f"'{_package(point)}', since it comes first on Python's path. Give it another name, start from "
                    "another folder, or take that folder out of PYTHONPATH."
                ) from error
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise Mistake(f"{_label(point)} does not load ({reason}).") from error
        if not isinstance(command, click.Command):
            raise Mistake(f"{_label(point)} is {point.value}, not a click command.")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their one-line help, section by section, and what did not load."""
        lines: dict[str, str] = {}
        warnings: list[str] = []
        longest = max(map(len, self.list_commands(ctx)), default=0)
        for name in self.list_commands(ctx):
            try:
                command = self.get_command(ctx, name)
            except Mistake as mistake:
                warnings.append(f"Warning: {mistake.message}")
                continue
            if command is not None and not command.hidden:
                lines[name] = command.get_short_help_str(formatter.width - 6 - longest)
        for heading, names in _sections(list(lines)):
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(longest), lines[name]) for name in names])
        for warning in warnings:
            formatter.write(f"\n{warning}\n")

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program; a console that lacks a character gets its like, never a traceback."""
        codecs.register_error("evalkit.plain", _plain_characters)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="evalkit.plain")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and translate what went wrong into one sentence and an exit status."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _show_traceback(ctx)
            raise Mistake(str(error)) from error
        except (KeyboardInterrupt, click.Abort):
            _show_traceback(ctx)
            click.echo("\nInterrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            # A closed pipe (`evalkit metrics | head`) is no mistake: click ends quietly.
            if error.errno == errno.EPIPE or error.strerror is None:
                raise
            _show_traceback(ctx)
            raise Mistake(_os_sentence(error)) from error


PLAIN_CHARACTERS = {
    "–": "-", "—": "-", "−": "-", "─": "-", "━": "-", "│": "|", "±": "+-", "×": "x", "·": ".", "≥": ">=", "≤": "<=",
    "↑": "^", "↓": "v", "★": "*", "…": "...", "→": "->", "’": "'", "“": '"', "”": '"', "Δ": "d", "λ": "lambda", "█": "#", "•": "*",
}  # fmt: skip
"""What stands for a character that the console cannot show (code pages 437 and 1252 lack many)."""


def _plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(PLAIN_CHARACTERS.get(character, "?") for character in characters), error.end


def _is_own(point: EntryPoint) -> bool:
    return point.dist is not None and _name(point.dist) == DISTRIBUTION


@cache  # a package's name costs reading its metadata, README and all; its commands share it
def _name(distribution: Distribution) -> str:
    return distribution.name


def _package(point: EntryPoint) -> str:
    return point.module.partition(".")[0]


def _hidden_by(point: EntryPoint) -> str:
    """The file or folder that Python finds under the name of one of our packages instead of ours; empty for none."""
    if not _is_own(point):
        return ""
    package = _package(point)
    loaded = sys.modules.get(package)
    spec = loaded.__spec__ if loaded is not None else find_spec(package)
    ours = (Path(__file__).parents[1] / package).resolve()
    if spec is None or ours in {Path(place).resolve() for place in spec.submodule_search_locations or ()}:
        return ""
    return next(iter(spec.submodule_search_locations or ()), spec.origin or "")


def _label(point: EntryPoint) -> str:
    package = f"package {_name(point.dist)}" if point.dist is not None else "an unnamed package"
    return f"the command '{point.name}' of {package}"


def _sections(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    placed: set[str] = set()
    for heading, wanted in SECTIONS.items():
        listed = [name for name in wanted if name in names]
        placed.update(listed)
        if listed:
            yield heading, listed
    rest = [name for name in names if name not in placed]
    if rest:
        yield PLUGIN_SECTION, rest


def _os_sentence(error: OSError) -> str:
    reason = (error.strerror or "").lower()
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(files)}: {reason}." if files else f"{reason}."


def _wants_traceback(ctx: click.Context) -> bool:
    return bool(ctx.find_root().params.get("traceback"))


def _show_traceback(ctx: click.Context) -> None:
    if _wants_traceback(ctx):
        traceback.print_exc(file=sys.stderr)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--traceback",
    is_flag=True,
    envvar="EVALKIT_TRACEBACK",
    help="Show where a mistake was found, for developers (also EVALKIT_TRACEBACK=1).",
)
@click.version_option(package_name=DISTRIBUTION, prog_name="evalkit")
def main(traceback: bool) -> None:
    """Score image colorizations: machine metrics and the timed real-vs-fake test, with honest intervals."""
