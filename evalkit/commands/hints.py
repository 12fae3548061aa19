"""The command ``evalkit hints``: deterministic colour hints from true photos."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import GivenPath
from evalkit.hints.protocols import PROTOCOLS
from evalkit.wording import counted

__all__ = ["hints_command"]


@click.command(short_help="Draw colour hints from true photos, for the methods that a user guides.")
@click.option("--input", "source", type=GivenPath(), required=True, metavar="DIR",
              help="Folder of true photos, searched with its sub-folders, or an address, as for score.")  # fmt: skip
@click.option("--output", "target", type=GivenPath(path_type=Path), required=True, metavar="DIR",
              help="Folder for the hints.")  # fmt: skip
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="random", show_default=True,
              help="Where hints are put; see above.")  # fmt: skip
@click.option("--count", "counts", default=None, metavar="K[,K...]",
              help="Hints of each photo; several numbers make a folder for each. Default: 10.")  # fmt: skip
@click.option("--patch", "side", type=int, default=None, metavar="PIXELS",
              help="Side of a patch, whose mean colour is given. Default: 7.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Which random places.")
@click.option("--overwrite", is_flag=True, help="Write over hints that are there; other files stay.")
def hints_command(
    source: str, target: Path, protocol: str, counts: str | None, side: int | None, seed: int, overwrite: bool
) -> None:
    """Draw colour hints from true photos: small patches whose true mean colour is given to a method.

    \b
      random     K places, anywhere with equal chance
      grid       K places on an even lattice
      regions    the middle of the K largest regions of nearly one colour
      zhang2017  as the user-guided network was trained: their number geometric
                 (p = 1/8), places normal about the centre, patches of 1 to 9 pixels

    \b
    evalkit hints --input photos/ --output hints/ --count 10
    evalkit colorize levin2004 --input photos/ --hints hints/ --output levin/

    \b
    evalkit hints --input photos/ --output hints/ --count 0,1,2,5,10,50,500
    makes hints/0, hints/1, ...; the first hints of random and regions are the
    same in each, so that a curve over their number is one of more of the same.

    \b
    For each photo:
      json/NAME.json    row, column, side, a, b of every patch: exact
      colour/NAME.png   the gray photo with the patches in their colour
      mask/NAME.png     white where a colour is given
    A method may read either. The same photos, names and options give the same files.
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from evalkit.colorizers.folder import check_folders
    from evalkit.errors import InputError
    from evalkit.hints.files import write_hint_folder
    from evalkit.hints.protocols import HintRecipe
    from evalkit.images.places import place_of
    from evalkit.progress import progress_bar

    if protocol == "zhang2017":
        if counts is not None or side is not None:
            raise InputError(
                "the protocol zhang2017 draws number and side of the patches itself: leave out --count, --patch"
            )
        recipes = {"": HintRecipe(protocol=protocol, count=None, side=None, seed=seed)}
    else:
        numbers = _numbers("10" if counts is None else counts)
        side = 7 if side is None else side
        drawn = {str(k): HintRecipe(protocol=protocol, count=k, side=side, seed=seed) for k in numbers}
        recipes = drawn if len(numbers) > 1 else {"": next(iter(drawn.values()))}
    place = place_of(source)
    check_folders(place, target, allow_content=overwrite)
    with progress_bar("hints", "photos") as show:
        n_photos = write_hint_folder(place, target, recipes, on_image=show)
    sets = f" in {counted(len(recipes), 'folder')}: {', '.join(recipes)}" if len(recipes) > 1 else ""
    click.echo(f"{target}: hints of {n_photos} photo{'' if n_photos == 1 else 's'} by {protocol}{sets}")


def _numbers(text: str) -> list[int]:
    from evalkit.errors import InputError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise InputError(f"--count is '{text}'; allowed are whole numbers from 0, separated by commas")
    return sorted({int(word) for word in words})
