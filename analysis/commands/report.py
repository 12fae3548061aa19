"""The command ``evalkit report``: the table, the figures and one HTML file that holds everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analysis.commands._studies import fresh_trial_file
from analysis.commands._trial_options import read_with_options, trial_options

__all__ = ["report"]


@click.command(short_help="Table, figures and galleries as one HTML file, LaTeX, Markdown, CSV.")
@click.option("--scores", type=click.Path(path_type=Path), metavar="DIR", help="Results of `evalkit score`.")
@click.option("--trials", type=click.Path(path_type=Path), metavar="FILE", help="Trial table or study folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the report.")
@click.option("--published", type=click.Choice(["zhang2016"]), help="Put the rows of this paper beside one's own.")
@click.option("--baseline", metavar="METHOD", help="Show differences to this method.")
@click.option(
    "--estimand",
    type=click.Choice(["participants+images", "participants"]),
    default="participants+images",
    show_default=True,
    help="What intervals generalise to.",
)
@click.option("--exclude", type=click.Path(path_type=Path), metavar="RULES.toml", help="Declared exclusions.")
@click.option(
    "--equivalence-margin",
    type=click.FloatRange(0, 50, min_open=True),
    default=5.0,
    show_default=True,
    help="Percentage points around 50 that count as equal.",
)
@trial_options
@click.option("--truth", type=click.Path(path_type=Path), metavar="DIR", help="Photos, for the galleries.")
@click.option("--method", "methods", multiple=True, metavar="NAME=DIR", help="Colorizations, for the galleries.")
@click.option("--title", default="Colorization: scores and human judgement", show_default=True, help="Heading.")
def report(
    scores: Path | None,
    trials: Path | None,
    out: Path,
    published: str | None,
    baseline: str | None,
    estimand: Any,
    exclude: Path | None,
    equivalence_margin: float,
    truth: Path | None,
    methods: tuple[str, ...],
    title: str,
    **reading: Any,
) -> None:
    """Write the report of scores, of a human test, or of both.

    report.html holds everything and needs no network; table.tex is a booktabs table; figures are PDF and SVG.
    """
    from importlib.metadata import version

    from analysis.commands._needs import need

    need("scipy", "matplotlib", "jinja2")
    from analysis.report.document import ReportInput, write_report
    from analysis.report.galleries import ImageFolders
    from analysis.report.score_folder import read_score_folder
    from analysis.study.analysis import AnalysisOptions, analyze_study
    from analysis.trials.exclusions import read_exclusions
    from evalkit.errors import InputError

    score_folder = read_score_folder(scores) if scores else None
    if score_folder and baseline and trials is None and baseline not in score_folder.methods:
        raise InputError(f"--baseline {baseline!r} is not in {scores}; it has {', '.join(score_folder.methods)}.")
    study = None
    if trials is not None:
        trials = fresh_trial_file(trials)
        table = read_with_options(trials, **reading)
        # A baseline of the scores alone (gray, say) leaves the people's comparisons to all pairs.
        known = baseline in table.methods or score_folder is None or baseline not in score_folder.methods
        options = AnalysisOptions(
            baseline=baseline if known else None, estimand=estimand, equivalence_margin=equivalence_margin / 100
        )
        study = analyze_study(table, read_exclusions(exclude) if exclude else (), options)
    for entry in methods:
        if "=" not in entry:
            raise InputError(f"--method {entry!r} has no '='; --method NAME=DIR is allowed.")
    if (truth is None) != (not methods):
        raise InputError("Galleries need both --truth DIR and --method NAME=DIR.")
    folders = None
    if truth is not None:
        named = {entry.partition("=")[0]: Path(entry.partition("=")[2]) for entry in methods}
        folders = ImageFolders(truth, named)
    content = ReportInput(
        scores=score_folder,
        study=study,
        trial_file=trials,
        published=published or "",
        baseline=baseline or "",
        folders=folders,
        title=title,
        version=version("colorization-evalkit"),
    )
    written = write_report(content, out)
    click.echo(f"Wrote {written[0]} and {len(written) - 1} files beside it: table.csv, .md, .tex, .html, figures/.")
