"""What the networks need, said of a metric that is unscored for want of it."""

from __future__ import annotations

from evalkit.needs import absent_packages
from evalkit.wording import install_command

__all__ = ["missing_packages", "with_command"]

BRINGS_IT = "the extra 'networks' brings it"


def missing_packages(*names: str) -> str:
    """Which of the packages is not installed and what brings it; empty where all are there."""
    return next((f"{name} is not installed ({BRINGS_IT})" for name in absent_packages(*names)), "")


def with_command(reason: str) -> str:
    """A reason for people, with the command that installs what is missing, which results do not name: it holds a path."""
    return reason.replace(BRINGS_IT, f"{install_command('networks')} brings it")
