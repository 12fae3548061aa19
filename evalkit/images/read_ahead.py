"""Images read in a thread while those before them are measured, in their order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Generic, Self, TypeVar

from evalkit.errors import InputError

__all__ = ["PIXELS_AHEAD", "ReadAhead"]

PIXELS_AHEAD = 1 << 23
"""Room for what a network will see next: 128 images of 256 x 256, two batches of a GPU, and 25 MB whatever their size."""

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """An iterator whose items are made in a thread before they are asked for; a context manager.

    What goes wrong with an item is raised where that item would have come, after all items before it.

    Parameters
    ----------
    items : iterator
        Used by the thread alone from now on.
    size_of : callable
        How large an item is.
    room : int
        The next item is begun while those that wait, and the one that was asked for last, are smaller than this in all.
        So what is larger than `room` is read only when it is asked for, and takes no more memory than without the thread.
    """

    def __init__(self, items: Iterator[T], size_of: Callable[[T], int], room: int) -> None:
        self._items = items
        self._size_of = size_of
        self._room = room
        self._changed = Condition()
        self._waiting: deque[tuple[T, int]] = deque()
        self._held = 0
        self._in_hand = 0
        self._failure: BaseException | None = None
        self._is_over = self._is_closed = False
        self._thread = Thread(target=self._read, name="read ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Let the thread end after the item that it is busy with, which may be slow: nobody waits for it."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next item, as soon as it is there.

        Raises
        ------
        InputError
            What is wrong with the item; or that the thread failed, and with what.
        """
        with self._changed:
            self._held -= self._in_hand
            self._in_hand = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._is_over or self._is_closed)
            if self._waiting:
                item, self._in_hand = self._waiting.popleft()
                return item
            failure, self._failure = self._failure, None
        if failure is None:
            raise StopIteration
        if isinstance(failure, InputError):
            raise failure
        raise InputError(
            f"reading images failed with {type(failure).__name__} ({' '.join(str(failure).split())[:300]}); what is finished "
            "is kept: the same command with --resume goes on"
        ) from failure

    def _read(self) -> None:
        failure: BaseException | None = None
        try:
            for item in self._items:
                size = self._size_of(item)
                with self._changed:
                    self._waiting.append((item, size))
                    del item  # or one image more than was counted would stay in memory
                    self._held += size
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._is_closed or self._held < self._room)
                    if self._is_closed:
                        return
        except BaseException as error:  # whatever it is, the one who waits must hear of it
            failure = error
        finally:
            with self._changed:
                self._failure, self._is_over = failure, True
                self._changed.notify_all()
