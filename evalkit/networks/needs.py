"""What the networks need, said of a metric that is unscored for want of it."""

from __future__ import annotations

from evalkit.needs import absent_packages

__all__ = ["missing_packages"]


def missing_packages(*names: str) -> str:
    """Which of the packages is not installed and what brings it; empty where all are there."""
    return next((f"{name} is not installed (the extra 'networks' brings it)" for name in absent_packages(*names)), "")
