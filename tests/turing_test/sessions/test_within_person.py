"""Designs in which one person judges several methods: who sees which, how often, and in which order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import combinations, pairwise

import numpy as np
import pytest
import sqlalchemy as sa

from analysis.study.differences import comparisons
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.export import raw_trials
from turing_test.results.monitoring import look_at
from turing_test.sessions.assignment import (
    arm_of_trial,
    arms,
    as_columns,
    choose_arms,
    from_columns,
    in_block_order,
    per_arm,
    plan_session,
)
from turing_test.sessions.lifecycle import start
from turing_test.sessions.recruiters import Arrival
from turing_test.study.protocol import Protocol

S, T = tables.session.c, tables.trial.c
BY_LINK = Arrival(platform="link", person=None, verified=False)


def handed_out(study, n_people, seed=0):
    """What so many people are given one after the other, each with the counts of those before."""
    rng = random.Random(seed)
    sessions, shown = Counter(), Counter()
    for _ in range(n_people):
        judged = choose_arms(arms(study), sessions, study.protocol.arms_per_person(len(arms(study))), rng)
        trials = plan_session(study, judged, shown, rng)
        sessions[judged] += 1
        for trial in trials:
            if trial.phase == "test":
                shown[arm_of_trial(study, trial.method, trial.other_method), trial.kind, trial.image] += 1
        yield judged, trials, sessions, shown


def exposures(study, shown, arm):
    """How often each image that tests show was shown for an arm."""
    times = {image: count for (own, kind, image), count in shown.items() if own == arm and kind == "test"}
    free = len(study.manifest.images) - study.protocol.practice_trials
    return [*times.values(), *[0] * (free - len(times))]


DESIGNS = {
    "all of 3": {"n_methods": 3, "methods_per_person": "all", "n_images": 38, "test_trials": 12},
    "all of 3, images no multiple": {"n_methods": 3, "methods_per_person": "all", "n_images": 41, "test_trials": 12},
    "all of 4, no image to spare": {"n_methods": 4, "methods_per_person": "all", "n_images": 12, "test_trials": 8, "reserve_trials": 2},
    "2 of 5": {"n_methods": 5, "methods_per_person": 2, "n_images": 40, "test_trials": 12},
    "3 of 4": {"n_methods": 4, "methods_per_person": 3, "n_images": 30, "test_trials": 12},
    "vigilance and catch": {
        "n_methods": 3, "methods_per_person": "all", "n_images": 38, "test_trials": 14, "vigilance_trials": 2, "catch_trials": 3
    },
    "pairs": {"preset": "preference", "n_methods": 3, "methods_per_person": "all", "n_images": 30, "test_trials": 12},
    "naturalness with the photos": {"preset": "naturalness", "n_methods": 3, "methods_per_person": "all", "n_images": 30, "test_trials": 9},
}  # fmt: skip


@pytest.fixture(params=DESIGNS)
def design(request, tmp_path):
    return make_study(tmp_path / "study", **{"vigilance_trials": 0, **DESIGNS[request.param]})


def test_every_person_judges_each_of_their_methods_equally_often_and_no_image_twice(design):
    n_plain = design.protocol.test_trials - design.protocol.vigilance_trials
    for judged, trials, _, _ in handed_out(design, 20):
        images = [trial.image for trial in trials]
        assert len(set(images)) == len(images)
        plain = [trial for trial in trials if trial.kind == "test"]
        order = [arm_of_trial(design, trial.method, trial.other_method) for trial in plain]
        assert Counter(order) == dict.fromkeys(judged, n_plain // len(judged))
        for k in range(0, n_plain, len(judged)):  # over the time of the session as well
            assert sorted(order[k : k + len(judged)]) == sorted(judged)
        sides = defaultdict(Counter)
        for trial, arm in zip(plain, order, strict=True):
            sides[arm][trial.real_position or trial.method] += 1
        if design.protocol.preset != "naturalness":
            assert all(abs(2 * max(count.values()) - n_plain // len(judged)) <= 1 for count in sides.values())
        special = [trial for trial in trials if trial.kind in ("vigilance", "catch")]
        assert all(trial.method is None for trial in special)
        practice = Counter(arm_of_trial(design, t.method, t.other_method) for t in trials if t.phase == "practice")
        assert max(practice.values()) == 1


def test_methods_pairs_of_methods_and_images_stay_balanced_from_person_to_person(design):
    every = arms(design)
    for _, _, sessions, shown in handed_out(design, 60):
        taken = per_arm(sessions)
        assert max(taken[arm] for arm in every) - min(taken[arm] for arm in every) <= 1
        for arm in every:
            times = exposures(design, shown, arm)
            assert max(times) - min(times) <= 1, arm
    together = Counter(dict.fromkeys(combinations(every, 2), 0))
    for judged, count in sessions.items():
        together.update(dict.fromkeys(combinations(judged, 2), count))
    assert max(together.values()) - min(together.values()) <= 1


def test_what_a_session_judges_comes_back_from_the_database(design):
    for judged, *_ in handed_out(design, 5):
        assert from_columns(design, *as_columns(judged)) == judged


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods_per_person": 4}, "the study has 3 methods; allowed is at most 3"),
        ({"methods_per_person": "all", "test_trials": 10}, r'all \(3 methods\), and test_trials - vigilance_trials is 8; '
         "allowed is a multiple of 3, so that each gets equally many trials, such as test_trials = 14"),
        ({"methods_per_person": "some"}, 'methods_per_person is "some"; allowed is a whole number from 1 to 100, or "all"'),
        ({"methods_per_person": 0}, "methods_per_person is 0; allowed is a whole number"),
        ({"methods_per_person": True}, "methods_per_person is true; allowed is a whole number"),
    ],
)  # fmt: skip
def test_designs_that_cannot_be_balanced_are_refused_when_the_study_is_made(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        make_study(tmp_path / "study", n_methods=3, n_images=40, **changes)


def test_a_study_begun_before_there_was_the_option_is_still_the_same_study():
    paper = Protocol(fit="crop")  # the default of that version
    assert "methods_per_person" in paper.as_dict()
    # Printed by the version before the option came.
    assert paper.asked_digest == "42433b4294dd735b163d69443b3e00b6c3ac7a525c6c803bee61f395bb489bb1"
    assert Protocol(fit="crop", methods_per_person="all").asked_digest != paper.asked_digest


def arrive(storage, study):
    return start(storage, study, BY_LINK, "0" * 64)[1]


def stored(storage):
    """Session, method and image of every test trial."""
    return storage.read(
        lambda c: c.execute(
            sa.select(T.session_id, T.method, T.image).where(T.kind == "test", T.state != "replaced")
        ).all()
    )


def test_the_balance_is_exact_in_the_database_and_a_full_study_admits_nobody_more(storage, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=3, n_images=18, methods_per_person="all", test_trials=12, vigilance_trials=0,
        practice_trials=2, reserve_trials=2, sessions_per_method=8,
    )  # fmt: skip
    begun = [arrive(storage, study) for _ in range(8)]
    assert arrive(storage, study).state == "full"
    by_method = Counter((method, image) for _, method, image in stored(storage))
    assert len(by_method) == 3 * 16
    assert set(by_method.values()) == {2}  # 8 people x 4 images of 16
    progress = storage.read(lambda connection: look_at(connection, study))
    assert [(arm.name, arm.active, arm.missing) for arm in progress.arms] == [
        (f"method {letter}", 8, 0) for letter in "abc"
    ]
    assert {(row.least, row.most) for row in progress.exposures} == {(2, 2)}
    storage.write(lambda c: c.execute(sa.update(tables.session).where(S.id == begun[3].id).values(state="withdrawn")))
    gone = {(method, image) for session, method, image in stored(storage) if session == begun[3].id}
    replacement = arrive(storage, study)
    assert replacement.state == "consented"
    assert {(m, image) for session, m, image in stored(storage) if session == replacement.id} == gone


def test_places_of_a_design_with_some_of_the_methods_are_counted_in_people(storage, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=4, n_images=30, methods_per_person=2, test_trials=8, vigilance_trials=0,
        sessions_per_method=3,
    )  # fmt: skip
    states = [arrive(storage, study).state for _ in range(7)]
    assert states == ["consented"] * 6 + ["full"]  # 4 methods x 3 sessions, 2 methods a person


def test_a_spoiled_pair_is_replaced_by_one_of_the_same_method(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=3, n_images=20, methods_per_person="all", test_trials=6, vigilance_trials=0,
        practice_trials=0,
    )  # fmt: skip
    person = make_client(study)
    person.enter()
    person.on_trial(1, "begin")
    person.load = "another-load"
    begun = person.on_trial(1, "begin")
    assert begun.get_json().get("replaced"), begun.text
    assert person.play()["state"] == "completed"
    storage = person.app.extensions["turing_test"].storage
    rows = storage.read(
        lambda c: c.execute(
            sa.select(T.method, T.real_position, T.state).where(T.position == 1).order_by(T.number)
        ).all()
    )
    assert [row.state for row in rows] == ["replaced", "answered"]
    assert rows[0][:2] == rows[1][:2]


def test_export_and_analysis_know_which_method_each_trial_showed(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=3, n_images=24, methods_per_person="all", test_trials=14, vigilance_trials=2,
        catch_trials=1,
    )  # fmt: skip
    for _ in range(4):
        person = make_client(study)
        person.enter()
        assert person.play()["state"] == "completed"
    storage = person.app.extensions["turing_test"].storage
    table = check_trials(raw_trials(storage, study))
    assert table.methods == ("method a", "method b", "method c")
    assert set(table["method"][np.isin(table["kind"], ["vigilance", "catch"])]) == {""}
    for method in table.methods:
        assert len(table.of_method(method)) == 4 * 4
    assert {row.result.n_shared_participants for row in comparisons(table) if row.result} == {4}


@pytest.mark.parametrize("n_methods", [2, 3, 4, 5, 6])
def test_blocks_come_in_every_place_and_after_every_other_block_equally_often(n_methods):
    judged = tuple((f"method {k}", None) for k in range(n_methods))
    n_rows = n_methods * (1 + n_methods % 2)
    sessions, rng = Counter(), random.Random(3)
    for _ in range(3 * n_rows):
        sessions[in_block_order(judged, sessions, rng)] += 1
    assert set(sessions.values()) == {3}
    places = Counter((place, arm) for row in sessions for place, arm in enumerate(row))
    assert set(places.values()) == {n_rows // n_methods}
    followed = Counter(pair for row in sessions for pair in pairwise(row))
    assert len(followed) == n_methods * (n_methods - 1)
    assert len(set(followed.values())) == 1
    gone = next(iter(sessions))
    sessions[gone] -= 1
    assert in_block_order(judged, sessions, rng) == gone  # who comes next takes the order of who left


def test_trials_come_in_blocks_by_method_and_orders_are_balanced_in_the_database(storage, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=3, n_images=24, methods_per_person="all", blocks="method", test_trials=14,
        vigilance_trials=2, sessions_per_method=12,
    )  # fmt: skip
    for _ in range(12):
        arrive(storage, study)
    rows = storage.read(
        lambda c: c.execute(
            sa.select(T.session_id, T.method).where(T.phase == "test").order_by(T.session_id, T.position)
        ).all()
    )
    orders = Counter()
    for session in {row.session_id for row in rows}:
        methods = [row.method for row in rows if row.session_id == session and row.method is not None]
        blocks = [method for method, before in zip(methods, [None, *methods], strict=False) if method != before]
        assert len(blocks) == 3
        assert Counter(methods) == dict.fromkeys(blocks, 4)
        orders[tuple(blocks)] += 1
    assert len(orders) == 6
    assert set(orders.values()) == {2}
