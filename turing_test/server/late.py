"""An application that is made as soon as it can be, and again and again until then: one study must not wait for another's database."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from evalkit.errors import InputError
from turing_test.database.storage import StorageUnavailable
from turing_test.web.context import Context
from turing_test.web.images import image_at_once
from turing_test.web.security import RETRY_AFTER_S, UNAVAILABLE, UNAVAILABLE_BODY
from turing_test.web.steps import AskedStep, Reply, read_step, take_steps

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask

__all__ = ["LateApplication"]

PAUSE_AFTER_FAILURE_S = 1.0

_log = logging.getLogger(__name__)


class LateApplication:
    """A study's application; until it is made, whoever asks is told to come again.

    Parameters
    ----------
    make : callable
        Gives the application, or raises `InputError` or `StorageUnavailable`; called in a thread until it does.
    problem : str
        Why it is not even tried; "" to try.

    Attributes
    ----------
    application : Flask or None
        None until it is made.
    problem : str
        What kept it from being made the last time.
    """

    def __init__(self, make: Callable[[], Flask], problem: str = "") -> None:
        self.application: Flask | None = None
        self.problem = problem
        self._make = make
        self._ending = threading.Event()
        self._was_tried = threading.Event()
        if problem:
            self._was_tried.set()
        else:
            threading.Thread(target=self._begin, name="begin", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Until the first try has ended, well or not."""
        self._was_tried.wait(seconds)

    def close(self) -> None:
        """Close what it uses."""
        self._ending.set()
        if self.application is not None:
            self.application.extensions["turing_test"].storage.close()

    def image_at_once(self, path: str) -> tuple[list[tuple[str, str]], bytes] | None:
        """As `turing_test.web.images.image_at_once`; None until the application is made."""
        server = self._server()
        return None if server is None else image_at_once(server, path)

    def read_step(self, path: str, root: str, content_type: str, body: bytes) -> AskedStep | None:
        """As `turing_test.web.steps.read_step`; None until the application is made."""
        server = self._server()
        return None if server is None else read_step(server, path, root, content_type, body)

    def take_steps(self, asked: Sequence[AskedStep]) -> Sequence[Reply | None]:
        """As `turing_test.web.steps.take_steps`."""
        server = self._server()
        return [None] * len(asked) if server is None else take_steps(server, asked)

    def _server(self) -> Context | None:
        return None if self.application is None else self.application.extensions["turing_test"]

    def _begin(self) -> None:
        while not self._ending.is_set():
            try:
                self.application = self._make()
            except (InputError, StorageUnavailable) as error:  # what is away for a while is no reason to die
                self.problem = str(error)
                _log.error("a worker cannot begin, and tries again: %s", error)
                self._was_tried.set()
                self._ending.wait(PAUSE_AFTER_FAILURE_S)
            except Exception:
                self.problem = "something went wrong in the server; its log says what"
                _log.exception("a worker cannot begin, and tries again")
                self._was_tried.set()
                self._ending.wait(PAUSE_AFTER_FAILURE_S)
            else:
                self.problem = ""
                return self._was_tried.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if self.application is not None:
            return self.application(environ, start_response)
        is_for_scripts = environ["PATH_INFO"].startswith(("/api/", "/stimuli/", "/health"))
        kind = "application/json" if is_for_scripts else "text/plain; charset=utf-8"
        text = json.dumps(UNAVAILABLE_BODY) if is_for_scripts else f"{UNAVAILABLE}\n"
        headers = [("Content-Type", kind), ("Retry-After", str(RETRY_AFTER_S)), ("Cache-Control", "no-store")]
        start_response("503 SERVICE UNAVAILABLE", headers)
        return [text.encode()]
