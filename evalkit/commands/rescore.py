"""The command ``evalkit rescore``: a finished run under another prior, lambda, quadrature or on a subset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from evalkit.commands._shared import AbChoices, OutputChoices, ab_options, output_options

__all__ = ["rescore_command"]


@dataclass(frozen=True, kw_only=True)
class RescoreChoices(AbChoices, OutputChoices):
    """The options of ``evalkit rescore`` as they were given."""

    source: Path
    out: Path | None
    images: Path | None
    n_bootstrap: int | None


@click.command("rescore", short_help="Recompute scores under another prior, lambda, quadrature or subset.")
@click.argument("source", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder for the new results (without statistics); by default only the table is printed.",
)
@ab_options
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Text file with the names of the images to keep, one per line, without extension.",
)
@click.option("--bootstrap", "n_bootstrap", type=int, default=None, help="Replicates; by default as in the run.")
@output_options  # fmt: skip
def rescore_command(**given: Any) -> None:
    """Recompute the scores of a finished run from its statistics, without the images.

    OUT is the --out folder of 'evalkit score'. The ab classes stay those of the run.
    """
    from evalkit.errors import InputError
    from evalkit.scoring.record import RunRecord
    from evalkit.scoring.score_table import print_scores
    from evalkit.scoring.scores import summarise

    choices = RescoreChoices(**given)
    out = choices.out
    record = RunRecord.from_json(choices.source / "run.json")
    record = replace(
        record,
        options=choices.ab_error_options(record.options.classes),
        n_bootstrap=record.n_bootstrap if choices.n_bootstrap is None else choices.n_bootstrap,
    )
    keep = None if choices.images is None else _read_names(choices.images)
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not an empty folder; choose a new folder for --out")
    scores = summarise(choices.source / "statistics", record, keep)
    if out is not None:
        scores.write(out)
    print_scores(scores, as_json=choices.as_json, quiet=choices.quiet, folder=None if out is None else str(out))


def _read_names(path: Path) -> frozenset[str]:
    from evalkit.errors import InputError

    try:
        names = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a text file of image names ({error})") from None
    if not names:
        raise InputError(f"{path}: holds no image names; one per line is expected")
    return names
