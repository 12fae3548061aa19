"""A study from its creation to its analysis: what its owner does and looks at, with people who come, go and come back."""

from __future__ import annotations

import csv
import http.client
import itertools
import json
import random
import re
import time
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.cli import main
from tests.conftest import require
from tests.e2e.participants import Participant as BrowserParticipant
from tests.e2e.participants import write_photos
from tests.turing_test.participants import Participant
from tests.turing_test.postgres import find_postgres, postgres
from tests.turing_test.server.test_serving import serving
from turing_test.server.local_server import local_server
from turing_test.study.study_folder import read_study

PER_METHOD = 18
METHODS = ("pale", "turned")
SETTINGS = {
    "size": 64, "first_blank_ms": 0, "blank_ms": 0, "image_ms": 40, "gap_ms": 20, "answer_delay_ms": 0,
    "feedback_ms": 100, "practice_trials": 1, "test_trials": 12, "vigilance_trials": 0, "reserve_trials": 1,
    "min_width": 320, "sessions_per_method": PER_METHOD, "place_idle_s": 7200, "session_timeout_s": 7200, "platforms": "prolific", "prolific_completed": "C1WORNG",
    "prolific_declined": "NOTHANKS", "prolific_full": "TOOLATE",
}  # fmt: skip


class Answer:
    """What came back, as Flask's test client has it."""

    def __init__(self, status, body):
        self.status_code, self.data, self.text = status, body, body.decode("utf-8", "replace")

    def get_json(self):
        return json.loads(self.data)


class Connection:
    """One browser's connection to the real server."""

    def __init__(self, url):
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
        weakref.finalize(self, self._connection.close)

    def get(self, path):
        return self._ask("GET", path, None)

    def post(self, path, *, json: object):
        return self._ask("POST", path, json)

    def _ask(self, method, path, body):
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return Answer(response.status, response.read())


class Person(Participant):
    """Somebody from Prolific, over HTTP."""

    def __init__(self, url, study, number):
        self.study, self.number, self.client = study, number, Connection(url)
        self.token, self.load = "", f"load-{number}"
        self.query = prolific(number)
        page = self.client.get(f"/?{urlencode(self.query)}").text
        self.consent_hash = re.search(r'data-consent-hash="(\w+)"', page)[1]

    def take_part(self, choose):
        """From consent to the end; the last view."""
        self.enter(query=self.query)
        return self.go_on(choose)

    def go_on(self, choose, n_answers=None):
        view = self.view()
        for _ in itertools.count() if n_answers is None else range(n_answers):
            if view["phase"] == "done":
                break
            number = view["trial"]["number"]
            if view["trial"]["mode"] == "show":
                self.show(number)
            answered = self.answer_in_time(number, choose())
            assert answered.status_code == 200, answered.text
            view = answered.get_json()
        return view

    def answer_in_time(self, number, response):
        """The server takes no answer before the images can have been seen."""
        deadline = time.monotonic() + 300
        while (answered := self.answer(number, response)).status_code == 425 and time.monotonic() < deadline:
            time.sleep(0.02)
        return answered


def prolific(number):
    return {"PROLIFIC_PID": f"person{number}", "STUDY_ID": "study1", "SESSION_ID": f"visit{number}"}


def whim(number):
    """Answers of somebody who looks: now this, now that."""
    rng = random.Random(number)
    return lambda: rng.choice(("first", "second"))


def command(*words):
    """Run a command of the study's owner; what it prints."""
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def table(path):
    """Rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def new_postgres():
    """Makes empty databases of a PostgreSQL."""
    import psycopg

    binaries = find_postgres()
    require(binaries is not None, "PostgreSQL is not installed (package postgresql), so no study was moved there")
    with postgres(binaries, durable=False) as server:

        def make():
            name = f"study_{uuid.uuid4().hex}"
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return server.replace("/postgres?", f"/{name}?")

        yield make


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of photos: truth, pale, turned, and a method that comes later."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 14, size=64)
    (folder / "later").mkdir()
    for path in (folder / "truth").iterdir():
        red, green, blue = Image.open(path).split()
        Image.merge("RGB", (green, blue, red)).save(folder / "later" / path.name)
    return folder


@contextmanager
def at_work(folder):
    """The study's server; its address."""
    with serving(folder) as (_, _, port):
        yield f"http://127.0.0.1:{port}"


def in_the_browser(page, url, number):
    """One who loses the line in the middle of an answer, and later loads the page anew; where they are sent in the end."""
    page.set_default_timeout(300_000)
    page.route("https://app.prolific.com/**", lambda route: route.abort())
    person = BrowserParticipant(page).open(f"{url}/?{urlencode(prolific(number))}")
    person.begin()
    person.answer("first")  # practice
    person.press("ready")
    person.answer("second")
    person.is_asked()
    page.context.set_offline(True)
    page.click('[data-answer="first"]')
    page.wait_for_selector('[data-part="offline"]:not([hidden]), [data-part="again"]:not([hidden])')
    page.context.set_offline(False)
    person.answer("second")
    page.reload()
    person.press("resume")
    choose = whim(number)
    while True:
        page.wait_for_selector('.trial.asking:not(.sending), [data-screen="completed"]:not([hidden])')
        if page.is_visible('[data-screen="completed"]'):
            break
        person.answer(choose())
    page.wait_for_selector('[data-screen="completed"] [data-part="redirect"]:not([hidden])')
    return page.get_attribute('[data-screen="completed"] [data-part="redirect"] a', "href")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_day_in_the_life_of_a_study(kind, photos, new_postgres, tab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study"
    databases = {} if kind == "sqlite" else {"study": new_postgres()}

    def use(**urls):
        databases.update(urls)
        monkeypatch.setenv("EVALKIT_DATABASE", " ".join(f"{name}={url}" for name, url in databases.items()))

    use()

    # Created, with a mistyped code; piloted by simulated people, who count for nobody; the code is corrected.
    methods = [word for name in METHODS for word in ("--method", f"{name}={photos / name}")]
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command("study", "create", study, "--truth", photos / "truth", *methods, *settings)
    command("study", "simulate", study, "--participants", 3)
    assert "3 completed" in command("study", "people", study, "--simulated")
    assert "Nobody came yet" in command("study", "people", study)
    corrected = command("study", "create", study, "--set", "prolific_completed=C1RIGHT")
    assert 'prolific_completed: "C1WORNG" -> "C1RIGHT"' in corrected
    command("study", "pause", study)

    code = "https://app.prolific.com/submissions/complete?cc={}".format
    opened = read_study(study)
    with at_work(study) as url:
        # Who comes too early is asked to come back, and is admitted once the study is open.
        early = Person(url, opened, 0)
        assert early.start(query=early.query).status_code == 403
        command("study", "open", study)

        # One gives the same answers all the time, two withdraw, one declines, one comes back after a while.
        liners, withdrawing, declining, returning, in_browser = (0, 1, 2), (3, 4), 5, 6, 7
        for number in withdrawing:
            person = Person(url, opened, number)
            person.enter(query=person.query)
            person.go_on(whim(number), 2)
            ended = person.on_session("withdraw", {}).get_json()
            assert (ended["state"], ended["outcome"]["redirect"]) == ("withdrawn", code("NOTHANKS"))
        refusing = Person(url, opened, declining)
        assert refusing.start(query=refusing.query, consent=False).get_json()["state"] == "declined"
        leaving = Person(url, opened, returning)
        leaving.enter(query=leaving.query)
        leaving.go_on(whim(returning), 3)
        assert in_the_browser(tab(), url, in_browser) == code("C1RIGHT")

        others = range(8, 8 + 2 * PER_METHOD - len(liners) - 2)

        def come(number):
            choose = (lambda: "first") if number in liners else whim(number)
            return Person(url, opened, number).take_part(choose)

        with ThreadPoolExecutor(8) as crowd:
            ends = list(crowd.map(come, (*liners, *others)))
        assert {(view["state"], view["outcome"]["redirect"]) for view in ends} == {("completed", code("C1RIGHT"))}
        back = Person(url, opened, returning)
        view = back.start(query=back.query).get_json()
        assert view["progress"][0] == 3  # where they left off
        assert back.go_on(whim(returning))["state"] == "completed"

        # Those who withdrew were replaced, and nobody more is needed.
        command("study", "close", study)
        late = Person(url, opened, 99)
        turned_away = late.start(query=late.query).get_json()
        assert (turned_away["state"], turned_away["outcome"]["redirect"]) == ("full", code("TOOLATE"))

    completed = {*liners, returning, in_browser, *others}
    assert len(completed) == 2 * PER_METHOD
    came = f"40 people came: {2 * PER_METHOD} completed"
    said = command("study", "people", study)
    assert came in said
    for part in ("2 withdrawn", "1 declined", "1 full"):
        assert part in said
    exported = command("study", "export", study, "--out", "export")
    assert "trials.csv" in exported
    assert "C1RIGHT" in (tmp_path / "export" / "data_dictionary.md").read_text()  # the change is on record

    # Paid by the platform's own list.
    command("study", "people", study, "--form", "prolific", "--out", "approve.txt")
    paid = (tmp_path / "approve.txt").read_text().split()
    assert sorted(paid) == sorted(f"visit{number}" for number in completed)

    # One wants to be forgotten.
    forgotten = others[0]
    command("study", "forget", study, "--platform", "prolific", "--worker", f"person{forgotten}", "--yes")
    assert f"39 people came: {2 * PER_METHOD - 1} completed" in command("study", "people", study)

    # Moved to PostgreSQL, or from one to another; nothing is lost.
    target = new_postgres()
    assert "moved" in command("study", "move", study, "--to", target)
    use(study=target)
    assert f"39 people came: {2 * PER_METHOD - 1} completed" in command("study", "people", study)

    # A method is added; those who took part are not admitted again.
    command(
        "study",
        "create",
        "more",
        "--extends",
        study,
        "--extends-database",
        target,
        "--method",
        f"later={photos / 'later'}",
    )
    more = read_study(tmp_path / "more")
    with local_server(more) as url:
        again = Person(url, more, others[1])
        assert again.start(query=again.query).status_code == 409
        for number in range(200, 204):
            assert Person(url, more, number).take_part(whim(number))["state"] == "completed"

    # Both are one analysis.
    analysed = command("analyze", study, "more", "--out", "rates")
    rates = {row["method"]: row for row in table(tmp_path / "rates" / "fool_rates.csv")}
    assert set(rates) == {*METHODS, "later"}
    n_people = {name: int(row["n_participants"]) for name, row in rates.items()}
    assert n_people["later"] == 4
    assert sorted(n_people[name] for name in METHODS) == [PER_METHOD - 1, PER_METHOD]
    one_sided = [row["straight_lining"] for row in table(tmp_path / "rates" / "per_participant.csv")]
    assert (len(one_sided), one_sided.count("1")) == (2 * PER_METHOD - 1 + 4, len(liners))
    assert f"{len(liners)} participants of {len(one_sided)} gave nearly always the same answer" in " ".join(
        analysed.split()
    )
