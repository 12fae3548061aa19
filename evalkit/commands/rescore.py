"""The command ``evalkit rescore``: a finished run under another prior, lambda, quadrature or on a subset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from evalkit.commands._shared import AbChoices, GivenPath, OutputChoices, ab_options, image_list_option, output_options

__all__ = ["rescore_command"]


@dataclass(frozen=True, kw_only=True)
class RescoreChoices(AbChoices, OutputChoices):
    """The options of ``evalkit rescore`` as they were given."""

    source: Path
    out: Path | None
    images: str | None
    n_bootstrap: int | None


@click.command("rescore", short_help="Recompute scores under another prior, lambda, quadrature or subset.")
@click.argument("source", type=GivenPath(path_type=Path), metavar="OUT")
@click.option(
    "--out",
    type=GivenPath(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder for the new results (without statistics); by default only the table is printed.",
)
@ab_options
@image_list_option
@click.option("--bootstrap", "n_bootstrap", type=int, default=None, help="Replicates; by default as in the run.")
@output_options  # fmt: skip
def rescore_command(**given: Any) -> None:
    """Recompute the scores of a finished run from its statistics, without the images.

    OUT is the --out folder of 'evalkit score'. The ab classes stay those of the run.
    """
    from evalkit.errors import InputError
    from evalkit.images.image_pairs import read_image_names
    from evalkit.scoring.record import RunRecord
    from evalkit.scoring.score_table import print_scores
    from evalkit.scoring.scores import summarise
    from evalkit.scoring.statistics_store import read_shard, shard_paths

    choices = RescoreChoices(**given)
    out = choices.out
    record = RunRecord.from_json(choices.source / "run.json")
    record = replace(
        record,
        options=choices.ab_error_options(record.options.classes),
        n_bootstrap=record.n_bootstrap if choices.n_bootstrap is None else choices.n_bootstrap,
    )
    statistics = choices.source / "statistics"
    keep = None
    if choices.images is not None:
        in_run = {
            name for shard in shard_paths(statistics) for name in read_shard(shard, ["image"])["image"].to_pylist()
        }
        keep = read_image_names(choices.images, in_run)
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not an empty folder; choose a new folder for --out")
    scores = summarise(statistics, record, keep)
    if out is not None:
        scores.write(out)
    print_scores(scores, as_json=choices.as_json, quiet=choices.quiet, folder=None if out is None else str(out))
