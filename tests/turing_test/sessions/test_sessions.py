"""A session from consent to its end, on both databases."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from tests.turing_test.studies import IMAGE_MS, make_study
from turing_test.database import schema as tables
from turing_test.sessions import lifecycle as sessions
from turing_test.sessions import presentation
from turing_test.sessions.lifecycle import SIMULATED
from turing_test.sessions.presentation import DisplayTimes, GivenAnswer
from turing_test.sessions.recruiters import Arrival
from turing_test.sessions.refusal import Refused
from turing_test.sessions.timing_flags import Exposure
from turing_test.sessions.tokens import digest

LINK = Arrival(platform="link", person=None, verified=False)
PERSONAL = Arrival(platform="link", person=None, verified=True)
DEVICE = {"width": 1280, "height": 800, "refresh_hz": 60.0}
SHOWN = [Exposure(on_ms=on, off_ms=on + IMAGE_MS, frames=1, largest_gap_ms=16.7, hidden=False) for on in (100.0, 120.0)]
T, S = tables.trial.c, tables.session.c


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study")


@pytest.fixture
def test_alone(tmp_path):
    """Without practice: the first trial is one of the test."""
    return make_study(tmp_path / "study", practice_trials=0)


def person(name, place=None, platform="prolific"):
    return Arrival(platform=platform, person=name, verified=False, place=place)


def screened(storage, study, arrival=LINK):
    token, _ = sessions.start(storage, study, arrival, "0" * 64)
    snapshot = sessions.record_device(storage, study, token, DEVICE)
    assert snapshot.state == "screened"
    return token


def do_trial(storage, study, token, position, response="first", load="a"):
    presentation.begin(storage, study, token, position, load)
    presentation.shown(storage, study, token, position, DisplayTimes(load=load, exposures=SHOWN))
    return presentation.answer(storage, study, GivenAnswer(token, position, load, response, 300.0))


def do_session(storage, study, token, first=1):
    for position in range(first, study.protocol.session_trials + 1):
        last = do_trial(storage, study, token, position, random.choice(("first", "second")))
    return last.snapshot


def rows(storage, *columns, where=None):
    query = sa.select(*columns).where(sa.true() if where is None else where).order_by(T.session_id, T.number)
    return storage.read(lambda c: c.execute(query).all())


def refusal(call, *arguments):
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value


# --- the way through ---------------------------------------------------------------------------------------------


def test_a_whole_session_passes_through_the_states_and_is_stored_row_by_row(storage, study):
    token, snapshot = sessions.start(storage, study, LINK, "c" * 64)
    assert snapshot.state == "consented"
    assert sessions.record_device(storage, study, token, DEVICE).state == "screened"
    states = [do_trial(storage, study, token, n).snapshot.state for n in range(1, 11)]
    assert states == ["practice"] + ["test"] * 8 + ["completed"]
    stored = rows(storage, T.position, T.state, T.response, T.response_ms, where=T.position.is_not(None))
    assert [tuple(row) for row in stored] == [(n, "answered", "first", 300.0) for n in range(1, 11)]
    row = storage.read(lambda c: c.execute(sa.select(tables.session)).one())
    assert (row.consent_hash, row.verified, row.simulated, row.person_hash) == ("c" * 64, False, False, None)
    assert row.ended_at is not None
    assert token not in str(tuple(row))


def test_practice_answers_get_feedback_and_test_answers_none(storage, study):
    token = screened(storage, study)
    for n in range(1, 4):
        (position,) = rows(storage, T.real_position, where=T.position == n)[0]
        done = do_trial(storage, study, token, n, position)
        if n <= 2:
            assert done.feedback is not None
            assert not done.feedback.correct
            assert done.feedback.fake != position
        else:
            assert done.feedback is None


def test_the_same_answer_again_is_acknowledged_again_and_another_one_refused(storage, study):
    token = screened(storage, study)
    first = do_trial(storage, study, token, 1, "first")
    again = presentation.answer(storage, study, GivenAnswer(token, 1, "other load", "first", 999.0))
    assert again.feedback == first.feedback
    assert again.snapshot.position == 2
    refused = refusal(presentation.answer, storage, study, GivenAnswer(token, 1, "a", "second", 300.0))
    assert refused.status == 409
    assert rows(storage, T.response, T.response_ms, where=T.position == 1) == [("first", 300.0)]


@pytest.mark.parametrize("position", [2, 5, 10, 11, 1000])
def test_trials_are_done_in_order(storage, study, position):
    token = screened(storage, study)
    for call in (
        lambda: presentation.begin(storage, study, token, position, "a"),
        lambda: presentation.shown(storage, study, token, position, DisplayTimes(load="a", exposures=SHOWN)),
        lambda: presentation.answer(storage, study, GivenAnswer(token, position, "a", "first", 1.0)),
    ):
        assert refusal(call).status == 409


def test_answers_need_images_that_were_shown_unless_simulated(storage, study):
    token = screened(storage, study)
    assert (
        "not shown" in refusal(presentation.answer, storage, study, GivenAnswer(token, 1, "a", "first", 1.0)).sentence
    )
    presentation.begin(storage, study, token, 1, "a")
    assert refusal(presentation.answer, storage, study, GivenAnswer(token, 1, "a", "first", 1.0)).status == 409
    simulated = screened(storage, study, SIMULATED)
    done = presentation.answer(storage, study, GivenAnswer(simulated, 1, "a", "first", 1.0))
    assert done.snapshot.position == 2
    assert rows(storage, T.flags, where=T.state == "answered") == [("untimed",)]


def test_display_times_are_stored_and_a_miss_is_flagged(storage, study):
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    late = Exposure(
        on_ms=1700.0, off_ms=1754.0, frames=2, largest_gap_ms=33.4, hidden=True, clock="presented", cropped=True
    )
    presentation.shown(storage, study, token, 1, DisplayTimes(load="a", exposures=[SHOWN[0], late]))
    (row,) = rows(
        storage, T.first_on_ms, T.second_off_ms, T.second_frames, T.second_clock, T.flags, where=T.position == 1
    )
    assert tuple(row) == (100.0, 1754.0, 2, "presented", "hidden cropped second_duration not_fetched")


# --- reloads -----------------------------------------------------------------------------------------------------


def test_a_pair_interrupted_by_a_reload_is_replaced_by_one_of_the_same_kind_and_side(storage, test_alone):
    study = test_alone
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    before = rows(storage, T.kind, T.real_position, T.image, where=T.position == 1)[0]
    begun = presentation.begin(storage, study, token, 1, "b")
    assert begun.replaced
    assert begun.snapshot.position == 1
    old, new = rows(storage, T.kind, T.real_position, T.image, T.state, T.number, T.replaced_by, where=T.position == 1)
    assert (old.state, new.state, old.replaced_by) == ("replaced", "pending", new.number)
    assert (new.kind, new.real_position) == before[:2] == (old.kind, old.real_position)
    assert new.image != before.image
    assert not presentation.begin(storage, study, token, 1, "b").replaced


def test_a_practice_pair_interrupted_by_a_reload_is_shown_again_and_takes_nothing_from_the_reserve(storage, study):
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    begun = presentation.begin(storage, study, token, 1, "b")
    assert not begun.replaced
    assert refusal(presentation.shown, storage, study, token, 1, DisplayTimes(load="a", exposures=SHOWN)).status == 409
    do_trial(storage, study, token, 1, load="b")
    assert Counter(state for (state,) in rows(storage, T.state)) == {"answered": 1, "pending": 11}


def test_a_pair_that_was_fully_shown_is_answered_after_a_reload_and_says_so(storage, study):
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    presentation.shown(storage, study, token, 1, DisplayTimes(load="a", exposures=SHOWN))
    assert "only the answer" in refusal(presentation.begin, storage, study, token, 1, "b").sentence
    presentation.answer(storage, study, GivenAnswer(token, 1, "b", "first", 1.0))
    assert rows(storage, T.flags, where=T.position == 1) == [("not_fetched reloaded",)]


def test_with_an_empty_reserve_the_trial_is_lost_and_the_session_goes_on(storage, test_alone):
    study = test_alone
    token = screened(storage, study)
    for load in "abbcc":
        assert presentation.begin(storage, study, token, 1, load).snapshot.position == 1
    lost = presentation.begin(storage, study, token, 1, "d")
    assert lost.replaced
    assert lost.snapshot.position == 2
    assert do_session(storage, study, token, first=2).state == "completed"
    assert Counter(state for (state,) in rows(storage, T.state)) == {"replaced": 3, "answered": 7}


def test_vigilance_trials_stay_so_when_replaced_and_sides_stay_balanced(storage, tmp_path):
    study = make_study(tmp_path / "study", practice_trials=0, reserve_trials=8)
    token = screened(storage, study)
    for position in range(1, 9):
        presentation.begin(storage, study, token, position, "a")
        presentation.begin(storage, study, token, position, "b")
        do_trial(storage, study, token, position, load="b")
    answered = rows(storage, T.kind, T.real_position, T.first_sha, T.second_sha, where=T.state == "answered")
    assert Counter((kind, side) for kind, side, *_ in answered) == {
        ("test", "first"): 3, ("test", "second"): 3, ("vigilance", "first"): 1, ("vigilance", "second"): 1,
    }  # fmt: skip
    for kind, side, first, second in answered:
        fake = study.manifest.stimuli[second if side == "first" else first]
        assert fake.role == ("vigilance" if kind == "vigilance" else "method")


@pytest.mark.parametrize("preset", ["preference", "naturalness"])
def test_other_presets_replace_as_well(storage, tmp_path, preset):
    study = make_study(tmp_path / "study", preset, practice_trials=0)
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    assert presentation.begin(storage, study, token, 1, "b").replaced
    old, new = rows(storage, T.method, T.other_method, T.second_sha, where=T.position == 1)
    assert old[:2] == new[:2]
    assert (new.second_sha is None) == (preset == "naturalness")


# --- people ------------------------------------------------------------------------------------------------------


def test_one_session_a_person_and_no_readable_identity(storage, study):
    sessions.start(storage, study, person("anna", "submission 1"), "0" * 64)
    for place in ("submission 2", None):
        assert refusal(sessions.start, storage, study, person("anna", place), "0" * 64).status == 409
    sessions.start(storage, study, person("anna", "submission 1", "mturk"), "0" * 64)
    stored = str(storage.read(lambda c: c.execute(sa.select(tables.session)).all()))
    assert "anna" not in stored
    assert "submission" not in stored
    assert digest("prolific\0anna") not in stored, "a digest without a key can be guessed"


def test_an_interrupted_participation_is_found_again_by_its_place_not_by_the_person_alone(storage, study):
    arrival = person("anna", "assignment 1", "mturk")
    token = screened(storage, study, arrival)
    do_trial(storage, study, token, 1)
    new, snapshot = sessions.start(storage, study, arrival, "0" * 64)
    assert new != token
    assert snapshot.position == 2
    assert refusal(sessions.look_up, storage, token).status == 404
    assert do_session(storage, study, new, first=2).state == "completed"


def test_a_one_time_link_works_once_and_finds_its_session_again(storage, study):
    links = [f"{i:024}" for i in range(2)]
    values = [{"token_hash": digest(link), "created_at": 0.0} for link in links]
    storage.write(lambda c: c.execute(sa.insert(tables.link), values))
    one, _ = sessions.start(storage, study, PERSONAL, "0" * 64, links[0])
    two, _ = sessions.start(storage, study, PERSONAL, "0" * 64, links[0])
    assert storage.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(tables.session)).scalar_one()) == 1
    assert refusal(sessions.look_up, storage, one).status == 404
    assert sessions.look_up(storage, two).position == 1
    assert refusal(sessions.start, storage, study, PERSONAL, "0" * 64, "x" * 24).status == 404
    assert storage.read(lambda c: c.execute(sa.select(S.verified)).scalars().all()) == [True]


def test_a_study_without_open_link_takes_personal_links_only(storage, tmp_path):
    study = make_study(tmp_path / "study", open_link=False)
    assert "personal link" in refusal(sessions.start, storage, study, LINK, "0" * 64).sentence
    sessions.start(storage, study, person("p"), "0" * 64)


def test_declining_stores_no_person_and_takes_no_place(storage, study):
    handles = {"SESSION_ID": "s-anna"}
    arrival = Arrival(
        platform="prolific", person="anna", verified=True, place="s-anna", handles=handles, proof="proof-anna"
    )
    _, snapshot = sessions.decline(storage, arrival)
    assert snapshot.state == "declined"
    row = storage.read(lambda c: c.execute(sa.select(tables.session)).one())
    assert (row.person_hash, row.arrival_hash, row.arrival, row.method, row.n_trials) == (None, None, None, None, 0)
    assert "anna" not in str(tuple(row))
    assert storage.read(lambda c: c.execute(sa.select(tables.event)).all()) == []
    sessions.start(storage, study, person("anna"), "0" * 64)


# --- other ends --------------------------------------------------------------------------------------------------


SMALL = [{"width": 639}, {"height": 111}]


@pytest.mark.parametrize("small", SMALL)
def test_a_window_that_is_too_small_ends_nothing_and_may_become_larger(storage, study, small):
    token, _ = sessions.start(storage, study, LINK, "0" * 64)
    assert sessions.record_device(storage, study, token, {**DEVICE, **small}).state == "consented"
    assert refusal(presentation.begin, storage, study, token, 1, "a").status == 409
    assert sessions.record_device(storage, study, token, DEVICE).state == "screened"


def test_who_gives_up_for_want_of_a_larger_window_may_come_back_on_another_device(storage, study):
    arrival = person("anna", "submission 1")
    token, _ = sessions.start(storage, study, arrival, "0" * 64)
    ended = sessions.record_device(storage, study, token, {**DEVICE, "width": 300, "give_up": True})
    assert ended.state == "incompatible"
    assert "give_up" not in ended.device
    again, snapshot = sessions.start(storage, study, arrival, "0" * 64)
    assert (snapshot.state, snapshot.device, snapshot.position) == ("consented", None, 1)
    assert sessions.record_device(storage, study, again, DEVICE).state == "screened"


def test_a_session_that_goes_on_elsewhere_is_measured_anew(storage, study):
    token = screened(storage, study)
    do_trial(storage, study, token, 1)
    phone = {**DEVICE, "width": 700, "refresh_hz": 120.0}
    snapshot = sessions.record_device(storage, study, token, phone)
    assert (snapshot.state, snapshot.refresh_hz, json.loads(snapshot.device)) == ("practice", 120.0, phone)
    (event,) = storage.read(lambda c: c.execute(sa.select(tables.event)).all())
    assert (event.kind, json.loads(event.detail)) == ("device", DEVICE)


@pytest.mark.parametrize(("wrong", "state"), [(0, "screened"), (1, "screened"), (2, "screened_out")])
def test_the_screen_of_colour_vision_decides(storage, tmp_path, wrong, state):
    study = make_study(tmp_path / "study", color_vision=True)
    token, _ = sessions.start(storage, study, LINK, "0" * 64)
    answers = [plate.answer for plate in study.manifest.plates]
    assert refusal(sessions.record_vision, storage, study, token, answers).status == 409  # the device comes first
    assert sessions.record_device(storage, study, token, DEVICE).state == "consented"
    assert refusal(presentation.begin, storage, study, token, 1, "a").status == 409
    assert refusal(sessions.record_vision, storage, study, token, answers[1:]).status == 400
    answers[5 - wrong :] = [""] * wrong
    assert sessions.record_vision(storage, study, token, answers).state == state
    if state == "screened":  # the answer to the first request got lost
        assert sessions.record_vision(storage, study, token, answers).state == state


def test_withdrawing_ends_the_session_and_frees_the_place(storage, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=1, n_methods=1)
    token = screened(storage, study)
    assert sessions.start(storage, study, LINK, "0" * 64)[1].state == "full"
    assert sessions.withdraw(storage, study, token).state == "withdrawn"
    assert sessions.withdraw(storage, study, token).state == "withdrawn"
    assert refusal(presentation.begin, storage, study, token, 1, "a").status == 409
    screened(storage, study)


def test_an_idle_session_expires_and_frees_its_place(storage, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=1, n_methods=1, session_timeout_s=60)
    token = screened(storage, study)
    storage.write(lambda c: c.execute(sa.update(tables.session).values(updated_at=S.updated_at - 61)))
    snapshot = sessions.look_up(storage, token)
    assert snapshot.effective_state(study.protocol) == "expired"
    assert refusal(presentation.begin, storage, study, token, 1, "a").status == 409
    screened(storage, study)
    assert sessions.look_up(storage, token).state == "expired"


def test_completed_sessions_that_break_a_declared_rule_are_made_up_for(storage, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=1, n_methods=1, catch_trials=4, catch_pass=4)
    token = screened(storage, study)
    sides = dict(rows(storage, T.position, T.real_position, where=T.position.is_not(None)))
    for position, side in sides.items():
        do_trial(storage, study, token, position, side)  # always wrong
    token = screened(storage, study)  # so the place is free
    for position, side in dict(rows(storage, T.position, T.real_position, where=T.state == "pending")).items():
        if position is not None:
            do_trial(storage, study, token, position, "second" if side == "first" else "first")
    assert sessions.start(storage, study, LINK, "0" * 64)[1].state == "full"


# --- balance -----------------------------------------------------------------------------------------------------


def exposures(storage, study, states):
    """Sessions per method, and per method how often each image is shown in test trials, zeros included."""
    where = S.state.in_(states)
    methods = storage.read(lambda c: c.execute(sa.select(S.method).where(where)).scalars().all())
    pairs = storage.read(
        lambda c: c.execute(
            sa.select(S.method, T.image)
            .join_from(tables.session, tables.trial, T.session_id == S.id)
            .where(where, T.kind == "test", T.state != "replaced")
        ).all()
    )
    counted = Counter(tuple(pair) for pair in pairs)
    shown = {m: [counted[m, image] for image in study.manifest.images] for m in study.manifest.methods}
    return Counter(methods), shown


def all_at_once(count, work):
    """Run `work` so many times in 16 threads."""
    todo = iter(range(count))
    errors = []

    def run():
        try:
            for index in todo:  # `next` of an iterator over a range is atomic
                work(index)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]


def test_500_arriving_at_once_are_spread_evenly_and_those_who_drop_out_are_replaced(storage, tmp_path):
    study = make_study(
        tmp_path / "study", n_methods=8, n_images=37, practice_trials=0, test_trials=10, vigilance_trials=2,
        sessions_per_method=63,
    )  # fmt: skip
    tokens = {}

    def arrive(index):
        tokens[index], _ = sessions.start(storage, study, LINK, "0" * 64)

    all_at_once(500, arrive)
    counts, shown = exposures(storage, study, ["consented"])
    assert sorted(counts.values()) == [62] * 4 + [63] * 4
    assert max(max(per_image) - min(per_image) for per_image in shown.values()) <= 1
    sides = Counter(
        (row.session_id, row.real_position)
        for row in rows(storage, T.session_id, T.real_position, where=T.phase == "test")
    )
    assert set(sides.values()) == {5}, "half of the real images on each side in every session"

    rng = random.Random(3)
    leaving = [index for index in tokens if rng.random() < 0.2]
    all_at_once(len(leaving), lambda index: sessions.withdraw(storage, study, tokens[leaving[index]]))
    complete = sa.update(tables.session).where(S.state == "consented").values(state="completed")
    storage.write(lambda c: c.execute(complete))

    full = []

    def replace(_):
        token, snapshot = sessions.start(storage, study, LINK, "0" * 64)
        if snapshot.state == "full":
            full.append(token)
            return
        if rng.random() < 0.2:
            sessions.withdraw(storage, study, token)

    while len(full) < 32:  # until there is no place for any of 32
        full.clear()
        all_at_once(32, replace)
        storage.write(lambda c: c.execute(complete))
    counts, shown = exposures(storage, study, ["completed"])
    assert set(counts.values()) == {63}
    assert max(max(per_image) - min(per_image) for per_image in shown.values()) <= 1


def test_simulated_sessions_take_no_place_of_people(storage, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=1, n_methods=1)
    screened(storage, study, SIMULATED)
    screened(storage, study)


def test_two_answers_at_the_same_moment_count_once(storage, study):
    token = screened(storage, study)
    presentation.begin(storage, study, token, 1, "a")
    presentation.shown(storage, study, token, 1, DisplayTimes(load="a", exposures=SHOWN))
    outcomes = []

    def press(response):
        try:
            presentation.answer(storage, study, GivenAnswer(token, 1, "a", response, 1.0))
            outcomes.append(response)
        except Refused as refused:
            outcomes.append(refused.status)

    threads = [threading.Thread(target=press, args=(side,)) for side in ("first", "second") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((stored,),) = rows(storage, T.response, where=T.position == 1)
    assert Counter(outcomes) == {stored: 4, 409: 4}
