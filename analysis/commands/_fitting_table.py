"""Tables on the screen that lose columns, never letters, where the terminal is narrow; and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_fitting"]

UNLIMITED = 1000
"""Columns in which any table has its natural width."""


def print_fitting(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    droppable: Sequence[str] = (),
    file: str = "",
) -> None:
    """Print a table whose first column holds names, closer together or with fewer columns where it would not fit.

    Parameters
    ----------
    console : Console
    headings : sequence of str
        Of all columns.
    rows : sequence of sequence of str
        One cell per heading.
    droppable : sequence of str
        Headings that may be left out, the first one first.
    file : str
        Where the columns are that were left out.
    """
    shown = list(headings)
    table = _table(shown, headings, rows)
    left_out = []
    for heading in (None, *(name for name in droppable if name in headings)):
        if _natural_width(table) <= console.width:
            break
        if heading is not None:
            shown.remove(heading)
            left_out.append(heading.replace("\n", " "))
        table = _table(shown, headings, rows, close=True)
    if _natural_width(table) > console.width:
        table = _table(shown, headings, rows, close=True, folded=True)
    console.print(table)
    if left_out:
        console.print(f"No room for {', '.join(left_out)}: in {file}.", style="dim")


def _table(
    shown: Sequence[str],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    close: bool = False,
    folded: bool = False,
) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0) if close else (0, 1))
    for number, heading in enumerate(shown):
        is_name = number == 0
        table.add_column(
            escape(heading),
            justify="left" if is_name else "right",
            no_wrap=not folded,
            overflow="fold",
            min_width=16 if is_name and not close else None,
        )
    for row in rows:
        table.add_row(*(escape(cell) for heading, cell in zip(headings, row, strict=True) if heading in shown))
    return table


def _natural_width(table: Table) -> int:
    from rich.console import Console
    from rich.measure import Measurement

    wide = Console(width=UNLIMITED)
    return Measurement.get(wide, wide.options, table).maximum
