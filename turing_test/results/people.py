"""Everybody who came: how each left, what each did, and whether to pay. One row per session, nothing about the person."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.text_formats import csv_text
from evalkit.wording import counted
from turing_test.database import schema as tables
from turing_test.sessions.right_answers import is_right_answer
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import broken_rule, rule_counts
from turing_test.study.study_folder import Study

__all__ = ["FORMS", "Decision", "Person", "flow", "format_people", "people"]

Decision = Literal["approve", "reject", "partly", "wait", ""]

_S, _T = tables.session.c, tables.trial.c


@dataclass(frozen=True, kw_only=True)
class Person:
    """One who came.

    Attributes
    ----------
    participant : str
        Label, as in the exported table.
    platform : str
    platform_id : str
        What the platform calls this participation: Prolific's submission, MTurk's assignment; never the person.
    platform_task : str
        MTurk's HIT.
    state : str
        ``completed``, ``incomplete``, ``declined``, ``screened_out``, ``incompatible``, ``expired``, ``withdrawn``,
        ``full``, or where a session that goes on stands.
    outcome : str
        The same, with ``failed_checks`` for completed sessions that a declared rule leaves out.
    code : str
        Completion code of the session.
    minutes : float
        From the consent to the end, or to the last request.
    practice_answered, test_answered, test_wanted : int
        Trials.
    vigilance_right, vigilance_answered : int
    decision : {"approve", "reject", "partly", "wait", ""}
        A suggestion; the researcher decides. "" for those with nothing to be paid for.
    reason : str
        The rule that it follows.
    """

    participant: str
    platform: str
    platform_id: str
    platform_task: str
    state: str
    outcome: str
    code: str
    minutes: float
    practice_answered: int
    test_answered: int
    test_wanted: int
    vigilance_right: int
    vigilance_answered: int
    decision: Decision
    reason: str


def people(connection: Connection, study: Study, *, simulated: bool = False, now: float) -> list[Person]:
    """Everybody who came, in order of arrival.

    Parameters
    ----------
    connection : Connection
    study : Study
    simulated : bool
        Simulated participants instead of people.
    now : float
        Seconds since 1970: whether a session has expired depends on it.
    """
    counts = _trial_counts(connection)
    rules = rule_counts(connection)
    rows = connection.execute(sa.select(tables.session).where(_S.simulated == simulated).order_by(_S.id)).mappings()
    return [_person(study, dict(row), counts.get(row["id"], {}), rules.get(row["id"], {}), now) for row in rows]


def flow(arrived: Sequence[Person]) -> dict[str, int]:
    """How many left in which way: the participant-flow table of a paper, most frequent first."""
    return dict(Counter(person.outcome for person in arrived).most_common())


def _trial_counts(connection: Connection) -> dict[int, dict[str, int]]:
    answered = _T.state == "answered"
    is_vigilance = answered & (_T.kind == "vigilance")
    rows = connection.execute(
        sa.select(
            _T.session_id,
            _sum(answered & (_T.phase == "practice")).label("practice"),
            _sum(answered & (_T.phase == "test")).label("test"),
            _sum(is_vigilance).label("vigilance"),
            _sum(is_vigilance & is_right_answer()).label("vigilance_right"),
        ).group_by(_T.session_id)
    ).mappings()
    return {row["session_id"]: {key: int(row[key]) for key in row if key != "session_id"} for row in rows}


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _person(study: Study, row: dict[str, Any], n: dict[str, int], rule_values: dict[str, int], now: float) -> Person:
    state = (
        "expired"
        if row["state"] in ACTIVE and row["updated_at"] < now - study.protocol.idle_allowed_s(row["position"])
        else row["state"]
    )
    rule = broken_rule(study.protocol, rule_values) if state == "completed" else None
    outcome = state if rule is None else "failed_checks"
    handles: dict[str, str] = json.loads(row["arrival"] or "{}")
    n_answered = n.get("practice", 0) + n.get("test", 0)
    decision, reason = _decision(study, outcome, rule, n.get("test", 0), n_answered)
    return Person(
        participant=f"p{row['label']}",
        platform=row["platform"],
        platform_id=handles.get("SESSION_ID") or handles.get("assignmentId") or "",
        platform_task=handles.get("hitId", ""),
        state=state,
        outcome=outcome,
        code=row["completion_code"] if state in ("completed", "incomplete") else "",
        minutes=round(max(0.0, (row["ended_at"] or row["updated_at"]) - row["created_at"]) / 60, 1),
        practice_answered=n.get("practice", 0),
        test_answered=n.get("test", 0),
        test_wanted=study.protocol.shown_test_trials if row["method"] is not None else 0,
        vigilance_right=n.get("vigilance_right", 0),
        vigilance_answered=n.get("vigilance", 0),
        decision=decision,
        reason=reason,
    )


def _decision(study: Study, outcome: str, rule: str | None, n_test: int, n_answered: int) -> tuple[Decision, str]:
    """What to do about the pay, and why; the first line that fits."""
    wanted = study.protocol.shown_test_trials
    if outcome == "completed":
        return "approve", "completed"
    if outcome == "failed_checks":
        return "reject", f"{rule}; many researchers pay these too"
    if outcome == "incomplete":
        return "partly", f"reached the end with {n_test} of {counted(wanted, 'test trial')} answered"
    if outcome in ACTIVE:
        return "wait", "goes on"
    if outcome == "screened_out":
        return "partly", "screened out: the time of the screen"
    if outcome in ("expired", "withdrawn") and n_answered:
        return "partly", f"{outcome} with {n_test} of {counted(wanted, 'test trial')} answered"
    return "", f"{outcome}, nothing answered"


# --- files -------------------------------------------------------------------------------------------------------


def _as_csv(arrived: Sequence[Person]) -> str:
    return csv_text([asdict(person) for person in arrived], [field.name for field in fields(Person)])


def _for_prolific(arrived: Sequence[Person]) -> str:
    """Submissions to approve, one per line: what Prolific's bulk approval takes."""
    ids = [p.platform_id for p in arrived if p.platform == "prolific" and p.decision == "approve" and p.platform_id]
    return "".join(f"{submission}\n" for submission in ids)


def _for_mturk(arrived: Sequence[Person]) -> str:
    """The columns of MTurk's results file that its bulk upload reads: an x approves, a text rejects with that reason."""
    rows = [
        {
            "HITId": person.platform_task,
            "AssignmentId": person.platform_id,
            "Approve": "x" if person.decision in ("approve", "partly") else "",
            "Reject": person.reason if person.decision == "reject" else "",
        }
        for person in arrived
        # Whoever did not submit has no assignment to decide about: they returned it, or it lapses.
        if person.platform == "mturk" and person.outcome in ("completed", "failed_checks")
    ]
    return csv_text(rows, ["HITId", "AssignmentId", "Approve", "Reject"])


FORMS: dict[str, Callable[[Sequence[Person]], str]] = {
    "csv": _as_csv,
    "prolific": _for_prolific,
    "mturk": _for_mturk,
}
"""Forms of a pay list: all columns, or what a platform's bulk upload takes."""


def format_people(arrived: Sequence[Person], form: str) -> str:
    """The text of a pay list.

    Parameters
    ----------
    arrived : sequence of Person
    form : str
        Key of `FORMS`.
    """
    return FORMS[form](arrived)
