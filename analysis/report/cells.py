"""Columns and cells of the report's tables, and how numbers are written for reading."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.statistics.comparison import OddsRatio
    from analysis.statistics.omnibus import OmnibusTest

__all__ = [
    "Cell",
    "ReportColumn",
    "mark_of",
    "odds_text",
    "omnibus_text",
    "p_text",
    "sentence",
    "share_text",
    "with_minus",
]


@dataclass(frozen=True)
class ReportColumn:
    """One column.

    Attributes
    ----------
    key : str
        Name in CSV.
    title : str
        Heading.
    factor : float
        Values are multiplied by it for reading (100 for percent); CSV holds them as they are.
    decimals : int
        Digits after the point for reading.
    """

    key: str
    title: str
    factor: float = 1.0
    decimals: int = 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number with what belongs to it, or a text.

    Attributes
    ----------
    value, std_error, ci_low, ci_high : float
        NaN where missing.
    text : str
        Shown instead of a number.
    n_images : int
        Images that carry the number; 0 where that is said elsewhere.
    notes : tuple of str
        Cautions without which the number may be misread; footnotes in every form of the table.
    """

    value: float = math.nan
    std_error: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    text: str = ""
    n_images: int = 0
    notes: tuple[str, ...] = ()


def mark_of(number: int) -> str:
    """Letter of a footnote, counted from 0: a to z, then aa, ab and so on."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


def p_text(p: float, *, equals: bool = False, is_bound: bool = False) -> str:
    """A p-value for reading: never 0.000 or 1.000, which no p-value is; with `equals`, as in "p = 0.03".

    With `is_bound`, one that the number of draws keeps from being smaller: "at most 0.03".
    """
    if math.isnan(p):
        return "–"
    sign = "at most " if is_bound else "= " if equals else ""
    return "< 0.001" if p < 0.001 else "> 0.999" if p > 0.9995 else f"{sign}{p:.3f}"


def ended(text: str) -> str:
    """With a full stop, where it has none."""
    return text + ("" if text.endswith((".", "!", "?")) else ".")


def sentence(note: str) -> str:
    """A caution with a capital letter and a full stop, whatever it was in a list."""
    return ended(note[:1].upper() + note[1:])


def share_text(share: float) -> str:
    """A probability that was counted or computed, for reading: never 0.000 or 1.000."""
    if math.isnan(share):
        return "–"
    return "< 0.001" if share < 0.0005 else "> 0.999" if share > 0.9995 else f"{share:.3f}"


def with_minus(text: str) -> str:
    """A true minus sign before digits."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)


def odds_text(odds: OddsRatio | None) -> str:
    """An odds ratio with its interval."""
    if odds is None or math.isnan(odds.ratio):
        return "–"
    return f"{odds.ratio:.3g} ({odds.ci_low:.3g} to {odds.ci_high:.3g})"


def omnibus_text(test: OmnibusTest, left_out: Sequence[str] = ()) -> str:
    """The test of all methods at once as a sentence, with the names of those that are not in it."""
    without = f" without {', '.join(left_out)}" if left_out else ""
    if math.isnan(test.p_value):
        return f"Too few participants or images for a test of all methods{without} at once."
    return (
        f"All methods{without} at once: F({test.df_numerator:g}, {test.df_denominator:.4g}) = {test.statistic:.2f}, "
        f"p {p_text(test.p_value, equals=True)}."
    )
