"""The command ``evalkit train``: train a variant of the reference colorizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.colorizers.variants import VARIANTS
from evalkit.commands._decoding import decode_options, make_decode_options, max_unreadable_option
from evalkit.commands._shared import GivenPath
from evalkit.wording import counted

if TYPE_CHECKING:
    from evalkit.colorizers.training.options import Compute
    from evalkit.colorizers.training.run_folder import LogLine
    from evalkit.colorizers.training.speed import Speed
    from evalkit.colorizers.training.train import TrainingReport

__all__ = ["train_command"]

DEFAULTS: dict[str, dict[str, Any]] = {
    "full": {"steps": 100_000, "batch_size": 32, "crop_size": 176, "learning_rate": 3e-4},
    "small": {"steps": 15_000, "batch_size": 32, "crop_size": 128, "learning_rate": 2e-3},
    "tiny": {"steps": 300, "batch_size": 8, "crop_size": 64, "learning_rate": 4e-3},
    "lite0": {"steps": 1_500, "batch_size": 16, "crop_size": 128, "learning_rate": 3e-3, "crops": "whole"},
}
"""What an option is where it is not given, by network."""


@click.command("train", short_help="Train the reference colorizer, or a variant, on a folder of photos.")
@click.option(
    "--input",
    "source",
    type=GivenPath(),
    required=True,
    metavar="DIR",
    help="Folder of colour photos, searched with its sub-folders, or an address, as for score.",
)
@click.option(
    "--out",
    type=GivenPath(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the weights, the log and the pictures.",
)
@click.option("--variant", type=click.Choice(list(VARIANTS)), default="full", show_default=True, help="What to train.")
@click.option(
    "--preset",
    "classes",
    default="seed2024",
    show_default=True,
    metavar="seed2024|zhang2016|FILE",
    help="Ab classes, with their sigma, lambda and temperature.",
)
@click.option(
    "--network",
    "layout",
    type=click.Choice(list(DEFAULTS)),
    default="full",
    show_default=True,
    help="The published network, a small one for CPU work, a tiny one for tests; or one with a pretrained encoder.",
)
@click.option(
    "--prior",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="FILE",
    help="Class shares for the rebalancing; default: those of the photos themselves.",
)
@click.option(
    "--init",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="FILE",
    help="Weights to start from; l2-finetuned needs those of a network that classifies.",
)
@click.option("--steps", type=int, default=None, help="Updates; the learning rate falls to zero over them.")
@click.option(
    "--batch-size", type=int, default=None, help="Crops per update, over all processes [32; lite0: 16; tiny: 8]."
)
@click.option(
    "--accumulate",
    type=int,
    default=1,
    show_default=True,
    help="Parts to take the batch in: less memory, the same gradient.",
)
@click.option("--crop-size", type=int, default=None, help="Side of the crops in pixels, a multiple of 8.")
@click.option(
    "--crops",
    type=click.Choice(["random", "whole"]),
    default=None,
    help="Random parts of the photos, or whole ones [random; lite0: whole].",
)
@click.option("--learning-rate", type=float, default=None, help="Largest learning rate.")
@click.option(
    "--encoder-learning-rate", type=float, default=5e-4, show_default=True, help="Largest one of lite0's encoder."
)
@click.option("--weight-decay", type=float, default=1e-3, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="First weights, order of the photos, crops.")
@click.option(
    "--amp",
    type=click.Choice(["auto", "off", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Mixed precision: bf16 on recent CPUs and GPUs, fp16 on older GPUs; auto measures float32 and bf16.",
)
@click.option(
    "--channels-last/--channels-first", default=None, help="Memory layout; default: the one measured to be faster."
)
@click.option("--compile", "compile_network", is_flag=True, help="Let torch compile the network (needs a compiler).")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="Cores that torch computes on; default: measured. Two beside another busy process are slower than one.",
)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that load data.")
@click.option("--save-every", type=click.IntRange(1), default=500, show_default=True, metavar="STEPS")
@click.option("--log-every", type=click.IntRange(1), default=20, show_default=True, metavar="STEPS")
@click.option(
    "--panel-every",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    metavar="STEPS",
    help="How often to write pictures to OUT/panels.",
)
@click.option(
    "--validation",
    type=GivenPath(),
    default=None,
    metavar="DIR",
    help="Folder or address of photos that are not trained on: AuC and rebalanced AuC on them go into the log.",
)
@click.option("--validate-every", type=int, default=None, metavar="STEPS", help="How often; default: once per epoch.")
@click.option(
    "--patience",
    type=int,
    default=None,
    metavar="N",
    help="Stop after N validations without a better score (AuC; of full, rebalanced AuC) and keep the best weights.",
)
@click.option(
    "--average",
    type=float,
    default=0.0,
    show_default=True,
    metavar="DECAY",
    help="Save an exponential average of the weights, with this decay per step (0.99, say); 0: the last weights.",
)
@click.option("--data-source", default="", metavar="TEXT", help="Where the photos come from, for the checkpoint.")
@click.option("--resume", is_flag=True, help="Continue the run in OUT; the result is that of one never stopped.")
@click.option("--overwrite", is_flag=True, help="Replace the run in OUT by a new one.")
@decode_options
@max_unreadable_option
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")  # fmt: skip
def train_command(
    source: str,
    out: Path,
    variant: str,
    classes: str,
    layout: str,
    prior: Path | None,
    init: Path | None,
    steps: int | None,
    batch_size: int | None,
    accumulate: int,
    crop_size: int | None,
    crops: str | None,
    learning_rate: float | None,
    encoder_learning_rate: float,
    weight_decay: float,
    seed: int,
    amp: str,
    channels_last: bool | None,
    compile_network: bool,
    device: str,
    threads: int | None,
    workers: int,
    save_every: int,
    log_every: int,
    panel_every: int,
    validation: str | None,
    validate_every: int | None,
    patience: int | None,
    average: float,
    data_source: str,
    resume: bool,
    overwrite: bool,
    max_megapixels: float | None,
    convert_cmyk: bool,
    max_unreadable: int,
    quiet: bool,
) -> None:
    """Train the reference network on your photos.

    \b
    evalkit train --input photos/ --variant full --network small --out run/
    evalkit train --input photos/ --variant full --network small --out run/ --resume
    torchrun --nproc-per-node 8 --no-python evalkit train --input photos/ --device cuda --amp bf16 --out run/

    Gray photos and files that cannot be read are passed over and counted (OUT/photos.csv); --convert-cmyk reads CMYK too. The weights are in
    OUT/weights.pt, the log in OUT/log.csv, pictures of the progress in OUT/panels.
    """  # noqa: D301
    from evalkit.color.ab_classes import load_classes
    from evalkit.needs import need_torch

    need_torch()
    from evalkit.colorizers.training.options import Compute, TrainingOptions
    from evalkit.colorizers.training.train import train
    from evalkit.progress import progress_bar

    given = {
        "steps": steps,
        "batch_size": batch_size,
        "crop_size": crop_size,
        "learning_rate": learning_rate,
        "crops": crops,
    }
    # None alone means "not given": a 0 is the user's, and refused by the options.
    chosen = {**DEFAULTS[layout], **{name: value for name, value in given.items() if value is not None}}
    options = TrainingOptions(
        variant=variant,
        classes=load_classes(classes),
        layout=layout,
        accumulate=accumulate,
        weight_decay=weight_decay,
        seed=seed,
        encoder_learning_rate=encoder_learning_rate,
        average=average,
        validate_every=validate_every,
        patience=patience,
        **chosen,
    )
    with progress_bar("looking at photos", "photos", hidden=quiet) as survey, training_bar(variant, quiet) as show:
        report = train(
            source,
            out,
            options,
            compute=Compute(threads=threads, amp=None if amp == "auto" else amp, channels_last=channels_last),
            prior=prior,
            init=init,
            validation=validation,
            data_source=data_source,
            device=device,
            compile_network=compile_network,
            workers=workers,
            save_every=save_every,
            log_every=log_every,
            panel_every=panel_every,
            resume=resume,
            overwrite=overwrite,
            max_unreadable=max_unreadable,
            decoding=make_decode_options(max_megapixels, convert_cmyk),
            on_survey=survey,
            on_compute=_say_nothing if quiet else _say_compute,
            on_step=show,
        )
    if not quiet:
        _say_report(report, variant, validated=validation is not None, stops_early=patience is not None)


def _say_report(report: TrainingReport, variant: str, *, validated: bool, stops_early: bool) -> None:
    """What was trained, on how much, and how good it is."""
    skipped = [
        f"{len(names)} {what}"
        for names, what in ((report.survey.gray, "gray"), (report.survey.unreadable, "unreadable"))
        if names
    ]
    click.echo(
        f"{report.weights}: {variant}, {counted(report.n_parameters, 'parameter')}, {counted(report.last_step, 'step')} on "
        f"{counted(len(report.survey.photos), 'photo')}" + (f" (skipped: {', '.join(skipped)})" if skipped else "")
    )
    if validated:
        metric = "rebalanced AuC" if VARIANTS[variant].rebalanced else "AuC"
        click.echo(
            f"best {metric} on the validation photos: {100 * report.best.score:.2f} after {counted(report.best.step, 'step')}"
            + ("; these are the weights" if stops_early else "")
        )


def _say_nothing(chosen: Compute, measured: Sequence[Speed]) -> None:
    """For --quiet."""


def _say_compute(chosen: Compute, measured: Sequence[Speed]) -> None:
    """How the arithmetic is done, and what that was chosen by."""
    rates = ", ".join(f"{speed.images_per_second:.0f} ({speed.compute})" for speed in measured)
    click.echo(f"computes with {chosen}" + (f"; images/s measured: {rates}" if measured else ""))


@contextmanager
def training_bar(title: str, hidden: bool) -> Iterator[Callable[[LogLine], None]]:
    """A bar with loss, images per second and time left on standard error; only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, state="", visible=False)

        def show(line: LogLine) -> None:
            state = f"loss {line.loss:.4f}, {line.images_per_second:.0f} images/s"
            if line.validation is not None:
                state += f", validation AuC {100 * line.validation.ab_auc:.2f}"
            bar.update(task, completed=line.step, total=line.steps, state=state, visible=True)

        yield show
