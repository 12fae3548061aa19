"""The database: the same behaviour on SQLite and PostgreSQL, also when it is locked, full or gone."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from evalkit.errors import InputError
from turing_test.database import migrations
from turing_test.database import schema as tables
from turing_test.database.before_commit import do_before_commit
from turing_test.database.migrations import newest_revision
from turing_test.database.prepared import PreparedRows
from turing_test.database.storage import Storage, StorageUnavailable
from turing_test.sessions.lifecycle import decline, look_up, start
from turing_test.sessions.recruiters import Arrival


def add_event(kind: str):
    def work(connection: sa.Connection) -> int:
        done = connection.execute(sa.insert(tables.event).values(at=time.time(), kind=kind))
        return int(done.inserted_primary_key[0])

    return work


def kinds(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(tables.event.c.kind).order_by(tables.event.c.kind)).scalars())


def pages(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


def test_migrations_make_exactly_the_declared_tables(storage):
    with storage.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), tables.metadata)
    assert difference == []


def test_upgrading_twice_changes_nothing(storage):
    storage.write(add_event("kept"))
    storage.upgrade()
    assert storage.read(kinds) == ["kept"]


def test_two_servers_that_start_at_once_make_the_tables_once(database_url):
    opened = [Storage(database_url, busy_timeout_s=20) for _ in range(4)]
    threads = [threading.Thread(target=one.upgrade) for one in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened[0].read(kinds) == []
    for one in opened:
        one.close()


def test_an_upgrade_removes_what_earlier_versions_kept_of_those_who_declined(storage, study):
    number = '{"SESSION_ID": "70bb70bb70bb"}'
    arrival = Arrival(platform="prolific", person="anna", verified=False, place="71cc", handles={"SESSION_ID": "71cc"})
    start(storage, study, arrival, "0" * 64)
    for k in range(2):
        decline(storage, Arrival(platform="prolific", person=f"ben{k}", verified=False))
    arrivals = sa.select(tables.session.c.arrival).order_by(tables.session.c.id)
    was = sa.update(tables.session).where(tables.session.c.state == "declined").values(arrival=number)
    storage.write(lambda c: (c.execute(was), c.execute(sa.text("UPDATE alembic_version SET version_num = '0006'"))))
    assert storage.read(lambda c: c.execute(arrivals).scalars().all())[1:] == [number, number]
    storage.upgrade()
    assert storage.read(lambda c: c.execute(arrivals).scalars().all()) == ['{"SESSION_ID": "71cc"}', None, None]
    if storage.is_sqlite:  # nor in the file, nor in the log beside it
        storage.close()
        database = Path(storage.url.database)
        for file in database.parent.glob(f"{database.name}*"):
            assert b"70bb70bb70bb" not in file.read_bytes()


def test_a_database_of_a_newer_toolkit_is_refused_in_a_sentence(storage):
    storage.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(InputError, match=f"revision 9999.*newest is {newest_revision()}"):
        storage.upgrade()


NEXT = f"{int(newest_revision()) + 1:04}"
LATER_MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{NEXT}", "{newest_revision()}"

def upgrade():
    with op.batch_alter_table("session", recreate="auto") as session:
        session.add_column(sa.Column("more", sa.Text(), nullable=False, server_default="new"))
        session.alter_column("seed", existing_type=sa.String(32), type_=sa.Text())
"""


def test_a_later_migration_that_makes_a_table_anew_keeps_all_that_refers_to_it(storage, study, tmp_path, monkeypatch):
    token, _ = start(storage, study, Arrival(platform="link", person=None, verified=False), "0" * 64)
    storage.write(lambda c: c.execute(sa.insert(tables.event).values(at=0, kind="kept", session_id=1)))
    before = storage.read(lambda c: c.execute(sa.select(tables.trial)).all())
    later = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, later)
    (later / "versions" / f"r{NEXT}_later.py").write_text(LATER_MIGRATION)
    monkeypatch.setattr(migrations, "__file__", str(later / "__init__.py"))
    storage.upgrade()
    assert storage.read(migrations.current_revision) == NEXT
    assert storage.read(lambda c: c.execute(sa.text("SELECT more FROM session")).scalars().all()) == ["new"]
    assert len(before) == 12
    assert storage.read(lambda c: c.execute(sa.select(tables.trial)).all()) == before
    assert storage.read(kinds) == ["kept"]
    with pytest.raises(sa.exc.IntegrityError):  # foreign keys hold again
        storage.write(lambda c: c.execute(sa.insert(tables.event).values(at=0, kind="lost", session_id=99)))
    assert look_up(storage, token).state == "consented"


def test_a_reader_sees_one_state_of_the_database_until_its_end(storage, database_url):
    writer = Storage(database_url)

    def count_twice(connection: sa.Connection) -> tuple[int, int]:
        before = len(kinds(connection))
        writer.write(add_event("meanwhile"))
        return before, len(kinds(connection))

    assert storage.read(count_twice) == (0, 0)
    assert storage.read(kinds) == ["meanwhile"]
    writer.close()


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_other_databases_are_refused_and_passwords_not_repeated(url):
    with pytest.raises(InputError, match="allowed is") as error:
        Storage(url)
    assert "secret" not in str(error.value)


def test_what_fails_changes_nothing_and_the_others_of_its_group_are_kept(storage):
    def fail(connection: sa.Connection) -> None:
        add_event("lost")(connection)
        time.sleep(0.002)
        raise KeyError("refused")

    refused: list[BaseException] = []

    def try_to_fail() -> None:
        try:
            storage.write(fail)
        except KeyError as error:
            refused.append(error)

    threads = [
        threading.Thread(target=try_to_fail if i % 3 == 0 else lambda: storage.write(add_event("kept")))
        for i in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read(kinds) == ["kept"] * 20
    assert len(refused) == 10


def test_an_acknowledged_write_is_seen_by_another_connection_at_once(storage, database_url):
    other = Storage(database_url)
    for i in range(20):
        storage.write(add_event(f"{i:02}"))
        assert len(other.read(kinds)) == i + 1
    other.close()


@pytest.fixture
def on_postgresql(postgres_server):
    """A database of PostgreSQL that two may use at once."""
    opened = Storage(postgres_server, connections=2, busy_timeout_s=60)
    yield opened
    opened.close()


BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'of a thread'"


def test_threads_that_come_and_go_leave_no_connection_behind(on_postgresql):
    numbers = []

    def ask():
        on_postgresql.run_statement("SELECT set_config('application_name', 'of a thread', false)", {})
        numbers.append(on_postgresql.run_statement(BACKENDS, {})[0][0])

    for _ in range(5):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert numbers == [1] * 5


def test_many_threads_at_once_open_no_more_connections_than_were_allowed(on_postgresql):
    numbers, crowd = [], threading.Barrier(8)

    def ask():
        crowd.wait(timeout=60)
        on_postgresql.run_statement("SELECT set_config('application_name', 'of a thread', false), pg_sleep(0.05)", {})
        numbers.append(on_postgresql.run_statement(BACKENDS, {})[0][0])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 8
    assert max(numbers) <= 2


def test_a_connection_with_which_something_fails_is_not_used_again(on_postgresql):
    backend = "SELECT pg_backend_pid()"
    first = on_postgresql.run_statement(backend, {})
    assert on_postgresql.run_statement(backend, {}) == first
    with pytest.raises(Exception, match="nowhere"):
        on_postgresql.run_statement("SELECT * FROM nowhere", {})
    assert on_postgresql.run_statement(backend, {}) != first


def test_commits_wait_for_the_disk(storage):
    def setting(connection: sa.Connection) -> object:
        what = "PRAGMA synchronous" if storage.is_sqlite else "SHOW synchronous_commit"
        return connection.execute(sa.text(what)).scalar()

    full = 2  # https://sqlite.org/pragma.html#pragma_synchronous
    assert storage.read(setting) == (full if storage.is_sqlite else "on")
    assert storage.write(setting) == (full if storage.is_sqlite else "on")


def test_a_locked_database_is_a_sentence_and_passes(storage, database_url):
    holder = Storage(database_url)
    held, release = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        if not storage.is_sqlite:
            connection.execute(sa.text("LOCK TABLE event"))
        held.set()
        release.wait(30)

    thread = threading.Thread(target=lambda: holder.write(hold))
    thread.start()
    held.wait(10)
    with pytest.raises(StorageUnavailable, match=r"cannot be used now: .*lock"):
        storage.write(add_event("refused"))
    release.set()
    thread.join()
    storage.write(add_event("kept"))
    assert storage.read(kinds) == ["kept"]
    holder.close()


@pytest.mark.parametrize("database_kind", ["postgresql"])  # SQLite's one writer is a queue inside the process
def test_whoever_waits_for_the_turn_to_be_assigned_waits_longer_than_for_other_locks(storage, database_url):
    impatient = Storage(database_url, busy_timeout_s=0.1)
    waits, held, later = threading.Event(), threading.Event(), []

    def hold(connection: sa.Connection) -> None:
        storage.lock_assignment(connection)
        held.set()
        waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while not connection.execute(waiting).scalar_one():
            waits.wait(0.01)
        waits.wait(0.5)  # longer than the other would wait for a row

    def assign(connection: sa.Connection) -> str:
        impatient.lock_assignment(connection)
        connection.execute(sa.insert(tables.event).values(at=0, kind="assigned"))
        return str(connection.execute(sa.text("SHOW lock_timeout")).scalar_one())

    holder = threading.Thread(target=lambda: storage.write(hold))
    holder.start()
    held.wait(60)
    later.append(impatient.write_in_turn(assign))
    holder.join()
    assert later == ["100ms"]  # for whatever comes after it in the transaction
    assert storage.read(kinds) == ["assigned"]
    impatient.close()


def test_many_rows_are_inserted_or_added_as_they_are(storage):
    names = ["it's", 'a "name"', "Größe 🎨", "100 % %s :x \\", "\n"]
    add = PreparedRows(tables.images_shown, tables.images_shown.c.keys(), add_to="times")
    for times in (1, 2):
        rows = [(k % 2 == 0, "[]", "test", name, times) for k, name in enumerate(names)]
        storage.write(lambda connection, rows=rows: add.insert(connection, rows))
    stored = storage.read(lambda c: c.execute(sa.select(tables.images_shown)).all())
    assert {(row.image, row.simulated, row.times) for row in stored} == {
        (name, k % 2 == 0, 3) for k, name in enumerate(names)
    }
    events = PreparedRows(tables.event, ["session_id", "at", "kind", "detail"])
    new = [
        (None, 0.1, "x", None),
        *((None, k + 2.5, "y", name) for k, name in enumerate([*names, "\\N", "", "a\tb\r"])),
    ]
    storage.write(lambda connection: events.insert(connection, new))
    columns = tables.event.c.session_id, tables.event.c.at, tables.event.c.kind, tables.event.c.detail
    stored = storage.read(lambda c: c.execute(sa.select(*columns).order_by(tables.event.c.at)).all())
    assert stored == new


@pytest.mark.parametrize("way", ["write", "write_in_turn"])
def test_what_a_transaction_puts_off_happens_before_it_is_committed_or_never(storage, way):
    write = getattr(storage, way)

    def put_off(connection: sa.Connection) -> list[str]:
        do_before_commit(connection, lambda: add_event("last")(connection))
        add_event("first")(connection)
        return kinds(connection)

    def fail(connection: sa.Connection) -> None:
        put_off(connection)
        raise LookupError

    with pytest.raises(LookupError):
        write(fail)
    write(add_event("after a failure"))
    assert storage.read(kinds) == ["after a failure"]
    assert write(put_off) == ["after a failure", "first"]
    assert storage.read(kinds) == ["after a failure", "first", "last"]


def test_a_full_disk_is_a_sentence_and_passes(tmp_path):
    storage = Storage(f"sqlite:///{tmp_path / 'study.db'}")
    storage.upgrade()
    storage.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 40"))
    while storage.read(pages) < 38:
        storage.write(add_event("x" * 3000))
    written = len(storage.read(kinds))
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        storage.write(add_event("x" * 30_000))
    assert len(storage.read(kinds)) == written
    storage.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 4000"))
    storage.write(add_event("later"))
    assert len(storage.read(kinds)) == written + 1
    storage.close()


def test_a_database_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(StorageUnavailable, match="cannot be used now"):
        Storage(f"sqlite:///{tmp_path / 'nowhere' / 'study.db'}").upgrade()
    with pytest.raises(StorageUnavailable, match="cannot be used now"):
        Storage(f"postgresql://study@/study?host={tmp_path}").upgrade()


def test_a_mistake_in_our_own_sql_is_not_called_a_locked_database(storage):
    with pytest.raises(sa.exc.DBAPIError):
        storage.write(lambda c: c.execute(sa.text("SELECT * FROM nothing_here")))
    with pytest.raises(sa.exc.DBAPIError):
        storage.read(lambda c: c.execute(sa.text("SELECT * FROM nothing_here")))


def test_sqlite_writers_share_commits(tmp_path):
    storage = Storage(f"sqlite:///{tmp_path / 'study.db'}", busy_timeout_s=20)
    storage.upgrade()
    commits = []
    sa.event.listen(storage.engine, "commit", lambda connection: commits.append(1))
    blocker = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # the first writer waits, the others gather behind it
    threads = [threading.Thread(target=lambda: storage.write(add_event("x"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    blocker.execute("COMMIT")
    for thread in threads:
        thread.join()
    blocker.close()
    assert len(storage.read(kinds)) == 20
    assert len(commits) <= 5
    storage.close()
