"""Scores against the number of hints, and the area under that curve.

References
----------
.. [1] R. Zhang et al., "Real-Time User-Guided Image Colorization with Learned Deep Priors", ACM TOG 36(4), 2017,
   figure 6: PSNR against the number of revealed points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import InputError
from evalkit.text_formats import csv_text
from evalkit.wording import some_names

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray
    from evalkit.scoring.scores import Scores

__all__ = ["HintArea", "HintCurve", "HintPoint", "area_weights", "count_folders", "method_of_count", "read_curve"]


@dataclass(frozen=True, kw_only=True)
class HintPoint:
    """Score of a method with so many hints.

    Attributes
    ----------
    method : str
    metric : str
    n_hints : int
        Hints of each photo.
    value, std_error, ci_low, ci_high : float
        As in ``summary.csv``; NaN where unscored.
    n_images : int
        Images that the score counts.
    reason : str
        Why images, or all, are unscored.
    signature : str
    cautions : tuple of str
        What a reader should know of the run and of this score.
    """

    method: str
    metric: str
    n_hints: int
    value: float
    std_error: float
    ci_low: float
    ci_high: float
    n_images: int
    reason: str
    signature: str
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HintArea:
    """Mean height of a curve over ``log2(1 + number of hints)``.

    Attributes
    ----------
    method, metric : str
    value, std_error, ci_low, ci_high : float
        In the unit of the metric; NaN where a point is unscored.
    baseline : str
        The first method.
    difference, difference_ci_low, difference_ci_high : float
        Area minus that of the baseline, on the same images; NaN for the baseline itself.
    cautions : tuple of str
        Those of all points of its curve, and of the baseline's.
    """

    method: str
    metric: str
    value: float
    std_error: float
    ci_low: float
    ci_high: float
    baseline: str
    difference: float
    difference_ci_low: float
    difference_ci_high: float
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class HintCurve:
    """Points and areas of a run (`read_curve`)."""

    points: tuple[HintPoint, ...]
    areas: tuple[HintArea, ...]

    def points_csv(self) -> str:
        """The points, one per line."""
        return csv_text([_row(point) for point in self.points])

    def areas_csv(self) -> str:
        """The areas, one per line."""
        return csv_text([_row(area) for area in self.areas])


def _row(record: HintPoint | HintArea) -> dict[str, Any]:
    return {**vars(record), "cautions": "; ".join(record.cautions)}


def count_folders(methods: Mapping[str, Path]) -> tuple[int, ...]:
    """Numbers of hints for which every method has a folder ``k``, ascending.

    Raises
    ------
    InputError
        If a folder is absent, a method has fewer than two such folders, or methods differ in them.
    """
    from evalkit.hints.files import number_folders

    counts: dict[str, list[int]] = {}
    for method, folder in methods.items():
        counts[method] = number_folders(folder)
        if len(counts[method]) < 2:
            raise InputError(
                f"{folder}: a curve of {method} needs colorizations in at least two folders named by the number of hints "
                f"(0, 1, 2, ...); it has {', '.join(map(str, counts[method])) or 'none'}"
            )
    first = next(iter(counts))
    for method, numbers in counts.items():
        odd = sorted({*numbers} ^ {*counts[first]})
        if odd:
            raise InputError(
                f"{method} and {first} have colorizations for different numbers of hints ({some_names(odd)} for one of "
                "them alone); the areas under their curves compare only over the same numbers"
            )
    return tuple(counts[first])


def method_of_count(method: str, n_hints: int) -> str:
    """Name of a method with so many hints in the scoring run."""
    return f"{method}-{n_hints}"


def area_weights(counts: Sequence[int]) -> FloatArray:
    """Weights whose sum with the scores is the area under the curve, by the trapezoid rule over log2(1 + k), divided by its range.

    So the area has the unit of the metric: it is the mean height of the curve. On this axis the step from no hint to
    one counts as much as that from one to three; on a plain axis the last step alone would decide.

    Parameters
    ----------
    counts : sequence of int
        Ascending, at least two.

    Returns
    -------
    ndarray of float64, shape (len(counts),)
        Sum 1.

    Examples
    --------
    >>> area_weights([0, 1, 3]).tolist()
    [0.25, 0.5, 0.25]
    """
    import numpy as np

    steps = np.diff(np.log2(1.0 + np.asarray(counts)))
    weights: FloatArray = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / (2 * steps.sum())
    return weights


def read_curve(out: Path, methods: Sequence[str], counts: Sequence[int], *, n_bootstrap: int, seed: int) -> HintCurve:
    """Points and areas of a scoring run whose methods are named by `method_of_count`.

    Parameters
    ----------
    out : Path
        The ``--out`` folder of the run, with its statistics.
    methods : sequence of str
        The first is what the areas of the others are compared with.
    counts : sequence of int
        Numbers of hints, ascending.
    n_bootstrap, seed
        Replicates over images for the areas. The same image weights serve all points, so an area's interval knows that
        the points stand on the same photos.

    Returns
    -------
    HintCurve
    """
    from evalkit.metrics import create_metrics
    from evalkit.metrics.base import SumMetric
    from evalkit.scoring.cautions import cautions_about
    from evalkit.scoring.scores import Scores, load_statistics

    scores = Scores.read(out)
    by_name = {(score.method, score.metric): score for score in scores.summary}

    def cautions(metric: str, names: Sequence[str]) -> tuple[str, ...]:
        return cautions_about(metric, names, warnings=scores.warnings, summary=by_name)

    record = scores.record
    metrics = create_metrics(record.metrics, record.options, record.setups)
    stored = load_statistics(out / "statistics", record, metrics)
    points = [
        _point(scores, method, metric, k, cautions(metric, [method_of_count(method, k)]))
        for metric in record.metrics
        for method in methods
        for k in counts
    ]
    areas: list[HintArea] = []
    for metric in metrics:
        if not isinstance(metric, SumMetric):
            continue
        terms: dict[str, list[Any]] = {}
        for method in methods:
            values = [scores[method_of_count(method, k), metric.name].value for k in counts]
            if not any(map(math.isnan, values)):
                terms[method] = [metric.terms(stored.methods[method_of_count(method, k)]) for k in counts]
        of_metric = _areas(metric, scores, terms, methods=methods, counts=counts, n_bootstrap=n_bootstrap, seed=seed)
        for area in of_metric:
            behind = [method_of_count(name, k) for name in dict.fromkeys((area.method, area.baseline)) for k in counts]
            areas.append(replace(area, cautions=cautions(metric.name, behind)))
    return HintCurve(tuple(points), tuple(areas))


def _point(scores: Scores, method: str, metric: str, n_hints: int, cautions: tuple[str, ...]) -> HintPoint:
    score = scores[method_of_count(method, n_hints), metric]
    return HintPoint(
        method=method,
        metric=metric,
        n_hints=n_hints,
        value=score.value,
        std_error=score.std_error,
        ci_low=score.ci_low,
        ci_high=score.ci_high,
        n_images=score.n_images,
        reason=score.reason,
        signature=score.signature,
        cautions=cautions,
    )


def _areas(
    metric: Any,
    scores: Scores,
    terms: Mapping[str, list[Any]],
    *,
    methods: Sequence[str],
    counts: Sequence[int],
    n_bootstrap: int,
    seed: int,
) -> list[HintArea]:
    import numpy as np

    from evalkit.resampling.intervals import (
        Interval,
        interval,
        jackknife_interval,
        leave_one_out_scores,
        paired_difference,
    )
    from evalkit.resampling.replicates import replicate_scores

    weights = area_weights(counts)
    jackknifed = metric.interval == "jackknife"
    values: dict[str, float] = {}
    resampled: dict[str, FloatArray] = {}
    for method, of_counts in terms.items():
        heights = [scores[method_of_count(method, k), metric.name].value for k in counts]
        values[method] = float(weights @ np.array(heights))
        if jackknifed:
            resampled[method] = np.stack([leave_one_out_scores(t, metric.score) for t in of_counts], axis=1) @ weights
    if n_bootstrap and not jackknifed and terms:
        columns = [(t, metric.score) for of_counts in terms.values() for t in of_counts]
        replicates = replicate_scores(columns, n_bootstrap, seed)
        for i, method in enumerate(terms):
            resampled[method] = replicates[:, i * len(counts) : (i + 1) * len(counts)] @ weights
    baseline = methods[0]
    areas = []
    for method in methods:
        value = values.get(method, math.nan)
        difference = value - values.get(baseline, math.nan) if method != baseline else math.nan
        own = apart = Interval.missing("unscored, or no interval was asked for")
        if n_bootstrap and method in resampled:
            own = (jackknife_interval if jackknifed else interval)(value, resampled[method])
            if not math.isnan(difference):
                mine, theirs = resampled[method], resampled[baseline]
                apart = (
                    jackknife_interval(difference, mine - theirs)
                    if jackknifed
                    else paired_difference(mine, theirs, difference)
                )
        areas.append(
            HintArea(
                method=method,
                metric=metric.name,
                value=value,
                std_error=own.std_error,
                ci_low=own.low,
                ci_high=own.high,
                baseline=baseline,
                difference=difference,
                difference_ci_low=apart.low,
                difference_ci_high=apart.high,
            )
        )
    return areas
