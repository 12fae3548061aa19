"""What a start and a look at the dashboard cost when a study has 100 sessions, and when it has 10,000.

One database is filled to both sizes in turn, inside one run, by copies of sessions that were begun as people begin them. Then
so many threads begin sessions as fast as they can, each start on disk when it counts. Processor time is that of this process:
SQLite's work is in it, PostgreSQL's is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_study import make_study  # noqa: E402
from tests.turing_test.postgres import find_postgres, postgres  # noqa: E402
from turing_test.database import schema as tables  # noqa: E402
from turing_test.database.storage import Storage, default_url  # noqa: E402
from turing_test.database.study_record import register  # noqa: E402
from turing_test.results.monitoring import look_at  # noqa: E402
from turing_test.sessions.lifecycle import start  # noqa: E402
from turing_test.sessions.place_counters import count_places  # noqa: E402
from turing_test.sessions.recruiters import Arrival  # noqa: E402
from turing_test.study.study_folder import Study, read_study  # noqa: E402

BY_LINK = Arrival(platform="link", person=None, verified=False)
ORIGINALS = 100


def begin(storage: Storage, study: Study) -> None:
    start(storage, study, BY_LINK, "0" * 64)


def complete_all(storage: Storage) -> None:
    """As if everybody who began had answered everything, every second time with the first image."""
    S, T = tables.session.c, tables.trial.c
    response = sa.case(((T.number + T.session_id) % 2 == 0, "first"), else_="second")
    clocks = dict.fromkeys(("first_clock", "second_clock"), "presented")
    times = {"first_on_ms": 0.0, "first_off_ms": 1000.0, "second_on_ms": 1600.0, "second_off_ms": 2600.0}

    def work(connection: sa.Connection) -> None:
        answered = {
            "state": "answered",
            "answered_at": time.time(),
            "flags": "",
            "response": response,
            **clocks,
            **times,
        }
        connection.execute(sa.update(tables.trial).where(T.position.is_not(None)).values(answered))
        is_active = S.state == "consented"
        ended = {"state": "completed", "ended_at": time.time(), "position": S.n_trials + 1, "refresh_hz": 60.0}
        connection.execute(sa.update(tables.session).where(is_active).values(**ended, check_at=0.0))

    storage.write(work)


def remove_started(storage: Storage, study: Study) -> None:
    started = tables.session.c.state.in_(("consented", "withdrawn"))
    gone = sa.update(tables.session).where(started).values(state="withdrawn", check_at=0.0)
    storage.write(lambda connection: connection.execute(gone))
    count_places(storage, study)
    storage.write(lambda connection: connection.execute(sa.delete(tables.session).where(started)))


def fill(storage: Storage, study: Study, count: int) -> None:
    """Copy the first sessions, with all that is counted of them, until there are so many."""
    count_places(storage, study)
    for offset in range(ORIGINALS, count, ORIGINALS):
        storage.write(lambda connection, offset=offset: copy_originals(connection, offset))
    storage.write(lambda connection: count_copies(connection, count // ORIGINALS))
    if not storage.is_sqlite:
        storage.write(lambda connection: connection.execute(
            sa.text("SELECT setval(pg_get_serial_sequence('session', 'id'), (SELECT max(id) FROM session))")
        ).all())  # fmt: skip


def copy_originals(connection: sa.Connection, offset: int) -> None:
    session, trial, summary = tables.session, tables.trial, tables.summary
    number = sa.cast(session.c.id + offset, sa.Text)
    own: dict[str, Any] = {
        "id": session.c.id + offset,
        "token_hash": sa.func.substr(session.c.token_hash, 1, 50) + "-" + number,
        "label": sa.func.substr(session.c.label, 1, 8) + "-" + number,
    }
    for table, key, changed in (
        (session, session.c.id, own),
        (trial, trial.c.session_id, {"session_id": trial.c.session_id + offset}),
        (summary, summary.c.session_id, {"session_id": summary.c.session_id + offset}),
    ):
        columns = [changed.get(column.name, column) for column in table.c]
        copied = sa.select(*columns).where(key <= ORIGINALS)
        connection.execute(sa.insert(table).from_select([column.name for column in table.c], copied))


def count_copies(connection: sa.Connection, times: int) -> None:
    for table in (tables.places_taken, tables.images_shown):
        connection.execute(sa.update(table).values(times=table.c.times * times))


def measure_starts(storage: Storage, study: Study, count: int, threads: int) -> tuple[float, float]:
    """Starts a second, and milliseconds of processor time of this process each."""
    with ThreadPoolExecutor(threads) as pool:
        begun, used = time.perf_counter(), time.process_time()
        for future in [pool.submit(begin, storage, study) for _ in range(count)]:
            future.result()
        return count / (time.perf_counter() - begun), 1000 * (time.process_time() - used) / count


def measure_dashboard(storage: Storage, study: Study) -> tuple[float, float]:
    """Seconds, and seconds of processor time of this process."""

    def once() -> tuple[float, float]:
        begun, used = time.perf_counter(), time.process_time()
        storage.read(lambda connection: look_at(connection, study))
        return time.perf_counter() - begun, time.process_time() - used

    return min(once() for _ in range(3))


@contextmanager
def databases(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Name and URL of each."""
    with ExitStack() as stack:
        urls = [("SQLite", default_url(folder))]
        binaries = find_postgres()
        if binaries is not None:
            urls.append(("PostgreSQL", stack.enter_context(postgres(binaries, durable=True))))
        yield urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--starts", type=int, default=300)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(make_study(Path(folder)))
        print("| database | sessions | starts/s | processor, ms each | dashboard, s | processor, s |")
        print("|---|---:|---:|---:|---:|---:|")
        with databases(study.folder) as urls:
            for name, url in urls:
                if options.only not in name:
                    continue
                storage = Storage(url, connections=options.threads)
                storage.upgrade()
                register(storage, study)
                for _ in range(ORIGINALS):
                    begin(storage, study)
                complete_all(storage)
                costs = []
                for count in (ORIGINALS, options.sessions):
                    fill(storage, study, count)
                    rate, cost = measure_starts(storage, study, options.starts, options.threads)
                    costs.append(cost)
                    shown = " | ".join(f"{seconds:.2f}" for seconds in measure_dashboard(storage, study))
                    print(f"| {name} | {count:,} | {rate:,.0f} | {cost:.2f} | {shown} |", flush=True)
                    remove_started(storage, study)
                print(
                    f"{name}: {costs[1] / costs[0]:.2f} times the processor time of a start with {options.sessions:,} "
                    "sessions."
                )
                storage.close()


if __name__ == "__main__":
    main()
