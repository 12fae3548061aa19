"""A study on PostgreSQL behind PgBouncer, which gives each transaction whichever connection is free."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.conftest import require
from tests.turing_test.participants import GroupedParticipant
from tests.turing_test.postgres import pgbouncer
from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.database.storage import Storage
from turing_test.web.app import create_app
from turing_test.web.limits import Limits

SETTINGS = """SELECT current_setting('lock_timeout'), current_setting('synchronous_commit')"""


@pytest.fixture
def database_kind():
    """A pooler is for PostgreSQL alone."""
    return "postgresql"


@pytest.fixture(params=[{}, {"ignore_startup_parameters": "options"}], ids=["defaults", "ignores options"])
def pooled_url(request, database_url):
    """URL of an empty database through PgBouncer, whose server forgets to wait for the disk."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    require(Path(program).exists(), "PgBouncer is not installed (package pgbouncer), so no pooler was tested")
    name = sa.make_url(database_url).database
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    # Two connections for all: what one session leaves behind, another one meets.
    with pgbouncer(program, database_url, default_pool_size=2, **request.param) as url:
        yield url.replace("/postgres?", f"/{name}?")


def test_people_at_the_same_time_lose_nothing_and_are_assigned_in_balance(study, pooled_url, database_url):
    app = create_app(study, pooled_url, limits=Limits.none())
    states = []

    def take_part():
        person = GroupedParticipant(app, study)
        person.enter()
        states.append(person.play()["state"])

    people = [threading.Thread(target=take_part) for _ in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    app.extensions["turing_test"].storage.close()
    assert states == ["completed"] * 8
    with psycopg.connect(database_url) as connection:
        answered = connection.execute("SELECT count(*) FROM trial WHERE response IS NOT NULL").fetchone()
        methods = connection.execute("SELECT count(*) FROM session GROUP BY method").fetchall()
    assert answered == (8 * study.protocol.session_trials,)
    assert methods == [(4,), (4,)]


def test_every_transaction_waits_so_long_for_a_lock_and_for_the_disk_and_leaves_nothing_behind(pooled_url):
    storage = Storage(pooled_url, busy_timeout_s=3)
    storage.upgrade()
    expected = ("3s", "on")
    told = Prepared(sa.text(SETTINGS))
    for _ in range(10):  # psycopg would have prepared the statement by then
        assert storage.write(lambda connection: tuple(connection.execute(sa.text(SETTINGS)).one())) == expected
        assert storage.read(lambda connection: tuple(connection.execute(sa.text(SETTINGS)).one())) == expected
        assert storage.run_statement(SETTINGS, {}) == [expected]
        assert storage.run_statements(SETTINGS, [{}, {}]) == [[expected], [expected]]
        assert storage.write_many(lambda connection: told.each(connection, [{}, {}])) == [[expected], [expected]]
        assert storage.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(tables.session)).scalar()) == 0
    storage.close()
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as connection:
        assert connection.execute(SETTINGS).fetchone() == ("0", "off")


def test_without_a_pooler_each_connection_is_told_once(database_url):
    storage = Storage(database_url, busy_timeout_s=3)
    storage.upgrade()
    assert not storage._settings.is_pooled
    assert storage.read(lambda connection: tuple(connection.execute(sa.text(SETTINGS)).one())) == ("3s", "on")
    assert storage.run_statement(SETTINGS, {}) == [("3s", "on")]
    storage.close()
