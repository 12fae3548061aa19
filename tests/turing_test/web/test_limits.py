"""Limits of one address come before those of all: one machine keeps nobody out, and many people behind one address get in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from tests.turing_test.participants import Participant
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.web import limits
from turing_test.web.limits import AddressLimit, Limits, TokenBucket


def come(participant, *, consent=True, address="192.0.2.1"):
    body = {"query": {}, "link": None, "consent": consent, "consent_hash": participant.consent_hash}
    return participant.client.post("/api/sessions", json=body, environ_base={"REMOTE_ADDR": address})


@pytest.fixture
def stopped_clock(monkeypatch):
    """No time passes for the limits: on a slow machine their rest comes back while the requests are made."""
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: 0.0))


def states(participant):
    storage = participant.app.extensions["turing_test"].storage
    return storage.read(lambda c: c.execute(sa.select(tables.session.c.state)).scalars().all())


def test_sixty_people_behind_one_address_all_get_in(make_client, tmp_path):
    study = make_study(tmp_path / "hall", sessions_per_method=100)
    first = make_client(study)
    people = [Participant(first.app, study) for _ in range(60)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(come, people))
    assert {answer.status_code for answer in answers} == {201}
    assert states(first) == ["consented"] * 60


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("consent", [True, False])
def test_whoever_comes_again_and_again_keeps_nobody_else_out(make_client, tmp_path, consent):
    participant = make_client(make_study(tmp_path / "study", sessions_per_method=1000))
    codes = [come(participant, consent=consent, address="203.0.113.66").status_code for _ in range(120)]
    assert codes[0] == 201
    assert codes[-1] == 429
    assert come(participant).status_code == 201
    assert come(participant, consent=False).status_code == 201


@pytest.mark.usefixtures("stopped_clock")
def test_declines_are_not_counted_among_starts_and_write_no_rows_without_end(make_client, tmp_path):
    participant = make_client(make_study(tmp_path / "study", sessions_per_method=1000))
    codes = [come(participant, consent=False).status_code for _ in range(200)]
    assert codes.count(201) == states(participant).count("declined") < 100
    assert [come(participant).status_code for _ in range(20)] == [201] * 20


def test_no_crowd_of_strangers_locks_the_owner_out():
    logins = Limits().logins
    for k in range(3000):
        logins.wait(f"198.51.{k // 256}.{k % 256}")
    assert logins.wait("192.0.2.1") == 0


def test_what_an_address_does_beyond_its_limit_does_not_count_for_the_others():
    limit = AddressLimit(2, 0.001, TokenBucket(4, 0.001))
    assert [limit.wait("a") > 0 for _ in range(50)] == [False, False] + [True] * 48
    assert [limit.wait(address) > 0 for address in ("b", "c", "d")] == [False, False, True]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix", "unix", True),
    ],
)
def test_whoever_has_a_network_has_all_its_addresses(one, other, is_same):
    limit = AddressLimit(1, 0.001)
    assert limit.wait(one) == 0
    assert (limit.wait(other) > 0) is is_same


def test_no_address_is_kept_and_no_more_than_a_limit_of_digests(monkeypatch):
    monkeypatch.setattr(limits, "MOST_REMEMBERED", 10)
    limit = AddressLimit(1, 0.001)
    for k in range(50):
        limit.wait(f"192.0.2.{k}")
    assert len(limit._by_address) == 10
    assert "192.0.2" not in repr(vars(limit))
