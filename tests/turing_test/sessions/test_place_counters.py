"""The counters of places and exposures: always what counting all sessions and trials gives."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa
from alembic import command

from tests.turing_test.histories import DESIGNS, DEVICE, History
from tests.turing_test.studies import make_study
from turing_test.database import migrations
from turing_test.database import schema as tables
from turing_test.database.copying import copy_tables
from turing_test.database.storage import Storage
from turing_test.database.study_record import register
from turing_test.sessions import clock
from turing_test.sessions.assignment import arm_of_trial, from_columns
from turing_test.sessions.lifecycle import SIMULATED, record_device, start
from turing_test.sessions.place_counters import arm_key, count_places
from turing_test.sessions.presentation import GivenAnswer, answer, begin
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import invalid_sessions

S, T = tables.session, tables.trial


def recount(connection, study):
    """Places and exposures as they follow from all rows, at this moment."""
    now, protocol = clock.now(), study.protocol
    invalid = invalid_sessions(connection, protocol)
    oldest = now - min(protocol.place_idle_s, protocol.session_timeout_s)
    judged = {
        row.id: (bool(row.simulated), from_columns(study, row.method, row.other_method))
        for row in connection.execute(sa.select(S).where(S.c.method.is_not(None)))
        if (row.state == "completed" and row.id not in invalid) or (row.state in ACTIVE and row.updated_at >= oldest)
    }
    places = Counter((simulated, arm_key(arms)) for simulated, arms in judged.values())
    shown = Counter()
    for row in connection.execute(sa.select(T).where(T.c.phase == "test", T.c.state != "replaced")):
        if row.session_id in judged:
            simulated, arms = judged[row.session_id]
            arm = arms[0] if len(arms) == 1 else arm_of_trial(study, row.method, row.other_method)
            shown[simulated, arm_key(arm), row.kind, row.image] += 1
    return places, shown


def counters(connection):
    return tuple(
        Counter({(bool(row[0]), *row[1:-1]): row[-1] for row in connection.execute(sa.select(table)) if row[-1]})
        for table in (tables.places_taken, tables.images_shown)
    )


def check(storage, study):
    count_places(storage, study)
    held, counted = storage.read(lambda connection: (counters(connection), recount(connection, study)))
    assert held == counted
    assert sum(held[0].values()) == storage.read(
        lambda connection: connection.execute(sa.select(sa.func.count()).where(S.c.holds_place)).scalar_one()
    )


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("seed", range(2))
def test_after_any_history_the_counters_are_what_a_recount_gives(storage, tmp_path, pass_time, design, seed):
    study = make_study(tmp_path / "study", sessions_per_method=8, **DESIGNS[design])
    register(storage, study)
    history = History(storage, study, seed, pass_time)
    for step in range(120):
        history.happen()
        if step % 6 == 0:
            check(storage, history.study)
    check(storage, history.study)
    states = storage.read(lambda connection: Counter(connection.execute(sa.select(S.c.state)).scalars()))
    assert all(states[state] for state in ("completed", "withdrawn", "expired")), states


def upgraded_to_0002(storage, url):
    """A database of the release before, with the same sessions."""
    older = Storage(url)
    with storage.engine.connect() as source, older.connect_to_change() as target, target.begin():
        config = migrations._config()
        config.attributes["connection"] = target
        command.upgrade(config, "0002")
        of_then = sa.MetaData()
        of_then.reflect(target)
        for table in (of_then.tables[name] for name in ("study", "session", "trial", "link", "event")):
            columns = tables.metadata.tables[table.name].c
            rows = source.execute(sa.select(*(columns[column.name] for column in table.c))).mappings().all()
            if rows:
                target.execute(sa.insert(table), [dict(row) for row in rows])
    return older


def test_a_database_of_the_release_before_is_counted_when_the_server_starts(
    storage, make_database, tmp_path, pass_time
):
    study = make_study(tmp_path / "study", sessions_per_method=8, **DESIGNS["one method each"])
    register(storage, study)
    history = History(storage, study, 7, pass_time)
    for _ in range(60):
        history.happen()
    check(storage, history.study)
    before = storage.read(counters)
    older = upgraded_to_0002(storage, make_database())
    try:
        older.upgrade()
        assert older.read(counters) == (Counter(), Counter())
        check(older, history.study)
        assert before[0].total()
        assert older.read(counters) == before
    finally:
        older.close()


def test_counters_move_with_their_database(storage, make_database, tmp_path, pass_time):
    study = make_study(tmp_path / "study", sessions_per_method=8, **DESIGNS["all methods"])
    register(storage, study)
    history = History(storage, study, 3, pass_time)
    for _ in range(40):
        history.happen()
    other = Storage(make_database())
    try:
        other.upgrade()
        with storage.engine.connect() as source, other.connect_to_change() as target, target.begin():
            copy_tables(source, target)
        check(other, history.study)
    finally:
        other.close()


def test_whoever_comes_back_after_the_place_was_lent_is_counted_again(storage, tmp_path, pass_time):
    study = make_study(tmp_path / "study", n_methods=1, sessions_per_method=9, color_vision=False)
    tokens = [start(storage, study, SIMULATED, "0" * 64)[0] for _ in range(6)]
    for token in tokens:
        record_device(storage, study, token, DEVICE)
    pass_time(study.protocol.place_idle_s + 100)
    check(storage, study)
    assert storage.read(counters)[0].total() == 0
    begin(storage, study, tokens[-1], 1, "load")
    check(storage, study)
    answer(storage, study, GivenAnswer(tokens[-2], 1, "load", "first", 500.0))  # on PostgreSQL a statement of its own
    check(storage, study)
    record_device(storage, study, tokens[-3], DEVICE)
    check(storage, study)
    assert storage.read(counters)[0].total() == 3
