"""Tables read from the code: `column-tables` (files of analyze, plan and report), `condition-table` (exclusions)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ColumnTables(Directive):
    """One section per file, one row per column, read from `analysis.study.columns`."""

    def run(self) -> list[nodes.Node]:
        """Build the sections."""
        from analysis.study.columns import OUTPUT_COLUMNS

        found: list[nodes.Node] = []
        for file, columns in OUTPUT_COLUMNS.items():
            section = nodes.section(ids=[nodes.make_id(f"columns-{file}")], names=[file])
            section += nodes.title("", "", nodes.literal(text=file))
            section += _table(("column", "meaning"), columns.items())
            found.append(section)
        return found


class ConditionTable(Directive):
    """What a declared exclusion can look at, read from `analysis.trials.exclusions`."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        from analysis.trials.exclusions import CONDITIONS

        rows = {
            name: f"{condition.meaning}; looks at the column `{condition.column}`"
            for name, condition in CONDITIONS.items()
        }
        return [_table(("condition", "leaves out"), rows.items())]


def _table(headings: tuple[str, str], rows: Iterable[tuple[str, str]]) -> nodes.table:
    """A table of two columns: a name, and text with `code` in backquotes."""
    body = nodes.tbody()
    for name, meaning in rows:
        body += nodes.row(
            "",
            nodes.entry("", nodes.paragraph("", "", nodes.literal(text=name))),
            nodes.entry("", nodes.paragraph("", "", *_inline(meaning))),
        )
    heads = nodes.row("", *(nodes.entry("", nodes.paragraph(text=heading)) for heading in headings))
    group = nodes.tgroup("", nodes.colspec(colwidth=28), nodes.colspec(colwidth=72), cols=2)
    group += nodes.thead("", heads)
    group += body
    return nodes.table("", group)


def _inline(text: str) -> list[nodes.Node]:
    """Text with `code` in backquotes."""
    return [
        nodes.literal(text=part) if k % 2 else nodes.Text(part) for k, part in enumerate(re.split(r"`([^`]*)`", text))
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("column-tables", ColumnTables)
    app.add_directive("condition-table", ConditionTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
