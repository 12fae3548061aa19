"""The report: table, figures, galleries and a methods paragraph in one HTML file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records import replace_results
from analysis.report.content import ReportInput, provenance
from analysis.report.page import DrawnFigure, page_html
from analysis.report.report_figures import FIGURES, report_figures
from analysis.study.columns import OUTPUT_COLUMNS, REPORT_TABLES
from evalkit.errors import InputError
from evalkit.text_formats import csv_text, json_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_report"]


def write_report(content: ReportInput, out: Path) -> list[Path]:
    """Write ``report.html``, ``table.*``, tables of comparisons, ``figures/*.pdf`` and ``*.svg``, and ``report.json`` last.

    Parameters
    ----------
    content : ReportInput
        Scores, a study, or both.
    out : Path
        Folder, made when absent; the files of an earlier report are replaced, all of them or none.

    Returns
    -------
    list of Path
        Files written, the HTML file first.

    Raises
    ------
    InputError
        When there are neither scores nor a study, or the published table is not known.
    """
    if content.scores is None and content.study is None:
        raise InputError("A report needs scores (--scores DIR), trials (--trials FILE), or both.")
    drawn = [DrawnFigure(entry) for entry in report_figures(content)]
    files: dict[str, str | bytes] = {
        "report.html": page_html(content, drawn),
        "table.csv": content.table.to_csv(),
        "table.md": content.table.to_markdown(),
        "table.tex": content.table.to_latex(),
        "table.html": content.table.to_html(),
    }
    tables = ([entry.row() for entry in content.differences], [entry.row() for entry in content.agreement])
    for name, rows in zip(REPORT_TABLES, tables, strict=True):
        if rows:
            files[name] = csv_text(rows, list(OUTPUT_COLUMNS[name]))
    for entry in drawn:
        files |= {f"figures/{entry.name}.pdf": entry.pdf, f"figures/{entry.name}.svg": entry.svg}
    files["report.json"] = json_text({"command": "report", **provenance(content), "files": list(files)})
    may_hold = {*REPORT_TABLES} | {f"figures/{figure.name}.{kind}" for figure in FIGURES for kind in ("pdf", "svg")}
    return replace_results(out, files, record="report.json", command="report", may_hold=may_hold)
