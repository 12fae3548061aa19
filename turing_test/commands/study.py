"""`evalkit study`: from folders of images to a running study and its answers."""

from __future__ import annotations

import click

from turing_test.commands.study_data import (
    backup_command,
    export_command,
    find_command,
    forget_command,
    links_command,
    people_command,
)
from turing_test.commands.study_files import (
    audit_command,
    create_command,
    doctor_command,
    freeze_command,
    texts_command,
)
from turing_test.commands.study_keep import (
    close_command,
    move_command,
    open_command,
    pause_command,
    reset_command,
)
from turing_test.commands.study_serve import password_command, serve_command
from turing_test.commands.study_simulate import simulate_command

__all__ = ["study"]


@click.group()
def study() -> None:
    """Make, serve and export the timed real-vs-fake test."""


for command in (
    create_command,
    audit_command,
    freeze_command,
    texts_command,
    doctor_command,
    serve_command,
    password_command,
    links_command,
    simulate_command,
    export_command,
    open_command,
    pause_command,
    close_command,
    people_command,
    find_command,
    move_command,
    reset_command,
    backup_command,
    forget_command,
):
    study.add_command(command)
