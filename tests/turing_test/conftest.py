"""Databases for the tests of the study: SQLite in a file, and a real PostgreSQL started once per session."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import require
from tests.turing_test.participants import Participant
from tests.turing_test.postgres import find_postgres, postgres
from tests.turing_test.studies import make_study
from turing_test.database.storage import Storage
from turing_test.sessions import clock, place_counters
from turing_test.study.study_folder import Study
from turing_test.web.app import create_app


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    binaries = find_postgres()
    require(binaries is not None, "PostgreSQL is not installed (package postgresql), so only SQLite was tested")
    assert binaries is not None
    with postgres(binaries, durable=False) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Every test that uses a database runs on both."""
    return str(request.param)


@pytest.fixture
def make_database(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes empty databases; gives their URLs."""
    made: list[str] = []
    server = request.getfixturevalue("postgres_server") if database_kind == "postgresql" else ""

    def administer(statement: str) -> None:
        import psycopg

        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(statement)

    def make() -> str:
        name = f"study_{uuid.uuid4().hex}"
        if not server:
            return f"sqlite:///{tmp_path / name}.db"
        administer(f"CREATE DATABASE {name}")
        made.append(name)
        return server.replace("/postgres?", f"/{name}?")

    yield make
    for name in made:
        administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(make_database: Callable[[], str]) -> str:
    """URL of an empty database."""
    return make_database()


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """A database with the tables of a study."""
    opened = Storage(database_url, busy_timeout_s=2)
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A small study of the preset zhang2016."""
    return make_study(tmp_path / "study")


@pytest.fixture
def make_client(database_url: str) -> Iterator[Callable[..., Participant]]:
    """Makes participants of a study that a Flask test client serves."""
    apps: dict[int, Flask] = {}

    def make(study: Study, **options: Any) -> Participant:
        if id(study) not in apps:
            apps[id(study)] = create_app(study, database_url, **options)
        return Participant(apps[id(study)], study)

    yield make
    for app in apps.values():
        app.extensions["turing_test"].storage.close()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of the server forward. Few sessions are looked at together, so that only due ones are."""
    monkeypatch.setattr(place_counters, "AT_ONCE", 2)
    return lambda seconds: monkeypatch.setattr(clock._clock, "_offset", clock._clock._offset + seconds)
