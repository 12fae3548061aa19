"""Results as text: CSV, JSON and what LaTeX needs, written the same way by every command."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import InputError

__all__ = [
    "FORMULA_STARTS",
    "SpreadsheetText",
    "csv_text",
    "escape_latex",
    "json_text",
    "parse_json",
    "spreadsheet_text",
    "unguarded",
    "with_decimal_point",
]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula, and run it."""


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    r"""Rows as CSV with full precision; NaN and None become empty cells, True and False 1 and 0.

    Text that a spreadsheet would run as a formula (names of images and people come from anywhere) gets an apostrophe in
    front, which spreadsheets hide and `unguarded` takes off again. Numbers are numbers, negative ones too.

    Parameters
    ----------
    rows : iterable of mapping
        All with the same keys.
    columns : sequence of str
        The header; by default the keys of the first row.

    Returns
    -------
    str
        With a header, also for no rows; lines end in a line feed.

    Raises
    ------
    ValueError
        When a row lacks a column or has one that is not in the header: a misspelled name would otherwise publish an
        empty column.

    Examples
    --------
    >>> csv_text([{"image": "=1+1.png", "value": -0.5, "fooled": True}, {"image": "b", "value": None, "fooled": False}])
    "image,value,fooled\n'=1+1.png,-0.5,1\nb,,0\n"
    """
    rows = list(rows)
    header = list(columns) if columns is not None else list(rows[0]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # A carriage return is no line end here, so the writer would leave it bare, and readers take it for one.
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        absent, unknown = set(header) - row.keys(), row.keys() - set(header)
        if absent or unknown:
            raise ValueError(f"Row {number} lacks the columns {sorted(absent)} and has the unknown {sorted(unknown)}.")
        cells = [_cell(row[name]) for name in header]
        (quoting if any(isinstance(cell, str) and "\r" in cell for cell in cells) else writer).writerow(cells)
    return text.getvalue()


def unguarded(cell: str) -> str:
    """The text of a cell, without the apostrophe that `csv_text` puts before what looks like a formula.

    >>> unguarded("'=1+1.png"), unguarded("'quoted'"), unguarded("plain")
    ('=1+1.png', "'quoted'", 'plain')
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell


_LATEX_LETTERS = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
                  "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "<": "$<$", ">": "$>$",
                  "|": r"$|$", "−": "$-$"}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that stands for itself in LaTeX."""
    return "".join(_LATEX_LETTERS.get(letter, letter) for letter in text)


@dataclass(frozen=True)
class SpreadsheetText:
    """A table as a spreadsheet writes it.

    Attributes
    ----------
    text : str
        From the header on.
    delimiter : str
        Comma, semicolon, tab, or what the file says.
    header_row : int
        Row of the header in the file: 2 after a line such as ``sep=;``, else 1.
    """

    text: str
    delimiter: str
    header_row: int

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers may have a decimal comma: where commas do not separate the cells."""
        return self.delimiter != ","


def spreadsheet_text(path: Path) -> SpreadsheetText:
    """Read the text of a table: UTF-8, or UTF-16 (the "Unicode text" of spreadsheets), with or without a mark in front.

    Raises
    ------
    InputError
        When it is neither.
    OSError
        When the file cannot be read.
    """
    content = path.read_bytes()
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else "UTF-16"
        raise InputError(f"{path.name} is not {name} text (byte {error.start}); save it as UTF-8.") from None
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r'"?sep=(.)"?\r?', first)
    if said is not None:
        return SpreadsheetText(rest, said[1], 2)
    return SpreadsheetText(text, max(",;\t", key=first.count), 1)


def _encoding(content: bytes) -> str:
    """The encoding of a table by its first two bytes: a table begins with a letter or a quotation mark of ASCII."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"


def with_decimal_point(cell: str) -> str:
    """A number with a decimal comma as one with a point; every other text as it is.

    >>> with_decimal_point("-0,5"), with_decimal_point("1.000,5"), with_decimal_point("a,b")
    ('-0.5', '1.000,5', 'a,b')
    """
    return cell.replace(",", ".") if re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", cell.strip()) else cell


def _cell(value: Any) -> Any:
    if hasattr(value, "dtype"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return repr(value) if isinstance(value, float) else value


def parse_json(text: str | bytes) -> Any:
    r"""The content of a JSON text from a file.

    Raises
    ------
    json.JSONDecodeError
        When it is none, or nested deeper than anything that is written here.

    Examples
    --------
    >>> parse_json('{"value": null}')
    {'value': None}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None


def json_text(content: Any, indent: int | None = 2) -> str:
    r"""JSON that ends in a line feed; a number that is not finite is null, since JSON has none.

    >>> json_text({"value": float("nan"), "names": ("é",)}, indent=None)
    '{"value": null, "names": ["é"]}\n'
    """
    return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if hasattr(value, "dtype") and not getattr(value, "shape", ()):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
