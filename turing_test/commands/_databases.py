"""Which database is whose: ``--database URL`` for one study, ``--database NAME=URL`` where several are served."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from evalkit.errors import InputError

__all__ = ["from_environment", "of_environment", "of_one_study", "read_databases"]

VARIABLE = "EVALKIT_DATABASE"
_NAMED = re.compile(r"(?:([A-Za-z0-9._~-]+)=)?(\w+(?:\+\w+)?://\S.*)", re.DOTALL)


def from_environment() -> tuple[str, ...]:
    """What ``EVALKIT_DATABASE`` says: one URL, or several ``NAME=URL`` with spaces between."""
    text = os.environ.get(VARIABLE, "").strip()
    return tuple(re.split(r"\s+(?=[A-Za-z0-9._~-]+=\w+(?:\+\w+)?://)", text)) if text else ()


def read_databases(given: Iterable[str], folders: Mapping[str, Path]) -> dict[str, str]:
    """Databases by the names of studies.

    Parameters
    ----------
    given : iterable of str
        ``URL`` or ``NAME=URL``.
    folders : mapping of str to Path
        The studies that are served; "" names the only one.

    Raises
    ------
    InputError
        When it does not become clear whose a database is, or two studies would share one.
    """
    urls: dict[str, str] = {}
    for text in given:
        match = _NAMED.fullmatch(text)
        name, url = (match[1] or "", match[2]) if match else ("", text)
        if "" in folders and name in ("", folders[""].resolve().name):
            name = ""
        if name not in folders:
            shown = "a study" if not name else repr(name)
            raise InputError(
                f"--database names the database of {shown}, and the studies are {', '.join(filter(None, folders)) or folders['']}; "
                "allowed is NAME=URL with one of these names."
            )
        if name in urls:
            raise InputError(f"--database names two databases of {name or 'the study'}; allowed is one.")
        for other, taken in urls.items():
            if taken == url:
                raise InputError(f"--database gives {other} and {name} the same database; allowed is one for each.")
        urls[name] = url
    return urls


def of_environment(folder: Path) -> str | None:
    """The database that ``EVALKIT_DATABASE`` names for a study; None where it names none."""
    for text in from_environment():
        match = _NAMED.fullmatch(text)
        if match is None or match[1] in (None, folder.resolve().name):
            return text if match is None else match[2]
    return None


def of_one_study(context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Callback of an option ``--database`` of a command about one study: what is not given comes from the environment."""
    folder = context.params.get("study")
    return of_environment(folder) if value is None and folder is not None else value
