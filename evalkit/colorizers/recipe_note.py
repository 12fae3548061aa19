"""The note in a folder of colorizations that says how its pictures were made, so that a resumed run mixes none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

__all__ = ["NOTE", "refuse_other_recipe", "write_recipe_note"]

NOTE = "colorization.json"
"""File in the output folder."""


def refuse_other_recipe(target: Path, record: Mapping[str, Any]) -> None:
    """Refuse to go on in a folder whose pictures were made by another recipe; a folder without a note is fine.

    Parameters
    ----------
    target : Path
        Folder of the pictures.
    record : mapping
        What decides the pictures, as JSON holds it.

    Raises
    ------
    InputError
        If the note says otherwise (the first field that differs is named), or cannot be read.
    """
    path = target / NOTE
    if not path.is_file():
        return
    try:
        before = dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a note of 'evalkit colorize' ({error_reason(error)})") from None
    differing = [key for key in {**before, **record} if before.get(key) != record.get(key)]
    if differing:
        key = differing[0]
        raise InputError(
            f"{target} was made with {key} {before.get(key)!r}, not {record.get(key)!r}: this run cannot be resumed; "
            "give another output folder, or --overwrite"
        )


def write_recipe_note(target: Path, record: Mapping[str, Any]) -> None:
    """Write the note, whole or not at all; the folder is made if absent."""
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / NOTE, json.dumps(record, indent=2) + "\n")
