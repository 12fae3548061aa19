"""The command ``evalkit datasets``: lists of the field's test images."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import GivenPath, OutputFile
from evalkit.wording import counted

__all__ = ["datasets_command"]


@click.group("datasets")
def datasets_command() -> None:
    """Rebuild the lists of published test sets."""


@datasets_command.command("ctest10k")
@click.option(
    "--labels",
    type=GivenPath(path_type=Path),
    required=True,
    metavar="FILE",
    help="Classes (0 to 999, by sorted synset id) of the 50,000 ImageNet validation photos: one per line in "
    "the order of the file names, or each after its file name as in Caffe's val.txt, or Kaggle's LOC_val_solution.csv.",
)
@click.option(
    "--out", type=OutputFile("ctest10k.txt"), required=True, metavar="FILE", help="The list, one name per line."
)
def ctest10k_command(labels: Path, out: Path) -> None:
    """Rebuild the list of 10,000 ImageNet validation photos that the field's tables are measured on.

    The list is checked against the published checksum before it is written.
    """
    from evalkit.datasets.ctest10k import CTEST10K_DIGEST, ctest10k
    from evalkit.datasets.labels import labels_of_validation_set
    from evalkit.errors import InputError
    from evalkit.files import atomic_file

    names = ctest10k(labels_of_validation_set(labels))
    try:
        # Whole or not at all: half a list would pass for a smaller test set.
        with atomic_file(out) as file:
            file.write("".join(f"{name}\n" for name in names).encode())
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"{out}: {counted(len(names), 'name')}, sha256 {CTEST10K_DIGEST}")
