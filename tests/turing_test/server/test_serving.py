"""`evalkit study serve`: the real server, as a process."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import segno
from click.testing import CliRunner

from evalkit.cli import main
from tests.turing_test.participants import DEVICE
from turing_test.commands import study_serve
from turing_test.server.serving import Address

EVALKIT = [sys.executable, "-c", "from evalkit.cli import main; main()"]


@contextmanager
def serving(*words, port=0):
    """A server; its first lines and its port."""
    process = subprocess.Popen(
        [*EVALKIT, "study", "serve", *map(str, words), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        lines = []
        while not any("dashboard  " in line for line in lines):
            lines.append(process.stdout.readline())
            assert lines[-1], "the server ended"
        port = port_in(lines[1])
        yield process, lines, port
    finally:
        process.send_signal(signal.SIGTERM)
        with process:
            process.wait(timeout=30)


def port_in(line):
    """The port of the address that a line shows; None where it shows none."""
    found = re.search(r":([0-9]+)", line)
    return None if found is None else int(found[1])


def workers_of(process):
    """Its processes that answer; the others keep account of what processes share."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [child for child in children if b"spawn_main" in command_of(child)]


def command_of(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def post(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status in (200, 201), content
    return json.loads(content)


def test_many_connections_that_say_nothing_keep_nobody_waiting_and_hold_up_no_end(study):
    with serving(study.folder) as (process, _, port):
        idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(500)]
        assert get(port, "/")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        for connection in idle:
            connection.close()


def test_an_image_is_the_same_whether_a_thread_reads_its_file_or_it_is_made_at_once(study):
    """The first of each pair is read by a thread; its other one, from memory, needs none."""
    with serving(study.folder) as (_, _, port):
        page = get(port, "/")[2].decode()
        consent = {"consent": True, "consent_hash": page.split('data-consent-hash="', 1)[1][:64]}
        token = post(port, "/api/sessions", {"query": {}, "link": None, **consent})["token"]
        addresses = post(port, f"/api/s/{token}/device", DEVICE)["trial"]["images"]
        first = [get(port, address) for address in addresses]
        again = [get(port, address) for address in addresses]  # the application's, with Flask: they were told once
        for _, headers, _ in first + again:
            headers.pop("date", None)
        assert first == again
        assert len({len(content) for _, _, content in first}) == 1
        status, headers, content = first[1]
        assert status == 200
        assert headers["cache-control"] == "no-store"
        assert content.startswith(b"\x89PNG")


def test_serve_prints_where_to_go_answers_and_ends_in_order(study):
    with serving(study.folder) as (process, lines, port):
        assert "participants" in lines[1]
        assert "dashboard" in lines[2]
        assert "evalkit study password" in process.stdout.readline()
        status, headers, body = get(port, "/")
        assert status == 200
        assert b"data-consent-hash" in body
        assert headers["server"] == "study"  # not what it runs on
        assert json.loads(get(port, "/api/openapi.json")[2])["openapi"].startswith("3.")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert "Every acknowledged answer is stored" in rest
        assert process.wait(timeout=30) == 0


def test_several_workers_answer_on_one_port(study, database_kind, database_url):
    if database_kind == "sqlite":
        refused = CliRunner().invoke(
            main, ["study", "serve", str(study.folder), "--workers", "2", "--port", "0", "--database", database_url]
        )
        assert refused.exit_code == 2
        assert "SQLite is made for one process" in refused.output
        return
    with serving(study.folder, "--workers", 3, "--database", database_url) as (process, _, port):
        deadline = time.monotonic() + 30
        while len(children := workers_of(process)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert {get(port, "/")[0] for _ in range(9)} == {200}
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_taken_port_and_a_missing_study_are_told_in_a_sentence(study, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["study", "serve", str(study.folder), "--port", port])
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in result.output
    assert CliRunner().invoke(main, ["study", "serve", str(tmp_path / "none")]).exit_code == 2
    assert "use --demo" in CliRunner().invoke(main, ["study", "serve"]).output
    unreachable = CliRunner().invoke(
        main,
        ["study", "serve", str(study.folder), "--port", "0", "--database", f"postgresql://nobody@/x?host={tmp_path}"],
    )
    assert unreachable.exit_code == 2
    assert "The database cannot be used now" in unreachable.output


def test_help_and_the_server_import_nothing_heavy():
    heavy = "{'torch', 'skimage', 'scipy', 'pandas', 'matplotlib', 'numba'}"
    help_only = f"{heavy[:-1]}, 'flask', 'sqlalchemy', 'numpy'}}"
    for program, unwanted in (
        ("from evalkit.cli import main; main(['study', '--help'], standalone_mode=False)", help_only),
        ("import turing_test.web.app, turing_test.server.serving, granian", heavy),
    ):
        code = f"import sys; {program}; print(sorted({unwanted} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["serve", "password", "links", "export", "backup", "forget"])
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(main, ["study", command, "--help"])
    assert result.exit_code == 0
    assert "STUDY" in result.output


def test_on_all_addresses_it_says_the_one_for_a_phone_in_the_same_network(study):
    found = {}
    for host in ("0.0.0.0", "127.0.0.1"):
        address = Address(host, 0)
        found[host] = address.network_url
        address.close()
    assert found["127.0.0.1"] is None
    with serving(study.folder, "--host", "0.0.0.0") as (process, _, port):
        if found["0.0.0.0"] is None:  # a machine without any network
            return
        said = process.stdout.readline()
        assert "same network" in said
        url = said.split()[2]
        host = url.removeprefix("http://").removesuffix(f":{port}/")
        assert host not in ("0.0.0.0", "127.0.0.1")
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_terminal_shows_the_address_as_a_code_for_a_camera(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    study_serve.show_network_url("http://192.168.1.5:8000/")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("  same network  http://192.168.1.5:8000/")
    code = segno.make("http://192.168.1.5:8000/", micro=False)
    assert len(said) - 1 >= (code.symbol_size(border=2)[1]) // 2
    assert any("▀" in line or "▄" in line for line in said[1:])
