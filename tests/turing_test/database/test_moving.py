"""Answers are carried between databases whole, removed after a copy, and never pulled away from under a server."""

from __future__ import annotations

import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.errors import InputError
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, StorageUnavailable, default_url
from turing_test.server.local_server import local_server
from turing_test.sessions.links import make_links
from turing_test.simulation.observers import Population
from turing_test.simulation.play import simulate
from turing_test.study import lock
from turing_test.study.lock import hold
from turing_test.study.study_folder import MOVED
from turing_test.web.app import create_app


def command(*words):
    return CliRunner().invoke(main, ["study", *map(str, words)])


def everything(url):
    with closing(Storage(url)) as storage:
        return {
            table.name: sorted(
                str(dict(row)) for row in storage.read(lambda c, t=table: c.execute(sa.select(t)).mappings().all())
            )
            for table in tables.metadata.sorted_tables
        }


def play(study, url, participants=2):
    with local_server(study, url, simulation_key="key") as address:
        simulate(study, Population(participants=participants), address, "key", concurrency=2)


def test_answers_go_to_the_other_database_and_back_and_the_study_goes_on(study, make_database, database_kind):
    home, away = default_url(study.folder), make_database()
    play(study, home)
    with closing(Storage(home)) as storage:
        make_links(storage, 3, "http://localhost")
    before = everything(home)
    moved = command("move", study.folder, "--to", away)
    assert moved.exit_code == 0, moved.output
    assert "moved 2 sessions and 24 trials to" in moved.output
    after = everything(away)
    for table in ("session", "trial", "link"):
        assert after[table] == before[table]
    assert not study.database.exists()
    assert [path.name[:14] for path in study.folder.glob("study.db*")] == ["study.db.moved"]
    # Without --database nobody begins a second half of the study by mistake.
    for words in (
        ("export", "--out", study.folder / "out"),
        ("people",),
        ("links", "--count", 1),
        ("serve", "--port", 0),
    ):
        refused = command(words[0], study.folder, *words[1:])
        assert (refused.exit_code, "its answers were moved to" in refused.output) == (2, True), refused.output
    assert command("people", study.folder, "--simulated", "--database", away).exit_code == 0
    play(study, away)  # keys that the database itself gives out follow those that came with the rows
    assert len(everything(away)["session"]) == 4
    again = command("move", study.folder, "--to", away, "--database", away)
    assert (again.exit_code, "in that database already" in again.output) == (2, True)
    back = command("move", study.folder, "--to", home, "--database", away)
    assert "moved 4 sessions and 48 trials" in back.output
    assert not (study.folder / MOVED).exists()
    play(study, home)
    assert len(everything(home)["session"]) == 6
    if database_kind == "postgresql":  # a file was renamed; a database says what happened to it
        with pytest.raises(InputError, match="were moved from this database"):
            create_app(study, away)


def test_a_database_with_sessions_is_no_target_and_nothing_is_changed(study, make_database, tmp_path):
    home, away = default_url(study.folder), make_database()
    play(study, home)
    play(study, away, participants=1)
    before = everything(home), everything(away)
    refused = command("move", study.folder, "--to", away)
    assert (refused.exit_code, "holds sessions already" in refused.output) == (2, True)
    assert (everything(home), everything(away)) == before
    assert not (study.folder / MOVED).exists()


def test_a_database_of_another_study_or_with_links_is_no_target_and_keeps_them(study, make_database, tmp_path):
    home, with_links, of_other = default_url(study.folder), make_database(), make_database()
    play(study, home, participants=1)
    assert (
        command("links", study.folder, "--count", 2, "--url", "https://a.org", "--database", with_links).exit_code == 0
    )
    other = make_study(tmp_path / "other", name="other")
    create_app(other, of_other).extensions["turing_test"].storage.close()
    before = everything(home), everything(with_links), everything(of_other)
    for away, said in ((with_links, "holds one-time links already"), (of_other, "belongs to the study")):
        refused = command("move", study.folder, "--to", away)
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output
    assert (everything(home), everything(with_links), everything(of_other)) == before
    assert not (study.folder / MOVED).exists()


def test_where_a_file_was_moved_to_is_true_from_every_folder(study, tmp_path, monkeypatch):
    play(study, default_url(study.folder), participants=1)
    monkeypatch.chdir(tmp_path)
    moved = command("move", study.folder, "--to", "sqlite:///elsewhere.db")
    assert f"to sqlite:///{tmp_path / 'elsewhere.db'}" in moved.output
    assert str(tmp_path / "elsewhere.db") in (study.folder / MOVED).read_text()


def test_serving_elsewhere_is_refused_while_the_folder_holds_answers_of_people(study, make_database):
    app = create_app(study)
    storage = app.extensions["turing_test"].storage
    values = {
        "token_hash": "0", "label": "a", "state": "completed", "platform": "link", "verified": False, "simulated": False,
        "seed": "", "n_trials": 0, "position": 1, "completion_code": "", "created_at": 0, "updated_at": 0,
    }  # fmt: skip
    storage.write(lambda connection: connection.execute(sa.insert(tables.session).values(values)))
    storage.close()
    refused = command("serve", study.folder, "--port", 0, "--database", make_database())
    assert (refused.exit_code, "study move" in refused.output) == (2, True)


def test_a_reset_leaves_a_copy_and_an_empty_study(study, make_database, database_kind):
    url = make_database() if database_kind == "postgresql" else default_url(study.folder)
    play(study, url)
    before = everything(url)
    with hold(study.folder, alone=False):
        refused = command("reset", study.folder, "--yes", "--database", url)
        assert (refused.exit_code, "stop the server first" in refused.output) == (2, True)
    assert everything(url) == before
    done = command("reset", study.folder, "--yes", "--database", url)
    assert done.exit_code == 0, done.output
    assert "the copy of 2 sessions is" in done.output
    (copy,) = study.folder.glob("before-reset-*.db")
    assert everything(f"sqlite:///{copy}") == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    play(study, url, participants=1)
    assert len(everything(url)["session"]) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["study.db", "study.db-wal"])
@pytest.mark.parametrize("how", ["rm", "mv", "cp over"])
def test_files_removed_under_a_running_server_are_noticed_before_anything_is_acknowledged(
    make_client, tmp_path, database_kind, name, how
):
    study = make_study(tmp_path / "study")
    participant = make_client(study)
    app = create_app(study)
    participant.app, participant.client = app, app.test_client()
    participant.enter()
    participant.show(1)
    assert participant.answer(1).status_code == 200
    file = study.folder / name
    if how == "rm":
        file.unlink()
    elif how == "mv":
        file.rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "other").write_bytes(file.read_bytes())
        (tmp_path / "other").replace(file)
    answers = [participant.on_trial(2, "begin") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"2"}
    with pytest.raises(StorageUnavailable, match="was removed or replaced while it was in use"):
        app.extensions["turing_test"].storage.write(lambda connection: None)
    app.extensions["turing_test"].storage.close()


def test_the_log_may_go_and_come_between_two_writers(tmp_path):
    """SQLite removes it with the last connection: that is no reason to stop."""
    storage = Storage(f"sqlite:///{tmp_path / 'a.db'}", connections=1)
    storage.upgrade()
    for _ in range(3):
        storage.write(lambda connection: connection.execute(sa.insert(tables.event).values(at=0, kind="x")))
        storage._group.close()
        storage.engine.dispose()
        assert not Path(f"{tmp_path / 'a.db'}-wal").exists()
    assert storage.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(tables.event)).scalar_one()) == 3
    storage.close()


def test_answers_can_be_read_by_their_owner_alone(study, tmp_path):
    play(study, default_url(study.folder), participants=1)
    app = create_app(study)
    app.extensions["turing_test"].storage.write(
        lambda connection: connection.execute(sa.insert(tables.event).values(at=0, kind="x"))
    )
    files = list(study.folder.glob("study.db*"))
    assert {path.name for path in files} == {"study.db", "study.db-wal", "study.db-shm"}
    saved = command("backup", study.folder, "--out", tmp_path / "copy.db")
    assert saved.exit_code == 0, saved.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*files, tmp_path / "copy.db"]} == {0o600}
    app.extensions["turing_test"].storage.close()


def test_a_file_that_is_no_database_and_a_bad_port_are_sentences(study):
    study.database.write_bytes(b"no database at all " * 100)
    broken = command("people", study.folder)
    assert (broken.exit_code, "is no SQLite database" in broken.output) == (2, True)
    study.database.unlink()
    wrong = command("people", study.folder, "--database", "postgresql://me:s3cret@host:54x2/study")
    assert (wrong.exit_code, "PORT a number" in wrong.output, "s3cret" in wrong.output) == (2, True, False)


def test_a_folder_that_cannot_be_written_is_served_and_not_moved(study, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock.os, "open", refuse)
    with hold(study.folder, alone=False):
        pass
    with pytest.raises(InputError, match="Read-only file system"), hold(study.folder, alone=True):
        pass


def test_a_backup_on_a_full_disk_is_a_sentence_and_leaves_nothing(study, tmp_path):
    """A file system that refuses every write after some bytes: a limit on the size of files does the same to SQLite."""
    play(study, default_url(study.folder))
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from evalkit.cli import main; main(sys.argv[1:])"
    )
    words = ["study", "backup", str(study.folder), "--out", str(tmp_path / "copy.db")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be used now" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
