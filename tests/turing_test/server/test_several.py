"""Several studies by one server: an address each, and what ails one leaves the others alone."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from urllib.parse import urlencode

import psycopg
import pytest
from click.testing import CliRunner

from evalkit.cli import main
from tests.turing_test.participants import DEVICE
from tests.turing_test.server.test_paths import ask
from tests.turing_test.server.test_serving import serving, workers_of
from tests.turing_test.studies import make_study
from turing_test.commands._databases import from_environment, of_environment, read_databases
from turing_test.web.dashboard_password import set_password

PATIENCE_S = 120
PASSWORD = "a password of length"


def until(is_reached, what):
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def consent_hash(port, name):
    return re.search(r'data-consent-hash="(\w+)"', ask(port, f"/{name}/")[2].decode())[1]


def start(port, name):
    """Begin a session; status and what comes back."""
    body = {"query": {}, "link": None, "consent": True, "consent_hash": consent_hash(port, name)}
    status, _, text = post(port, f"/{name}/api/sessions", body)
    return status, json.loads(text)


def post(port, path, body):
    return ask(port, path, method="POST", body=json.dumps(body), headers={"Content-Type": "application/json"})


def health(port):
    status, _, text = ask(port, "/health")
    return status, json.loads(text)


class Browser:
    """Keeps cookies by their paths, as a browser does."""

    def __init__(self, port):
        self.port, self.cookies = port, {}

    def ask(self, path, form=None):
        fitting = [value for at, value in self.cookies.items() if path == at or path.startswith(f"{at}/")]
        headers = {"Cookie": "; ".join(fitting)} if fitting else {}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form)
        status, sent, text = ask(self.port, path, method="GET" if form is None else "POST", body=body, headers=headers)
        for cookie in sent.get_all("Set-Cookie", []):
            at = re.search("Path=([^;]+)", cookie)[1]
            assert "HttpOnly" in cookie
            self.cookies[at] = cookie.partition(";")[0]
        return status, text.decode()

    def log_in(self, path, password):
        token = re.search(r'name="form_token" value="([^"]+)"', self.ask(path)[1])[1]
        return self.ask(f"{path}/login", {"form_token": token, "password": password})


@pytest.fixture
def studies(tmp_path):
    """Studies `colors`, `more` and `other`; the first two have one password."""
    made = {name: make_study(tmp_path / "studies" / name) for name in ("colors", "more", "other")}
    for name, study in made.items():
        set_password(study.folder, PASSWORD if name != "other" else "another one of its own")
    return made


def test_each_has_its_address_its_sessions_and_its_troubles(studies, tmp_path):
    (tmp_path / "studies" / "notes").mkdir()  # no study, and no harm
    with serving(tmp_path / "studies") as (_, lines, port):
        assert "3 studies are served" in lines[0]
        assert [line.split()[1] for line in lines[1:5]] == [
            *(f"http://127.0.0.1:{port}/{name}/" for name in studies), f"http://127.0.0.1:{port}/dashboard"
        ]  # fmt: skip
        assert ask(port, "/")[0] == 404
        assert ask(port, "/colors")[1]["Location"] == "colors/"
        assert 'src="/more/static/' in ask(port, "/more/")[2].decode()
        assert health(port) == (200, {"healthy": True, "studies": {"colors": True, "more": True, "other": True}})

        tokens = {name: start(port, name)[1]["token"] for name in studies}
        assert post(port, f"/colors/api/s/{tokens['colors']}/device", DEVICE)[0] == 200
        assert post(port, f"/more/api/s/{tokens['colors']}/device", DEVICE)[0] == 404

        person = Browser(port)
        assert person.log_in("/dashboard", "wrong")[0] == 403
        assert "/colors/dashboard" not in person.ask("/dashboard")[1]
        assert person.log_in("/dashboard", PASSWORD)[0] == 303
        page = person.ask("/dashboard")[1]
        assert re.findall(r'href="(/\w+/dashboard)"', page) == [f"/{name}/dashboard" for name in studies]
        assert page.count("<td>open</td><td>0</td>") == 2
        assert page.count("has a password of its own") == 1
        own_password = (studies["other"].folder / "dashboard.password").rename(tmp_path / "kept.password")
        assert "closed until it has a password" in person.ask("/dashboard")[1]
        own_password.rename(studies["other"].folder / "dashboard.password")
        assert set(person.cookies) == {"/dashboard", "/colors/dashboard", "/more/dashboard"}
        assert "Recruitment" in person.ask("/colors/dashboard")[1]  # one login for both
        assert "Password" in person.ask("/other/dashboard")[1]

        # Paused: the study itself says so, and the others admit.
        paused = CliRunner().invoke(main, ["study", "pause", str(studies["colors"].folder)])
        assert paused.exit_code == 0, paused.output
        assert start(port, "colors")[0] != 201
        assert start(port, "more")[0] == 201
        assert "<td>paused</td>" in person.ask("/dashboard")[1]

        # The file of one is gone under the server, and later the whole folder.
        studies["colors"].database.rename(tmp_path / "away.db")
        assert ask(port, f"/colors/api/s/{tokens['colors']}")[0] == 503
        assert ask(port, "/colors/health")[0] == 503
        assert health(port) == (200, {"healthy": False, "studies": {"colors": False, "more": True, "other": True}})
        assert "its database does not answer" in person.ask("/dashboard")[1]
        studies["other"].folder.rename(tmp_path / "elsewhere")
        assert ask(port, f"/more/api/s/{tokens['more']}")[0] == 200
        assert health(port)[1]["studies"] == {"colors": False, "more": True, "other": False}

        copy = dict(person.cookies)
        token = re.search(r'name="form_token" value="([^"]+)"', person.ask("/dashboard")[1])[1]
        assert person.ask("/dashboard/logout", {"form_token": token})[0] == 303
        person.cookies = copy
        assert "Password" in person.ask("/more/dashboard")[1]  # ended there too, also for whoever has a copy


def test_one_that_cannot_be_served_is_named_and_the_others_are(studies, tmp_path):
    damaged = next((studies["more"].folder / "stimuli").glob("*/*.png"))
    damaged.write_bytes(b"no image")
    with serving(*(study.folder for study in studies.values()), "--path", "/lab") as (_, lines, port):
        assert [("(not served)" in line) for line in lines[1:4]] == [False, True, False]
        assert f"http://127.0.0.1:{port}/lab/more/" in lines[2]
        assert ask(port, "/lab/more/")[0] == 503
        assert ask(port, "/lab/more/api/sessions", method="POST")[1]["Retry-After"] == "2"
        assert ask(port, "/lab/other/")[0] == 200
        assert health(port) == (200, {"healthy": False, "studies": {"colors": True, "more": False, "other": True}})
        person = Browser(port)
        person.log_in("/lab/dashboard", PASSWORD)
        assert "not served" in person.ask("/lab/dashboard")[1]
        assert set(person.cookies) == {"/lab/dashboard", "/lab/colors/dashboard"}
    for study in studies.values():
        (study.folder / "manifest.json").unlink()
    refused = CliRunner().invoke(main, ["study", "serve", str(tmp_path / "studies"), "--port", "0"])
    assert refused.exit_code == 2
    assert "none of the studies can be served" in refused.output


def test_each_has_its_database_and_several_processes_serve_them_all(studies, database_kind, make_database):
    if database_kind == "sqlite":
        return  # SQLite is for one process
    urls = {name: make_database() for name in studies}
    options = [word for name, url in urls.items() for word in ("--database", f"{name}={url}")]
    folders = [study.folder for study in studies.values()]
    with serving(*folders, *options, "--workers", 2) as (_, _, port):
        for name in ("colors", "colors", "other"):
            assert start(port, name)[0] == 201
    for name, expected in (("colors", 2), ("more", 0), ("other", 1)):
        with psycopg.connect(urls[name]) as connection:
            assert connection.execute("SELECT count(*) FROM session").fetchone() == (expected,), name


def test_a_worker_that_takes_anothers_place_asks_what_was_asked_before(study):
    texts = study.folder / "study.toml"
    before = texts.read_text()
    with serving(study.folder) as (process, _, port):
        assert ask(port, "/")[0] == 200
        (worker,) = workers_of(process)
        texts.write_text(before.replace(f"image_ms = {study.protocol.image_ms}", "image_ms = 777"))
        assert texts.read_text() != before
        os.kill(int(worker), signal.SIGKILL)
        until(lambda: workers_of(process) not in ([], [worker]) and answers(port) == 503, "nobody noticed")
        texts.write_text(before.replace('contact = ""', 'contact = "Ann"', 1))  # how it is run may change
        until(lambda: answers(port) == 200, "did not go on")


def answers(port):
    try:
        return ask(port, "/")[0]
    except OSError:  # no worker at this moment
        return None


class TestTheCommand:
    def refused(self, *words):
        result = CliRunner().invoke(main, ["study", "serve", *map(str, words), "--host", "256.0.0.1"])
        assert result.exit_code == 2, result.output
        return result.output

    def test_wants_names_that_are_addresses_and_differ(self, tmp_path):
        for name in ("a/colors", "b/colors", "c/health", "c/my study"):
            make_study(tmp_path / name)
        both = self.refused(tmp_path / "a" / "colors", tmp_path / "b" / "colors")
        assert "have the same name" in both
        assert "cannot be part of an address" in self.refused(tmp_path / "a" / "colors", tmp_path / "c" / "health")
        assert "cannot be part of an address" in self.refused(tmp_path / "a" / "colors", tmp_path / "c" / "my study")

    def test_wants_to_know_whose_a_database_is(self, tmp_path):
        folders = {name: tmp_path / name for name in ("a", "b")}
        url = "postgresql://x@h/d"
        assert read_databases([f"a={url}"], folders) == {"a": url}
        assert read_databases([url], {"": tmp_path / "a"}) == {"": url}
        assert read_databases([f"a={url}"], {"": tmp_path / "a"}) == {"": url}
        for folder in folders.values():
            make_study(folder)
        assert "allowed is NAME=URL" in self.refused(*folders.values(), "--database", url)
        assert "allowed is NAME=URL" in self.refused(*folders.values(), "--database", f"c={url}")
        twice = self.refused(*folders.values(), "--database", f"a={url}", "--database", f"b={url}")
        assert "the same database" in twice

    def test_takes_them_from_the_environment_too(self, monkeypatch, tmp_path):
        monkeypatch.setenv("EVALKIT_DATABASE", "a=sqlite:////x/my study.db b=postgresql://u@h/d?o=1")
        assert from_environment() == ("a=sqlite:////x/my study.db", "b=postgresql://u@h/d?o=1")
        assert of_environment(tmp_path / "a") == "sqlite:////x/my study.db"
        assert of_environment(tmp_path / "b") == "postgresql://u@h/d?o=1"
        assert of_environment(tmp_path / "c") is None
        monkeypatch.setenv("EVALKIT_DATABASE", "sqlite:////x/a=b.db")
        assert of_environment(tmp_path / "c") == "sqlite:////x/a=b.db"
        monkeypatch.delenv("EVALKIT_DATABASE")
        assert of_environment(tmp_path / "a") is None
