"""The one error that a user's mistake raises: a plain sentence, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from math import inf
from numbers import Integral, Real

__all__ = [
    "InputError",
    "NoSuchResultError",
    "check_choice",
    "check_flag",
    "check_kind",
    "check_path",
    "check_positive",
    "check_whole",
]


class InputError(ValueError):
    """Bad input: the message says what, where (file, row, key) and what is allowed.

    The command line prints the message as it stands and exits with status 2; Python callers catch it like any
    ``ValueError``. Every message ends in a full stop, which is put there where it is missing.

    >>> str(InputError("photos/a.png: has no pixels"))
    'photos/a.png: has no pixels.'
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if not text or text.endswith((".", "?", "!")) else f"{text}.")


class NoSuchResultError(InputError, KeyError):
    """A result was asked for by a name that it does not have; caught like any ``KeyError`` too."""

    __str__ = ValueError.__str__


def check_whole(name: str, value: object, least: int | None = None) -> None:
    """Refuse what is no whole number, or too small a one.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : object
        What was given.
    least : int, optional
        The smallest that is allowed.

    Raises
    ------
    InputError
        If `value` is of another type, or smaller.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
        bound = "" if least is None else f", at least {least},"
        raise InputError(f"{name} is {value!r}; a whole number{bound} is needed")


def check_positive(name: str, value: object) -> None:
    """Refuse what is no number above 0; NaN and infinity are none."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < inf:
        raise InputError(f"{name} is {value!r}; a number above 0 is needed")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither true nor false: a text, even "no", would count as true."""
    if not isinstance(value, Hashable) or value not in (True, False):
        raise InputError(f"{name} is {value!r}; True or False is needed")


def check_path(name: str, value: object) -> None:
    """Refuse what names no file or folder; an empty text, which Python takes for the current folder, names none."""
    check_kind(name, value, (str, os.PathLike), "a path")
    if value == "":
        raise InputError(f"{name} is empty; a file or folder is needed")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is none of some words."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], needed: str) -> None:
    """Refuse what is none of some types.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : object
        What was given.
    kinds : type or tuple of type
        Those that are allowed.
    needed : str
        What the sentence says of them, ``a path``.

    Raises
    ------
    InputError
        If `value` is of another type.
    """
    if not isinstance(value, kinds):
        raise InputError(f"{name} is {type(value).__name__}; {needed} is needed")
