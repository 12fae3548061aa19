"""`evalkit study`: from folders of images to a running study and its answers."""

from __future__ import annotations

import click

from turing_test.commands.study_data import backup, export, forget, links
from turing_test.commands.study_files import audit, create, doctor, freeze
from turing_test.commands.study_serve import password, serve
from turing_test.commands.study_simulate import simulate

__all__ = ["study"]


@click.group()
def study() -> None:
    """Make, serve and export the timed real-vs-fake test."""


for command in (create, audit, freeze, doctor, serve, password, links, simulate, export, backup, forget):
    study.add_command(command)
