"""The command ``evalkit prior``: class shares of a photo set."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._decoding import decode_options, make_decode_options, max_unreadable_option
from evalkit.commands._shared import GivenPath, OutputFile
from evalkit.progress import progress_bar

__all__ = ["prior_command"]


@click.command("prior", short_help="Count the ab classes of a photo set.")
@click.option(
    "--input",
    "source",
    type=GivenPath(),
    default=None,
    metavar="DIR",
    help="Folder of photos, or an address, as for 'evalkit score'.",
)
@click.option(
    "--merge",
    "parts",
    multiple=True,
    type=GivenPath(path_type=Path),
    metavar="FILE",
    help="Add the counts of a file that this command wrote; repeat for more.",
)
@click.option(
    "--classes", default="zhang2016", show_default=True, metavar="zhang2016|seed2024|FILE", help="Ab classes."
)
@click.option("--out", required=True, type=OutputFile("prior.json"), metavar="FILE", help="File for the counts (JSON).")
@click.option("--figure", type=OutputFile("prior.pdf"), default=None, metavar="FILE",
              help="Draw the shares over the ab plane: a .pdf, .png or .svg file.")  # fmt: skip
@decode_options
@max_unreadable_option
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")  # fmt: skip
def prior_command(
    source: str | None,
    parts: tuple[Path, ...],
    classes: str,
    out: Path,
    figure: Path | None,
    max_megapixels: float | None,
    convert_cmyk: bool,
    max_unreadable: int,
    quiet: bool,
) -> None:
    """Count the ab classes of a photo set, for --prior and for training.

    \b
    evalkit prior --input photos/ --out prior.json
    evalkit prior --merge part1.json --merge part2.json --out prior.json
    evalkit prior --merge prior.json --out again.json --figure prior.pdf

    The figure is figure 3 (b) of Zhang et al. (2016) for photos of one's own: most colours are rare.

    A file that cannot be read is passed over, counted and named (on the screen and in FILE).
    """  # noqa: D301
    from evalkit.color.ab_classes import load_classes
    from evalkit.errors import InputError
    from evalkit.files import atomic_file
    from evalkit.metrics.prior_counts import PriorCounts, count_folder
    from evalkit.wording import N_NAMED, counted

    if source is None and not parts:
        raise InputError("nothing to count: give --input DIR, --merge FILE, or both")
    if figure is not None:
        from evalkit.metrics.prior_figure import check_prior_figure

        check_prior_figure(figure)
    counts = [PriorCounts.read(path) for path in parts]
    ab_classes = load_classes(classes)
    options = make_decode_options(max_megapixels, convert_cmyk)
    if source is not None:
        with progress_bar("counting", "photos", hidden=quiet) as show:
            counted_now = count_folder(source, ab_classes, show, max_unreadable=max_unreadable, options=options)
        counts.append(counted_now)
    total = counts[0]
    for part in counts[1:]:
        total = total.merge(part)
    if figure is not None:
        # First, since it refuses counts of other classes: then nothing is written.
        total.write_figure(figure, classes=ab_classes)
    with atomic_file(out) as file:
        file.write(total.to_json().encode())
    if not quiet:
        present = int((total.counts > 0).sum())
        click.echo(
            f"{out}: {counted(total.n_images, 'photo')}, {counted(int(total.counts.sum()), 'pixel')}, {present} of "
            f"{counted(len(total.counts), 'class', 'classes')} present"
        )
        if total.unreadable:
            click.echo(
                f"{counted(len(total.unreadable), 'file')} passed over, since unreadable: "
                f"{' '.join(total.unreadable[:N_NAMED])}"
                + (" ... (all in the file)" if len(total.unreadable) > N_NAMED else ""),
                err=True,
            )
