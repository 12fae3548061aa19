"""The real photo among several colorizations of it: who sees what where, what is right, what the export and the analysis say."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import combinations

import pytest
import sqlalchemy as sa

from analysis.study.preferences import analyze_preferences
from analysis.trials.columns import PLACES, TRUTH
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.export import raw_trials
from turing_test.results.monitoring import look_at
from turing_test.results.people import people
from turing_test.server.doctor import examine
from turing_test.sessions.assignment import arms, plan_session
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.validity import rule_counts
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import check_before_build, check_names
from turing_test.web.page import page_variables

T = tables.trial.c
FOUR = {
    "alternatives": 4, "n_methods": 3, "n_images": 24, "test_trials": 10, "vigilance_trials": 2, "feedback_ms": 100, "vigilance_min": 1
}  # fmt: skip


def shown_names(trial):
    return (trial.method, trial.other_method, *(method for method, _ in trial.further))


@pytest.mark.parametrize(("alternatives", "n_methods"), [(3, 2), (4, 3), (5, 4), (3, 4), (9, 8)])
def test_the_real_photo_stands_in_every_place_equally_often(tmp_path, alternatives, n_methods):
    n_plain, n_checks = 2 * alternatives, alternatives
    study = make_study(
        tmp_path / "study", "simultaneous", alternatives=alternatives, n_methods=n_methods, n_images=n_plain + n_checks + 4,
        test_trials=n_plain + n_checks, vigilance_trials=n_checks,
    )  # fmt: skip
    every = arms(study)
    assert every == [(TRUTH, *own) for own in combinations(study.manifest.methods, alternatives - 1)]
    for seed in range(4):
        arm = every[seed % len(every)]
        trials = plan_session(study, (arm,), Counter(), random.Random(seed))
        test = [trial for trial in trials if trial.kind == "test"]
        assert len(test) == n_plain
        assert all(sorted(shown_names(trial)) == sorted(arm) for trial in test)
        stands = Counter((name, place) for trial in test for place, name in enumerate(shown_names(trial)))
        assert set(stands.values()) == {n_plain // alternatives}
        checks = [trial for trial in trials if trial.kind == "vigilance"]
        assert Counter(trial.real_position for trial in checks) == dict.fromkeys(PLACES[:alternatives], 1)
        for trial in trials[:-2]:  # but for the reserve
            names = shown_names(trial)
            assert trial.real_position == PLACES[names.index(TRUTH)]
            shas = [trial.first_sha, trial.second_sha, *(sha for _, sha in trial.further)]
            for name, sha in zip(names, shas, strict=True):
                stimulus = study.manifest.stimuli[sha]
                assert stimulus.image == trial.image
                assert (stimulus.method or stimulus.role) == name
            if trial.kind == "vigilance":
                assert Counter(names) == {TRUTH: 1, "vigilance": alternatives - 1}
        assert len({trial.image for trial in trials}) == len(trials)


def test_sets_are_handed_out_evenly_and_the_photo_is_balanced_with_each(tmp_path):
    study = make_study(
        tmp_path / "study", "simultaneous", alternatives=3, n_methods=3, n_images=30, test_trials=20, vigilance_trials=2,
        methods_per_person="all",
    )  # fmt: skip
    trials = plan_session(study, tuple(arms(study)), Counter(), random.Random(0))
    places = Counter((frozenset(shown_names(trial)), trial.real_position) for trial in trials if trial.kind == "test")
    assert len(places) == 9
    assert set(places.values()) == {2}
    with pytest.raises(
        InputError, match=r"of 3 sets of 2 methods per person; allowed is a multiple of 9.*test_trials = 20"
    ):
        check_before_build(
            Protocol.of_preset("simultaneous", alternatives=3, methods_per_person="all", test_trials=14, vigilance_trials=2),
            100, 3, tmp_path,
        )  # fmt: skip


def play(client, storage, *, find):
    """The rest of a session by one who finds the real photo in trials of these kinds, else takes the place after it; the last view."""
    view, told = client.view(), []
    while view["phase"] != "done":
        number = view["trial"]["number"]
        client.show(number)
        row = storage.read(
            lambda c, number=number: c.execute(
                sa.select(tables.trial).where(T.position == number, T.state == "shown")
            ).one()
        )
        place = PLACES.index(row.real_position)
        response = PLACES[place if row.kind in find else (place + 1) % 4]
        view = client.answer(number, response).get_json()
        told.append((row.kind, row.real_position, view["feedback"]))
    return view, told


def test_a_session_is_played_counted_exported_and_analysed(tmp_path, make_client):
    study = make_study(tmp_path / "study", "simultaneous", **FOUR)
    client = make_client(study)
    storage = client.app.extensions["turing_test"].storage
    client.enter()
    images = client.view()["trial"]["images"]
    assert len({client.client.get(image).data for image in images}) == 4
    done, told = play(client, storage, find=("test", "practice", "vigilance"))
    assert done["state"] == "completed"
    assert [feedback for kind, _, feedback in told if kind != "practice"] == [None] * 10
    assert [feedback for kind, _, feedback in told if kind == "practice"] == [
        {"correct": True, "real": place} for kind, place, _ in told if kind == "practice"
    ]
    count_places(storage, study)
    assert list(storage.read(rule_counts).values()) == [{"vigilance": 2}]
    assert [person.vigilance_right for person in storage.read(lambda c: people(c, study, now=time.time()))] == [2]
    progress = storage.read(lambda c: look_at(c, study))
    assert (progress.arms[0].name, progress.arms[0].valid) == ("truth or method a or method b or method c", 1)
    assert (progress.checks[0].right, progress.checks[0].answered) == (2, 2)
    assert sum(progress.exposures[0].counts.values()) == 8

    raw = raw_trials(storage, study)
    assert "fooled" not in raw.columns
    assert "method" not in raw.columns
    table = check_trials(raw)
    assert table.seeks_real
    assert set(table.of_kind("vigilance").value) == {0.0}
    test = table.of_kind("test")
    assert set(test["real_found"]) == {"1"}
    assert set(test["method_chosen"]) == {TRUTH}
    assert Counter(test["real_position"].tolist()) == dict.fromkeys(PLACES[:4], 2)
    assert set(test["presented"]) == {"4 at once, 2 in a row, for 20 ms"}
    results = analyze_preferences(table)
    assert results.seeks_real
    assert {share.name: (share.n_chosen, share.n_trials, share.chance) for share in results.choices} == {
        TRUTH: (8, 8, 0.25), "method a": (0, 8, 0.25), "method b": (0, 8, 0.25), "method c": (0, 8, 0.25)
    }  # fmt: skip


def test_who_takes_what_is_wrong_for_the_photo_fails_the_rule(tmp_path, make_client):
    study = make_study(tmp_path / "study", "simultaneous", **FOUR)
    client = make_client(study)
    storage = client.app.extensions["turing_test"].storage
    client.enter()
    _, told = play(client, storage, find=("test",))
    assert {feedback["correct"] for kind, _, feedback in told if kind == "practice"} == {False}
    count_places(storage, study)
    assert storage.read(rule_counts) == {}
    (person,) = storage.read(lambda c: people(c, study, now=time.time()))
    assert person.vigilance_right == 0
    progress = storage.read(lambda c: look_at(c, study))
    assert (progress.arms[0].valid, progress.arms[0].excluded) == (0, 1)
    table = check_trials(raw_trials(storage, study))
    assert set(table.of_kind("vigilance").value) == {1.0}


def test_a_spoiled_vigilance_trial_is_replaced_by_one(tmp_path, make_client):
    study = make_study(tmp_path / "study", "simultaneous", **FOUR, practice_trials=0)
    client = make_client(study)
    storage = client.app.extensions["turing_test"].storage
    client.enter()
    while True:
        number = client.view()["trial"]["number"]
        row = storage.read(
            lambda c, number=number: c.execute(sa.select(tables.trial).where(T.position == number)).one()
        )
        if row.kind == "vigilance":
            break
        client.show(number)
        client.answer(number, "first")
    assert client.on_trial(number, "begin").get_json()["replaced"] is False
    client.load = "load-2"
    begun = client.on_trial(number, "begin").get_json()
    assert begun["replaced"]
    assert all(client.client.get(image).status_code == 200 for image in begun["view"]["trial"]["images"])
    new = storage.read(
        lambda c: c.execute(sa.select(tables.trial).where(T.position == number, T.state != "replaced")).one()
    )
    assert (new.kind, new.real_position, new.method, new.other_method) == (
        "vigilance", row.real_position, row.method, row.other_method
    )  # fmt: skip
    assert new.image != row.image


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "zhang2016", "alternatives": 3}, 'preset = "zhang2016"; allowed is 2, or preset = "simultaneous"'),
        ({"preset": "naturalness", "alternatives": 3}, 'preset = "naturalness"; allowed is 2, or preset = "simultaneous"'),
        ({"alternatives": 5}, r"is 36 with alternatives = 5; allowed is a multiple of 5.*such as test_trials = 44"),
        ({"alternatives": 3, "side_by_side": False}, "side_by_side is false with alternatives = 3"),
        ({"alternatives": 3, "gap_ms": 100}, "gap_ms is 100"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        Protocol.of_preset(**{"preset": "simultaneous", **changes})


def test_too_few_methods_and_names_of_what_is_no_method_are_refused(tmp_path):
    protocol = Protocol.of_preset("simultaneous", alternatives=4)
    with pytest.raises(
        InputError,
        match="real photo and 3 colorizations by different methods, and the study has 2 methods; allowed is at most 3",
    ):
        check_before_build(protocol, 100, 2, tmp_path)
    with pytest.raises(InputError, match="a method is named 'vigilance'"):
        check_names(protocol, ("mine", "vigilance", "other"), tmp_path)
    check_names(Protocol.of_preset("simultaneous"), ("mine", "vigilance"), tmp_path)


def test_studies_of_two_are_the_same_as_before():
    assert (
        Protocol.of_preset("simultaneous").asked_digest
        == "39a4d3ae40a7b09f4ce02a77d5ac26c85875ea33ea8c6f8402d8c41bd708a976"  # printed by the version before the option
    )


@pytest.mark.parametrize(
    ("language", "question", "now"),
    [
        ("en", "Which image do you think had the real colors?", "Which image do you think has the real colors?"),
        ("de", "Welches Bild hatte wohl die echten Farben?", "Welches Bild hat wohl die echten Farben?"),
    ],
)
def test_the_page_asks_for_the_real_photo(language, question, now):
    for image_ms, asked in ((1000, question), ("until answered", now)):
        protocol = Protocol.of_preset("simultaneous", alternatives=3, language=language, image_ms=image_ms)
        variables = page_variables(protocol)
        assert variables["texts"]["question"][variables["question"]] == asked
        about = variables["texts"]["instructions"][variables["instructions"]]["about"].format(**variables["numbers"])
        assert {"en": "3 times at once", "de": "3-mal auf einmal"}[language] in about
    assert "fake" in page_variables(Protocol.of_preset("simultaneous"))["texts"]["question"]["simultaneous"]


def test_the_doctor_tells_chance(tmp_path):
    study = make_study(tmp_path / "study", "simultaneous", **FOUR)
    (found,) = [check.finding for check in examine(study.folder) if check.name == "protocol"]
    assert found.endswith("each trial is a search for the real photo among 4: chance 25 %")
