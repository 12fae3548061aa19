"""What the commands of this package need beside the core installation."""

from __future__ import annotations

from evalkit.errors import InputError
from evalkit.needs import absent_packages
from evalkit.wording import all_names, needs_package

__all__ = ["need"]


def need(*modules: str) -> None:
    """Say in one sentence how to install what is absent.

    Raises
    ------
    InputError
        When one of the modules is not installed.
    """
    absent = absent_packages(*modules)
    if absent:
        raise InputError(needs_package(all_names(absent), "this command", "report"))
