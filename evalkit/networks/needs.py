"""Which packages the networks need, and which of them are absent."""

from __future__ import annotations

import importlib.util

__all__ = ["missing_packages"]


def missing_packages(*names: str) -> str:
    """Which of the packages is not installed and what brings it; empty where all are there."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed (the extra 'networks' brings it)"
    return ""
