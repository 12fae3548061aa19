"""The directive `metric-table`: every built-in metric, its definition and signature fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADINGS = ("name and heading", "definition", "better", "signature fields")
WIDTHS = (22, 42, 10, 26)


class MetricTable(Directive):
    """A table with one row for each built-in metric, read from the code."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        from evalkit.metrics import BUILT_IN, DEFAULT_METRICS, load_metric
        from evalkit.metrics.ab_counts import AbErrorOptions

        body = nodes.tbody()
        for name in BUILT_IN:
            metric = load_metric(name).create(AbErrorOptions())
            title = f"{metric.title} *" if name in DEFAULT_METRICS else metric.title
            needs = f" Needs {', '.join(metric.needs)}." if metric.needs else ""
            fields = [nodes.literal(text=f"{key}:{value}") for key, value in metric.fields.items()]
            cells = [
                [nodes.paragraph("", "", nodes.literal(text=name)), nodes.paragraph(text=title)],
                [nodes.paragraph(text=f"{metric.summary[0].upper()}{metric.summary[1:]}.{needs}")],
                [nodes.paragraph(text=metric.better)],
                [nodes.paragraph("", "", *(node for field in fields for node in (field, nodes.Text(" "))))],
            ]
            body += _row(cells)
        group = nodes.tgroup(cols=len(HEADINGS))
        group += [nodes.colspec(colwidth=width) for width in WIDTHS]
        group += nodes.thead("", _row([[nodes.paragraph(text=heading)] for heading in HEADINGS]))
        group += body
        return [nodes.table("", group)]


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("metric-table", MetricTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
