"""The study's WSGI application behind a server that speaks RSGI: requests are read whole before a thread is given to them.

Why this exists: granian's own WSGI hands a request to a thread when its head is there, and has no time limit for bodies, so a
few clients that send half a body hold all threads for good. Here, bodies are read beside the threads, within a time and a
size, and only then does a thread answer.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from turing_test.database.group_commit import MOST_AT_ONCE
from turing_test.server.together import Together
from turing_test.web.bodies import MAX_BODY
from turing_test.web.participant import START_PATH
from turing_test.web.steps import AskedStep, Reply

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from granian.rsgi import Scope

__all__ = ["BODY_TIME_S", "Bridge", "Shortcuts", "redirect_into"]

BODY_TIME_S = 20.0
"""How long a body may take; the longest honest one needs 1.3 s at 100 kbit/s."""

SERVER = "study"
"""What the header ``Server`` says: without one of ours, the engine would put its own name there."""

_log = logging.getLogger(__name__)
_Headers = list[tuple[str, str]]


class Shortcuts(Protocol):
    """What a study answers without its WSGI application, where that does the same in more time."""

    def image_at_once(self, path: str) -> tuple[_Headers, bytes] | None:
        """As `turing_test.web.images.image_at_once`; called in the event loop: nobody else is answered meanwhile."""
        ...

    def read_step(self, path: str, root: str, content_type: str, body: bytes) -> AskedStep | None:
        """As `turing_test.web.steps.read_step`, in the event loop."""
        ...

    def take_steps(self, asked: Sequence[AskedStep]) -> Sequence[Reply | None]:
        """As `turing_test.web.steps.take_steps`, in a thread."""
        ...


class Bridge:
    """A WSGI application as granian calls it.

    Parameters
    ----------
    application : callable
        Of PEP 3333; its answers are small enough to be held whole.
    threads : int
        Requests answered at once, but for those of people who begin.
    shortcuts : Shortcuts, optional
        What it does not need to be asked for.
    root_for : callable
        From the sender's address, its ``X-Forwarded-Prefix`` and the root: where the application is for those who come from
        outside.
    on_start, on_end : callable
        Called in the worker before its first request, with the event loop, and after its last.
    """

    def __init__(
        self,
        application: WSGIApplication,
        threads: int,
        *,
        shortcuts: Shortcuts | None = None,
        root_for: Callable[[str, str, str], str] = lambda address, prefix, root: root,
        on_start: Callable[[AbstractEventLoop], None],
        on_end: Callable[[], None],
    ) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, "request")
        self._on_start, self._on_end = on_start, on_end
        self._shortcuts, self._root_for = shortcuts, root_for
        # Of their own: whoever is in a crowd that begins would otherwise keep waiting those who go on. The more wait at once, the
        # more are stored with one commit.
        self._threads_beginning = ThreadPoolExecutor(MOST_AT_ONCE, "begin")
        self._threads_together = ThreadPoolExecutor(4, "together")
        self._together: dict[str, Together[AskedStep, Reply]] = {}

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        self._on_start(loop)

    def __rsgi_del__(self, loop: AbstractEventLoop) -> None:
        self._threads.shutdown()
        self._threads_beginning.shutdown()
        self._threads_together.shutdown()
        self._on_end()

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        await self.answer(scope, protocol, "", unquote_to_bytes(scope.path).decode("latin-1"))

    async def answer(self, scope: Scope, protocol: Any, root: str, path: str) -> None:
        """Answer a request for what is under a path of the host.

        Parameters
        ----------
        scope, protocol : Scope, HTTPProtocol
            Of granian.
        root : str
            The path that the application is under, "" for none.
        path : str
            Of the request, below the root.
        """
        body = b""
        headers = scope.headers
        if scope.method == "GET" and self._shortcuts is not None and "range" not in headers:
            image = self._shortcuts.image_at_once(path)
            if image is not None:
                return _send(protocol, 200, *image)
        elif scope.method not in ("GET", "HEAD"):
            if "transfer-encoding" in headers:
                # The engine believes it and forgets a Content-Length beside it; a proxy may do the opposite.
                return _refuse(protocol, 411, "A request must say its Content-Length, and no Transfer-Encoding.")
            if _is_readable(headers.get("content-length", "0")):
                try:
                    body = await asyncio.wait_for(protocol(), BODY_TIME_S)
                except TimeoutError:
                    return _refuse(protocol, 408, "The request took too long to arrive.")
                except Exception:  # the client went away in the middle
                    return _refuse(protocol, 400, "The request broke off.")
            reply = await self._take_step(scope, body, root, path)
            if reply is not None:
                return _send(protocol, *reply)
        threads = self._threads_beginning if scope.method == "POST" and path == START_PATH else self._threads
        await asyncio.get_running_loop().run_in_executor(
            threads, self._answer, _environ(scope, body, root, path), protocol
        )

    async def _take_step(self, scope: Scope, body: bytes, root: str, path: str) -> Reply | None:
        """Answer a request together with others of its kind; None for what the application must be asked for."""
        if self._shortcuts is None or scope.method != "POST":
            return None
        headers: Any = scope.headers
        root = self._root_for(_address(scope), ",".join(headers.get_all("x-forwarded-prefix")), root)
        asked = self._shortcuts.read_step(path, root, headers.get("content-type", ""), body)
        if asked is None:
            return None
        if asked.kind not in self._together:
            self._together[asked.kind] = Together(
                self._shortcuts.take_steps, lambda step: step.token, self._threads_together
            )
        return await self._together[asked.kind].ask(asked)

    def _answer(self, environ: dict[str, Any], protocol: Any) -> None:
        """Answer in a thread of our own, straight to the engine: the event loop need not wake for it."""
        try:
            status, headers, content = self._run(environ)
        except Exception:
            _log.exception("a request failed before the study saw it")
            return _refuse(protocol, 500, "Something went wrong in the server; please try again.")
        _send(protocol, status, headers, content)

    def _run(self, environ: dict[str, Any]) -> tuple[int, _Headers, bytes]:
        started: list[tuple[int, _Headers]] = []

        def start_response(status: str, headers: _Headers, exc_info: object = None) -> Callable[[bytes], object]:
            started.append((int(status.split(" ", 1)[0]), headers))
            return _no_write

        parts: Iterable[bytes] = self._application(environ, start_response)
        try:
            content = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        status, headers = started[-1]
        return status, headers, content


def redirect_into(protocol: Any, scope: Scope) -> None:
    """Send somebody from ``/study1`` to ``/study1/``, with all that stands in the address.

    The new address is told from the last part of the old one, so that it holds behind proxies that change the path.
    """
    name = scope.path.rsplit("/", 1)[-1]
    query = f"?{scope.query_string}" if scope.query_string else ""
    headers = [("location", f"{name}/{query}"), ("cache-control", "no-store"), ("server", SERVER)]
    protocol.response_empty(308, headers)


def _environ(scope: Scope, body: bytes, root: str, path: str) -> dict[str, Any]:
    """What PEP 3333 asks for, of a request that is there as a whole."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": _address(scope),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _address(scope: Scope) -> str:
    return scope.client.rpartition(":")[0].strip("[]")


def _is_readable(length: str) -> bool:
    """Whether a body is worth reading; the study refuses a longer one by its length alone."""
    return length.isascii() and length.isdigit() and int(length) <= MAX_BODY


def _send(protocol: Any, status: int, headers: _Headers, content: bytes) -> None:
    try:
        protocol.response_bytes(status, [*headers, ("server", SERVER)], content)
    except Exception as error:  # the client went away meanwhile
        _log.debug("an answer was not sent: %s", error)


def _refuse(protocol: Any, status: int, sentence: str) -> None:
    headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close"), ("server", SERVER)]
    protocol.response_str(status, headers, f"{sentence}\n")


def _no_write(_: bytes) -> None:
    raise NotImplementedError("The study's application returns its answers.")
