"""`evalkit study open`, `pause`, `close`, `move` and `reset`: changing a study that runs, and keeping its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from turing_test.commands.study_data import DATABASE, STUDY, open_study

if TYPE_CHECKING:
    from turing_test.database.study_record import Admission

__all__ = ["close_command", "move_command", "open_command", "pause_command", "reset_command"]


@click.command("open", short_help="Admit participants.")
@STUDY
@DATABASE
def open_command(study: Path, database: str | None) -> None:
    """Admit participants to STUDY, after it was paused or closed; a running server acts on it at once."""
    _set_admission(study, database, "open")


@click.command("pause", short_help="Ask newcomers to come back later.")
@STUDY
@DATABASE
def pause_command(study: Path, database: str | None) -> None:
    """Ask newcomers of STUDY to come back later; sessions that have begun go on. A running server acts on it at once."""
    _set_admission(study, database, "paused")


@click.command("close", short_help="Admit nobody any more.")
@STUDY
@DATABASE
def close_command(study: Path, database: str | None) -> None:
    """Tell newcomers of STUDY that nobody is needed any more; sessions that have begun go on."""
    _set_admission(study, database, "closed")


def _set_admission(study: Path, database: str | None, state: Admission) -> None:
    from turing_test.database.study_record import ADMISSIONS, set_admission

    with open_study(study, database, must_exist=False) as (_, storage):
        before = set_admission(storage, state)
    was = "was so already" if before == state else f"was {before}"
    click.echo(f"{study}: {state} ({was}); {ADMISSIONS[state]}.")


@click.command("move", short_help="Carry the answers to another database.")
@STUDY
@click.option("--to", "target", required=True, metavar="URL", help="postgresql://... or sqlite:///FILE; empty.")
@DATABASE
def move_command(study: Path, target: str, database: str | None) -> None:
    """Carry all answers of STUDY to another database, from SQLite to PostgreSQL or back, while no server runs.

    The old database is marked and no server uses it again; a file is renamed, not deleted. Serve with --database URL
    afterwards, unless the answers are back in the folder's own study.db.
    """
    from evalkit.wording import counted
    from turing_test.database.moving import move, shown_url
    from turing_test.database.storage import Storage
    from turing_test.study.lock import hold
    from turing_test.study.study_folder import read_study

    with hold(read_study(study).folder, alone=True), open_study(study, database) as (opened, storage):
        to = Storage(target, connections=2)
        try:
            to.upgrade()
            moved = move(opened, storage, to)
            where = shown_url(to)
        finally:
            to.close()
    click.echo(
        f"{study}: moved {counted(moved['session'], 'session')} and {counted(moved['trial'], 'trial')} to {where}"
    )


@click.command("reset", short_help="Remove all answers, after a copy.")
@STUDY
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATABASE
def reset_command(study: Path, yes: bool, database: str | None) -> None:
    """Remove all answers of STUDY for a new start, while no server runs. A copy is written first, whose name is printed.

    Use this instead of rm: answers that are not yet in study.db itself lie in study.db-wal beside it.
    """
    import sqlalchemy as sa

    from evalkit.wording import counted
    from turing_test.database import schema as tables
    from turing_test.database.moving import reset
    from turing_test.study.lock import hold
    from turing_test.study.study_folder import read_study

    with hold(read_study(study).folder, alone=True), open_study(study, database) as (opened, storage):
        session = tables.session.c
        n_people, n_simulated = storage.read(
            lambda connection: [
                connection.execute(
                    sa.select(sa.func.count()).select_from(tables.session).where(session.simulated == simulated)
                ).scalar_one()
                for simulated in (False, True)
            ]
        )
        if not yes:
            what = f"{counted(n_people, 'session')} of people and {counted(n_simulated, 'simulated session')}"
            click.confirm(f"Remove {what} from {study}?", abort=True)
        copy = reset(opened, storage)
    click.echo(f"{study}: reset; the copy of {counted(n_people + n_simulated, 'session')} is {copy}")
