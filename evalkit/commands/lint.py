"""The command ``evalkit lint``: known mistakes, before any number is computed."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._decoding import decode_options, make_decode_options
from evalkit.commands._shared import GivenPath
from evalkit.progress import progress_bar

__all__ = ["lint_command"]


@click.command("lint", short_help="Find mistakes in the folders before any number is computed.")
@click.option(
    "--truth",
    required=True,
    type=GivenPath(),
    metavar="DIR",
    help="Folder of true photos, or an address, as for score.",
)
@click.option(
    "--method",
    "methods",
    required=True,
    multiple=True,
    metavar="NAME=DIR",
    help="Folder or address of a method; repeat for more.",
)
@decode_options
@click.option("--strict", is_flag=True, help="Exit with status 2 on warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, with all images.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing; the exit status tells.")
def lint_command(
    truth: str,
    methods: tuple[str, ...],
    max_megapixels: float | None,
    convert_cmyk: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look for the mistakes that make scores wrong or incomparable.

    Missing and surplus files, images of another photo than their name says, truth and method swapped, sizes that differ,
    changed lightness, JPEG against PNG, grayscale true photos, copies, clipped colours. Exit status 0: nothing wrong, or
    warnings alone; 2: errors.
    """
    import json

    from evalkit.commands._methods import parse_method_places
    from evalkit.errors import InputError
    from evalkit.images.folder_lint import lint_folders
    from evalkit.images.places import ImagePlace
    from evalkit.scoring.workers import available_cores

    folders: dict[str, Path | ImagePlace] = {}
    for name, folder in parse_method_places(methods).items():
        if folder is None:
            raise InputError(f"--method {name}: lint looks at files; write NAME=DIR.")
        folders[name] = folder
    options = make_decode_options(max_megapixels, convert_cmyk)
    with progress_bar("looking", "images", hidden=quiet or as_json) as show:
        findings = lint_folders(truth, folders, workers=available_cores(), options=options, progress=show)
    if as_json:
        click.echo(json.dumps([{**vars(finding), "images": list(finding.images)} for finding in findings], indent=1))
    elif not quiet:
        for finding in findings:
            colour = "red" if finding.level == "error" else "yellow"
            click.echo(f"{click.style(finding.level, fg=colour)}: {finding.method}: {finding.message} [{finding.code}]")
        if not findings:
            click.echo("No mistakes found.")
    if any(finding.level == "error" or strict for finding in findings):
        raise SystemExit(2)
