"""Lists of frozen records that can become a table, and the folders that results are written into."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, SupportsIndex, TypeVar, overload

from evalkit.errors import InputError, NoSuchResultError
from evalkit.files import check_hides_no_package, write_atomically
from evalkit.needs import need_pandas
from evalkit.shown import ShownAsTable, is_position, part_of
from evalkit.text_formats import parse_json
from evalkit.wording import counted, some_names, unknown_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PairTable", "Row", "Table", "replace_results"]

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

    @overload
    def __getitem__(self, key: slice) -> Self: ...
    @overload
    def __getitem__(self, key: SupportsIndex | str | tuple[str, str]) -> T: ...
    def __getitem__(self, key: slice | SupportsIndex | str | tuple[str, str]) -> T | Self:
        """By position as in a list, by slice (a table again), or by what records are asked for by."""
        if isinstance(key, slice):
            return replace(self, records=part_of(self.records, key))
        if is_position(key):
            return self.records[key]
        return self._named(key)

    def _named(self, key: object) -> T:
        """The record of a key that is no position."""
        raise InputError(f"[{key!r}]: these rows are numbered, [0] is the first; to_frame() has their columns")

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


@dataclass(frozen=True, repr=False)
class PairTable(Table[T]):
    """A table of records of two methods, ``method_a`` and ``method_b``."""

    def _keys(self) -> list[tuple[str, str]]:
        return [(record.method_a, record.method_b) for record in self.records]  # type: ignore[attr-defined]

    def _named(self, key: object) -> T:
        """By ``(A, B)``, or by one method where one row alone has it."""
        pairs = self._keys()
        methods = dict.fromkeys(name for pair in pairs for name in pair)
        if isinstance(key, str):
            found = [place for place, pair in enumerate(pairs) if key in pair]
            if len(found) == 1:
                return self.records[found[0]]
            if found:
                others = [b if a == key else a for a, b in (pairs[place] for place in found)]
                raise NoSuchResultError(
                    f"{counted(len(found), 'row')} have the method {key!r}; give the other one too: {', '.join(others)}"
                )
            raise NoSuchResultError(f"in these comparisons {unknown_name('method', key, methods)}")
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(name, str) for name in key):
            raise InputError(f"comparisons[{key!r}]: give two methods, comparisons['mine', 'theirs'], or a position")
        if key in pairs:
            return self.records[pairs.index(key)]
        a, b = key
        if (b, a) in pairs:
            raise NoSuchResultError(f"these comparisons have {b} minus {a}: ask for [{b!r}, {a!r}]")
        for name in key:
            if name not in methods:
                raise NoSuchResultError(f"in these comparisons {unknown_name('method', name, methods)}")
        raise NoSuchResultError(
            f"these comparisons have no row of {a} and {b}; they have {some_names([' minus '.join(pair) for pair in pairs], 12)}"
        )


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
