"""Tells what to do when a device has too little memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evalkit.errors import InputError

__all__ = ["out_of_memory_advice"]

# How the allocators of GPU and CPU say it; torch has no one exception for both.
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory")


@contextmanager
def out_of_memory_advice(advice: str) -> Iterator[None]:
    """Turn the allocator's error into a sentence with advice.

    Parameters
    ----------
    advice : str
        Continues "the device ran out of memory ...".

    Raises
    ------
    InputError
        In place of an error that says that memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in _SIGNS):
            raise
        reason = f" ({str(error).splitlines()[0][:200]})" if str(error) else ""
        raise InputError(f"the device ran out of memory {advice}{reason}") from error
