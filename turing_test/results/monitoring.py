"""How a study is going, in numbers that say nothing about the methods: what the dashboard shows while recruiting."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from turing_test.database import schema as tables
from turing_test.sessions import clock
from turing_test.sessions.assignment import Arm, arm_of_trial, arms, from_columns, practice_pool
from turing_test.sessions.breaks import break_allowance
from turing_test.sessions.places import images_shown
from turing_test.sessions.states import ACTIVE, ENDED
from turing_test.sessions.summaries import CHECKED, Summary, read_trials, summarise
from turing_test.sessions.timing_flags import FLAGS
from turing_test.sessions.validity import broken_rule
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import Study

__all__ = ["ArmProgress", "Checks", "Day", "Exposures", "Progress", "StraightLiners", "Timing", "look_at", "state_of"]

_S, _M = tables.session.c, tables.summary.c
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
            if flag in ("hidden", "cropped", "zoomed", "first_duration", "second_duration")
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
    sessions = connection.execute(
        sa.select(
            _S.id, _S.label, _S.state, _S.method, _S.other_method, _S.platform, _S.position, _S.created_at, _S.updated_at,
            _S.ended_at, _S.refresh_hz, _S.check_at, _M.content, _M.durations_ms,
        )
        .select_from(tables.session.outerjoin(tables.summary, _M.session_id == _S.id))
        .where(_S.simulated == simulated)
        .order_by(_S.id)
    ).all()  # fmt: skip
    with_trials = [row for row in sessions if row.method is not None]
    changing = {row.id for row in with_trials if row.check_at is not None or row.content is None}
    told = {row.id: Summary.read(row.content, row.durations_ms) for row in with_trials if row.id not in changing}
    trials = dict(read_trials(connection, changing))
    told |= {key: summarise(own) for key, own in trials.items()}
    completed = [row.id for row in with_trials if row.state == "completed"]
    invalid = {key for key in completed if broken_rule(study.protocol, _rule_counts(told.get(key))) is not None}
    states = {
        row.id: "expired"
        if row.state in ACTIVE and row.updated_at < now - study.protocol.idle_allowed_s(row.position)
        else row.state
        for row in sessions
    }
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
        exposures=_exposures(connection, study, list(by_arm), counted, trials, simulated),
        checks=_checks([told[key] for key in completed if key in told]),
        # Of single images most may rightly look natural: there one answer all the time says nothing.
        straight_liners=None if study.protocol.preset == "naturalness" else _straight_liners(with_trials, told),
        timing=_timing(
            [told[row.id] for row in with_trials if row.id in told and row.state != "withdrawn"],
            study.protocol,
            Counter(f"{row.refresh_hz:.0f}" for row in sessions if row.refresh_hz),
        ),
        ends={state: count for state in ENDED if (count := list(states.values()).count(state))},
        platforms=dict(Counter(row.platform for row in sessions).most_common()),
        left_at=_left_at(study, [row for row in sessions if states[row.id] in ("expired", "withdrawn") and row.method]),
        days=_days([(row.created_at, row.ended_at if states[row.id] == "completed" else None) for row in sessions]),
        last_answer=max((own.last_answer for own in told.values() if own.last_answer is not None), default=None),
        other_sessions=connection.execute(
            sa.select(sa.func.count()).select_from(tables.session).where(_S.simulated != simulated)
        ).scalar_one(),
    )


def state_of(connection: Connection, study: Study) -> str:
    """Differs whenever `look_at` may say something else than before; far cheaper.

    Returns
    -------
    str
        A SHA-256 in hexadecimal.
    """
    oldest = clock.now() - study.protocol.session_timeout_s
    heard_at = _S.updated_at + break_allowance(_S.position, study.protocol)
    has_expired = _S.state.in_(ACTIVE) & (heard_at < oldest)
    of_sessions = sa.select(
        sa.func.count(), sa.func.max(_S.updated_at), sa.func.sum(sa.case((has_expired, 1), else_=0))
    ).select_from(tables.session)
    queries = of_sessions, sa.select(sa.func.max(tables.event.c.id)), sa.select(tables.study)
    return hashlib.sha256(repr([connection.execute(query).all() for query in queries]).encode()).hexdigest()


def _name(arm: Arm) -> str:
    return " or ".join(method for method in arm if method is not None)


def _rule_counts(summary: Summary | None) -> dict[str, int]:
    return {} if summary is None else summary.rule_counts


def _exposures(
    connection: Connection,
    study: Study,
    every: list[Arm],
    counted: set[int],
    changing: Mapping[int, Sequence[Any]],
    simulated: bool,
) -> tuple[Exposures, ...]:
    """From the counters of assignment, which know what sessions show that are over; of the others, from their trials."""
    images = sorted(set(study.manifest.images) - set(practice_pool(study)))
    counts = {arm: dict.fromkeys(images, 0) for arm in every}
    shown = images_shown(connection, None, simulated=simulated)
    for session_id, trials in changing.items():
        for trial in trials:
            if trial.kind == "test":
                is_shown = session_id in counted and trial.state != "replaced"
                arm = arm_of_trial(study, trial.method, trial.other_method, trial.further)
                shown[arm, "test", trial.image] += is_shown - bool(trial.counted)
    for (of_arm, kind, image), times in shown.items():
        if kind == "test" and of_arm is not None and image in counts.get(of_arm, ()):
            counts[of_arm][image] += times
    return tuple(Exposures(_name(arm), own) for arm, own in counts.items())


def _checks(completed: Sequence[Summary]) -> tuple[Checks, ...]:
    checks = []
    for kind in CHECKED:
        asked = [(own.right.get(kind, 0), own.answered[kind]) for own in completed if kind in own.answered]
        if asked:
            sessions = Counter(n_right for n_right, _ in asked)
            total = sum(n_right for n_right, _ in asked), sum(answered for _, answered in asked)
            checks.append(Checks(kind, *total, tuple(sorted(sessions.items()))))
    return tuple(checks)


def _straight_liners(sessions: Sequence[Any], told: Mapping[int, Summary]) -> StraightLiners:
    answers = {row.label: told[row.id] for row in sessions if row.id in told and row.state != "withdrawn"}
    people = [(label, own) for label, own in answers.items() if own.n_answers]
    return StraightLiners(people=len(people), labels=tuple(label for label, own in people if own.is_straight_lining))


def _timing(sessions: Sequence[Summary], protocol: Protocol, refresh_hz: Counter[str]) -> Timing:
    import numpy as np

    durations = np.frombuffer(b"".join(own.durations_ms for own in sessions))
    if protocol.answer_ends:  # what an answer may end has no length of its own: only a first image has one
        durations = durations[::2] if protocol.sequential else durations[:0]
    errors = np.abs(durations - protocol.limit_ms)
    flags: Counter[str] = Counter()
    for own in sessions:
        flags.update(own.flags)
    return Timing(
        trials=sum(own.n_shown for own in sessions),
        flags={flag: flags[flag] for flag in FLAGS if flags[flag]},
        suspect=sum(own.n_suspect for own in sessions),
        presented=sum(own.n_presented for own in sessions),
        median_error_ms=float(np.median(errors)) if errors.size else None,
        worst_error_ms=float(errors.max()) if errors.size else None,
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
