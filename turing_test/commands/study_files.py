"""`evalkit study create`, `audit`, `freeze` and `doctor`: what works on the files of a study."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["create", "freeze"]

STUDY = click.argument("study", type=click.Path(path_type=Path), metavar="STUDY")


@click.command(short_help="Folders of images to a study.")
@STUDY
@click.option("--truth", type=click.Path(path_type=Path), metavar="DIR", help="Folder of true photos.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME=DIR",
    help="Folder of a method's colorizations, or the built-in gray or random; repeat for more.",
)
@click.option(
    "--preset",
    type=click.Choice(["zhang2016", "simultaneous", "preference", "naturalness"]),
    default=None,
    help="What is asked, and with which numbers.  [default: zhang2016]",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of study.toml; repeat for more.")
@click.option("--allow-missing", is_flag=True, help="Leave out images that not all folders have.")
def create(
    study: Path,
    truth: Path | None,
    methods: tuple[str, ...],
    preset: str | None,
    settings: tuple[str, ...],
    allow_missing: bool,
) -> None:
    """Turn folders of images into the folder STUDY: sealed stimuli, and study.toml with every option explained.

    Images are matched by name, as 'evalkit score' does. To change a study, edit study.toml and run
    'evalkit study create STUDY' again: it says what changed, and refuses once there are answers. Name the
    folders again if images changed.
    """
    from evalkit.commands._shared import progress_bar
    from evalkit.errors import InputError
    from evalkit.image_pairs import parse_method_option
    from turing_test.create import create_study
    from turing_test.protocol import parse_setting

    named: dict[str, Path | None] = {}
    for text in methods:
        name, folder = parse_method_option(text)
        if name in named:
            raise InputError(f"--method {text}: the name '{name}' is given twice.")
        named[name] = folder
    with progress_bar("sealing", "images") as show:
        created = create_study(
            study,
            truth,
            named or None,
            preset=preset,
            settings=dict(map(parse_setting, settings)),
            allow_missing=allow_missing,
            on_image=show,
        )
    manifest, protocol = created.study.manifest, created.study.protocol
    if created.left_out:
        click.echo(f"Left out {created.left_out} files without a counterpart (--allow-missing).", err=True)
    if not created.is_new:
        click.echo(
            "\n".join(["Changed:", *(f"  {line}" for line in created.changes)])
            if created.changes
            else "Nothing changed."
        )
    click.echo(
        f"{study}: {len(manifest.images)} photos, {len(manifest.methods)} methods ({', '.join(manifest.methods)}); "
        f"{len(manifest.stimuli)} stimuli of {manifest.stimulus_bytes:,} bytes each\n"
        f"{protocol.preset}: {protocol.practice_trials} practice and {protocol.shown_test_trials} test trials, "
        f"{protocol.sessions_per_method} sessions wanted per {'pair of methods' if protocol.preset == 'preference' else 'method'}"
    )
    if created.is_new:
        click.echo(
            f"\nNext: look at {study / 'study.toml'}, then\n  evalkit study audit {study}\n  evalkit study serve {study}"
        )


@click.command(short_help="Stamp a study for its preregistration.")
@STUDY
def freeze(study: Path) -> None:
    """Write a SHA-256 over study file, consent text, stimuli and version, and refuse changes from now on."""
    from evalkit.commands._shared import progress_bar
    from turing_test.freeze import FROZEN
    from turing_test.freeze import freeze as freeze_study
    from turing_test.study_folder import read_study

    with progress_bar("checking", "stimuli") as show:
        stamp = freeze_study(read_study(study), show)
    click.echo(f"{stamp.sha256}\n{study / FROZEN}: frozen at {stamp.frozen_at} with evalkit {stamp.evalkit}")
