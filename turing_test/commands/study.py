"""`evalkit study`: from folders of images to a running study and its answers."""

from __future__ import annotations

import click

__all__ = ["study"]


@click.group()
def study() -> None:
    """Make, serve and export the timed real-vs-fake test."""
