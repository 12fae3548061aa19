"""`evalkit study links`, `export`, `backup` and `forget`: what works on the data of a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from turing_test.database.storage import Storage
    from turing_test.study.study_folder import Study

__all__ = ["backup_command", "export_command", "forget_command", "links_command"]

STUDY = click.argument("study", type=click.Path(path_type=Path), metavar="STUDY")
DATABASE = click.option(
    "--database", envvar="EVALKIT_DATABASE", default=None, metavar="URL",
    help="postgresql://USER:PASSWORD@HOST/DATABASE; by default the file study.db in STUDY. Also EVALKIT_DATABASE.",
)  # fmt: skip


@contextmanager
def _open(folder: Path, database: str | None, *, must_exist: bool = True) -> Iterator[tuple[Study, Storage]]:
    """The study and its database, with the tables of this version."""
    from evalkit.errors import InputError
    from turing_test.database.storage import Storage, StorageUnavailable, default_url
    from turing_test.database.study_record import register
    from turing_test.study.study_folder import read_study

    study = read_study(folder)
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


@click.command("links", short_help="One-time links for participants without a platform.")
@STUDY
@click.option("--count", type=click.IntRange(1, 100_000), required=True, metavar="N", help="How many.")
@click.option("--url", default=None, metavar="URL", help="Where participants reach the server, if not public_url.")
@DATABASE
def links_command(study: Path, count: int, url: str | None, database: str | None) -> None:
    """Print N links, each of which admits one participant of STUDY; keep them, they cannot be shown again."""
    from evalkit.errors import InputError
    from turing_test.sessions.links import make_links

    with _open(study, database, must_exist=False) as (opened, storage):
        address = url or opened.protocol.public_url
        if not address:
            raise InputError(f"{study / 'study.toml'}: public_url is empty; set it, or name the address with --url.")
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--url is {address!r}; an address such as https://study.example.org is needed.")
        for link in make_links(storage, count, address):
            click.echo(link)


@click.command("export", short_help="The trial table and its data dictionary.")
@STUDY
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the files.")
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

    with _open(study, database) as (opened, storage):
        exported = export(storage, opened, out, file_format=file_format, simulated=simulated or None)
    who = "simulated sessions" if exported.simulated else "sessions"
    click.echo(f"{', '.join(map(str, exported.files))}: {exported.trials} trials of {exported.sessions} {who}")
    if exported.unfinished:
        click.echo(f"{exported.unfinished} of these sessions are unfinished: they go on, or have expired.", err=True)
    if exported.withdrawn:
        click.echo(f"Not in this table: {exported.withdrawn} who have withdrawn.", err=True)
    if exported.left_out:
        of_other_kind = "sessions of people" if exported.simulated else "simulated sessions (--simulated)"
        click.echo(f"Not in this table: {exported.left_out} {of_other_kind}.", err=True)


@click.command("backup", short_help="A consistent copy of the data while serving.")
@STUDY
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="New SQLite file.")
@DATABASE
def backup_command(study: Path, out: Path, database: str | None) -> None:
    """Copy the database of STUDY to FILE, also while it is served, and from PostgreSQL too.

    To restore, serve or export with --database sqlite:///FILE. The key in STUDY/secret.key is not in the copy.
    """
    from turing_test.database.backup import back_up

    with _open(study, database) as (_, storage):
        sessions = back_up(storage, out)
    click.echo(f"{out}: {sessions} sessions")


@click.command("forget", short_help="Delete a participant's data.")
@STUDY
@click.option("--participant", default=None, metavar="LABEL", help="Column participant (or session) of the export.")
@click.option("--platform", type=click.Choice(["mturk", "prolific"]), default=None, help="Or the platform ...")
@click.option("--worker", default=None, metavar="ID", help="... and its id of the person.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATABASE
def forget_command(
    study: Path, participant: str | None, platform: str | None, worker: str | None, yes: bool, database: str | None
) -> None:
    """Delete the session, answers and display times of one participant of STUDY. Copies made before keep them."""
    from evalkit.errors import InputError
    from turing_test.sessions.forgetting import forget

    if (participant is None) == (worker is None) or (worker is None) != (platform is None):
        raise InputError("name the person with --participant LABEL, or with --platform and --worker.")
    with _open(study, database) as (opened, storage):
        if not yes:
            click.confirm(f"Delete {participant or worker} from {study} for good?", abort=True)
        trials = forget(storage, opened, participant=participant, platform=platform or "", worker=worker or "")
    click.echo(f"{study}: deleted, {trials} trials. Exports and backups made before still have them.")
