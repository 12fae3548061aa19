"""What several commands share: options of the ab metrics, running another command by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evalkit.errors import InputError, check_path

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.color.ab_classes import AbClasses
    from evalkit.metrics.ab_counts import AbErrorOptions

__all__ = [
    "AbChoices",
    "GivenPath",
    "OutputChoices",
    "OutputFile",
    "ab_options",
    "complete_metrics",
    "image_list_option",
    "listed_names",
    "output_options",
    "run_command",
    "table_console",
]

F = TypeVar("F", bound=Callable[..., Any])


class GivenPath(click.Path):
    """A file or folder that is named: an empty text, which Python takes for the current folder, is refused.

    So ends what a script gives where a variable of it is not set.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What `click.Path` makes of it."""
        _refuse_empty(value, param)
        return super().convert(value, param, ctx)


def _refuse_empty(value: object, param: click.Parameter | None) -> None:
    if value == "":
        name = "" if param is None else param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
        raise InputError(f"{name or 'the path'} is empty; a file or folder is needed")


class OutputFile(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A file that a command will write, refused before its work where that cannot be: a folder, or a file in none.

    Parameters
    ----------
    example : str
        Name of such a file, for the sentence that refuses a folder.
    makes_folder : bool, default False
        Whether the command makes the folder of the file.
    """

    name = "file"

    def __init__(self, example: str, *, makes_folder: bool = False) -> None:
        self._example, self._makes_folder = example, makes_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        _refuse_empty(value, param)
        path, option = Path(value), "" if param is None else f"{param.opts[0]} "
        # Path() forgets the slash at the end, by which somebody says that this is a folder.
        if path.is_dir() or str(value).endswith(tuple(filter(None, ("/", os.sep, os.altsep)))):
            raise InputError(f"{option}{value}: is a folder; a file such as {path / self._example} is needed.")
        if not self._makes_folder and not path.parent.is_dir():
            raise InputError(f"{option}{value}: there is no folder {path.parent}; make it first.")
        return path


def ab_options(function: F) -> F:
    """Add the options that decide how ab errors become scores."""
    for option in (
        click.option("--lambda", "rebalancing", type=float, default=0.0, show_default=True,
                     help="Share of the uniform distribution mixed into the prior; 0 for evaluation."),
        click.option("--max-threshold", type=click.IntRange(1, 150), default=150, show_default=True,
                     help="Upper end of the thresholds; below 150 only with --quadrature thresholds."),
        click.option("--quadrature", type=click.Choice(["exact", "thresholds"]), default="exact", show_default=True,
                     help="Closed form, or the mean over the thresholds 0, 1, ..."),
        click.option("--prior", default="truth", show_default=True, metavar="truth|FILE",
                     help="Class shares behind the rebalancing weights: of the evaluated truth, or from a file."),
    ):  # fmt: skip
        function = option(function)
    return function


def image_list_option(function: F) -> F:
    """Add --images."""
    return click.option(
        "--images", type=GivenPath(), default=None, metavar="FILE",
        help="Text file with the names of the images to keep, one per line, with or without extension; lines that begin "
        "with # are comments.",
    )(function)  # fmt: skip


def listed_names(text: str | None) -> tuple[str, ...]:
    """Names of an option ``NAME,NAME``; none where it was not given."""
    return tuple(filter(None, (part.strip() for part in (text or "").split(","))))


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers for the last of some metrics."""
    from evalkit.metrics import DEFAULT, metric_names

    complete, _, last = incomplete.rpartition(",")
    names = (DEFAULT, *metric_names())
    return [f"{complete},{name}" if complete else name for name in names if name.startswith(last)]


@dataclass(frozen=True, kw_only=True)
class AbChoices:
    """The options of `ab_options` as they were given."""

    prior: str
    quadrature: str
    max_threshold: int
    rebalancing: float

    def ab_error_options(self, classes: str | AbClasses) -> AbErrorOptions:
        """Options of a run under these ab classes, or those of that name."""
        from evalkit.color.ab_classes import load_classes, load_prior
        from evalkit.metrics.ab_counts import AbErrorOptions

        check_path("--prior", self.prior)
        chosen = load_classes(classes) if isinstance(classes, str) else classes
        return AbErrorOptions(
            classes=chosen,
            prior=None if self.prior == "truth" else load_prior(Path(self.prior), chosen),
            quadrature=self.quadrature,  # type: ignore[arg-type]
            max_threshold=self.max_threshold,
            rebalancing=self.rebalancing,
        )


@dataclass(frozen=True, kw_only=True)
class OutputChoices:
    """The options of `output_options` as they were given."""

    as_json: bool
    quiet: bool


def output_options(function: F) -> F:
    """Add --json and --quiet."""
    function = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors and what is unscored.")(
        function
    )
    return click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")(function)


def run_command(*words: str) -> None:
    """Run another command as the user would type it, and with whatever a plug-in of that name brings.

    Raises
    ------
    ClickException
        When no package has installed a command of that name.
    """
    from evalkit.cli import main

    command: click.Command | None = main
    depth = 0
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words[depth])
        depth += 1
    name = " ".join(words[:depth])
    if command is None:
        raise click.ClickException(f"the command '{name}' is not installed")
    command.main(list(words[depth:]), prog_name=f"evalkit {name}", standalone_mode=False)


def table_console(elsewhere: int = 200) -> Console:
    """Where tables are printed: as wide as the terminal, or ``elsewhere`` columns into a file or a pipe, which have none."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=elsewhere)
