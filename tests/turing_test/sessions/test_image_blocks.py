"""Studies whose images come in blocks of a list: how many of each, in which order, and what is left when something goes wrong."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import groupby

import pytest
import sqlalchemy as sa

from analysis.study.analysis import analyze_study
from analysis.study.preferences import analyze_preferences
from analysis.trials.columns import PLACES
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.export import raw_trials
from turing_test.sessions import clock
from turing_test.sessions.assignment import (
    arm_of_planned,
    arms,
    block_orders,
    choose_arms,
    choose_block_order,
    plan_session,
    practice_pool,
)
from turing_test.sessions.lifecycle import start
from turing_test.sessions.place_counters import exposures
from turing_test.sessions.places import sessions_by_order
from turing_test.sessions.recount import counter_differences
from turing_test.sessions.recruiters import Arrival
from turing_test.study.study_folder import read_study

S, T = tables.session.c, tables.trial.c
BY_LINK = Arrival(platform="link", person=None, verified=False)

DESIGNS = {
    "a method, 3 equal blocks": {"block_sizes": (16, 16, 16), "test_trials": 20, "vigilance_trials": 2},
    "uneven trials and sizes": {
        "block_sizes": (20, 12, 15), "test_trials": 21, "vigilance_trials": 3, "catch_trials": 2, "practice_trials": 7,
        "reserve_trials": 5,
    },
    "4 blocks": {"block_sizes": (9, 9, 9, 9), "test_trials": 16, "vigilance_trials": 0},
    "no image to spare": {"block_sizes": (7, 5), "test_trials": 8, "vigilance_trials": 2},
    "3 methods per person": {
        "block_sizes": (14, 14), "n_methods": 3, "methods_per_person": "all", "test_trials": 20, "vigilance_trials": 2,
    },
    "pairs": {"preset": "preference", "block_sizes": (10, 10), "n_methods": 3, "test_trials": 10},
    "naturalness": {"preset": "naturalness", "block_sizes": (10, 10, 10), "test_trials": 10},
    "choices among 3": {"preset": "preference", "alternatives": 3, "block_sizes": (10, 10), "n_methods": 3, "test_trials": 12},
    "a search among 3": {"preset": "simultaneous", "alternatives": 3, "block_sizes": (12, 12), "test_trials": 14},
    "searches among 3, of 3 sets per person": {
        "preset": "simultaneous", "alternatives": 3, "block_sizes": (16, 16, 16), "n_methods": 3, "methods_per_person": "all",
        "test_trials": 20,
    },
}  # fmt: skip


@pytest.fixture(params=DESIGNS)
def design(request, tmp_path):
    study = make_study(tmp_path / "study", **DESIGNS[request.param])
    return replace(study, key=bytes(32))  # the practice photos, and so all that follows, are the same in every run


def handed_out(study, n_people):
    """What so many people are given one after the other, each with the counts of those before."""
    rng = random.Random(0)
    sessions, by_order, shown = Counter(), Counter(), Counter()
    for _ in range(n_people):
        judged = choose_arms(arms(study), sessions, study.protocol.arms_per_person(len(arms(study))), rng)
        order = choose_block_order(study, judged, by_order, rng)
        of_own_arms = {key: times for key, times in shown.items() if len(judged) > 1 or key[0] == judged[0]}
        trials = plan_session(study, judged, of_own_arms, rng, order)
        sessions[judged] += 1
        by_order[judged, order] += 1
        shown = shown + exposures(study, judged, trials)
        yield judged, order, trials, by_order, shown


def test_every_session_shows_every_block_whole_and_as_evenly_as_the_numbers_allow(design):
    block_of = design.manifest.blocks
    sizes = []
    for judged, order, trials, _, _ in handed_out(design, 24):
        images = [trial.image for trial in trials]
        assert len(set(images)) == len(images)
        test = [trial for trial in trials if trial.phase == "test"]
        runs = [(block, list(own)) for block, own in groupby(test, lambda trial: block_of[trial.image])]
        assert tuple(block for block, _ in runs) == block_orders(design)[order]
        sizes.append([len(own) for _, own in runs])
        assert max(sizes[-1]) - min(sizes[-1]) <= 1
        for kind, allowed in (("test", len(judged)), ("vigilance", 1), ("catch", 1)):
            numbers = [sum(trial.kind == kind for trial in own) for _, own in runs]
            assert max(numbers) - min(numbers) <= allowed, kind
        reserve = Counter(block_of[trial.image] for trial in trials if trial.phase == "reserve")
        assert max(reserve.values()) - min(reserve[block] for block, _ in runs) <= 1
        plain = [trial for trial in test if trial.kind == "test"]
        of_arm = Counter(arm_of_planned(design, trial) for trial in plain)
        assert of_arm == dict.fromkeys(judged, len(plain) // len(judged))
        if design.protocol.preset != "naturalness":
            sides = Counter(trial.real_position or trial.method for trial in plain)
            if design.protocol.real_vs_fake:
                assert sides == dict.fromkeys(PLACES[: design.protocol.images_per_trial], sides["first"])
            for _, own in runs:  # no block has its real photos on one side
                side = Counter(t.real_position or t.method for t in own if t.kind == "test")
                assert max(side.values()) - (side.total() - max(side.values())) <= len(judged)
                if design.protocol.seeks_real and len(judged) == 1:
                    numbers = [side[place] for place in PLACES[: design.protocol.alternatives]]
                    assert max(numbers) - min(numbers) <= 1
    assert len(set(map(tuple, sizes))) == 1  # by place, so that breaks fall between blocks for everybody


def test_orders_are_balanced_within_each_method_and_images_within_each_block(design):
    n_orders = len(block_orders(design))
    n_sets = len(arms(design)) if design.protocol.methods_per_person == 1 else 1
    people = list(handed_out(design, 2 * n_orders * n_sets))
    by_order = people[-1][3]
    for *_, shown in people:
        times = defaultdict(Counter)
        for (arm, kind, image), count in shown.items():
            if kind == "test":
                times[arm, design.manifest.blocks[image]][image] += count
        free = set(design.manifest.images) - set(practice_pool(design))
        for (_, block), counts in times.items():
            numbers = [counts[image] for image in free & set(design.manifest.images_by_block[block])]
            assert max(numbers) - min(numbers) <= 1
    assert set(by_order.values()) == {2}
    assert len(by_order) == n_orders * n_sets


def test_the_images_of_a_block_come_in_another_order_for_everybody(tmp_path):
    study = make_study(tmp_path / "study", **DESIGNS["no image to spare"])
    rows = {
        tuple(trial.image for trial in trials if trial.phase == "test") for _, _, trials, _, _ in handed_out(study, 8)
    }
    assert len(rows) == 8


def test_the_order_of_who_left_goes_to_who_comes_next(tmp_path):
    study = make_study(tmp_path / "study", **DESIGNS["4 blocks"])
    judged = (arms(study)[0],)
    taken = Counter({(judged, order): 3 for order in range(4)})
    taken[judged, 2] = 2
    assert choose_block_order(study, judged, taken, random.Random(0)) == 2
    # Among orders that a method has equally often, the one that is rarest of all.
    others = Counter({((arms(study)[1],), order): 1 for order in (0, 1, 3)})
    assert choose_block_order(study, judged, others, random.Random(0)) == 2
    without = make_study(tmp_path / "plain")
    assert choose_block_order(without, judged, Counter(), random.Random(0)) is None


def arrive(storage, study):
    return start(storage, study, BY_LINK, "0" * 64)[1]


def test_orders_are_balanced_in_the_database_and_withdrawn_ones_are_handed_out_again(storage, tmp_path):
    study = make_study(
        tmp_path / "study", block_sizes=(10, 10), n_methods=2, test_trials=10, sessions_per_method=6, reserve_trials=0
    )
    begun = [arrive(storage, study) for _ in range(8)]

    def counted():
        return storage.read(lambda connection: sessions_by_order(connection, simulated=False))

    assert set(counted().values()) == {2}
    assert len(counted()) == 4
    gone = storage.read(lambda c: c.execute(sa.select(S.method, S.block_order).where(S.id == begun[3].id)).one())
    storage.write(
        lambda c: c.execute(
            sa.update(tables.session).where(S.id == begun[3].id).values(state="withdrawn", check_at=0.0)
        )
    )
    next_one = arrive(storage, study)
    again = storage.read(lambda c: c.execute(sa.select(S.method, S.block_order).where(S.id == next_one.id)).one())
    assert again == gone
    assert set(counted().values()) == {2}
    assert storage.read(lambda connection: counter_differences(connection, study, clock.now())) == []
    assert [arrive(storage, study).state for _ in range(5)] == ["consented"] * 4 + ["full"]


def test_a_spoiled_trial_is_replaced_from_its_own_block_and_lost_when_that_has_no_reserve_left(make_client, tmp_path):
    study = make_study(
        tmp_path / "study", block_sizes=(9, 9), test_trials=8, practice_trials=0, min_answered_percent=50
    )
    person = make_client(study)
    view = person.enter()
    for load in ("load-2", "load-3"):  # the first trial twice: one reserve image per block
        number = view["trial"]["number"]
        assert person.on_trial(number, "begin").status_code == 200
        person.load = load
        assert person.on_trial(number, "begin").status_code == 200
        view = person.view()
    assert view["trial"]["number"] == 2
    assert person.play()["state"] == "completed"
    storage = person.app.extensions["turing_test"].storage
    rows = storage.read(
        lambda c: c.execute(
            sa.select(T.position, T.image, T.state).where(T.phase == "test").order_by(T.position, T.number)
        ).all()
    )
    assert [row.state for row in rows] == ["replaced", "replaced"] + ["answered"] * 7
    blocks = [study.manifest.blocks[row.image] for row in rows]
    assert len(list(groupby(blocks))) == 2
    assert storage.read(lambda connection: counter_differences(connection, study, clock.now())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"test_trials": 8},
        {"preset": "simultaneous", "alternatives": 3, "test_trials": 8},
        {"preset": "preference", "alternatives": 3, "n_methods": 3, "test_trials": 6},
    ],
    ids=["of two", "a search among 3", "choices among 3"],
)
def test_the_export_names_the_block_of_each_trial_and_practice_has_none(make_client, tmp_path, changes):
    study = make_study(tmp_path / "study", block_sizes=(9, 9), **changes)
    for _ in range(2):
        person = make_client(study)
        person.enter()
        assert person.play()["state"] == "completed"
    storage = person.app.extensions["turing_test"].storage
    table = check_trials(raw_trials(storage, study))
    said = {(str(kind), str(block)) for kind, block in zip(table["kind"], table["block"], strict=True)}
    kinds = ("test", "vigilance") if study.protocol.vigilance_trials else ("test",)
    assert said == {("practice", ""), *((kind, block) for kind in kinds for block in ("block a", "block b"))}
    test = table.of_kind("test")
    assert [study.manifest.blocks[image] for image in test["image"]] == test["block"].tolist()
    orders = {
        tuple(
            block for block, _ in groupby(table["block"][(table["participant"] == who) & (table["kind"] != "practice")])
        )
        for who in set(table["participant"])
    }
    assert orders == {("block a", "block b"), ("block b", "block a")}
    if table.n_alternatives > 2:
        assert analyze_study(table).headline.preferences.choices
    if study.protocol.seeks_real:
        shares = {share.name: share.n_trials for share in analyze_preferences(table).choices}
        assert shares == dict.fromkeys(("truth", "method a", "method b"), 12)


def test_a_study_without_blocks_exports_no_such_column_and_keeps_its_digests(make_client, tmp_path):
    study = make_study(tmp_path / "study")
    person = make_client(study)
    person.enter()
    person.play()
    assert "block" not in raw_trials(person.app.extensions["turing_test"].storage, study).columns
    assert "blocks" not in study.manifest.to_json()


def test_a_list_that_was_changed_by_hand_is_refused(tmp_path):
    study = make_study(tmp_path / "study", block_sizes=(8, 8))
    path = study.block_list_path()
    before = path.read_text()
    path.write_text(before.replace("photo 000,block a", "photo 000,block b"))
    with pytest.raises(
        InputError, match=r"scenes\.csv: is not the list that the study was created with; run evalkit study"
    ):
        read_study(study.folder)
    path.unlink()
    with pytest.raises(InputError, match=r"scenes\.csv: cannot be read as the list that blocks names"):
        read_study(study.folder)
    path.write_text(before)
    assert read_study(study.folder) == study
