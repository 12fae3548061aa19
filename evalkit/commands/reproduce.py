"""The command ``evalkit reproduce``: the table of variants from a folder of photos, start to end."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.colorizers.variants import VARIANTS

__all__ = ["reproduce"]


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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.argument("score_options", nargs=-1, type=click.UNPROCESSED)
def reproduce(
    truth: Path,
    out: Path,
    checkpoints: Path | None,
    trials: Path | None,
    device: str,
    score_options: tuple[str, ...],
) -> None:
    """Colour the photos of a folder by every variant of the reference system, score them, write the report.

    \b
    evalkit reproduce --truth photos/ --out table/
    evalkit reproduce --truth ctest10k/ --out table/ --labels val.txt \\
        --metrics ab_auc,ab_auc_rebal,vgg_top1

    Other options are handed to 'evalkit score'. An interrupted run goes on where it stopped. Pictures are in
    OUT/methods, scores in OUT/scores, the report in OUT/report.
    """  # noqa: D301
    methods = out / "methods"
    scored = ["--truth", str(truth), "--method", "gray", "--method", "random"]
    for variant in VARIANTS:
        target = methods / variant
        words = [variant, "--input", str(truth), "--output", str(target), "--device", device]
        if checkpoints is not None:
            words += ["--weights", str(checkpoints / f"{variant}.pt")]
        if target.is_dir():
            words.append("--resume")
        _call("colorize", words)
        scored += ["--method", f"{variant}={target}"]
    scores = out / "scores"
    if scores.exists():
        scored.append("--overwrite")
    _call("score", [*scored, "--device", device, "--out", str(scores), *score_options])
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
    if trials is not None:
        reported += ["--trials", str(trials)]
    _call("report", [*reported, "--title", "The table of variants"])


def _call(name: str, words: list[str]) -> None:
    """Run another command; by name, since some live on other floors of the house."""
    from evalkit.cli import main

    command = main.get_command(click.get_current_context(), name)
    if command is None:
        raise click.ClickException(f"the command '{name}' is not installed")
    command.main(words, prog_name=f"evalkit {name}", standalone_mode=False)
