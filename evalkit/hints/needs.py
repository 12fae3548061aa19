"""Says in one sentence that an optional package is missing, before anything imports it."""

from __future__ import annotations

from importlib.util import find_spec

from evalkit.errors import InputError
from evalkit.wording import needs_package

__all__ = ["need_scipy", "need_sklearn"]


def need_scipy(what: str) -> None:
    """Refuse to go on without SciPy; ``what`` begins the sentence.

    Raises
    ------
    InputError
        If SciPy is not installed.
    """
    _need("scipy", "SciPy", what)


def need_sklearn(what: str) -> None:
    """Refuse to go on without scikit-learn; ``what`` begins the sentence.

    Raises
    ------
    InputError
        If scikit-learn is not installed.
    """
    _need("sklearn", "scikit-learn", what)


def _need(module: str, package: str, what: str) -> None:
    if find_spec(module) is None:
        raise InputError(needs_package(package, what, "classical"))
