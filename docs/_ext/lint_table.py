"""The directive `lint-table`: every check of `evalkit lint`, its level and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADINGS = ("finding", "level", "what it means")
WIDTHS = (20, 14, 66)


class LintTable(Directive):
    """A table with one row for each check, read from the code."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        from evalkit.images.folder_lint import CHECKS, PairCheck

        body = nodes.tbody()
        for check in CHECKS:
            both = isinstance(check, PairCheck) and check.error_if_all
            cells: list[nodes.Node] = [
                nodes.paragraph("", "", nodes.literal(text=check.code)),
                nodes.paragraph(text="error, warning" if both else check.level),
                nodes.paragraph("", "", *_inline(check.meaning)),
            ]
            body += _row(cells)
        group = nodes.tgroup(cols=len(HEADINGS))
        group += [nodes.colspec(colwidth=width) for width in WIDTHS]
        group += nodes.thead("", _row([nodes.paragraph(text=heading) for heading in HEADINGS]))
        group += body
        return [nodes.table("", group)]


def _inline(text: str) -> list[nodes.Node]:
    """Words between backticks are code."""
    parts = text.split("`")
    return [nodes.literal(text=part) if k % 2 else nodes.Text(part) for k, part in enumerate(parts)]


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("lint-table", LintTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
