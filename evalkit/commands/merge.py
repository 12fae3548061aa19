"""The command ``evalkit merge``: finished runs joined into one."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import GivenPath, output_options

__all__ = ["merge_command"]


@click.command("merge", short_help="Join finished runs over different images or methods.")
@click.argument("sources", nargs=-1, required=True, type=GivenPath(path_type=Path), metavar="OUT1 OUT2 ...")
@click.option("--out", required=True, type=GivenPath(path_type=Path), metavar="DIR", help="Folder for the result.")
@output_options
def merge_command(sources: tuple[Path, ...], out: Path, as_json: bool, quiet: bool) -> None:
    """Join finished runs, without their images.

    Either the same methods over different images, or different methods over the same images. The result equals one run
    over everything.
    """
    from evalkit.scoring.merging import merge_runs
    from evalkit.scoring.score_table import print_scores

    print_scores(merge_runs(sources, out), as_json=as_json, quiet=quiet, folder=str(out))
