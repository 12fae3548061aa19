"""The process that workers are copies of: it prepares the kernels of a run once, before the first worker starts.

Workers come from multiprocessing's fork server, since a copy of the process of a user, where numba or torch may have
started threads, could hang. The server imports `evalkit.scoring._preload`, which asks here for kernels: named in its
environment, they are loaded from numba's cache or compiled there, so that the process that scores need not import numba.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Client, Listener
from threading import Thread
from typing import Any

from evalkit.colorizers.anchors import builtin
from evalkit.metrics import BUILT_IN, create_metrics
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.blocks import BlockMetric
from evalkit.scoring.kernels import prepare_kernels
from evalkit.scoring.plan import Plan

__all__ = ["answer_request", "server_prepares_kernels"]

_REQUEST = "EVALKIT_REQUESTED_KERNELS"
"""Environment variable of the fork server alone: which kernels it prepares, and the address where it says so."""

# What is said at that address, beside the sentences for the user.
_PREPARED, _WORKER_STARTED = "prepared", "worker started"


def server_prepares_kernels(plan: Plan, start_worker: Callable[[], object], notify: Callable[[str], None]) -> bool:
    """Start the fork server, wait until the first worker runs, and tell whether this plan's kernels were prepared before.

    They were not where a server ran already, for another run of this process, where the server was killed meanwhile, and
    where a metric is not our own: only this process may be able to import it.

    Parameters
    ----------
    plan : Plan
    start_worker : callable
        Starts a worker. It is called in a thread, returns when the server has forked the worker, which it does once it has
        prepared everything, and raises OSError or EOFError where the server has ended.
    notify : callable
        Called in this thread with what the server says to users.
    """
    is_prepared = False
    with Listener(family="AF_UNIX") as listener:
        address = str(listener.address)
        with _requesting(plan, address):
            forkserver.ensure_running()
        Thread(target=_start_and_say, args=(start_worker, address), name="start worker", daemon=True).start()
        while True:
            with listener.accept() as connection:
                try:
                    sentence = connection.recv_bytes().decode()
                except EOFError:  # killed before it could say it
                    continue
            if sentence == _WORKER_STARTED:
                break
            if sentence == _PREPARED:
                is_prepared = True
            else:
                notify(sentence)
    return is_prepared and all(isinstance(metric, BlockMetric) or metric.name in BUILT_IN for metric in plan.created)


@contextmanager
def _requesting(plan: Plan, address: str) -> Iterator[None]:
    """While this is open, a process that starts is told by its environment which kernels it is to prepare."""
    metrics = [
        metric.name for metric in plan.created if not isinstance(metric, BlockMetric) and metric.name in BUILT_IN
    ]
    os.environ[_REQUEST] = json.dumps({"metrics": metrics, "methods": list(plan.makers), "address": address})
    try:
        yield
    finally:
        del os.environ[_REQUEST]


def _start_and_say(start_worker: Callable[[], object], address: str) -> None:
    try:
        with suppress(OSError, EOFError):  # the server has ended; the next worker finds another
            start_worker()
    finally:
        _say(_WORKER_STARTED, address)


def _say(sentence: str, address: str) -> None:
    with suppress(OSError), Client(address, "AF_UNIX") as connection:  # who does not listen any more need not know
        connection.send_bytes(sentence.encode())


def answer_request() -> None:
    """In the fork server: prepare the kernels that `server_prepares_kernels` asks for, which every worker then has."""
    text = os.environ.pop(_REQUEST, "")
    if not text:
        return
    request = json.loads(text)
    # Ctrl-C reaches this process too, and ends it without a traceback: the process that it works for says what happened.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        options = AbErrorOptions()
        with _without_blas():
            prepare_kernels(
                create_metrics(request["metrics"], options) if request["metrics"] else [],
                [builtin(name, ("one", "two")) for name in request["methods"]],
                options.classes,
                lambda sentence: _say(sentence, request["address"]),
            )
    except Exception:
        return  # the process that asked tries for itself, and says what is wrong
    finally:
        signal.signal(signal.SIGINT, handler)
    _say(_PREPARED, request["address"])


@contextmanager
def _without_blas() -> Iterator[None]:
    """While this is open, numba finds no BLAS: it would look in `scipy.linalg`, whose import takes a fifth of a second.

    No kernel of ours multiplies matrices, and those of others can: numba looks once more. Its `np.convolve` uses a loop then.
    """
    name = "scipy.linalg.cython_blas"
    modules: dict[str, Any] = sys.modules
    is_hidden = name not in modules
    if is_hidden:
        modules[name] = None  # Python's way of saying that there is no such module
    try:
        yield
    finally:
        if is_hidden:
            del modules[name]
