"""The texts of the participant's page, one file per language, and those that a study has of its own."""

from __future__ import annotations

import hashlib
import json
import string
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.wording import error_reason

__all__ = [
    "OWN_TEXTS",
    "check_language",
    "check_several",
    "check_texts",
    "direction",
    "format_texts",
    "languages",
    "own_asking_digest",
    "own_texts_digest",
    "own_texts_path",
    "read_texts",
]

REFERENCE = "en"
OWN_TEXTS = "texts"
"""Folder of a study's own texts, in the study folder: one file per language."""

ASKING = ("answer", "feedback", "instructions", "question")
"""Tables of texts that are part of what is asked; the others may change while a study runs."""

OPTIONAL = {"page.broken_load", "page.decimal_point"}
"""What texts in another language may leave out; it is then as in English."""

LONGEST = {
    "page.decimal_point": 1,
    "answer.key_": 3, "answer.": 20, "feedback.real": 16, "feedback.fake": 16, "page.practice": 16, "page.test": 16,
    "page.of": 8, "feedback.": 40, "question.": 90, "count.": 60, "finish.": 200, "page.withdraw": 40,
}  # fmt: skip
"""Characters of texts that have little room: two lines of the question, the buttons and verdicts on the images, the line of
progress; 360 CSS pixels wide. The first that fits a text's name counts."""

LONGEST_TEXT = 5000

RIGHT_TO_LEFT = frozenset({
    "ar", "arc", "ckb", "dv", "fa", "he", "iw", "mzn", "nqo", "pnb", "prs", "ps", "sd", "syr", "ug", "ur", "yi",
})  # fmt: skip
"""Codes of languages that are written from right to left where no script is named."""

RIGHT_TO_LEFT_SCRIPTS = frozenset({"Adlm", "Arab", "Hebr", "Nkoo", "Rohg", "Syrc", "Thaa"})
"""Codes (ISO 15924) of scripts that are."""

SEVERAL = "several"
"""In the names of texts that only studies show whose trials are choices among several; other studies need not have them."""


def languages(folder: Path | None = None) -> list[str]:
    """Languages that the page speaks, as codes such as ``en``.

    Parameters
    ----------
    folder : Path, optional
        A study folder, whose own languages count as well.

    Returns
    -------
    list of str
        Sorted.
    """
    names = [file.name for file in resources.files(__name__).iterdir()]
    if folder is not None and (folder / OWN_TEXTS).is_dir():
        names += [file.name for file in (folder / OWN_TEXTS).iterdir()]
    return sorted({name.removesuffix(".toml") for name in names if name.endswith(".toml")})


def direction(language: str) -> str:
    """Which way a language is written, as HTML says it: ``rtl`` or ``ltr``.

    Examples
    --------
    >>> direction("ar-EG"), direction("az-Arab"), direction("de")
    ('rtl', 'rtl', 'ltr')
    """
    code, _, variety = language.partition("-")
    script = variety.title() if len(variety) == 4 and variety.isalpha() else ""
    return "rtl" if (script in RIGHT_TO_LEFT_SCRIPTS if script else code in RIGHT_TO_LEFT) else "ltr"


def own_texts_path(folder: Path, language: str) -> Path:
    """Where a study keeps texts of its own in a language."""
    return folder / OWN_TEXTS / f"{language}.toml"


def check_language(language: str, folder: Path | None = None) -> None:
    """Refuse a language that neither the toolkit nor the study has texts of.

    Raises
    ------
    InputError
        Naming the languages there are.
    """
    available = languages(folder)
    if language in available:
        return
    own = "" if folder is None else f", or any whose texts stand in {own_texts_path(folder, language)}"
    raise InputError(
        f"language is {language!r}, and there are no texts of it; allowed are {', '.join(available)}{own}."
    )


def read_texts(language: str, folder: Path | None = None) -> dict[str, Any]:
    """Read all texts of one language.

    Parameters
    ----------
    language : str
        One of `languages`.
    folder : Path, optional
        A study folder. Texts in its ``texts/LANGUAGE.toml`` go before those of the toolkit; a language that the toolkit does
        not have must be there in full.

    Returns
    -------
    dict
        Tables of texts (str, or list of str for paragraphs) as in ``en.toml``.

    Raises
    ------
    InputError
        An unknown language; a file of texts that cannot be read, lacks a text, has one that is not shown, fills in something
        else, or has a text too long for a narrow screen. The text is named.
    """
    check_language(language, folder)
    shipped = _read(language) if language in languages() else {}
    texts, where = shipped, f"{language}.toml"
    if folder is not None and (path := own_texts_path(folder, language)).is_file():
        own, where = _read_own(path), str(path)
        check_texts(own, _read(REFERENCE), where, complete=not shipped)
        texts = _merged(shipped, own)
    check_texts(texts, _read(REFERENCE), where)
    return texts


def format_texts(texts: Mapping[str, Any]) -> str:
    """Texts as a file that `read_texts` reads: one section per table.

    Examples
    --------
    >>> print(format_texts({"answer": {"yes": "Oui"}}), end="")
    [answer]
    yes = "Oui"
    """
    sections: list[str] = []

    def write(name: str, table: Mapping[str, Any]) -> None:
        # JSON's strings and arrays of strings are TOML as well, but for DEL, which no text has.
        lines = [
            f"{key} = {json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, list) else None)}"
            for key, value in table.items()
            if not isinstance(value, Mapping)
        ]
        if lines:
            sections.append("\n".join([f"[{name}]", *lines]) + "\n")
        for key, value in table.items():
            if isinstance(value, Mapping):
                write(f"{name}.{key}" if name else key, value)

    write("", texts)
    return "\n".join(sections)


def own_texts_digest(folder: Path, language: str) -> str:
    """SHA-256 (hex) of a study's own texts in a language; "" where it has none."""
    path = own_texts_path(folder, language)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def own_asking_digest(folder: Path, language: str) -> str:
    """The same of those that are part of what is asked: question, answers, instructions and feedback.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    path = own_texts_path(folder, language)
    own = _read_own(path) if path.is_file() else {}
    asking = {table: own[table] for table in ASKING if table in own}
    return hashlib.sha256(json.dumps(asking, sort_keys=True).encode()).hexdigest() if asking else ""


def check_texts(texts: Mapping[str, Any], reference: Mapping[str, Any], where: str, *, complete: bool = True) -> None:
    """Check that a translation has the texts of the reference, with the same words to fill in.

    Parameters
    ----------
    texts, reference : mapping
        Tables of texts.
    where : str
        Name of the translation's file, for messages.
    complete : bool, default True
        Whether all texts must be there.

    Raises
    ------
    InputError
        Naming the first text that is missing, unknown, of another form, too long, or differs in what is filled in.
    """
    ours, theirs = dict(_flat(texts)), dict(_flat(reference))
    for key in sorted(theirs.keys() - ours.keys() - OPTIONAL) if complete else ():
        if SEVERAL not in key:
            raise InputError(f"{where}: has no text {key}; {REFERENCE}.toml shows what it should say.")
    for key in sorted(ours.keys() - theirs.keys()):
        raise InputError(f"{where}: knows a text {key} that the page does not show; check the spelling.")
    for key, value in ours.items():
        text = _checked_form(where, key, value, theirs[key])
        try:
            fields, wanted = _fields(text), _fields(_joined(theirs[key]))
        except ValueError as error:
            raise InputError(
                f"{where}: {key} has a brace that fills in nothing ({error}); write {{{{ for a brace."
            ) from None
        if fields - wanted or (wanted - fields and not key.startswith("consent.")):
            raise InputError(
                f"{where}: {key} fills in {', '.join(sorted(fields)) or 'nothing'}; allowed is "
                f"{', '.join(sorted(wanted)) or 'nothing'}."
            )


def check_several(texts: Mapping[str, Any], where: str, preset: str) -> None:
    """Check that texts hold those for a choice among several, of this preset.

    Raises
    ------
    InputError
        Naming the first that is missing.
    """
    needed = (f".{preset}_{SEVERAL}", f".keys_{SEVERAL}")
    absent = dict(_flat(_read(REFERENCE))).keys() - dict(_flat(texts)).keys()
    missing = sorted(key for key in absent if any(name in key for name in needed))
    if missing:
        raise InputError(
            f"{where}: has no text {missing[0]}, which a study with more than 2 alternatives shows; {REFERENCE}.toml shows what "
            "it should say."
        )


def _checked_form(where: str, key: str, value: object, reference: object) -> str:
    """One text as it is looked through; refuses what is no text, or is too long for its place."""
    is_list = isinstance(reference, list)
    parts: list[Any] = value if isinstance(value, list) else [value]
    if (
        isinstance(value, list) != is_list
        or not parts
        or not all(isinstance(part, str) and part.strip() for part in parts)
    ):
        form = "a list of texts" if is_list else "a text"
        raise InputError(f"{where}: {key} is {str(value)[:60]!r}; allowed is {form}, none of them empty.")
    if key.startswith("count.") and len(parts) != 2:
        raise InputError(f"{where}: {key} has {len(parts)} forms; allowed are two, for 1 and for other numbers.")
    longest = next((limit for prefix, limit in LONGEST.items() if key.startswith(prefix)), LONGEST_TEXT)
    for part in parts:
        if len(part) > longest:
            raise InputError(
                f"{where}: {key} has {len(part)} characters; allowed are {longest}, so that it has room on a narrow screen."
            )
    return _joined(value)


def _joined(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the texts of the other in their places."""
    merged = dict(base)
    for key, value in own.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _read(language: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _read_own(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a file of texts ({error_reason(error)}).") from None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _fields(text: str) -> set[str]:
    """What a text fills in, with whatever stands behind the name: only the names themselves are allowed."""
    return {
        f"{field}{'!' + how if how else ''}{':' + form if form else ''}" or "{}"
        for _, field, form, how in string.Formatter().parse(text)
        if field is not None
    }
