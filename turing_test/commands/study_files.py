"""`evalkit study create`, `audit`, `freeze` and `doctor`: what works on the files of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.commands._shared import GivenPath, OutputFile, table_console
from evalkit.wording import counted
from turing_test.commands._databases import of_one_study

if TYPE_CHECKING:
    from turing_test.study.protocol import Protocol

__all__ = ["audit_command", "create_command", "doctor_command", "freeze_command", "texts_command"]

STUDY = click.argument("study", type=GivenPath(path_type=Path), metavar="STUDY")
DATABASE = click.option(
    "--database", default=None, metavar="URL", callback=of_one_study,
    help="Database of the answers, if not the file in STUDY; also EVALKIT_DATABASE.",
)  # fmt: skip


@click.command("create", short_help="Folders of images to a study.")
@STUDY
@click.option("--truth", type=GivenPath(path_type=Path), metavar="DIR", help="Folder of true photos.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME=DIR",
    help="Folder of a method's colorizations, or the built-in gray or random (preference and naturalness: also truth); "
    "repeat for more.",
)
@click.option(
    "--preset",
    type=click.Choice(["zhang2016", "simultaneous", "preference", "naturalness"]),
    default=None,
    help="What is asked, and with which numbers.  [default: zhang2016]",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of study.toml; repeat for more.")
@click.option("--allow-missing", is_flag=True, help="Leave out images that not all folders have.")
@click.option(
    "--extends", type=GivenPath(path_type=Path), metavar="OLD",
    help="Add methods to OLD, a closed study: its photos, question and secret; nobody takes part in both.",
)  # fmt: skip
@click.option("--extends-database", metavar="URL", help="Database of OLD, if not the file in it.")
@DATABASE
def create_command(
    study: Path,
    truth: Path | None,
    methods: tuple[str, ...],
    preset: str | None,
    settings: tuple[str, ...],
    allow_missing: bool,
    extends: Path | None,
    extends_database: str | None,
    database: str | None,
) -> None:
    """Turn folders of images into the folder STUDY: sealed stimuli, and study.toml with every option explained.

    Images are matched by name, as 'evalkit score' does. To change a study, edit study.toml and run
    'evalkit study create STUDY' again: it says what changed, and refuses once there are answers. Name the
    folders again if images changed.
    """
    from evalkit.commands._methods import parse_method_options
    from evalkit.progress import progress_bar
    from turing_test.stimuli.create import create_study
    from turing_test.study.block_list import blocks_sentence
    from turing_test.study.duration import duration_sentence
    from turing_test.study.protocol import parse_setting

    named = parse_method_options(methods)
    with progress_bar("sealing", "images") as show:
        created = create_study(
            study,
            truth,
            named or None,
            preset=preset,
            settings=dict(map(parse_setting, settings)),
            allow_missing=allow_missing,
            database_url=database,
            extends=extends,
            extends_database=extends_database,
            on_image=show,
        )
    manifest, protocol = created.study.manifest, created.study.protocol
    if created.left_out:
        click.echo(f"Left out {created.left_out} files without a counterpart (--allow-missing).", err=True)
    for note in created.notes:
        click.echo(f"Note: {note}", err=True)
    if not created.is_new:
        click.echo(
            "\n".join(["Changed:", *(f"  {line}" for line in created.changes)])
            if created.changes
            else "Nothing changed."
        )
    click.echo(
        f"{study}: {counted(len(manifest.images), 'photo')}, {counted(len(manifest.methods), 'method')} ({', '.join(manifest.methods)}); "
        f"{counted(len(manifest.stimuli), 'stimulus', 'stimuli')} of {manifest.stimulus_bytes:,} bytes each\n"
        f"{protocol.preset}: {protocol.practice_trials} practice and {counted(protocol.shown_test_trials, 'test trial')}, "
        f"{counted(protocol.sessions_per_method, 'session')} wanted per {_unit(protocol)}; "
        f"{duration_sentence(protocol)}"
    )
    if protocol.block_list:
        click.echo(blocks_sentence(protocol, manifest))
    if created.is_new:
        click.echo(
            f"\nNext: look at {study / 'study.toml'}, then\n  evalkit study audit {study}\n  evalkit study serve {study}"
        )


def _unit(protocol: Protocol) -> str:
    """What sessions are counted by."""
    if protocol.shows_several:
        shown = "set of " + counted(protocol.methods_per_trial, "method")
        with_photo = " with the real photo" if protocol.seeks_real else ""
        return f"{shown}{with_photo} (chance {100 / protocol.alternatives:.3g} %)"
    return "pair of methods" if protocol.preset == "preference" else "method"


@click.command("freeze", short_help="Stamp a study for its preregistration.")
@STUDY
def freeze_command(study: Path) -> None:
    """Write a SHA-256 over study file, consent text, stimuli and version, and refuse changes from now on."""
    from evalkit.progress import progress_bar
    from turing_test.study.freeze import FROZEN, freeze
    from turing_test.study.study_folder import read_study

    with progress_bar("checking", "stimuli") as show:
        stamp = freeze(read_study(study), show)
    click.echo(f"{stamp.sha256}\n{study / FROZEN}: frozen at {stamp.frozen_at} with evalkit {stamp.evalkit}")


@click.command("texts", short_help="The words of the participant's page, to translate or replace.")
@click.argument("study", type=GivenPath(path_type=Path), required=False)
@click.option("--language", default="en", show_default=True, metavar="CODE", help="Which language.")
def texts_command(study: Path | None, language: str) -> None:
    """Print all texts of the page in one language; with a STUDY, as that study shows them, after checking its own.

    To replace some of them, write those into texts/LANGUAGE.toml in the study folder. For a language of your own, put all of
    them there, translated, and set language in study.toml.
    """
    from turing_test.study.texts import format_texts, read_texts

    click.echo(format_texts(read_texts(language, study)), nl=False)


@click.command("audit", short_help="Visual confounds of every pair.")
@STUDY
@click.option("--out", type=OutputFile("audit.csv"), default=None, metavar="FILE", help="CSV file with a row per pair.")
def audit_command(study: Path, out: Path | None) -> None:
    """Report what gives the fake away besides its colours.

    Looks at every pair of truth and method as participants see it: changed L, JPEG blocks in one of the two
    alone, a truth without colour, identical images, files of different size. Mean chroma is reported, not judged.
    """
    from dataclasses import asdict, fields
    from statistics import fmean

    from rich.table import Table

    from evalkit.files import write_atomically
    from evalkit.progress import progress_bar
    from evalkit.text_formats import csv_text
    from evalkit.wording import counted, some_names
    from turing_test.stimuli.audit import FINDINGS, PairAudit, audit_study, source_pairs
    from turing_test.study.study_folder import read_study

    audited = read_study(study)
    with progress_bar("auditing", "pairs") as show:
        pairs = list(audit_study(audited, show))
    if out is not None:
        rows = ({**asdict(pair), "findings": " ".join(pair.findings)} for pair in pairs)
        write_atomically(out, csv_text(rows, [field.name for field in fields(PairAudit)]))
    table = Table("method", "pairs", "with findings", "mean |dL|", "chroma", "of the truth", box=None, pad_edge=False)
    for method in dict.fromkeys(pair.method for pair in pairs):
        of_method = [pair for pair in pairs if pair.method == method]
        table.add_row(
            method,
            str(len(of_method)),
            str(sum(bool(pair.findings) for pair in of_method)),
            f"{fmean(pair.lightness_change for pair in of_method):.2f}",
            f"{fmean(pair.chroma_method for pair in of_method):.1f}",
            f"{fmean(pair.chroma_truth for pair in of_method):.1f}",
        )
    console = table_console()
    console.print(table)
    for finding, meaning in FINDINGS.items():
        confounded = [pair for pair in pairs if finding in pair.findings]
        if confounded:
            names = some_names(f"{pair.image} ({pair.method})" for pair in confounded)
            click.echo(f"\n{finding}: {counted(len(confounded), 'pair')}; {meaning}\n  {names}")
    if not any(pair.findings for pair in pairs):
        click.echo("\nNo confounds found.")
    if source_pairs(audited) is None:
        click.echo("\nSizes of files were not compared: the folders that the study was built from are not here.")


@click.command("doctor", short_help="Check that a study is fit to be run.")
@STUDY
@DATABASE
@click.option("--url", default=None, metavar="URL", help="Where the study is served.  [default: its public_url]")
@click.option("--mend", is_flag=True, help="Where the database's counters differ from a full count, count anew.")
@click.pass_context
def doctor_command(ctx: click.Context, study: Path, database: str | None, url: str | None, mend: bool) -> None:
    """Check files, consent, secret, disk, database, and, where the study is served, HTTPS, headers and clock.

    The database's counters of places, exposures and finished sessions are compared with a full count of all sessions and
    trials; every difference is named. They differ only where somebody changed the database by hand or a disk damaged it, and
    --mend counts anew, also while the study is served. No answer is touched.

    Exit status 2 when something is wrong.
    """
    from evalkit.progress import progress_bar
    from turing_test.server.doctor import examine

    with progress_bar("checking", "stimuli") as show:
        checks = list(examine(study, database, url, show, mend=mend))
    marks = {True: "ok", False: "BAD", None: "-"}
    for check in checks:
        click.echo(f"{marks[check.ok]:>3}  {check.name:<9} {check.finding}")
    if any(check.ok is False for check in checks):
        ctx.exit(2)
