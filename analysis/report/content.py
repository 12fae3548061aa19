"""What a report is made of, and what is computed from it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from analysis.report.agreement import ImagePairs, MetricAgreement, best_metric, image_pairs_of, metric_agreement
from analysis.report.categories import PEOPLE, Categories, CategoryResult, category_results
from analysis.report.cells import ReportColumn
from analysis.report.galleries import ImageChoice, ImageFolders
from analysis.report.latex import LatexColumns
from analysis.report.metric_differences import MetricDifference, metric_differences
from analysis.report.published_rows import published_rows
from analysis.report.tables import ReportTable, build_table, metric_column, ordered, rate_column
from analysis.study.analysis import StudyAnalysis, SubsetAnalysis
from evalkit.scoring.score_folder import ScoreFolder

__all__ = ["ReportInput", "Scatter", "provenance"]


@dataclass(frozen=True)
class Scatter:
    """A metric of single images against how often they fool people.

    Attributes
    ----------
    metric : str
        Its name.
    pairs : mapping of str to ImagePairs
        By method, in the order of the run.
    """

    metric: str
    pairs: Mapping[str, ImagePairs]

    @property
    def images(self) -> list[str]:
        """Images of any method, by name."""
        return sorted({image for pairs in self.pairs.values() for image in pairs.images})


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
    images : ImageChoice
        Which of them the first gallery shows.
    order : tuple of str
        Methods in the order in which tables, figures and galleries show them; others follow in their own order.
    categories : Categories or None
        Groups of images, for results by category.
    families : mapping of str to str
        Kind of method (scribble, example, learned) by method; empty to show none.
    latex : {"plain", "siunitx"}
        How numbers stand in the columns of ``table.tex``.
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
    images: ImageChoice = field(default_factory=ImageChoice)
    order: tuple[str, ...] = ()
    categories: Categories | None = None
    families: Mapping[str, str] = field(default_factory=dict)
    latex: LatexColumns = "plain"
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
            self.scores,
            self.headline,
            published=published_rows(self.published) if self.published else (),
            order=self.order,
            families=self.families,
        )

    @cached_property
    def by_category(self) -> list[CategoryResult]:
        """Results of every category; empty without categories."""
        return category_results(self.categories, self.scores, self.headline) if self.categories else []

    @property
    def category_measures(self) -> dict[str, ReportColumn]:
        """What there is by category: the people's rate first, then metrics."""
        measures = dict.fromkeys(result.measure for result in self.by_category)
        ordered_measures = sorted(measures, key=lambda name: name != PEOPLE)
        return {name: self._measure_column(name) for name in ordered_measures}

    def _measure_column(self, name: str) -> ReportColumn:
        if name != PEOPLE or self.headline is None:
            return metric_column(name)
        return rate_column(self.headline.trials.preset)

    def in_order(self, methods: Iterable[str]) -> list[str]:
        """Methods as the user ordered them."""
        return ordered(methods, self.order)

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

    @cached_property
    def scatter(self) -> Scatter | None:
        """The metric that agrees best, or the first one where none is shown to; None where no image has both."""
        of_images = [entry.metric for entry in self.agreement if entry.over != "methods"]
        metric = best_metric(self.agreement) or next(iter(of_images), "")
        if not metric or self.scores is None or self.headline is None:
            return None
        rows = self.headline.tables["per_image"]
        pairs = {
            method: image_pairs_of(self.scores, rows, metric, method) for method in self.in_order(self.scores.methods)
        }
        shown = {method: own for method, own in pairs.items() if len(own) > 1}
        return Scatter(metric, shown) if shown else None

    @property
    def rates_shown(self) -> bool:
        """Whether there are rates (or mean ratings) of single methods to draw."""
        return self.headline is not None and self.headline.rates is not None


def provenance(content: ReportInput) -> dict[str, Any]:
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
