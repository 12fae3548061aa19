"""The production server: waitress with many threads, and with PostgreSQL several processes on one socket."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import InputError
from turing_test.study.study_folder import Study

__all__ = ["Server", "open_socket", "serve"]

CONNECTIONS = 4096
"""Browsers that may be connected at once, a process."""

NO_FILE = -1
PAUSE_A_CONNECTION_S, LONGEST_PAUSE_S = 15e-6, 0.02
PAUSE_AFTER_FAILURE_S = 1.0
LONGEST_END_S = 10.0
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a study is served.

    Attributes
    ----------
    study : Study
    database_url : str or None
        None for SQLite in the study folder.
    workers : int
        Processes; more than one needs PostgreSQL.
    threads : int
        Requests handled at once, a process.
    simulation_key : str or None
    proxy : str or None
        Address of the reverse proxy whose ``X-Forwarded-*`` headers are believed; ``*`` for any.
    """

    study: Study
    database_url: str | None = None
    workers: int = 1
    threads: int = 16
    simulation_key: str | None = None
    proxy: str | None = None

    def run(self, listening: socket.socket) -> None:
        """Answer requests in this process until it is told to stop (SIGTERM or SIGINT)."""
        from waitress import serve as run_waitress  # type: ignore[import-untyped]

        from turing_test.web.app import create_app

        app = create_app(self.study, self.database_url, simulation_key=self.simulation_key, connections=self.threads)
        gc.collect()
        gc.freeze()  # what lives as long as the process is looked through no more
        proxy = {} if self.proxy is None else {
            "trusted_proxy": self.proxy, "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        }  # fmt: skip
        # Participants who answer at the same moment queue for a few milliseconds; that is no reason for a warning each.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        watched: dict[int, Any] = {}
        watched[NO_FILE] = _Pause(watched)
        try:
            run_waitress(
                app, map=watched, sockets=[listening], threads=self.threads, connection_limit=CONNECTIONS, channel_timeout=120,
                asyncore_use_poll=True, backlog=1024, ident=None, max_request_body_size=1 << 20, _quiet=True, **proxy,
            )  # fmt: skip
        finally:
            app.extensions["turing_test"].storage.close()


class _Pause:
    """Stands among waitress's connections and lets some time pass whenever all of them are looked through.

    Waitress asks every open connection before it waits for the next request. With hundreds of participants it would do
    little else: one look for each request, while the threads that answer wait for Python's lock. A pause several times
    as long as the look lets requests gather, so that one look finds several; a hundred participants wait 1.5 ms for it.
    """

    accepting = False

    def __init__(self, watched: Mapping[int, Any]) -> None:
        self._watched = watched

    def readable(self) -> bool:
        """Called once per look; never has anything to read."""
        time.sleep(min(PAUSE_A_CONNECTION_S * len(self._watched), LONGEST_PAUSE_S))
        return False

    def writable(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to close."""


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Parameters
    ----------
    host : str
    port : int
        0 for a free one.

    Raises
    ------
    InputError
        When the address is taken or is none of this machine's.
    """
    try:
        return socket.create_server(
            (host, port), backlog=1024, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise InputError(
            f"cannot listen on {host} port {port} ({error.strerror or error}); choose another --port or --host."
        ) from None


def serve(server: Server, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; a worker process that dies is replaced.

    Parameters
    ----------
    server : Server
    listening : socket.socket
        From `open_socket`.
    ready : callable
        Called once, when the database is found fit and requests are about to be answered.

    Raises
    ------
    InputError
        For several workers without PostgreSQL; when the database belongs to another study.
    StorageUnavailable
        When the database cannot be used.
    """
    _allow_many_files()
    _prepare(server)
    # Signals wait until they are asked for: an exception out of a handler may be raised where nobody hears it.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        ready()
        _supervise(server, listening)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _prepare(server: Server) -> None:
    """Make the tables and find mistakes, before any process is started."""
    from turing_test.database.storage import Storage, default_url
    from turing_test.database.study_record import register

    storage = Storage(server.database_url or default_url(server.study.folder))
    try:
        if server.workers > 1 and storage.is_sqlite:
            raise InputError(
                f"--workers is {server.workers}, but SQLite is made for one process; name a PostgreSQL database with "
                "--database, or leave --workers at 1."
            )
        storage.upgrade()
        register(storage, server.study)
    finally:
        storage.close()


def _supervise(server: Server, listening: socket.socket) -> None:
    """Keep as many workers as were asked for; the socket stays open meanwhile, so nobody is turned away."""
    running: set[int] = set()
    try:
        while True:
            while len(running) < server.workers:
                running.add(_start_worker(server, listening))
            if signal.sigwait(SIGNALS) != signal.SIGCHLD:
                return
            for ended, status in _ended(running):
                running.discard(ended)
                if os.WIFEXITED(status):  # not killed: it found something wrong, and the next one may as well
                    time.sleep(PAUSE_AFTER_FAILURE_S)
    finally:
        _stop(running)


def _ended(running: set[int]) -> list[tuple[int, int]]:
    statuses = [os.waitpid(process, os.WNOHANG) for process in running]
    return [(process, status) for process, status in statuses if process]


def _stop(running: set[int]) -> None:
    """End the workers; one that does not end in time is killed, which loses nothing that was acknowledged."""
    for process in running:
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + LONGEST_END_S
    while running and time.monotonic() < deadline:
        running.difference_update({process for process, _ in _ended(running)})
        time.sleep(0.02)
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _start_worker(server: Server, listening: socket.socket) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes on the end
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        server.run(listening)
        status = 0
    except SystemExit:
        status = 0
    except BaseException:
        logging.getLogger(__name__).exception("a worker process failed")
    finally:
        os._exit(status)


def _allow_many_files() -> None:
    """Every connection is an open file; the usual limit of 1024 is for programs that do not expect many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 512
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
