"""Choices among several images at once: who sees what where, what is stored, and what the export says of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import combinations, pairwise

import pytest
import sqlalchemy as sa

from analysis.study.preferences import analyze_preferences
from analysis.trials.columns import PLACES
from analysis.trials.trial_table import check_trials
from evalkit.errors import InputError
from tests.turing_test.participants import exposure
from tests.turing_test.studies import make_study
from turing_test.commands.study_files import texts_command
from turing_test.database import schema as tables
from turing_test.results.export import raw_trials
from turing_test.results.monitoring import look_at
from turing_test.server.doctor import examine
from turing_test.sessions.assignment import arms, plan_session
from turing_test.sessions.place_counters import count_places
from turing_test.sessions.places import images_shown, sessions_by_arms
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import check_before_build
from turing_test.study.texts import read_texts

T = tables.trial.c
FOUR = {"alternatives": 4, "n_methods": 4, "n_images": 24, "test_trials": 8}


def shown_methods(trial):
    return (trial.method, trial.other_method, *(method for method, _ in trial.further))


@pytest.mark.parametrize(("alternatives", "n_methods"), [(3, 3), (4, 4), (5, 5), (3, 4)])
def test_each_method_stands_in_every_place_equally_often(tmp_path, alternatives, n_methods):
    n_trials = 4 * alternatives
    study = make_study(
        tmp_path / "study", "preference", alternatives=alternatives, n_methods=n_methods, n_images=n_trials + 4, test_trials=n_trials
    )  # fmt: skip
    every = arms(study)
    assert every == list(combinations(study.manifest.methods, alternatives))
    for seed in range(5):
        arm = every[seed % len(every)]
        trials = plan_session(study, (arm,), Counter(), random.Random(seed))
        test = [shown_methods(trial) for trial in trials if trial.kind == "test"]
        assert len(test) == n_trials
        assert all(sorted(own) == list(arm) for own in test)
        stands = Counter((method, place) for own in test for place, method in enumerate(own))
        assert set(stands.values()) == {n_trials // alternatives}
        follows = Counter(pair for own in test for pair in pairwise(own))
        assert len(follows) == alternatives * (alternatives - 1)  # each beside every other one
        assert len({trial.image for trial in trials}) == len(trials)


def test_a_session_is_played_counted_and_exported(tmp_path, make_client):
    study = make_study(tmp_path / "study", "preference", **FOUR)
    client = make_client(study)
    client.enter()
    view = client.view()
    assert view["window"] == {"width": 640, "height": 2 * 64 + 16 + 48}
    images = view["trial"]["images"]
    assert len(set(images)) == 4
    assert len({client.client.get(image).data for image in images}) == 4
    response = client.on_trial(1, "shown", **dict.fromkeys(PLACES[:4], exposure()), first_place=1)
    assert "is not known" in response.get_json()["error"]
    done = client.play("third")
    assert done["state"] == "completed"

    storage = client.app.extensions["turing_test"].storage
    count_places(storage, study)
    arm = arms(study)[0]
    assert storage.read(lambda c: sessions_by_arms(c, simulated=False)) == {(arm,): 1}
    shown = storage.read(lambda c: images_shown(c, (arm,), simulated=False))
    assert sum(shown.values()) == 8
    progress = storage.read(lambda c: look_at(c, study))
    assert progress.arms[0].name == "method a or method b or method c or method d"
    assert progress.arms[0].valid == 1
    assert sum(progress.exposures[0].counts.values()) == 8
    assert not progress.timing.flags

    table = check_trials(raw_trials(storage, study))
    test = table.of_kind("test")
    assert test.n_alternatives == 4
    rows = storage.read(lambda c: c.execute(sa.select(tables.trial).where(T.kind == "test").order_by(T.position)).all())
    for k, row in enumerate(rows):
        further = [method for method, _, _ in json.loads(row.further)]
        assert [test[f"method_{place}"][k] for place in PLACES[:4]] == [row.method, row.other_method, *further]
        assert test["method_chosen"][k] == further[0]
    assert set(test["response"]) == {"third"}
    assert set(test["presented"]) == {"4 at once, 2 in a row, for 20 ms"}
    results = analyze_preferences(table)
    assert "one participant" in results.notes[0]
    assert sum(share.n_chosen for share in results.choices) == 8
    assert [(share.name, share.n_chosen, share.n_trials) for share in results.places] == [
        ("first", 0, 8), ("second", 0, 8), ("third", 8, 8), ("fourth", 0, 8)
    ]  # fmt: skip


def test_a_spoiled_trial_is_replaced_in_the_same_order(tmp_path, make_client):
    study = make_study(tmp_path / "study", "preference", **FOUR, practice_trials=0)
    client = make_client(study)
    client.enter()
    before = client.view()["trial"]["images"]
    assert client.on_trial(1, "begin").get_json()["replaced"] is False
    client.load = "load-2"
    begun = client.on_trial(1, "begin").get_json()
    assert begun["replaced"]
    images = begun["view"]["trial"]["images"]
    assert len(set(images)) == 4
    assert not set(images) & set(before)
    assert all(client.client.get(image).status_code == 200 for image in images)
    storage = client.app.extensions["turing_test"].storage
    spoiled, substitute = storage.read(
        lambda c: c.execute(sa.select(tables.trial).where(T.position == 1).order_by(T.number)).all()
    )

    def order(row):
        return [row.method, row.other_method, *(method for method, _, _ in json.loads(row.further))]

    assert order(spoiled) == order(substitute)
    assert spoiled.image != substitute.image


def test_images_ahead_of_several_are_told_and_can_be_fetched(tmp_path, make_client):
    client = make_client(make_study(tmp_path / "study", "preference", **FOUR))
    client.enter()
    ahead = client.client.get(f"/api/s/{client.token}/ahead").get_json()["images"]
    assert len(ahead) == len(set(ahead)) == 6 * 4
    bodies = {client.client.get(image).data for image in ahead}
    assert len(bodies) == 24


def test_an_answer_for_a_place_that_is_not_there_is_refused(tmp_path, make_client):
    client = make_client(make_study(tmp_path / "study", "preference", **FOUR))
    client.enter()
    client.show(1)
    response = client.answer(1, "fifth")
    assert response.status_code == 400
    assert '"first", "second", "third", "fourth"' in response.get_json()["error"]
    assert client.answer(1, "fourth").status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "zhang2016", "alternatives": 3}, 'alternatives is 3 with preset = "zhang2016"; allowed is 2'),
        ({"preset": "preference", "alternatives": 10}, "alternatives is 10; allowed is a whole number from 2 to 9"),
        ({"preset": "preference", "alternatives": 3, "side_by_side": False}, "side_by_side is false with alternatives = 3"),
        ({"preset": "preference", "alternatives": 3, "gap_ms": 100}, "gap_ms is 100 with side_by_side = true"),
        ({"preset": "preference", "images_per_row": 2}, "images_per_row is 2 with alternatives = 2; allowed is 0, or more"),
        ({"preset": "preference", "alternatives": 3, "images_per_row": 4}, "allowed is 0, or 2 to 3"),
        ({"preset": "preference", "alternatives": 4, "min_width": 500}, "min_width is 500, too little.*at least 528"),
        ({"preset": "preference", "alternatives": 4, "min_height": 500}, "min_height is 500, too little.*at least 576"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        Protocol.of_preset(**changes)


def test_the_window_has_room_for_rows_and_columns():
    def window(**changes):
        protocol = Protocol.of_preset("preference", size=256, **changes)
        return protocol.window_width, protocol.window_height

    assert window(alternatives=3) == (3 * 256 + 2 * 16, 256 + 48)
    assert window(alternatives=4) == (640, 2 * 256 + 16 + 48)
    assert window(alternatives=4, image_ms="until answered") == (640, 2 * (256 + 64) + 16 + 48)
    assert window(alternatives=5, images_per_row=5) == (5 * 256 + 4 * 16, 256 + 48)
    assert window(alternatives=9) == (800, 3 * 256 + 2 * 16 + 48)


def test_studies_without_it_are_the_same_as_before():
    assert (
        Protocol.of_preset("preference").asked_digest
        == (
            "0e7d5a33047f026ff07d2b3f8b4b5f251b07d632351d91e32e27636edbda0fcb"  # printed by the version before the options came
        )
    )


def test_fewer_methods_than_places_are_refused(tmp_path):
    with pytest.raises(
        InputError,
        match=r"compares 4 \(alternatives\) methods, and the study has 3; lower alternatives to 3, or add methods",
    ):
        make_study(tmp_path / "study", "preference", **{**FOUR, "n_methods": 3})


def test_a_language_of_ones_own_needs_the_texts_only_where_they_are_shown(tmp_path):
    from click.testing import CliRunner

    text = CliRunner().invoke(texts_command, []).output
    (tmp_path / "texts").mkdir()
    lines, skip = [], False
    for line in text.splitlines():
        skip = "several" in line if line.startswith("[") else skip
        if not skip and "several" not in line:
            lines.append(line)
    (tmp_path / "texts" / "eo.toml").write_text("\n".join(lines))
    assert "question" in read_texts("eo", tmp_path)
    check_before_build(Protocol.of_preset("preference", language="eo"), 100, 4, tmp_path)
    with pytest.raises(InputError, match=r"has no text instructions\.keys_several, which a study with more than 2"):
        check_before_build(Protocol.of_preset("preference", language="eo", alternatives=3), 100, 4, tmp_path)


def test_the_doctor_tells_chance(tmp_path):
    study = make_study(tmp_path / "study", "preference", **FOUR)
    (found,) = [check.finding for check in examine(study.folder) if check.name == "protocol"]
    assert found.endswith("each trial is a choice among 4: chance 25 %")
