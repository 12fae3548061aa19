"""The value of ``--method``, the same for every command that takes folders of methods."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evalkit.colorizers.base import BUILTIN_METHODS
from evalkit.errors import InputError
from evalkit.images.image_pairs import check_method_name
from evalkit.images.places import ImagePlace, place_of, with_home
from evalkit.wording import unknown_name

__all__ = ["parse_method_option", "parse_method_options", "parse_method_places"]


def parse_method_option(text: str) -> tuple[str, Path | None]:
    """Read the value of ``--method``.

    Parameters
    ----------
    text : str
        ``NAME=DIR``, or the name of a built-in method.

    Returns
    -------
    name : str
    folder : Path or None
        None for a built-in method. A leading ``~`` is expanded (shells leave it after ``NAME=``).

    Raises
    ------
    InputError
        An unknown built-in method, a name that `check_method_name` refuses, or no folder after the ``=``.

    Examples
    --------
    >>> parse_method_option("gray")
    ('gray', None)
    >>> parse_method_option("ours v2=out")[0]
    'ours v2'
    """
    name, folder = _name_and_folder(text)
    return name, None if folder is None else with_home(folder)


def _name_and_folder(text: str) -> tuple[str, str | None]:
    name, equals, folder = text.partition("=")
    if equals:
        check_method_name(name)
        if not folder:
            raise InputError(f"--method {text}: no folder after the '='; write NAME=DIR.")
        return name, folder
    if name in BUILTIN_METHODS:
        return name, None
    raise InputError(
        f"--method {text}: {unknown_name('built-in method', name, BUILTIN_METHODS)} For a folder write NAME=DIR."
    )


def parse_method_options(texts: Iterable[str]) -> dict[str, Path | None]:
    """Read all values of ``--method``.

    Returns
    -------
    dict of str to Path or None
        Folder by name, in the order of the command line.

    Raises
    ------
    InputError
        As `parse_method_option`, and when a name is given twice.
    """
    return {name: None if folder is None else with_home(folder) for name, folder in _named_folders(texts).items()}


def parse_method_places(texts: Iterable[str], cache: Path | None = None) -> dict[str, Path | ImagePlace | None]:
    """As `parse_method_options`, for commands that read images from anywhere: folders, or addresses of other places."""
    return {name: None if place is None else place_of(place, cache) for name, place in _named_folders(texts).items()}


def _named_folders(texts: Iterable[str]) -> dict[str, str | None]:
    folders: dict[str, str | None] = {}
    for text in texts:
        name, folder = _name_and_folder(text)
        if name in folders:
            raise InputError(f"--method {text}: the name '{name}' is given twice; each method needs one of its own.")
        folders[name] = folder
    return folders
