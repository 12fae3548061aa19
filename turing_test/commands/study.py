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

NEEDS = (
    "flask",
    "sqlalchemy",
    "alembic",
    "granian",
    "fastjsonschema",
    "tomlkit",
    "scipy",
    "segno",
    "jwt",
    "cryptography",
    "zlib_ng",
)
"""Of the extra `study`; psycopg only where a database has its address."""


@click.group(cls=LazyGroup, modules=MODULES, needs=NEEDS, extra="study")
def study() -> None:
    """Make, serve and export the timed real-vs-fake test."""
