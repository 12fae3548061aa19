"""Lists of frozen records that can become a table, and the folders that results are written into."""

from __future__ import annotations

import csv
import io
import json
import math
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from evalkit.errors import InputError
from evalkit.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "Table", "csv_text", "json_text", "replace_results", "write_csv"]

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Table(Generic[T]):
    """A sequence of records that knows its rows.

    Attributes
    ----------
    records : tuple
        In the order of the result.
    """

    records: tuple[T, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[T]:
        return iter(self.records)

    def __getitem__(self, index: int) -> T:
        return self.records[index]

    def rows(self) -> list[Row]:
        """One dictionary per record, column name to value."""
        return [record.row() for record in self.records]  # type: ignore[attr-defined]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def csv_text(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV with full precision; NaN and None become empty cells, True and False 1 and 0.

    Parameters
    ----------
    rows : sequence of dict
        All with the same keys.
    columns : sequence of str
        The header; by default the keys of the first row.

    Returns
    -------
    str
        With a header, also for no rows.

    Raises
    ------
    ValueError
        When a row lacks a column or has one that is not in the header: a misspelled name would otherwise publish an
        empty column.
    """
    header = list(columns) if columns is not None else list(rows[0]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        absent, unknown = set(header) - row.keys(), row.keys() - set(header)
        if absent or unknown:
            raise ValueError(f"Row {number} lacks the columns {sorted(absent)} and has the unknown {sorted(unknown)}.")
        writer.writerow([_cell(row[name]) for name in header])
    return text.getvalue()


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Write `csv_text` in one step: the file is there as a whole or not at all."""
    write_atomically(path, csv_text(rows, columns))


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    return repr(value) if isinstance(value, float) else value


def json_text(content: Any) -> str:
    """Indented JSON; a number that is not finite is null, since JSON has none."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def replace_results(
    out: Path, files: Mapping[str, str | bytes], *, record: str, command: str, may_hold: Iterable[str] = ()
) -> list[Path]:
    """Put the files of one run in the place of those of an earlier one, never beside them.

    The new files are written aside first. Then the record of the earlier run goes, then its other files, and the new
    ones take their places, the record last: whoever is interrupted at any moment leaves the old results whole, or files
    of the new run only and no record.

    Parameters
    ----------
    out : Path
        Folder, made when absent; files that are no results of this command stay.
    files : mapping of str to str or bytes
        Contents by name, which may have a folder in it (``figures/forest.pdf``); JSON's `record` among them.
    record : str
        The file that says what was run; a folder without it holds no finished run.
    command : str
        Stands in the record; a record of another command is refused.
    may_hold : iterable of str
        Names that this command writes at other times; left by an earlier run, they go.

    Returns
    -------
    list of Path
        The files, in the order given.

    Raises
    ------
    InputError
        When `out` is no folder, or holds the record of another command.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a folder for the results is needed.")
    earlier = _earlier_files(out / record, command)
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(".run-*.part"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    aside = out / f".run-{secrets.token_hex(8)}.part"
    try:
        for name, content in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(aside / name, content)
        (out / record).unlink(missing_ok=True)
        for name in {*earlier, *may_hold, *files} - {record}:
            (out / name).unlink(missing_ok=True)
        for name in [*(name for name in files if name != record), record]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).replace(out / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [out / name for name in files]


def _earlier_files(record: Path, command: str) -> list[str]:
    """What the record of an earlier run lists; names that lead out of the folder are not its files."""
    if not record.is_file():
        return []
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict) or content.get("command") != command:
        raise InputError(
            f"{record} is not the record of an earlier run of {command!r}, whose results would be replaced here; "
            "name another folder with --out."
        )
    names = [str(name) for name in content.get("files", [])]
    return [name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]
