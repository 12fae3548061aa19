"""The command ``evalkit colorize``: built-in methods and trained networks, written to folders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.colorizers.base import BUILTIN_METHODS
from evalkit.colorizers.classical.methods import CLASSICAL
from evalkit.colorizers.variants import PUBLISHED, VARIANTS
from evalkit.commands._shared import GivenPath, OutputFile

if TYPE_CHECKING:
    from evalkit.colorizers.folder import FolderReport

__all__ = ["colorize_command"]


@click.command("colorize", short_help="Colour a folder of photos with a built-in method or a trained network.")
@click.argument("method", metavar="METHOD", type=click.Choice([*BUILTIN_METHODS, *CLASSICAL, *VARIANTS, *PUBLISHED]))
@click.option(
    "--input",
    "source",
    type=GivenPath(),
    required=True,
    metavar="DIR",
    help="Folder of photos, searched with its sub-folders, or an address, as for 'evalkit score'.",
)
@click.option(
    "--output",
    "target",
    type=GivenPath(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the PNG files, which keep the names of the photos.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Who lends the colours (random); the samples.")
@click.option("--resume", is_flag=True, help="Keep images that are there, make the others.")
@click.option("--overwrite", is_flag=True, help="Write over images of the same names; other files stay.")
@click.option(
    "--weights",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="FILE",
    help="Checkpoint of the network; default: the small one that comes with evalkit.",
)
@click.option("--preset", default=None, metavar="seed2024|zhang2016|FILE", help="Ab classes that it must speak.")
@click.option(
    "--temperature",
    type=float,
    default=None,
    help="T of the annealed mean, 0 for the mode; default: that of its classes.",
)
@click.option("--lambda", "rebalancing", type=float, default=None,
              help="Weigh rare colours up as training with this lambda would (1: not at all); default: as trained.")  # fmt: skip
@click.option("--prior", type=GivenPath(path_type=Path), default=None, metavar="FILE",
              help="Class shares behind --lambda (prior.json of a training); default: those in the checkpoint.")  # fmt: skip
@click.option(
    "--network-size",
    type=int,
    default=None,
    metavar="PIXELS",
    help="Side of the network's input, a multiple of 8; default: what it was trained with.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=0,
    metavar="K",
    help="Draw K colorizations of each photo, into NAME/0.png, NAME/1.png, ...",
)
@click.option(
    "--coherence",
    type=float,
    default=0.25,
    show_default=True,
    help="How far neighbours agree in a sample: share of the photo's side.",
)
@click.option("--batch-size", type=int, default=16, show_default=True, help="Photos that go through together.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option("--hints", type=GivenPath(path_type=Path), default=None, metavar="DIR",
              help="Colour hints, for levin2004 and luan2007: a folder that 'evalkit hints' made.")  # fmt: skip
@click.option("--example", type=GivenPath(path_type=Path), default=None, metavar="FILE|DIR",
              help="Whose colours are taken, for welsh2002 and sousa2012: one photo, or the nearest of a folder.")  # fmt: skip
@click.option("--swatch", "swatches", multiple=True, metavar="T,L,H,W=T,L,H,W",
              help="Rectangle of the photo = rectangle of the example (top, left, height, width); for welsh2002.")  # fmt: skip
@click.option("--gallery", type=OutputFile("gallery.html", makes_folder=True), default=None, metavar="FILE",
              help="Write a page (HTML, one file) of the photos before and after.")  # fmt: skip
def colorize_command(
    method: str,
    source: str,
    target: Path,
    seed: int,
    resume: bool,
    overwrite: bool,
    weights: Path | None,
    preset: str | None,
    temperature: float | None,
    rebalancing: float | None,
    prior: Path | None,
    network_size: int | None,
    samples: int,
    coherence: float,
    batch_size: int,
    device: str,
    hints: Path | None,
    example: Path | None,
    swatches: tuple[str, ...],
    gallery: Path | None,
) -> None:
    """Colour every photo of a folder with METHOD.

    \b
      truth           the photo itself, as PNG
      gray            the photo's L, ab zero
      random          the photo's L with the ab of another photo of the folder: a
                      seeded permutation in which none keeps its own; a donor of
                      another size is resized first (bicubic, RGB)
      levin2004       colour hints (--hints), spread to where lightness is alike
      luan2007        colour hints (--hints), spread to where texture is alike
      welsh2002       colours of an example (--example), by lightness and texture
      sousa2012       colours learnt from an example (--example) by support vector
                      machines on local features, made coherent by a graph cut
      l2              a network that predicts ab
      l2-finetuned    the same, trained on from the classification network
      classification  a network that predicts a distribution over ab classes
      full            the same, with rare colours weighted up in training
      eccv16          the paper authors' released networks, from the file
      siggraph17      that you name with --weights

    A network sees the photo's L resized to its own size; its colours are brought to the photo's size and
    joined with the photo's own L. Photos may have any size, EXIF orientation, one channel or 16 bits.

    Colours are joined in CIE Lab, rounded to 8 bits and clipped into the sRGB gamut; the share of clipped
    pixels is printed at the end. The same names and seed give the same files.
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from evalkit.colorizers.folder import colorize_folder
    from evalkit.errors import InputError
    from evalkit.networks.options import check_device_name
    from evalkit.progress import progress_bar

    check_device_name(device)
    if resume and overwrite:
        raise InputError("--resume keeps the images that are there, --overwrite replaces them: say one.")
    if method not in CLASSICAL and (hints or example or swatches):
        raise InputError(f"'{method}' reads no hints and no example: leave out --hints, --example and --swatch.")
    numbers = (temperature, rebalancing, network_size)
    for_networks = weights or preset or samples or prior or any(number is not None for number in numbers)
    if (method in BUILTIN_METHODS or method in CLASSICAL) and for_networks:
        raise InputError(f"'{method}' has no network: leave out --weights, --preset, --samples and the like.")
    try:
        if method in CLASSICAL:
            report = _colorize_classically(
                method,
                source,
                target,
                hints=hints,
                example=example,
                swatches=swatches,
                seed=seed,
                resume=resume,
                overwrite=overwrite,
            )
        elif method in BUILTIN_METHODS:
            with progress_bar(method, "images") as show:
                report = colorize_folder(
                    method, source, target, seed=seed, resume=resume, overwrite=overwrite, on_image=show
                )
        else:
            from evalkit.color.ab_classes import load_classes
            from evalkit.needs import need_torch

            need_torch()
            from evalkit.colorizers.learned.learned_folder import Recipe, colorize_photos

            classes = None if preset is None else load_classes(preset)
            recipe = Recipe(
                method=method,
                weights=weights,
                classes=classes,
                temperature=temperature,
                input_size=network_size,
                samples=samples,
                coherence=coherence,
                seed=seed,
                rebalancing=rebalancing,
                prior=prior,
            )
            with progress_bar(method, "images") as show:
                report = colorize_photos(
                    recipe,
                    source,
                    target,
                    device=device,
                    batch_size=batch_size,
                    resume=resume,
                    overwrite=overwrite,
                    on_image=show,
                )
    except InputError:
        # One damaged scan must not cost the page of those that are coloured; the reason follows.
        if gallery is not None and target.is_dir():
            with suppress(InputError):
                _write_gallery(gallery, source, target, method)
        raise
    images = f"{report.n_made} image{'' if report.n_made == 1 else 's'}"
    kept = f", {report.n_kept} were there already" if report.n_kept else ""
    clipped = f"; {report.clip_rate:.3%} of the pixels clipped into the sRGB gamut" if report.n_made else ""
    click.echo(f"{target}: {images} by {method}{kept}{clipped}")
    if gallery is not None:
        _write_gallery(gallery, source, target, method)


def _write_gallery(gallery: Path, source: str, target: Path, method: str) -> None:
    from evalkit.colorizers.gallery import write_gallery

    shown = write_gallery(gallery, source, target, f"Coloured by {method}")
    click.echo(f"{gallery}: {shown} photos")


def _colorize_classically(
    method: str,
    source: str,
    target: Path,
    *,
    hints: Path | None,
    example: Path | None,
    swatches: tuple[str, ...],
    seed: int,
    resume: bool,
    overwrite: bool,
) -> FolderReport:
    """With one set of hints or an example; or with each set of a folder of numbers, into folders of those numbers."""
    from evalkit.colorizers.classical.folder import ClassicalRecipe, colorize_classically, hint_sets, parse_swatch
    from evalkit.colorizers.folder import FolderReport, UnreadPhotosError
    from evalkit.progress import progress_bar

    pairs = tuple(parse_swatch(text) for text in swatches)
    # Before hints are looked for: it refuses what does not go with the method.
    ClassicalRecipe(method=method, hints=hints, example=example, swatches=pairs, seed=seed)
    reports = []
    unread: UnreadPhotosError | None = None
    for number, folder in [("", None)] if hints is None else hint_sets(hints):
        recipe = ClassicalRecipe(method=method, hints=folder, example=example, swatches=pairs, seed=seed)
        with progress_bar(f"{method} {number}".strip(), "images") as show:
            try:
                reports.append(
                    colorize_classically(
                        recipe, source, target / number, resume=resume, overwrite=overwrite, on_image=show
                    )
                )
            except UnreadPhotosError as error:  # the same photos are damaged for every number of hints
                unread = unread or error
    if unread is not None:
        raise unread
    return FolderReport(
        sum(report.n_made for report in reports),
        sum(report.n_kept for report in reports),
        sum(report.n_pixels for report in reports),
        sum(report.n_clipped for report in reports),
    )
