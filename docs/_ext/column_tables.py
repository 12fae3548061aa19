"""The directive `column-tables`: every file of `evalkit analyze`, `plan` and `report` with the meaning of its columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ColumnTables(Directive):
    """One section a file, one row a column, read from `analysis.study.columns`."""

    def run(self) -> list[nodes.Node]:
        """Build the sections."""
        from analysis.study.columns import OUTPUT_COLUMNS

        found: list[nodes.Node] = []
        for file, columns in OUTPUT_COLUMNS.items():
            section = nodes.section(ids=[nodes.make_id(f"columns-{file}")], names=[file])
            section += nodes.title("", "", nodes.literal(text=file))
            body = nodes.tbody()
            for name, meaning in columns.items():
                body += nodes.row(
                    "",
                    nodes.entry("", nodes.paragraph("", "", nodes.literal(text=name))),
                    nodes.entry("", nodes.paragraph("", "", *_inline(meaning))),
                )
            heads = nodes.row("", *(nodes.entry("", nodes.paragraph(text=head)) for head in ("column", "meaning")))
            group = nodes.tgroup("", nodes.colspec(colwidth=28), nodes.colspec(colwidth=72), cols=2)
            group += nodes.thead("", heads)
            group += body
            section += nodes.table("", group)
            found.append(section)
        return found


def _inline(text: str) -> list[nodes.Node]:
    """Text with `code` in backquotes."""
    return [
        nodes.literal(text=part) if k % 2 else nodes.Text(part) for k, part in enumerate(re.split(r"`([^`]*)`", text))
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("column-tables", ColumnTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
