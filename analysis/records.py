"""Lists of frozen records that can become a table: rows for CSV, a pandas frame, JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "Table", "write_csv"]

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


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Write rows with full precision; NaN and None become empty cells, True and False 1 and 0."""
    header = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([_cell(row.get(name)) for name in header])


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    return repr(value) if isinstance(value, float) else value
