"""The real server under clients that mean no good: what one machine does must not keep others out."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.turing_test.server.test_serving import EVALKIT, get, serving, workers_of

PATIENCE_S = 120
IDLE = 4150


@contextmanager
def many_files(count):
    """As a machine is set up that attacks: so many sockets at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wait_until(is_reached, what):
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def raw(port, request):
    """All that a server says to a request until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def head(*lines):
    return "\r\n".join((*lines, "", "")).encode()


POST = (
    "POST /api/sessions HTTP/1.1", "Host: study", "Content-Type: application/json", "Connection: close",
)  # fmt: skip


def test_thousands_of_sockets_that_say_nothing_keep_nobody_out(study):
    with serving(study.folder) as (_, _, port), many_files(IDLE + 500), ExitStack() as idle:
        for _ in range(IDLE):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
        assert get(port, "/")[0] == 200
        assert get(port, "/health")[0] == 200


def test_bodies_that_never_end_hold_no_thread(study):
    with serving(study.folder, "--threads", 2) as (_, _, port), ExitStack() as slow:
        for _ in range(20):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            connection.sendall(head(*POST, "Content-Length: 500") + b"{")
        assert get(port, "/")[0] == 200
        answer = connection.recv(65536)  # in the end they are told
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (("Content-Length: 2", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n", 411),
        (("Transfer-Encoding: chunked", "Content-Length: 2"), b"0\r\n\r\n", 411),
        (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\n\r\n", 411),
        (("Transfer-Encoding: chunked, identity", "Content-Length: 2"), b"{}", 400),
        (("Content-Length: 2", "Content-Length: 3"), b"{}", 400),
        (("Content-Length: 2, 3",), b"{}", 400),
        (("Content-Length: -1",), b"", 400),
        (("Content-Length: 999999999",), b"{}", 413),
        (("Content-Length: 2",), b"{}", 400),  # as it should be sent; but it lacks everything that a start says
    ],
)
def test_a_request_whose_length_can_be_read_in_two_ways_is_refused(running_study, lines, body, status):
    answer = raw(running_study, head(*POST, *lines) + body)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"granian" not in answer.lower()


@pytest.fixture(scope="module")
def running_study(tmp_path_factory):
    from tests.turing_test.studies import make_study

    with serving(make_study(tmp_path_factory.mktemp("attacked") / "study").folder) as (_, _, port):
        yield port


def test_a_request_that_breaks_off_is_no_error_of_the_server(running_study):
    for length in (0, 1):
        with socket.create_connection(("127.0.0.1", running_study)) as connection:
            connection.sendall(head(*POST, "Content-Length: 500") + b"{" * length)
    assert get(running_study, "/health")[0] == 200


def test_a_worker_ends_with_its_parent_and_the_port_is_free_again(study):
    with serving(study.folder) as (process, _, port):
        workers = workers_of(process)
        process.kill()
        process.wait()
        wait_until(lambda: not any(is_running(worker) for worker in workers), "a worker outlives its parent")
        with serving(study.folder, port=port):
            assert get(port, "/")[0] == 200


def test_workers_that_are_killed_again_and_again_are_replaced(study):
    with serving(study.folder) as (process, _, port):
        for _ in range(4):  # the engine itself gives up at the second time within seconds
            wait_until(lambda: workers_of(process), "no worker")
            for worker in workers_of(process):
                os.kill(int(worker), 9)
            wait_until(lambda: answers(port), "nobody answers any more")


def test_two_servers_do_not_share_a_port(study, tmp_path):
    from tests.turing_test.studies import make_study

    other = make_study(tmp_path / "other")
    with serving(study.folder) as (_, _, port):
        words = [*EVALKIT, "study", "serve", str(other.folder), "--port", str(port)]
        refused = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        assert refused.returncode == 2
        assert f"cannot listen on 127.0.0.1 port {port} (Address already in use); choose another" in refused.stderr


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def answers(port):
    try:
        return get(port, "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
