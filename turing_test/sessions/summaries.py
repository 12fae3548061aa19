"""What a session says to whoever looks at the whole study, written down when it is over, so that nobody reads its trials again.

`turing_test.sessions.place_counters` writes it when it looks at a session that has ended. A session that may still change, one
whose ``check_at`` is set, has none that counts: its trials are read.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from analysis.statistics.straight_lining import straight_lining
from turing_test.database import schema as tables
from turing_test.sessions.further_images import read_further
from turing_test.sessions.right_answers import is_right
from turing_test.sessions.timing_flags import SUSPECT

__all__ = ["Summary", "read_trials", "summarise", "write_summaries"]

_T, _M = tables.trial.c, tables.summary
CHECKED = ("vigilance", "catch")
CHUNK = 400
"""Sessions whose trials are read by one query."""

_COLUMNS = (
    _T.session_id, _T.number, _T.phase, _T.kind, _T.state, _T.method, _T.other_method, _T.image, _T.real_position,
    _T.response, _T.flags, _T.counted, _T.answered_at, _T.first_on_ms, _T.first_off_ms, _T.first_clock, _T.second_on_ms,
    _T.second_off_ms, _T.second_clock, _T.further,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Of the trials of one session.

    Attributes
    ----------
    right, answered : dict of str to int
        Right answers and answers by kind, ``vigilance`` and ``catch``; kinds that were answered.
    suspect_answers : int
        Answered trials with a flag of `turing_test.sessions.timing_flags.SUSPECT`, as `validity.rule_counts` has them.
    n_answers : int
        Answers outside of the practice.
    is_straight_lining : bool
        Whether these are flagged by `analysis.statistics.straight_lining`.
    n_shown, n_presented, n_suspect : int
        Trials that were shown; those whose times are the compositor's own; those with a flag of `SUSPECT`.
    flags : dict of str to int
        Shown trials by flag.
    last_answer : float or None
        Seconds since 1970.
    durations_ms : bytes
        How long each image was on screen, as doubles of this machine.
    """

    right: dict[str, int]
    answered: dict[str, int]
    suspect_answers: int
    n_answers: int
    is_straight_lining: bool
    n_shown: int
    n_presented: int
    n_suspect: int
    flags: dict[str, int]
    last_answer: float | None
    durations_ms: bytes = field(repr=False)

    @property
    def rule_counts(self) -> dict[str, int]:
        """What the declared rules ask for, as `turing_test.sessions.validity.broken_rule` wants it."""
        return {**self.right, "suspect": self.suspect_answers}

    @classmethod
    def read(cls, content: str, durations_ms: bytes) -> Summary:
        """From the two columns of `turing_test.database.schema.summary`."""
        return cls(**json.loads(content), durations_ms=durations_ms)

    def as_columns(self) -> dict[str, Any]:
        """The reverse of `read`."""
        content = asdict(self)
        durations = content.pop("durations_ms")
        return {"content": json.dumps(content), "durations_ms": durations}


def read_trials(connection: Connection, session_ids: Collection[int]) -> Iterator[tuple[int, Sequence[Any]]]:
    """The trials of sessions, one session after the other, in order; sessions without trials are absent."""
    keys = sorted(session_ids)
    for start in range(0, len(keys), CHUNK):
        rows = connection.execute(
            sa.select(*_COLUMNS)
            .where(_T.session_id.in_(keys[start : start + CHUNK]))
            .order_by(_T.session_id, _T.position, _T.number)
        ).all()
        by_session: dict[int, list[Any]] = {}
        for row in rows:
            by_session.setdefault(row.session_id, []).append(row)
        yield from by_session.items()


def summarise(trials: Sequence[Any]) -> Summary:
    """Of the trials of a session, as `read_trials` gives them."""
    answered = [trial for trial in trials if trial.state == "answered"]
    checks = [trial for trial in answered if trial.kind in CHECKED]
    right = Counter(
        trial.kind
        for trial in checks
        if is_right(trial.response, trial.real_position, among_several=trial.further is not None)
    )
    answers = [trial.response for trial in answered if trial.kind != "practice" and trial.response is not None]
    n_kinds = max((2 + len(read_further(trial.further)) for trial in answered), default=2)
    shown = [trial for trial in trials if trial.state in ("shown", "answered", "replaced")]
    durations = array("d")
    for trial in shown:
        for on_ms, off_ms in ((trial.first_on_ms, trial.first_off_ms), (trial.second_on_ms, trial.second_off_ms)):
            if on_ms is not None and off_ms is not None:
                durations.append(off_ms - on_ms)
    return Summary(
        right=dict(right),
        answered=dict(Counter(trial.kind for trial in checks)),
        suspect_answers=sum(map(_is_suspect, answered)),
        n_answers=len(answers),
        is_straight_lining=bool(answers) and straight_lining(answers, n_kinds).is_flagged,
        n_shown=len(shown),
        n_presented=sum(
            # Naturalness has no second image.
            trial.first_clock == "presented" and trial.second_clock in ("presented", None)
            for trial in shown
        ),
        n_suspect=sum(map(_is_suspect, shown)),
        flags=dict(Counter(flag for trial in shown for flag in (trial.flags or "").split())),
        last_answer=max((trial.answered_at for trial in trials if trial.answered_at is not None), default=None),
        durations_ms=durations.tobytes(),
    )


def _is_suspect(trial: Any) -> bool:
    return not set(SUSPECT).isdisjoint((trial.flags or "").split())


def write_summaries(connection: Connection, session_ids: Collection[int]) -> None:
    """Write down what sessions say that are over, in place of what they said before."""
    rows = [
        {"session_id": key, **summarise(trials).as_columns()} for key, trials in read_trials(connection, session_ids)
    ]
    connection.execute(sa.delete(_M).where(_M.c.session_id.in_(session_ids)))
    if rows:
        connection.execute(sa.insert(_M), rows)
