"""The report: table, figures, galleries and a methods paragraph in one HTML file that needs nothing else."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.records import replace_results
from analysis.report import figures as draw
from analysis.report.agreement import MetricAgreement, best_metric, image_pairs_of, metric_agreement
from analysis.report.cells import p_text, share_text, with_minus
from analysis.report.figures import save_figure
from analysis.report.galleries import Gallery, ImageFolders, qualitative_grid, rate_galleries
from analysis.report.metric_differences import MetricDifference, metric_differences
from analysis.report.preference import (
    preference_cells,
    preference_figure,
    preference_paragraph,
    preference_sentences,
    win_matrix_cells,
)
from analysis.report.published_rows import published_rows
from analysis.report.tables import ReportTable, build_table, metric_column
from analysis.study.analysis import AnalysisOptions, StudyAnalysis, SubsetAnalysis
from analysis.study.columns import OUTPUT_COLUMNS, REPORT_TABLES
from analysis.study.differences import TRUTH, Comparison
from evalkit.errors import InputError
from evalkit.scoring.score_folder import ScoreFolder
from evalkit.text_formats import csv_text, json_text
from evalkit.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["FIGURES", "ReportFigure", "ReportInput", "methods_paragraphs", "report_figures", "write_report"]


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """What a report is made of; scores, a study, or both.

    Attributes
    ----------
    scores : ScoreFolder or None
        Of `evalkit score`.
    study : StudyAnalysis or None
        Of the human test.
    published : str
        Name of a published table, or "".
    baseline : str
        Method that metric scores are compared with, or "".
    folders : ImageFolders or None
        Images for the galleries.
    title : str
        Heading.
    version : str
        Of this package.
    """

    scores: ScoreFolder | None = None
    study: StudyAnalysis | None = None
    published: str = ""
    baseline: str = ""
    folders: ImageFolders | None = None
    title: str = "Colorization: scores and human judgement"
    version: str = ""

    @property
    def headline(self) -> SubsetAnalysis | None:
        """What the declared rules leave of the study, or None without one."""
        return self.study.headline if self.study else None

    @cached_property
    def table(self) -> ReportTable:
        """Scores, rates and published rows by method."""
        return build_table(
            self.scores, self.headline, published=published_rows(self.published) if self.published else ()
        )

    @cached_property
    def differences(self) -> list[MetricDifference]:
        """Scores against the baseline; empty without one, or without the statistics of every image."""
        scores = self.scores
        if scores is None or self.baseline not in scores.methods or not (scores.folder / "statistics").is_dir():
            return []
        if not set(scores.methods) - {self.baseline, "truth"}:
            return []
        return metric_differences(scores, self.baseline)

    @cached_property
    def agreement(self) -> list[MetricAgreement]:
        """Metrics against people; empty without both."""
        if self.scores is None or self.headline is None or self.headline.rates is None:
            return []
        return metric_agreement(self.scores, self.headline)

    @property
    def rates_shown(self) -> bool:
        """Whether there are rates (or mean ratings) of single methods to draw."""
        return self.headline is not None and self.headline.rates is not None


@dataclass(frozen=True)
class ReportFigure:
    """A drawn figure with its caption; `name` is the file name without suffix."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One figure of the report: when there is one, what stands below it, and how it is drawn.

    Attributes
    ----------
    name : str
        File name without suffix.
    applies : callable
        Whether the data of a report have it.
    caption, draw : callable
        For a report to which it applies.
    """

    name: str
    applies: Callable[[ReportInput], bool]
    caption: Callable[[ReportInput], str]
    draw: Callable[[ReportInput], Figure]


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
    drawn = [_Drawn(entry) for entry in report_figures(content)]
    files: dict[str, str | bytes] = {
        "report.html": _page(content, drawn),
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
    files["report.json"] = json_text({"command": "report", **_provenance(content), "files": list(files)})
    may_hold = {*REPORT_TABLES} | {f"figures/{figure.name}.{kind}" for figure in FIGURES for kind in ("pdf", "svg")}
    return replace_results(out, files, record="report.json", command="report", may_hold=may_hold)


class _Drawn:
    """A figure as the bytes of its files, and as part of a page."""

    def __init__(self, entry: ReportFigure) -> None:
        self.name, self.caption = entry.name, entry.caption
        self.pdf, self.svg = (self._saved(entry, kind) for kind in ("pdf", "svg"))

    @staticmethod
    def _saved(entry: ReportFigure, kind: str) -> bytes:
        buffer = io.BytesIO()
        save_figure(entry.figure, buffer, kind)
        return buffer.getvalue()

    @property
    def inline(self) -> str:
        return _inline(self.svg.decode(), self.name)


def _page(content: ReportInput, drawn: Sequence[_Drawn]) -> str:
    """The HTML file."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    loader = PackageLoader("analysis.report")
    template = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("report.html")
    study, table = content.study, content.table
    before = study.subsets[0] if study and len(study.subsets) > 1 else None
    return template.render(
        title=content.title,
        subtitle=_subtitle(content),
        simulated=study is not None and study.simulated,
        table=Markup(table.to_html()) if table.columns else "",
        other_table=Markup(build_table(None, before).to_html()) if before else "",
        notes=_notes(content.headline),
        left_out=study.left_out if study else (),
        **_comparison_parts(content.headline),
        preferences=_preference_parts(content.headline),
        metric_differences=_difference_matrix(content.differences),
        baseline=content.baseline,
        figures=[{"caption": entry.caption, "svg": Markup(entry.inline)} for entry in drawn],
        agreement=_agreement_matrix(content.agreement),
        galleries=_galleries(content),
        methods=methods_paragraphs(content),
        provenance=json_text(_provenance(content)).rstrip(),
    )


def report_figures(content: ReportInput) -> list[ReportFigure]:
    """All figures for which there are data, in the order of `FIGURES`."""
    return [
        ReportFigure(section.name, section.caption(content), section.draw(content))
        for section in FIGURES
        if section.applies(content)
    ]


def _shown_study(content: ReportInput) -> SubsetAnalysis:
    """The study of a report that has one: sections ask for it only where they apply."""
    assert content.headline is not None
    return content.headline


def _curve_caption(content: ReportInput) -> str:
    bands = "; bands: 95 % over images" if content.scores and content.scores.curve_std_errors else ""
    return f"Cumulative ab-error curves: share of pixels within each error threshold{bands}."


def _draw_curves(content: ReportInput) -> Figure:
    assert content.scores is not None
    return draw.curve_figure(content.scores.curves, content.scores.curve_std_errors)


def _forest_caption(content: ReportInput) -> str:
    return f"Rates with {_percent(content)} intervals for {_claim(content)}."


def _percent(content: ReportInput) -> str:
    assert content.study is not None
    return f"{100 * content.study.options.confidence:g} %"


def _claim(content: ReportInput) -> str:
    assert content.study is not None
    both = content.study.options.estimand == "participants+images"
    return "new participants and new images" if both else "new participants on these images"


def _draw_forest(content: ReportInput) -> Figure:
    assert content.study is not None
    study = _shown_study(content)
    preset, rates = study.trials.preset, list(study.rates or ())
    truth = next((record.mean.estimate for record in rates if record.method == TRUTH and record.mean), None)
    return draw.forest_figure(
        rates,
        target=0.5 if preset == "real-vs-fake" else truth,
        margin=content.study.options.equivalence_margin,
        rating=preset == "rating",
    )


def _preference_scale_shown(content: ReportInput) -> bool:
    preferences = content.headline.preferences if content.headline else None
    return preferences is not None and preferences.scale is not None


def _draw_preference_scale(content: ReportInput) -> Figure:
    preferences = _shown_study(content).preferences
    assert preferences is not None
    return preference_figure(preferences)


def _has_vigilance_curve(content: ReportInput) -> bool:
    if not content.rates_shown:
        return False
    diagnosed = _shown_study(content).diagnostics.get("methods", {})
    return any("estimate" in point for entry in diagnosed.values() for point in entry.get("vigilance_curve", []))


def _has_fatigue(content: ReportInput) -> bool:
    if not content.rates_shown:
        return False
    study = _shown_study(content)
    of_answers = study.trials.preset != "rating" and "fatigue" in study.diagnostics
    return of_answers and bool(np.ptp(study.trials.of_kind("test")["trial"]) > 0)


def _has_sides(content: ReportInput) -> bool:
    if content.headline is None:
        return False
    return any(not math.isnan(row["first_share"]) for row in _shown_study(content).tables["per_participant"])


def _scatter_pairs(content: ReportInput) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """The metric that agrees best, or the first one where none is shown to, and its values and rates of images."""
    of_images = [entry.metric for entry in content.agreement if entry.over != "methods"]
    metric = best_metric(content.agreement) or next(iter(of_images), "")
    if not metric or content.scores is None:
        return "", {}
    images = _shown_study(content).tables["per_image"]
    pairs = {method: image_pairs_of(content.scores, images, metric, method) for method in content.scores.methods}
    return metric, {method: pair for method, pair in pairs.items() if pair[0].size > 1}


def _scatter_caption(content: ReportInput) -> str:
    metric = _scatter_pairs(content)[0]
    best = " (of the metrics that are shown to agree with people, the one that does most)"
    return (
        f"{metric_column(metric).title} of single images against how often they fool people"
        f"{best if best_metric(content.agreement) else ''}."
    )


def _draw_scatter(content: ReportInput) -> Figure:
    metric, pairs = _scatter_pairs(content)
    rho = {entry.over: entry.observed for entry in content.agreement if entry.metric == metric}
    return draw.image_scatter_figure(
        pairs,
        metric_column(metric).title,
        {method: rho[f"images of {method}"] for method in pairs if f"images of {method}" in rho},
    )


FIGURES = (
    Section(
        "curves",
        lambda content: bool(content.scores and content.scores.curves),
        _curve_caption,
        _draw_curves,
    ),
    Section(
        "preference_scale",
        lambda content: _preference_scale_shown(content),
        lambda content: (
            f"Bradley-Terry strengths with {_percent(content)} intervals for {_claim(content)}; methods that always won or "
            "always lost have none."
        ),
        _draw_preference_scale,
    ),
    Section("forest", lambda content: content.rates_shown, _forest_caption, _draw_forest),
    Section(
        "variance_components",
        lambda content: content.rates_shown,
        lambda content: "Variance of one answer: participants, images, and the rest.",
        lambda content: draw.component_figure(_shown_study(content).tables["variance_components"]),
    ),
    Section(
        "vigilance",
        _has_vigilance_curve,
        lambda content: (
            "Fool rate of the participants who reach each share of vigilance trials; the left end is everybody."
        ),
        lambda content: draw.vigilance_figure(_shown_study(content).diagnostics["methods"]),
    ),
    Section(
        "fatigue",
        _has_fatigue,
        lambda content: (
            f"{'Share judged natural' if _shown_study(content).trials.preset == 'naturalness' else 'Fool rate'} over the "
            "session, all methods together; bars: 95 %, participants as clusters."
        ),
        lambda content: draw.fatigue_figure(_shown_study(content).trials.of_kind("test")),
    ),
    Section(
        "side_bias",
        _has_sides,
        lambda content: (
            "How often each participant preferred the first image."
            if _shown_study(content).trials.preset == "preference"
            else "How often each participant answered that the first image was the fake."
        ),
        lambda content: draw.side_bias_figure(_shown_study(content).tables["per_participant"]),
    ),
    Section(
        "answer_times",
        lambda content: content.headline is not None and "answer_times" in content.headline.diagnostics,
        lambda content: "Times from the question to the answer.",
        lambda content: draw.answer_time_figure(_shown_study(content).trials.of_kind("test")),
    ),
    Section(
        "metric_scatter",
        lambda content: bool(_scatter_pairs(content)[1]),
        _scatter_caption,
        _draw_scatter,
    ),
)
"""Every figure of the report, in its order; a new one is one entry."""


def methods_paragraphs(content: ReportInput) -> list[str]:
    """Paragraphs to paste into a paper: what was measured, how, and with which uncertainty."""
    paragraphs = []
    if content.scores is not None:
        scores = content.scores
        paragraphs.append(
            f"Metric scores were computed on {_image_counts(scores)} with colorization-evalkit {content.version}; standard "
            "errors and intervals are over images. Signatures below say how each number was made."
        )
    if content.study is not None:
        paragraphs += _study_paragraphs(content.study, content.version)
    return paragraphs


def _image_counts(scores: ScoreFolder) -> str:
    """Images of the methods: one number where they have as many, each method's own where not."""
    counts = {method: scores.images_of(method) for method in scores.methods}
    if len(set(counts.values())) <= 1:
        return f"{next(iter(counts.values()), 0):,} images"
    return "images of different number (" + ", ".join(f"{name}: {count:,}" for name, count in counts.items()) + ")"


def _declared(study: StudyAnalysis) -> str:
    days = sorted({rule.declared for rule in study.rules if rule.declared})
    return f"on {' and '.join(days)}" if days else "beforehand (on a day that their file does not name)"


def _study_paragraphs(study: StudyAnalysis, version: str) -> list[str]:
    headline, options = study.headline, study.options
    test = headline.trials.of_kind("test")
    people, images = test.design.n_participants, test.design.n_images
    asked = {
        "real-vs-fake": "saw each photo and one of its colorizations in turn and said which had fake colours",
        "preference": "saw two colorizations of a photo and said which looked more natural",
        "naturalness": "saw one image at a time and said whether its colours looked natural",
        "rating": "rated single images",
    }[headline.trials.preset]
    who = "Simulated observers" if study.simulated else "Participants"
    first = f"{who} (n = {people}) {asked}; {len(test):,} answers on {images} images are analysed."
    excluded = "; ".join(f"{entry.reason}: {entry.n_trials} trials" for entry in study.left_out)
    if excluded:
        first += f" Not included: {excluded}."
    if study.rules:
        first += f" Exclusion rules declared {_declared(study)}: {'; '.join(rule.name for rule in study.rules)}."
    if headline.preferences is not None:
        both = options.estimand == "participants+images"
        claim = "new participants and new images" if both else "new participants on these images"
        return [first, preference_paragraph(headline.preferences, claim, options.confidence)]
    percent = f"{100 * options.confidence:g} %"
    if options.estimand == "participants+images":
        claim = (
            f"Standard errors and {percent} intervals are for new participants and new images: variance components of "
            "participants and images, crossed, were estimated by moments, the variance of the mean has Satterthwaite "
            "degrees of freedom, and t intervals were formed on the logit scale."
        )
    else:
        claim = (
            f"Standard errors and {percent} intervals are for new participants on these images: they rest on the spread "
            "of participants, with t intervals on the logit scale."
        )
    if headline.trials.preset == "rating":
        claim = claim.replace("on the logit scale", "on the rating scale")
    return [first, claim + _comparison_words(headline, options)]


def _comparison_words(headline: SubsetAnalysis, options: AnalysisOptions) -> str:
    """How methods were compared, with one another and with what counts as success."""
    compared = (
        " Methods were compared by a two-way test, paired by images where the same ones were shown for both; p-values are "
        "adjusted by Holm's method for the family of comparisons, intervals are not adjusted."
    )
    margin = f"{100 * options.equivalence_margin:g} points"
    if headline.trials.preset == "rating":
        by_order = (
            " Beside the means, ratings were compared by their order alone: the probability that one of A is higher than "
            "one of B (Mann-Whitney, ties half), with the same two-way variance."
        )
        return compared.replace("Methods", "Mean ratings", 1) + by_order
    if headline.trials.preset == "real-vs-fake":
        return compared + (
            f" A method counts as equal to 50 % when two one-sided tests with a margin of {margin} are significant at 5 %; "
            "this is not adjusted for the number of methods."
        )
    if headline.against_truth is None:
        return compared
    return compared + (
        f" A method counts as equal to the photos themselves when two one-sided tests of the difference of the rates, with a "
        f"margin of {margin}, are significant at 5 % after Holm's adjustment."
    )


def _galleries(content: ReportInput) -> list[Gallery]:
    if content.folders is None:
        return []
    grid = qualitative_grid(content.folders)
    galleries = [grid] if grid else []
    if content.headline and content.headline.trials.preset != "rating":
        rows = content.headline.tables["per_image"]
        galleries += rate_galleries(rows, content.folders, preset=content.headline.trials.preset)
    return galleries


def _notes(headline: SubsetAnalysis | None) -> list[str]:
    if headline is None:
        return []
    notes = [*headline.trials.notes, *headline.notes]
    notes += [f"{r.method_a} − {r.method_b}: {r.note}." for r in headline.differences or () if r.note]
    if headline.preferences is not None:
        notes += [f"{r.method_a} − {r.method_b}: {r.note}." for r in headline.preferences.differences if r.note]
    return notes


def _comparison_parts(headline: SubsetAnalysis | None) -> dict[str, Any]:
    """Tables of comparisons for the page, with the heading of their last column, "" where it is empty."""
    if headline is None:
        return {"comparisons": [], "against_truth": [], "last_column": "", "truth_column": ""}
    rating = headline.trials.preset == "rating"
    rows = list(headline.differences or ())
    by_order = "A rated above B, %" if any(record.superiority for record in rows) else ""
    of_paper = "P(A < B), Zhang et al." if any(not math.isnan(record.probability_less) for record in rows) else ""
    return {
        "comparisons": [(*_difference_cells(record, rating), _last_cell(record)) for record in rows],
        "against_truth": [
            (*_difference_cells(record, rating), _last_cell(record) if rating else p_text(record.equivalence_p_holm))
            for record in headline.against_truth or ()
        ],
        "last_column": by_order or of_paper,
        "truth_column": by_order if rating else "p (Holm) of equality",
    }


def _difference_cells(record: Comparison, rating: bool) -> tuple[str, ...]:
    """A, B, difference, interval, p, Holm's p."""
    factor, digits = (1.0, 2) if rating else (100.0, 1)
    result = record.result
    if result is None:
        return record.method_a, record.method_b, "–", record.note, "–", "–"
    return (
        record.method_a,
        record.method_b,
        with_minus(f"{factor * result.difference:+.{digits}f}"),
        with_minus(f"{factor * result.ci_low:+.{digits}f} to {factor * result.ci_high:+.{digits}f}"),
        p_text(result.p_value),
        p_text(record.p_holm),
    )


def _last_cell(record: Comparison) -> str:
    """Of ratings how often A is above B, else P(A < B) of the paper."""
    order = record.superiority
    if order is not None:
        return f"{100 * order.probability:.0f} ({100 * order.ci_low:.0f} to {100 * order.ci_high:.0f})"
    return share_text(record.probability_less)


def _preference_parts(headline: SubsetAnalysis | None) -> dict[str, Any] | None:
    """Win matrix, comparisons and sentences of a preference study, for the page."""
    if headline is None or headline.preferences is None:
        return None
    results = headline.preferences
    heads, rows = win_matrix_cells(results)
    return {
        "heads": heads,
        "rows": rows,
        "comparisons": preference_cells(results),
        "sentences": preference_sentences(results),
    }


def _difference_matrix(differences: Sequence[MetricDifference]) -> tuple[list[str], list[list[str]]] | None:
    """One row a metric, one column a method: the difference to the baseline, its interval, Holm's p."""
    if not differences:
        return None
    methods = list(dict.fromkeys(entry.compared.other_method for entry in differences))
    cells = {(entry.compared.metric, entry.compared.other_method): entry for entry in differences}
    n_most = max(entry.compared.n_images for entry in differences)
    rows = []
    for name in dict.fromkeys(entry.compared.metric for entry in differences):
        column = metric_column(name)
        row = [column.title]
        for method in methods:
            entry = cells[name, method]
            if math.isnan(entry.compared.difference):
                row.append("–")
                continue
            shown = [
                f"{column.factor * value:+.{column.decimals}f}"
                for value in (entry.compared.difference, entry.compared.ci_low, entry.compared.ci_high)
            ]
            interval = "" if math.isnan(entry.compared.ci_low) else f" ({shown[1]} to {shown[2]})"
            n = entry.compared.n_images
            on_fewer = f", on {counted(n, 'image')}" if n < n_most else ""
            row.append(with_minus(f"{shown[0]}{interval}, p {p_text(entry.p_holm)}{on_fewer}"))
        rows.append(row)
    return methods, rows


def _agreement_matrix(agreement: Sequence[MetricAgreement]) -> tuple[list[str], list[list[str]]] | None:
    """One row a metric, one column a set of pairs: the correlation with its interval, and over images the observed one."""
    if not agreement:
        return None
    over = list(dict.fromkeys(entry.over for entry in agreement))
    cells = {(entry.metric, entry.over): entry for entry in agreement}
    rows = []
    for metric in dict.fromkeys(entry.metric for entry in agreement):
        row = [metric_column(metric).title]
        row += [_agreement_cell(cells.get((metric, column))) for column in over]
        rows.append(row)
    return over, rows


def _agreement_cell(entry: MetricAgreement | None) -> str:
    if entry is None or math.isnan(entry.observed):
        return "–"
    pairs, shown = entry.correlation, f"{entry.best_estimate:+.2f}"
    if math.isnan(entry.best_estimate):
        return with_minus(f"{entry.observed:+.2f} as observed; the answers do not tell these images apart")
    if not math.isnan(pairs.ci_low):
        shown += f" ({pairs.ci_low:+.2f} to {pairs.ci_high:+.2f})"
    if entry.over != "methods":
        shown += f"; observed {entry.observed:+.2f}"
    return with_minus(shown)


def _subtitle(content: ReportInput) -> str:
    parts = []
    if content.scores:
        parts.append(f"{len(content.scores.methods)} methods scored by {len(content.scores.metrics)} metrics")
    if content.study:
        test = content.study.headline.trials.of_kind("test")
        parts.append(f"{len(test):,} answers of {test.design.n_participants} participants")
    return "; ".join(parts) + f". colorization-evalkit {content.version}"


def _provenance(content: ReportInput) -> dict[str, Any]:
    """Versions, options, digests and signatures."""
    record: dict[str, Any] = {"version": content.version}
    if content.study:
        trials = content.study.headline.trials
        record["analysis"] = asdict(content.study.options)
        record["exclusion_rules"] = [asdict(rule) for rule in content.study.rules]
        record["trials"] = {"source": trials.source, "sha256": trials.digest}
    if content.scores:
        record["signatures"] = sorted({entry.signature for entry in content.scores.summary.values() if entry.signature})
        for key in ("inputs", "seed", "versions"):
            if key in content.scores.record:
                record[f"scores_{key}"] = content.scores.record[key]
    return record


def _inline(svg: str, name: str) -> str:
    """An SVG for use inside HTML: no XML header, no fixed size, ids that are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(id="|href="#|url\(#)', lambda match: match[0] + name + "-", svg)
