"""Databases for the tests of the study: SQLite in a file, and a real PostgreSQL started once a session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import require
from tests.turing_test.participants import Participant
from tests.turing_test.studies import make_study
from turing_test.storage import Storage
from turing_test.study_folder import Study
from turing_test.web.app import create_app


def _find_postgres() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _unprivileged() -> tuple[list[str], pwd.struct_passwd | None]:
    """How to run a program as somebody who is not root: PostgreSQL refuses to."""
    if os.geteuid() != 0:
        return [], None
    user = next((u for u in ("postgres", "nobody") if _user(u)), "nobody")
    entry = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"], entry


def _user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server, without a database name; started here on a Unix socket in a temporary folder."""
    binaries = _find_postgres()
    require(binaries is not None, "PostgreSQL is not installed (package postgresql), so only SQLite was tested")
    assert binaries is not None
    prefix, owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="evalkit-pg-"))
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        data = folder / "data"

        def run(*words: str | Path) -> None:
            done = subprocess.run(
                [*prefix, *map(str, words)], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr

        run(binaries / "initdb", "-D", data, "-U", "study", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={folder}",
            "-c",
            "max_connections=200",
            "-c",
            "fsync=off",
        ]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [*prefix, str(binaries / "postgres"), "-D", str(data), *options],
                env=environment, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while subprocess.run([binaries / "pg_isready", "-q", "-h", folder], env=environment).returncode:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.1)
            yield f"postgresql://study@/postgres?host={folder}"
        finally:
            server.terminate()  # "smart" would wait for clients: they are all ours and gone
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
