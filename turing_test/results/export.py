"""The trial table of a study, as `evalkit analyze` reads it, and the data dictionary beside it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.release import release
from evalkit.text_formats import csv_text
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.database.study_record import Change, changes_while_running
from turing_test.results.columns import Column, TrialRecord, columns_of, iso_time
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import broken_rule, rule_counts
from turing_test.study.study_folder import Study

if TYPE_CHECKING:
    from analysis.trials.trial_table import RawTable

__all__ = ["Exported", "StudyTrials", "collect_trials", "export", "raw_trials", "trial_rows"]

Format = Literal["csv", "parquet", "json"]
UNFINISHED = (*ACTIVE, "expired")


@dataclass(frozen=True, kw_only=True)
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
    unfinished : int
        Sessions in it that go on or were abandoned.
    withdrawn : int
        Sessions of people who have withdrawn: nothing of them is in it.
    """

    files: tuple[Path, ...]
    trials: int
    sessions: int
    simulated: bool
    left_out: int
    unfinished: int
    withdrawn: int


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
    trials = collect_trials(storage, study, simulated=simulated)
    columns = columns_of(study.protocol)
    out.mkdir(parents=True, exist_ok=True)
    data = {"csv": _csv, "parquet": _parquet, "json": _json}[file_format](columns, trials.rows)
    table, dictionary = out / f"trials.{file_format}", out / "data_dictionary.md"
    write_atomically(table, data)
    write_atomically(dictionary, _dictionary(study, columns, trials.states, trials.changes, table.name).encode())
    return Exported(
        files=(table, dictionary),
        trials=len(trials.rows),
        sessions=trials.sessions,
        simulated=trials.simulated,
        left_out=trials.of_other_kind,
        unfinished=trials.unfinished,
        withdrawn=trials.withdrawn,
    )


@dataclass(frozen=True, kw_only=True)
class StudyTrials:
    """The trials of a study as they are now, and what is known of the sessions that are not among them.

    Attributes
    ----------
    rows : list of dict
        Of `trial_rows`.
    simulated : bool
        Whether they are of simulated participants.
    of_other_kind : int
        Sessions of the other kind, which are not among them.
    states : Counter
        All sessions of this kind by state.
    changes : list of Change
        What was changed in how the study is run.
    """

    rows: list[dict[str, Any]]
    simulated: bool
    of_other_kind: int
    states: Counter[str]
    changes: list[Change]

    @property
    def sessions(self) -> int:
        """Sessions that the trials are of."""
        return len({row["session"] for row in self.rows})

    @property
    def unfinished(self) -> int:
        """Sessions among these that go on or were abandoned."""
        return len({row["session"] for row in self.rows if row["session_state"] in UNFINISHED})

    @property
    def withdrawn(self) -> int:
        """Sessions of people who have withdrawn."""
        return self.states["withdrawn"]

    def notes(self) -> tuple[str, ...]:
        """What a reader of the table has to know, in sentences."""
        notes = []
        if self.unfinished:
            notes.append(f"{self.unfinished} of these sessions are unfinished: they go on, or have expired.")
        if self.withdrawn:
            notes.append(f"Not in this table: {self.withdrawn} who have withdrawn.")
        if self.of_other_kind:
            of_other_kind = "sessions of people" if self.simulated else "simulated sessions"
            notes.append(f"Not in this table: {self.of_other_kind} {of_other_kind}.")
        if self.changes:
            said = "; ".join(f"{change.what} at {iso_time(change.at)}" for change in self.changes)
            notes.append(f"Changed in how the study was run, not in what was asked: {said}.")
        return tuple(notes)


def collect_trials(storage: Storage, study: Study, *, simulated: bool | None = None) -> StudyTrials:
    """Read all trials in one transaction.

    Parameters
    ----------
    storage : Storage
    study : Study
    simulated : bool, optional
        As in `export`.

    Returns
    -------
    StudyTrials

    Raises
    ------
    InputError
        When there are none.
    """

    def work(connection: Connection) -> tuple[list[dict[str, Any]], Counter[bool], bool, Counter[str], list[Change]]:
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
        rows = list(trial_rows(connection, study, simulated=chosen))
        return rows, kinds, chosen, states, changes_while_running(connection)

    rows, kinds, chosen, states, changes = storage.read(work)
    if not rows:
        who = "simulated participants" if chosen else "participants"
        raise InputError(f"{study.folder}: no trials of {who} yet, so there is nothing to export.")
    return StudyTrials(rows=rows, simulated=chosen, of_other_kind=kinds[not chosen], states=states, changes=changes)


def raw_trials(storage: Storage, study: Study, *, simulated: bool | None = None) -> RawTable:
    """The trials as the analysis reads them: the cells of an export, without a file in between.

    Parameters and errors are those of `collect_trials`.
    """
    from analysis.trials.trial_files import table_of_records

    trials = collect_trials(storage, study, simulated=simulated)
    columns = columns_of(study.protocol)
    cells = {column.name: [row[column.name] for row in trials.rows] for column in columns}
    raw = table_of_records(study.protocol.name, cells)
    return replace(raw, digest=hashlib.sha256(_csv(columns, trials.rows)).hexdigest(), notes=trials.notes())


def trial_rows(connection: Connection, study: Study, *, simulated: bool) -> Iterator[dict[str, Any]]:
    """Records of all trials that were begun, by the names of `columns_of`, in order of session and trial.

    Whoever has withdrawn is not among them: what they were told is that their answers are not used.
    """
    session, trial = tables.session, tables.trial
    query = (
        sa.select(session, trial)
        .join_from(session, trial, trial.c.session_id == session.c.id)
        .where(session.c.simulated == simulated, session.c.state != "withdrawn")
        .where(trial.c.state != "pending", trial.c.position.is_not(None))
        .order_by(session.c.id, trial.c.position, trial.c.number)
        .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    counts = rule_counts(connection)
    columns = columns_of(study.protocol)
    now = datetime.now(UTC).timestamp()
    for row in connection.execute(query).mappings():
        state = _session_state(row, study, now)
        rule = broken_rule(study.protocol, counts.get(row["session_id"], {})) if state == "completed" else None
        record = TrialRecord(study, dict(row), state, rule)
        yield {column.name: column.value(record) for column in columns}


def _session_state(row: Any, study: Study, now: float) -> str:
    state: str = row["session_state"]
    expired = state in ACTIVE and now - row["session_updated_at"] > study.protocol.idle_allowed_s(
        row["session_position"]
    )
    return "expired" if expired else state


def _csv(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    return csv_text(rows, [column.name for column in columns]).encode()


def _json(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    return (json.dumps({"trials": rows}, indent=1, ensure_ascii=False) + "\n").encode()


def _parquet(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    arrays = {
        column.name: pa.array([_cell(row[column.name], column.kind) for row in rows], types[column.kind])
        for column in columns
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    return bytes(sink.getvalue().to_pybytes())


def _cell(value: Any, kind: str) -> Any:
    return float(value) if kind == "number" and value is not None else value


def _changes(changes: list[Change]) -> list[str]:
    if not changes:
        return ["Nothing was changed in how the study is run.", ""]
    said = [
        f"- {iso_time(change.at)}: {change.what}, {json.dumps(change.before)} to {json.dumps(change.after)}"
        for change in changes
    ]
    return ["Changed in how the study is run, never in what is asked:", "", *said, ""]


def _dictionary(
    study: Study, columns: tuple[Column, ...], states: Counter[str], changes: list[Change], table: str
) -> str:
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    lines = [
        f"# Data dictionary of {table}",
        "",
        f"Study {study.protocol.name}, preset {study.protocol.preset}. Sessions: {counted}.",
        f"Exported {made} by evalkit {release()}.",
        f"Stimuli {study.manifest.digest}; protocol {study.protocol.asked_digest}.",
        "",
        *_changes(changes),
        "One row per trial that was begun, in order of session and trial. An empty cell means not measured or not answered. A",
        "trial that was interrupted has a row (flag `interrupted`) and so has the one that took its place. Nothing of people who",
        "have withdrawn is in the table.",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(f"| {column.name} | {column.kind} | {column.meaning} |" for column in columns),
    ]
    return "\n".join(lines) + "\n"
