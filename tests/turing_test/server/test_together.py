"""Requests that are handled together: each once, none lost, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from turing_test.server.together import MOST_AT_ONCE, Together


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_what_comes_while_others_are_handled_is_the_next_group(executor):
    groups, go_on = [], threading.Event()

    def handle(requests):
        groups.append(list(requests))
        go_on.wait(60)
        return [10 * request for request in requests]

    async def ask_all():
        together = Together(handle, lambda request: request, executor)
        first = asyncio.create_task(together.ask(1))
        while not groups:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(together.ask(number)) for number in range(2, 2 + MOST_AT_ONCE + 3)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *rest)

    results = asyncio.run(ask_all())
    assert results == [10 * number for number in range(1, 2 + MOST_AT_ONCE + 3)]
    assert [len(group) for group in groups] == [1, MOST_AT_ONCE, 3]


def test_two_requests_of_one_key_are_in_different_groups_in_order(executor):
    groups = []

    def handle(requests):
        groups.append(list(requests))
        return requests

    async def ask_all():
        together = Together(handle, lambda request: request[0], executor)
        return await asyncio.gather(*(together.ask(request) for request in ("a1", "a2", "b1", "a3")))

    assert asyncio.run(ask_all()) == ["a1", "a2", "b1", "a3"]
    assert groups == [["a1", "b1"], ["a2"], ["a3"]]


def test_a_group_that_fails_is_told_so_and_the_next_one_is_handled(executor, caplog):
    def handle(requests):
        if "bad" in requests:
            raise RuntimeError("no luck")
        return requests

    async def ask_all():
        together = Together(handle, lambda request: request, executor)
        failed = await asyncio.gather(together.ask("bad"), together.ask("beside"))
        return failed, await together.ask("good")

    assert asyncio.run(ask_all()) == ([None, None], "good")
    assert "no luck" in caplog.text


def test_somebody_who_goes_away_keeps_nobody_waiting(executor):
    handled, go_on = [], threading.Event()

    def handle(requests):
        handled.extend(requests)
        go_on.wait(60)
        return requests

    async def ask_all():
        together = Together(handle, lambda request: request, executor)
        first, gone = asyncio.create_task(together.ask("first")), asyncio.create_task(together.ask("gone"))
        while not handled:
            await asyncio.sleep(0.001)
        last = asyncio.create_task(together.ask("last"))
        gone.cancel()
        go_on.set()
        results = await asyncio.gather(first, gone, last, return_exceptions=True)
        return [type(result) if isinstance(result, BaseException) else result for result in results]

    assert asyncio.run(ask_all()) == ["first", asyncio.CancelledError, "last"]
    assert handled == ["first", "gone", "last"]
