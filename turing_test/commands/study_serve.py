"""`evalkit study serve` and `password`: the running study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.wording import counted

if TYPE_CHECKING:
    from turing_test.study.study_folder import Study

__all__ = ["password_command", "serve_command", "show_network_url"]

STUDY = click.argument("study", type=click.Path(path_type=Path), metavar="STUDY")
DEMO_FOLDER = Path("demo-study")


@click.command("serve", short_help="Serve a study to participants.")
@click.argument("study", type=click.Path(path_type=Path), metavar="STUDY", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option(
    "--database", envvar="EVALKIT_DATABASE", default=None, metavar="URL",
    help="postgresql://USER:PASSWORD@HOST/DATABASE; by default the file study.db in STUDY. Also EVALKIT_DATABASE.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes; more need PostgreSQL."
)
@click.option(
    "--threads", type=click.IntRange(1, 128), default=16, show_default=True, help="Requests at once, a process."
)
@click.option(
    "--proxy", default=None, metavar="ADDRESS",
    help="Reverse proxy in front (HTTPS), whose X-Forwarded headers are believed; * for any.",
)  # fmt: skip
@click.option(
    "--path", default=None, metavar="PATH",
    help="Path that participants find the study under, /study1 in https://host/study1/, whether the proxy passes it on or "
    "takes it away.  [default: that of public_url]",
)  # fmt: skip
@click.option(
    "--simulation-key", envvar="EVALKIT_SIMULATION_KEY", default=None, metavar="KEY",
    help="Admit simulated participants who know it; also EVALKIT_SIMULATION_KEY.",
)  # fmt: skip
@click.option("--set-password", is_flag=True, help="Ask for the dashboard's password first.")
@click.option("--demo", is_flag=True, help=f"Serve a study of bundled photos, made in STUDY or {DEMO_FOLDER}/.")
def serve_command(
    study: Path | None,
    host: str,
    port: int,
    database: str | None,
    workers: int,
    threads: int,
    proxy: str | None,
    path: str | None,
    simulation_key: str | None,
    set_password: bool,
    demo: bool,
) -> None:
    """Serve STUDY until Ctrl-C: the page of participants, their answers, the dashboard.

    What was acknowledged is on disk; the server may be stopped and started again at any time, and sessions go on.
    """
    from urllib.parse import urlsplit

    from evalkit.errors import InputError
    from turing_test.database.storage import StorageUnavailable
    from turing_test.server.mounts import read_path
    from turing_test.server.serving import Address, Server, serve
    from turing_test.study.lock import hold
    from turing_test.study.study_folder import read_study
    from turing_test.web.dashboard_password import password_digest

    if demo:
        study = study or DEMO_FOLDER
        if not (study / "manifest.json").exists():
            _make_demo(study)
    if study is None:
        raise InputError("name the folder of the study, or use --demo.")
    opened = read_study(study)
    if set_password:
        _ask_password(study)
    _refuse_second_database(opened, database)
    _refuse_damaged(opened)
    public_url = opened.protocol.public_url
    root = read_path(urlsplit(public_url).path, "the path of public_url") if path is None else read_path(path, "--path")
    address = Address(host, port)
    shown = public_url.removesuffix("/") or f"{address.url}{root}"

    def ready() -> None:
        links = "" if opened.protocol.open_link else " (personal links only: evalkit study links)"
        click.echo(f"Study {opened.protocol.name} ({opened.protocol.preset}) is served; stop with Ctrl-C.")
        click.echo(f"  participants  {shown}/{links}")
        click.echo(f"  dashboard     {shown}/dashboard")
        if public_url:
            click.echo(f"  this machine  {address.url}{root}/")
        if address.network_url is not None:
            show_network_url(f"{address.network_url}{root}/")
        if password_digest(study) is None:
            click.echo(f"The dashboard is closed until it has a password: evalkit study password {study}")

    try:
        with hold(opened.folder, alone=False):
            serve(
                Server(
                    study=opened,
                    database_url=database,
                    workers=workers,
                    threads=threads,
                    simulation_key=simulation_key,
                    proxy=proxy,
                    path=root,
                ),
                address,
                ready,
            )
    except StorageUnavailable as error:
        raise InputError(str(error)) from error
    finally:
        address.close()
    click.echo("Stopped. Every acknowledged answer is stored.")


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
    from evalkit.commands._shared import progress_bar
    from evalkit.errors import InputError
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


def _ask_password(study: Path) -> None:
    import sys

    from turing_test.web.dashboard_password import set_password

    if sys.stdin.isatty():
        text = click.prompt("Password of the dashboard", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    set_password(study, text)


def _make_demo(study: Path) -> None:
    from evalkit.commands._shared import progress_bar
    from turing_test.stimuli.demo_study import create_demo_study

    with progress_bar("sealing", "images") as show:
        create_demo_study(study, show)
