"""Several starts in one transaction: each is what it would be by itself."""

from __future__ import annotations

import pytest

from tests.turing_test.histories import DESIGNS
from tests.turing_test.sessions.test_place_counters import check
from tests.turing_test.studies import make_study
from turing_test.database.study_record import register
from turing_test.sessions.lifecycle import SIMULATED, look_up, start
from turing_test.sessions.links import make_links
from turing_test.sessions.recruiters import Arrival

CONSENT = "0" * 64


def person(name):
    return Arrival(platform="prolific", person=name, verified=False, place=name, handles={"SESSION_ID": name})


class Together:
    """A study's database whose transactions are all one, as a crowd's are that comes while a commit is under way."""

    def __init__(self, storage, connection):
        self.lock_assignment = storage.lock_assignment
        self._connection = connection

    def write_in_turn(self, work):
        return work(self._connection)


@pytest.fixture
def together(storage):
    def run(work):
        return storage.write(lambda connection: work(Together(storage, connection)))

    return run


@pytest.mark.parametrize("design", DESIGNS)
def test_a_start_tells_what_the_database_holds(storage, tmp_path, design):
    study = make_study(tmp_path / "study", sessions_per_method=8, **DESIGNS[design])
    register(storage, study)
    for arrival in (person("one"), person("two"), SIMULATED):
        token, snapshot = start(storage, study, arrival, CONSENT)
        assert len(snapshot.upcoming) == 3
        assert look_up(storage, token) == snapshot


@pytest.mark.parametrize("design", DESIGNS)
def test_a_crowd_in_one_transaction_is_spread_and_counted_as_people_one_by_one_are(storage, together, tmp_path, design):
    study = make_study(tmp_path / "study", sessions_per_method=6, **DESIGNS[design])
    register(storage, study)

    def crowd(storage):
        people = [person(f"p{k}") for k in range(14)]
        return [start(storage, study, arrival, CONSENT)[1] for who in people for arrival in (who, SIMULATED)]

    states = [snapshot.state for snapshot in together(crowd)]
    check(storage, study)
    n_places = {"one method each": 6 * 2, "all methods": 6, "pairs": 6 * 3}[design]
    expected = ["consented"] * n_places + ["full"] * 14
    assert states[::2] == states[1::2] == expected[:14]


def test_whoever_comes_back_counts_for_those_who_come_in_the_same_transaction(storage, together, tmp_path, pass_time):
    study = make_study(tmp_path / "study", n_methods=1, sessions_per_method=3)
    register(storage, study)
    start(storage, study, person("back"), CONSENT)
    pass_time(study.protocol.session_timeout_s + 100)
    names = ["one", "back", "two", "three"]
    states = together(lambda storage: [start(storage, study, person(name), CONSENT)[1].state for name in names])
    assert states == ["consented", "consented", "consented", "full"]
    check(storage, study)


def test_a_link_that_is_used_keeps_its_place_no_longer_from_who_comes_after_it(storage, together, tmp_path):
    study = make_study(tmp_path / "study", n_methods=1, sessions_per_method=3)
    register(storage, study)
    link = make_links(storage, 1, "https://study.example.org")[0].rpartition("/")[2]
    by_link = Arrival(platform="link", person=None, verified=False)

    def crowd(storage):
        yield start(storage, study, person("one"), CONSENT)
        yield start(storage, study, by_link, CONSENT, link)
        yield start(storage, study, person("two"), CONSENT)
        yield start(storage, study, person("three"), CONSENT)

    states = [snapshot.state for _, snapshot in together(lambda storage: list(crowd(storage)))]
    assert states == ["consented", "consented", "consented", "full"]
    check(storage, study)
