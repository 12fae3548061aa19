"""The one error that a user's mistake raises: a plain sentence, never a traceback."""

from __future__ import annotations

from numbers import Integral

__all__ = ["InputError", "NoSuchResultError", "check_whole"]


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
