"""The counters of places and exposures: always what counting all sessions and trials gives."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
from collections import Counter

import pytest
import sqlalchemy as sa
from alembic import command

from tests.turing_test.studies import make_study
from turing_test.database import migrations
from turing_test.database import schema as tables
from turing_test.database.copying import copy_tables
from turing_test.database.storage import Storage
from turing_test.database.study_record import register
from turing_test.sessions import clock, place_counters
from turing_test.sessions.assignment import arm_of_trial, from_columns
from turing_test.sessions.forgetting import forget
from turing_test.sessions.identifiers import Identifier
from turing_test.sessions.lifecycle import SIMULATED, record_device, start, withdraw
from turing_test.sessions.place_counters import arm_key, count_places
from turing_test.sessions.presentation import answer, begin
from turing_test.sessions.recruiters import Arrival
from turing_test.sessions.refusal import Refused
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.validity import invalid_sessions

S, T = tables.session, tables.trial
DEVICE = {"width": 1280, "height": 800, "refresh_hz": 60.0}

DESIGNS = {
    "one method each": {"n_methods": 2, "vigilance_min": 1},
    "all methods": {"n_methods": 3, "n_images": 24, "methods_per_person": "all", "vigilance_min": 1},
    "pairs": {"preset": "preference", "n_methods": 3, "n_images": 24},
}


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


class History:
    """Random things that happen to a study, one after the other."""

    def __init__(self, storage, study, seed, pass_time):
        self.storage, self.study, self.rng, self.pass_time = storage, study, random.Random(seed), pass_time
        self.people, self.names = [], itertools.count()

    def happen(self):
        self.rng.choice([self.arrive, self.arrive, self.go_on, self.finish, self.finish, self.leave, self.be_away,
                         self.spoil, self.come_back, self.be_forgotten, self.run_otherwise])()  # fmt: skip

    def arrive(self):
        simulated = self.rng.random() < 0.2
        person = f"w{next(self.names)}"
        handles = {"SESSION_ID": person}
        arrival = SIMULATED if simulated else Arrival(
            platform="prolific", person=person, verified=False, place=person, handles=handles
        )  # fmt: skip
        token, snapshot = start(self.storage, self.study, arrival, "0" * 64)
        self.people.append([token, arrival, snapshot.id])
        if snapshot.state == "consented":
            record_device(self.storage, self.study, token, DEVICE)

    def somebody(self):
        return self.rng.choice(self.people) if self.people else None

    def change(self, statement):
        self.storage.write(lambda connection: connection.execute(statement))

    def position(self, key):
        return self.storage.read(
            lambda connection: connection.execute(sa.select(S.c.position).where(S.c.id == key)).scalar_one()
        )

    def answer(self, n_answers):
        """So many trials of somebody, as far as the session lets; looking at the images takes no time."""
        if not self.people:
            return
        token, _, key = self.somebody()
        # Sides by turns are half right, one side all the time is half wrong: some fail the vigilance trials.
        guess = self.rng.choice((("first", "second"), ("first",)))
        try:
            for k in range(n_answers):
                position = self.position(key)
                begin(self.storage, self.study, token, position, "load")
                is_current = (T.c.session_id == key) & (T.c.position == position) & (T.c.state != "replaced")
                self.change(sa.update(T).where(is_current).values(state="shown", begun_at=1.0, shown_at=2.0, flags=""))
                answer(self.storage, self.study, token, position, "load", guess[k % len(guess)], 500.0)
        except Refused:
            pass

    def go_on(self):
        self.answer(self.rng.randrange(1, 4))

    def finish(self):
        self.answer(100)

    def leave(self):
        self.refusable(withdraw)

    def refusable(self, function, *more):
        if self.people:
            with contextlib.suppress(Refused):
                function(self.storage, self.study, self.somebody()[0], *more)

    def be_away(self):
        """Nothing comes from anybody for a while, at times long enough to lend places or to end sessions."""
        self.pass_time(self.rng.choice((100.0, 100.0, 400.0, 700.0, 2000.0)))

    def spoil(self):
        """A reload in the middle of a pair."""
        if self.people:
            _, _, key = self.somebody()
            position = self.position(key)
            for load in ("one", "two"):
                self.refusable_of(key, position, load)

    def refusable_of(self, key, position, load):
        token = next(token for token, _, own in self.people if own == key)
        with contextlib.suppress(Refused):
            begin(self.storage, self.study, token, position, load)

    def come_back(self):
        if self.people:
            person = self.somebody()
            if person[1].person is not None:
                try:
                    person[0], snapshot = start(self.storage, self.study, person[1], "0" * 64)
                    person[2] = snapshot.id
                except Refused:
                    pass

    def be_forgotten(self):
        if self.people and self.rng.random() < 0.3:
            person = self.somebody()
            label = self.storage.read(
                lambda connection: connection.execute(sa.select(S.c.label).where(S.c.id == person[2])).scalar()
            )
            forget(self.storage, self.study, Identifier(label=label))
            self.people.remove(person)

    def run_otherwise(self):
        """Served again, with another time after which places are lent."""
        idle = self.rng.choice((60, 600, 3600))
        self.study = dataclasses.replace(
            self.study, protocol=dataclasses.replace(self.study.protocol, place_idle_s=idle)
        )
        register(self.storage, self.study)


@pytest.fixture
def pass_time(monkeypatch):
    """Sets the clock of the server forward. Few sessions are looked at together, so that only due ones are."""
    monkeypatch.setattr(place_counters, "AT_ONCE", 2)
    return lambda seconds: monkeypatch.setattr(clock._clock, "_offset", clock._clock._offset + seconds)


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
    answer(storage, study, tokens[-2], 1, "load", "first", 500.0)  # on PostgreSQL a statement of its own
    check(storage, study)
    record_device(storage, study, tokens[-3], DEVICE)
    check(storage, study)
    assert storage.read(counters)[0].total() == 3
