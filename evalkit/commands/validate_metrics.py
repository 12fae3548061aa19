"""The command ``evalkit validate-metrics``: rank correlation of metrics with human scores."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import GivenPath, OutputFile

__all__ = ["validate_metrics_command"]


@click.command("validate-metrics", short_help="Rank correlation of metrics with human scores.")
@click.argument("scores", type=GivenPath(path_type=Path), metavar="OUT")
@click.option(
    "--human",
    required=True,
    type=GivenPath(path_type=Path),
    metavar="FILE",
    help="CSV with the columns image, method, score; the true photos have the method truth.",
)
@click.option(
    "--leave-out", multiple=True, metavar="METHOD", help="Leave a method out, for example truth; repeat for more."
)
@click.option(
    "--bootstrap", "n_bootstrap", type=click.IntRange(100), default=2000, show_default=True, help="Replicates."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option(
    "--out", type=OutputFile("agreement.csv"), default=None, metavar="FILE", help="Write the table as CSV too."
)
def validate_metrics_command(
    scores: Path,
    human: Path,
    leave_out: tuple[str, ...],
    n_bootstrap: int,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compare how metrics and people rank colorizations.

    OUT is the --out folder of 'evalkit score'. Spearman's rank correlation over all pairs that have a human score, its 95
    % interval by a bootstrap over images, and the mean correlation among the methods of one image. A distance that agrees
    with people has a negative correlation.
    """
    import json

    from evalkit.files import write_atomically
    from evalkit.scoring.metric_validation import agreement_rows, read_human_scores, validate_metrics
    from evalkit.scoring.scores import Scores
    from evalkit.text_formats import csv_text

    table = {key: score for key, score in read_human_scores(human).items() if key[1] not in leave_out}
    agreements = validate_metrics(Scores.read(scores), table, n_bootstrap=n_bootstrap, seed=seed)
    rows = agreement_rows(agreements)
    if out is not None:
        write_atomically(out, csv_text(rows))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def number(value: object) -> str:
        return f"{value:+.2f}" if isinstance(value, float) else "undefined"

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    shown.add_column("metric", no_wrap=True)
    for heading in ("rank correlation", "95 % interval", "within images", "pairs", "images"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        between = "" if row["ci_low"] is None else f"{number(row['ci_low'])} – {number(row['ci_high'])}"
        shown.add_row(
            str(row["metric"]), number(row["correlation"]), between, number(row["within_image"]),
            str(row["n_pairs"]), str(row["n_images"]),
        )  # fmt: skip
    console.print(shown)
    for caution in dict.fromkeys(text for agreement in agreements for text in agreement.cautions):
        console.print(f"Warning: {caution}", markup=False, style="dim")
