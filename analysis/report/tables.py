"""The paper's table with intervals: one frame, four renderers (CSV, Markdown, LaTeX, HTML)."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.records import Row
from analysis.report.cells import Cell, ReportColumn, mark_of, p_text, sentence, with_minus
from analysis.report.latex import (
    LATEX_PACKAGES,
    LatexColumns,
    is_number,
    latex_number,
    paragraphs,
    s_column,
    s_number,
)
from analysis.report.preference import fill_preference_cells
from analysis.report.published_rows import PublishedRow
from analysis.statistics.comparison import Difference
from analysis.statistics.fool_rate import CrossedMean
from analysis.statistics.sensitivity import dprime
from analysis.study.analysis import SubsetAnalysis
from analysis.trials.columns import TRUTH
from evalkit.metrics import load_metric
from evalkit.scoring.score_folder import ScoreFolder, ScoreSummary
from evalkit.text_formats import csv_text, escape_latex

__all__ = ["ReportRow", "ReportTable", "build_table", "metric_column", "ordered", "rate_column"]

PAPER_METRICS = ("ab_auc", "ab_auc_rebal", "vgg16_top1")
"""Columns of Zhang et al., first in the table and in this order."""
MAXIMUM_COLUMNS = 8
"""Wider tables are cut in sections for paper and screen."""
_MAIN_COLUMNS = ("family", *PAPER_METRICS, "fooled", "interval", "difference", "p_holm")


@dataclass(frozen=True)
class ReportRow:
    """One method.

    Attributes
    ----------
    method : str
        Name.
    cells : mapping of str to Cell
        By column key; absent where there is nothing.
    published : bool
        Whether the row is copied from a paper.
    notes : tuple of str
        Cautions that concern every number of the row.
    """

    method: str
    cells: Mapping[str, Cell]
    published: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """The table of the report.

    Attributes
    ----------
    columns : tuple of ReportColumn
        After the method.
    rows : tuple of ReportRow
        One's own first, then published ones.
    caption : str
        What the numbers are.
    notes : tuple of str
        Cautions that concern all rows.
    cautions : tuple of str
        Those of rows and cells, each once, in the order of their letters; sections of one table share them.
    """

    columns: tuple[ReportColumn, ...]
    rows: tuple[ReportRow, ...]
    caption: str
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    def records(self) -> list[Row]:
        """Rows with full precision: value, standard error and limits in columns of their own."""
        records = []
        for row in self.rows:
            record: Row = {"method": row.method, "published": row.published}
            for column in self.columns:
                cell = row.cells.get(column.key, Cell())
                if all(math.isnan(self._cell(other, column).value) for other in self.rows):
                    record[column.key] = cell.text
                    continue
                record[column.key] = cell.value
                if any(self._cell(other, column).n_images for other in self.rows):
                    record[f"{column.key}_n_images"] = cell.n_images or math.nan
                for part in ("std_error", "ci_low", "ci_high"):
                    if any(not math.isnan(getattr(self._cell(other, column), part)) for other in self.rows):
                        record[f"{column.key}_{part}"] = getattr(cell, part)
            of_cells = [f"{column.title}: {note}" for column in self.columns for note in self._cell(row, column).notes]
            record["cautions"] = "; ".join([*row.notes, *of_cells, *(() if row.published else self.notes)])
            records.append(record)
        return records

    def marks_of(self, method: str) -> str:
        """Letters of the cautions that concern every number of a method, "" without any."""
        return self._marks(next((row.notes for row in self.rows if row.method == method and not row.published), ()))

    def _marks(self, notes: Sequence[str]) -> str:
        """Letters of some cautions, "a,c"."""
        return ",".join(mark_of(number) for number in sorted({self.cautions.index(note) for note in notes}))

    def _footnotes(self) -> list[tuple[str, str]]:
        """Letter and text of the cautions of what this table (or section) shows."""
        own = {note for row in self.rows for note in row.notes}
        own |= {note for row in self.rows for column in self.columns for note in self._cell(row, column).notes}
        return [(mark_of(number), note) for number, note in enumerate(self.cautions) if note in own]

    @staticmethod
    def _cell(row: ReportRow, column: ReportColumn) -> Cell:
        return row.cells.get(column.key, Cell())

    def to_csv(self) -> str:
        """Full precision."""
        return csv_text(self.records())

    def to_markdown(self) -> str:
        """A pipe table with its caption and its cautions."""

        def raised(notes: Sequence[str]) -> str:
            return f"<sup>{self._marks(notes)}</sup>" if notes else ""

        head = ["method", *(column.title for column in self.columns)]
        lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(self.columns)]
        for row in self.rows:
            name = _escape_markdown(row.method) + (" (published)" if row.published else "") + raised(row.notes)
            cells = [
                _shown(cell, column, "±") + raised(cell.notes)
                for column in self.columns
                for cell in [self._cell(row, column)]
            ]
            lines.append("| " + " | ".join([name, *cells]) + " |")
        notes = [f"<sup>{letter}</sup> {_escape_markdown(sentence(note))}" for letter, note in self._footnotes()]
        notes += [_escape_markdown(sentence(note)) for note in self.notes]
        return "\n\n".join(["\n".join(lines), self.caption, *notes]) + "\n"

    def sections(self) -> tuple[ReportTable, ...]:
        """Tables that fit a page: the paper's columns first, then other metrics and details; one when it is narrow."""
        if len(self.columns) <= MAXIMUM_COLUMNS:
            return (self,)
        main = [column for column in self.columns if column.key in _MAIN_COLUMNS]
        rest = [column for column in self.columns if column.key not in _MAIN_COLUMNS]
        own = tuple(row for row in self.rows if not row.published)
        chunks = [rest[k : k + MAXIMUM_COLUMNS] for k in range(0, len(rest), MAXIMUM_COLUMNS)]
        further = replace(self, rows=own, caption="Further columns of the same table.", notes=())
        return (replace(self, columns=tuple(main)), *(replace(further, columns=tuple(chunk)) for chunk in chunks))

    def to_latex(self, columns: LatexColumns = "plain") -> str:
        r"""Booktabs tables, one a section, with their notes below.

        Parameters
        ----------
        columns : {"plain", "siunitx"}
            Numbers as right-aligned texts (``\usepackage{booktabs}`` is all they need), or in S columns, which siunitx
            aligns at the decimal point, with the standard error as it writes uncertainties.
        """
        needs = "".join(rf"\usepackage{{{package}}}" for package in LATEX_PACKAGES[columns])
        sections = (
            section._latex(f"tab:colorization{'' if number == 0 else number + 1}", columns)
            for number, section in enumerate(self.sections())
        )
        return "\n".join([f"% In the preamble: {needs}", *sections])

    def _latex(self, label: str, layout: LatexColumns) -> str:
        def raised(notes: Sequence[str]) -> str:
            return f"$^{{{self._marks(notes)}}}$" if notes else ""

        in_column = {column.key: [self._cell(row, column) for row in self.rows] for column in self.columns}
        aligned = {
            column.key
            for column in self.columns
            if layout == "siunitx" and any(is_number(cell) for cell in in_column[column.key])
        }
        specification = "".join(
            s_column(in_column[column.key], column, [self._marks(cell.notes) for cell in in_column[column.key]])
            if column.key in aligned
            else "r"
            for column in self.columns
        )

        def entry(cell: Cell, column: ReportColumn) -> str:
            text = latex_number(_shown(cell, column, "±")) + raised(cell.notes)
            if column.key not in aligned:
                return text
            if is_number(cell):
                return s_number(cell, column) + (f"{{{raised(cell.notes)}}}" if cell.notes else "")
            return f"{{{text}}}" if text else ""

        titles = [
            f"{{{escape_latex(column.title)}}}" if column.key in aligned else escape_latex(column.title)
            for column in self.columns
        ]
        lines = [
            r"\begin{table}",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            *([r"\sisetup{separate-uncertainty=true}"] if aligned else []),
            rf"\begin{{tabular}}{{l{specification}}}",
            r"\toprule",
            " & ".join(["Method", *titles]) + r" \\",
            r"\midrule",
        ]
        for number, row in enumerate(self.rows):
            if row.published and number and not self.rows[number - 1].published:
                lines.append(r"\midrule")
            name = escape_latex(row.method) + (r"$^\dagger$" if row.published else "") + raised(row.notes)
            lines.append(
                " & ".join([name, *(entry(self._cell(row, column), column) for column in self.columns)]) + r" \\"
            )
        dagger = r" $^\dagger$ As published." if any(row.published for row in self.rows) else ""
        footnotes = [f"$^{{{letter}}}$ {escape_latex(sentence(note))}" for letter, note in self._footnotes()]
        footnotes += [escape_latex(sentence(note)) for note in self.notes]
        below = [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\footnotesize",
            *paragraphs(footnotes),
            r"\end{minipage}",
        ]
        lines += [
            r"\bottomrule",
            r"\end{tabular}",
            *(below if footnotes else ()),
            rf"\caption{{{escape_latex(self.caption)}{dagger}}}",
            rf"\label{{{label}}}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def to_html(self, *, whole: bool = False, label: str = "Results") -> str:
        """Table elements, one a section, each in a box that scrolls when the page is narrow, with its caption below.

        A caution that stands below one section is not said again below the next.

        Parameters
        ----------
        whole : bool
            One section, however wide, so that sorting moves whole rows.
        label : str
            Name of the boxes.
        """
        said: set[str] = set()
        parts = []
        for section in (self,) if whole else self.sections():
            footnotes = [(letter, note) for letter, note in section._footnotes() if note not in said]
            parts.append(section._html(footnotes, label))
            said |= {note for _, note in footnotes}
        return "\n".join(parts)

    def _html(self, footnotes: Sequence[tuple[str, str]], label: str) -> str:
        def raised(notes: Sequence[str]) -> str:
            return f"<sup>{self._marks(notes)}</sup>" if notes else ""

        head = "".join(
            f'<th scope="col" class="number">{html.escape(_together(column.title))}</th>' for column in self.columns
        )
        box = f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}">'
        lines = [f'{box}<table class="results">']
        lines.append(f'<thead><tr><th scope="col">method</th>{head}</tr></thead><tbody>')
        for row in self.rows:
            mark = ' <span class="published">published</span>' if row.published else ""
            cells = "".join(
                f'<td class="number">{with_minus(html.escape(_shown(cell, column, "±"))) or "–"}{raised(cell.notes)}</td>'
                for column in self.columns
                for cell in [self._cell(row, column)]
            )
            kind = ' class="published-row"' if row.published else ""
            name = f'<th scope="row">{html.escape(row.method)}{mark}{raised(row.notes)}</th>'
            lines.append(f"<tr{kind}>{name}{cells}</tr>")
        notes = [f"<sup>{letter}</sup> {html.escape(sentence(note))}" for letter, note in footnotes]
        notes += [html.escape(sentence(note)) for note in self.notes]
        below = [f'<p class="soft">{text}</p>' for text in (html.escape(self.caption), *notes)]
        return "\n".join([*lines, "</tbody></table></div>", *below])


def build_table(
    scores: ScoreFolder | None = None,
    study: SubsetAnalysis | None = None,
    *,
    published: Sequence[PublishedRow] = (),
    order: Sequence[str] = (),
    families: Mapping[str, str] | None = None,
) -> ReportTable:
    """Join scores, fool rates, differences and published rows by method.

    Parameters
    ----------
    scores : ScoreFolder
        Metric scores; the paper's three come first.
    study : SubsetAnalysis
        Fool rates and comparisons (with a baseline, the difference to it is shown).
    published : sequence of PublishedRow
        Rows to put below, marked as published.
    order : sequence of str
        Methods that come first, in this order.
    families : mapping of str to str, optional
        Kind of method by method: a column, and methods of a kind stand together.

    Returns
    -------
    ReportTable
        With the columns that have something to show.
    """
    metrics = _ordered_metrics(scores)
    columns = [metric_column(name) for name in metrics]
    cells: dict[str, dict[str, Cell]] = {}
    if scores is not None:
        for method in scores.methods:
            cells[method] = {
                name: _score_cell(score, scores.images_of(method))
                for name in metrics
                if (score := scores.summary.get((method, name))) is not None
            }
    if published:
        present = {column.key for column in columns}
        columns = [metric_column(name) for name in PAPER_METRICS if name not in present] + columns
        columns.sort(key=lambda column: PAPER_METRICS.index(column.key) if column.key in PAPER_METRICS else 9)
    if study is not None and study.rates is not None:
        columns += _study_columns(study, cells)
    elif study is not None and study.preferences is not None:
        columns += fill_preference_cells(study.preferences, cells)
    elif published:
        columns.append(ReportColumn("fooled", "fooled %", 100.0))
    cautions = scores.cautions() if scores is not None else {}
    names = ordered(cells, order)
    if families:
        kinds = list(dict.fromkeys(families[name] for name in names if name in families))
        names.sort(key=lambda name: kinds.index(families[name]) if name in families else len(kinds))
        columns.insert(0, ReportColumn("family", "family"))
        for name in names:
            cells[name]["family"] = Cell(text=families.get(name, ""))
    rows = [ReportRow(method, cells[method], notes=tuple(cautions.get(method, ()))) for method in names]
    rows += [ReportRow(row.method, _published_cells(row), published=True) for row in published]
    notes = list(cautions.get("", ()))
    if study is not None and study.simulated:
        notes.append("The answers come from simulated observers, not from people")
    if published and scores is not None and "ab_auc_rebal" in metrics:
        notes.append(
            "Rebalanced AuC depends on the set of images; rows as published are of other images, so compare orders rather "
            "than values"
        )
    of_cells = [note for row in rows for column in columns for note in row.cells.get(column.key, Cell()).notes]
    return ReportTable(
        columns=tuple(columns),
        rows=tuple(rows),
        caption=_caption(scores, study, bool(published)),
        notes=tuple(notes),
        cautions=tuple(dict.fromkeys([*(note for row in rows for note in row.notes), *of_cells])),
    )


def ordered(methods: Iterable[str], order: Sequence[str]) -> list[str]:
    """Methods of a given order first, the others behind them as they were."""
    place = {method: k for k, method in enumerate(order)}
    return sorted(methods, key=lambda method: place.get(method, len(place)))


def _score_cell(score: ScoreSummary, n_images: int) -> Cell:
    """A metric's number; why it is missing, or that it rests on fewer images than the method's others."""
    notes = score.cautions(n_images)
    return Cell(
        value=score.value,
        std_error=score.std_error,
        ci_low=score.ci_low,
        ci_high=score.ci_high,
        n_images=score.n_images,
        text="unscored" if math.isnan(score.value) and score.reason else "",
        notes=tuple(notes),
    )


def _ordered_metrics(scores: ScoreFolder | None) -> list[str]:
    if scores is None:
        return []
    first = [name for name in PAPER_METRICS if name in scores.metrics]
    return first + [name for name in scores.metrics if name not in PAPER_METRICS]


_TITLES = {"ab_auc": "AuC", "ab_auc_rebal": "AuC rebal.", "vgg16_top1": "VGG top-1"}


def metric_column(name: str) -> ReportColumn:
    """Heading, factor and digits of a metric's column."""
    try:
        metric: Any = load_metric(name)
    except Exception:  # a metric of a package that is not installed here keeps its name
        percent = name in PAPER_METRICS
        return ReportColumn(
            name, _TITLES.get(name, name) + (" %" if percent else ""), 100.0 if percent else 1.0, 1 + (not percent)
        )
    title = metric.title + (" %" if metric.percent else "")
    return ReportColumn(name, title, 100.0 if metric.percent else 1.0, 1 if metric.percent else metric.decimals)


def rate_column(preset: str) -> ReportColumn:
    """Heading, factor and digits of what people said of methods one by one."""
    if preset == "rating":
        return ReportColumn("fooled", "mean rating", decimals=2)
    return ReportColumn("fooled", "natural %" if preset == "naturalness" else "fooled %", 100.0)


def _study_columns(study: SubsetAnalysis, cells: dict[str, dict[str, Cell]]) -> list[ReportColumn]:
    """Fill the human columns into `cells` and return them."""
    assert study.rates is not None
    rating = study.trials.preset == "rating"
    factor, digits = (1.0, 2) if rating else (100.0, 1)
    confidence = next((record.mean.confidence for record in study.rates if record.mean), 0.95)
    heading = rate_column(study.trials.preset).title
    differences = {record.method_a: record for record in study.differences or ()}
    baselines = {record.method_b for record in study.differences or ()}
    with_baseline = len(baselines) == 1 and len(differences) > 0
    against_truth = {record.method_a: record for record in study.against_truth or ()}
    for record in study.rates:
        mean = record.mean
        own = cells.setdefault(record.method, {})
        if mean is None:
            own["fooled"] = Cell(text="too few", notes=(record.note,))
            continue
        own["fooled"] = Cell(
            value=mean.estimate,
            std_error=mean.std_error,
            text=_found(mean) if record.is_vigilance else "",
            notes=(record.note,) if record.note else (),
        )
        low, high = (1 - mean.ci_high, 1 - mean.ci_low) if record.is_vigilance else (mean.ci_low, mean.ci_high)
        own["interval"] = Cell(text=f"{factor * low:.{digits}f} to {factor * high:.{digits}f}")
        truth = against_truth.get(record.method)
        if truth is not None and truth.result is not None:
            own["truth_difference"] = Cell(text=_difference_text(truth.result, factor))
            if not rating:
                own["equal_to_truth"] = Cell(text="yes" if truth.equivalence_p_holm <= 0.05 else "not shown")
        if study.trials.preset == "real-vs-fake" and record.method in study.trials.methods:
            limits = dprime([mean.estimate, mean.ci_high, mean.ci_low])
            own["dprime"] = Cell(text="{:z.2f} ({:z.2f} to {:z.2f})".format(*limits))
        own["size"] = Cell(text=f"{mean.n_participants} / {mean.n_images} / {mean.n_trials}")
        if not math.isnan(record.equivalence_p) and record.method in study.trials.methods:
            own["equivalence"] = Cell(text="yes" if record.equivalence_p_holm <= 0.05 else "not shown")
        elif record.verdict_withheld:
            own["equivalence"] = Cell(text="no verdict")
        # How often obvious fakes were missed, less the rate of a method, says nothing beside how many were found.
        compared = differences.get(record.method) if with_baseline and not record.is_vigilance else None
        if compared is not None and compared.result is not None:
            own["difference"] = Cell(
                text=_difference_text(compared.result, factor), notes=(compared.note,) if compared.note else ()
            )
            if not math.isnan(compared.p_holm):
                own["p_holm"] = Cell(text=p_text(compared.p_holm))
    columns = [
        ReportColumn("fooled", heading, factor, digits),
        ReportColumn("interval", f"{100 * confidence:g} % interval"),
        ReportColumn("size", "people / images / trials"),
    ]
    if with_baseline:
        columns += [
            ReportColumn("difference", f"difference to {next(iter(baselines))}"),
            ReportColumn("p_holm", "p (Holm)"),
        ]
    if against_truth and baselines != {TRUTH}:
        columns.append(ReportColumn("truth_difference", f"difference to {TRUTH}"))
    if against_truth and not rating:
        columns.append(ReportColumn("equal_to_truth", f"equal to {TRUTH}"))
    if study.trials.preset == "real-vs-fake":
        columns += [ReportColumn("equivalence", "equal to 50 %"), ReportColumn("dprime", "d'")]
    return columns


def _difference_text(result: Difference, factor: float) -> str:
    digits = 1 if factor > 1 else 2
    return (
        f"{factor * result.difference:+.{digits}f} "
        f"({factor * result.ci_low:+.{digits}f} to {factor * result.ci_high:+.{digits}f})"
    )


def _found(mean: CrossedMean) -> str:
    """Vigilance trials as the paper gives them: how many were found, not how many fooled."""
    error = "" if math.isnan(mean.std_error) else f" ± {100 * mean.std_error:.1f}"
    return f"found {100 * (1 - mean.estimate):.1f}{error}"


def _published_cells(row: PublishedRow) -> dict[str, Cell]:
    cells = {
        "ab_auc": Cell(value=row.ab_auc / 100),
        "ab_auc_rebal": Cell(value=row.ab_auc_rebal / 100),
        "vgg16_top1": Cell(value=row.vgg16_top1 / 100),
    }
    if row.fooled is not None:
        error = math.nan if row.fooled_std_error is None else row.fooled_std_error / 100
        cells["fooled"] = Cell(value=row.fooled / 100, std_error=error)
    return cells


def _caption(scores: ScoreFolder | None, study: SubsetAnalysis | None, published: bool) -> str:
    parts = []
    if scores is not None:
        has_error = any(not math.isnan(score.std_error) for score in scores.summary.values())
        parts.append(f"Metric scores{' with their standard error over images' if has_error else ''}.")
    if study is not None and study.rates is not None and len(study.rates):
        mean = next((record.mean for record in study.rates if record.mean), None)
        both = mean is None or mean.estimand == "participants+images"
        claim = "new participants and new images" if both else "new participants on these images"
        what = "Mean ratings" if study.trials.preset == "rating" else "Human rates"
        parts.append(f"{what} with standard error and interval for {claim}.")
        if len(study.differences or ()) > 1:
            parts.append("Intervals are not adjusted for the number of comparisons; p (Holm) is.")
        if study.trials.preset == "real-vs-fake":
            parts.append("Equality with 50 % is adjusted (Holm) for the number of methods.")
    if study is not None and study.preferences is not None:
        of_what = " of being taken for the real photo" if study.trials.seeks_real else ""
        ties = "" if study.preferences.choices else "; a tie is half a win"
        parts.append(
            f"Strengths{of_what} on a Bradley-Terry scale with mean 0, with standard error and interval{ties}."
        )
    if published:
        parts.append(
            "Published rows are copied; their standard errors come from a bootstrap over participants and trials."
        )
    return " ".join(parts)


def _shown(cell: Cell, column: ReportColumn, plus_minus: str) -> str:
    if cell.text:
        return cell.text
    if math.isnan(cell.value):
        return ""
    shown = f"{column.factor * cell.value:.{column.decimals}f}"
    if not math.isnan(cell.std_error):
        shown += f" {plus_minus} {column.factor * cell.std_error:.{column.decimals}f}"
    return shown


def _together(title: str) -> str:
    """A heading that does not break before its unit or its arrow, or after a lone letter."""
    for ending in (" %", " ↑", " ↓"):
        title = title.replace(ending, "\u00a0" + ending[1:])
    return title.replace("p (", "p\u00a0(")


def _escape_markdown(text: str) -> str:
    """Text that stands for itself in Markdown, which lets HTML through as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", text)
