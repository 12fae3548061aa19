"""Steps of trials that are stored together with others: what the page is told is what the application says."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
import sqlalchemy as sa

from tests.turing_test.participants import DEVICE, GroupedParticipant, Participant
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions.snapshot import find_session
from turing_test.web.app import create_app
from turing_test.web.steps import read_step, take_steps

JSON = "application/json"


@pytest.fixture
def make_person(database_url):
    apps = []

    def make(study, **options):
        if not apps:
            apps.append(create_app(study, database_url, **options))
        return GroupedParticipant(apps[0], study)

    yield make
    for app in apps:
        app.extensions["turing_test"].storage.close()


@pytest.mark.parametrize(
    ("preset", "response"), [("zhang2016", "first"), ("simultaneous", "first"), ("naturalness", "yes")]
)
def test_a_whole_session_is_told_the_same(make_person, tmp_path, preset, response):
    person = make_person(make_study(tmp_path / "study", preset=preset))
    person.enter()
    done = person.play(response)
    assert done["outcome"]["outcome"] == "completed"
    # On PostgreSQL the last answer decides step by step how the session ends.
    assert person.ordinary <= 1


def test_whatever_is_wrong_is_left_to_the_application(make_person, study):
    person = make_person(study)
    person.enter()
    assert person.answer(1).status_code == 409  # not shown
    assert person.on_trial(2, "begin").status_code == 409  # not the next
    person.on_trial(1, "begin")
    assert person.on_trial(1, "shown", proofs=[]).status_code == 400
    person.load = "load-2"
    assert person.on_trial(1, "begin").get_json()["replaced"] is False  # practice, flagged
    person.show(1)
    assert person.answer(1, "second").status_code == 200
    assert person.answer(1, "first").status_code == 409  # another answer
    person.token = "x" * 24
    assert person.answer(2).status_code == 404
    assert person.ordinary == 5


def test_a_pair_that_was_seen_before_a_reload_is_replaced(make_person, tmp_path, database_kind):
    person = make_person(make_study(tmp_path / "study", practice_trials=0))
    person.enter()
    before = person.on_trial(1, "begin").get_json()
    server = person.app.extensions["turing_test"]
    asked = read_step(server, f"/api/s/{person.token}/trials/1/begin", "", JSON, b'{"load": "another"}')
    (reply,) = take_steps(server, [asked])
    if database_kind == "postgresql":  # which must be asked for the reserve on the way
        assert reply is None
        person.load = "another"
        told = Participant.on_trial(person, 1, "begin").get_json()
    else:
        told = json.loads(reply[2])
    assert told["replaced"] is True
    assert before["first"] not in told["view"]["trial"]["images"]
    assert told["view"] == person.view()


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/api/s/{token}/trials/1/begin", "text/plain", b'{"load": "load-1"}'),
        ("/api/s/{token}/trials/1/begin", JSON, b'{"load": 1}'),
        ("/api/s/{token}/trials/1/begin", JSON, b"{"),
        ("/api/s/{token}/trials/1/begin", JSON, b""),
        ("/api/s/{token}/trials/1/answer", JSON, b'{"load": "load-1"}'),
        ("/api/s/{token}/trials/1/other", JSON, b'{"load": "load-1"}'),
        ("/api/s/{token}/trials/-1/begin", JSON, b'{"load": "load-1"}'),
        ("/api/s/{token}/trials/1/begin/", JSON, b'{"load": "load-1"}'),
        ("/api/s/{token}/device", JSON, json.dumps(DEVICE).encode()),
        ("/api/s/short/trials/1/begin", JSON, b'{"load": "load-1"}'),
    ],
)
def test_what_is_no_step_of_the_described_form_is_left_to_the_application(make_person, study, path, content_type, body):
    person = make_person(study)
    person.enter()
    assert (
        read_step(person.app.extensions["turing_test"], path.format(token=person.token), "", content_type, body) is None
    )


def test_addresses_of_images_begin_with_the_path_for_those_who_come_from_outside(make_person, study):
    person = make_person(study)
    person.enter()
    server = person.app.extensions["turing_test"]
    asked = read_step(
        server, f"/api/s/{person.token}/trials/1/begin", "/study1", f"{JSON}; charset=utf-8", b'{"load": "load-1"}'
    )
    ((_, _, content),) = take_steps(server, [asked])
    assert json.loads(content)["first"].startswith("/study1/stimuli/")


def test_those_with_whom_nothing_is_wrong_are_stored_beside_those_that_are_refused(make_person, study):
    people = [make_person(study) for _ in range(6)]
    for person in people:
        person.enter()
        if person is not people[2]:
            person.show(1)
    people[4].token = "y" * 24
    server = people[0].app.extensions["turing_test"]
    body = json.dumps({"load": "load-1", "response": "first", "response_ms": 400}).encode()
    asked = [read_step(server, f"/api/s/{person.token}/trials/1/answer", "", JSON, body) for person in people]
    assert [reply is not None for reply in take_steps(server, asked)] == [True, True, False, True, False, True]
    trial = tables.trial.c
    stored = sa.select(sa.func.count()).where(trial.response == "first")
    assert server.storage.read(lambda connection: connection.execute(stored).scalar()) == 4


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)  # SQLite has one writer: there everybody waits
def test_nobody_waits_for_a_session_that_is_being_changed(make_person, study, database_url):
    busy, free = make_person(study), make_person(study)
    for person in (busy, free):
        person.enter()
        person.show(1)
    server = busy.app.extensions["turing_test"]
    body = json.dumps({"load": "load-1", "response": "first", "response_ms": 400}).encode()
    with closing(Storage(database_url)) as elsewhere, elsewhere.engine.begin() as connection:
        find_session(connection, busy.token, to_change=True)
        for kind, number in (("answer", 1), ("begin", 2)):
            paths = [f"/api/s/{person.token}/trials/{number}/{kind}" for person in (busy, free)]
            raw = body if kind == "answer" else b'{"load": "load-1"}'
            replies = take_steps(server, [read_step(server, path, "", JSON, raw) for path in paths])
            assert [reply is not None for reply in replies] == [False, True]
    assert busy.answer(1).status_code == 200


@pytest.mark.parametrize("kind", ["begin", "shown", "answer"])
def test_a_database_that_was_waited_for_is_told_to_all_and_not_waited_for_again(make_person, study, database_url, kind):
    people = [make_person(study, busy_timeout_s=1.5) for _ in range(3)]
    server = people[0].app.extensions["turing_test"]
    asked = ready_for(kind, people)
    with closing(Storage(database_url)) as elsewhere, elsewhere.connect_to_change() as connection, connection.begin():
        if not elsewhere.is_sqlite:
            connection.execute(sa.text("LOCK TABLE session, trial IN EXCLUSIVE MODE"))
        replies = take_steps(server, asked)
        ordinary = Participant.on_trial(people[0], 1, kind, **asked[0].body)
    assert ordinary.status_code == 503
    told = [(status, headers, json.loads(content)) for status, headers, content in replies]
    assert told == [(503, list(ordinary.headers), ordinary.get_json())] * 3
    assert all(reply is not None for reply in take_steps(server, asked))


def ready_for(kind, people):
    """Bring people to a step of their first trial, and give what they ask then."""
    exposure = {"on_ms": 0, "off_ms": 1000, "frames": 60, "largest_gap_ms": 17, "hidden": False}
    more = {"shown": {"first": exposure, "second": exposure}, "answer": {"response": "first", "response_ms": 400}}
    raw = json.dumps({"load": "load-1", **more.get(kind, {})}).encode()
    for person in people:
        person.enter()
        if kind == "shown":
            person.on_trial(1, "begin")
        if kind == "answer":
            person.show(1)
    server = people[0].app.extensions["turing_test"]
    return [read_step(server, f"/api/s/{person.token}/trials/1/{kind}", "", JSON, raw) for person in people]


FAILING = {
    "sqlite": [
        "CREATE TRIGGER failing BEFORE UPDATE ON trial WHEN OLD.session_id = {session} "
        "BEGIN SELECT RAISE(ABORT, 'no such luck'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no such luck'; END $$",
        "CREATE TRIGGER failing BEFORE UPDATE ON trial FOR EACH ROW WHEN (OLD.session_id = {session}) EXECUTE FUNCTION fail()",
    ],
}


@pytest.mark.parametrize("kind", ["begin", "shown", "answer"])
def test_an_error_of_the_database_in_one_of_them_changes_nothing(make_person, study, database_kind, kind):
    """It is told by a later statement, or with the end: nothing may be half stored, and nothing acknowledged."""
    people = [make_person(study) for _ in range(3)]
    server = people[0].app.extensions["turing_test"]
    asked = ready_for(kind, people)

    def change(statements):
        with server.storage.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def states():
        trial = tables.trial.c
        rows = sa.select(trial.state, trial.response).where(trial.position == 1)
        return server.storage.read(lambda connection: connection.execute(rows).all())

    with server.storage.engine.connect() as connection:
        session = find_session(connection, people[1].token).id
    before = states()
    change([statement.format(session=session) for statement in FAILING[database_kind]])
    with pytest.raises(Exception, match="no such luck"):
        take_steps(server, asked)
    assert states() == before
    change(["DROP TRIGGER failing" + (" ON trial" if database_kind == "postgresql" else "")])
    assert None not in take_steps(server, asked)
    assert states() != before
