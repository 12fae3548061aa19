"""The files of a leaderboard: one page that needs nothing else, and the same as CSV, Markdown and JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.leaderboard.boards import Board, Measure, Standing
from analysis.leaderboard.sources import ScoreSource, Source, StudySource
from analysis.records import Row, replace_results
from analysis.report.cells import Cell, ReportColumn, ended, p_text, with_minus
from analysis.report.galleries import Gallery, ImageFolders
from analysis.report.tables import ReportRow, ReportTable
from analysis.study.columns import OUTPUT_COLUMNS
from evalkit.errors import InputError
from evalkit.scoring.signature import short_signatures
from evalkit.text_formats import csv_text, json_text, parse_json
from evalkit.wording import counted, error_reason

__all__ = ["EarlierLeaderboard", "LeaderboardInput", "earlier_leaderboard", "write_leaderboard"]

COMMAND, RECORD = "leaderboard", "leaderboard.json"


@dataclass(frozen=True, kw_only=True)
class LeaderboardInput:
    """What a leaderboard shows.

    Attributes
    ----------
    boards : sequence of Board
        One, or several of runs that may not stand together.
    folders : ImageFolders or None
        Pictures behind the gallery.
    gallery : Gallery or None
        The chosen images by every method.
    title : str
        Heading.
    version : str
        Of this package.
    options : mapping
        Of `make_boards`, for whoever adds to it.
    """

    boards: Sequence[Board]
    folders: ImageFolders | None = None
    gallery: Gallery | None = None
    title: str = "Leaderboard of colorization methods"
    version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierLeaderboard:
    """What the leaderboard in a folder was made of: the places of its runs and studies, and its options."""

    paths: list[Path]
    options: Mapping[str, Any]


def earlier_leaderboard(out: Path) -> EarlierLeaderboard:
    """Runs, studies and options of the leaderboard in a folder.

    Raises
    ------
    InputError
        Where the folder holds none, or where one of its runs is gone.
    """
    try:
        record = parse_json((out / RECORD).read_text(encoding="utf-8"))
        named, options = [str(source["path"]) for source in record["sources"]], dict(record["options"])
    except FileNotFoundError:
        raise InputError(f"{out} holds no leaderboard to add to; make it first, without --add.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out / RECORD}: is not the record of a leaderboard ({error_reason(error)}).") from None
    paths = [Path(os.path.normpath(out / name)) for name in named]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"{out / RECORD} names {path}, which is gone; bring it back, or make the leaderboard anew of the runs that "
                "are there, without --add."
            )
    return EarlierLeaderboard(paths, options)


def write_leaderboard(content: LeaderboardInput, out: Path) -> list[Path]:
    """Write ``leaderboard.html``, ``.csv``, ``.md``, the pairs, and ``leaderboard.json`` last.

    Parameters
    ----------
    content : LeaderboardInput
        What to show.
    out : Path
        Folder, made when absent; the files of an earlier leaderboard are replaced, all of them or none.

    Returns
    -------
    list of Path
        Files written, the page first.

    Raises
    ------
    InputError
        When `out` holds the results of another command.
    """
    rows = [row for number, board in enumerate(content.boards, start=1) for row in board.rows(number)]
    pairs = [row for number, board in enumerate(content.boards, start=1) for row in board.pair_rows(number)]
    files: dict[str, str | bytes] = {
        "leaderboard.html": _page(content),
        "leaderboard.csv": csv_text(rows, list(OUTPUT_COLUMNS["leaderboard.csv"])),
        "leaderboard_pairs.csv": csv_text(pairs, list(OUTPUT_COLUMNS["leaderboard_pairs.csv"])),
        "leaderboard.md": _markdown(content),
    }
    record = {
        "command": COMMAND,
        "version": content.version,
        "options": dict(content.options),
        "sources": [_source_record(source, out) for board in content.boards for source in board.sources],
        "boards": [_board_record(board, number) for number, board in enumerate(content.boards, start=1)],
        "files": [*files, RECORD],
    }
    return replace_results(out, {**files, RECORD: json_text(record)}, record=RECORD, command=COMMAND)


def _source_record(source: Source, out: Path) -> Row:
    """Where it is, seen from the folder of the leaderboard, so that both may move together."""
    entry: Row = {"path": Path(os.path.relpath(source.path.resolve(), out.resolve())).as_posix(), "label": source.label}
    if isinstance(source, StudySource):
        return {**entry, "kind": "study", "signature": source.signature}
    return {**entry, "kind": "scores", "inputs": dict(source.record.inputs), "signatures": _signatures(source)}


def _signatures(source: ScoreSource) -> list[str]:
    return sorted({score.signature for score in source.folder.summary.values() if score.signature})


def _board_record(board: Board, number: int) -> Row:
    return {
        "measures": [{**vars(measure), "column": measure.column.title} for measure in board.measures],
        "rows": list(board.rows(number)),
        "pairs": list(board.pair_rows(number)),
        "notes": list(board.notes),
    }


def _heading(content: LeaderboardInput, number: int) -> str:
    return "Results" if len(content.boards) == 1 else f"Board {number}"


def _table(board: Board) -> ReportTable:
    """Value and ranks of every measure, side by side."""
    columns: list[ReportColumn] = []
    for measure in board.measures:
        columns.append(ReportColumn(measure.key, measure.title, measure.column.factor, measure.column.decimals))
        if not measure.note and measure.better != "neither":
            columns.append(ReportColumn(f"{measure.key} ranks", f"rank by {measure.column.title.removesuffix(' %')}"))
    rows = []
    for contender in board.contenders:
        cells = {}
        for measure in board.measures:
            standing = contender.standings.get(measure.key)
            if standing is not None:
                cells[measure.key] = _cell(standing)
                cells[f"{measure.key} ranks"] = Cell(text=standing.ranks)
        rows.append(ReportRow(contender.name, cells, notes=contender.notes))
    of_cells = [note for row in rows for cell in row.cells.values() for note in cell.notes]
    cautions = dict.fromkeys([*(note for row in rows for note in row.notes), *of_cells])
    return ReportTable(
        columns=tuple(columns),
        rows=tuple(rows),
        caption=_caption(board),
        notes=board.notes,
        cautions=tuple(cautions),
    )


def _cell(standing: Standing) -> Cell:
    return Cell(
        value=standing.value,
        std_error=standing.std_error,
        ci_low=standing.ci_low,
        ci_high=standing.ci_high,
        n_images=standing.n_images,
        text="unscored" if standing.value != standing.value else "",
        notes=standing.notes,
    )


def _caption(board: Board) -> str:
    """What the table says, in a few sentences."""
    standings = [standing for contender in board.contenders for standing in contender.standings.values()]
    has_error = any(not math.isnan(standing.std_error) for standing in standings)
    sentences = [
        f"Value{' ± standard error' if has_error else ''}; ↑ higher is better, ↓ lower is better. A rank such as 1–3 is the range that the data leave "
        "open, among the methods that have the measure: two methods without a common rank are told apart."
    ]
    sentences += [f"No ranks by {measure.column.title}: {measure.note}." for measure in board.measures if measure.note]
    neither = [measure.column.title for measure in board.measures if measure.better == "neither"]
    if neither:
        sentences.append(f"Neither direction is better of {', '.join(neither)}.")
    anchors = [contender.name for contender in board.contenders if contender.is_anchor]
    if anchors:
        sentences.append(f"Without ranks, for comparison: {', '.join(anchors)}.")
    return " ".join(sentences)


METHOD = (
    "Every pair of methods is tested by every measure. By a metric the two are paired over the images on which both have a "
    "value, with the t-ratio of the jackknife; by people's answers, by the two-way test of evalkit analyze. The p-values of all "
    "pairs of a measure are adjusted together (Holm), and a pair is told apart below 0.05. The first rank of a method is one more "
    "than the number of methods that are shown to be better, its last rank leaves behind it only those that are shown to be "
    "worse; together these ranges are 95 % simultaneous confidence intervals of the ranks by that measure (Al Mohamad, Goeman "
    "and van Zwet 2022). Measures are not adjusted for each other."
)
"""How ranks are made, as the page and the Markdown say it."""


def _markdown(content: LeaderboardInput) -> str:
    parts = [f"# {content.title}"]
    for number, board in enumerate(content.boards, start=1):
        if len(content.boards) > 1:
            parts.append(f"## {_heading(content, number)}")
        parts += [_table(board).to_markdown().rstrip(), *(f"- {line}" for line in _source_lines(board))]
    return "\n\n".join([*parts, METHOD]) + "\n"


def _source_lines(board: Board) -> list[str]:
    """What each run or study is, in one line."""
    lines = []
    for source in board.sources:
        if isinstance(source, StudySource):
            lines.append(f"{source.label}: {source.signature}")
        else:
            lines.append(f"{source.label}: {'; '.join(short_signatures(_signatures(source)))}")
    return lines


def _pair_parts(board: Board) -> list[dict[str, Any]]:
    """One matrix per measure: row minus column, and the adjusted p-value."""
    parts = []
    for measure in board.measures:
        pairs = [pair for pair in board.pairs if pair.measure == measure.key]
        names = [c.name for c in board.contenders if any(c.name in (pair.first, pair.second) for pair in pairs)]
        if measure.note or len(names) < 2:
            continue
        by_names = {frozenset((pair.first, pair.second)): pair for pair in pairs}
        rows = [
            (row, [_pair_cell(measure, by_names.get(frozenset((row, column))), row) for column in names])
            for row in names
        ]
        parts.append({"title": measure.column.title, "names": names, "rows": rows})
    return parts


def _pair_cell(measure: Measure, pair: Any, row: str) -> str:
    if pair is None:
        return ""
    difference = pair.difference if pair.first == row else -pair.difference
    shown = with_minus(f"{measure.column.factor * difference:+.{measure.column.decimals}f}")
    return "–" if difference != difference else f"{shown}, p {p_text(pair.p_holm, equals=True)}"


def _page(content: LeaderboardInput) -> str:
    from jinja2 import ChoiceLoader, Environment, PackageLoader
    from markupsafe import Markup

    loader = ChoiceLoader([PackageLoader("analysis.leaderboard"), PackageLoader("analysis.report")])
    template = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("leaderboard.html")
    n_methods = sum(not contender.is_anchor for board in content.boards for contender in board.contenders)
    n_sources = sum(len(board.sources) for board in content.boards)
    return template.render(
        title=content.title,
        subtitle=f"{counted(n_methods, 'method')} from {counted(n_sources, 'run or study', 'runs and studies')}. "
        f"colorization-evalkit {content.version}",
        boards=[
            {
                "id": f"board-{number}",
                "heading": _heading(content, number),
                "table": Markup(_table(board).to_html(whole=True, label=_heading(content, number))),
                "sources": [
                    {"label": source.label, "is_study": isinstance(source, StudySource), "line": line}
                    for source, line in zip(board.sources, _source_lines(board), strict=True)
                ],
                "pairs": _pair_parts(board),
            }
            for number, board in enumerate(content.boards, start=1)
        ],
        galleries=[content.gallery] if content.gallery else [],
        problems=[ended(problem) for problem in (content.folders.problems.values() if content.folders else ())],
        method=METHOD,
    )
