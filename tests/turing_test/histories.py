"""Random histories of a study: people who come, answer, leave, are away, come back and are forgotten."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random

import sqlalchemy as sa

from turing_test.database import schema as tables
from turing_test.database.study_record import register
from turing_test.sessions.forgetting import forget
from turing_test.sessions.identifiers import Identifier
from turing_test.sessions.lifecycle import SIMULATED, record_device, start, withdraw
from turing_test.sessions.presentation import GivenAnswer, answer, answer_together, begin
from turing_test.sessions.recruiters import Arrival
from turing_test.sessions.refusal import Refused

S, T = tables.session, tables.trial
DEVICE = {"width": 1280, "height": 800, "refresh_hz": 60.0}

DESIGNS = {
    "one method each": {"n_methods": 2, "vigilance_min": 1},
    "all methods": {"n_methods": 3, "n_images": 24, "methods_per_person": "all", "vigilance_min": 1},
    "pairs": {"preset": "preference", "n_methods": 3, "n_images": 24},
}


class History:
    """Random things that happen to a study, one after the other."""

    def __init__(self, storage, study, seed, pass_time):
        self.storage, self.study, self.rng, self.pass_time = storage, study, random.Random(seed), pass_time
        self.people, self.names, self.page = [], itertools.count(), random.Random(seed)

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
                self.change(sa.update(T).where(is_current).values(state="shown", **self.measured()))
                given = GivenAnswer(token, position, "load", guess[k % len(guess)], 500.0)
                # Every other one as those are stored that come together, if nothing is special about it.
                if k % 2 or answer_together(self.storage, self.study, [given]) == [None]:
                    answer(self.storage, self.study, given)
        except Refused:
            pass

    def measured(self):
        """What a page could have said of the images of a trial."""
        off_ms = 1000.0 + self.page.choice((0.0, 0.0, 16.7, -16.7, 133.3))
        flags = self.page.choice(("", "", "", "first_duration", "hidden slow_start", "too_fast"))
        times = {"first_on_ms": 0.0, "first_off_ms": off_ms, "second_on_ms": 1600.0, "second_off_ms": 2600.0}
        clocks = {"first_clock": "presented", "second_clock": self.page.choice(("presented", "frame"))}
        return {"begun_at": 1.0, "shown_at": 2.0, "flags": flags, **times, **clocks}

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
