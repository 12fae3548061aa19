"""The production server: granian, with many threads per study and process, and with PostgreSQL several processes on one port."""

from __future__ import annotations

import gc
import ipaddress
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import InputError
from turing_test.database.storage import StorageUnavailable
from turing_test.server.late import LateApplication
from turing_test.server.log import write_log
from turing_test.study.freeze import Stamp, changes_since, stamp_of
from turing_test.study.study_folder import read_study

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from _typeshed.wsgi import WSGIApplication
    from flask import Flask
    from granian.server.common import AbstractServer


__all__ = ["Address", "Server", "Site", "serve"]

CONNECTIONS = 16_384
"""Browsers that may be connected at once, per process, where the machine admits so many open files."""

EVERYWHERE: Mapping[str, tuple[socket.AddressFamily, str]] = {
    "0.0.0.0": (socket.AF_INET, "192.0.2.1"),
    "::": (socket.AF_INET6, "2001:db8::1"),
}
"""Hosts that mean all addresses of the machine, and for each an address that is nobody's (RFC 5737, RFC 3849)."""

FILES_FOR_OTHERS = 256
SILENCE_S = 75.0
"""How long a connection may say nothing, or take for the head of a request; proxies close theirs earlier."""

LONGEST_END_S = 10
PAUSE_BETWEEN_ENGINES_S = 0.2
PAUSE_BETWEEN_LOOKS_S = 0.05
LONGEST_START_S = 15
OVERVIEW_THREADS = 4
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A study at an address of the server.

    Attributes
    ----------
    name : str
        What its path begins with below that of the server; "" for the only study.
    folder : Path
    database_url : str or None
        None for SQLite in the study folder.
    problem : str
        Why it is not served until the server is started again; "" for no reason.
    stamp : Stamp or None
        What was asked when the server was started; a worker that takes another's place asks the same or waits.
    """

    name: str
    folder: Path
    database_url: str | None = None
    problem: str = ""
    stamp: Stamp | None = None


@dataclass(frozen=True, kw_only=True)
class Server:
    """How studies are served.

    Attributes
    ----------
    sites : tuple of Site
        One study, or several with their names.
    workers : int
        Processes; more than one needs PostgreSQL.
    threads : int
        Requests handled at once, per process.
    simulation_key : str or None
    proxy : str or None
        Address of the reverse proxy whose ``X-Forwarded-*`` headers are believed; ``*`` for any.
    path : str
        The path that they are under, for those who come from outside, ``/study1`` say; "" for none.
    """

    sites: tuple[Site, ...]
    workers: int = 1
    threads: int = 16
    simulation_key: str | None = None
    proxy: str | None = None
    path: str = ""
    secret: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)

    @property
    def has_several(self) -> bool:
        """Whether studies have names."""
        return bool(self.sites[0].name)


class Address:
    """Where a server listens: an address that nobody else has, as long as this is open.

    The engine's processes share a port (``SO_REUSEPORT``), and so would two servers, each getting half of the requests
    and nobody noticing. So the port is taken once alone, to see that it is free, and then held without listening.

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

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._held = socket.socket(family, socket.SOCK_STREAM)
        try:
            if port:
                socket.create_server((host, port), family=family).close()
                self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "linux":
                self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._held.bind((host, port))
        except OSError as error:
            self._held.close()
            raise InputError(
                f"cannot listen on {host} port {port} ({_reason(error)}); choose another --port or --host."
            ) from None
        self.port: int = self._held.getsockname()[1]
        if sys.platform != "linux":  # there the processes inherit the engine's one socket
            self._held.close()

    @property
    def network_url(self) -> str | None:
        """How another machine in the same network reaches it, a phone say; None when none can, or no network is found."""
        if self.host not in EVERYWHERE:
            return None
        family, elsewhere = EVERYWHERE[self.host]
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((elsewhere, 9))  # no packet is sent: the system only says from which address it would be
            own = str(probe.getsockname()[0])
            if not ipaddress.ip_address(own).is_loopback:
                return f"http://{f'[{own}]' if ':' in own else own}:{self.port}"
        return None

    @property
    def url(self) -> str:
        """How this machine itself reaches it."""
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(
            self.host, f"[{self.host}]" if ":" in self.host else self.host
        )
        return f"http://{shown}:{self.port}"

    def close(self) -> None:
        """Leave it to others."""
        self._held.close()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).split(" (while", 1)[0]


def serve(server: Server, address: Address, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; a worker process that dies is replaced.

    Parameters
    ----------
    server : Server
    address : Address
    ready : callable
        Called once, from another thread, when requests are answered.

    Raises
    ------
    InputError
        For several workers without PostgreSQL; when the database belongs to another study. Of several studies, those that
        can be served are served; this is raised when none can.
    StorageUnavailable
        When the database cannot be used.
    """
    write_log()
    connections = _allow_many_files()
    server = replace(server, sites=_prepare(server))
    # A process that is forked while a thread holds a lock waits for it for good, and the engine has threads.
    multiprocessing.set_start_method("spawn", force=True)
    # Workers read the study themselves: what is handed to a new process must fit into a pipe, because nobody notices when
    # the process is killed before it has read more than that.
    make_worker = partial(_make_worker, server)
    ending = threading.Event()
    threading.Thread(target=_tell_when_ready, args=(address, ready, ending), daemon=True).start()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        while not ending.is_set():
            # The engine gives up when a worker dies twice within seconds; a study goes on.
            with suppress(SystemExit):
                _make_engine(server, address, connections, ending).serve(target_loader=make_worker, wrap_loader=False)
            if not ending.wait(PAUSE_BETWEEN_ENGINES_S):
                _log.warning("the server's workers died one after the other; all are started anew")
    finally:
        ending.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_engine(server: Server, address: Address, connections: int, ending: threading.Event) -> AbstractServer[Any]:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    engine = Granian(
        "study",
        address=address.host,
        port=address.port,
        interface=Interfaces.RSGI,
        workers=server.workers,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=int(1000 * SILENCE_S)),
        websockets=False,
        backlog=1024,
        backpressure=connections,
        respawn_failed_workers=True,
        workers_kill_timeout=LONGEST_END_S,
        log_level=LogLevels.error,
        log_dictconfig={"incremental": True, "handlers": {}, "loggers": {}},  # its lines go where ours go
    )

    @engine.on_startup
    def take_signals() -> None:
        """The engine has set its handlers just now: what they are told must outlive this engine."""
        handlers = {number: signal.getsignal(number) for number in SIGNALS}

        def end(number: int, frame: Any) -> None:
            ending.set()
            handler = handlers[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        for number in SIGNALS:
            signal.signal(number, end)
        if ending.is_set():  # told between two engines
            end(signal.SIGTERM, None)

    return engine


def _tell_when_ready(address: Address, ready: Callable[[], None], ending: threading.Event) -> None:
    # The engine says that it is ready before its workers are.
    while not ending.is_set():
        with suppress(OSError), urllib.request.urlopen(f"{address.url}/health", timeout=5):
            return ready()
        ending.wait(PAUSE_BETWEEN_LOOKS_S)


def _prepare(server: Server) -> tuple[Site, ...]:
    """Make the tables and find mistakes, before any process is started."""
    prepared = []
    for site in server.sites:
        try:
            if site.problem:
                raise InputError(site.problem)
            prepared.append(replace(site, stamp=_prepare_site(site, server.workers)))
        except (InputError, StorageUnavailable) as error:
            if not server.has_several:
                raise
            _log.error("study %s is not served: %s", site.name, error)
            # A database that is away may come back by itself; a mistake needs somebody.
            prepared.append(replace(site, problem="" if isinstance(error, StorageUnavailable) else str(error)))
    if all(site.problem for site in prepared):
        raise InputError(f"none of the studies can be served; {prepared[0].folder}: {prepared[0].problem}")
    return tuple(prepared)


def _prepare_site(site: Site, workers: int) -> Stamp:
    from turing_test.database.storage import Storage, default_url
    from turing_test.database.study_record import register
    from turing_test.sessions.signed_arrivals import ProlificKeys

    study = read_study(site.folder)
    for read in (study.texts, study.consent_text, partial(ProlificKeys.of, study)):
        read()  # a worker would wait for somebody to mend them
    storage = Storage(site.database_url or default_url(study.folder))
    try:
        if workers > 1 and storage.is_sqlite:
            raise InputError(
                f"--workers is {workers}, but SQLite is made for one process; name a PostgreSQL database with "
                "--database, or leave --workers at 1."
            )
        storage.upgrade()
        register(storage, study)
    finally:
        storage.close()
    return stamp_of(study)


# --- in a worker process -----------------------------------------------------------------------------------------


def _make_worker(server: Server) -> Any:
    """What answers the requests of one process."""
    from turing_test.server.bridge import Bridge
    from turing_test.server.mounts import Mounts
    from turing_test.server.proxy import BehindProxy

    write_log()
    # Ctrl-C reaches all processes of a terminal; the parent passes on the end. Until requests come, it may end at once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    applications = {
        site.name: LateApplication(partial(_make_application, site, server), site.problem) for site in server.sites
    }
    for application in applications.values():
        application.wait(LONGEST_START_S)
    gc.collect()
    gc.freeze()  # what lives as long as the process is looked through no more

    def bridge(application: WSGIApplication, threads: int, **more: Any) -> Bridge:
        if server.proxy is not None:
            proxied = BehindProxy(application, server.proxy, server.path)
            application, more["root_for"] = proxied, proxied.root_for
        return Bridge(application, threads, on_start=_leave_ctrl_c_to_the_parent, **more)

    sites = {
        name: bridge(late, server.threads, shortcuts=late, on_end=late.close) for name, late in applications.items()
    }
    if server.has_several:
        from turing_test.web.overview import create_overview

        sites[""] = bridge(create_overview(applications, server.secret), OVERVIEW_THREADS, on_end=lambda: None)
    return Mounts(sites, server.path)


def _leave_ctrl_c_to_the_parent(loop: AbstractEventLoop) -> None:
    loop.add_signal_handler(signal.SIGINT, lambda: None)


def _make_application(site: Site, server: Server) -> Flask:
    from turing_test.web.app import create_app

    study = read_study(site.folder)
    changes = () if site.stamp is None else changes_since(study, site.stamp)
    if changes:
        raise InputError(
            f"{site.folder}: changed since the server was started ({', '.join(changes)}); put back what it was, or start the "
            "server again."
        )
    return create_app(study, site.database_url, simulation_key=server.simulation_key, connections=server.threads)


def _end_with_parent() -> None:
    """End when the parent is gone, however it went: nobody could replace or stop this process, and it holds the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)  # what was acknowledged is on disk


def _allow_many_files() -> int:
    """Every connection is an open file, and the usual limit is for programs that expect few; how many there may be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + FILES_FOR_OTHERS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(FILES_FOR_OTHERS, wanted - FILES_FOR_OTHERS)
