"""How a study is going, in numbers that say nothing about the methods: what the dashboard shows while recruiting."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from analysis.statistics.straight_lining import straight_lining
from analysis.trials.columns import is_fooled
from turing_test.database import schema as tables
from turing_test.sessions import clock
from turing_test.sessions.assignment import Arm, arm_of_trial, arms, from_columns, practice_pool
from turing_test.sessions.states import ACTIVE, ENDED
from turing_test.sessions.timing_flags import FLAGS, SUSPECT
from turing_test.sessions.validity import invalid_sessions
from turing_test.study.study_folder import Study

__all__ = ["ArmProgress", "Checks", "Day", "Exposures", "Progress", "StraightLiners", "Timing", "look_at"]

_S, _T = tables.session.c, tables.trial.c
DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class ArmProgress:
    """Recruitment of a method, or of a pair of methods.

    Attributes
    ----------
    name : str
    target, valid, excluded, active : int
        Sessions wanted; completed and kept by the declared rules; completed and left out; going on.
    left : int
        Expired, withdrawn, screened out or incompatible.
    """

    name: str
    target: int
    valid: int
    excluded: int
    active: int
    left: int

    @property
    def missing(self) -> int:
        """Sessions that are still to come."""
        return max(0, self.target - self.valid - self.active)


@dataclass(frozen=True)
class Exposures:
    """How often the images of a method are shown in test trials of its valid and running sessions.

    Attributes
    ----------
    name : str
    counts : dict of str to int
        By image, all of them that tests show.
    """

    name: str
    counts: dict[str, int]

    @property
    def least(self) -> int:
        """Of the image shown least."""
        return min(self.counts.values(), default=0)

    @property
    def most(self) -> int:
        """Of the image shown most."""
        return max(self.counts.values(), default=0)


@dataclass(frozen=True)
class Checks:
    """Right answers of one kind (vigilance, catch), over completed sessions.

    Attributes
    ----------
    kind : str
    right, answered : int
    sessions : tuple of (int, int)
        How many right answers, and how many sessions have so many.
    """

    kind: str
    right: int
    answered: int
    sessions: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StraightLiners:
    """People who gave nearly always the same answer, or the same many times in a row, whatever was right.

    Attributes
    ----------
    people : int
        Sessions with answers, going on, completed or left; withdrawn ones are not looked at.
    labels : tuple of str
        Sessions of those whose answers somebody who looks would hardly ever give.
    """

    people: int
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Display times of all trials that were shown, but for people who have withdrawn.

    Attributes
    ----------
    trials : int
    flags : dict of str to int
        Trials by flag, flags that occur.
    suspect : int
        Trials with a flag of `turing_test.sessions.timing_flags.SUSPECT`.
    presented : int
        Trials whose times are the compositor's own.
    median_error_ms, worst_error_ms : float or None
        Of the absolute difference to the time asked for; None before the first trial.
    refresh_hz : dict of str to int
        Sessions by refresh rate, rounded.
    """

    trials: int
    flags: dict[str, int]
    suspect: int
    presented: int
    median_error_ms: float | None
    worst_error_ms: float | None
    refresh_hz: dict[str, int]

    @property
    def flagged_share(self) -> float:
        """Share of trials with a flag about time on screen."""
        return 0.0 if not self.trials else self._flagged / self.trials

    @property
    def _flagged(self) -> int:
        return sum(
            count
            for flag, count in self.flags.items()
            if flag in ("hidden", "cropped", "first_duration", "second_duration")
        )


@dataclass(frozen=True)
class Day:
    """One day (UTC) of the timeline."""

    date: str
    started: int
    completed: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All of it, at one moment."""

    at: float
    arms: tuple[ArmProgress, ...]
    exposures: tuple[Exposures, ...]
    checks: tuple[Checks, ...]
    straight_liners: StraightLiners | None
    timing: Timing
    ends: dict[str, int]
    platforms: dict[str, int]
    left_at: tuple[tuple[str, int], ...]
    days: tuple[Day, ...]
    last_answer: float | None
    other_sessions: int


def look_at(connection: Connection, study: Study, *, simulated: bool = False) -> Progress:
    """Count everything.

    Parameters
    ----------
    connection : Connection
    study : Study
    simulated : bool
        Simulated participants instead of people.
    """
    now = clock.now()
    of_kind = _S.simulated == simulated
    sessions = connection.execute(
        sa.select(
            _S.id, _S.state, _S.method, _S.other_method, _S.platform, _S.position, _S.created_at, _S.updated_at,
            _S.ended_at, _S.refresh_hz,
        ).where(of_kind)
    ).all()  # fmt: skip
    invalid = invalid_sessions(connection, study.protocol)
    oldest = now - study.protocol.session_timeout_s
    states = {row.id: "expired" if row.state in ACTIVE and row.updated_at < oldest else row.state for row in sessions}
    by_arm: dict[Arm, Counter[str]] = {arm: Counter() for arm in arms(study)}
    for row in sessions:
        if row.method is None:
            continue
        state = states[row.id]
        what = "active" if state in ACTIVE else "left"
        if state == "completed":
            what = "excluded" if row.id in invalid else "valid"
        for arm in from_columns(study, row.method, row.other_method):
            by_arm.setdefault(arm, Counter())[what] += 1
    counted = {row.id for row in sessions if states[row.id] in (*ACTIVE, "completed")} - invalid
    return Progress(
        at=now,
        arms=tuple(
            ArmProgress(
                name=_name(arm),
                target=study.protocol.sessions_per_method,
                valid=c["valid"],
                excluded=c["excluded"],
                active=c["active"],
                left=c["left"],
            )
            for arm, c in by_arm.items()
        ),
        exposures=_exposures(connection, study, list(by_arm), counted, simulated),
        checks=_checks(connection, simulated),
        # Of single images most may rightly look natural: there one answer all the time says nothing.
        straight_liners=None if study.protocol.preset == "naturalness" else _straight_liners(connection, simulated),
        timing=_timing(
            connection, study, simulated, Counter(f"{row.refresh_hz:.0f}" for row in sessions if row.refresh_hz)
        ),
        ends={state: count for state in ENDED if (count := list(states.values()).count(state))},
        platforms=dict(Counter(row.platform for row in sessions).most_common()),
        left_at=_left_at(study, [row for row in sessions if states[row.id] in ("expired", "withdrawn") and row.method]),
        days=_days([(row.created_at, row.ended_at if states[row.id] == "completed" else None) for row in sessions]),
        last_answer=connection.execute(
            sa.select(sa.func.max(_T.answered_at))
            .join_from(tables.trial, tables.session, _S.id == _T.session_id)
            .where(of_kind)
        ).scalar(),
        other_sessions=connection.execute(
            sa.select(sa.func.count()).select_from(tables.session).where(_S.simulated != simulated)
        ).scalar_one(),
    )


def _name(arm: Arm) -> str:
    return arm[0] if arm[1] is None else f"{arm[0]} or {arm[1]}"


def _exposures(
    connection: Connection, study: Study, every: list[Arm], counted: set[int], simulated: bool
) -> tuple[Exposures, ...]:
    images = sorted(set(study.manifest.images) - set(practice_pool(study)))
    counts = {arm: dict.fromkeys(images, 0) for arm in every}
    rows = connection.execute(
        sa.select(_S.id, _T.method, _T.other_method, _T.image)
        .join_from(tables.session, tables.trial, _S.id == _T.session_id)
        .where(_S.simulated == simulated, _T.kind == "test", _T.state != "replaced")
    )
    for session_id, method, other, image in rows:
        arm = arm_of_trial(study, method, other)
        if arm is not None and session_id in counted and image in counts.get(arm, ()):
            counts[arm][image] += 1
    return tuple(Exposures(_name(arm), shown) for arm, shown in counts.items())


def _checks(connection: Connection, simulated: bool) -> tuple[Checks, ...]:
    right = sa.func.sum(sa.case((~is_fooled(_T.response, _T.real_position), 1), else_=0))
    rows = connection.execute(
        sa.select(_T.kind, _T.session_id, right, sa.func.count())
        .join_from(tables.session, tables.trial, _S.id == _T.session_id)
        .where(_S.simulated == simulated, _S.state == "completed", _T.state == "answered")
        .where(_T.kind.in_(("vigilance", "catch")))
        .group_by(_T.kind, _T.session_id)
    ).all()
    checks = []
    for kind in ("vigilance", "catch"):
        of_kind = [(int(n_right), answered) for k, _, n_right, answered in rows if k == kind]
        if of_kind:
            sessions = Counter(n_right for n_right, _ in of_kind)
            total = sum(n_right for n_right, _ in of_kind), sum(answered for _, answered in of_kind)
            checks.append(Checks(kind, *total, tuple(sorted(sessions.items()))))
    return tuple(checks)


def _straight_liners(connection: Connection, simulated: bool) -> StraightLiners:
    rows = connection.execute(
        sa.select(_S.label, _T.response)
        .join_from(tables.session, tables.trial, _S.id == _T.session_id)
        .where(_S.simulated == simulated, _S.state != "withdrawn", _T.state == "answered", _T.kind != "practice")
        .where(_T.response.is_not(None))
        .order_by(_S.id, _T.position)
    ).all()
    answers = {
        label: [response for _, response in own] for label, own in itertools.groupby(rows, lambda row: str(row[0]))
    }
    flagged = tuple(label for label, own in answers.items() if straight_lining(own).is_flagged)
    return StraightLiners(people=len(answers), labels=flagged)


def _timing(connection: Connection, study: Study, simulated: bool, refresh_hz: Counter[str]) -> Timing:
    rows = connection.execute(
        sa.select(
            _T.flags,
            sa.func.coalesce(_T.first_clock == "presented", sa.false()),
            sa.func.coalesce(_T.second_clock == "presented", sa.true()),  # naturalness has no second image
            _T.first_off_ms - _T.first_on_ms,
            _T.second_off_ms - _T.second_on_ms,
        )
        .join_from(tables.session, tables.trial, _S.id == _T.session_id)
        .where(_S.simulated == simulated, _S.state != "withdrawn", _T.state.in_(("shown", "answered", "replaced")))
    ).all()
    errors = [abs(ms - study.protocol.image_ms) for row in rows for ms in row[3:] if ms is not None]
    flags = Counter(flag for row in rows for flag in (row[0] or "").split())
    return Timing(
        trials=len(rows),
        flags={flag: flags[flag] for flag in FLAGS if flags[flag]},
        suspect=sum(not set(SUSPECT).isdisjoint((row[0] or "").split()) for row in rows),
        presented=sum(bool(first and second) for _, first, second, *_ in rows),
        median_error_ms=statistics.median(errors) if errors else None,
        worst_error_ms=max(errors, default=None),
        refresh_hz=dict(refresh_hz.most_common(6)),
    )


def _left_at(study: Study, left: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    """Where those who left stopped: before the first trial, in the practice, or in a quarter of the test."""
    practice, test = study.protocol.practice_trials, study.protocol.shown_test_trials
    places = [
        "before the first trial",
        "practice",
        *(f"test, {name} quarter" for name in ("first", "second", "third", "last")),
    ]
    stopped: Counter[str] = Counter()
    for row in left:
        n_done = row.position - 1
        if n_done == 0:
            stopped[places[0]] += 1
        elif n_done < practice:
            stopped[places[1]] += 1
        else:
            stopped[places[2 + min(3, 4 * (n_done - practice) // test)]] += 1
    return tuple((place, stopped[place]) for place in places if stopped[place])


def _days(sessions: list[tuple[float, float | None]]) -> tuple[Day, ...]:
    started = Counter(int(start // DAY_S) for start, _ in sessions)
    completed = Counter(int(end // DAY_S) for _, end in sessions if end is not None)
    if not started:
        return ()
    return tuple(
        Day(time.strftime("%Y-%m-%d", time.gmtime(day * DAY_S)), started[day], completed[day])
        for day in range(min(started), max([*started, *completed]) + 1)
    )
