"""The processes that torchrun starts, as an executor: the first one plans and writes, all of them measure.

Each process takes the device of its own number (`evalkit.networks.devices`). Blocks and results travel between them over
one connection per process, whose address the first one tells the others through torchrun's store.
"""

from __future__ import annotations

import json
import os
import pickle
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from evalkit.errors import InputError
from evalkit.needs import need_torch

__all__ = ["TORCHRUN", "TorchrunExecutor", "serve_unless_first", "told_to_end"]

TORCHRUN = "torchrun"
"""What this executor is called."""

STORED = "evalkit/address"
"""Key under which the first process says where it is to be found."""

MEETING = timedelta(minutes=10)
"""How long processes may need to start."""
PLANNING = timedelta(days=7)
"""How long the first process may need to list its images; torchrun ends those who wait when it fails."""

P = ParamSpec("P")
T = TypeVar("T")


def _numbered() -> tuple[int, int]:
    """Number of this process, and how many there are, as torchrun says."""
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        raise InputError(
            "executor torchrun: this process was not started by torchrun; write torchrun --nproc-per-node N --no-python "
            "evalkit score ... --executor torchrun"
        ) from None


def _store() -> Any:
    """What all processes can read and write, as torchrun's environment says."""
    need_torch("an executor on torchrun")
    from torch.distributed.rendezvous import rendezvous

    rank, n = _numbered()
    store, _, _ = next(rendezvous("env://", rank, n, timeout=MEETING))
    return store


def _is_on_one_machine() -> bool:
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


class TorchrunExecutor(Executor):
    """Runs functions on the processes of torchrun, this first one among them: one at a time on each.

    The others must have come to `serve_unless_first`.

    Raises
    ------
    InputError
        If torchrun did not start this process, or torch is not installed.
    """

    def __init__(self) -> None:
        _, n = _numbered()
        key = secrets.token_bytes(32)
        self._free: SimpleQueue[Connection[Any, Any] | None] = SimpleQueue()
        self._free.put(None)  # stands for this process
        self._connections: list[Connection[Any, Any]] = []
        store = _store()
        with Listener(("127.0.0.1" if _is_on_one_machine() else "", 0), backlog=n, authkey=key) as listener:
            store.set(STORED, json.dumps({"port": listener.address[1], "key": key.hex()}))
            while len(self._connections) < n - 1:
                with suppress(AuthenticationError, EOFError, ConnectionError):  # somebody who looks for open ports
                    self._connections.append(listener.accept())
        for connection in self._connections:
            self._free.put(connection)
        self._pool = ThreadPoolExecutor(n)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on whichever process is free next."""
        return self._pool.submit(self._run, fn, args, kwargs)

    def _run(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        connection = self._free.get()
        if connection is None:
            try:
                return function(*args, **kwargs)
            finally:
                self._free.put(None)
        try:
            connection.send((function, args, kwargs))
            error, value = connection.recv()
        except (EOFError, ConnectionError) as broken:
            raise BrokenExecutor("a process of torchrun has ended") from broken
        self._free.put(connection)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the other processes end when they have done what they are busy with."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        for connection in self._connections:
            connection.close()


def serve_unless_first(executor: object) -> None:
    """Do what the first process asks for until it needs no more, and end; at once back where this is the first.

    Parameters
    ----------
    executor : object
        Where the run is to be measured; nothing happens unless it is ``"torchrun"``.

    Raises
    ------
    SystemExit
        When the first process has closed the connection: the run is over, well or badly, as that one says.
    InputError
        If torchrun did not start this process, or torch is not installed.
    """
    if executor != TORCHRUN or _numbered()[0] == 0:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first one decides what it means
    store = _store()
    store.wait([STORED], PLANNING)
    stored = json.loads(store.get(STORED))
    host = "127.0.0.1" if _is_on_one_machine() else os.environ["MASTER_ADDR"]
    with (
        suppress(EOFError, ConnectionError),
        Client((host, stored["port"]), authkey=bytes.fromhex(stored["key"])) as connection,
    ):
        while True:
            function, args, kwargs = connection.recv()
            connection.send(_outcome(function, args, kwargs))
    raise SystemExit(0)


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Exception | None, Any]:
    """What a function raises, and what it returns."""
    try:
        return None, function(*args, **kwargs)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}"), None
        return error, None


@contextmanager
def told_to_end() -> Iterator[None]:
    """Within: SIGTERM, with which torchrun ends the processes that are left when one has failed, is an error.

    Raises
    ------
    InputError
        What happened, and how to go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise InputError(
            "torchrun ends this run: one of its processes is gone, or it was told to stop; what is finished is kept in --out: "
            "score again with --resume"
        )

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
