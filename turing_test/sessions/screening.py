"""Who passes the screen of colour vision (its plates: `turing_test.stimuli.plates`)."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.wording import counted

__all__ = ["MISTAKES_ALLOWED", "passes_screen"]

MISTAKES_ALLOWED = 1
"""Of the plates after the control: eyes without a defect misread one now and then."""


def passes_screen(expected: Sequence[str], answers: Sequence[str]) -> bool:
    """Whether answers to the plates pass.

    Parameters
    ----------
    expected : sequence of str
        The numbers, the control first.
    answers : sequence of str
        What was read, one a plate; "" for nothing. Blanks around a number do not count.

    Returns
    -------
    bool
        True when the control was read, and all other plates but at most one. A dichromat misses both plates of the
        missing cone.

    Raises
    ------
    ValueError
        When there is not one answer a plate.

    Examples
    --------
    >>> passes_screen(["23", "45", "57", "72", "34"], ["23", "45", "57", "", "34"])
    True
    >>> passes_screen(["23", "45", "57", "72", "34"], ["23", "", "57", "", "34"])
    False
    """
    if len(expected) != len(answers):
        raise ValueError(f"{counted(len(answers), 'answer')} to {counted(len(expected), 'plate')}")
    right = [number == answer.strip() for number, answer in zip(expected, answers, strict=True)]
    return right[0] and right[1:].count(False) <= MISTAKES_ALLOWED
