"""The command ``evalkit report``: the table, the figures and one HTML file that holds everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analysis.commands._trial_options import analyze_with_options, read_with_options, study_options, trial_options

__all__ = ["report_command"]


@click.command("report", short_help="Table, figures and galleries as one HTML file, LaTeX, Markdown, CSV.")
@click.option("--scores", type=click.Path(path_type=Path), metavar="DIR", help="Results of `evalkit score`.")
@click.option(
    "--trials", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="Trial table or study folder; may be repeated, several become one table.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the report.")
@click.option("--published", type=click.Choice(["zhang2016"]), help="Put the rows of this paper beside one's own.")
@click.option("--baseline", metavar="METHOD", help="Show differences to this method.")
@study_options
@trial_options
@click.option("--truth", type=click.Path(path_type=Path), metavar="DIR", help="Photos, for the galleries.")
@click.option("--method", "methods", multiple=True, metavar="NAME=DIR", help="Colorizations, for the galleries.")
@click.option("--title", default="Colorization: scores and human judgement", show_default=True, help="Heading.")
def report_command(
    scores: Path | None,
    trials: tuple[Path, ...],
    out: Path,
    published: str | None,
    baseline: str | None,
    estimand: Any,
    exclude: Path | None,
    equivalence_margin: float,
    confidence: float,
    truth: Path | None,
    methods: tuple[str, ...],
    title: str,
    **reading: Any,
) -> None:
    """Write the report of scores, of a human test, or of both.

    report.html holds everything and needs no network; table.tex is a booktabs table; figures are PDF and SVG.
    """
    from analysis.commands._needs import need
    from evalkit.release import release

    need("scipy", "matplotlib", "jinja2")
    from analysis.report.content import ReportInput
    from analysis.report.document import write_report
    from analysis.report.galleries import ImageFolders
    from evalkit.errors import InputError
    from evalkit.scoring.score_folder import read_score_folder

    score_folder = read_score_folder(scores) if scores else None
    if score_folder and baseline and not trials and baseline not in score_folder.methods:
        raise InputError(f"--baseline {baseline!r} is not in {scores}; it has {', '.join(score_folder.methods)}.")
    study = None
    if trials:
        table = read_with_options(trials, **reading)
        # A baseline of the scores alone (gray, say) leaves the people's comparisons to all pairs.
        of_scores_alone = (
            score_folder is not None and baseline in score_folder.methods and baseline not in table.methods
        )
        study = analyze_with_options(
            table,
            baseline=None if of_scores_alone else baseline,
            estimand=estimand,
            exclude=exclude,
            equivalence_margin=equivalence_margin,
            confidence=confidence,
        )
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
        published=published or "",
        baseline=baseline or "",
        folders=folders,
        title=title,
        version=release(),
    )
    written = write_report(content, out)
    click.echo(f"Wrote {written[0]} and {len(written) - 1} files beside it: table.csv, .md, .tex, .html, figures/.")
