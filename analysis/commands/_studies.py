"""The answers of a study folder, exported before they are read; the floor above is found by its entry point."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["fresh_trial_file"]


def fresh_trial_file(path: Path) -> Path:
    """`path` itself, or, for the folder of a study, the trial table that it exports now into ``export/``.

    Raises
    ------
    InputError
        When the path is a study folder and the package that serves studies does not install.
    """
    if not (path / "study.toml").is_file():
        return path
    from importlib.metadata import entry_points

    from evalkit.errors import InputError

    found = list(entry_points(group="evalkit.commands", name="study"))
    if not found:
        raise InputError(f"{path} is a study folder, and the command 'evalkit study' that exports it is not installed.")
    group = found[0].load()
    export = group.get_command(click.Context(group), "export")
    export.main([str(path), "--out", str(path / "export")], prog_name="evalkit study export", standalone_mode=False)
    return path / "export" / "trials.csv"
