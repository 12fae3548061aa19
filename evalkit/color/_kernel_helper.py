"""How functions are compiled that kernels call and Python never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["kernel_helper"]

Function = TypeVar("Function", bound=Callable[..., Any])

_njit: Any = numba.njit  # its types lack the wrappers


def kernel_helper(**options: Any) -> Callable[[Function], Function]:
    """Compile a function for kernels of the same file: without the code for calls from Python, and outside of the cache.

    A kernel holds its helpers compiled in, so that nothing is lost; compiling takes less.
    """
    decorator: Callable[[Function], Function] = _njit(
        nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **options
    )
    return decorator
