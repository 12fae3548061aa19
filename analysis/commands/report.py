"""The command ``evalkit report``: the table, the figures and one HTML file that holds everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analysis.commands._report_options import read_report_input, report_options
from evalkit.commands._shared import GivenPath
from evalkit.wording import counted

__all__ = ["report_command"]


@click.command("report", short_help="Table, figures and galleries as one HTML file, LaTeX, Markdown, CSV.")
@click.option("--out", type=GivenPath(path_type=Path), required=True, metavar="DIR", help="Folder for the report.")
@click.option("--published", type=click.Choice(["zhang2016"]), help="Put the rows of this paper beside one's own.")
@click.option("--latex", type=click.Choice(["plain", "siunitx"]), default="plain", show_default=True,
              help="Columns of table.tex: plain text, or S columns of the package siunitx.")  # fmt: skip
@report_options
@click.option("--title", default="Colorization: scores and human judgement", show_default=True, help="Heading.")
def report_command(out: Path, published: str | None, latex: Any, title: str, **options: Any) -> None:
    """Write the report of scores, of a human test, or of both.

    report.html holds everything and needs no network; table.tex is a booktabs table with its notes, methods.tex says
    how the numbers were made and cites references.bib; figures are PDF and SVG. With
    pictures, figures/gallery.pdf and .png show the chosen images by every method. Photos without truth, coloured by
    several methods, have a page of pictures alone:

    \b
    evalkit report --input scans --method a=by-a --method b=by-b --out pictures
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from dataclasses import replace

    from analysis.commands._needs import need

    need("scipy", "matplotlib", "jinja2")
    from analysis.report.document import write_report

    content = replace(read_report_input(**options), published=published or "", latex=latex, title=title)
    written = write_report(content, out)
    names = sorted({path.name for path in written if path.name.startswith("table.")})
    beside = ", ".join([*names, *(["figures/"] if any(path.parent.name == "figures" for path in written) else [])])
    click.echo(
        f"Wrote {written[0]} and {counted(len(written) - 1, 'file')} beside it{': ' + beside if beside else ''}."
    )
    for problem in content.folders.problems.values() if content.folders else ():
        click.echo(f"Not shown: {problem}", err=True)
