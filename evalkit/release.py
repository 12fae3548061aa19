"""Which release, or development version, of the toolkit this is."""

from __future__ import annotations

__all__ = ["DISTRIBUTION", "release"]

DISTRIBUTION = "colorization-evalkit"
"""The name that pip knows the three packages by."""


def release() -> str:
    """The version of the installed distribution, for example ``0.2.0.dev0``."""
    from importlib.metadata import version

    return version(DISTRIBUTION)
