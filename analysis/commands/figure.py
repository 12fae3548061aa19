"""The command ``evalkit figure``: one figure of the report, at print size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analysis.commands._report_options import read_report_input, report_options
from evalkit.commands._shared import OutputFile
from evalkit.wording import counted

__all__ = ["figure_command"]

NAMES = (
    "gallery", "curves", "preference_scale", "forest", "variance_components", "vigilance", "fatigue", "side_bias",
    "answer_times", "metric_scatter", "categories",
)  # fmt: skip
"""As `analysis.report.report_figures` declares them, which is loaded only when a figure is drawn."""
KINDS = ("pdf", "png", "svg")


@click.command("figure", short_help="One figure of the report at print size: a gallery, curves, a forest plot, ...")
@click.argument("name", metavar="NAME", type=click.Choice(NAMES))
@click.option(
    "--out",
    type=OutputFile("figure.pdf", makes_folder=True),
    required=True,
    metavar="FILE",
    help="A .pdf, .png or .svg file.",
)
@report_options
@click.option("--width", type=click.FloatRange(1, 40), metavar="INCHES",
              help="Of a gallery; by default 6.9, a page. Other figures have the width of a column, 3.25.")  # fmt: skip
@click.option("--dpi", type=click.IntRange(50, 1200), default=300, show_default=True, help="Dots per inch of PNG.")
def figure_command(name: str, out: Path, width: float | None, dpi: int, **options: Any) -> None:
    """Draw one figure of the report, for a paper.

    NAME is gallery, curves, preference_scale, forest, variance_components, vigilance, fatigue, side_bias, answer_times,
    metric_scatter or categories; each needs what it shows (--scores, --trials, or --truth and --method).

    \b
    evalkit figure gallery --truth truth --method full=full --method l2=l2 --images church,boat --out figure1.pdf
    evalkit figure gallery --truth truth --method full=full --method l2=l2 --rule disagreement --out figure2.png
    evalkit figure forest --trials trials.csv --order full,l2 --out figure3.pdf
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from analysis.commands._needs import need
    from evalkit.errors import InputError

    kind = out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise InputError(f"--out {out}: a figure ends in .pdf, .png or .svg.")
    if width is not None and name != "gallery":
        raise InputError(f"--width is of a gallery; {name} is drawn for one column.")
    need("scipy", "matplotlib")
    from analysis.report.figures import PAGE_WIDTH, figure_bytes
    from analysis.report.galleries import choose_images
    from analysis.report.gallery_figure import gallery_figure
    from analysis.report.report_figures import FIGURES, drawn
    from evalkit.files import write_atomically

    content = read_report_input(**options)
    if name == "gallery":
        if content.folders is None:
            raise InputError("A gallery needs --truth DIR (or --input DIR) and --method NAME=DIR.")
        rows = content.headline.tables["per_image"] if content.headline else []
        images = choose_images(content.folders, content.images, rows)
        figure = gallery_figure(content.folders, images, width=width or PAGE_WIDTH)
        caption = f"{counted(len(images), 'image')}: {', '.join(images)}"
    else:
        section = next(section for section in FIGURES if section.name == name)
        if not section.applies(content):
            raise InputError(f"There is nothing to draw in {name}: {_needed(name)}.")
        entry = drawn(section, content)
        figure, caption = entry.figure, entry.caption
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, figure_bytes(figure, kind, dpi=dpi))
    click.echo(f"Wrote {out}. {caption}")
    for problem in content.folders.problems.values() if content.folders else ():
        click.echo(f"Not shown: {problem}", err=True)


def _needed(name: str) -> str:
    """What a figure shows, for somebody who did not give it."""
    return {
        "curves": "it needs --scores of a run with ab_auc",
        "preference_scale": "it needs --trials of a preference study whose methods all won and lost",
        "forest": "it needs --trials in which methods were judged (no preference study)",
        "variance_components": "it needs --trials in which methods were judged (no preference study)",
        "vigilance": "it needs --trials with vigilance trials",
        "fatigue": "it needs --trials with the number of each trial (column trial) and yes-or-no answers",
        "side_bias": "it needs --trials that say which side was chosen",
        "answer_times": "it needs --trials with answer times (column response_ms)",
        "categories": "it needs --groups, and --scores or --trials",
        "metric_scatter": "it needs --scores and --trials that share methods and images",
    }[name]
