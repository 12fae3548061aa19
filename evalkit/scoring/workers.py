"""Blocks of a plan over processes: this one, or several."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, current_process, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Self, TypeVar

from evalkit.errors import InputError
from evalkit.networks.output_cache import CacheUse
from evalkit.progress import Progress
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.compaction import Compactor
from evalkit.scoring.fork_server import server_prepares_kernels
from evalkit.scoring.kernels import compile_kernels
from evalkit.scoring.plan import Plan

Result = TypeVar("Result")

__all__ = ["WorkerPool", "available_cores", "run_blocks"]

UNGUARDED = 77
"""Exit status of a worker that found itself reading a script which scores while it is read."""

_worker: BlockWorker | None = None


def end_if_unguarded() -> None:
    """End this process when it is a worker that is only just reading its script.

    A worker begins by reading the script that started it. Where the script scores outside of
    ``if __name__ == "__main__":``, it would start workers in turn.
    """
    if getattr(current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def _end_with_parent() -> None:
    """End this process as soon as the one that asked for it is gone, however it went.

    A killed parent says nothing; but the pipe between the two closes. Without this, workers would go on, hold their
    memory, and keep the parent's standard output open for whoever reads it.
    """
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _start_worker(plan: Plan, folder: Path, environment: Mapping[str, str]) -> None:
    global _worker
    # The server that forks workers has the environment of its own start: credentials may have been set since.
    os.environ.update(environment)
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    _worker = BlockWorker(plan, folder)


def _measure_block(index: int) -> tuple[int, set[str], CacheUse]:
    if _worker is None:
        raise RuntimeError("worker was not started")
    _worker.measure(index)
    return index, _worker.notes, _worker.taken_use()


def _nothing() -> None:
    """What the first worker is asked, so that it starts."""


class WorkerPool:
    """Measures blocks of a plan, in this process or in several, with kernels compiled once; a context manager.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the shards go.
    workers : int
        Processes; 1 works in this one.
    notify : callable, optional
        Called with a sentence where kernels have to be compiled first.
    """

    def __init__(
        self, plan: Plan, folder: Path, workers: int, notify: Callable[[str], None] = lambda sentence: None
    ) -> None:
        self._workers = workers
        self.notes: set[str] = set()
        """What a reader of the results should know."""
        self.cache_use = CacheUse()
        """What the cache of network outputs was good for."""
        self._worker: BlockWorker | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._processes: dict[int, BaseProcess] = {}
        if workers == 1:
            compile_kernels(plan, notify)
            self._worker = BlockWorker(plan, folder)
            return
        # forkserver: forking this process after numba or torch started threads would hang; its server imports and
        # prepares kernels once and hands every worker a copy.
        context = get_context("forkserver" if os.name == "posix" else "spawn")
        self._pool = ProcessPoolExecutor(workers, context, _start_worker, (plan, folder, dict(os.environ)))
        if os.name == "posix":
            context.set_forkserver_preload(["evalkit.scoring._preload"])
            if server_prepares_kernels(plan, self._start_first, notify):
                return
        compile_kernels(plan, notify)

    def _start_first(self) -> None:
        """Start the first worker."""
        self._submit(_nothing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, blocks: Sequence[int]) -> Iterator[int]:
        """Measure blocks; yields each as it is finished, in no particular order.

        Raises
        ------
        InputError
            What a block found wrong with its images, or that a worker was killed.
        """
        if self._worker is not None:
            with self._worker.reading(blocks):
                for index in blocks:
                    self._worker.measure(index)
                    self.notes |= self._worker.notes
                    self.cache_use += self._worker.taken_use()
                    yield index
            return
        running: set[Future[tuple[int, set[str], CacheUse]]] = set()
        queue = iter(blocks)
        try:
            # A bounded queue: of ten thousand blocks a few wait in memory, and an error stops the rest at once.
            while True:
                for index in islice(queue, 4 * self._workers - len(running)):
                    running.add(self._submit(_measure_block, index))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for index, notes, cache_use in [future.result() for future in finished]:
                    self.notes |= notes
                    self.cache_use += cache_use
                    yield index
        except BrokenProcessPool:
            # The pool's own thread collects the exit statuses; each can be read once, and a second reader is told 255.
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
            raise InputError(_why_workers_ended(list(self._processes.values()))) from None

    def _submit(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Have a worker call a function; it is started where there are too few."""
        if self._pool is None:
            raise RuntimeError("the pool is closed")
        future = self._pool.submit(function, *arguments)
        # At once: a worker that fails while it starts may have broken the pool by the next block.
        self._processes.update(self._pool._processes or {})
        return future


def _why_workers_ended(processes: Sequence[BaseProcess]) -> str:
    """The sentence about workers that are gone, by their exit status."""
    statuses = {process.exitcode for process in processes} - {None, 0, -signal.SIGTERM}
    if UNGUARDED in statuses:
        return (
            'the script scores while a worker reads it: put what it runs under `if __name__ == "__main__":` (every worker '
            "process begins by reading the script again), or score with workers=1"
        )
    crashed = sorted(status for status in statuses if status is not None and status > 0)
    if crashed:
        return (
            f"a worker process ended with status {crashed[0]}; its message stands above. Score with workers=1 to see where, "
            "and with --resume to keep what is finished"
        )
    return (
        "a worker process was killed (out of memory?); score again with fewer --workers, and --resume to keep what is "
        "finished"
    )


def run_blocks(
    plan: Plan,
    folder: Path,
    blocks: Sequence[int],
    workers: int,
    progress: Progress,
    notify: Callable[[str], None] = lambda sentence: None,
) -> tuple[tuple[str, ...], CacheUse]:
    """Measure blocks; returns what a reader of the results should know, and what the cache was good for."""
    n_images = plan.n_images
    n_finished = n_images - sum(len(plan.block(index)) for index in blocks)
    progress(n_finished, n_images)
    compactor = Compactor(plan, folder, blocks)
    if not blocks:
        return (), CacheUse()
    with WorkerPool(plan, folder, min(workers, len(blocks)), notify) as pool:
        for index in pool.run(blocks):
            compactor.finished(index)
            n_finished += len(plan.block(index))
            progress(n_finished, n_images)
        return tuple(sorted(pool.notes)), pool.cache_use


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
