"""The command ``evalkit metrics``: what can be computed, and what it needs."""

from __future__ import annotations

import click

__all__ = ["metrics_command"]


@click.command("metrics", short_help="List the metrics, what each needs, its signature.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def metrics_command(as_json: bool) -> None:
    """List the metrics: name, direction, definition, what each needs beside the images, its signature fields."""
    import json

    from evalkit.metrics import DEFAULT_METRICS, load_metric, metric_names
    from evalkit.metrics.ab_counts import AbErrorOptions

    rows = []
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
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True)
    table.add_column("better", no_wrap=True)
    table.add_column("definition, and the signature of its defaults")
    table.add_column("needs", no_wrap=True)
    for row in rows:
        definition = Text(str(row["definition"]))
        definition.append(f"\n{row['signature']}", style="dim")
        needs = ", ".join(row["needs"]) if isinstance(row["needs"], list) and row["needs"] else "images only"
        table.add_row(f"{row['name']}{' *' if row['default'] else ''}", str(row["better"]), definition, needs)
    console.print(table)
    console.print(Text("* computed by default.", style="dim"))
