"""Items made in a thread before they are asked for: in order, in bounded memory, with the errors that they have."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from threading import Event

import pytest

from evalkit.errors import InputError
from evalkit.images.read_ahead import ReadAhead

LONG = 120.0
"""Seconds after which a test gives up waiting for what must come."""


def reader() -> threading.Thread | None:
    return next((thread for thread in threading.enumerate() if thread.name == "read ahead"), None)


def test_items_come_in_their_order_and_are_made_by_another_thread():
    makers = []

    def items() -> Iterator[int]:
        for number in range(100):
            makers.append(threading.current_thread())
            yield number

    with ReadAhead(items(), lambda _: 1, 10) as ahead:
        assert list(ahead) == list(range(100))
        assert list(ahead) == []
    assert set(makers).isdisjoint({threading.main_thread()})


def test_the_next_items_are_made_before_they_are_asked_for():
    made = [Event() for _ in range(5)]

    def items() -> Iterator[int]:
        for number in range(5):
            made[number].set()
            yield number

    with ReadAhead(items(), lambda _: 1, 3) as ahead:
        assert next(ahead) == 0
        assert made[2].wait(LONG)


@pytest.mark.parametrize(("size", "most"), [(1, 10), (4, 3), (10, 1), (1000, 1)])
def test_no_more_waits_than_there_is_room_for(size, most):
    """What waits, and what was asked for last, is less than the room whenever an item is begun."""
    n_asked, begun = 0, []

    def items() -> Iterator[int]:
        for number in range(40):
            begun.append(number - n_asked)  # made, and not yet followed by a question for the next
            yield number

    with ReadAhead(items(), lambda _: size, 10) as ahead:
        for _ in range(40):
            next(ahead)
            n_asked += 1
    # Before the question is counted the reader may see one more: the item that is being handed over.
    assert max(begun) <= most + 1
    assert len(begun) == 40


def test_what_is_larger_than_the_room_is_read_when_it_is_asked_for():
    may_begin = Event()

    def items() -> Iterator[str]:
        yield "large"
        assert may_begin.is_set()
        yield "next"

    with ReadAhead(items(), lambda _: 1000, 10) as ahead:
        assert next(ahead) == "large"
        may_begin.set()
        assert next(ahead) == "next"


def test_an_error_comes_in_the_place_of_its_item():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise InputError("c.png: is empty (0 bytes).")

    with ReadAhead(items(), lambda _: 1, 10) as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        with pytest.raises(InputError, match=r"^c\.png: is empty \(0 bytes\)\.$"):
            next(ahead)
        assert list(ahead) == []


@pytest.mark.parametrize("failure", [MemoryError("no\nroom"), RuntimeError("broken"), SystemExit(3)])
def test_a_thread_that_fails_ends_with_a_sentence(failure):
    def items() -> Iterator[int]:
        yield 1
        raise failure

    with ReadAhead(items(), lambda _: 1, 10) as ahead:
        next(ahead)
        with pytest.raises(
            InputError, match=rf"failed with {type(failure).__name__} \(.*\); .* with --resume goes on"
        ) as told:
            next(ahead)
    assert "\n" not in str(told.value)


def test_who_leaves_early_leaves_no_thread_behind():
    with ReadAhead(itertools.count(), lambda _: 1, 10) as ahead:
        next(ahead)
        thread = reader()
        assert thread is not None
    thread.join(LONG)
    assert not thread.is_alive()
    with pytest.raises(StopIteration):
        next(ahead)
