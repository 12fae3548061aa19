"""The command ``evalkit compare``: differences between two runs, or between the methods of one."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import (
    GivenPath,
    OutputFile,
    complete_metrics,
    listed_names,
    output_options,
    table_console,
)

__all__ = ["compare_command"]


@click.command("compare", short_help="Differences between two runs or methods, with intervals.")
@click.argument("first", type=GivenPath(path_type=Path), metavar="OUT1")
@click.argument("second", type=GivenPath(path_type=Path), required=False, metavar="[OUT2]")
@click.option("--baseline", metavar="METHOD", help="Compare the methods of one run with this one of them.")
@click.option(
    "--metrics",
    metavar="NAME,NAME",
    shell_complete=complete_metrics,
    help="Metrics to compare, which p is then adjusted for; by default all that there are.",
)
@click.option("--out", type=OutputFile("differences.csv"), metavar="FILE",
              help="Write the differences as CSV too, at full precision.")  # fmt: skip
@click.option(
    "--bootstrap", "n_bootstrap", type=click.IntRange(100), default=10_000, show_default=True, help="Replicates."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the bootstrap.")
@output_options
def compare_command(
    first: Path,
    second: Path | None,
    baseline: str | None,
    metrics: str | None,
    out: Path | None,
    n_bootstrap: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Differences of two finished runs on the same images, second minus first, with paired intervals.

    Numbers whose signatures differ are refused, and the fields that differ are named. With --baseline and one run:
    every other method of it minus the baseline.
    """
    import json
    import math

    from evalkit.errors import InputError
    from evalkit.files import write_atomically
    from evalkit.scoring.score_comparison import compare_methods, compare_runs
    from evalkit.text_formats import csv_text

    names = None if metrics is None else listed_names(metrics)
    if second is not None and baseline is None:
        differences = compare_runs(first, second, metrics=names, n_bootstrap=n_bootstrap, seed=seed)
    elif second is None and baseline is not None:
        differences = compare_methods(first, baseline, metrics=names, n_bootstrap=n_bootstrap, seed=seed)
    else:
        raise InputError("compare needs two runs (OUT1 OUT2), or one run and --baseline METHOD")
    if out is not None:
        write_atomically(out, csv_text(differences.rows()))
    if as_json:
        rows = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(d).items()}
            for d in differences
        ]
        click.echo(json.dumps(rows, indent=1))
    elif not quiet:
        from evalkit.scoring.score_table import comparison_table

        table_console(80).print(comparison_table(differences))
    if any(math.isnan(d.difference) for d in differences) and not quiet:
        click.echo("Some metrics are unscored in one of the runs; see 'unscored' in its run.json.", err=True)
