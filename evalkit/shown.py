"""How results show themselves: a short table of text in a console, one of HTML in a notebook."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, SupportsIndex, TypeGuard, TypeVar

from evalkit.errors import InputError
from evalkit.wording import counted

__all__ = ["ShownAsTable", "html_table", "is_position", "part_of", "plain_table"]

T = TypeVar("T")

N_SHOWN = 30
"""Rows that are shown of a long table."""


class ShownAsTable(ABC):
    """A result whose ``repr`` and whose place in a notebook are a title and a table."""

    @abstractmethod
    def shown_title(self) -> str:
        """One line: what this is."""

    @abstractmethod
    def shown_rows(self) -> Sequence[Mapping[str, Any]]:
        """Rows to be read by people: few columns, headings as keys."""

    def __repr__(self) -> str:
        rows = self.shown_rows()
        return f"{self.shown_title()}\n{plain_table(rows)}" if rows else self.shown_title()

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.shown_title())}</p>{html_table(self.shown_rows())}"


def is_position(key: object) -> TypeGuard[SupportsIndex]:
    """Whether a key numbers a row as in a list; numpy's whole numbers do.

    >>> is_position(-1), is_position(1.0), is_position("mine")
    (True, False, False)
    """
    try:
        operator.index(key)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def part_of(records: tuple[T, ...], key: slice) -> tuple[T, ...]:
    """The records of a slice.

    Raises
    ------
    InputError
        For a slice between names, or in steps of nothing.
    """
    try:
        return records[key]
    except (TypeError, ValueError):
        raise InputError(f"{key}: rows are cut out by whole numbers, [0:2]") from None


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, numbers flush right; columns that are empty throughout are left out.

    Examples
    --------
    >>> print(plain_table([{"method": "mine", "rate": 0.25, "note": ""}, {"method": "b", "rate": None, "note": ""}]))
    method  rate
    mine    0.25
    b
    """
    header, cells, more = _cells(rows)
    widths = [max(len(line[k]) for line in [header, *cells]) for k in range(len(header))]
    is_number = [
        all(isinstance(row.get(name), int | float) or _text(row.get(name)) == "" for row in rows) for name in header
    ]

    def line(texts: Sequence[str]) -> str:
        aligned = zip(texts, widths, is_number, strict=True)
        return "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in aligned).rstrip()

    return "\n".join([line(header), *map(line, cells), *more])


def html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as an HTML table; as `plain_table`."""
    header, cells, more = _cells(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in cells)
    below = "".join(f"<p>{escape(text)}</p>" for text in more)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]], list[str]]:
    names = dict.fromkeys(name for row in rows for name in row)
    header = [name for name in names if any(_text(row.get(name)) for row in rows)]
    cells = [[_text(row.get(name)) for name in header] for row in rows[:N_SHOWN]]
    more = [f"... and {counted(len(rows) - N_SHOWN, 'more row')}"] if len(rows) > N_SHOWN else []
    return header, cells, more


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
