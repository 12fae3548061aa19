"""kill -9 while participants answer: what was acknowledged is stored exactly once, and every session goes on.

The server is the real one, a process of its own, killed at random moments and started again on the same port. The
participants are threads that speak HTTP, wait and repeat as the page does, and write down what was acknowledged.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.turing_test.participants import DEVICE
from tests.turing_test.server.test_serving import workers_of
from tests.turing_test.studies import make_study
from turing_test.database import schema as tables
from turing_test.database.storage import Storage
from turing_test.sessions.tokens import digest
from turing_test.web.page import page_variables

KILLS = int(os.environ.get("EVALKIT_KILLS", "50"))
PARTICIPANTS = 50
KEY = "only for this test"
PAUSE_S = 0.15  # a participant's pause between trials: the test runs for so many trials, not for so many seconds
PATIENCE_S = 600  # a new process takes seconds on a busy machine, and whoever has bad luck is served by few of them


class Server:
    """The server: a process that keeps the socket, and the worker that answers; both can die."""

    def __init__(self, study, database_url):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        program = (
            "from pathlib import Path;"
            "from turing_test.server.serving import Address, Server, Site, serve; import turing_test.web.app, granian.server;"
            f"site = Site(name='', folder=Path({str(study.folder)!r}), database_url={database_url!r});"
            f"serve(Server(sites=(site,), threads=8, simulation_key={KEY!r}),"
            f"Address('127.0.0.1', {self.port}), lambda: None)"
        )
        self.words = [sys.executable, "-c", program]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words)

    @property
    def worker(self):
        return next(map(int, workers_of(self.process)), None)

    def kill_worker(self):
        while self.worker is None:
            time.sleep(0.01)
        os.kill(self.worker, signal.SIGKILL)

    def kill_all(self):
        worker = self.worker
        self.process.kill()
        self.process.wait()
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
            while Path(f"/proc/{worker}").exists() and "Z" not in state_of(worker):
                time.sleep(0.01)


def state_of(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


@dataclass
class Patient:
    """A participant who repeats a request until the server has answered it."""

    port: int
    rng: random.Random
    stop: threading.Event
    acknowledged: dict[int, str] = field(default_factory=dict)
    token: str = ""
    connection: http.client.HTTPConnection | None = None

    def request(self, method, path, body=None):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                data = None if body is None else json.dumps(body)
                self.connection.request(method, path, data, {"Content-Type": "application/json"})
                response = self.connection.getresponse()
                content = json.loads(response.read())
                if response.status < 500:
                    return response.status, content
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
            assert time.monotonic() < deadline, "the server stays away"
            time.sleep(0.05 + 0.05 * self.rng.random())

    def take_part(self, consent_hash):
        body = {"query": {}, "link": None, "consent": True, "consent_hash": consent_hash, "simulated_key": KEY}
        status, view = self.request("POST", "/api/sessions", body)
        assert status == 201, view
        self.token = view["token"]
        status, view = self.request("POST", f"/api/s/{self.token}/device", DEVICE)
        while view["phase"] != "done" and not self.stop.is_set():
            number = view["trial"]["number"]
            response = self.rng.choice(("first", "second"))
            answer = {"load": "load-1", "response": response, "response_ms": 400.0}
            status, view = self.request("POST", f"/api/s/{self.token}/trials/{number}/answer", answer)
            # The same answer sent again is acknowledged again, so nothing is ever refused or asked for twice.
            assert status == 200, f"trial {number}: {view}"
            assert number not in self.acknowledged, (
                f"the answer to trial {number} was acknowledged and is asked for again"
            )
            self.acknowledged[number] = response
            time.sleep(PAUSE_S * self.rng.random() * 2)


def stored_answers(database_url):
    """Answers by session (digest of its token): position to response, and how many rows there are."""
    storage = Storage(database_url)
    query = (
        sa.select(tables.session.c.token_hash, tables.trial.c.position, tables.trial.c.response)
        .join_from(tables.trial, tables.session, tables.session.c.id == tables.trial.c.session_id)
        .where(tables.trial.c.state == "answered")
    )
    rows = storage.read(lambda connection: connection.execute(query).all())
    storage.close()
    assert max(Counter((row.token_hash, row.position) for row in rows).values()) == 1
    found = {}
    for token_hash, position, response in rows:
        found.setdefault(token_hash, {})[position] = response
    return found


def wait_for_answers(people, failures, *, more, of_each=False):
    """Until somebody (or everybody) has had more answers acknowledged than now."""
    before = [len(person.acknowledged) for person in people]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        gained = [len(person.acknowledged) - count >= more for person, count in zip(people, before, strict=True)]
        if all(gained) if of_each else any(gained):
            return
        assert not failures, failures[0]
        assert time.monotonic() < deadline, "nobody gets an answer any more"
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_was_acknowledged_survives_kill_nine_and_every_session_goes_on(tmp_path, database_url):
    rng = random.Random(2016)
    study = make_study(
        tmp_path / "study", n_images=420, practice_trials=0, test_trials=400, vigilance_trials=0,
        sessions_per_method=1000,
    )  # fmt: skip
    consent_hash = page_variables(study.protocol, study.texts(), study.consent_text())["consent_hash"]
    server, stop = Server(study, database_url), threading.Event()
    people = [Patient(server.port, random.Random(index), stop) for index in range(PARTICIPANTS)]
    failures = []

    def live(person):
        try:
            person.take_part(consent_hash)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=live, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        for kill in range(KILLS):
            wait_for_answers(people, failures, more=1)
            time.sleep(0.2 * rng.random())
            if kill % 10 == 9:  # the whole server, as if the machine had lost its power
                server.kill_all()
                server.start()
            else:
                server.kill_worker()
        # After the last start everybody gets on: the last answer of each comes after it.
        wait_for_answers(people, failures, more=1, of_each=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.kill_all()
        for person in people:
            if person.connection is not None:
                person.connection.close()
    assert not failures, failures[0]
    stored = stored_answers(database_url)
    for person in people:
        answers = stored[digest(person.token)]
        assert {n: answers.get(n) for n in person.acknowledged} == person.acknowledged
        assert set(answers) == set(range(1, len(answers) + 1)), "a gap: an answer was lost"
    total = sum(len(person.acknowledged) for person in people)
    print(f"{KILLS} kills, {total} acknowledged answers, {sum(map(len, stored.values()))} stored")
