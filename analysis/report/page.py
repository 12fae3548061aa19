"""The page of the report: one HTML file that needs nothing else."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from analysis.report.agreement import MetricAgreement
from analysis.report.categories import CategoryResult
from analysis.report.cells import ReportColumn, ended, odds_text, omnibus_text, p_text, share_text, with_minus
from analysis.report.content import ReportInput, Scatter, provenance
from analysis.report.figures import POINTS, figure_bytes
from analysis.report.galleries import Gallery, gallery_of, rate_galleries
from analysis.report.methods_text import methods_paragraphs
from analysis.report.metric_differences import MetricDifference
from analysis.report.preference import preference_cells, preference_sentences, win_matrix_cells, wins_title
from analysis.report.report_figures import ReportFigure
from analysis.report.tables import ReportTable, build_table, metric_column
from analysis.study.analysis import SubsetAnalysis
from analysis.study.differences import Comparison
from evalkit.text_formats import json_text
from evalkit.wording import counted

__all__ = ["DrawnFigure", "page_html"]


class DrawnFigure:
    """A figure as the bytes of its files, and as part of a page."""

    def __init__(self, entry: ReportFigure) -> None:
        self.name, self.caption, self.wide = entry.name, entry.caption, entry.wide
        self.pdf, self.svg = (figure_bytes(entry.figure, kind) for kind in ("pdf", "svg"))

    @property
    def inline(self) -> str:
        """The SVG for use inside HTML; its caption on the page is its text for a screen reader."""
        return _inline(self.svg.decode(), self.name)


def page_html(content: ReportInput, drawn: Sequence[DrawnFigure]) -> str:
    """The HTML file."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    loader = PackageLoader("analysis.report")
    template = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("report.html")
    study, table = content.study, content.table
    galleries = _galleries(content)
    before = study.subsets[0] if study and len(study.subsets) > 1 else None
    return template.render(
        title=content.title,
        subtitle=_subtitle(content),
        simulated=study is not None and study.simulated,
        table=Markup(table.to_html()) if table.columns else "",
        other_table=Markup(build_table(None, before).to_html()) if before else "",
        notes=[*_notes(content.headline), *_pixel_notes(content)],
        left_out=study.left_out if study else (),
        **_comparison_parts(content.headline),
        covariates=_covariate_rows(content.headline),
        preferences=_preference_parts(content.headline),
        metric_differences=_difference_matrix(content.differences, table),
        rebalanced_set=_set_of_rebalanced(content),
        baseline=content.baseline,
        figures=[_figure_part(entry, content) for entry in drawn],
        scatter_pictures=Markup(_scatter_pictures(content, galleries)),
        agreement=_agreement_matrix(content.agreement, table),
        categories=_category_parts(content),
        galleries=galleries,
        problems=list(content.folders.problems.values()) if content.folders else [],
        methods=methods_paragraphs(content),
        provenance=json_text(provenance(content)).rstrip(),
    )


def _galleries(content: ReportInput) -> list[Gallery]:
    if content.folders is None:
        return []
    rows = content.headline.tables["per_image"] if content.headline else []
    galleries = [gallery_of(content.folders, content.images, rows)]
    if content.headline and content.headline.trials.preset != "rating":
        galleries += rate_galleries(rows, content.folders, question=content.headline.trials.question)
    return galleries


def _notes(headline: SubsetAnalysis | None) -> list[str]:
    if headline is None:
        return []
    notes = [*headline.trials.notes, *headline.notes]
    notes += [ended(f"{r.method_a} − {r.method_b}: {r.note}") for r in headline.differences or () if r.note]
    if headline.together is not None and headline.together.note:
        notes.append(ended(f"All methods at once: {headline.together.note}"))
    if headline.preferences is not None:
        differences = headline.preferences.differences
        notes += [ended(f"{r.method_a} − {r.method_b}: {r.note}") for r in differences if r.note]
    return notes


def _pixel_notes(content: ReportInput) -> list[str]:
    """One sentence when people and metrics did not see the same pixels, as far as the files tell."""
    if content.scores is None or content.headline is None or "shown_as" not in content.headline.trials:
        return []
    scored = content.scores.size_field
    shown = sorted({str(entry) for entry in content.headline.trials["shown_as"]} - {"", scored})
    if not shown:
        return []
    size, fit = shown[0].split("-")[:2]
    same = (
        f" The pixels are the same only where files are {size} x {size}; evalkit score --size {size} --fit {fit} scores what "
        "people saw."
    )
    return [f"People and metrics did not see the same: people {' and '.join(shown)}, metrics {scored}.{same}"]


def _comparison_parts(headline: SubsetAnalysis | None) -> dict[str, Any]:
    """Tables of comparisons for the page, with the heading of their last column, "" where it is empty."""
    if headline is None:
        return {"comparisons": [], "against_truth": [], "last_column": "", "truth_column": "", "with_odds": False}
    rating = headline.trials.preset == "rating"
    rows = list(headline.differences or ())
    with_odds = any(record.odds is not None for record in rows)
    by_order = "A rated above B, %" if any(record.superiority for record in rows) else ""
    of_paper = "P(A < B), Zhang et al." if any(not math.isnan(record.probability_less) for record in rows) else ""
    return {
        "together": omnibus_text(headline.together.test, headline.together.left_out) if headline.together else "",
        "with_odds": with_odds,
        "comparisons": [
            (*_difference_cells(record, rating), *([odds_text(record.odds)] if with_odds else []), _last_cell(record))
            for record in rows
        ],
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
        return record.method_a, record.method_b, "–", "–", "–", "–"  # why stands in the notes
    return (
        record.method_a,
        record.method_b,
        with_minus(f"{factor * result.difference:+.{digits}f}"),
        with_minus(f"{factor * result.ci_low:+.{digits}f} to {factor * result.ci_high:+.{digits}f}"),
        p_text(result.p_value),
        p_text(record.p_holm),
    )


def _last_cell(record: Comparison) -> str:
    """Of ratings how often A is above B and Holm's p of that, else P(A < B) of the paper."""
    order = record.superiority
    if order is not None:
        interval = f"{100 * order.ci_low:.0f} to {100 * order.ci_high:.0f}"
        return f"{100 * order.probability:.0f} ({interval}), p {p_text(record.superiority_p_holm)}"
    return share_text(record.probability_less)


def _covariate_rows(headline: SubsetAnalysis | None) -> list[tuple[str, ...]]:
    """Method, covariate, level, rate with its interval, trials; every row by itself, since a reader may sort them."""
    if headline is None:
        return []
    rating = headline.trials.preset == "rating"
    factor, digits = (1.0, 2) if rating else (100.0, 1)
    rows: list[tuple[str, ...]] = []
    for row in headline.tables.get("covariates", []):
        rate, low, high = (factor * float(row[key]) for key in ("rate", "ci_low", "ci_high"))
        interval = "" if math.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})"
        method, covariate = str(row["method"]), str(row["covariate"]).replace("_", " ")
        rows.append((method, covariate, str(row["level"]), f"{rate:.{digits}f}{interval}", str(row["n_trials"])))
    return rows


def _preference_parts(headline: SubsetAnalysis | None) -> dict[str, Any] | None:
    """Win matrix, comparisons and sentences of a preference study, for the page."""
    if headline is None or headline.preferences is None:
        return None
    results = headline.preferences
    heads, rows = win_matrix_cells(results)
    return {
        "chapter": "The real photo among several" if results.seeks_real else "Preferences",
        "title": wins_title(results).removesuffix(", %:"),
        "heads": heads,
        "rows": rows,
        "comparisons": preference_cells(results),
        "sentences": preference_sentences(results),
    }


def _set_of_rebalanced(content: ReportInput) -> str:
    """Of which images rebalanced AuC is, where it is compared: its value depends on the set."""
    of_metric = [entry.compared.n_images for entry in content.differences if entry.compared.metric == "ab_auc_rebal"]
    return counted(max(of_metric), "image") if of_metric else ""


def _difference_matrix(
    differences: Sequence[MetricDifference], table: ReportTable
) -> tuple[list[tuple[str, str]], list[list[str]]] | None:
    """One row a metric, one column a method: the difference to the baseline, its interval, Holm's p.

    Methods come with the letters of their cautions below the table of results.
    """
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
            row.append(
                with_minus(f"{shown[0]}{interval}, p {p_text(entry.p_holm, is_bound=entry.p_is_bound)}{on_fewer}")
            )
        rows.append(row)
    return [(method, table.marks_of(method)) for method in methods], rows


def _agreement_matrix(
    agreement: Sequence[MetricAgreement], table: ReportTable
) -> tuple[list[tuple[str, str]], list[list[str]]] | None:
    """One row a metric, one column a set of pairs: the correlation with its interval, and over images the observed one.

    Columns of one method come with the letters of its cautions below the table of results.
    """
    if not agreement:
        return None
    over = list(dict.fromkeys(entry.over for entry in agreement))
    cells = {(entry.metric, entry.over): entry for entry in agreement}
    rows = []
    for metric in dict.fromkeys(entry.metric for entry in agreement):
        row = [metric_column(metric).title]
        row += [_agreement_cell(cells.get((metric, column))) for column in over]
        rows.append(row)
    return [(column, table.marks_of(column.removeprefix("images of "))) for column in over], rows


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
        parts.append(
            f"{counted(len(content.scores.methods), 'method')} scored by {counted(len(content.scores.metrics), 'metric')}"
        )
    if content.study:
        test = content.study.headline.trials.of_kind("test")
        parts.append(f"{counted(len(test), 'answer')} of {counted(test.design.n_participants, 'participant')}")
    return "; ".join(parts) + f". colorization-evalkit {content.version}"


def _category_parts(content: ReportInput) -> dict[str, Any] | None:
    """Tables by category, one a measure: categories by methods, "value (low to high)"."""
    if content.categories is None or not content.by_category:
        return None
    by_key = {(result.measure, result.category, result.method): result for result in content.by_category}
    tables = []
    for measure, column in content.category_measures.items():
        own = [result for result in content.by_category if result.measure == measure]
        methods = content.in_order(dict.fromkeys(result.method for result in own))
        rows = []
        for category in dict.fromkeys(result.category for result in own):
            found = [by_key.get((measure, category, method)) for method in methods]
            n_images = max((result.n_images for result in found if result), default=0)
            rows.append((category, str(n_images), [_category_cell(result, column) for result in found]))
        heads = [(method, content.table.marks_of(method)) for method in methods]
        tables.append({"title": column.title, "methods": heads, "rows": rows})
    return {"name": content.categories.name, "tables": tables, "n_without": content.categories.n_without}


def _category_cell(result: CategoryResult | None, column: ReportColumn) -> str:
    if result is None or math.isnan(result.value):
        return "–"
    shown = [f"{column.factor * value:.{column.decimals}f}" for value in (result.value, result.ci_low, result.ci_high)]
    return with_minus(shown[0] if math.isnan(result.ci_low) else f"{shown[0]} ({shown[1]} to {shown[2]})")


def _figure_part(entry: DrawnFigure, content: ReportInput) -> dict[str, Any]:
    from markupsafe import Markup

    svg, caption = entry.inline, entry.caption
    if content.scatter is not None and entry.name == "metric_scatter":
        svg = _with_named_points(svg, content.scatter)
        n_images, n_shown = len(content.scatter.images), len(_hover_images(content))
        if content.folders is not None and n_shown < n_images:
            caption += f" The page holds the pictures of {n_shown:,} of the {counted(n_images, 'image')}."
    return {"name": entry.name, "caption": caption, "svg": Markup(svg), "wide": entry.wide}


HOVER_IMAGES = 200
"""Images whose pictures the page holds for the points of the scatter; more would make it too heavy to send."""
HOVER_SIDE = 112
"""Their largest side, pixels."""


def _hover_images(content: ReportInput) -> list[str]:
    """Images of the scatter whose truth is at hand: all of them, or as many as the page takes, evenly over the names."""
    if content.scatter is None or content.folders is None:
        return []
    images = [image for image in content.scatter.images if content.folders.photos.get(image)]
    return (
        [images[k * len(images) // HOVER_IMAGES] for k in range(HOVER_IMAGES)] if len(images) > HOVER_IMAGES else images
    )


def _scatter_pictures(content: ReportInput, galleries: Sequence[Gallery]) -> str:
    """JSON of the pictures behind the points, by image, but for those that stand in a gallery anyway; "" without any."""
    in_galleries = {row.image for gallery in galleries for row in gallery.rows}
    pictures = {}
    for image in _hover_images(content):
        assert content.folders is not None
        row = None if image in in_galleries else content.folders.row(image, "", side=HOVER_SIDE)
        if row is not None:
            pictures[image] = [[heading, source] for heading, source in row.pictures if source]
    # "<" would let a name end the element that holds the text.
    return json.dumps(pictures).replace("<", "\\u003c") if pictures else ""


def _with_named_points(svg: str, scatter: Scatter) -> str:
    """The scatter with the image, and in words what was measured, at every one of its points."""
    title = metric_column(scatter.metric)
    for number, (method, pairs) in enumerate(scatter.pairs.items()):
        named = iter(zip(pairs.images, pairs.values.tolist(), pairs.rates.tolist(), strict=True))

        def point(match: re.Match[str], named: Any = named, method: str = method) -> str:
            image, value, rate = next(named)
            shown = with_minus(f"{title.factor * value:.{title.decimals}f}")
            words = html.escape(f"{image}, {method}: {title.title} {shown}, rate {100 * rate:.0f} %")
            return f'<use data-image="{html.escape(image)}"{match[1]}><title>{words}</title></use>'

        start = svg.index(f'id="metric_scatter-{POINTS}{number}"')
        end = svg.index("</g>", svg.index("<use", start))
        svg = svg[:start] + re.sub(r"<use((?: [^<>]*)?)/>", point, svg[start:end]) + svg[end:]
    return svg.replace("<svg", '<svg data-points=""', 1)


def _inline(svg: str, name: str) -> str:
    """An SVG for use inside HTML: no XML header, no fixed size, ids that are its own, named by its caption."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#|url\(#)', lambda match: match[0] + name + "-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-labelledby="{name}-caption"', 1)
