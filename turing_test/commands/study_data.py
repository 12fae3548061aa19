"""`evalkit study links`, `export`, `people`, `find`, `backup` and `forget`: what works on the data of a study."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.commands._shared import GivenPath, OutputFile, table_console
from evalkit.wording import agree, counted
from turing_test.commands._databases import of_environment, of_one_study

if TYPE_CHECKING:
    from analysis.trials.trial_table import RawTable
    from turing_test.database.storage import Storage
    from turing_test.results.people import Person
    from turing_test.study.study_folder import Study

__all__ = [
    "DATABASE",
    "STUDY",
    "backup_command",
    "export_command",
    "find_command",
    "forget_command",
    "links_command",
    "open_study",
    "people_command",
]

STUDY = click.argument("study", type=GivenPath(path_type=Path), metavar="STUDY")
DATABASE = click.option(
    "--database", default=None, metavar="URL", callback=of_one_study,
    help="postgresql://USER:PASSWORD@HOST/DATABASE; by default the file study.db in STUDY. Also EVALKIT_DATABASE.",
)  # fmt: skip


@contextmanager
def open_study(folder: Path, database: str | None, *, must_exist: bool = True) -> Iterator[tuple[Study, Storage]]:
    """The study and its database, with the tables of this version."""
    from evalkit.errors import InputError
    from turing_test.database.storage import Storage, StorageUnavailable, default_url
    from turing_test.database.study_record import register
    from turing_test.study.study_folder import read_study
    from turing_test.study.whereabouts import refuse_moved

    study = read_study(folder)
    refuse_moved(study, database)
    if database is None and must_exist and not study.database.exists():
        raise InputError(
            f"{study.database}: does not exist yet; no participant has come. Name another with --database."
        )
    storage = Storage(database or default_url(study.folder), connections=2)
    try:
        storage.upgrade()
        register(storage, study)
        yield study, storage
    except StorageUnavailable as error:
        raise InputError(str(error)) from error
    finally:
        storage.close()


def read_study_trials(folder: Path) -> RawTable:
    """The trials of a study folder as its database holds them now: what `analysis.read_trials` finds by entry point.

    The database is that of ``EVALKIT_DATABASE`` where it is set, as for the commands.

    Raises
    ------
    InputError
        When the folder is no study, or nobody has taken part.
    """
    from turing_test.results.export import raw_trials

    with open_study(folder, of_environment(folder)) as (study, storage):
        return raw_trials(storage, study)


@click.command("links", short_help="One-time links for participants without a platform.")
@STUDY
@click.option("--count", type=click.IntRange(1, 100_000), required=True, metavar="N", help="How many.")
@click.option("--url", default=None, metavar="URL", help="Where participants reach the server, if not public_url.")
@DATABASE
def links_command(study: Path, count: int, url: str | None, database: str | None) -> None:
    """Print N links, each of which admits one participant of STUDY; keep them, they cannot be shown again."""
    from evalkit.errors import InputError
    from turing_test.sessions.links import make_links

    with open_study(study, database, must_exist=False) as (opened, storage):
        address = url or opened.protocol.public_url
        if not address:
            raise InputError(f"{study / 'study.toml'}: public_url is empty; set it, or name the address with --url.")
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--url is {address!r}; an address such as https://study.example.org is needed.")
        if "?" in address or "#" in address:
            raise InputError(
                f"--url is {address!r}; allowed is an address without ? and #, which links are put behind."
            )
        for link in make_links(storage, count, address):
            click.echo(link)


@click.command("export", short_help="The trial table and its data dictionary.")
@STUDY
@click.option("--out", required=True, type=GivenPath(path_type=Path), metavar="DIR", help="Folder for the files.")
@click.option(
    "--format", "file_format", type=click.Choice(["csv", "parquet", "json"]), default="csv", show_default=True
)
@click.option("--simulated", is_flag=True, help="Simulated participants, even if people have taken part.")
@DATABASE
def export_command(study: Path, out: Path, file_format: Any, simulated: bool, database: str | None) -> None:
    """Write the trials of STUDY as 'evalkit analyze' reads them, and data_dictionary.md, into DIR.

    May run while the study is served.
    """
    from turing_test.results.export import export

    with open_study(study, database) as (opened, storage):
        exported = export(storage, opened, out, file_format=file_format, simulated=simulated or None)
    who = counted(exported.sessions, "simulated session" if exported.simulated else "session")
    click.echo(f"{', '.join(map(str, exported.files))}: {counted(exported.trials, 'trial')} of {who}")
    if exported.unfinished:
        go_on = agree(exported.unfinished, "is unfinished: it goes on, or has", "are unfinished: they go on, or have")
        click.echo(f"{exported.unfinished} of these sessions {go_on} expired.", err=True)
    if exported.withdrawn:
        click.echo(f"Not in this table: {exported.withdrawn} who have withdrawn.", err=True)
    if exported.left_out:
        others = counted(exported.left_out, "session of a person", "sessions of people")
        if not exported.simulated:
            others = f"{counted(exported.left_out, 'simulated session')} (--simulated)"
        click.echo(f"Not in this table: {others}.", err=True)


@click.command("backup", short_help="A consistent copy of the data while serving.")
@STUDY
@click.option("--out", required=True, type=OutputFile("study-copy.db"), metavar="FILE", help="New SQLite file.")
@DATABASE
def backup_command(study: Path, out: Path, database: str | None) -> None:
    """Copy the database of STUDY to FILE, also while it is served, and from PostgreSQL too.

    To restore, serve or export with --database sqlite:///FILE. The key in STUDY/secret.key is not in the copy.
    """
    from turing_test.database.backup import back_up

    with open_study(study, database) as (_, storage):
        sessions = back_up(storage, out)
    click.echo(f"{out}: {counted(sessions, 'session')}")


def _identified(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name one participant."""
    for option in (
        click.option(
            "--label",
            "--participant",
            "label",
            default=None,
            metavar="LABEL",
            help="Column participant (or session) of the export.",
        ),
        click.option("--code", default=None, metavar="CODE", help="Or the completion code that the page showed."),
        click.option("--link", default=None, metavar="URL", help="Or the one-time link."),
        click.option("--platform", type=click.Choice(["mturk", "prolific"]), default=None, help="Or the platform ..."),
        click.option("--worker", default=None, metavar="ID", help="... and its id of the person."),
    )[::-1]:
        command = option(command)
    return command


@click.command("people", short_help="Everybody who came, and whom to pay.")
@STUDY
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only who ended so; repeat for more.")
@click.option("--out", type=OutputFile("people.csv"), default=None, metavar="FILE", help="File instead of a table.")
@click.option(
    "--form", type=click.Choice(["csv", "prolific", "mturk"]), default="csv", show_default=True,
    help="Of the file: all columns, or what the platform's bulk upload takes.",
)  # fmt: skip
@click.option("--simulated", is_flag=True, help="Simulated participants instead of people.")
@DATABASE
def people_command(
    study: Path, states: tuple[str, ...], out: Path | None, form: str, simulated: bool, database: str | None
) -> None:
    """List everybody who came to STUDY: how they left, what they did, and a suggestion whether to pay.

    A suggestion is 'approve', 'reject', 'partly' or 'wait', with the rule that says so; the decision is yours. The counts
    below the table are the participant flow that a paper reports.
    """
    import time

    from evalkit.errors import InputError
    from evalkit.files import write_atomically
    from evalkit.wording import counted, unknown_name
    from turing_test.results.people import flow, format_people, people
    from turing_test.sessions.states import ACTIVE, ENDED

    allowed = (*ACTIVE, *ENDED, "failed_checks")
    if out is None and form != "csv":
        raise InputError(f"--form {form} is how a file is written; name the file with --out.")
    for state in states:
        if state not in allowed:
            raise InputError(f"--state: {unknown_name('state', state, allowed)}")
    with open_study(study, database) as (opened, storage):
        everybody = storage.read(lambda connection: people(connection, opened, simulated=simulated, now=time.time()))
    listed = [person for person in everybody if not states or person.outcome in states or person.state in states]
    if out is not None:
        text = format_people(listed, form)
        write_atomically(out, text, 0o600)
        click.echo(f"{out}: {counted(len(text.splitlines()) - (form != 'prolific'), 'row')}")
    elif listed:
        _print_people(listed)
    ways = ", ".join(f"{count} {outcome}" for outcome, count in flow(everybody).items())
    click.echo(f"{counted(len(everybody), 'person', 'people')} came: {ways}." if everybody else "Nobody came yet.")


def _print_people(listed: Sequence[Person]) -> None:
    from rich.table import Table

    table = Table(
        "participant", "platform", "id", "outcome", "code", "min", "test", "vigilance", "suggestion", box=None
    )
    for person in listed:
        table.add_row(
            person.participant,
            person.platform,
            person.platform_id,
            person.outcome,
            person.code,
            f"{person.minutes:.1f}",
            f"{person.test_answered}/{person.test_wanted}",
            f"{person.vigilance_right}/{person.vigilance_answered}",
            f"{person.decision}: {person.reason}" if person.decision else person.reason,
        )
    table_console().print(table)


@click.command("find", short_help="A participant by code, link, label or worker.")
@STUDY
@_identified
@DATABASE
def find_command(
    study: Path,
    label: str | None,
    code: str | None,
    link: str | None,
    platform: str | None,
    worker: str | None,
    database: str | None,
) -> None:
    """Find a participant of STUDY by what they or their platform can say of themselves."""
    import time

    import sqlalchemy as sa

    from evalkit.errors import InputError
    from turing_test.database import schema as tables
    from turing_test.results.people import people
    from turing_test.sessions.identifiers import Identifier, find_sessions

    identifier = Identifier(label=label, code=code, link=link, worker=worker, platform=platform)
    with open_study(study, database) as (opened, storage):

        def look(connection: sa.Connection) -> list[Person]:
            session = tables.session.c
            keys = find_sessions(connection, opened, identifier)
            rows = connection.execute(sa.select(session.label, session.simulated).where(session.id.in_(keys))).all()
            labels = {f"p{row.label}" for row in rows}
            everybody = people(connection, opened, now=time.time())
            if any(row.simulated for row in rows):
                everybody += people(connection, opened, simulated=True, now=time.time())
            return [person for person in everybody if person.participant in labels]

        matching = storage.read(look)
    if not matching:
        raise InputError(f"{study}: there is no {identifier}.")
    _print_people(matching)


@click.command("forget", short_help="Delete a participant's data.")
@STUDY
@_identified
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATABASE
def forget_command(
    study: Path,
    label: str | None,
    code: str | None,
    link: str | None,
    platform: str | None,
    worker: str | None,
    yes: bool,
    database: str | None,
) -> None:
    """Delete the session, answers and display times of one participant of STUDY. Copies made before keep them.

    When the command ends, a running server sends that person no image any more.
    """
    from turing_test.sessions.forgetting import NOTICED_WITHIN_S, forget
    from turing_test.sessions.identifiers import Identifier

    identifier = Identifier(label=label, code=code, link=link, worker=worker, platform=platform)
    with open_study(study, database) as (opened, storage):
        if not yes:
            click.confirm(f"Delete {identifier} from {study} for good?", abort=True)
        trials = forget(storage, opened, identifier)
    time.sleep(NOTICED_WITHIN_S)  # every server that runs has noticed it then
    click.echo(f"{study}: deleted, {counted(trials, 'trial')}. Exports and backups made before still have them.")
