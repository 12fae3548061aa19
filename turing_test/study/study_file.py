"""The study file ``study.toml``: every option with a comment that says what it does and what is allowed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.wording import unknown_name
from turing_test.study.protocol import SECTIONS, Option, Protocol, options

__all__ = ["format_protocol", "parse_protocol", "read_protocol"]


def read_protocol(path: Path) -> Protocol:
    """Read a study file.

    Parameters
    ----------
    path : Path
        A TOML file with the sections of `turing_test.study.protocol.SECTIONS`. Keys that are absent have the value of
        the preset.

    Returns
    -------
    Protocol

    Raises
    ------
    InputError
        When the file cannot be read or is no TOML; unknown sections and keys, keys in the wrong section, wrong
        types, impossible combinations. The message names file, key and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a study file ({error}).") from None
    try:
        return parse_protocol(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, brackets without end
        raise InputError(f"{path}: is no valid TOML ({error}).") from None


def parse_protocol(text: str) -> Protocol:
    """Read the text of a study file; as `read_protocol`, without the file's name in messages."""
    by_name = {option.name: option for option in options()}
    found: dict[str, Any] = {}
    for name, value in tomllib.loads(text).items():
        if not isinstance(value, dict):
            _take("", name, value, by_name, found)
            continue
        if name not in SECTIONS:
            raise InputError(unknown_name("section", name, [section for section in SECTIONS if section]))
        for key, inner in value.items():
            _take(name, key, inner, by_name, found)
    preset = found.pop("preset", "zhang2016")
    by_name["preset"].check(preset)
    return Protocol.of_preset(preset, **found)


def _take(section: str, name: str, value: object, by_name: dict[str, Option], found: dict[str, Any]) -> None:
    where = f"section [{section}]" if section else "the top of the file, before any [section]"
    if name not in by_name:
        here = [option.name for option in by_name.values() if option.section == section]
        raise InputError(f"in {where}, {unknown_name('key', name, here)}")
    belongs = by_name[name].section
    if belongs != section:
        right = f"section [{belongs}]" if belongs else "the top of the file, before any [section]"
        raise InputError(f"the key '{name}' stands in {where}; allowed is {right}.")
    found[name] = tuple(value) if isinstance(value, list) else value


def format_protocol(protocol: Protocol) -> str:
    """Write a study file: every option with a comment.

    Parameters
    ----------
    protocol : Protocol

    Returns
    -------
    str
        TOML; `parse_protocol` gives back an equal protocol.
    """
    lines = [
        "# A study of the timed real-vs-fake test. Every option is here; after a change run",
        "# `evalkit study create` again, which says what changed. Once answers exist the file stays as it is.",
    ]
    for section, comment in SECTIONS.items():
        if section:
            lines += ["", f"[{section}]", *_comment(comment)]
        for option in options():
            if option.section == section:
                meaning = option.meaning
                if option.kind is int or option.pattern is not None:
                    meaning += f"\nAllowed: {option.allowed}."
                lines += ["", *_comment(meaning), f"{option.name} = {_toml(getattr(protocol, option.name))}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def _toml(value: object) -> str:
    # JSON's booleans, integers, strings and arrays of strings are TOML as well, but for DEL, which no option allows.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
