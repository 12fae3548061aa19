"""Lists of frozen records that can become a table, and the folders that results are written into."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from evalkit.errors import InputError
from evalkit.files import check_hides_no_package, write_atomically
from evalkit.needs import need_pandas
from evalkit.shown import ShownAsTable
from evalkit.text_formats import parse_json
from evalkit.wording import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "Table", "replace_results"]

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Table(ShownAsTable, Generic[T]):
    """A sequence of records that knows its rows.

    Attributes
    ----------
    records : tuple
        In the order of the result.
    """

    records: tuple[T, ...]

    title: ClassVar[str] = "Results"
    """What the records are, for whoever prints them."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Columns that are printed; all where none is named."""

    def shown_title(self) -> str:
        """What the records are, and how many."""
        return f"{self.title}: {counted(len(self), 'row')}"

    def shown_rows(self) -> list[Row]:
        """The columns that people read first; `to_frame` has all."""
        return [{name: row[name] for name in self.shown or row} for row in self.rows()]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[T]:
        return iter(self.records)

    def __contains__(self, key: object) -> bool:
        return any(key is record for record in self.records) or key in self._keys()

    def _keys(self) -> Sequence[object]:
        """By what records are asked for, beside their positions."""
        return ()

    def __getitem__(self, index: int) -> T:
        return self.records[index]

    def rows(self) -> list[Row]:
        """One dictionary per record, column name to value."""
        return [record.row() for record in self.records]  # type: ignore[attr-defined]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; all columns also where there is no row."""
        need_pandas()
        import pandas as pd

        return pd.DataFrame(self.rows() or [self.blank_row()])[: len(self)]

    def blank_row(self) -> Row:
        """The columns where there may be no row, with values of their types."""
        return {}


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
    check_hides_no_package(out)
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
        content = parse_json(record.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict) or content.get("command") != command:
        raise InputError(
            f"{record} is not the record of an earlier run of {command!r}, whose results would be replaced here; "
            "name another folder with --out."
        )
    names = [str(name) for name in content.get("files", [])]
    return [name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]
