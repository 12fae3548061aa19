"""Too little memory, of a device or of the machine, is told in a sentence with advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evalkit.errors import InputError
from evalkit.networks.devices import is_out_of_memory

__all__ = ["out_of_memory_advice"]


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
        if not is_out_of_memory(error):
            raise
        reason = f" ({str(error).splitlines()[0][:200]})" if str(error) else ""
        raise InputError(f"the device ran out of memory {advice}{reason}") from error
