"""The columns of the exported trial table: name, sentence and value of each stand in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from analysis.trials.columns import PLACES, column_meaning, is_fooled
from turing_test.sessions.further_images import read_further
from turing_test.sessions.right_answers import is_right
from turing_test.sessions.timing_flags import FLAGS
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import Study

__all__ = ["COLUMNS", "Column", "TrialRecord", "columns_of", "iso_time"]

PAIRS = ("zhang2016", "simultaneous", "preference", "simultaneous, several")
REAL_VS_FAKE = ("zhang2016", "simultaneous")
REAL_AMONG_SEVERAL = "simultaneous, several"
"""In place of a preset: of studies that look for the real photo among several, whose answers are no answers about a pair."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the database has it, and what is derived of its session.

    Attributes
    ----------
    study : Study
    row : mapping
        Columns of both tables, under ``session_…`` and ``trial_…``.
    state : str
        The session's, expiry by time included.
    rule : str or None
        The declared rule that leaves the session out.
    """

    study: Study
    row: Mapping[str, Any]
    state: str
    rule: str | None

    @cached_property
    def device(self) -> dict[str, Any]:
        """What the page found out about display and window."""
        stored: dict[str, Any] = json.loads(self.row["session_device"] or "{}")
        return stored

    def device_flag(self, name: str) -> int | None:
        """A yes or no of the device as 1 or 0; None where the page did not tell."""
        return None if self.device.get(name) is None else int(self.device[name])

    def shown_ms(self, side: str) -> float | None:
        """Measured time on screen of the first or the second image."""
        on, off = self.row[f"trial_{side}_on_ms"], self.row[f"trial_{side}_off_ms"]
        return None if on is None else round(off - on, 3)

    @property
    def onset_asynchrony_ms(self) -> float | None:
        """From the onset of the first image to that of the second."""
        first, second = self.row["trial_first_on_ms"], self.row["trial_second_on_ms"]
        return None if first is None or second is None else round(second - first, 3)

    @property
    def answered_while_shown(self) -> int | None:
        """1 when the answer came while the last image was seen, and ended it; None without an answer or display times."""
        protocol = self.study.protocol
        last = self.shown_ms("first" if protocol.images_per_trial == 1 else "second")
        if last is None or self.row["trial_response"] is None:
            return None
        return int(protocol.answer_ends and self.row["trial_response_ms"] <= last)

    @property
    def clock(self) -> str | None:
        """The weaker of the two clocks: presented only when the compositor timed all images of the trial."""
        first, second = self.row["trial_first_clock"], self.row["trial_second_clock"]
        return "frame" if "frame" in (first, second) else first

    def method_at(self, place: str | None) -> str | None:
        """The method in one of `analysis.trials.columns.PLACES`, of a trial with columns of methods by place."""
        if place not in PLACES:
            return None
        further = (image.method for image in read_further(self.row["trial_further"]))
        shown = (self.row["trial_method"], self.row["trial_other_method"], *further)
        return dict(zip(PLACES, shown, strict=False)).get(place)

    @property
    def block(self) -> str | None:
        """The block of the image; practice stands before the blocks."""
        return self.study.manifest.blocks.get(self.row["trial_image"]) if self.row["trial_phase"] == "test" else None

    @property
    def fooled(self) -> int | None:
        """1 or 0; None without an answer."""
        response, position = self.row["trial_response"], self.row["trial_real_position"]
        return None if response is None or position is None else int(is_fooled(response, position))

    @property
    def real_found(self) -> int | None:
        """Of a search for the real photo among several: 1 or 0; None without an answer."""
        response, position = self.row["trial_response"], self.row["trial_real_position"]
        return None if response is None else int(is_right(response, position, among_several=True))


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the exported table.

    Attributes
    ----------
    name : str
    kind : {"text", "integer", "number"}
    meaning : str
        For the data dictionary.
    value : callable
        From a `TrialRecord` to the cell; None is empty.
    presets : tuple of str
        Presets (or `REAL_AMONG_SEVERAL`) that have it; empty for all.
    least_images : int
        Only where a trial shows so many images.
    of_blocks : bool
        Only where the study has blocks of images.
    """

    name: str
    kind: Literal["text", "integer", "number"]
    meaning: str
    value: Callable[[TrialRecord], Any]
    presets: tuple[str, ...] = ()
    least_images: int = 1
    of_blocks: bool = False


def columns_of(protocol: Protocol) -> tuple[Column, ...]:
    """The columns that a study has."""
    asked = REAL_AMONG_SEVERAL if protocol.seeks_real else protocol.preset
    return tuple(
        column
        for column in COLUMNS
        if (not column.presets or asked in column.presets)
        and protocol.images_per_trial >= column.least_images
        and (protocol.block_list or not column.of_blocks)
    )


def iso_time(seconds: float | None) -> str | None:
    """Seconds since 1970 as UTC, ISO 8601, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stored(name: str) -> Callable[[TrialRecord], Any]:
    return lambda record: record.row[name]


def _of_device(name: str) -> Callable[[TrialRecord], Any]:
    return lambda record: record.device.get(name)


def _text(name: str, meaning: str, value: Callable[[TrialRecord], Any], presets: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind="text", meaning=meaning, value=value, presets=presets)


def _integer(name: str, meaning: str, value: Callable[[TrialRecord], Any], presets: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind="integer", meaning=meaning, value=value, presets=presets)


def _number(name: str, meaning: str, value: Callable[[TrialRecord], Any], presets: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind="number", meaning=meaning, value=value, presets=presets)


def _method_at(place: str) -> Callable[[TrialRecord], Any]:
    return lambda record: record.method_at(place)


_MEANING_OF_FLAGS = "Separated by blanks: " + " ".join(f"`{flag}`: {text}" for flag, text in FLAGS.items())

# fmt: off
COLUMNS = (
    _text("study", column_meaning("study"), lambda record: record.study.protocol.name),
    _text("platform", "How the participant came: link, mturk, prolific or simulated.", _stored("session_platform")),
    _integer("verified", "1 when a one-time link or Prolific's signature vouches for one person; 0 for an open link, and "
             "for ids of a platform that stand unsigned in an address and are claimed.",
             lambda record: int(record.row["session_verified"])),
    _text("session", "Random label of the session.", lambda record: f"s{record.row['session_label']}"),
    _text("participant", "Random label of the person; one session per person.",
          lambda record: f"p{record.row['session_label']}"),
    _text("method", column_meaning("method"), _stored("trial_method"), (*REAL_VS_FAKE, "naturalness")),
    _text("method_first", column_meaning("method_first"), _stored("trial_method"), ("preference",)),
    _text("method_second", column_meaning("method_second"), _stored("trial_other_method"), ("preference",)),
    *(Column(name=f"method_{place}", kind="text", meaning=column_meaning(f"method_{place}"), value=_method_at(place),
             presets=("preference",), least_images=count)
      for count, place in enumerate(PLACES[2:], start=3)),
    Column(name="method_chosen", kind="text", meaning="The method that was chosen among several; empty without an answer.",
           value=lambda record: record.method_at(record.row["trial_response"]), presets=("preference",), least_images=3),
    *(Column(name=f"method_{place}", kind="text", value=_method_at(place), presets=(REAL_AMONG_SEVERAL,), least_images=count,
             meaning=f"What stood in {place} place: a method, `truth` (the real photo), or `vigilance` or `catch` (the image that "
             "is obviously wrong; it fills all places but that of the real photo).")
      for count, place in enumerate(PLACES, start=1)),
    _text("method_chosen", "What was taken for the real photo: `truth`, or a method; empty without an answer.",
          lambda record: record.method_at(record.row["trial_response"]), (REAL_AMONG_SEVERAL,)),
    _text("image", column_meaning("image"), _stored("trial_image")),
    Column(name="block", kind="text", meaning=column_meaning("block"), value=lambda record: record.block, of_blocks=True),
    _integer("trial", "Number of the trial in the session, practice included, from 1.", _stored("trial_position")),
    _text("kind", "practice; test; vigilance (colours of another photo); catch (an obvious fake).",
          _stored("trial_kind")),
    _text("real_position", "Where the real photo was: first or second.", _stored("trial_real_position"), REAL_VS_FAKE),
    _text("real_position", "Where the real photo was, row by row: first, second, third and so on.",
          _stored("trial_real_position"), (REAL_AMONG_SEVERAL,)),
    _text("response", "The image taken for the real photo: its place, row by row; empty without an answer.",
          _stored("trial_response"), (REAL_AMONG_SEVERAL,)),
    _integer("real_found", "1 when the real photo was found, 0 when a colorization was taken for it (chance of 1 is 1 / images); "
             "empty without an answer.", lambda record: record.real_found, (REAL_AMONG_SEVERAL,)),
    _text("response", "The image taken for the fake: first or second; empty without an answer.",
          _stored("trial_response"), REAL_VS_FAKE),
    _text("response", "The image that looked more natural: first or second (of several the place, row by row); empty without "
          "an answer.",
          _stored("trial_response"), ("preference",)),
    _text("response", "Whether the colours looked natural: yes or no; empty without an answer.",
          _stored("trial_response"), ("naturalness",)),
    _integer("fooled", "1 when the real photo was taken for the fake, 0 when not; empty without an answer.",
             lambda record: record.fooled, REAL_VS_FAKE),
    _number("response_ms", column_meaning("response_ms"), _stored("trial_response_ms")),
    _text("response_from", column_meaning("response_from"),
          lambda record: "onset" if record.study.protocol.answer_ends else "question"),
    _integer("answered_while_shown", "1 when the answer came while the last image was seen, and ended it; 0 when not.",
             lambda record: record.answered_while_shown),
    _number("onset_asynchrony_ms", "From the onset of the first image to that of the second, milliseconds; 0 side by side.",
            lambda record: record.onset_asynchrony_ms, PAIRS),
    _number("first_shown_ms", column_meaning("first_shown_ms"), lambda record: record.shown_ms("first")),
    _number("second_shown_ms", column_meaning("second_shown_ms"), lambda record: record.shown_ms("second"), PAIRS),
    _integer("first_frames", "Animation frames during the first image.", _stored("trial_first_frames")),
    _integer("second_frames", "Animation frames during the second image.", _stored("trial_second_frames"), PAIRS),
    _number("first_gap_ms", "Longest time between two frames of the first image, milliseconds.",
            _stored("trial_first_gap_ms")),
    _number("second_gap_ms", "Longest time between two frames of the second image, milliseconds.",
            _stored("trial_second_gap_ms"), PAIRS),
    _text("clock", "Where the times come from: presented (the compositor's word for every image) or frame (animation "
          "frames).", lambda record: record.clock),
    _number("interval_ms", "Measured time between two frames of the display, milliseconds.",
            _stored("trial_interval_ms")),
    _number("refresh_hz", "Refresh rate measured at the beginning, hertz.", _stored("session_refresh_hz")),
    _number("device_pixel_ratio", "Physical pixels per CSS pixel.", _of_device("device_pixel_ratio")),
    _text("color_gamut", "Widest gamut that the display claims: srgb, p3, rec2020 or unknown.",
          _of_device("color_gamut")),
    _text("color_scheme", "What the system prefers: light, dark or unknown; the page is light.",
          _of_device("color_scheme")),
    _integer("forced_colors", "1 when the system forces colours upon pages.",
             lambda record: record.device_flag("forced_colors")),
    _integer("forced_dark", "1 when the browser or an extension darkened the page against its wish.",
             lambda record: record.device_flag("forced_dark")),
    _number("window_width", "Width of the window, CSS pixels.", _of_device("width")),
    _number("window_height", "Height of the window, CSS pixels.", _of_device("height")),
    _integer("touch", "1 for a touch screen.", lambda record: record.device_flag("touch")),
    _text("browser", "Family of the browser.", _of_device("user_agent_family")),
    _text("flags", _MEANING_OF_FLAGS, _stored("trial_flags")),
    _text("session_state", "completed, expired, screened_out, incompatible; practice or test while it goes on.",
          lambda record: record.state),
    _integer("excluded", "1 when a rule of the study file leaves the session out.",
             lambda record: int(record.rule is not None)),
    _text("exclusion_rule", "That rule.", lambda record: record.rule),
    _text("started_at", "When the trial began, UTC, ISO 8601.",
          lambda record: iso_time(record.row["trial_begun_at"])),
    _text("answered_at", "When the answer was stored, UTC, ISO 8601.",
          lambda record: iso_time(record.row["trial_answered_at"])),
    _text("shown_as", column_meaning("shown_as"), lambda record: record.study.protocol.shown_as),
    _text("departures", column_meaning("departures"), lambda record: "; ".join(record.study.protocol.departures)),
    _text("presented", column_meaning("presented"), lambda record: record.study.protocol.presented),
    _text("first_manifest", column_meaning("first_manifest"), lambda record: record.study.first_manifest),
    _text("manifest", "Digest of the study's stimuli.", lambda record: record.study.manifest.digest),
)
# fmt: on
"""Every column of every preset, in order."""
