"""Every figure of the report in its order: when there is one, what stands below it, how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.report import figures as draw
from analysis.report.agreement import best_metric
from analysis.report.categories import N_PANELS, CategoryResult, category_figure
from analysis.report.cells import ReportColumn
from analysis.report.content import ReportInput, Scatter
from analysis.report.galleries import choice_title, choose_images
from analysis.report.gallery_figure import gallery_figure
from analysis.report.preference import preference_figure
from analysis.report.tables import metric_column
from analysis.study.analysis import SubsetAnalysis
from analysis.study.diagnostic_plots import has_vigilance_curve
from analysis.trials.columns import TRUTH
from evalkit.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "GALLERY",
    "ReportFigure",
    "Section",
    "by_first_measure",
    "drawn",
    "report_figures",
    "scattered",
]


@dataclass(frozen=True)
class ReportFigure:
    """A drawn figure with its caption; `name` is the file name without suffix, `wide` one over the whole page."""

    name: str
    caption: str
    figure: Figure
    wide: bool = False


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
    wide : bool
        Whether it takes the whole width of the page.
    """

    name: str
    applies: Callable[[ReportInput], bool]
    caption: Callable[[ReportInput], str]
    draw: Callable[[ReportInput], Figure]
    wide: bool = False


def report_figures(content: ReportInput) -> list[ReportFigure]:
    """All figures of the page for which there are data, in the order of `FIGURES`."""
    return [drawn(section, content) for section in FIGURES if section.applies(content)]


def drawn(section: Section, content: ReportInput) -> ReportFigure:
    """One figure of a report that has it."""
    return ReportFigure(section.name, section.caption(content), section.draw(content), wide=section.wide)


def _shown_study(content: ReportInput) -> SubsetAnalysis:
    """The study of a report that has one: sections ask for it only where they apply."""
    assert content.headline is not None
    return content.headline


def _curve_caption(content: ReportInput) -> str:
    bands = "; bands: 95 % over images" if content.scores and content.scores.curve_std_errors else ""
    return f"Cumulative ab-error curves: share of pixels within each error threshold{bands}."


def _draw_curves(content: ReportInput) -> Figure:
    assert content.scores is not None
    curves = content.scores.curves
    return draw.curve_figure({name: curves[name] for name in content.in_order(curves)}, content.scores.curve_std_errors)


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
    preset, by_method = study.trials.preset, {record.method: record for record in study.rates or ()}
    rates = [by_method[method] for method in content.in_order(by_method)]
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


def _draw_components(content: ReportInput) -> Figure:
    rows = {row["method"]: row for row in _shown_study(content).tables["variance_components"]}
    return draw.component_figure([rows[method] for method in content.in_order(rows)])


def _draw_vigilance(content: ReportInput) -> Figure:
    methods = _shown_study(content).diagnostics["methods"]
    return draw.vigilance_figure({method: methods[method] for method in content.in_order(methods)})


def _has_vigilance_curve(content: ReportInput) -> bool:
    if not content.rates_shown:
        return False
    return has_vigilance_curve(_shown_study(content).diagnostics.get("methods", {}))


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


def scattered(
    content: ReportInput, scatter: Scatter
) -> tuple[dict[str, tuple[FloatArray, FloatArray]], str, dict[str, float]]:
    """Values and rates by method, the metric's title, and rank correlations by method, as `draw_image_scatter` takes them."""
    column = metric_column(scatter.metric)
    rho = {entry.over: entry.observed for entry in content.agreement if entry.metric == scatter.metric}
    return (
        {method: (column.factor * pairs.values, pairs.rates) for method, pairs in scatter.pairs.items()},
        column.title,
        {method: rho[f"images of {method}"] for method in scatter.pairs if f"images of {method}" in rho},
    )


def _draw_scatter(content: ReportInput) -> Figure:
    assert content.scatter is not None
    return draw.image_scatter_figure(*scattered(content, content.scatter))


def _scatter_caption(content: ReportInput) -> str:
    assert content.scatter is not None
    title = metric_column(content.scatter.metric).title
    best = " (of the metrics that are shown to agree with people, the one that does most)"
    what = "how often they fool people"
    if content.headline is not None and content.headline.trials.preset != "real-vs-fake":
        rating = content.headline.trials.preset == "rating"
        what = "their mean rating" if rating else "how often they are judged natural"
    return f"{title} of single images against {what}{best if best_metric(content.agreement) else ''}."


def by_first_measure(content: ReportInput) -> tuple[list[CategoryResult], ReportColumn, list[str]]:
    """Results of the first measure by category, its column and the methods, as `category_figure` takes them."""
    measure, column = next(iter(content.category_measures.items()))
    results = [result for result in content.by_category if result.measure == measure]
    return results, column, content.in_order(dict.fromkeys(result.method for result in results))


def _categories_caption(content: ReportInput) -> str:
    assert content.categories is not None
    column = next(iter(content.category_measures.values()))
    n_categories = len(content.categories.images)
    some = f" of the {N_PANELS} largest of {n_categories} categories" if n_categories > N_PANELS else " by category"
    return f"{column.title}{some} ({content.categories.name}; images in brackets), with intervals."


def _draw_gallery(content: ReportInput) -> Figure:
    assert content.folders is not None
    rows = content.headline.tables["per_image"] if content.headline else []
    return gallery_figure(content.folders, choose_images(content.folders, content.images, rows))


def _gallery_caption(content: ReportInput) -> str:
    assert content.folders is not None
    return f"{choice_title(content.folders, content.images)}."


GALLERY = Section("gallery", lambda content: content.folders is not None, _gallery_caption, _draw_gallery)
"""Pictures at print size; a file of its own, since the page shows the same pictures larger."""
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
        _draw_components,
    ),
    Section(
        "vigilance",
        _has_vigilance_curve,
        lambda content: (
            "Fool rate of the participants who reach each share of vigilance trials; the left end is everybody."
        ),
        _draw_vigilance,
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
        lambda content: content.scatter is not None,
        _scatter_caption,
        _draw_scatter,
    ),
    Section(
        "categories",
        lambda content: bool(content.by_category),
        _categories_caption,
        lambda content: category_figure(*by_first_measure(content)),
        wide=True,
    ),
)
"""Every figure of the report, in its order; a new one is one entry."""
