"""The command ``evalkit reproduce``: the table of variants from a folder of photos, start to end."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.colorizers.variants import VARIANTS
from evalkit.commands._shared import run_command
from evalkit.errors import InputError

__all__ = ["reproduce"]

PAPER_FOOL_RATES = {"l2": 0.212, "l2-finetuned": 0.239, "classification": 0.252, "full": 0.323}
"""Zhang, Isola and Efros (2016), table 1: what simulated observers are told to do."""


@click.command(
    short_help="Make the table of variants: colour photos by every variant, score, report.",
    context_settings={"ignore_unknown_options": True},
)
@click.option("--truth", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of true photos.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for pictures, scores and report.",
)
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder of l2.pt, l2-finetuned.pt, classification.pt and full.pt; default: the small ones that come "
    "with evalkit.",
)
@click.option(
    "--trials",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Trials of a human test, for the report.",
)
@click.option(
    "--simulate",
    type=click.IntRange(8),
    default=None,
    metavar="N",
    help="Rehearse the human test with N simulated observers at the paper's fool rates; needs 60 photos.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.argument("score_options", nargs=-1, type=click.UNPROCESSED)
def reproduce(
    truth: Path,
    out: Path,
    checkpoints: Path | None,
    trials: Path | None,
    simulate: int | None,
    device: str,
    score_options: tuple[str, ...],
) -> None:
    """Colour the photos of a folder by every variant of the reference system, score them, write the report.

    \b
    evalkit reproduce --truth photos/ --out table/
    evalkit reproduce --truth ctest10k/ --out table/ --labels val.txt \\
        --metrics ab_auc,ab_auc_rebal,vgg16_top1

    Other options are handed to 'evalkit score'. An interrupted run goes on where it stopped. Pictures are in
    OUT/methods, scores in OUT/scores, the report in OUT/report.
    """  # noqa: D301
    if trials is not None and simulate is not None:
        raise InputError("--trials and --simulate exclude each other: answers of people, or a rehearsal without any")
    methods = out / "methods"
    scored = ["--truth", str(truth), "--method", "gray", "--method", "random"]
    for variant in VARIANTS:
        target = methods / variant
        words = [variant, "--input", str(truth), "--output", str(target), "--device", device]
        if checkpoints is not None:
            words += ["--weights", str(checkpoints / f"{variant}.pt")]
        if target.is_dir():
            words.append("--resume")
        run_command("colorize", *words)
        scored += ["--method", f"{variant}={target}"]
    scores = out / "scores"
    if scores.exists():
        scored.append("--overwrite")
    run_command("score", *scored, "--device", device, "--out", str(scores), *score_options)
    reported = [
        "--scores",
        str(scores),
        "--out",
        str(out / "report"),
        "--published",
        "zhang2016",
        "--truth",
        str(truth),
    ]
    for variant in VARIANTS:
        reported += ["--method", f"{variant}={methods / variant}"]
    if simulate is not None:
        trials = _rehearsed(truth, methods, out / "study", simulate)
    if trials is not None:
        reported += ["--trials", str(trials)]
    run_command("report", *reported, "--title", "The table of variants")


def _rehearsed(truth: Path, methods: Path, study: Path, observers: int) -> Path:
    """The study folder after simulated observers took the timed test: no result, but every step of one."""
    if not study.exists():
        folders = [word for variant in VARIANTS for word in ("--method", f"{variant}={methods / variant}")]
        run_command("study", "create", str(study), "--truth", str(truth), *folders)
        rates = [word for name, rate in PAPER_FOOL_RATES.items() for word in ("--fool-rate", f"{name}={rate}")]
        run_command("study", "simulate", str(study), "--participants", str(observers), *rates)
    return study
