"""The images of a session: what it was told last tells of all that may be fetched now, else one question to the database."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from evalkit.cli import main
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions import lifecycle
from turing_test.sessions.forgetting import NOTICED_WITHIN_S, forget
from turing_test.sessions.identifiers import Identifier
from turing_test.web.images import image_at_once

MONOTONIC = time.monotonic


@pytest.fixture
def looked_up(monkeypatch):
    """Tokens of the sessions that the database was asked for."""
    asked = []
    look_up = lifecycle.look_up
    monkeypatch.setattr(lifecycle, "look_up", lambda storage, token: asked.append(token) or look_up(storage, token))
    return asked


def test_whatever_a_session_was_told_last_tells_of_the_images_of_two_trials_and_each_is_told_once(
    make_client, study, looked_up
):
    person = make_client(study)
    person.enter()
    view = person.view()
    images = [*view["trial"]["images"], *view["next_images"]]
    person.on_trial(1, "begin")
    looked_up.clear()
    first = [person.client.get(address) for address in images]
    assert looked_up == []
    again = [person.client.get(address) for address in images]
    assert looked_up == [person.token], "one query tells of all that were asked for once"
    assert {answer.status_code for answer in first + again} == {200}
    assert [answer.data for answer in again] == [answer.data for answer in first]
    assert {tuple(answer.headers) for answer in first + again} == {tuple(first[0].headers)}
    assert {len(answer.data) for answer in first} == {len(first[0].data)}


def test_of_two_requests_at_once_the_older_state_admits_nothing(make_client, study):
    person = make_client(study)
    view = person.enter()
    admitted = person.app.extensions["turing_test"].admitted
    older = lifecycle.look_up(person.app.extensions["turing_test"].storage, person.token)
    person.on_session("withdraw", {})
    for _ in range(2):
        admitted.keep(
            person.token, older, asked_at=time.monotonic()
        )  # as a request does that was answered before, and comes to its end later
        assert person.client.get(view["trial"]["images"][0]).status_code == 404


def test_what_is_kept_is_forgotten_after_moments(make_client, study, looked_up, later):
    person = make_client(study)
    image = person.enter()["trial"]["images"][0]
    later(11)
    looked_up.clear()
    assert person.client.get(image).status_code == 200
    assert looked_up == [person.token]


def arrival(worker):
    return {"PROLIFIC_PID": worker, "STUDY_ID": "study", "SESSION_ID": f"session-of-{worker}"}


@pytest.fixture
def later(monkeypatch):
    """Sets forward the clock by which images are kept."""
    passed = [0.0]
    monkeypatch.setattr("turing_test.web.admitted.time.monotonic", lambda: MONOTONIC() + passed[0])
    return lambda seconds: passed.append(passed.pop() + seconds)


def test_no_image_of_somebody_who_was_forgotten_is_sent_when_the_command_ends(make_client, study, database_url):
    person, bystander = make_client(study), make_client(study)
    images = person.enter(query=arrival("one"))["trial"]["images"]
    of_bystander = bystander.enter(query=arrival("two"))["trial"]["images"]
    assert person.client.get(images[0]).status_code == 200  # which tells of the other as well
    who = ["--platform", "prolific", "--worker", "one"]
    forgotten = CliRunner().invoke(
        main, ["study", "forget", str(study.folder), *who, "--yes", "--database", database_url]
    )
    assert forgotten.exit_code == 0, forgotten.output
    assert person.client.get(images[1]).status_code == 404
    assert bystander.client.get(of_bystander[0]).status_code == 200


def test_what_was_read_of_somebody_before_they_were_forgotten_is_not_kept_afterwards(
    make_client, study, database_url, later
):
    person = make_client(study)
    images = person.enter(query=arrival("one"))["trial"]["images"]
    server = person.app.extensions["turing_test"]
    began, before = MONOTONIC(), lifecycle.look_up(server.storage, person.token)
    with closing(Storage(database_url)) as elsewhere:
        forget(elsewhere, study, Identifier(platform="prolific", worker="one"))
    later(NOTICED_WITHIN_S)
    assert person.client.get(images[0]).status_code == 404  # notices it
    server.admitted.keep(person.token, before, asked_at=began)  # a request that took longer than that
    assert person.client.get(images[1]).status_code == 404


def test_what_may_be_fetched_ends_with_whatever_changes_the_session(make_client, study):
    person = make_client(study)
    view = person.enter()
    one, other = view["trial"]["images"]
    assert person.client.get(view["next_images"][0]).status_code == 200  # which tells of the current trial's as well
    person.on_trial(1, "begin")
    assert person.client.get(one).status_code == 200
    person.show(1)
    assert person.client.get(other).status_code == 404, "a second look is no part of the protocol"
    assert person.client.get(view["next_images"][1]).status_code == 200
    person.on_session("withdraw", {})
    assert person.client.get(view["next_images"][1]).status_code == 404


def test_nobody_gets_an_image_by_the_token_of_somebody_else(make_client, tmp_path):
    study = make_study(tmp_path / "study")
    one, two = make_client(study), make_client(study)
    address = one.enter()["trial"]["images"][0]
    two.enter()
    assert one.client.get(one.view()["trial"]["images"][1]).status_code == 200  # tells of both
    assert two.client.get(address.replace(one.token, two.token)).status_code == 404
    assert one.client.get(address).status_code == 200


# --- without a thread -------------------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch):
    """Servers that keep what they know for hours, however slow the machine is."""
    monkeypatch.setattr("turing_test.web.admitted.NOTICED_WITHIN_S", 3_600.0)
    monkeypatch.setattr("turing_test.web.admitted.KEPT_S", 3_600.0)


def admit_again(person):
    """As any request of the session does that changes it."""
    server = person.app.extensions["turing_test"]
    snapshot = lifecycle.look_up(server.storage, person.token)
    server.admitted.keep(person.token, snapshot, asked_at=MONOTONIC())
    return server


def test_an_image_in_memory_is_made_at_once_and_is_what_the_application_answers(make_client, study, looked_up, patient):
    person = make_client(study)
    addresses = person.enter()["trial"]["images"]
    server = person.app.extensions["turing_test"]
    assert [image_at_once(server, address) for address in addresses] == [None, None], "files must be read first"
    looked_up.clear()
    told = [person.client.get(address) for address in addresses]
    assert looked_up == [], "what was admitted is still so"
    admit_again(person)
    for address, answer in zip(addresses, told, strict=True):
        headers, content = image_at_once(server, address)
        assert content == answer.data
        assert headers == list(answer.headers)
        assert image_at_once(server, address) is None, "once: then the database is asked"


@pytest.mark.parametrize("path", ["/", "/health", "/stimuli/short/short", f"/stimuli/{'x' * 24}/{'y' * 24}"])
def test_nothing_else_is_answered_at_once(make_client, study, path):
    assert image_at_once(make_client(study).app.extensions["turing_test"], path) is None


def test_the_look_that_is_one_too_many_is_stored_by_the_application(make_client, study, patient):
    person = make_client(study)
    address = person.enter()["trial"]["images"][0]
    for _ in range(7):
        assert person.client.get(address).status_code == 200
    server = admit_again(person)
    assert image_at_once(server, address) is None
    trial = tables.trial.c
    flags = sa.select(trial.flags).where(trial.position == 1)
    assert server.storage.read(lambda connection: connection.execute(flags).scalar()) is None
    assert person.client.get(address).status_code == 200
    assert "looked_again" in server.storage.read(lambda connection: connection.execute(flags).scalar())
    admit_again(person)
    assert image_at_once(server, address) is not None


def test_whether_somebody_was_forgotten_is_asked_by_the_application(make_client, study, patient, monkeypatch):
    person = make_client(study)
    one, other = person.enter()["trial"]["images"]
    assert person.client.get(one).status_code == 200
    server = admit_again(person)
    with monkeypatch.context() as late:
        late.setattr("turing_test.web.admitted.NOTICED_WITHIN_S", 0.0)
        assert image_at_once(server, one) is None, "the database must say it first"
        assert person.client.get(other).status_code == 200
    assert image_at_once(server, one) is not None
