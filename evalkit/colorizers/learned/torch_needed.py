"""Says in one sentence that torch is missing, before anything imports it."""

from __future__ import annotations

from importlib.util import find_spec

from evalkit.errors import InputError
from evalkit.wording import needs_package

__all__ = ["need_torch"]


def need_torch() -> None:
    """Refuse to go on without torch.

    Raises
    ------
    InputError
        If torch is not installed.
    """
    if find_spec("torch") is None:
        raise InputError(needs_package("torch", "the network", "networks"))
