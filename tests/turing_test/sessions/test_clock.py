"""A clock that is corrected, a machine that slept and a server that was down end nobody's session."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from turing_test.database import schema as tables
from turing_test.sessions import clock
from turing_test.web.app import create_app

S = tables.session.c
HOUR = 3600.0


@pytest.fixture
def wall(monkeypatch):
    """The clock of the machine, which can be set."""
    offset = [0.0]
    real = clock.time.time

    def set_by(seconds):
        offset[0] = seconds

    monkeypatch.setattr(clock.time, "time", lambda: real() + offset[0])
    monkeypatch.setattr(clock, "_clock", clock._Clock())
    return set_by


def storage_of(participant):
    return participant.app.extensions["turing_test"].storage


def restart(participant, study, url):
    """The server of another process: its time begins with the clock of the machine."""
    clock._clock = clock._Clock()
    storage_of(participant).close()
    app = create_app(study, url)
    participant.app, participant.client = app, app.test_client()


@pytest.mark.parametrize("seconds", [HOUR * 3, -HOUR * 3])
def test_a_clock_that_jumps_and_comes_back_is_told_and_ends_no_session(make_client, study, wall, caplog, seconds):
    participant = make_client(study)
    participant.enter()
    participant.show(1)
    participant.answer(1)
    wall(seconds)
    with caplog.at_level(logging.WARNING):
        make_client(study).enter()  # somebody who comes lets expired sessions be written down
        participant.show(2)
        assert participant.answer(2).status_code == 200
        wall(0)
        make_client(study).enter()
        assert participant.play()["state"] == "completed"
    told = [record.getMessage() for record in caplog.records if "clock of this machine" in record.getMessage()]
    assert len(told) == 2
    assert f"{seconds:+.0f} s off" in told[0]
    assert "right again" in told[1]


@pytest.mark.parametrize("seconds", [HOUR * 3, -HOUR * 3])
def test_time_between_two_runs_of_the_server_is_nobodys_idle_time(make_client, study, wall, database_url, seconds):
    participant, gone = make_client(study), make_client(study)
    gone.enter()
    participant.enter()
    storage = storage_of(participant)
    storage.write(
        lambda c: c.execute(sa.update(tables.session).where(S.id == 1).values(updated_at=S.updated_at - 2 * HOUR))
    )
    wall(seconds)
    restart(participant, study, database_url)
    assert participant.play()["state"] == "completed"
    gone.client = participant.client
    assert gone.view()["state"] == "expired", "who had expired before stays so"
    kinds = storage_of(participant).read(lambda c: c.execute(sa.select(tables.event.c.kind)).scalars().all())
    assert kinds.count("resumed") == 1
    storage_of(participant).close()
