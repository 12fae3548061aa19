"""The command ``evalkit colorize``: the built-in methods, written to folders."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.colorizers.base import BUILTIN_METHODS

__all__ = ["colorize"]


@click.command(short_help="Colour a folder of photos with a built-in method.")
@click.argument("method", type=click.Choice(BUILTIN_METHODS))
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of true photos, searched with its sub-folders.",
)
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the PNG files, which keep the names of the photos.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Who lends the colours (random).")
@click.option("--resume", is_flag=True, help="Keep images that are there, make the others.")
@click.option("--overwrite", is_flag=True, help="Write over images of the same names; other files stay.")
def colorize(method: str, source: Path, target: Path, seed: int, resume: bool, overwrite: bool) -> None:
    """Colour every photo of a folder with METHOD.

    \b
      truth    the photo itself, as PNG
      gray     the photo's L, ab zero
      random   the photo's L with the ab of another photo of the folder: a seeded
               permutation in which none keeps its own; a donor of another size
               is resized first (bicubic, RGB)

    Colours are joined in CIE Lab, rounded to 8 bits and clipped into the sRGB gamut; the share of clipped
    pixels is printed at the end. The same names and seed give the same files.
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from evalkit.errors import InputError

    if resume and overwrite:
        raise InputError("--resume keeps the images that are there, --overwrite replaces them: say one.")

    from evalkit.colorizers.folder import colorize_folder
    from evalkit.commands._shared import progress_bar

    with progress_bar(method, "images") as show:
        report = colorize_folder(method, source, target, seed=seed, resume=resume, overwrite=overwrite, on_image=show)
    images = f"{report.n_made} image{'' if report.n_made == 1 else 's'}"
    kept = f", {report.n_kept} were there already" if report.n_kept else ""
    clipped = f"; {report.clip_rate:.3%} of the pixels clipped into the sRGB gamut" if report.n_made else ""
    click.echo(f"{target}: {images} by {method}{kept}{clipped}")
