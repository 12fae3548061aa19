"""Results by category of image: class folders, or any column of a table; a table and small multiples."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from analysis.records import Row
from analysis.report.cells import Cell, ReportColumn
from analysis.report.figures import PAGE_WIDTH, grid_figure
from analysis.study.analysis import SubsetAnalysis
from analysis.study.rates import fool_rates
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError
from evalkit.images.image_pairs import NameIndex
from evalkit.plotting import method_look
from evalkit.scoring.cautions import cautions_about
from evalkit.scoring.score_folder import ScoreFolder
from evalkit.text_formats import spreadsheet_text
from evalkit.wording import counted, error_reason, some_names, unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "Categories",
    "CategoryResult",
    "category_figure",
    "category_results",
    "chosen_categories",
    "class_folders",
    "read_categories",
]

N_REPLICATES = 2_000
"""Bootstrap replicates of an interval of a category; those of fewer than 100 images need none."""
N_PANELS = 24
"""Panels of the figure, at most: the largest categories."""
N_COLUMNS = 4
PEOPLE = "fooled"
"""Key of the rate of people beside the names of metrics."""


@dataclass(frozen=True, kw_only=True)
class Categories:
    """Which images belong to which category.

    Attributes
    ----------
    name : str
        What the categories are: a column of a file, or "folder".
    images : mapping of str to frozenset of str
        Images of the run by category, in the order of the file (folders by name).
    n_without : int
        Images of the run that belong to none.
    """

    name: str
    images: Mapping[str, frozenset[str]]
    n_without: int = 0


@dataclass(frozen=True, kw_only=True)
class CategoryResult:
    """One number of one method on one category.

    Attributes
    ----------
    category, method : str
    measure : str
        A metric, or "fooled" for the rate (or mean rating) of people.
    value, std_error, ci_low, ci_high : float
        NaN where it is missing.
    n_images : int
        Images that carry it.
    n_trials : int
        Answers behind a rate; 0 for a metric.
    note : str
        Why it is missing, or what a reader has to know.
    cautions : tuple of str
        Of a metric: what a reader should know of the photos of the category, and of the method on them.
    """

    category: str
    method: str
    measure: str
    value: float = math.nan
    std_error: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    n_images: int = 0
    n_trials: int = 0
    note: str = ""
    cautions: tuple[str, ...] = ()

    def row(self) -> Row:
        """Columns of ``categories.csv``."""
        return {
            "category": self.category,
            "method": self.method,
            "measure": self.measure,
            "value": self.value,
            "std_error": self.std_error,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "n_images": self.n_images,
            "n_trials": self.n_trials,
            "note": self.note,
            "cautions": "; ".join(self.cautions),
        }

    def cell(self) -> Cell:
        """For a table."""
        return Cell(value=self.value, std_error=self.std_error, ci_low=self.ci_low, ci_high=self.ci_high)


def class_folders(images: Iterable[str]) -> Categories:
    """Categories by the first folder of each image's name, as in NCD or ImageNet.

    Raises
    ------
    InputError
        When no image lies in a folder.
    """
    by_folder: dict[str, set[str]] = {}
    names = sorted(set(images))
    for name in names:
        folder, slash, _ = name.partition("/")
        if slash:
            by_folder.setdefault(folder, set()).add(name)
    if not by_folder:
        raise InputError(
            "--groups folders: no image lies in a folder of its class; name a CSV file with --groups FILE."
        )
    n_in_folders = sum(map(len, by_folder.values()))
    images_of = {folder: frozenset(own) for folder, own in by_folder.items()}
    return Categories(name="folder", images=images_of, n_without=len(names) - n_in_folders)


def read_categories(path: Path, images: Iterable[str], column: str = "") -> Categories:
    """Read a CSV file whose first column names images, and another one their category.

    Parameters
    ----------
    path : Path
        Comma, semicolon or tab between entries; names with or without ending and folders. Images that are not of the run
        are passed over, since a list is often of a whole data set.
    images : iterable of str
        Images of the run.
    column : str
        Its heading; the second column by default.

    Raises
    ------
    InputError
        When the file cannot be read, has no such column, names an image twice or ambiguously, or none of the run.
    """
    try:
        sheet = spreadsheet_text(path)
    except (OSError, InputError) as error:
        raise InputError(f"--groups {path}: cannot be read as a text file ({error_reason(error)}).") from None
    heads, *rows = [row for row in csv.reader(io.StringIO(sheet.text), delimiter=sheet.delimiter) if any(row)] or [[]]
    heads = [head.strip() for head in heads]
    if len(heads) < 2:
        raise InputError(f"--groups {path}: needs a column of image names, and one of categories behind it.")
    if column and column not in heads[1:]:
        raise InputError(f"--groups {path}: {unknown_name('column', column, heads[1:])}")
    place = heads.index(column, 1) if column else 1
    names = set(images)
    in_run = NameIndex(names)
    category_of: dict[str, str] = {}
    by_category: dict[str, set[str]] = {}
    for number, row in enumerate(rows, start=sheet.header_row + 1):
        if len(row) <= place or not row[place].strip():
            continue
        matches = in_run.matches(row[0].strip())
        if len(matches) > 1:
            raise InputError(
                f"--groups {path}, row {number}: '{row[0]}' may be {some_names(sorted(matches))}; write the folder in front."
            )
        for name in matches:
            category = row[place].strip()
            if category_of.setdefault(name, category) != category:
                raise InputError(f"--groups {path}, row {number}: {name} is in {category_of[name]} and in {category}.")
            by_category.setdefault(category, set()).add(name)
    if not by_category:
        raise InputError(f"--groups {path}: names none of the {counted(len(names), 'image')} of this report.")
    return Categories(
        name=heads[place],
        images={category: frozenset(own) for category, own in by_category.items()},
        n_without=len(names) - len(category_of),
    )


def category_results(
    categories: Categories, scores: ScoreFolder | None, study: SubsetAnalysis | None
) -> list[CategoryResult]:
    """Every metric, and the rate of people, of every method on the images of each category alone.

    Scores are summarised anew from the statistics of the category's images, with their own intervals: a pooled AuC of a
    category is not the mean over its images, and its rebalanced AuC has the class shares of its own pixels. Rates are
    those of `analysis.study.rates.fool_rates` on the trials about the category's images.

    Raises
    ------
    InputError
        When the scores have no statistics of single images.
    """
    results: list[CategoryResult] = []
    index = NameIndex(image for images in categories.images.values() for image in images)
    for category, images in categories.images.items():
        if scores is not None:
            results += _scores_of(scores, category, images)
        if study is not None and study.rates is not None:
            results += _rates_of(study, category, images, index)
    return results


def _scores_of(scores: ScoreFolder, category: str, images: frozenset[str]) -> list[CategoryResult]:
    from evalkit.scoring.record import RunRecord
    from evalkit.scoring.scores import summarise

    if not (scores.folder / "statistics").is_dir():
        raise InputError(f"{scores.folder}: holds no statistics of single images, which results by category need.")
    record = RunRecord.from_json(scores.folder / "run.json")
    keep = images & set(scores.per_image["image"].tolist())
    if not keep:
        return []
    record = replace(record, n_bootstrap=min(record.n_bootstrap, N_REPLICATES), samples={})
    try:
        of_category = summarise(scores.folder / "statistics", record, keep)
    except InputError as error:
        return [
            CategoryResult(category=category, method=method, measure=metric, note=str(error))
            for method in scores.methods
            for metric in scores.metrics
        ]
    summary = {(score.method, score.metric): score for score in of_category.summary}
    return [
        CategoryResult(
            category=category,
            method=score.method,
            measure=score.metric,
            value=score.value,
            std_error=score.std_error,
            ci_low=score.ci_low,
            ci_high=score.ci_high,
            n_images=score.n_images,
            note=score.reason,
            cautions=tuple(
                text
                for text in cautions_about(
                    score.metric, (score.method,), warnings=of_category.warnings, summary=summary
                )
                if text != f"{score.method}: {score.reason}"
            ),
        )
        for score in of_category.summary
    ]


def _rates_of(study: SubsetAnalysis, category: str, images: frozenset[str], index: NameIndex) -> list[CategoryResult]:
    trials = study.trials.of_kind("test")
    # A name that may be of several categories (1 of apple/1 and pear/1) is of none.
    matches = {image: index.matches(str(image)) for image in np.unique(trials["image"])}
    inside = {image: len(found) == 1 and found <= images for image, found in matches.items()}
    own = trials.where(np.array([inside[image] for image in trials["image"]], dtype=np.bool_))
    if not len(own):
        return []
    known = next((record.mean for record in study.rates or () if record.mean), None)
    rates = fool_rates(
        own,
        estimand=known.estimand if known else "participants+images",
        confidence=known.confidence if known else 0.95,
    )
    return [
        CategoryResult(
            category=category,
            method=record.method,
            measure=PEOPLE,
            value=record.mean.estimate if record.mean else math.nan,
            std_error=record.mean.std_error if record.mean else math.nan,
            ci_low=record.mean.ci_low if record.mean else math.nan,
            ci_high=record.mean.ci_high if record.mean else math.nan,
            n_images=record.mean.n_images if record.mean else 0,
            n_trials=record.n_trials,
            note=record.note,
        )
        for record in rates
        if not record.is_vigilance
    ]


def chosen_categories(groups: str, column: str, scores: ScoreFolder | None, trials: TrialTable | None) -> Categories:
    """Categories of the images of the scores, or, without any, of those of the test trials.

    Parameters
    ----------
    groups : str
        A CSV file (`read_categories`), or ``"folders"`` (`class_folders`).
    column : str
        Of the file; "" for its second.
    scores, trials : ScoreFolder, TrialTable or None
        Results to divide.

    Raises
    ------
    InputError
        Without results, or when there are no such categories.
    """
    if scores is not None:
        images = {str(image) for image in scores.per_image["image"]}
    elif trials is not None:
        images = {str(image) for image in trials.of_kind("test")["image"]}
    else:
        raise InputError("--groups needs results to divide: --scores DIR, --trials FILE, or both.")
    return class_folders(images) if groups == "folders" else read_categories(Path(groups).expanduser(), images, column)


@overload
def category_figure(results: Sequence[CategoryResult], column: ReportColumn, methods: Sequence[str]) -> Figure: ...
@overload
def category_figure(
    results: Sequence[CategoryResult], column: ReportColumn, methods: Sequence[str], figure: Figure | SubFigure
) -> Figure | SubFigure: ...
def category_figure(
    results: Sequence[CategoryResult],
    column: ReportColumn,
    methods: Sequence[str],
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Small multiples: one panel a category, one line a method, with intervals, all on the same axis.

    Parameters
    ----------
    results : sequence of CategoryResult
        Of one measure.
    column : ReportColumn
        Its title and unit.
    methods : sequence of str
        From the top of each panel to its bottom.
    figure : matplotlib Figure or SubFigure, optional
        One of the caller's to draw in; by default a new one in the style of the report.
    """
    n_images: dict[str, int] = {}
    for result in results:
        n_images[result.category] = max(n_images.get(result.category, 0), result.n_images)
    largest = set(sorted(n_images, key=lambda name: -n_images[name])[:N_PANELS])
    shown = [category for category in n_images if category in largest]
    by_key = {(result.category, result.method): result for result in results}
    n_columns = min(N_COLUMNS, len(shown))
    n_rows = math.ceil(len(shown) / n_columns)
    panel_height = 0.42 + 0.15 * len(methods)
    size = PAGE_WIDTH, 0.45 + n_rows * panel_height
    with grid_figure(*size, n_rows, n_columns, figure) as (shared, panels):
        for panel, category in zip(panels, shown, strict=False):
            panel.set_title(f"{category} ({n_images[category]})", fontsize=7, loc="left", pad=2)
            for position, method in enumerate(reversed(methods)):
                number = len(methods) - 1 - position
                own = by_key.get((category, method))
                if own is None or math.isnan(own.value):
                    continue
                value, low, high = (column.factor * limit for limit in (own.value, own.ci_low, own.ci_high))
                look = method_look(number)
                panel.plot([low, high], [position, position], color=look["color"], linewidth=1.2)
                panel.plot(value, position, marker=look["marker"], color=look["color"], markersize=3.5)
            panel.set_yticks(range(len(methods)), labels=list(reversed(methods)))
            panel.set_ylim(-0.6, len(methods) - 0.4)
            panel.tick_params(axis="y", length=0)
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        for panel in panels[max(len(shown) - N_COLUMNS, 0) : len(shown)]:  # the last ones of their columns
            panel.tick_params(axis="x", labelbottom=True)
        shared.supxlabel(column.title, fontsize=8)
    return shared
