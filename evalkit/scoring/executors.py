"""Blocks of a plan over any executor: threads, processes, Dask, MPI, or whatever has the interface of `concurrent.futures`.

A block travels as the names of its files, and comes back as the bytes of its shard, which this process writes: workers
need to see the images, but share no folder for results. Which worker took which block shows nowhere, so the result is to
the bit that of one process.
"""

from __future__ import annotations

import pickle
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evalkit.colorizers import BuiltinMethod, builtin
from evalkit.colorizers.anchors import Random
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.images.image_pairs import PairTable
from evalkit.images.places import ImageFile
from evalkit.metrics.blocks import BlockMetric
from evalkit.needs import need_distributed, need_mpi
from evalkit.networks.output_cache import CacheUse
from evalkit.progress import Progress
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.compaction import Compactor
from evalkit.scoring.plan import Plan
from evalkit.scoring.torchrun import TORCHRUN, TorchrunExecutor, told_to_end
from evalkit.wording import some_names

__all__ = ["EXECUTORS", "PlanPart", "measure_part", "message_of", "open_executor", "part_of", "run_on_executor"]

EXECUTORS = "threads:N, processes:N, dask:ADDRESS, mpi or torchrun"
"""What an executor may be named by."""

KILLED_ON_DASK = "KilledWorker"
"""What Dask raises when a block has lost it several workers: for any block that was on them, whichever was to blame."""

IN_FLIGHT = 64
"""Messages that wait or run at a time: what comes back of them, some hundred kilobytes a block, is all that is held here."""

MOST_BLOCKS = 4
"""Blocks of one message to Dask at most: client, scheduler and worker take some 10 ms of processor time for each message."""

ROUNDS_LEFT = 2
"""A message holds several blocks while every worker can still get so many of its size; at the end blocks go one by one."""


@dataclass(frozen=True, kw_only=True)
class PlanPart(Plan):
    """What one block of a plan needs, and nothing that grows with the run.

    Attributes
    ----------
    index : int
        Which block of the plan.
    n_own : int
        Images of the block, the first of ``pairs`` (or all of ``reference``); true photos that only lend their colours
        follow.
    of_reference : bool
        Whether the block holds images of the reference set.
    shard_name : str
        File name of its shard.
    donors : tuple of int
        Place in ``pairs`` of the photo that lends its colours to each image; empty without the method ``random``.
    digest : str
        Digest of the block (`Plan.block_digest`).
    """

    index: int
    n_own: int
    of_reference: bool
    shard_name: str
    donors: tuple[int, ...]
    digest: str

    def is_of_reference(self, index: int) -> bool:
        """Whether the block holds images of the reference set."""
        return self.of_reference

    def block(self, index: int) -> range:
        """Places of the images of the block."""
        return range(self.n_own)

    def shard(self, index: int) -> str:
        """File name of the shard of the block."""
        return self.shard_name

    def block_digest(self, index: int) -> str:
        """As it was when the plan was made."""
        return self.digest

    @cached_property
    def makers(self) -> dict[str, BuiltinMethod]:
        """The built-in methods; ``random`` with the donors that the whole set gave it."""
        return {name: Random(self.donors) if name == "random" else builtin(name, self.names) for name in self.builtins}


def part_of(plan: Plan, index: int) -> PlanPart:
    """What block `index` of a plan needs; files by their absolute paths."""
    rows = list(plan.block(index))
    shared: dict[str, Any] = {one.name: getattr(plan, one.name) for one in fields(Plan)}
    donors: tuple[int, ...] = ()
    if plan.is_of_reference(index):
        files = list(plan.reference.items())
        own = {
            "pairs": PairTable(names=(), truth=(), methods={}),
            "labels": {},
            "reference": dict(_absolute(files, rows)),
        }
    else:
        donors_of = [plan.makers["random"].donor(i) for i in rows] if "random" in plan.makers else []
        lenders = [donor for donor in dict.fromkeys(donors_of) if donor is not None and donor not in rows]
        places = {i: place for place, i in enumerate([*rows, *lenders])}
        donors = tuple(places[donor] for donor in donors_of if donor is not None)
        names = tuple(plan.names[i] for i in places)
        pairs = PairTable(
            names=names,
            truth=tuple(plan.pairs.truth[i].absolute() for i in places),
            methods={name: tuple(paths[i].absolute() for i in rows) for name, paths in plan.pairs.methods.items()},
        )
        own = {
            "pairs": pairs,
            "labels": {name: plan.labels[name] for name in names if name in plan.labels},
            "reference": {},
        }
    return PlanPart(
        **{**shared, **own},
        index=index,
        n_own=len(rows),
        of_reference=plan.is_of_reference(index),
        shard_name=plan.shard(index),
        donors=donors,
        digest=plan.block_digest(index),
    )


def _absolute(files: Sequence[tuple[str, ImageFile]], rows: Sequence[int]) -> Iterator[tuple[str, ImageFile]]:
    for i in rows:
        name, path = files[i]
        yield name, path.absolute()


_workers = threading.local()
"""The worker of the run that this thread is busy with: its tables are built and its networks loaded once."""

_network_lock = threading.Lock()
"""Networks set the number of torch's threads for the whole process: in one thread at a time, or bits would differ."""


def message_of(plan: Plan, index: int) -> bytes:
    """What block `index` of a plan needs (`part_of`), pickled.

    As bytes it passes through queues and schedulers unopened. A scheduler of Dask takes an argument of any other type
    apart to name its task, and again to pass it on, which costs it several times what sending the block does.
    """
    return pickle.dumps(part_of(plan, index), pickle.HIGHEST_PROTOCOL)


def measure_part(run: str, message: bytes) -> tuple[int, dict[str, bytes], tuple[str, ...], CacheUse]:
    """Measure one block, wherever this runs.

    Parameters
    ----------
    run : str
        Which run this is: what a worker has loaded serves all blocks of one run.
    message : bytes
        What the block needs (`message_of`).

    Returns
    -------
    n_images : int
    files : dict of str to bytes
        The shard and its note, by name.
    notes : tuple of str
        What a reader of the results should know.
    cache_use : CacheUse
        What the cache of network outputs was good for.
    """
    part: PlanPart = pickle.loads(message)
    uses_networks = any(isinstance(metric, BlockMetric) and not metric.setup.reason for metric in part.created)
    with _network_lock if uses_networks else nullcontext(), TemporaryDirectory(prefix="evalkit-") as folder:
        if getattr(_workers, "run", "") != run:
            _workers.worker, _workers.run = BlockWorker(part, Path(folder)), run
        worker: BlockWorker = _workers.worker
        try:
            worker.turn_to(part, Path(folder))
            n_images = worker.measure(part.index)
        except BaseException as error:
            _workers.run = ""  # half a block may be in its meters
            if isinstance(error, InputError):
                # Dask sends the errors behind it along, where those of web clients cannot travel, and tells neither then.
                error.__cause__ = error.__context__ = None
            raise
        # The shard before its note: without the note a shard counts as unfinished.
        paths = sorted(Path(folder).iterdir(), key=lambda path: path.suffix != ".parquet")
        files = {path.name: path.read_bytes() for path in paths}
        return n_images, files, tuple(sorted(worker.notes)), worker.taken_use()


def measure_parts(run: str, *messages: bytes) -> list[tuple[int, dict[str, bytes], tuple[str, ...], CacheUse]]:
    """Measure several blocks, one after the other, as `measure_part` does.

    Returns
    -------
    list
        What `measure_part` gives for each block up to the first that fails.

    Raises
    ------
    Exception
        What the first block failed with.
    """
    measured: list[tuple[int, dict[str, bytes], tuple[str, ...], CacheUse]] = []
    for message in messages:
        try:
            measured.append(measure_part(run, message))
        except Exception:
            if not measured:
                raise
            break
    return measured


def blocks_of_message(n_left: int, n_threads: int) -> int:
    """How many of the blocks that are left travel together.

    Parameters
    ----------
    n_left : int
    n_threads : int
        Blocks that the executor measures at a time; 0 where that is not known, or messages cost nothing.

    >>> blocks_of_message(1000, 8), blocks_of_message(100, 8), blocks_of_message(60, 8), blocks_of_message(1000, 0)
    (4, 4, 3, 1)
    """
    return max(1, min(MOST_BLOCKS, n_left // (ROUNDS_LEFT * n_threads))) if n_threads else 1


def _threads_on_dask(executor: Executor) -> int:
    """Threads of all workers of Dask's executor; 0 of any other."""
    count: Any = getattr(getattr(executor, "_client", None), "nthreads", dict)
    of_workers = count()
    return sum(of_workers.values()) if isinstance(of_workers, Mapping) else 0


def run_on_executor(
    plan: Plan, folder: Path, blocks: Sequence[int], executor: Executor, progress: Progress
) -> tuple[tuple[str, ...], CacheUse]:
    """Measure blocks of a plan on an executor, and write their shards here as they come.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the shards go.
    blocks : sequence of int
    executor : Executor
        Anything with ``submit`` whose futures are those of `concurrent.futures`.
    progress : callable

    Returns
    -------
    notes : tuple of str
        What a reader of the results should know.
    cache_use : CacheUse
        What the cache of network outputs was good for.

    Raises
    ------
    InputError
        What a block found wrong with its images; or which block failed with what, or that workers are gone. What is
        finished stays in `folder`.
    """
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        kind = f"the class {executor.__name__}" if isinstance(executor, type) else type(executor).__name__
        raise InputError(
            f"executor is {kind}; give one of concurrent.futures or of its kind (with submit), or a text: {EXECUTORS}"
        )
    n_images = plan.n_images
    n_finished = n_images - sum(len(plan.block(index)) for index in blocks)
    progress(n_finished, n_images)
    compactor = Compactor(plan, folder, blocks)
    run = secrets.token_hex(8)
    notes: set[str] = set()
    cache_use = CacheUse()
    waiting: dict[Future[Any], tuple[int, ...]] = {}
    queue = deque(blocks)
    try:
        n_threads = _threads_on_dask(executor)
        while True:
            while queue and len(waiting) < IN_FLIGHT:
                own = tuple(queue.popleft() for _ in range(blocks_of_message(len(queue), n_threads)))
                waiting[executor.submit(measure_parts, run, *(message_of(plan, index) for index in own))] = own
            if not waiting:
                return tuple(sorted(notes)), cache_use
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=waiting.__getitem__):  # of several failures the first block's is told
                measured = future.result()
                for index, (count, files, own_notes, own_use) in zip(waiting[future], measured, strict=False):
                    _write(folder, files)
                    compactor.finished(index)
                    notes.update(own_notes)
                    cache_use += own_use
                    n_finished += count
                    progress(n_finished, n_images)
                if len(measured) < len(waiting[future]):
                    # The next one has failed, and is named when it fails alone.
                    queue.extendleft(reversed(waiting[future][len(measured) :]))
                    n_threads = 0
            for future in finished:
                del waiting[future]
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, BrokenExecutor) or type(error).__name__ == KILLED_ON_DASK:
            raise InputError(
                f"a worker of the executor is gone ({_said(error)}), killed perhaps for its memory; what is finished is kept in "
                "--out: score again with --resume"
            ) from error
        if isinstance(error, CancelledError):
            raise InputError(
                "the executor has cancelled a block; was it shut down? What is finished is kept in --out: score again with "
                "--resume"
            ) from error
        failed = [
            own[0]
            for future, own in waiting.items()
            if future.done() and not future.cancelled() and future.exception() is error
        ]
        where = f"block {failed[0]} ({_images(plan, failed[0])})" if failed else "a block"
        raise InputError(
            f"{where} failed on the executor with {type(error).__name__}: {_said(error)}; what is finished is kept in --out: "
            "score again with --resume"
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_atomically(folder / name, data)


def _images(plan: Plan, index: int) -> str:
    names = list(plan.reference) if plan.is_of_reference(index) else plan.names
    return some_names(names[i] for i in plan.block(index))


def _said(error: BaseException) -> str:
    if type(error).__name__ == KILLED_ON_DASK:  # its message is a paragraph about Dask's logs
        return f"Dask: {KILLED_ON_DASK}; the log of the worker may say why"
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def open_executor(text: str) -> Iterator[Executor]:
    """The executor that a text names.

    Parameters
    ----------
    text : str
        ``threads:N``, ``processes:N``, ``dask:ADDRESS`` (of a Dask scheduler, ``tcp://host:8786``), ``mpi`` (inside of
        ``mpiexec -n N python -m mpi4py.futures -m evalkit score ...``) or ``torchrun`` (inside of
        ``torchrun --nproc-per-node N --no-python evalkit score ...``).

    Yields
    ------
    Executor
        Closed afterwards.

    Raises
    ------
    InputError
        If the text names none, its package is not installed, or the scheduler does not answer.
    """
    kind, _, detail = text.partition(":")
    if kind in ("threads", "processes") and detail.isdecimal() and int(detail) > 0:
        with (
            ThreadPoolExecutor(int(detail))
            if kind == "threads"
            else ProcessPoolExecutor(int(detail), get_context("spawn"))
        ) as executor:
            yield executor
    elif kind == "dask" and detail:
        with _dask(detail) as executor:
            yield executor
    elif text == "mpi":
        with _mpi() as executor:
            yield executor
    elif text == TORCHRUN:
        with told_to_end(), TorchrunExecutor() as executor:
            yield executor
    else:
        raise InputError(f"executor {text!r}: allowed are {EXECUTORS}, N being 1 or more")


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    need_distributed("an executor on Dask")
    distributed: Any = import_module("distributed")  # without types

    try:
        client = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"executor dask:{address}: no Dask scheduler answers there ({_said(error)})") from error
    with client:
        executor: Executor = client.get_executor()
        yield executor


@contextmanager
def _mpi() -> Iterator[Executor]:
    need_mpi("an executor on MPI")
    futures: Any = import_module("mpi4py.futures")  # starts MPI

    with futures.MPIPoolExecutor() as executor:
        yield executor
