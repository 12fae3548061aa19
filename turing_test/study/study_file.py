"""The study file ``study.toml``: every option with a comment that says what it does and what is allowed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.wording import error_reason, needs_package, unknown_name
from turing_test.study.protocol import RUNNING, SECTIONS, Option, Protocol, options

__all__ = ["edit_protocol", "format_protocol", "parse_protocol", "read_protocol"]


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
        raise InputError(f"{path}: cannot be read as a study file ({error_reason(error)}).") from None
    try:
        return parse_protocol(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, brackets without end
        raise InputError(f"{path}: is no valid TOML ({error}).") from None


def parse_protocol(text: str) -> Protocol:
    """Read the text of a study file; as `read_protocol`, without the file's name in messages."""
    by_name = {option.name: option for option in options()}
    values: dict[str, Any] = {}
    for name, value in tomllib.loads(text).items():
        if not isinstance(value, dict):
            _read_option("", name, value, by_name, values)
            continue
        if name not in SECTIONS:
            raise InputError(unknown_name("section", name, [section for section in SECTIONS if section]))
        for key, inner in value.items():
            _read_option(name, key, inner, by_name, values)
    preset = values.pop("preset", "zhang2016")
    by_name["preset"].check(preset)
    return Protocol.of_preset(preset, **values)


def _read_option(section: str, name: str, value: object, by_name: dict[str, Option], values: dict[str, Any]) -> None:
    if name not in by_name:
        allowed = [option.name for option in by_name.values() if option.section == section]
        raise InputError(f"in {_place(section)}, {unknown_name('key', name, allowed)}")
    right_section = by_name[name].section
    if right_section != section:
        raise InputError(f"the key '{name}' stands in {_place(section)}; allowed is {_place(right_section)}.")
    values[name] = tuple(value) if isinstance(value, list) else value


def _place(section: str) -> str:
    return f"section [{section}]" if section else "the top of the file, before any [section]"


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
        "# `evalkit study create` again, which says what changed. Once answers exist, what is asked stays as it is; options",
        "# marked 'may change while the study runs' may be corrected, and take effect when the server is started again.",
    ]
    for section, comment in SECTIONS.items():
        if section:
            lines += ["", f"[{section}]", *_comment(comment)]
        for option in options():
            if option.section == section:
                meaning = option.meaning
                if option.kind is int or option.pattern is not None:
                    meaning += f"\nAllowed: {option.allowed}."
                if option.name in RUNNING:
                    meaning += "\nMay change while the study runs."
                lines += ["", *_comment(meaning), f"{option.name} = {_toml(getattr(protocol, option.name))}"]
    return "\n".join(lines) + "\n"


def edit_protocol(text: str, protocol: Protocol) -> str:
    """Change the values of a study file that differ; comments, order and blank lines stay as their owner left them.

    Parameters
    ----------
    text : str
        A study file that `parse_protocol` takes.
    protocol : Protocol
        What it is to say.

    Returns
    -------
    str
        TOML; `parse_protocol` gives back `protocol`.

    Raises
    ------
    InputError
        When tomlkit is not installed, or the file's form cannot be kept.
    """
    try:
        import tomlkit
    except ImportError:
        raise InputError(needs_package("tomlkit", "a change that keeps the comments of study.toml", "study")) from None
    before = parse_protocol(text)
    document = tomlkit.parse(text)
    for option in options():
        value = getattr(protocol, option.name)
        if value == getattr(before, option.name):
            continue
        if option.section and option.section not in document:
            document.append(option.section, tomlkit.table())
        table: Any = document[option.section] if option.section else document
        table[option.name] = list(value) if isinstance(value, tuple) else value
    edited = tomlkit.dumps(document)
    if parse_protocol(edited) != protocol:
        raise InputError("its form cannot be kept while these options are changed; edit it by hand.")
    return edited


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def _toml(value: object) -> str:
    # JSON's booleans, integers, strings and arrays of strings are TOML as well, but for DEL, which no option allows.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
