"""`evalkit study`: from folders of images to a running study and its answers."""

from __future__ import annotations

import click

from evalkit.command_groups import LazyGroup

__all__ = ["study"]

MODULES = {
    "turing_test.commands.study_files": ("create", "audit", "freeze", "texts", "doctor"),
    "turing_test.commands.study_serve": ("serve", "password"),
    "turing_test.commands.study_simulate": ("simulate",),
    "turing_test.commands.study_data": ("links", "export", "people", "find", "backup", "forget"),
    "turing_test.commands.study_keep": ("open", "pause", "close", "move", "reset"),
}
"""What each module holds: `evalkit --help` imports none of them."""


@click.group(cls=LazyGroup, modules=MODULES)
def study() -> None:
    """Make, serve and export the timed real-vs-fake test."""
