"""The command ``evalkit hint-curve``: scores against the number of hints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.commands._decoding import decode_options, make_decode_options
from evalkit.commands._networks import NetworkChoices, network_options
from evalkit.commands._shared import GivenPath, listed_names, output_options
from evalkit.progress import progress_bar

if TYPE_CHECKING:
    from evalkit.hints.curve import HintCurve

__all__ = ["hint_curve_command"]


@click.command("hint-curve", short_help="Score methods against the number of hints: curves, areas, the figure.")
@click.option("--truth", required=True, type=GivenPath(), metavar="DIR",
              help="Folder of true photos, or an address, as for score.")  # fmt: skip
@click.option("--method", "methods", required=True, multiple=True, metavar="NAME=DIR",
              help="Folder of a method's colorizations in sub-folders named by the number of hints; repeat for more.")  # fmt: skip
@click.option("--out", required=True, type=GivenPath(path_type=Path), metavar="DIR", help="Folder for the results.")
@click.option("--metrics", default="psnr_rgb,ab_auc,lpips_alex", show_default=True, metavar="NAME,NAME",
              help="Metrics of single images, as 'evalkit metrics' lists them.")  # fmt: skip
@click.option("--size", type=int, default=None, metavar="N", help="Resize truth and colorizations to N x N first.")
@decode_options
@network_options
@click.option(
    "--workers", type=click.IntRange(1), default=None, metavar="N", help="Processes; by default one per core."
)
@click.option("--bootstrap", "n_bootstrap", type=int, default=10_000, show_default=True,
              help="Replicates over images for the intervals; 0 leaves them out.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--overwrite", is_flag=True, help="Replace the results in --out.")
@output_options
def hint_curve_command(
    truth: str,
    methods: tuple[str, ...],
    out: Path,
    metrics: str,
    size: int | None,
    max_megapixels: float | None,
    convert_cmyk: bool,
    workers: int | None,
    n_bootstrap: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **networks: Any,
) -> None:
    """Score colorizations made with growing numbers of hints: NAME/k/photo.png for k = 0, 1, 2, 5, ...

    \b
    evalkit hints --input photos/ --output hints/ --count 0,1,2,5,10,50,500
    evalkit colorize levin2004 --input photos/ --hints hints/ --output levin/
    evalkit hint-curve --truth photos/ --method levin=levin/ --out curve/

    \b
    In --out:
      hint_curve.csv       each metric of each method by the number of hints
      hint_areas.csv       area under each curve, and its difference to that of the
                           first method on the same photos
      hint_curve.pdf, .png the figure
      scores/              one run of 'evalkit score' over everything (NAME-k)

    The area is the mean height of the curve over log2(1 + number of hints), so it has the unit of the metric. All
    intervals are 95 % over photos.
    """  # noqa: D301
    import json

    from evalkit.commands._methods import parse_method_option
    from evalkit.errors import InputError
    from evalkit.files import atomic_file
    from evalkit.hints.curve import count_folders, method_of_count, read_curve
    from evalkit.hints.curve_figure import draw_hint_curve, require_matplotlib
    from evalkit.metrics import expand_default, load_metric
    from evalkit.metrics.base import SumMetric
    from evalkit.scoring.run import score
    from evalkit.scoring.score_table import print_unscored
    from evalkit.scoring.workers import available_cores

    require_matplotlib()
    folders: dict[str, Path] = {}
    for text in methods:
        name, folder = parse_method_option(text)
        if folder is None:
            raise InputError(f"--method {text}: a curve needs a folder of each method, as NAME=DIR")
        if name in folders:
            raise InputError(f"method {name} is given twice; each needs a name of its own")
        folders[name] = folder
    names = expand_default(listed_names(metrics))
    of_sets = [name for name in names if not issubclass(load_metric(name), SumMetric)]
    if of_sets:
        raise InputError(
            f"{', '.join(of_sets)}: a number of the whole set has no curve here; allowed are metrics of images"
        )
    counts = count_folders(folders)
    run = {method_of_count(name, k): folder / str(k) for name, folder in folders.items() for k in counts}
    if len(run) < len(folders) * len(counts):
        raise InputError("two methods get the same name once the number of hints is added to it; rename one")
    with progress_bar("scoring", "images", hidden=quiet or as_json) as show:
        scores = score(
            truth,
            run,
            out=out / "scores",
            metrics=names,
            size=size,
            seed=seed,
            n_bootstrap=n_bootstrap,
            workers=workers or available_cores(),
            overwrite=overwrite,
            decoding=make_decode_options(max_megapixels, convert_cmyk),
            networks=NetworkChoices(**networks).network_options(),
            progress=show,
            notify=(lambda sentence: None) if quiet else (lambda sentence: click.echo(sentence, err=True)),
        )
    curve = read_curve(out / "scores", list(folders), counts, n_bootstrap=n_bootstrap, seed=seed)
    for file_name, text in (("hint_curve.csv", curve.points_csv()), ("hint_areas.csv", curve.areas_csv())):
        with atomic_file(out / file_name) as file:
            file.write(text.encode())
    draw_hint_curve(curve, [out / "hint_curve.pdf", out / "hint_curve.png"])
    if quiet:
        print_unscored(scores)
    if as_json:
        rows = {
            "points": [_clean(point) for point in curve.points],
            "areas": [_clean(area) for area in curve.areas],
            "warnings": list(scores.warnings),
        }
        click.echo(json.dumps(rows, indent=1))
    elif not quiet:
        _print_curve(curve, counts, scores.warnings)
        click.echo(f"Results in {out}", err=True)


def _clean(row: Any) -> dict[str, Any]:
    """A record for JSON, which has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(row).items()}


def _print_curve(curve: HintCurve, counts: Sequence[int], warnings: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.metrics import load_metric

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    for name in dict.fromkeys(area.metric for area in curve.areas):
        metric = load_metric(name)
        scale = 100 if metric.percent else 1
        table = Table(
            title=f"{metric.title} by hints per photo", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
        )
        table.add_column("method", no_wrap=True)
        for k in counts:
            table.add_column(str(k), justify="right")
        for heading in ("area", "95 % interval"):
            table.add_column(heading, justify="right", no_wrap=True)

        def number(value: float, metric: Any = metric, scale: float = scale) -> str:
            return "-" if math.isnan(value) else f"{scale * value:.{metric.decimals}f}"

        for area in (area for area in curve.areas if area.metric == name):
            heights = {p.n_hints: p.value for p in curve.points if (p.metric, p.method) == (name, area.method)}
            between = "" if math.isnan(area.ci_low) else f"{number(area.ci_low)} to {number(area.ci_high)}"
            table.add_row(area.method, *(number(heights[k]) for k in counts), number(area.value), between)
        console.print(table)
        reasons = dict.fromkeys(p.reason for p in curve.points if p.metric == name and math.isnan(p.value))
        for reason in filter(None, reasons):
            console.print(f"{metric.title}: {reason}", style="dim")
    for warning in warnings:
        console.print(Text.assemble(("Warning: ", "yellow"), warning))
