"""The columns of the trial table, declared once, and what it means to be fooled; no arrays, so that a server can import it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "COLUMNS",
    "PLACES",
    "POSITIONS",
    "SUSPECT_FLAGS",
    "TRUTH",
    "Column",
    "Preset",
    "column_meaning",
    "is_fooled",
]

Preset = Literal["real-vs-fake", "preference", "naturalness", "rating"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the trial table.

    Attributes
    ----------
    name : str
        Its name in the header.
    meaning : str
        One sentence for the documentation.
    kind : {"text", "number"}
        How entries are read; an empty entry is missing.
    choices : tuple of str
        Allowed entries; empty when any is.
    presets : tuple of str
        Presets that need it; empty when it is optional everywhere.
    """

    name: str
    meaning: str
    kind: Literal["text", "number"] = "text"
    choices: tuple[str, ...] = ()
    presets: tuple[Preset, ...] = ()


_ALL: tuple[Preset, ...] = ("real-vs-fake", "preference", "naturalness", "rating")
POSITIONS = ("first", "second")
"""Where an image of a pair may be, and which may be chosen."""

PLACES = (*POSITIONS, "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""Where an image of a choice among several may be, row by row."""

REAL_AMONG_SEVERAL = "real photo among several"
"""What was asked where people looked for the real photo among three or more images."""
TRUTH = "truth"
"""Name of the real photos where they are shown as methods are."""

SUSPECT_FLAGS = ("too_fast", "implausible", "not_fetched", "looked_again")
"""Flags of trials that no page of a study sends: scripts, or people with the developer's tools."""

COLUMNS: tuple[Column, ...] = (
    Column(name="participant", meaning="Label of the person.", presets=_ALL),
    Column(name="image", meaning="Name of the photo; the same for every method.", presets=_ALL),
    Column(
        name="method",
        meaning="The colorization method shown; may be empty for vigilance and catch trials.",
        presets=("real-vs-fake", "naturalness", "rating"),
    ),
    Column(name="method_first", meaning="Preference: the method shown first.", presets=("preference",)),
    Column(name="method_second", meaning="Preference: the method shown second.", presets=("preference",)),
    *(
        Column(name=f"method_{place}", meaning=f"Preference among several at once: the method in {place} place.")
        for place in PLACES[2:]
    ),
    Column(name="fooled", meaning="1 when the photo was taken for the fake, 0 when not, 0.5 for a tie.", kind="number"),
    Column(
        name="real_position",
        meaning="Where the real photo was; of several images (method_first, method_second, method_third ...) the place where the "
        "method is `truth`, and the answer is then the image taken for the real photo.",
        choices=PLACES,
    ),
    Column(
        name="response",
        meaning="The image chosen (real-vs-fake: as the fake; preference: as the more natural, or tie), or yes/no (naturalness).",
        choices=(*PLACES, "tie", "yes", "no"),
    ),
    Column(name="rating", meaning="A rating on any numeric scale.", kind="number"),
    Column(
        name="kind",
        meaning="What the trial is for; test when absent.",
        choices=("practice", "test", "vigilance", "catch"),
    ),
    Column(name="block", meaning="The block of images that the trial stood in; empty for practice."),
    Column(name="study", meaning="Name of the study; one per table."),
    Column(name="manifest", meaning="Digest of the study's stimuli; one per table."),
    Column(
        name="first_manifest",
        meaning="Digest of the stimuli of the first study, where a study adds methods to another one; tables that share it "
        "can be analysed together.",
    ),
    Column(
        name="shown_as",
        meaning="What files became for people, in the words of the field `size` of signatures: `256-warp-bicubic`.",
    ),
    Column(
        name="departures",
        meaning="What was shown and asked otherwise than the preset of the study has it; separated by `;`.",
    ),
    Column(
        name="presented",
        meaning='How the images of a trial were shown, in words that follow "people saw the images".',
    ),
    Column(name="platform", meaning="How the participant came; simulated ones never mix with people."),
    Column(name="session", meaning="Label of the session; one per participant."),
    Column(name="session_state", meaning="How the session ended."),
    Column(name="trial", meaning="Number of the trial within the session.", kind="number"),
    Column(
        name="response_ms",
        meaning="Time to the answer, milliseconds: from the question, or from the onset of the last image (`response_from`).",
        kind="number",
    ),
    Column(
        name="response_from",
        meaning="What response_ms counts from: question; onset where the answer may come while an image is seen.",
        choices=("question", "onset"),
    ),
    Column(name="first_shown_ms", meaning="Measured display time of the first image, milliseconds.", kind="number"),
    Column(name="second_shown_ms", meaning="Measured display time of the second image, milliseconds.", kind="number"),
    Column(name="flags", meaning="Timing flags, separated by spaces, commas or semicolons."),
    Column(
        name="excluded",
        meaning="1 when a rule of the study file excludes the trial.",
        choices=("0", "1", "true", "false"),
    ),
    Column(name="exclusion_rule", meaning="The name of that rule."),
)
"""Columns that are read; others are kept as text."""


def column_meaning(name: str) -> str:
    """The sentence about a column.

    Raises
    ------
    KeyError
        When no column is read under this name.
    """
    return {column.name: column.meaning for column in COLUMNS}[name]


def is_fooled(response: Any, real_position: Any) -> Any:
    """Whether the photo was taken for the fake: the question is which image has fake colours, and the real one was chosen.

    The one definition, for single answers, for arrays (shape (n,), elementwise) and for columns of a database query.

    Parameters
    ----------
    response : str, ndarray of str, or SQL expression
        The image chosen as the fake: ``first`` or ``second``; entries without an answer are the caller's matter.
    real_position : as response
        Where the real photo was.

    Returns
    -------
    bool, ndarray of bool, or SQL expression

    Examples
    --------
    >>> is_fooled("first", "first"), is_fooled("first", "second")
    (True, False)
    """
    return response == real_position
