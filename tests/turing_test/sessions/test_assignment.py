"""The plan of a session: who sees what, in which order, on which side."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.turing_test.studies import make_study
from turing_test.sessions.assignment import arms, choose_arms, plan_session, practice_pool


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """40 test trials as in the paper, with six obvious ones besides."""
    return make_study(
        tmp_path_factory.mktemp("study"), n_images=90, n_methods=3, practice_trials=10, test_trials=40,
        vigilance_trials=4, catch_trials=6, reserve_trials=10,
    )  # fmt: skip


def plan(study, seed=0, shown=None, arm=("method a", None)):
    return plan_session(study, (arm,), shown or {}, random.Random(seed))


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_image_comes_twice_in_a_session_reserve_included(study, seed):
    images = [trial.image for trial in plan(study, seed)]
    assert len(set(images)) == len(images) == study.protocol.images_needed


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_exactly_half_of_the_real_images_are_first_overall_and_of_each_kind(study, seed):
    for kinds in (("test",), ("vigilance",), ("catch",), ("practice",), ("test", "vigilance", "catch")):
        sides = Counter(trial.real_position for trial in plan(study, seed) if trial.kind in kinds)
        assert sides["first"] == sides["second"]


@given(vigilance=st.integers(0, 7), catch=st.integers(0, 7), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_odd_kinds_make_up_for_each_other(tmp_path_factory, vigilance, catch, seed):
    study = make_study(
        tmp_path_factory.mktemp("odd"), test_trials=8 + vigilance, vigilance_trials=vigilance, catch_trials=catch,
        n_images=40,
    )  # fmt: skip
    sides = Counter(trial.real_position for trial in plan(study, seed) if trial.phase == "test")
    assert abs(sides["first"] - sides["second"]) == (vigilance + catch) % 2


def test_what_is_shown_is_what_the_plan_says(study):
    roles = {"test": "method", "practice": "method", "vigilance": "vigilance", "catch": "catch"}
    for trial in plan(study):
        if trial.kind == "reserve":
            assert trial.position is trial.first_sha is trial.second_sha is None
            continue
        real, fake = trial.first_sha, trial.second_sha
        if trial.real_position == "second":
            real, fake = fake, real
        assert study.manifest.stimuli[real].role == "truth"
        assert study.manifest.stimuli[fake].role == roles[trial.kind]
        assert {study.manifest.stimuli[sha].image for sha in (real, fake)} == {trial.image}
        assert study.manifest.stimuli[fake].method in (None, "method a")


def test_vigilance_and_catch_trials_are_spread_over_the_test(study):
    first_of_special = Counter()
    for seed in range(200):
        test = [trial for trial in plan(study, seed) if trial.phase == "test"]
        places = [index for index, trial in enumerate(test) if trial.kind != "test"]
        stretches = Counter(int(place * 10 / len(test) + 1e-9) for place in places)
        assert len(places) == 10
        assert max(stretches.values()) <= 2
        first_of_special[places[0]] += 1
    assert set(first_of_special) == {0, 1, 2, 3, 4}


def test_the_images_shown_least_come_first(study):
    images = sorted(set(study.manifest.images) - set(practice_pool(study)))
    shown = {(("method a", None), "test", image): 1 for image in images[40:]}
    fresh = set(images[:40])
    assert {trial.image for trial in plan(study, shown=shown) if trial.kind == "test"} <= fresh


def test_practice_images_are_the_same_for_all_and_in_no_test(study):
    practice, others = set(), set()
    for seed in range(20):
        for trial in plan(study, seed):
            (practice if trial.phase == "practice" else others).add(trial.image)
    assert practice == set(practice_pool(study))
    assert len(practice) == study.protocol.practice_trials
    assert not practice & others


def test_orders_and_pairs_differ_between_seeds_and_repeat_with_one(study):
    assert plan(study, 1) == plan(study, 1)
    assert plan(study, 1) != plan(study, 2)


def test_arms_are_handed_out_evenly_and_ties_at_random(study):
    candidates = arms(study)
    assert candidates == [("method a", None), ("method b", None), ("method c", None)]
    sessions = {(candidates[0],): 2, (candidates[1],): 1, (candidates[2],): 2}
    assert choose_arms(candidates, sessions, 1, random.Random(0)) == (candidates[1],)
    chosen = Counter(choose_arms(candidates, {}, 1, random.Random(seed)) for seed in range(300))
    assert min(chosen.values()) > 60


def test_preference_shows_both_methods_of_a_pair_half_each_first(tmp_path):
    study = make_study(tmp_path, "preference", n_methods=3)
    assert arms(study) == [("method a", "method b"), ("method a", "method c"), ("method b", "method c")]
    test = [trial for trial in plan(study, arm=("method b", "method c")) if trial.phase == "test"]
    assert Counter(trial.method for trial in test) == {"method b": 4, "method c": 4}
    for trial in test:
        assert trial.real_position is None
        assert study.manifest.stimuli[trial.first_sha].method == trial.method
        assert study.manifest.stimuli[trial.second_sha].method == trial.other_method


def test_naturalness_shows_one_image(tmp_path):
    study = make_study(tmp_path, "naturalness")
    for trial in plan(study):
        if trial.position is not None:
            assert study.manifest.stimuli[trial.first_sha].method == "method a"
            assert trial.second_sha is None
