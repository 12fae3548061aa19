"""The commands that make and re-make score tables: score, rescore, merge, compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from evalkit.commands._networks import make_network_options, network_options
from evalkit.commands._shared import ab_options, make_ab_options, output_options, progress_bar

__all__ = ["compare", "merge", "rescore", "score"]


def _complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from evalkit.metrics import metric_names

    done, _, last = incomplete.rpartition(",")
    return [f"{done},{name}" if done else name for name in metric_names() if name.startswith(last)]


@click.command(short_help="Score folders of colorizations against true photos.")
@click.option("--truth", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of true photos.")
@click.option(
    "--method",
    "methods",
    required=True,
    multiple=True,
    metavar="NAME=DIR",
    help="Folder of a method's colorizations, matched by file name whatever the extension; repeat for more. "
    "truth, gray and random need no folder.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the results.")
@click.option(
    "--metrics",
    default=None,
    metavar="NAME,NAME",
    shell_complete=_complete_metrics,
    help="Metrics to compute ('evalkit metrics' lists them); by default all common ones without weights.",
)
@click.option(
    "--preset",
    default=None,
    metavar="PAPER",
    help="Metrics, size and definitions of a paper: zhang2016, larsson2016, su2020, deshpande2017, anwar2022. Options that "
    "are given beside it win. Prints the signatures.",
)
@click.option(
    "--classes",
    default="zhang2016",
    show_default=True,
    metavar="zhang2016|seed2024|FILE",
    help="Ab classes: a preset or a .npy file of centres.",
)
@ab_options
@click.option("--size", type=int, default=None, metavar="N", help="Resize truth and colorizations to N x N first.")
@click.option(
    "--fit",
    type=click.Choice(["warp", "crop"]),
    default="warp",
    show_default=True,
    help="How to resize: ignore the aspect ratio, or short side and centre crop.",
)
@network_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Processes; by default one a core. The result does not depend on it.",
)
@click.option(
    "--bootstrap",
    "n_bootstrap",
    type=int,
    default=10_000,
    show_default=True,
    help="Replicates over images for the intervals; 0 leaves them out.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random and of the bootstrap.")
@click.option("--allow-missing", is_flag=True, help="Compare on the images that all methods have.")
@click.option("--per-image-csv", is_flag=True, help="Write per_image.csv beside per_image.parquet.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run from its finished images.")
@click.option("--overwrite", is_flag=True, help="Replace the results in --out.")
@output_options  # fmt: skip
def score(
    truth: Path,
    methods: tuple[str, ...],
    out: Path,
    metrics: str | None,
    preset: str | None,
    classes: str,
    prior: str,
    quadrature: str,
    max_threshold: int,
    rebalancing: float,
    size: int | None,
    fit: str,
    labels: str | None,
    weights: tuple[str, ...],
    classifiers: tuple[str, ...],
    preprocessing: tuple[str, ...],
    device: str,
    batch_size: int | None,
    precision: str,
    workers: int | None,
    n_bootstrap: int,
    seed: int,
    allow_missing: bool,
    per_image_csv: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score folders of colorizations against a folder of true photos.

    \b
    evalkit score --truth photos/ --method mine=out/mine --method l2=out/l2 \\
                  --method gray --method random --out scores/

    Images are matched by name without extension and must have the size of their photo. Results in --out: summary.csv,
    per_image.parquet, curves.csv, run.json and statistics/, from which 'evalkit rescore' recomputes everything under
    another prior, lambda or subset without the images. Every number carries a signature that says how it was made.
    """  # noqa: D301
    from evalkit.errors import InputError
    from evalkit.images.image_pairs import parse_method_option
    from evalkit.metrics import DEFAULT_METRICS
    from evalkit.scoring.run import available_cores
    from evalkit.scoring.run import score as run
    from evalkit.scoring.score_table import print_scores

    named: dict[str, Path | None] = {}
    for text in methods:
        name, folder = parse_method_option(text)
        if name in named:
            raise InputError(f"method {name} is given twice; each needs a name of its own")
        named[name] = folder
    names = DEFAULT_METRICS if metrics is None else tuple(filter(None, (part.strip() for part in metrics.split(","))))
    say = (lambda sentence: None) if quiet else (lambda sentence: click.echo(sentence, err=True))
    if preset is not None:
        names, size, fit, quadrature = _of_preset(preset, names, size, fit, quadrature, labels, say)
    options = make_ab_options(classes, prior, quadrature, max_threshold, rebalancing)
    networks = make_network_options(labels, weights, classifiers, preprocessing, device, batch_size, precision)
    with progress_bar("scoring", "images", hidden=quiet or as_json) as show:
        scores = run(
            truth,
            named,
            out=out,
            metrics=names,
            options=options,
            size=size,
            fit=fit,
            seed=seed,
            n_bootstrap=n_bootstrap,
            workers=workers or available_cores(),
            allow_missing=allow_missing,
            resume=resume,
            overwrite=overwrite,
            per_image_csv=per_image_csv,
            networks=networks,
            progress=show,
            notify=say,
        )
    print_scores(scores, as_json=as_json, quiet=quiet, where=str(out))
    if preset is not None and not as_json and not quiet:
        for signature in dict.fromkeys(row.signature for row in scores.summary if row.method == scores.methods[-1]):
            click.echo(signature)


def _of_preset(
    name: str,
    metrics: tuple[str, ...],
    size: int | None,
    fit: str,
    quadrature: str,
    labels: str | None,
    say: Callable[[str], None],
) -> tuple[tuple[str, ...], int | None, str, str]:
    """Metrics, size, fit and quadrature of a preset, except where the command line gives them."""
    from click.core import ParameterSource

    from evalkit.scoring.presets import load_preset

    found = load_preset(name)
    context = click.get_current_context()

    def given(option: str) -> bool:
        return context.get_parameter_source(option) is not ParameterSource.DEFAULT

    if not given("metrics"):
        metrics = found.metrics
        without = [metric for metric in metrics if metric.endswith("_top1") and labels is None]
        if without:
            metrics = tuple(metric for metric in metrics if metric not in without)
            say(f"{', '.join(without)} of the preset needs the true classes and is left out: give --labels FILE.")
    say(f"{found.name}: {found.paper}{f'; {found.note}' if found.note else ''}.")
    return (
        metrics,
        size if given("size") else found.size,
        fit if given("fit") else found.fit,
        quadrature if given("quadrature") else found.quadrature,
    )


@click.command(short_help="Recompute scores under another prior, lambda, quadrature or subset.")
@click.argument("source", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder for the new results (without statistics); by default only the table is printed.",
)
@ab_options
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Text file with the names of the images to keep, one a line, without extension.",
)
@click.option("--bootstrap", "n_bootstrap", type=int, default=None, help="Replicates; by default as in the run.")
@output_options  # fmt: skip
def rescore(
    source: Path,
    out: Path | None,
    prior: str,
    quadrature: str,
    max_threshold: int,
    rebalancing: float,
    images: Path | None,
    n_bootstrap: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Recompute the scores of a finished run from its statistics, without the images.

    OUT is the --out folder of 'evalkit score'. The ab classes stay those of the run.
    """
    from dataclasses import replace

    from evalkit.color.ab_classes import load_prior
    from evalkit.errors import InputError
    from evalkit.metrics.ab_error import AbErrorOptions
    from evalkit.scoring.score_table import print_scores
    from evalkit.scoring.scores import RunRecord, Scores

    record = RunRecord.from_json(source / "run.json")
    classes = record.options.classes
    shares = None if prior == "truth" else load_prior(Path(prior), classes)
    options = AbErrorOptions(classes, shares, quadrature, max_threshold, rebalancing)  # type: ignore[arg-type]
    record = replace(record, options=options, n_bootstrap=record.n_bootstrap if n_bootstrap is None else n_bootstrap)
    keep = None
    if images is not None:
        try:
            keep = frozenset(line.strip() for line in images.read_text(encoding="utf-8").splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{images}: cannot be read as a text file of image names ({error})") from None
        if not keep:
            raise InputError(f"{images}: holds no image names; one a line is expected")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not an empty folder; choose a new folder for --out")
    scores = Scores.summarise(source / "statistics", record, keep)
    if out is not None:
        scores.write(out)
    print_scores(scores, as_json=as_json, quiet=quiet, where=None if out is None else str(out))


@click.command(short_help="Join finished runs over different images or methods.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OUT1 OUT2 ...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@output_options
def merge(sources: tuple[Path, ...], out: Path, as_json: bool, quiet: bool) -> None:
    """Join finished runs, without their images.

    Either the same methods over different images, or different methods over the same images. The result equals one run
    over everything.
    """
    from evalkit.scoring.merging import merge_runs
    from evalkit.scoring.score_table import print_scores

    print_scores(merge_runs(sources, out), as_json=as_json, quiet=quiet, where=str(out))


@click.command(short_help="Differences between two runs or methods, with intervals.")
@click.argument("first", type=click.Path(path_type=Path), metavar="OUT1")
@click.argument("second", type=click.Path(path_type=Path), required=False, metavar="[OUT2]")
@click.option("--baseline", metavar="METHOD", help="Compare the methods of one run with this one of them.")
@click.option(
    "--bootstrap", "n_bootstrap", type=click.IntRange(100), default=10_000, show_default=True, help="Replicates."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the bootstrap.")
@output_options
def compare(
    first: Path, second: Path | None, baseline: str | None, n_bootstrap: int, seed: int, as_json: bool, quiet: bool
) -> None:
    """Differences of two finished runs on the same images, second minus first, with paired intervals.

    Numbers whose signatures differ are refused, and the fields that differ are named. With --baseline and one run:
    every other method of it minus the baseline.
    """
    import json
    import math

    from evalkit.errors import InputError
    from evalkit.scoring.score_comparison import compare_methods, compare_runs

    if second is not None and baseline is None:
        differences = compare_runs(first, second, n_bootstrap=n_bootstrap, seed=seed)
    elif second is None and baseline is not None:
        differences = compare_methods(first, baseline, n_bootstrap=n_bootstrap, seed=seed)
    else:
        raise InputError("compare needs two runs (OUT1 OUT2), or one run and --baseline METHOD")
    if as_json:
        rows = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(d).items()}
            for d in differences
        ]
        click.echo(json.dumps(rows, indent=1))
    elif not quiet:
        from rich.console import Console

        from evalkit.scoring.score_table import comparison_table

        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 200
        console.print(comparison_table(differences))
    if any(math.isnan(d.difference) for d in differences) and not quiet:
        click.echo("Some metrics are unscored in one of the runs; see 'unscored' in its run.json.", err=True)
