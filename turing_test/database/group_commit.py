"""Many small transactions, one durable commit: whoever comes while a commit is under way shares the next one.

SQLite admits one writer, and a durable commit waits for the disk. Writers that queue up meanwhile are done by the
first of them (the leader) in one transaction. An answer is acknowledged only after the commit that holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import Connection

from turing_test.database.before_commit import finish

__all__ = ["MOST_AT_ONCE", "GroupCommit"]

T = TypeVar("T")
MOST_AT_ONCE = 64
"""Functions in one transaction."""


class _Job(Generic[T]):
    __slots__ = ("error", "finished", "result", "wake", "work")

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.finished = False
        self.error: BaseException | None = None
        self.result: T | None = None
        self.wake = threading.Lock()  # held while there is nothing to do but wait
        self.wake.acquire()


class GroupCommit:
    """Runs functions of a connection, each as if in a transaction of its own.

    Parameters
    ----------
    connect : callable
        Opens the connection that all writing goes through.
    is_fatal : callable
        Whether an error concerns the database (no space, locked), not the one function: then nobody in the group is
        tried again.
    """

    def __init__(self, connect: Callable[[], Connection], is_fatal: Callable[[BaseException], bool]) -> None:
        self._connect = connect
        self._is_fatal = is_fatal
        self._connection: Connection | None = None
        self._waiting: list[_Job[object]] = []
        self._led = False
        self._lock = threading.Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` and return its result once it is on disk.

        Parameters
        ----------
        work : callable
            May run twice, the first time rolled back: it must change nothing but the database.

        Returns
        -------
        object
            What `work` returned.
        """
        job = _Job(work)
        with self._lock:
            self._waiting.append(job)  # type: ignore[arg-type]
            leads, self._led = not self._led, True
        if not leads:
            job.wake.acquire()  # until it is done, or the turn to lead
        if not job.finished:
            self._lead()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]

    def close(self) -> None:
        """Close the connection; nobody writes any more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _lead(self) -> None:
        """Do everything that waits, the own job among it, and pass on the lead."""
        with self._lock:
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        self._do(group)
        with self._lock:
            self._led = bool(self._waiting)
            successor = self._waiting[0] if self._waiting else None
        for job in group:
            job.wake.release()
        if successor is not None:
            successor.wake.release()

    def _do(self, group: list[_Job[object]]) -> None:
        try:
            results = self._transaction(group)
        except BaseException as error:
            if len(group) == 1 or self._is_fatal(error):
                for job in group:
                    job.error, job.finished = error, True
            else:  # one of them was refused: each on its own
                for job in group:
                    self._do([job])
            return
        for job, result in zip(group, results, strict=True):
            job.result, job.finished = result, True

    def _transaction(self, group: list[_Job[object]]) -> list[object]:
        if self._connection is None:
            self._connection = self._connect()
        try:
            with self._connection.begin():
                results = [job.work(self._connection) for job in group]
                finish(self._connection)
                return results
        except BaseException as error:
            if self._is_fatal(error):  # what state is the connection in? A new one is cheap.
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
            raise
