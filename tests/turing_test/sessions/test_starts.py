"""Several starts in one transaction: each is what it would be by itself."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from tests.turing_test.histories import DESIGNS
from tests.turing_test.sessions.test_place_counters import check
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
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


def test_the_same_page_or_person_twice_in_one_transaction_is_one_session(storage, together, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=8)
    register(storage, study)
    page = Arrival(platform="open", person=None, verified=False)

    def crowd(storage):
        pages = [start(storage, study, page, CONSENT, attempt=name) for name in ("a", "b", "a", "c", "b")]
        return pages, [start(storage, study, person(name), CONSENT) for name in ("one", "two", "one")]

    pages, people = together(crowd)
    assert [snapshot.id for _, snapshot in pages[2::2]] == [pages[k][1].id for k in (0, 1)]
    assert len({snapshot.id for _, snapshot in pages}) == 3
    assert people[2][1].id == people[0][1].id != people[1][1].id
    for token, snapshot in (*pages[2:], *people[1:]):  # older tokens of a session have ended
        assert look_up(storage, token).id == snapshot.id
    assert count_sessions(storage) == 5
    check(storage, study)


def test_keys_follow_the_order_of_coming_and_whoever_comes_alone_leaves_none_out(storage, together, tmp_path):
    study = make_study(tmp_path / "study", sessions_per_method=20)
    register(storage, study)
    alone = [start(storage, study, SIMULATED, CONSENT)[1].id for _ in range(3)]
    assert alone == [1, 2, 3]
    crowd = together(lambda storage: [start(storage, study, SIMULATED, CONSENT)[1].id for _ in range(20)])
    assert crowd == sorted(crowd)
    assert crowd[0] == 4
    assert start(storage, study, SIMULATED, CONSENT)[1].id > crowd[-1]
    assert count_sessions(storage) == 24


def test_a_crowd_that_cannot_be_stored_together_is_stored_one_by_one(storage, tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", sessions_per_method=20)
    register(storage, study)
    labels = iter(["a", "b", "b", *"cdefgh"])  # two of one name come to light when the crowd is stored
    monkeypatch.setattr("turing_test.sessions.lifecycle.new_label", lambda: next(labels))
    states, held, release = [], threading.Event(), threading.Event()

    def hold(connection):
        storage.lock_assignment(connection)
        held.set()
        release.wait(600)

    def begin():
        states.append(start(storage, study, SIMULATED, CONSENT)[1].state)

    holder = threading.Thread(target=lambda: storage.write_in_turn(hold))
    crowd = [threading.Thread(target=begin) for _ in range(3)]
    holder.start()
    held.wait(600)
    for each in crowd:
        each.start()
    while len(storage._group._waiting) < len(crowd):
        time.sleep(0.01)
    release.set()
    for each in (holder, *crowd):
        each.join()
    assert states == ["consented"] * 3
    stored = storage.read(lambda c: c.execute(sa.select(tables.session.c.label)).scalars().all())
    assert len(stored) == 3
    assert next(labels) > "d"  # more than one label each was needed
    check(storage, study)


def count_sessions(storage):
    return storage.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(tables.session)).scalar_one())
