"""A study under a path, https://host/study1/, however the proxy passes that on."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from tests.turing_test.participants import DEVICE
from tests.turing_test.server.test_doctor import passed_on
from tests.turing_test.server.test_serving import port_in, serving
from turing_test.server.doctor import examine
from turing_test.study.study_file import format_protocol
from turing_test.web.dashboard_password import set_password

PREFIX = {"X-Forwarded-Prefix": "/study1"}


def ask(port, path, *, method="GET", body=None, headers=None):
    """Status, headers as a message, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    read = response.status, response.headers, response.read()
    connection.close()
    return read


@contextmanager
def served_under_a_path(study, way):
    """A server, and how the proxy asks for something below /study1: path and headers of its request."""
    if way == "passed on":
        options, inner, headers = ("--path", "/study1"), "/study1", {}
    elif way == "taken away":
        options, inner, headers = ("--path", "/study1"), "", {}
    else:
        options, inner, headers = ("--proxy", "127.0.0.1"), "", PREFIX
    with serving(study.folder, *options) as (_, lines, port):
        yield port, inner, headers, lines


WAYS = ("passed on", "taken away", "told by the proxy")


@pytest.mark.parametrize("way", WAYS)
def test_every_address_that_the_study_makes_is_under_the_path(study, way):
    set_password(study.folder, "a password of length")
    with served_under_a_path(study, way) as (port, inner, headers, _):
        page = ask(port, f"{inner}/", headers=headers)[2].decode()
        assert 'data-root="/study1"' in page
        addresses = re.findall(r'\s(?:src|href|action)="([^"]+)"', page)
        assert len(addresses) > 15
        assert {address.startswith("/study1/") for address in addresses} == {True}
        consent_hash = re.search(r'data-consent-hash="(\w+)"', page)[1]
        json_headers = {**headers, "Content-Type": "application/json"}

        def send(path, body):
            status, _, text = ask(port, inner + path, method="POST", body=json.dumps(body), headers=json_headers)
            assert status in (200, 201), text
            return json.loads(text)

        token = send("/api/sessions", {"query": {}, "link": None, "consent": True, "consent_hash": consent_hash})[
            "token"
        ]
        view = send(f"/api/s/{token}/device", DEVICE)
        begun = send(f"/api/s/{token}/trials/1/begin", {"load": "load-1"})
        ahead = json.loads(ask(port, f"{inner}/api/s/{token}/ahead", headers=headers)[2])["images"]
        assert ahead
        for address in (*view["trial"]["images"], *view["next_images"], begun["first"], begun["second"], *ahead):
            assert address.startswith("/study1/stimuli/")
            assert ask(port, inner + address.removeprefix("/study1"), headers=headers)[0] == 200
        api = json.loads(ask(port, f"{inner}/api/openapi.json", headers=headers)[2])
        assert api["servers"] == [{"url": "/study1"}]

        _, sent, login = ask(port, f"{inner}/dashboard", headers=headers)
        assert "Path=/study1/dashboard" in sent["Set-Cookie"]
        form = {
            "form_token": re.search(r'name="form_token" value="([^"]+)"', login.decode())[1],
            "password": "a password of length",
        }
        cookie = {"Cookie": sent["Set-Cookie"].partition(";")[0], "Content-Type": "application/x-www-form-urlencoded"}
        status, sent, _ = ask(
            port, f"{inner}/dashboard/login", method="POST", body=urlencode(form), headers={**headers, **cookie}
        )
        assert (status, sent["Location"]) == (303, "/study1/dashboard")
        assert "Path=/study1/dashboard" in sent["Set-Cookie"]


def test_the_path_without_its_slash_leads_to_the_page_with_all_that_the_address_carries(study):
    with serving(study.folder, "--path", "/lab/study1") as (_, lines, port):
        assert f"http://127.0.0.1:{port}/lab/study1/" in lines[1]
        assert f"http://127.0.0.1:{port}/lab/study1/dashboard" in lines[2]
        status, headers, _ = ask(port, "/lab/study1?PROLIFIC_PID=5f1&SESSION_ID=b")
        assert (status, headers["Location"]) == (308, "study1/?PROLIFIC_PID=5f1&SESSION_ID=b")
        assert ask(port, "/lab/study1/health")[0] == 200
        assert ask(port, "/health")[0] == 200  # for whoever asks the server itself
        assert ask(port, "/lab/study12")[0] == 404
        assert ask(port, "/lab")[0] == 404


def test_nobody_but_the_proxy_says_what_the_path_is(study):
    for options in ((), ("--proxy", "192.0.2.1")):
        with serving(study.folder, *options) as (_, _, port):
            page = ask(port, "/", headers=PREFIX)[2].decode()
            assert 'data-root=""' in page
            assert "/study1" not in page


def test_the_path_is_that_of_public_url_where_none_is_named(study):
    protocol = replace(study.protocol, public_url="https://example.org/colors")
    (study.folder / "study.toml").write_text(format_protocol(protocol))
    with serving(study.folder) as (process, lines, _):
        assert "https://example.org/colors/" in lines[1]
        own = process.stdout.readline()
        assert "this machine" in own
        port = port_in(own)
        assert b'data-root="/colors"' in ask(port, "/")[2]
        assert b'src="/colors/static/' in ask(port, "/colors/")[2]


@pytest.mark.parametrize("path", ["/a b", "/..", "/a/../b", "/a?b", "https://example.org/a"])
def test_what_is_no_path_is_refused(study, path):
    result = CliRunner().invoke(main, ["study", "serve", str(study.folder), "--path", path, "--database", "x://"])
    assert result.exit_code == 2
    assert "allowed is a path such as /study1" in result.output


def test_the_doctor_follows_a_study_under_a_path(study):
    def page_check(url):
        (found,) = (check for check in examine(study.folder, url=url) if check.name == "page")
        return found

    with serving(study.folder, "--path", "/study1") as (_, _, port):
        url = f"http://127.0.0.1:{port}"
        with passed_on(url, lambda path: path.startswith("/study1/")) as proxy:
            assert page_check(f"{proxy}/study1").ok is True, page_check(f"{proxy}/study1")
            assert page_check(f"{proxy}/study1/").ok is True
        with passed_on(url, lambda path: path.startswith("/study1/"), "/study1") as proxy:
            assert page_check(f"{proxy}/study1").ok is True
        with passed_on(url, lambda path: path.startswith("/other/"), "/other") as proxy:
            found = page_check(f"{proxy}/other")
            assert found.ok is False
            assert "/study1/static/" in found.finding
        for spoiled in ("/api/s/", "/api/sessions", "/stimuli/", "/l/", "/s/"):
            with passed_on(url, lambda path, spoiled=spoiled: f"/study1{spoiled}" not in f"{path}/") as proxy:
                found = page_check(f"{proxy}/study1")
                assert found.ok is False, spoiled
                assert spoiled.rstrip("/") in found.finding
