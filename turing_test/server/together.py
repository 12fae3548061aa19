"""Requests that come while others are handled, handled together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

__all__ = ["Together"]

T = TypeVar("T")
R = TypeVar("R")

MOST_AT_ONCE = 64

_log = logging.getLogger(__name__)


class Together(Generic[T, R]):
    """Hands requests to a thread, one group after the other: whatever has come meanwhile is the next group.

    All but `handle` happens in the event loop.

    Parameters
    ----------
    handle : callable
        Gives a result for each of several requests, in order; called in a thread.
    key_of : callable
        No two requests of one key are in a group.
    executor : Executor
    """

    def __init__(
        self, handle: Callable[[Sequence[T]], Sequence[R | None]], key_of: Callable[[T], Hashable], executor: Executor
    ) -> None:
        self._handle, self._key_of, self._executor = handle, key_of, executor
        self._waiting: list[tuple[T, asyncio.Future[R | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, request: T) -> R | None:
        """The result of a request; None also when its group failed."""
        result: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, result))
        if self._task is None:
            self._task = asyncio.create_task(self._handle_all())
        return await result

    async def _handle_all(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                requests = [request for request, _ in group]
                try:
                    results = await asyncio.get_running_loop().run_in_executor(self._executor, self._handle, requests)
                except Exception as error:
                    _log.warning(
                        "%d requests could not be handled together, and are handled each by itself: %s",
                        len(group),
                        error,
                    )
                    results = [None] * len(group)
                for (_, result), value in zip(group, results, strict=True):
                    if not result.done():  # nobody waits any more for one that was cancelled
                        result.set_result(value)
        finally:
            self._task = None
            for _, result in self._waiting:
                result.cancel()

    def _next_group(self) -> list[tuple[T, asyncio.Future[R | None]]]:
        group: dict[Hashable, tuple[T, asyncio.Future[R | None]]] = {}
        later = []
        for entry in self._waiting:
            key = self._key_of(entry[0])
            if len(group) < MOST_AT_ONCE and key not in group:
                group[key] = entry
            else:
                later.append(entry)
        self._waiting = later
        return list(group.values())
