"""What the dashboard shows is what counting every session and every trial gives, after any history."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter

import pytest
import sqlalchemy as sa

from analysis.statistics.straight_lining import straight_lining
from analysis.trials.columns import is_fooled
from tests.turing_test.histories import DESIGNS, History
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.study_record import register, unlock
from turing_test.results.monitoring import look_at, state_of
from turing_test.sessions.assignment import arm_of_trial, arms, from_columns
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.timing_flags import FLAGS, SUSPECT
from turing_test.sessions.validity import invalid_sessions

S, T = tables.session.c, tables.trial.c


def counted_anew(connection, study, progress, *, simulated):
    """The numbers of the dashboard from all rows, at the moment of `progress`."""
    rows = connection.execute(sa.select(tables.session).where(S.simulated == simulated).order_by(S.id)).all()
    trials = connection.execute(
        sa.select(tables.trial, S.label, S.state.label("session_state"))
        .join_from(tables.trial, tables.session, S.id == T.session_id)
        .where(S.simulated == simulated)
        .order_by(S.id, T.position)
    ).all()  # fmt: skip
    invalid = invalid_sessions(connection, study.protocol)
    oldest = progress.at - study.protocol.session_timeout_s
    states = {row.id: "expired" if row.state in ACTIVE and row.updated_at < oldest else row.state for row in rows}
    counts = {key for key, state in states.items() if state in (*ACTIVE, "completed")} - invalid
    by_arm = {arm: Counter() for arm in arms(study)}
    for row in rows:
        if row.method is not None:
            state = states[row.id]
            what = "active" if state in ACTIVE else "left"
            if state == "completed":
                what = "excluded" if row.id in invalid else "valid"
            for arm in from_columns(study, row.method, row.other_method):
                by_arm[arm][what] += 1
    exposures = {arm: Counter() for arm in by_arm}
    for trial in trials:
        if trial.kind == "test" and trial.state != "replaced" and trial.session_id in counts:
            exposures[arm_of_trial(study, trial.method, trial.other_method)][trial.image] += 1
    answered = [trial for trial in trials if trial.state == "answered"]
    right = Counter()
    for trial in answered:
        if trial.kind in ("vigilance", "catch") and trial.session_state == "completed":
            right[trial.kind, trial.session_id] += not is_fooled(trial.response, trial.real_position)
    staying = [trial for trial in trials if trial.session_state != "withdrawn"]
    answers = [trial for trial in staying if trial.state == "answered" and trial.kind != "practice"]
    people = {
        label: [trial.response for trial in own] for label, own in itertools.groupby(answers, lambda trial: trial.label)
    }
    shown = [trial for trial in staying if trial.state in ("shown", "answered", "replaced")]
    flags = Counter(flag for trial in shown for flag in (trial.flags or "").split())
    spans = [
        span for trial in shown
        for span in ((trial.first_on_ms, trial.first_off_ms), (trial.second_on_ms, trial.second_off_ms))
    ]  # fmt: skip
    errors = [abs(off - on - study.protocol.image_ms) for on, off in spans if on is not None and off is not None]
    return {
        "arms": [tuple(arm[what] for what in ("valid", "excluded", "active", "left")) for arm in by_arm.values()],
        "exposures": [{image: n for image, n in own.items() if n} for own in exposures.values()],
        "checks": sorted(Counter((kind, n) for (kind, _), n in right.items()).items()),
        "straight": [len(people), [label for label, own in people.items() if straight_lining(own).is_flagged]],
        "trials": len(shown),
        "flags": {flag: flags[flag] for flag in FLAGS if flags[flag]},
        "suspect": sum(not set(SUSPECT).isdisjoint((trial.flags or "").split()) for trial in shown),
        "presented": sum(trial.first_clock == trial.second_clock == "presented" for trial in shown),
        "errors": [statistics.median(errors), max(errors)] if errors else [None, None],
        "last_answer": max((trial.answered_at for trial in answered), default=None),
    }


def numbers(progress):
    timing = progress.timing
    return {
        "arms": [(arm.valid, arm.excluded, arm.active, arm.left) for arm in progress.arms],
        "exposures": [{image: n for image, n in own.counts.items() if n} for own in progress.exposures],
        "checks": sorted(((own.kind, n), times) for own in progress.checks for n, times in own.sessions),
        "straight": [progress.straight_liners.people, list(progress.straight_liners.labels)],
        "trials": timing.trials,
        "flags": timing.flags,
        "suspect": timing.suspect,
        "presented": timing.presented,
        "errors": [timing.median_error_ms, timing.worst_error_ms],
        "last_answer": progress.last_answer,
    }


def compare(storage, study):
    def both(connection, simulated):
        progress = look_at(connection, study, simulated=simulated)
        return numbers(progress), counted_anew(connection, study, progress, simulated=simulated)

    for simulated in (False, True):
        shown, counted = storage.read(lambda connection, simulated=simulated: both(connection, simulated))
        assert shown == counted


@pytest.mark.parametrize("design", ["one method each", "pairs"])
def test_after_any_history_the_dashboard_shows_what_a_recount_gives(storage, tmp_path, pass_time, design):
    study = make_study(tmp_path / "study", sessions_per_method=8, suspect_trials=4, **DESIGNS[design])
    register(storage, study)
    history = History(storage, study, 0, pass_time)
    for step in range(120):
        history.happen()
        if step % 20 == 0:
            compare(storage, history.study)  # some sessions are over and were not looked at since
            count_places(storage, history.study)
            compare(storage, history.study)
    states = storage.read(lambda connection: Counter(connection.execute(sa.select(S.state)).scalars()))
    assert all(states[state] for state in ("completed", "withdrawn", "expired")), states


def test_the_state_differs_whenever_something_happened_and_only_then(storage, tmp_path, pass_time):
    study = make_study(tmp_path / "study", sessions_per_method=8, **DESIGNS["one method each"])
    register(storage, study)
    history = History(storage, study, 5, pass_time)

    def state():
        return storage.read(lambda connection: state_of(connection, study))

    history.arrive()
    before = state()
    assert state() == before
    for happen in (
        history.arrive,
        history.go_on,
        history.finish,
        lambda: pass_time(study.protocol.session_timeout_s + 1),
        lambda: unlock(storage),
    ):
        happen()
        assert state() != before
        before = state()
