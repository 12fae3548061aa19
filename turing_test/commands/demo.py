"""The command ``evalkit demo``: from photos that everybody has to scores, a played study and one report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import click

from evalkit.commands._shared import GivenPath

__all__ = ["demo_command"]

RATES = {"mild": 0.45, "strong": 0.20, "full": 0.32}
"""How often the simulated observers take a method for the photo: what the analysis has to find again."""
OBSERVERS = 48
STUDY_NEEDS = ("flask", "sqlalchemy", "alembic", "granian", "scipy", "pandas", "jinja2")


@click.command("demo", short_help="The whole way on well-known photos: scores, a simulated study, a report.")
@click.option(
    "--out",
    type=GivenPath(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for images, scores and results; an earlier demo there is replaced, but answers never are.",
)
@click.option(
    "--photos",
    type=GivenPath(path_type=Path),
    metavar="DIR",
    help="Write nothing but the folders that the tutorials start from into this one: truth, mine, other.",
)
def demo_command(out: Path, photos: Path | None) -> None:
    """Show the whole way, from photos to one report.

    60 fixed crops of photos that ship with scikit-image and scikit-learn stand for the truth. A mild and a
    strong desaturation of them (a and b times 0.8 and 0.4) stand for colorization methods; where PyTorch is
    installed, the trained network that ships with evalkit colours them too. All are scored beside the anchors gray
    and random. Then simulated observers take the timed real-vs-fake test over HTTP, their
    answers are analysed, and everything goes into one report. Nothing is downloaded.
    """
    if photos is not None:
        _write_photos(photos)
        return
    from evalkit.commands._shared import run_command
    from evalkit.demo.demo_figure import draw_curves, require_matplotlib
    from evalkit.demo.photos import PHOTOS, write_folders
    from evalkit.needs import absent_packages
    from evalkit.progress import progress_bar
    from evalkit.wording import needs_package

    require_matplotlib()  # before any work, not after it
    click.echo(f"Cutting crops of {len(PHOTOS)} photos and desaturating them ...")
    with progress_bar("cutting", "crops") as show:
        n_crops = write_folders(out, show)

    def run(*arguments: str | Path) -> None:
        words = [str(word) for word in arguments]
        click.echo(f"\n$ evalkit {shlex.join(words)}\n")
        run_command(*words)

    names = ["mild", "strong"]
    if not absent_packages("torch"):
        run("colorize", "full", "--input", out / "truth", "--output", out / "full", "--overwrite")
        names.append("full")
    methods: list[str | Path] = []
    for name in names:
        methods += ["--method", f"{name}={out / name}"]
    anchors = ["--method", "gray", "--method", "random"]
    run("score", "--truth", out / "truth", *anchors, *methods, "--out", out / "scores", "--overwrite")
    draw_curves(out / "scores" / "curves.csv", out / "curves.png")
    click.echo(
        f"""
These intervals are too narrow: the {n_crops} crops come from {len(PHOTOS)} photos, and crops of one photo are
not independent. On a set of separate photos they mean what they say."""
    )
    absent = absent_packages(*STUDY_NEEDS)
    if absent:
        click.echo(f"\nThe study and the report are left out: {needs_package(absent[0], 'the whole way', 'demo')}")
    else:
        _play_study(run, out, names, methods)
    files = [
        (out / "curves.png", "the cumulative error curves"),
        (out / "scores", "summary.csv, per_image.parquet, curves.csv, run.json"),
    ]
    if not absent:
        files += [
            (out / "report" / "report.html", "everything in one page: open it in a browser"),
            (out / "answers", "trials.csv, one row per answer, and its data dictionary"),
        ]
    width = max(len(str(path)) for path, _ in files)
    click.echo("\n" + "\n".join(f"  {path!s:<{width}}   {what}" for path, what in files))
    if not absent:
        click.echo(
            f"""
The answers above come from simulated observers, not from people. Take the test yourself:

  evalkit study serve {out / "study"}"""
        )
    click.echo(
        """
Next, with folders of your own (the same file names in each):

  evalkit score --truth PHOTOS --method MINE=FOLDER --method gray --method random --out scores"""
    )


def _write_photos(folder: Path) -> None:
    from click.core import ParameterSource

    from evalkit.demo.photos import TUTORIAL_METHODS, write_tutorial_folders
    from evalkit.errors import InputError
    from evalkit.wording import counted

    if click.get_current_context().get_parameter_source("out") is not ParameterSource.DEFAULT:
        raise InputError(
            "--photos DIR writes folders of photos alone, --out DIR plays the whole demo: give one of the two."
        )
    names = write_tutorial_folders(folder)
    methods = " and ".join(str(folder / name) for name in TUTORIAL_METHODS)
    click.echo(
        f"Wrote {counted(len(names), 'photo')} into {folder / 'truth'}, two colorizations of each into {methods}."
    )


def _play_study(run: Callable[..., None], out: Path, names: list[str], methods: list[str | Path]) -> None:
    study, answers = out / "study", out / "answers"
    if study.exists():
        click.echo(f"\n{study} holds answers of an earlier demo: they are kept, and analysed.")
    else:
        run("study", "create", study, "--truth", out / "truth", *methods)
        told = ", ".join(f"{name} in {100 * RATES[name]:.0f} %" for name in names)
        click.echo(f"\n{OBSERVERS} simulated observers, who are told how often to take a method for the photo: {told}.")
        rates: list[str] = []
        for name in names:
            rates += ["--fool-rate", f"{name}={RATES[name]:g}"]
        run("study", "simulate", study, "--participants", str(OBSERVERS), *rates)
    run("study", "export", study, "--simulated", "--out", answers)
    run("analyze", answers / "trials.csv", "--out", out / "rates")
    folders = ["--truth", out / "truth", *methods]
    run("report", "--scores", out / "scores", "--trials", answers / "trials.csv", *folders, "--out", out / "report")
