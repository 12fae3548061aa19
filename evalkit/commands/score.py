"""The command ``evalkit score``: folders of colorizations against true photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from evalkit.commands._decoding import DecodeChoices, decode_options
from evalkit.commands._networks import NetworkChoices, network_options
from evalkit.commands._shared import (
    AbChoices,
    GivenPath,
    OutputChoices,
    ab_options,
    complete_metrics,
    image_list_option,
    listed_names,
    output_options,
)
from evalkit.progress import progress_bar
from evalkit.scoring.presets import PRESETS

__all__ = ["score_command"]


@dataclass(frozen=True, kw_only=True)
class ScoreChoices(AbChoices, NetworkChoices, DecodeChoices, OutputChoices):
    """The options of ``evalkit score`` as they were given."""

    truth: str
    methods: tuple[str, ...]
    out: Path
    images: str | None
    image_cache: Path | None
    metrics: str | None
    preset: str | None
    classes: str
    size: int | None
    fit: str
    resample: str
    turn_like_truth: bool
    reference: str | None
    workers: int | None
    executor: str | None
    n_bootstrap: int
    seed: int
    allow_missing: bool
    per_image_csv: bool
    resume: bool
    overwrite: bool


@click.command("score", short_help="Score folders of colorizations against true photos.")
@click.option(
    "--truth", required=True, type=GivenPath(), metavar="DIR", help="Folder of true photos, or an address: see below."
)
@click.option(
    "--method",
    "methods",
    required=True,
    multiple=True,
    metavar="NAME=DIR",
    help="Folder or address of a method's colorizations, matched by file name whatever the extension; repeat for more. "
    "truth, gray and random need no folder.",
)
@click.option("--out", required=True, type=GivenPath(path_type=Path), metavar="DIR", help="Folder for the results.")
@image_list_option
@click.option(
    "--metrics",
    default=None,
    metavar="NAME,NAME",
    shell_complete=complete_metrics,
    help="Metrics to compute ('evalkit metrics' lists them); by default all common ones without weights, for which "
    "the word default stands: default,lpips_alex.",
)
@click.option(
    "--preset",
    default=None,
    metavar="PAPER",
    help=f"Metrics, size and definitions of a paper: {', '.join(PRESETS)}. Options that are given beside it win. Prints the "
    "signatures.",
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
@click.option(
    "--resample",
    type=click.Choice(["bicubic", "bilinear", "area"]),
    default="bicubic",
    show_default=True,
    help="Filter of the resizing; all of them average over what a pixel covers when an image shrinks.",
)
@decode_options
@click.option(
    "--turn-like-truth",
    is_flag=True,
    help="Apply the EXIF orientation of a true photo to images of methods that lie on their side.",
)
@click.option(
    "--reference",
    type=GivenPath(),
    default=None,
    metavar="DIR",
    help="Images that FID and KID compare with instead of the true photos, resized like these.",
)
@click.option(
    "--image-cache",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="DIR",
    help="Keep copies of images that lie elsewhere, for the next run; by default in the folder that the environment "
    "variable EVALKIT_IMAGE_CACHE names, or not.",
)
@network_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Processes; by default one per core. The result does not depend on it.",
)
@click.option(
    "--executor",
    default=None,
    metavar="KIND",
    help="Where to work in place of --workers: threads:N, processes:N, dask:ADDRESS of a scheduler, mpi (under "
    "'mpiexec -n N python -m mpi4py.futures -m evalkit') or torchrun (under 'torchrun --nproc-per-node N --no-python "
    "evalkit', each process on its own GPU). The result does not depend on it.",
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
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run from its finished images; a finished one stays as it is.",
)
@click.option("--overwrite", is_flag=True, help="Replace the results in --out.")
@output_options  # fmt: skip
def score_command(**given: Any) -> None:
    """Score folders of colorizations against a folder of true photos.

    \b
    evalkit score --truth photos/ --method mine=out/mine --method l2=out/l2 \\
                  --method gray --method random --out scores/

    \b
    evalkit score --truth s3://bucket/photos --method mine=s3://bucket/mine --out scores/
    evalkit score --truth photos.zip --method mine='shards-{000..012}.tar#mine' --out scores/
    evalkit score --truth data.parquet#image --method mine=data.parquet#mine --out scores/

    In place of a folder may stand an address that fsspec reads (s3, gs, https), a zip or tar archive, shards of a
    WebDataset, or columns of Parquet tables: the guide "Score what lies in a bucket" has them all.

    Images are matched by name without extension and must have the size of their photo. Results in --out: summary.csv,
    per_image.parquet, curves.csv, run.json and statistics/, from which 'evalkit rescore' recomputes everything under
    another prior, lambda or subset without the images. Every number carries a signature that says how it was made.
    """  # noqa: D301
    from evalkit.commands._methods import parse_method_places
    from evalkit.metrics import DEFAULT_METRICS
    from evalkit.scoring.run import score
    from evalkit.scoring.score_table import print_scores
    from evalkit.scoring.torchrun import serve_unless_first
    from evalkit.scoring.workers import available_cores

    choices = ScoreChoices(**given)
    serve_unless_first(choices.executor)  # before anything is said
    say = (lambda sentence: None) if choices.quiet else (lambda sentence: click.echo(sentence, err=True))
    metrics = DEFAULT_METRICS if choices.metrics is None else listed_names(choices.metrics)
    if choices.preset is not None:
        choices, metrics = _under_preset(choices.preset, choices, metrics, say)
    with progress_bar("scoring", "images", hidden=choices.quiet or choices.as_json) as show:
        scores = score(
            choices.truth,
            parse_method_places(choices.methods, choices.image_cache),
            out=choices.out,
            images=choices.images,
            image_cache=choices.image_cache,
            metrics=metrics,
            options=choices.ab_error_options(choices.classes),
            size=choices.size,
            fit=choices.fit,
            resample=choices.resample,
            decoding=choices.decode_options(),
            turn_like_truth=choices.turn_like_truth,
            reference=choices.reference,
            seed=choices.seed,
            n_bootstrap=choices.n_bootstrap,
            workers=choices.workers or (available_cores() if choices.executor is None else 1),
            executor=choices.executor,
            allow_missing=choices.allow_missing,
            resume=choices.resume,
            overwrite=choices.overwrite,
            per_image_csv=choices.per_image_csv,
            networks=choices.network_options(),
            progress=show,
            notify=say,
        )
    print_scores(scores, as_json=choices.as_json, quiet=choices.quiet, folder=str(choices.out))
    if choices.preset is not None and not choices.as_json and not choices.quiet:
        for signature in dict.fromkeys(row.signature for row in scores.summary if row.method == scores.methods[-1]):
            click.echo(signature)


def _under_preset(
    name: str, choices: ScoreChoices, metrics: tuple[str, ...], say: Callable[[str], None]
) -> tuple[ScoreChoices, tuple[str, ...]]:
    """What a preset asks for, except where the command line says otherwise."""
    from click.core import ParameterSource

    from evalkit.scoring.presets import load_preset

    preset = load_preset(name)
    context = click.get_current_context()

    def is_given(option: str) -> bool:
        return context.get_parameter_source(option) is not ParameterSource.DEFAULT

    if not is_given("metrics"):
        without = [metric for metric in preset.metrics if metric.endswith("_top1") and choices.labels is None]
        metrics = tuple(metric for metric in preset.metrics if metric not in without)
        if without:
            say(f"{', '.join(without)} of the preset needs the true classes and is left out: give --labels FILE.")
    say(f"{preset.name}: {preset.paper}{f'; {preset.note}' if preset.note else ''}.")
    asked: dict[str, Any] = {"size": preset.size, "fit": preset.fit, "quadrature": preset.quadrature}
    return replace(choices, **{key: value for key, value in asked.items() if not is_given(key)}), metrics
