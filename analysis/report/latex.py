r"""What LaTeX needs: escaped text, true minus signs, and columns of numbers that siunitx aligns at the decimal point."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from analysis.report.cells import Cell, ReportColumn
from evalkit.text_formats import escape_latex

__all__ = [
    "LATEX_PACKAGES",
    "LatexColumns",
    "is_number",
    "latex_number",
    "paragraphs",
    "s_column",
    "s_number",
]

LatexColumns = Literal["plain", "siunitx"]
"""How numbers stand in a column: right-aligned as texts, or in ``S`` columns of the package siunitx."""

LATEX_PACKAGES: dict[LatexColumns, tuple[str, ...]] = {"plain": ("booktabs",), "siunitx": ("booktabs", "siunitx")}
"""What the preamble of a paper has to load."""


def latex_number(text: str) -> str:
    """Escape, with a true minus sign before digits."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escape_latex(text))


def paragraphs(lines: Sequence[str]) -> list[str]:
    """Lines of LaTeX that each end a paragraph but for the last."""
    return [f"{line}\\par" for line in lines[:-1]] + list(lines[-1:])


def is_number(cell: Cell) -> bool:
    """Whether a cell shows a number, not a text in its place."""
    return not cell.text and math.isfinite(cell.value)


def s_number(cell: Cell, column: ReportColumn) -> str:
    """A number for an S column; its standard error in units of the last digit: 67.3 ± 1.2 is ``67.3(12)``.

    >>> s_number(Cell(value=0.673, std_error=0.012), ReportColumn("ab_auc", "AuC %", 100.0))
    '67.3(12)'
    """
    value, error = _digits(cell, column)
    return f"{value}({error})" if error else value


def s_column(cells: Sequence[Cell], column: ReportColumn, marks: Sequence[str]) -> str:
    """Specification of an S column with room for the widest number, its error and the widest mark behind it.

    >>> s_column([Cell(value=0.673, std_error=0.012), Cell(value=-0.05)], ReportColumn("x", "X", 100.0), ["", "a"])
    'S[table-format=-2.1(2),table-align-text-post=false,table-space-text-post={$^{a}$}]'
    """
    shown = [_digits(cell, column) for cell in cells if is_number(cell)]
    sign = "-" if any(value.startswith("-") for value, _ in shown) else ""
    n_before = max(len(value.lstrip("-").partition(".")[0]) for value, _ in shown)
    n_error = max(len(error) for _, error in shown)
    decimals = f".{column.decimals}" if column.decimals else ""
    room = f"{sign}{n_before}{decimals}{f'({n_error})' if n_error else ''}"
    widest = max(marks, key=len, default="")
    after = f",table-align-text-post=false,table-space-text-post={{$^{{{widest}}}$}}" if widest else ""
    return f"S[table-format={room}{after}]"


def _digits(cell: Cell, column: ReportColumn) -> tuple[str, str]:
    """The number, and the digits of its standard error in units of its last one; "" without one."""
    value = f"{column.factor * cell.value:.{column.decimals}f}"
    if not math.isfinite(cell.std_error):
        return value, ""
    error = f"{column.factor * cell.std_error:.{column.decimals}f}".replace(".", "")
    return value, error.lstrip("0") or "0"
