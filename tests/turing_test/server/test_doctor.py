"""The doctor finds what is broken, says what to do, and never fails itself."""

import http.server
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from PIL import Image

from tests.turing_test.studies import make_study
from turing_test.commands import study_files
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, default_url
from turing_test.server.doctor import examine
from turing_test.server.followed_page import fetch
from turing_test.server.local_server import local_server
from turing_test.stimuli.create import create_study
from turing_test.study.freeze import freeze
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import read_study

SETTINGS = {
    "size": 64, "practice_trials": 1, "test_trials": 3, "vigilance_trials": 1, "reserve_trials": 0,
    "contact": "Ann <ann@example.org>", "ethics_contact": "The board <board@example.org>",
}  # fmt: skip
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("truth", "mine"):
        (tmp_path / name).mkdir()
        for k in range(4):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name / f"{k}.png")
    return create_study(tmp_path / "study", tmp_path / "truth", {"mine": tmp_path / "mine"}, settings=SETTINGS).study


def check(study, name, **where):
    found = [check for check in examine(study.folder, **where) if check.name == name]
    assert len(found) == 1, found
    return found[0]


def fill_database(study, manifest, protocol, updated_at):
    storage = Storage(default_url(study.folder))
    storage.upgrade()
    now = time.time()

    def work(connection):
        connection.execute(sa.delete(tables.study))
        connection.execute(
            sa.insert(tables.study).values(
                name="study", manifest=manifest, protocol=protocol, version="0", created_at=now
            )
        )
        row = {
            "token_hash": "t", "label": "a", "state": "test", "platform": "link", "verified": False, "simulated": False,
            "seed": "", "n_trials": 1, "position": 1, "completion_code": "", "created_at": now, "updated_at": updated_at,
        }  # fmt: skip
        connection.execute(sa.insert(tables.session).values(**row))

    storage.write(work)
    storage.close()


@contextmanager
def passed_on(url, is_passed, prefix=""):
    """A reverse proxy that passes some paths on, without their prefix, and answers the others with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self, sent=None):
            status, headers, body = 404, {"content-type": "text/html"}, b"not here"
            if is_passed(self.path):
                status, headers, body = fetch(url + self.path.removeprefix(prefix), sent)
            self.send_response_only(status)
            for name, value in headers.items():
                if name not in ("content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.do_GET(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


@pytest.fixture
def server():
    """Answers every page with the headers in `server.sent`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(200)
            for name, value in self.server.sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"page")

        def log_message(self, *words):
            pass

    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    made.sent = {**HEADERS, "Date": formatdate(usegmt=True)}
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


class TestTheFiles:
    def test_of_a_healthy_study_are_well(self, study):
        found = {check.name: check.ok for check in examine(study.folder)}
        assert found == {
            "study": True, "protocol": None, "duration": True, "stimuli": True, "consent": True, "freeze": None, "secret": True, "disk": True,
            "database": None, "server": None,
        }  # fmt: skip

    def test_of_no_study_are_one_sentence(self, tmp_path):
        found = list(examine(tmp_path))
        assert [check.ok for check in found] == [False]
        assert "is no study" in found[0].finding

    def test_that_are_damaged_are_counted(self, study):
        path = study.stimulus_path(study.find("0", "truth"))
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        found = check(study, "stimuli")
        assert found.ok is False
        assert "1 missing or damaged" in found.finding

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
    def test_a_secret_for_other_eyes_is_bad(self, study, mode):
        (study.folder / "secret.key").chmod(mode)
        found = check(study, "secret")
        assert found.ok is False
        assert "chmod 600" in found.finding

    def test_participants_must_know_whom_to_ask(self, study):
        create_study(study.folder, settings={"contact": "", "ethics_contact": ""})
        found = check(study, "consent")
        assert found.ok is False
        assert "contact and ethics_contact" in found.finding

    def test_what_is_set_for_a_platform_that_is_not_admitted_is_told(self, study):
        create_study(study.folder, settings={"prolific_completed": "DONE"})
        found = check(study, "platforms")
        assert found.ok is False
        assert 'prolific_completed is set, and platforms does not name "prolific"' in found.finding
        create_study(study.folder, settings={"platforms": ("prolific",)})
        assert "platforms" not in {check.name for check in examine(study.folder)}

    def test_prolific_wants_a_code_for_every_way_out(self, study):
        others = ("incomplete", "full", "expired", "declined", "incompatible")
        settings = {"platforms": ("prolific",), **{f"prolific_{name}": name.upper() for name in others}}
        create_study(study.folder, settings=settings)
        assert (check(study, "codes").ok, "prolific_completed is empty" in check(study, "codes").finding) == (
            False,
            True,
        )
        create_study(study.folder, settings={"prolific_completed": "DONE"})
        assert check(study, "codes").ok is True
        create_study(study.folder, settings={"prolific_full": ""})
        assert check(study, "codes").finding == "prolific_full: empty; whoever leaves so is not sent back to Prolific"
        create_study(study.folder, settings={"prolific_incomplete": "DONE"})
        assert check(study, "codes").finding.startswith("prolific_incomplete: the code of prolific_completed")

    def test_a_stamp_holds_as_long_as_nothing_changes(self, study):
        freeze(study)
        assert check(study, "freeze").ok is True
        path = study.folder / "study.toml"
        path.write_text(path.read_text().replace("gap_ms = 600", "gap_ms = 5"))
        found = check(study, "freeze")
        assert found.ok is False
        assert "changed since" in found.finding


class TestTheDatabase:
    @pytest.mark.parametrize(
        ("changes", "ok", "finding"),
        [
            ({}, True, "1 session of participants, 0 simulated"),
            ({"manifest": "0" * 64}, False, "other stimuli"),
            ({"protocol": "0" * 64}, False, "another study.toml"),
            ({"updated_at": 4e9}, False, "clock"),
        ],
    )
    def test_must_belong_to_the_study(self, study, changes, ok, finding):
        values = {"manifest": study.manifest.digest, "protocol": study.protocol.asked_digest, "updated_at": time.time()}
        fill_database(study, **{**values, **changes})
        found = check(read_study(study.folder), "database")
        assert found.ok is ok
        assert finding in found.finding

    def test_that_is_damaged_or_elsewhere_is_a_sentence(self, study, tmp_path):
        study.database.write_bytes(b"garbage" * 1000)
        assert check(study, "database").ok is False
        assert check(study, "database", database="mysql://x/y").ok is False
        assert check(study, "database", database="postgresql://nobody@127.0.0.1:1/none").ok is False


def test_what_differs_from_the_preset_is_told(tmp_path):
    as_it_is = make_study(tmp_path / "study", methods_per_person="all", image_ms=500)
    found = check(as_it_is, "protocol")
    assert found.ok is None
    for said in (
        "differs from zhang2016 in",
        'methods_per_person = "all"',
        "image_ms = 500",
        "the report's methods paragraph",
    ):
        assert said in found.finding
    assert "sessions_per_method" not in found.finding
    assert Protocol.of_preset("preference", name="x", seed=4).departures == ()


class TestTheServer:
    def test_of_this_toolkit_is_well(self, study):
        with local_server(study) as url:
            assert {check.name for check in examine(study.folder, url=url) if check.ok is not True} == {
                "freeze",
                "HTTPS",
                "protocol",  # a small study of the tests
            }

    @pytest.mark.parametrize(
        ("spoiled", "said"),
        [
            ("/static/participant/main.js", "main.js gives 404"),
            ("/static/participant.css", "participant.css gives 404"),
            ("/api/", "/api/s/doctor is not answered by the study"),
            ("", ""),
        ],
    )
    def test_every_address_that_a_browser_asks_for_is_followed(self, study, spoiled, said):
        with local_server(study) as url, passed_on(url, lambda path: not spoiled or spoiled not in path) as proxy:
            found = check(study, "page", url=proxy)
        assert found.ok is (not spoiled), found
        assert said in found.finding

    def test_a_path_that_the_server_does_not_know_is_a_blank_page_and_the_doctor_says_so(self, study):
        with local_server(study) as url, passed_on(url, lambda path: path.startswith("/study1/"), "/study1") as proxy:
            assert check(study, "server", url=f"{proxy}/study1").ok is True
            found = check(study, "page", url=f"{proxy}/study1")
        assert found.ok is False
        assert "the server must know it (evalkit study serve --path" in found.finding

    def test_a_page_of_something_else_is_not_the_participants(self, study, server):
        assert "it is not the participant's page" in check(study, "page", url=server.url).finding

    def test_that_sends_what_it_should_is_well(self, study, server):
        for name in ("server", "headers", "clock"):
            found = check(study, name, url=server.url)
            assert found.ok is True, found
        assert check(study, "HTTPS", url=server.url).ok is None  # this machine alone

    @pytest.mark.parametrize("name", HEADERS)
    def test_must_send_every_header(self, study, server, name):
        del server.sent[name]
        found = check(study, "headers", url=server.url)
        assert found.ok is False
        assert name.lower() in found.finding

    def test_must_set_no_cookies(self, study, server):
        server.sent["Set-Cookie"] = "a=b"
        assert "set-cookie is set" in check(study, "headers", url=server.url).finding

    @pytest.mark.parametrize(("seconds", "ok"), [(30, True), (-3600, False), (3600, False)])
    def test_must_know_the_time(self, study, server, seconds, ok):
        server.sent["Date"] = formatdate(time.time() + seconds, usegmt=True)
        assert check(study, "clock", url=server.url).ok is ok

    def test_that_does_not_answer_is_a_sentence(self, study):
        found = check(study, "server", url="http://127.0.0.1:1")
        assert found.ok is False
        assert "does not answer" in found.finding

    def test_must_be_encrypted_elsewhere(self, study):
        found = check(study, "HTTPS", url="http://study.invalid")
        assert found.ok is False
        assert "not encrypted" in found.finding


def test_the_command_exits_with_2_when_something_is_bad(study):
    result = CliRunner().invoke(study_files.doctor_command, [str(study.folder)])
    assert result.exit_code == 0, result.output
    assert " ok  stimuli   12 files" in result.output
    (study.folder / "secret.key").chmod(0o644)
    result = CliRunner().invoke(study_files.doctor_command, [str(study.folder)])
    assert result.exit_code == 2
    assert "BAD  secret" in result.output
