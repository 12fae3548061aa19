"""The report: table, figures, galleries and a methods paragraph in one HTML file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records import replace_results
from analysis.report.bibliography import references_bib
from analysis.report.content import ReportInput, provenance
from analysis.report.figures import figure_bytes
from analysis.report.methods_text import methods_latex
from analysis.report.page import DrawnFigure, page_html
from analysis.report.report_figures import FIGURES, GALLERY, drawn, report_figures
from analysis.study.columns import OUTPUT_COLUMNS, REPORT_TABLES
from evalkit.errors import InputError
from evalkit.text_formats import csv_text, json_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_report"]


TABLE_FILES = ("table.csv", "table.md", "table.tex", "table.html")
"""Forms of the main table."""


def write_report(content: ReportInput, out: Path) -> list[Path]:
    """Write ``report.html``, its tables, texts and figures as files of their own, and ``report.json`` last.

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
    if content.scores is None and content.study is None and content.folders is None:
        raise InputError("A report needs scores (--scores DIR), trials (--trials FILE), or both.")
    on_page = [DrawnFigure(entry) for entry in report_figures(content)]
    files: dict[str, str | bytes] = {"report.html": page_html(content, on_page)}
    if content.table.columns:
        files |= _table_files(content)
        files["methods.tex"] = methods_latex(content)
        files["references.bib"] = references_bib(content)
    tables = (
        [entry.row() for entry in content.differences],
        [entry.row() for entry in content.agreement],
        [entry.row() for entry in content.by_category],
    )
    for name, rows in zip(REPORT_TABLES, tables, strict=True):
        if rows:
            files[name] = csv_text(rows, list(OUTPUT_COLUMNS[name]))
    for entry in on_page:
        files |= {f"figures/{entry.name}.pdf": entry.pdf, f"figures/{entry.name}.svg": entry.svg}
    if GALLERY.applies(content):
        gallery = drawn(GALLERY, content).figure
        files |= {f"figures/gallery.{kind}": figure_bytes(gallery, kind) for kind in ("pdf", "png")}
    files["report.json"] = json_text({"command": "report", **provenance(content), "files": list(files)})
    may_hold = {
        *REPORT_TABLES,
        *TABLE_FILES,
        "methods.tex",
        "references.bib",
        "figures/gallery.pdf",
        "figures/gallery.png",
    } | {f"figures/{figure.name}.{kind}" for figure in FIGURES for kind in ("pdf", "svg")}
    return replace_results(out, files, record="report.json", command="report", may_hold=may_hold)


def _table_files(content: ReportInput) -> dict[str, str]:
    table = content.table
    forms = (table.to_csv(), table.to_markdown(), table.to_latex(content.latex), table.to_html())
    return dict(zip(TABLE_FILES, forms, strict=True))
