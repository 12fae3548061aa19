"""The texts of the participant's page, one file a language."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from evalkit.errors import InputError

__all__ = ["check_texts", "languages", "read_texts"]

REFERENCE = "en"


def languages() -> list[str]:
    """Languages that the page speaks, as codes such as ``en``.

    Returns
    -------
    list of str
        Sorted.
    """
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_texts(language: str) -> dict[str, Any]:
    """Read all texts of one language.

    Parameters
    ----------
    language : str
        One of `languages`.

    Returns
    -------
    dict
        Tables of texts (str, or list of str for paragraphs) as in ``en.toml``.

    Raises
    ------
    InputError
        An unknown language, or a translation that lacks a text.
    """
    if language not in languages():
        raise InputError(
            f"language is {language!r}, and there are no texts of it; allowed are {', '.join(languages())}."
        )
    texts = _read(language)
    check_texts(texts, _read(REFERENCE), f"{language}.toml")
    return texts


def check_texts(texts: Mapping[str, Any], reference: Mapping[str, Any], where: str) -> None:
    """Check that a translation has the texts of the reference, with the same words to fill in.

    Parameters
    ----------
    texts, reference : mapping
        Tables of texts.
    where : str
        Name of the translation's file, for messages.

    Raises
    ------
    InputError
        Naming the first text that is missing, unknown or differs in what is filled in.
    """
    ours, theirs = dict(_flat(texts)), dict(_flat(reference))
    for key in sorted(theirs.keys() - ours.keys()):
        raise InputError(f"{where}: has no text {key}; {REFERENCE}.toml shows what it should say.")
    for key in sorted(ours.keys() - theirs.keys()):
        raise InputError(f"{where}: knows a text {key} that the page does not show; check the spelling.")
    for key, text in ours.items():
        fields, wanted = _fields(text), _fields(theirs[key])
        if fields != wanted:
            raise InputError(
                f"{where}: {key} fills in {', '.join(sorted(fields)) or 'nothing'}; allowed is "
                f"{', '.join(sorted(wanted)) or 'nothing'}."
            )


def _read(language: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, "\n".join(value) if isinstance(value, list) else value


def _fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
