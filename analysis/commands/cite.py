"""The command ``evalkit cite``: what to cite for the numbers of a run, and their signatures in short."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._shared import GivenPath, OutputFile

__all__ = ["cite_command"]


@click.command("cite", short_help="BibTeX of the project and of every metric of a run; short signatures.")
@click.argument("run", type=GivenPath(path_type=Path), metavar="RUN")
@click.option(
    "--out",
    type=OutputFile("references.bib"),
    metavar="FILE",
    help="Write the BibTeX into a file, such as references.bib.",
)
@click.option("--quiet", "-q", is_flag=True, help="Leave out the signatures.")
def cite_command(run: Path, out: Path | None, quiet: bool) -> None:
    """Print the BibTeX entries of the project and of every metric in a run, each once.

    RUN is the --out folder of 'evalkit score'. Short signatures follow on standard error, to put beneath a table: which
    images, and whatever was not left at its default. Those of metrics that agree are one.

    \b
    evalkit cite scores > references.bib
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from analysis.report.bibliography import references_bib
    from analysis.report.content import ReportInput
    from evalkit.files import write_atomically
    from evalkit.release import release
    from evalkit.scoring.score_folder import read_score_folder
    from evalkit.scoring.signature import short_signatures

    scores = read_score_folder(run)
    entries = references_bib(ReportInput(scores=scores, version=release()))
    if out is None:
        click.echo(entries, nl=False)
    else:
        write_atomically(out, entries)
        click.echo(f"Wrote {out}.")
    if not quiet:
        for signature in short_signatures(number.signature for number in scores.summary.values()):
            click.echo(signature, err=True)
