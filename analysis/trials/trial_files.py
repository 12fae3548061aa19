"""Reading trial tables: CSV, Parquet, JSON, a study folder, and other tools' tables by a column mapping."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from analysis.trials.trial_table import RawTable, TrialTable, check_trials
from evalkit.errors import InputError, check_choice, check_kind, check_path
from evalkit.text_formats import parse_json, spreadsheet_text, unguarded
from evalkit.wording import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ColumnMapping",
    "as_trials",
    "is_study_folder",
    "read_raw_table",
    "read_trials",
    "table_of_records",
    "without_rejected",
]

MTURK_ONLY = {"HITId", "AssignmentId", "AssignmentStatus"}
"""Columns by which a results file of MTurk is known."""

TASK_ANSWERS = "Answer.taskAnswers"

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".json")


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """How the columns of a foreign table become ours.

    Attributes
    ----------
    columns : mapping of str to str
        Our name to theirs.
    constants : mapping of str to str
        Our name to one entry for every row.
    missing : mapping of str to tuple of str
        Our name to the entries that mean "not answered".
    lookup : Path or None
        Another table whose columns are added by `lookup_key`, a column of both.
    lookup_key : str
        Their name of the common column.
    truth_pattern, name_pattern : str
        For tables that rate a photo and a colorization side by side (columns file_first, file_second,
        score_first, score_second): the first is a regular expression found in the photo's file name only,
        the second has the groups ``image`` and ``method`` and is matched to the other's. The colorization
        fools when it scores higher; a tie counts half.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lookup: Path | None = None
    lookup_key: str = ""
    truth_pattern: str = ""
    name_pattern: str = ""

    def __post_init__(self) -> None:
        for name in ("columns", "constants", "missing"):
            check_kind(name, getattr(self, name), Mapping, "a mapping by the name of a column")
        for name, texts in self.missing.items():
            check_kind(f"missing[{name!r}]", texts, (tuple, list, Set), "a list of texts")
        if self.lookup is not None:
            check_path("lookup", self.lookup)

    @classmethod
    def from_toml(cls, path: Path) -> ColumnMapping:
        """Read the tables ``[columns]``, ``[constants]``, ``[missing]``, ``[lookup]`` and ``[pairs]``.

        Raises
        ------
        InputError
            For a file that is no TOML, and for unknown keys.
        """
        data = read_toml(path, ("columns", "constants", "missing", "lookup", "pairs"))
        lookup, pairs = data.get("lookup", {}), data.get("pairs", {})
        refuse_unknown(f"{path.name} [lookup]", lookup, ("file", "key"))
        refuse_unknown(f"{path.name} [pairs]", pairs, ("truth", "name"))
        return cls(
            columns=data.get("columns", {}),
            constants={name: str(entry) for name, entry in data.get("constants", {}).items()},
            missing={
                name: tuple(str(code) for code in _as_list(codes)) for name, codes in data.get("missing", {}).items()
            },
            lookup=path.parent / lookup["file"] if "file" in lookup else None,
            lookup_key=lookup.get("key", ""),
            truth_pattern=pairs.get("truth", ""),
            name_pattern=pairs.get("name", ""),
        )


def read_trials(
    paths: Path | str | Sequence[Path | str] | pd.DataFrame,
    *,
    mapping: ColumnMapping | None = None,
    duplicates: Literal["error", "first"] = "error",
    rejected: Literal["leave-out", "keep"] = "leave-out",
) -> TrialTable:
    """Read and check a trial table.

    Parameters
    ----------
    paths : Path or str, or a sequence of these, or pandas.DataFrame
        A CSV (comma, semicolon or tab), Parquet or JSON file; the folder of a study, whose answers are read from its
        database as it is now; or a folder that `evalkit study export` wrote. Several become one table. A data frame is
        read as a file of its columns.
    mapping : ColumnMapping
        For the tables of other tools.
    duplicates : {"error", "first"}
        See `analysis.trials.trial_table.check_trials`.
    rejected : {"leave-out", "keep"}
        What becomes of assignments that were rejected at MTurk.

    Returns
    -------
    TrialTable
        Checked trials.

    Raises
    ------
    InputError
        One plain sentence: what is wrong, in which file and row, and what is allowed.
    """
    if mapping is not None:
        check_kind("mapping", mapping, ColumnMapping, "analysis.ColumnMapping(...)")
    check_choice("duplicates", duplicates, ("error", "first"))
    check_choice("rejected", rejected, ("leave-out", "keep"))
    mapping = mapping or ColumnMapping()
    raw_tables = (
        [_frame_table(paths)] if _is_frame(paths) else read_raw_tables(cast("Path | str | Sequence[Path | str]", paths))
    )
    tables = [apply_mapping(raw, mapping) for raw in raw_tables]

    def check(raw: RawTable) -> TrialTable:
        return check_trials(raw, missing=mapping.missing, duplicates=duplicates)

    trials = check_together(tables, check)
    return without_rejected(trials) if rejected == "leave-out" else trials


def as_trials(trials: TrialTable | pd.DataFrame) -> TrialTable:
    """Checked trials as they are, or those of a pandas data frame under the columns of a trial file.

    Raises
    ------
    InputError
        If it is neither, or the frame cannot be analysed; see `analysis.trials.trial_table.check_trials`.
    """
    if isinstance(trials, TrialTable):
        return trials
    if isinstance(trials, str | Path):
        raise InputError(f"trials is a text; analysis.read_trials({str(trials)!r}) reads a file")
    if not _is_frame(trials):
        raise InputError(f"trials is {type(trials).__name__}; a TrialTable or a pandas data frame is needed")
    return check_trials(_frame_table(trials))


def _is_frame(given: object) -> TypeGuard[pd.DataFrame]:
    """Whether it is a pandas data frame, told without importing pandas."""
    return hasattr(given, "columns") and hasattr(given, "notna")


def _frame_table(trials: pd.DataFrame) -> RawTable:
    twice = sorted({str(name) for name in trials.columns[trials.columns.duplicated()]})
    if twice:
        raise InputError(f"the data frame names a column {twice[0]!r} twice; one of each is allowed.")
    cells = {str(name): trials[name].astype(object).where(trials[name].notna(), None).tolist() for name in trials}
    return table_of_records("the data frame", cells)


def read_raw_tables(paths: Path | str | Sequence[Path | str]) -> list[RawTable]:
    """`read_raw_table` of one path, or of each of several."""
    check_kind("paths", paths, (str, os.PathLike, Sequence, Set, Iterator), "a path, or a list of paths,")
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not several:
        raise InputError("paths is empty; at least one file or study is needed")
    for path in several:
        check_path("one of the paths", path)
    return [read_raw_table(Path(path)) for path in several]


def check_together(tables: Sequence[RawTable], check: Callable[[RawTable], TrialTable]) -> TrialTable:
    """Check one table, or several as one; what is wrong in one of several is said of that one.

    Parameters
    ----------
    tables : sequence of RawTable
        At least one.
    check : callable
        Gives the cells their meaning.
    """
    if len(tables) == 1:
        return check(tables[0])
    checked = [check(raw) for raw in tables]
    for table in checked[1:]:
        if table.question_and_chance != checked[0].question_and_chance:
            raise InputError(
                f"{checked[0].source} asks one question ({checked[0].question_and_chance}) and {table.source} another ({table.question_and_chance}), with other "
                "answers by chance; analyse them apart."
            )
    return check(joined(tables))


def joined(tables: Sequence[RawTable]) -> RawTable:
    """Several tables as one: all their columns, empty where a table lacks one; rows are counted through.

    Studies that extend one another take the name of the first.
    """
    names = dict.fromkeys(name for raw in tables for name in raw.columns)
    columns = {
        name: np.concatenate([raw.columns.get(name, np.full(raw.row.size, "")) for raw in tables]) for name in names
    }
    first = set(columns.get("first_manifest", np.array([""])).tolist())
    if len(first) == 1 and "" not in first:  # a study and those that add methods to it are one
        columns |= {
            name: np.full_like(columns[name], columns[name][0]) for name in ("study", "manifest") if name in columns
        }
    return RawTable(
        source=" + ".join(raw.source for raw in tables),
        columns=columns,
        row=np.arange(1, sum(raw.row.size for raw in tables) + 1, dtype=np.int64),
        digest=hashlib.sha256("".join(raw.digest for raw in tables).encode()).hexdigest(),
        notes=tuple(dict.fromkeys(note for raw in tables for note in raw.notes)),
        decimal_comma=any(raw.decimal_comma for raw in tables),
    )


def read_raw_table(path: Path) -> RawTable:
    """Cells of a table as text; see `read_trials` for the formats and errors."""
    if is_study_folder(path):
        return _read_study(path)
    file = _trial_file(path)
    reader = {".parquet": _read_parquet, ".json": _read_json}.get(file.suffix, _read_csv)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return replace(with_task_answers(reader(file)), digest=digest)


def with_task_answers(raw: RawTable) -> RawTable:
    """The answers of MTurk's crowd forms, which come as JSON in one column, as columns of their own.

    ``[{"selection0": "left", "sure": {"on": true}}]`` in ``Answer.taskAnswers`` becomes ``Answer.selection0`` and
    ``Answer.sure``; of a group of buttons the one that was chosen.
    """
    if TASK_ANSWERS not in raw.columns:
        return raw
    answers = [
        _task_answers(cell, f"{raw.source} row {row}")
        for cell, row in zip(raw.columns[TASK_ANSWERS], raw.row, strict=True)
    ]
    names = dict.fromkeys(f"Answer.{name}" for own in answers for name in own)
    new = {
        name: np.array([own.get(name.removeprefix("Answer."), "") for own in answers], dtype=np.str_) for name in names
    }
    kept = {name: column for name, column in raw.columns.items() if name != TASK_ANSWERS}
    return replace(raw, columns=kept | new)


def _task_answers(cell: str, where: str) -> dict[str, str]:
    if not cell:
        return {}
    try:
        content = parse_json(cell)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} has {TASK_ANSWERS} that is no JSON ({error}).") from None
    forms = content if isinstance(content, list) else [content]
    if not all(isinstance(form, dict) for form in forms):
        raise InputError(f'{where} has {TASK_ANSWERS} {cell[:60]!r}; [{{"NAME": "ANSWER", ...}}] is allowed.')
    return {name: _chosen(answer) for form in forms for name, answer in form.items()}


def _chosen(answer: Any) -> str:
    """One answer as text; of buttons, which come as ``{"left": true, "right": false}``, those that were chosen."""
    if isinstance(answer, dict):
        return " ".join(name for name, is_chosen in answer.items() if is_chosen is True)
    return _as_text(answer)


def without_rejected(trials: TrialTable) -> TrialTable:
    """Leave out the trials of assignments that were rejected at MTurk, counted; their answers were not accepted."""
    for name in ("session_state", "AssignmentStatus"):
        if name in trials:
            is_rejected = np.char.lower(trials[name]) == "rejected"
            if is_rejected.all():
                raise InputError(
                    f"{trials.source}: all assignments were rejected at MTurk, so that no trial remains; analyse them with "
                    "--rejected keep."
                )
            return trials.where(~is_rejected, "assignment rejected at MTurk") if is_rejected.any() else trials
    return trials


def is_study_folder(path: Path) -> bool:
    """Whether this is the folder of a study: it has a ``study.toml``, and its answers are in its database."""
    return (path / "study.toml").is_file()


def _read_study(folder: Path) -> RawTable:
    """The answers that the study's database holds now; nothing is written.

    The package that serves studies stands on this one, so it is found by its entry point.
    """
    readers = entry_points(group="evalkit.study_trials")
    if not readers:
        raise InputError(
            f"{folder} is a study folder, and what reads its database is not installed; export the study where it is "
            f"served, with 'evalkit study export', and name the file."
        )
    raw: RawTable = next(iter(readers)).load()(folder)
    return raw


def _trial_file(path: Path) -> Path:
    """The file itself, or the one trial table in the folder of an export."""
    if path.is_dir():
        tables = [path / f"trials{suffix}" for suffix in SUFFIXES if (path / f"trials{suffix}").is_file()]
        if not tables:
            raise InputError(
                f"{path} holds neither study.toml nor trials.csv, trials.parquet or trials.json; the folder of a study, "
                "of an export, or a file is allowed."
            )
        if len(tables) > 1:
            raise InputError(f"{path} holds {' and '.join(table.name for table in tables)}; name one of them.")
        path = tables[0]
    if not path.is_file():
        raise InputError(f"{path} does not exist; a CSV, Parquet or JSON file or a study folder is allowed.")
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path.name} ends in {path.suffix!r}; {', '.join(SUFFIXES)} are allowed.")
    return path


def apply_mapping(raw: RawTable, mapping: ColumnMapping) -> RawTable:
    """Rename, fill in constants, add looked-up columns, and turn scored pairs into answers."""
    columns = dict(raw.columns)
    if mapping.lookup is not None:
        columns |= _look_up(raw, read_raw_table(mapping.lookup), mapping.lookup_key)
    theirs = set(mapping.columns.values())
    for ours, name in mapping.columns.items():
        if name not in columns:
            raise InputError(f"{raw.source} has no column {name!r} (mapped to {ours}); it has {', '.join(columns)}.")
    renamed = {ours: columns[name] for ours, name in mapping.columns.items()}
    kept = {name: column for name, column in columns.items() if name not in theirs and name not in renamed}
    constants = {name: np.full(raw.row.size, entry) for name, entry in mapping.constants.items()}
    columns = {**kept, **renamed, **constants}
    if mapping.truth_pattern or mapping.name_pattern:
        columns |= _scored_pairs(replace(raw, columns=columns), mapping)
    return replace(raw, columns=columns)


def _scored_pairs(raw: RawTable, mapping: ColumnMapping) -> dict[str, npt.NDArray[Any]]:
    for name in ("file_first", "file_second", "score_first", "score_second"):
        if name not in raw.columns:
            raise InputError(f"{raw.source} has no column {name}, which scored pairs need; map it under [columns].")
    truth, fake_name = re.compile(mapping.truth_pattern), re.compile(mapping.name_pattern)
    if not {"image", "method"} <= set(fake_name.groupindex):
        raise InputError(
            f"[pairs] name is {mapping.name_pattern!r}; it needs the groups (?P<image>...) and (?P<method>...)."
        )
    image, method, position, fooled = [], [], [], []
    cells = zip(
        *(raw.columns[c].tolist() for c in ("file_first", "file_second")),
        *(raw.with_points(raw.columns[c]).tolist() for c in ("score_first", "score_second")),
        strict=True,
    )
    for row, (first, second, score_first, score_second) in zip(raw.row, cells, strict=True):
        real_first = truth.search(first) is not None
        if real_first == (truth.search(second) is not None):
            raise InputError(
                f"{raw.source} row {row} shows {first} and {second}; exactly one file name may match "
                f"{mapping.truth_pattern!r}."
            )
        fake = second if real_first else first
        match = fake_name.search(fake)
        if match is None:
            raise InputError(f"{raw.source} row {row}: {fake} does not match {mapping.name_pattern!r}.")
        image.append(match["image"])
        method.append(match["method"])
        position.append("first" if real_first else "second")
        fooled.append(_compare_scores(score_first, score_second, real_first, f"{raw.source} row {row}"))
    columns = {"image": image, "method": method, "real_position": position, "fooled": fooled}
    return {key: np.array(entries) for key, entries in columns.items()}


def _compare_scores(first: str, second: str, real_first: bool, where: str) -> str:
    if "" in (first, second):
        return ""
    try:
        real, fake = (float(first), float(second)) if real_first else (float(second), float(first))
    except ValueError:
        raise InputError(f"{where} has scores {first!r} and {second!r}; numbers are allowed.") from None
    return "1" if fake > real else "0.5" if fake == real else "0"


def _look_up(raw: RawTable, other: RawTable, key: str) -> dict[str, npt.NDArray[Any]]:
    for table in (raw, other):
        if key not in table.columns:
            raise InputError(
                f"{table.source} has no column {key!r}, the key of [lookup]; it has {', '.join(table.columns)}."
            )
    entries, position = np.unique(other.columns[key], return_index=True)
    if entries.size < other.row.size:
        raise InputError(f"{other.source} has several rows of one {key}; one is allowed in a lookup table.")
    place = np.minimum(np.searchsorted(entries, raw.columns[key]), entries.size - 1)
    absent = np.flatnonzero(entries[place] != raw.columns[key])
    if absent.size:
        raise InputError(
            f"{raw.source} row {raw.row[absent[0]]} has {key} {str(raw.columns[key][absent[0]])!r}, which "
            f"{other.source} does not list."
        )
    new = [name for name in other.columns if name not in raw.columns]
    return {name: other.columns[name][position[place]] for name in new}


def _read_csv(path: Path) -> RawTable:
    sheet = spreadsheet_text(path)
    reader = csv.reader(io.StringIO(sheet.text, newline=""), delimiter=sheet.delimiter, strict=True)
    above = sheet.header_row - 1
    try:
        header = [name.strip() for name in next(reader, [])]
        rows, numbers = [], []
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue  # spreadsheets leave rows of nothing at the end
            if len(cells) < len(header) and set(header) >= MTURK_ONLY:
                cells += [""] * (len(header) - len(cells))  # MTurk leaves out what is empty at the end of a row
            if len(cells) != len(header):
                raise InputError(
                    f"{path.name} row {above + reader.line_num} has {counted(len(cells), 'cell')}, but the header has {len(header)}."
                )
            rows.append([unguarded(cell) for cell in cells])
            numbers.append(above + reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path.name} row {above + reader.line_num} is no CSV: {error}.") from error
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated or "" in header:
        raise InputError(f"{path.name} row 1 names a column {(repeated or [''])[0]!r} twice or not at all.")
    if not rows:
        raise InputError(f"{path.name} has no rows; one row per trial is needed.")
    columns = {
        name: np.char.strip(np.array(cells)) for name, cells in zip(header, zip(*rows, strict=True), strict=True)
    }
    return RawTable(
        source=path.name,
        columns=columns,
        row=np.array(numbers, dtype=np.int64),
        decimal_comma=sheet.decimal_comma,
    )


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path.name} is no Parquet file: {error}.") from error
    return table_of_records(path.name, {name: table[name].to_pylist() for name in table.column_names})


def _read_json(path: Path) -> RawTable:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no JSON file: {error}.") from error
    if isinstance(data, dict):
        data = data.get("trials")
    if not isinstance(data, list) or not data or not all(isinstance(record, dict) for record in data):
        raise InputError(f'{path.name} holds no list of trials; [{{"participant": ..., ...}}, ...] is allowed.')
    names = list(dict.fromkeys(name for record in data for name in record))
    return table_of_records(path.name, {name: [record.get(name) for record in data] for name in names})


def table_of_records(source: str, records: Mapping[str, list[Any]]) -> RawTable:
    """Columns of values of any kind as the text cells that `check_trials` reads; None and NaN are empty cells.

    Parameters
    ----------
    source : str
        Name for messages.
    records : mapping of str to list
        By column, one entry per trial.
    """
    columns = {name: np.array([_as_text(cell) for cell in cells], dtype=np.str_) for name, cells in records.items()}
    size = max((column.size for column in columns.values()), default=0)
    return RawTable(source=source, columns=columns, row=np.arange(1, size + 1, dtype=np.int64))


def _as_text(cell: Any) -> str:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _as_list(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]


def read_toml(path: Path, allowed: tuple[str, ...]) -> dict[str, Any]:
    """A TOML file whose top-level keys are checked."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; a TOML file is needed.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no TOML file: {error}.") from error
    refuse_unknown(path.name, data, allowed)
    return data


def refuse_unknown(where: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise for the first key that is not allowed."""
    for key in table:
        if key not in allowed:
            raise InputError(f"{where} has the key {key!r}; {', '.join(allowed)} are allowed.")
