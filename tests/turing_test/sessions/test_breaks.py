"""Breaks: who rests is not idle, and what the page is told of it."""

import pytest
import sqlalchemy as sa

from tests.turing_test.participants import DEVICE
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.results.monitoring import look_at
from turing_test.results.people import people
from turing_test.sessions import clock

S = tables.session.c


@pytest.fixture
def rested(make_client, tmp_path):
    """Somebody at the break after the second trial of the test, in a study with one place."""
    study = make_study(
        tmp_path / "study", n_methods=1, sessions_per_method=1, practice_trials=1, break_every=2, break_s=1200
    )
    person = make_client(study)
    person.enter()
    for number in (1, 2, 3):
        assert person.view()["pause"] is None
        person.show(number)
        person.answer(number)
    return person


def storage_of(person):
    return person.app.extensions["turing_test"].storage


def wait(person, seconds):
    values = {"updated_at": S.updated_at - seconds}
    storage_of(person).write(lambda connection: connection.execute(sa.update(tables.session).values(values)))


def newcomer(person, make_client):
    """How it goes for somebody who comes now."""
    other = make_client(person.study)
    return other.start().get_json()["state"]


def test_the_page_is_told_what_is_left_of_the_break_until_the_next_trial_begins(rested):
    assert 1190 <= rested.view()["pause"]["seconds"] <= 1200
    wait(rested, 1000)
    assert 190 <= rested.view()["pause"]["seconds"] <= 200
    wait(rested, 1000)
    assert rested.view()["pause"] == {"seconds": 0}
    rested.on_trial(4, "begin")
    assert rested.view()["pause"] is None


def test_a_break_lends_no_place_and_ends_no_session(rested, make_client):
    wait(rested, 1790)
    assert newcomer(rested, make_client) == "full"
    wait(rested, 20)  # 600 s beyond the break: the place is lent
    assert newcomer(rested, make_client) == "consented"


def test_a_session_expires_an_hour_after_the_end_of_its_break_in_every_table(rested):
    storage = storage_of(rested)

    def told():
        states = storage.read(lambda c: [person.state for person in people(c, rested.study, now=clock.now())])
        (arm,) = storage.read(lambda c: look_at(c, rested.study)).arms
        return (rested.view()["state"], *states, arm.active)

    wait(rested, 4790)
    assert told() == ("test", "test", 1)
    wait(rested, 20)
    assert told() == ("expired", "expired", 0)


def test_whoever_comes_back_late_goes_on_and_an_answer_ends_the_allowance(rested):
    wait(rested, 4700)
    rested.load = "load-2"
    assert rested.on_session("device", DEVICE).get_json()["pause"] is not None
    rested.show(4)
    assert rested.answer(4).status_code == 200
    wait(rested, 3610)
    assert rested.view()["state"] == "expired"


def test_a_break_without_a_limit_tells_none_and_counts_as_idleness_in_the_end(make_client, tmp_path):
    person = make_client(make_study(tmp_path / "study", practice_trials=0, break_every=1, session_timeout_s=600))
    person.enter()
    assert person.view()["pause"] is None  # the first trial is no reason to rest
    person.show(1)
    person.answer(1)
    assert person.view()["pause"] == {"seconds": None}
    wait(person, 1190)
    assert person.view()["state"] == "test"
    wait(person, 20)
    assert person.view()["state"] == "expired"
