"""`evalkit study serve` and `password`: the running study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.commands._shared import GivenPath
from evalkit.wording import counted
from turing_test.commands._databases import from_environment, read_databases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from turing_test.server.serving import Address, Server, Site
    from turing_test.study.study_folder import Study

__all__ = ["password_command", "serve_command", "show_network_url"]

STUDY = click.argument("study", type=GivenPath(path_type=Path), metavar="STUDY")
DEMO_FOLDER = Path("demo-study")


@click.command("serve", short_help="Serve one study, or several, to participants.")
@click.argument("studies", type=GivenPath(path_type=Path), metavar="STUDY...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option(
    "--database", "databases", multiple=True, metavar="[NAME=]URL",
    help="postgresql://USER:PASSWORD@HOST/DATABASE; by default the file study.db in STUDY. With several studies, NAME says "
    "whose it is; may be repeated. Also EVALKIT_DATABASE.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes; more need PostgreSQL."
)
@click.option(
    "--threads", type=click.IntRange(1, 128), default=16, show_default=True,
    help="Requests at once, per study and process.",
)  # fmt: skip
@click.option(
    "--proxy", default=None, metavar="ADDRESS",
    help="Reverse proxy in front (HTTPS), whose X-Forwarded headers are believed; * for any.",
)  # fmt: skip
@click.option(
    "--path", default=None, metavar="PATH",
    help="Path that participants find the study under, /study1 in https://host/study1/, whether the proxy passes it on or "
    "takes it away.  [default: that of public_url; none for several]",
)  # fmt: skip
@click.option(
    "--simulation-key", envvar="EVALKIT_SIMULATION_KEY", default=None, metavar="KEY",
    help="Admit simulated participants who know it; also EVALKIT_SIMULATION_KEY.",
)  # fmt: skip
@click.option("--set-password", is_flag=True, help="Ask for the dashboard's password first.")
@click.option("--demo", is_flag=True, help=f"Serve a study of bundled photos, made in STUDY or {DEMO_FOLDER}/.")
def serve_command(
    studies: tuple[Path, ...],
    host: str,
    port: int,
    databases: tuple[str, ...],
    workers: int,
    threads: int,
    proxy: str | None,
    path: str | None,
    simulation_key: str | None,
    set_password: bool,
    demo: bool,
) -> None:
    """Serve STUDY until Ctrl-C: the page of participants, their answers, the dashboard.

    Of several studies, or a folder of studies, each is found below the name of its folder (/NAME/), and /dashboard shows
    all of them. Each has its own database, password and limits, and what ails one leaves the others alone.

    What was acknowledged is on disk; the server may be stopped and started again at any time, and sessions go on.
    """
    from contextlib import ExitStack

    from evalkit.errors import InputError
    from turing_test.database.storage import StorageUnavailable
    from turing_test.server.mounts import read_path
    from turing_test.server.serving import Address, Server, serve

    if demo:
        studies = studies or (DEMO_FOLDER,)
        if len(studies) > 1:
            raise InputError("--demo is for one study; name one folder, or none.")
        if not (studies[0] / "manifest.json").exists():
            _make_demo(studies[0])
    folders = _named_folders(studies)
    urls = read_databases(databases or from_environment(), folders)
    root = _public_path(folders) if path is None else read_path(path, "--path")
    if set_password:
        _ask_password(*folders.values())
    with ExitStack() as locks:
        sites = tuple(_open_site(locks, name, folder, urls.get(name)) for name, folder in folders.items())
        address = Address(host, port)
        server = Server(
            sites=sites, workers=workers, threads=threads, simulation_key=simulation_key, proxy=proxy, path=root
        )
        try:
            serve(server, address, lambda: _tell(server, address))
        except StorageUnavailable as error:
            raise InputError(str(error)) from error
        finally:
            address.close()
    click.echo("Stopped. Every acknowledged answer is stored.")


def _tell(server: Server, address: Address) -> None:
    """Where to go, once there is something."""
    from evalkit.errors import InputError
    from turing_test.study.study_folder import read_study
    from turing_test.web.dashboard_password import password_digest

    own = f"{address.url}{server.path}"
    if server.has_several:
        click.echo(f"{counted(len(server.sites), 'study', 'studies')} are served; stop with Ctrl-C.")
        width = max(12, *(len(site.name) for site in server.sites))
        for site in server.sites:
            try:
                public_url = "" if site.problem else read_study(site.folder).protocol.public_url
            except InputError:
                public_url = ""
            shown = public_url.removesuffix("/") or f"{own}/{site.name}"
            click.echo(f"  {site.name:{width}}  {shown}/{'  (not served)' if site.problem else ''}")
        click.echo(f"  {'dashboard':{width}}  {own}/dashboard  (of all; each has its own)")
    else:
        (site,) = server.sites
        protocol = read_study(site.folder).protocol
        shown = protocol.public_url.removesuffix("/") or own
        links = "" if protocol.open_link else " (personal links only: evalkit study links)"
        click.echo(f"Study {protocol.name} ({protocol.preset}) is served; stop with Ctrl-C.")
        click.echo(f"  participants  {shown}/{links}")
        click.echo(f"  dashboard     {shown}/dashboard")
        if protocol.public_url:
            click.echo(f"  this machine  {own}/")
    if address.network_url is not None:
        show_network_url(f"{address.network_url}{server.path}/")
    for site in server.sites:
        if not site.problem and password_digest(site.folder) is None:
            click.echo(f"The dashboard is closed until it has a password: evalkit study password {site.folder}")


def _named_folders(given: tuple[Path, ...]) -> dict[str, Path]:
    """Folders of studies by the names of their addresses; one study alone has the name ""."""
    from evalkit.errors import InputError
    from turing_test.server.mounts import is_path
    from turing_test.study.study_folder import STUDY_FILE
    from turing_test.web.overview import RESERVED

    if not given:
        raise InputError("name the folder of the study, or use --demo.")
    folders: list[Path] = []
    for folder in given:
        inside = sorted(path.parent for path in folder.glob(f"*/{STUDY_FILE}"))
        folders += [folder] if (folder / STUDY_FILE).exists() or not inside else inside
    if folders == [given[0]]:
        return {"": given[0]}
    named: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in RESERVED or not is_path(f"/{name}"):
            raise InputError(
                f"{folder}: cannot be part of an address; allowed are names of letters, digits and -._~ other than "
                f"{', '.join(RESERVED)}."
            )
        if name in named:
            raise InputError(f"{named[name]} and {folder} have the same name, and so the same address; rename one.")
        named[name] = folder
    return named


def _open_site(locks: ExitStack, name: str, folder: Path, database: str | None) -> Site:
    """A study whose files are well, held against removal; of several, one that is not is told and left out."""
    from evalkit.errors import InputError
    from turing_test.server.serving import Site
    from turing_test.study.lock import hold
    from turing_test.study.study_folder import read_study

    try:
        study = read_study(folder)
        _refuse_second_database(study, database)
        _refuse_damaged(study)
        locks.enter_context(hold(study.folder, alone=False))
    except InputError as error:
        if not name:
            raise
        return Site(name=name, folder=folder, database_url=database, problem=str(error))
    return Site(name=name, folder=folder, database_url=database)


def _public_path(folders: Mapping[str, Path]) -> str:
    """The path that the study file of the only study names."""
    from urllib.parse import urlsplit

    from turing_test.server.mounts import read_path
    from turing_test.study.study_folder import read_study

    if "" not in folders:
        return ""
    return read_path(urlsplit(read_study(folders[""]).protocol.public_url).path, "the path of public_url")


def show_network_url(url: str) -> None:
    """The address for a phone in the same network; on a terminal also as a QR code for its camera."""
    import sys

    import segno

    click.echo(f"  same network  {url}  (a phone in the same Wi-Fi, say; not encrypted)")
    if sys.stdout.isatty():
        segno.make(url, micro=False).terminal(compact=True, border=2)


@click.command("password", short_help="Set the password of the dashboard.")
@STUDY
def password_command(study: Path) -> None:
    """Set the dashboard's password: asked for twice, or read from standard input when that is no terminal.

    There is no password by default, and the dashboard is closed without one.
    """
    from turing_test.study.study_folder import read_study

    read_study(study)
    _ask_password(study)
    click.echo(f"{study}: the dashboard's password is set; whoever was logged in must log in again.")


def _refuse_damaged(study: Study) -> None:
    """What participants see must be what was built, and a frozen study what was frozen."""
    from evalkit.errors import InputError
    from evalkit.progress import progress_bar
    from evalkit.wording import counted
    from turing_test.study.freeze import changes_since, damaged_stimuli, read_stamp

    with progress_bar("checking", "stimuli") as show:
        damaged = damaged_stimuli(study, show)
    if damaged:
        raise InputError(
            f"{study.folder}: {counted(len(damaged), 'file')} of its stimuli missing or damaged, first {damaged[0]}; copy the "
            "study again, or create it again."
        )
    stamp = read_stamp(study.folder)
    if stamp is not None and (changes := changes_since(study, stamp)):
        raise InputError(
            f"{study.folder}: was frozen at {stamp.frozen_at} and changed since ({', '.join(changes)}), so it is not served; "
            "put back what was frozen."
        )


def _refuse_second_database(study: Study, database: str | None) -> None:
    """A study whose answers are in two databases is two halves of a study."""
    from evalkit.errors import InputError
    from turing_test.database.session_counts import sessions_in_file
    from turing_test.database.storage import default_url
    from turing_test.study.whereabouts import refuse_moved

    refuse_moved(study, database)
    if database is None or database == default_url(study.folder):
        return
    n_people, _ = sessions_in_file(study.database)
    if n_people:
        raise InputError(
            f"{study.database}: holds {counted(n_people, 'session')} of participants, and --database names another database; carry "
            f"them over first: evalkit study move {study.folder} --to URL."
        )


def _ask_password(*studies: Path) -> None:
    import sys

    from turing_test.web.dashboard_password import set_password

    if sys.stdin.isatty():
        text = click.prompt("Password of the dashboard", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    for study in studies:
        set_password(study, text)


def _make_demo(study: Path) -> None:
    from evalkit.progress import progress_bar
    from turing_test.stimuli.demo_study import create_demo_study

    with progress_bar("sealing", "images") as show:
        create_demo_study(study, show)
