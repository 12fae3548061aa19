from __future__ import annotations

import io

import pytest
from rich.console import Console

from analysis.commands._fitting_table import print_fitting

HEADINGS = ("method", "fooled %", "95 % interval", "Zhang16", "people")
ROWS = [("mine", "51.2", "44.6 to 57.8", "+- 2.96", "25"), ("a rather long name", "3.1", "1.0 to 9.2", "+- 1.00", "25")]


def printed(width: int, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_fitting(console, HEADINGS, ROWS, droppable=("Zhang16", "people"), file="fool_rates.csv", **options)  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in text.splitlines()) <= width
    return text


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 120])
def test_no_letter_is_lost_in_any_width(width: int) -> None:
    text = printed(width)
    assert "…" not in text
    letters = "".join(text.split())
    for cell in ("mine", "51.2", "arather") if width >= 40 else ("mine",):
        assert cell in letters
    if width >= 50:
        assert "a rather long name" in text
        assert "44.6 to 57.8" in text


def test_columns_go_in_their_order_and_their_file_is_named() -> None:
    assert "No room" not in printed(80)
    assert "Zhang16" in printed(80)
    narrow = printed(50)
    assert "+- 2.96" not in narrow
    assert "No room for Zhang16: in fool_rates.csv." in narrow
    assert "people" in narrow


def test_names_in_brackets_stand_for_themselves() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_fitting(console, ("method", "x"), [("[red]mine[/red]", "1")])
    assert "[red]mine[/red]" in console.file.getvalue()  # type: ignore[attr-defined]
