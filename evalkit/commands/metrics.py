"""The command ``evalkit metrics``: what can be computed, and what it needs."""

from __future__ import annotations

from typing import Any

import click

from evalkit.commands._shared import table_console

__all__ = ["metrics_command", "signature_lines"]

INDENT = 4
"""Characters before what belongs to a metric."""


@click.command("metrics", short_help="List the metrics, what each needs, its signature.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def metrics_command(as_json: bool) -> None:
    """List the metrics: name, direction, definition, what each needs beside the images, its signature fields."""
    import json

    from evalkit.metrics import DEFAULT_METRICS, load_metric, metric_names
    from evalkit.metrics.ab_counts import AbErrorOptions

    rows: list[dict[str, Any]] = []
    for name in metric_names():
        kind = load_metric(name)
        fields = kind.create(AbErrorOptions()).fields
        rows.append(
            {
                "name": name,
                "default": name in DEFAULT_METRICS,
                "better": kind.better,
                "definition": kind.summary,
                "needs": list(kind.needs),
                "signature": "|".join(f"{key}:{value}" for key, value in fields.items()),
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.padding import Padding
    from rich.text import Text

    console = table_console(80)
    for row in rows:
        direction = "no direction is better" if row["better"] == "neither" else f"{row['better']} is better"
        needs = f"; needs {', '.join(row['needs'])}" if row["needs"] else ""
        console.print(
            Text.assemble((f"{row['name']}{' *' if row['default'] else ''}", "bold"), f"  {direction}{needs}")
        )
        console.print(Padding(Text(row["definition"]), (0, 0, 0, INDENT), expand=False))
        signature = "\n".join(signature_lines(row["signature"], console.width - INDENT))
        console.print(Padding(Text(signature, style="dim"), (0, 0, 0, INDENT), expand=False))
    console.print(Text("\n* computed by default; 'default' stands for all of them in --metrics.", style="dim"))


def signature_lines(signature: str, width: int) -> list[str]:
    """A signature in lines that end after a field; a field that is wider than a line has one of its own.

    Examples
    --------
    >>> signature_lines("agg:image|peak:255|inf:apart", 20)
    ['agg:image|peak:255|', 'inf:apart']
    """
    fields = signature.split("|")
    lines = [""]
    for number, field in enumerate(fields):
        part = field if number == len(fields) - 1 else f"{field}|"
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines
