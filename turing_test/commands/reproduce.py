"""The command ``evalkit reproduce``: the table of variants from a folder of photos, start to end."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.colorizers.classical.methods import CLASSICAL
from evalkit.colorizers.variants import VARIANTS
from evalkit.commands._shared import GivenPath, run_command
from evalkit.errors import InputError
from evalkit.images.places import check_is_folder_here
from evalkit.networks.options import check_device_name

__all__ = ["reproduce_command"]

PAPER_FOOL_RATES = {"l2": 0.212, "l2-finetuned": 0.239, "classification": 0.252, "full": 0.323}
"""Zhang, Isola and Efros (2016), table 1: what simulated observers are told to do."""


@click.command(
    "reproduce",
    short_help="Make the table of variants: colour photos by every variant, score, report.",
    context_settings={"ignore_unknown_options": True},
)
@click.option("--truth", type=GivenPath(path_type=Path), required=True, metavar="DIR", help="Folder of true photos.")
@click.option(
    "--out",
    type=GivenPath(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for pictures, scores and report.",
)
@click.option(
    "--checkpoints",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder of l2.pt, l2-finetuned.pt, classification.pt and full.pt; default: the small ones that come "
    "with evalkit.",
)
@click.option(
    "--trials",
    type=GivenPath(path_type=Path),
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
@click.option(
    "--baseline",
    default="classification",
    show_default=True,
    metavar="METHOD",
    help="What every other method is compared with on the same photos: the paper's own comparison is with and without "
    "class rebalancing, 'full' against 'classification'.",
)
@click.option("--with-classical", is_flag=True, help="Also the baselines before networks: see above.")
@click.option(
    "--example",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="FILE|DIR",
    help="For --with-classical: whose colours are taken; default: of the photos themselves, each from another.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.argument("score_options", nargs=-1, type=click.UNPROCESSED)
def reproduce_command(
    truth: Path,
    out: Path,
    checkpoints: Path | None,
    trials: Path | None,
    simulate: int | None,
    baseline: str,
    with_classical: bool,
    example: Path | None,
    device: str,
    score_options: tuple[str, ...],
) -> None:
    """Colour the photos of a folder by every variant of the reference system, score them, write the report.

    \b
    evalkit reproduce --truth photos/ --out table/
    evalkit reproduce --truth ctest10k/ --out table/ --labels val.txt \\
        --metrics ab_auc,ab_auc_rebal,vgg16_top1

    --with-classical adds levin2004 and luan2007, which are told the true colours of 10 patches of 7 x 7 pixels at random
    places of each photo (OUT/hints), and welsh2002 and sousa2012, which take the colours of the photo whose distributions
    of lightness and texture are nearest, never of the photo itself.

    Other options are handed to 'evalkit score'. An interrupted run goes on where it stopped. Pictures are in
    OUT/methods, scores in OUT/scores, the report in OUT/report.
    """  # noqa: D301
    rows = [*VARIANTS, *(CLASSICAL if with_classical else ())]
    if trials is not None and simulate is not None:
        raise InputError("--trials and --simulate exclude each other: answers of people, or a rehearsal without any")
    if example is not None and not with_classical:
        raise InputError("--example goes with --with-classical, whose methods take colours from it")
    if baseline not in ("gray", "random", *rows):
        raise InputError(f"--baseline is '{baseline}'; allowed are gray, random, {', '.join(rows)}")
    check_device_name(device)
    check_is_folder_here(truth)
    methods = out / "methods"
    scored = ["--truth", str(truth), "--method", "truth", "--method", "gray", "--method", "random"]
    for method in rows:
        words = _colorize_words(method, truth, out, checkpoints, example, device)
        if (methods / method).is_dir():
            words.append("--resume")
        run_command("colorize", *words)
        scored += ["--method", f"{method}={methods / method}"]
    scores = out / "scores"
    if scores.exists():
        scored.append("--overwrite")
    run_command("score", *scored, "--device", device, "--out", str(scores), *score_options)
    run_command("compare", str(scores), "--baseline", baseline)
    reported = [
        "--scores",
        str(scores),
        "--out",
        str(out / "report"),
        "--published",
        "zhang2016",
        "--truth",
        str(truth),
        "--baseline",
        baseline,
    ]
    for method in rows:
        reported += ["--method", f"{method}={methods / method}"]
    if simulate is not None:
        trials = _rehearsed(truth, methods, out / "study", simulate)
    if trials is not None:
        reported += ["--trials", str(trials)]
    run_command("report", *reported, "--title", "The table of variants")


def _colorize_words(
    method: str, truth: Path, out: Path, checkpoints: Path | None, example: Path | None, device: str
) -> list[str]:
    """What 'evalkit colorize' is told for one row of the table; hints are drawn first where the method needs them."""
    words = [method, "--input", str(truth), "--output", str(out / "methods" / method)]
    if method in VARIANTS:
        words += ["--device", device]
        return words if checkpoints is None else [*words, "--weights", str(checkpoints / f"{method}.pt")]
    if CLASSICAL[method].needs == "example":
        return [*words, "--example", str(truth if example is None else example)]
    hints = out / "hints"
    if not (hints / "hints.json").is_file():  # written last
        run_command("hints", "--input", str(truth), "--output", str(hints), "--overwrite")
    return [*words, "--hints", str(hints)]


def _rehearsed(truth: Path, methods: Path, study: Path, observers: int) -> Path:
    """The study folder after simulated observers took the timed test: no result, but every step of one."""
    if not study.exists():
        folders = [word for variant in VARIANTS for word in ("--method", f"{variant}={methods / variant}")]
        run_command("study", "create", str(study), "--truth", str(truth), *folders)
        rates = [word for name, rate in PAPER_FOOL_RATES.items() for word in ("--fool-rate", f"{name}={rate}")]
        run_command("study", "simulate", str(study), "--participants", str(observers), *rates)
    return study
