"""The command ``evalkit prior``: class shares of a photo set."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import progress_bar

__all__ = ["prior_command"]


@click.command("prior", short_help="Count the ab classes of a photo set.")
@click.option(
    "--input", "source", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Folder of photos."
)
@click.option(
    "--merge",
    "parts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Add the counts of a file that this command wrote; repeat for more.",
)
@click.option(
    "--classes", default="zhang2016", show_default=True, metavar="zhang2016|seed2024|FILE", help="Ab classes."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File for the counts (JSON)."
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")  # fmt: skip
def prior_command(source: Path | None, parts: tuple[Path, ...], classes: str, out: Path, quiet: bool) -> None:
    """Count the ab classes of a photo set, for --prior and for training.

    \b
    evalkit prior --input photos/ --out prior.json
    evalkit prior --merge part1.json --merge part2.json --out prior.json
    """  # noqa: D301
    from evalkit.color.ab_classes import load_classes
    from evalkit.errors import InputError
    from evalkit.files import atomic_file
    from evalkit.metrics.prior_counts import PriorCounts, count_folder

    if source is None and not parts:
        raise InputError("nothing to count: give --input DIR, --merge FILE, or both")
    counts = [PriorCounts.read(path) for path in parts]
    found = load_classes(classes)
    if source is not None:
        with progress_bar("counting", "photos", hidden=quiet) as show:
            counts.append(count_folder(source, found, show))
    total = counts[0]
    for part in counts[1:]:
        total = total.merge(part)
    with atomic_file(out) as file:
        file.write(total.to_json().encode())
    if not quiet:
        present = int((total.counts > 0).sum())
        click.echo(
            f"{out}: {total.n_images} photos, {int(total.counts.sum())} pixels, {present} of {len(total.counts)} classes "
            "present"
        )
