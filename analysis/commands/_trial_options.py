"""Options that say how a trial table is read, shared by the commands that read one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evalkit.commands._shared import GivenPath

if TYPE_CHECKING:
    from analysis.study.analysis import StudyAnalysis
    from analysis.trials.trial_files import ColumnMapping
    from analysis.trials.trial_table import TrialTable

__all__ = ["analyze_with_options", "read_with_options", "study_options", "trial_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--format",
        "file_format",
        type=click.Choice(["table", "amt-real-vs-fake"]),
        default="table",
        show_default=True,
        help="A table with one row per trial, or the results CSV of AMT_Real_vs_Fake.",
    ),
    click.option(
        "--practice", type=click.IntRange(0), default=10, show_default=True, help="AMT: first trials to leave out."
    ),
    click.option("--truth-folder", metavar="NAME", help="AMT: folder of the photos; by default the most frequent one."),
    click.option("--vigilance-folder", metavar="NAME", help="AMT: folder of the vigilance images."),
    click.option(
        "--column", "columns", multiple=True, metavar="OURS=THEIRS", help="Name of a column in a foreign table."
    ),
    click.option("--constant", "constants", multiple=True, metavar="OURS=VALUE", help="One entry for all rows."),
    click.option("--missing", multiple=True, metavar="OURS=CODE", help="An entry that means: not answered."),
    click.option(
        "--mapping", type=GivenPath(path_type=Path), metavar="FILE.toml", help="The same and more, as a file."
    ),
    click.option(
        "--duplicates",
        type=click.Choice(["error", "first"]),
        default="error",
        show_default=True,
        help="When a participant met an image of a method twice.",
    ),
    click.option(
        "--rejected",
        type=click.Choice(["leave-out", "keep"]),
        default="leave-out",
        show_default=True,
        help="MTurk: assignments that were rejected; left out, they are counted apart.",
    ),
)


_STUDY_OPTIONS = (
    click.option(
        "--estimand",
        type=click.Choice(["participants+images", "participants"]),
        default="participants+images",
        show_default=True,
        help="What intervals generalise to: new people and new images, or new people on these images.",
    ),
    click.option(
        "--exclude", type=GivenPath(path_type=Path), metavar="RULES.toml", help="Exclusions declared before the data."
    ),
    click.option(
        "--equivalence-margin",
        type=click.FloatRange(0, 50, min_open=True),
        default=5.0,
        show_default=True,
        help="Percentage points around 50 (naturalness: around the rate of truth) that count as equal.",
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(50, 100, min_open=True, max_open=True),
        default=95.0,
        show_default=True,
        help="Nominal coverage of intervals, percent.",
    ),
)


def study_options(function: F) -> F:
    """Add the options of an analysis that every command takes; the command hands them to `analyze_with_options`."""
    for option in reversed(_STUDY_OPTIONS):
        function = option(function)
    return function


def analyze_with_options(
    table: TrialTable,
    *,
    baseline: str | None,
    estimand: Any,
    exclude: Path | None,
    equivalence_margin: float,
    confidence: float,
    **resampling: Any,
) -> StudyAnalysis:
    """Analyse a trial table as the options say: the one path of all commands that show rates of people."""
    from analysis.study.analysis import AnalysisOptions, analyze_study
    from analysis.trials.exclusions import read_exclusions

    options = AnalysisOptions(
        baseline=baseline,
        estimand=estimand,
        confidence=confidence / 100,
        equivalence_margin=equivalence_margin / 100,
        **resampling,
    )
    return analyze_study(table, read_exclusions(exclude) if exclude else (), options)


def trial_options(function: F) -> F:
    """Add the options; the command receives them as keyword arguments for `read_with_options`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def read_with_options(
    paths: Sequence[Path],
    *,
    file_format: str,
    practice: int,
    truth_folder: str | None,
    vigilance_folder: str | None,
    columns: tuple[str, ...],
    constants: tuple[str, ...],
    missing: tuple[str, ...],
    mapping: Path | None,
    duplicates: Any,
    rejected: Any,
) -> TrialTable:
    """Read a trial table, or several as one, as the options say."""
    from analysis.trials.amt_results import read_amt_results
    from analysis.trials.trial_files import read_trials

    if file_format == "table":
        _refuse_idle("amt-real-vs-fake", {"--truth-folder": truth_folder, "--vigilance-folder": vigilance_folder})
    else:
        of_tables = {"--column": columns, "--constant": constants, "--missing": missing, "--mapping": mapping}
        _refuse_idle("table", of_tables)
    if file_format == "amt-real-vs-fake":
        return read_amt_results(
            paths,
            practice=practice,
            truth_folder=truth_folder,
            vigilance_folder=vigilance_folder,
            duplicates=duplicates,
            rejected=rejected,
        )
    mapped = _mapping(mapping, columns, constants, missing)
    return read_trials(paths, mapping=mapped, duplicates=duplicates, rejected=rejected)


def _refuse_idle(file_format: str, options: Mapping[str, object]) -> None:
    """Refuse options that say something about tables of `file_format` while another format is read."""
    from evalkit.errors import InputError

    for option, value in options.items():
        if value:
            raise InputError(f"{option} has an effect with --format {file_format} alone.")


def _mapping(
    file: Path | None, columns: tuple[str, ...], constants: tuple[str, ...], missing: tuple[str, ...]
) -> ColumnMapping:
    from dataclasses import replace

    from analysis.trials.trial_files import ColumnMapping

    mapping = ColumnMapping.from_toml(file) if file else ColumnMapping()
    codes = dict(mapping.missing)
    for name, code in _pairs("--missing", missing):
        codes[name] = (*codes.get(name, ()), code)
    return replace(
        mapping,
        columns={**mapping.columns, **dict(_pairs("--column", columns))},
        constants={**mapping.constants, **dict(_pairs("--constant", constants))},
        missing=codes,
    )


def _pairs(option: str, entries: tuple[str, ...]) -> list[tuple[str, str]]:
    from evalkit.errors import InputError

    pairs: list[tuple[str, str]] = []
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            lack = "name before its '='" if equals else "'='"
            raise InputError(f"{option} {entry!r} has no {lack}; {option} OURS=THEIRS is allowed.")
        if option != "--missing" and name in dict(pairs):
            raise InputError(f"{option}: {name} is given twice.")
        pairs.append((name, value))
    return pairs
