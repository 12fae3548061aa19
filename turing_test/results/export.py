"""The trial table of a study, as `evalkit analyze` reads it, and the data dictionary beside it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from evalkit.files import write_atomically
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, package_version
from turing_test.sessions.snapshot import ACTIVE
from turing_test.sessions.timing_flags import FLAGS
from turing_test.sessions.validity import broken_rule, right_answers
from turing_test.study.study_folder import Study

__all__ = ["COLUMNS", "Column", "Exported", "columns_of", "export", "trial_rows"]

Format = Literal["csv", "parquet", "json"]
PAIRS = ("zhang2016", "simultaneous", "preference")
REAL_VS_FAKE = ("zhang2016", "simultaneous")


@dataclass(frozen=True)
class Column:
    """One column of the exported table.

    Attributes
    ----------
    name : str
    kind : {"text", "integer", "number"}
    meaning : str
        For the data dictionary.
    presets : tuple of str
        Presets that have it; empty for all.
    """

    name: str
    kind: Literal["text", "integer", "number"]
    meaning: str
    presets: tuple[str, ...] = ()


COLUMNS = (
    Column("study", "text", "Name of the study."),
    Column("platform", "text", "How the participant came: link, mturk, prolific or simulated."),
    Column("verified", "integer", "1 when a platform or a one-time link vouches for one person, 0 for an open link."),
    Column("session", "text", "Random label of the session."),
    Column("participant", "text", "Random label of the person; one session a person."),
    Column("method", "text", "The colorization method of the session.", (*REAL_VS_FAKE, "naturalness")),
    Column("method_first", "text", "The method shown first.", ("preference",)),
    Column("method_second", "text", "The method shown second.", ("preference",)),
    Column("image", "text", "Name of the photo."),
    Column("trial", "integer", "Number of the trial in the session, practice included, from 1."),
    Column("kind", "text", "practice; test; vigilance (colours of another photo); catch (an obvious fake)."),
    Column("real_position", "text", "Where the real photo was: first or second.", REAL_VS_FAKE),
    Column("response", "text", "The image taken for the fake: first or second; empty without an answer.", REAL_VS_FAKE),
    Column("response", "text", "The image that looked more natural: first or second; empty without an answer.", ("preference",)),
    Column("response", "text", "Whether the colours looked natural: yes or no; empty without an answer.", ("naturalness",)),
    Column("fooled", "integer", "1 when the real photo was taken for the fake, 0 when not; empty without an answer.", REAL_VS_FAKE),
    Column("response_ms", "number", "From the question to the answer, milliseconds."),
    Column("first_shown_ms", "number", "Measured time on screen of the first image, milliseconds."),
    Column("second_shown_ms", "number", "Measured time on screen of the second image, milliseconds.", PAIRS),
    Column("first_frames", "integer", "Animation frames during the first image."),
    Column("second_frames", "integer", "Animation frames during the second image.", PAIRS),
    Column("first_gap_ms", "number", "Longest time between two of those frames, milliseconds."),
    Column("second_gap_ms", "number", "Longest time between two of those frames, milliseconds.", PAIRS),
    Column("clock", "text", "Where the times come from: presented (the compositor's word for every image) or frame (animation frames)."),
    Column("interval_ms", "number", "Measured time between two frames of the display, milliseconds."),
    Column("refresh_hz", "number", "Refresh rate measured at the beginning, hertz."),
    Column("device_pixel_ratio", "number", "Physical pixels a CSS pixel."),
    Column("color_gamut", "text", "Widest gamut that the display claims: srgb, p3, rec2020 or unknown."),
    Column("color_scheme", "text", "What the system prefers: light, dark or unknown; the page is light."),
    Column("forced_colors", "integer", "1 when the system forces colours upon pages."),
    Column("window_width", "number", "Width of the window, CSS pixels."),
    Column("window_height", "number", "Height of the window, CSS pixels."),
    Column("touch", "integer", "1 for a touch screen."),
    Column("browser", "text", "Family of the browser."),
    Column("flags", "text", "Separated by blanks: " + " ".join(f"`{flag}`: {text}" for flag, text in FLAGS.items())),
    Column(
        "session_state", "text",
        "completed, expired, withdrawn, screened_out, incompatible; practice or test while it goes on.",
    ),
    Column("excluded", "integer", "1 when a rule of the study file leaves the session out, or the person has withdrawn."),
    Column("exclusion_rule", "text", "That rule."),
    Column("started_at", "text", "When the trial began, UTC, ISO 8601."),
    Column("answered_at", "text", "When the answer was stored, UTC, ISO 8601."),
    Column("manifest", "text", "Digest of the study's stimuli."),
)  # fmt: skip
"""Every column of every preset, in order."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes
    ----------
    files : tuple of Path
    trials, sessions : int
    simulated : bool
        Whether these are simulated participants; the two kinds are never in one table.
    left_out : int
        Sessions of the other kind, which are not in it.
    """

    files: tuple[Path, ...]
    trials: int
    sessions: int
    simulated: bool
    left_out: int


def columns_of(preset: str) -> tuple[Column, ...]:
    """The columns that studies of a preset have."""
    return tuple(column for column in COLUMNS if not column.presets or preset in column.presets)


def export(
    storage: Storage, study: Study, out: Path, *, file_format: Format = "csv", simulated: bool | None = None
) -> Exported:
    """Write ``trials.csv`` (or ``.parquet``, ``.json``) and ``data_dictionary.md``.

    Parameters
    ----------
    storage : Storage
    study : Study
    out : Path
        Folder, made if need be; files of these names are replaced.
    file_format : {"csv", "parquet", "json"}
    simulated : bool, optional
        Simulated participants instead of people; by default people, and simulated ones where there are no people.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        When there is nothing to export.
    """

    def work(connection: Connection) -> tuple[list[dict[str, Any]], Counter[bool], bool, Counter[str]]:
        kinds: Counter[bool] = Counter(
            dict(
                connection.execute(
                    sa.select(tables.session.c.simulated, sa.func.count())
                    .where(tables.session.c.method.is_not(None))
                    .group_by(tables.session.c.simulated)
                ).all()
            )
        )
        chosen = (not kinds[False]) if simulated is None else simulated
        states = Counter(
            connection.execute(sa.select(tables.session.c.state).where(tables.session.c.simulated == chosen)).scalars()
        )
        return list(trial_rows(connection, study, simulated=chosen)), kinds, chosen, states

    rows, kinds, chosen, states = storage.read(work)
    if not rows:
        who = "simulated participants" if chosen else "participants"
        raise InputError(f"{study.folder}: no trials of {who} yet, so there is nothing to export.")
    columns = columns_of(study.protocol.preset)
    out.mkdir(parents=True, exist_ok=True)
    data = {"csv": _csv, "parquet": _parquet, "json": _json}[file_format](columns, rows)
    table, dictionary = out / f"trials.{file_format}", out / "data_dictionary.md"
    write_atomically(table, data)
    write_atomically(dictionary, _dictionary(study, columns, states, table.name).encode())
    sessions = len({row["session"] for row in rows})
    return Exported((table, dictionary), len(rows), sessions, chosen, kinds[not chosen])


def trial_rows(connection: Connection, study: Study, *, simulated: bool) -> Iterator[dict[str, Any]]:
    """Records of all trials that were begun, by the names of `columns_of`, in order of session and trial."""
    session, trial = tables.session, tables.trial
    query = (
        sa.select(session, trial)
        .join_from(session, trial, trial.c.session_id == session.c.id)
        .where(session.c.simulated == simulated, trial.c.state != "pending", trial.c.position.is_not(None))
        .order_by(session.c.id, trial.c.position, trial.c.number)
        .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    right = right_answers(connection)
    names = [column.name for column in columns_of(study.protocol.preset)]
    now = datetime.now(UTC).timestamp()
    for row in connection.execute(query).mappings():
        record = _record(study, row, right.get(row["session_id"], {}), now)
        yield {name: record[name] for name in names}


def _record(study: Study, row: Any, right: dict[str, int], now: float) -> dict[str, Any]:
    protocol = study.protocol
    state = row["session_state"]
    if state in ACTIVE and now - row["session_updated_at"] > protocol.session_timeout_s:
        state = "expired"
    rule = None
    if state == "completed":
        rule = broken_rule(protocol, right)
    elif state == "withdrawn":
        rule = "withdrawn"
    device = json.loads(row["session_device"] or "{}")
    response, position = row["trial_response"], row["trial_real_position"]
    record: dict[str, Any] = {
        "study": protocol.name,
        "platform": row["session_platform"],
        "verified": int(row["session_verified"]),
        "session": f"s{row['session_label']}",
        "participant": f"p{row['session_label']}",
        "method": row["session_method"],
        "method_first": row["trial_method"],
        "method_second": row["trial_other_method"],
        "image": row["trial_image"],
        "trial": row["trial_position"],
        "kind": row["trial_kind"],
        "real_position": position,
        "response": response,
        "fooled": None if response is None or position is None else int(response == position),
        "response_ms": row["trial_response_ms"],
        "clock": _clock(row["trial_first_clock"], row["trial_second_clock"]),
        "interval_ms": row["trial_interval_ms"],
        "refresh_hz": row["session_refresh_hz"],
        "device_pixel_ratio": device.get("device_pixel_ratio"),
        "color_gamut": device.get("color_gamut"),
        "color_scheme": device.get("color_scheme"),
        "forced_colors": _flag(device.get("forced_colors")),
        "window_width": device.get("width"),
        "window_height": device.get("height"),
        "touch": _flag(device.get("touch")),
        "browser": device.get("user_agent_family"),
        "flags": row["trial_flags"],
        "session_state": state,
        "excluded": int(rule is not None),
        "exclusion_rule": rule,
        "started_at": _iso(row["trial_begun_at"]),
        "answered_at": _iso(row["trial_answered_at"]),
        "manifest": study.manifest.digest,
    }
    for side in ("first", "second"):
        on, off = row[f"trial_{side}_on_ms"], row[f"trial_{side}_off_ms"]
        record[f"{side}_shown_ms"] = None if on is None else round(off - on, 3)
        record[f"{side}_frames"] = row[f"trial_{side}_frames"]
        record[f"{side}_gap_ms"] = row[f"trial_{side}_gap_ms"]
    return record


def _clock(first: str | None, second: str | None) -> str | None:
    """The weaker of the two clocks: presented only when the compositor timed all images of the trial."""
    return "frame" if "frame" in (first, second) else first


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # None becomes an empty cell
    return text.getvalue().encode()


def _json(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    return (json.dumps({"trials": rows}, indent=1, ensure_ascii=False) + "\n").encode()


def _parquet(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    arrays = {
        column.name: pa.array([_number(row[column.name], column.kind) for row in rows], types[column.kind])
        for column in columns
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    return bytes(sink.getvalue().to_pybytes())


def _number(value: Any, kind: str) -> Any:
    return float(value) if kind == "number" and value is not None else value


def _dictionary(study: Study, columns: tuple[Column, ...], states: Counter[str], table: str) -> str:
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    lines = [
        f"# Data dictionary of {table}",
        "",
        f"Study {study.protocol.name}, preset {study.protocol.preset}. Sessions: {counted}.",
        f"Exported {made} by evalkit {package_version()}.",
        f"Stimuli {study.manifest.digest}; protocol {study.protocol.digest}.",
        "",
        "One row a trial that was begun, in order of session and trial. An empty cell means not measured or not answered. A",
        "trial that was interrupted has a row (flag `interrupted`) and so has the one that took its place.",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(f"| {column.name} | {column.kind} | {column.meaning} |" for column in columns),
    ]
    return "\n".join(lines) + "\n"
