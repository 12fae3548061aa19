"""Differences between two runs, or two methods of one run, on the same images: paired intervals and label-swap tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.errors import InputError
from evalkit.metrics import create_metrics
from evalkit.metrics.base import ImageStatistics, Metric, SumMetric
from evalkit.resampling.intervals import Interval, jackknife_interval, leave_one_out_scores, paired_difference
from evalkit.resampling.replicates import replicate_scores
from evalkit.resampling.swap_tests import sign_flip_test
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import Scores, load_statistics, summarise
from evalkit.scoring.signature import differing_fields
from evalkit.scoring.statistics_store import StoredStatistics

__all__ = ["Difference", "compare_methods", "compare_runs"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Second minus first.

    Attributes
    ----------
    method, other_method : str
        First and second: of two runs, or of one.
    metric : str
    first, second, difference : float
        Values and ``second - first``.
    std_error, ci_low, ci_high : float
        Of the difference, over images; the same image weights serve both.
    p_value : float
        Two-sided, by swapping the two methods' labels image by image (`evalkit.resampling.swap_tests.sign_flip_test`);
        NaN without resampling. Not adjusted for the number of rows.
    """

    method: str
    other_method: str
    metric: str
    first: float
    second: float
    difference: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float


def compare_runs(first: Path, second: Path, *, n_bootstrap: int = 10_000, seed: int = 0) -> list[Difference]:
    """Differences for every method and metric that two runs share.

    Where they share no method and each has exactly one that is not built in, these two are compared.

    Raises
    ------
    InputError
        If the signatures of a metric differ (the fields are named), or nothing is shared.
    """
    runs = [_without_intervals(first), _without_intervals(second)]
    pairs = _method_pairs(runs)
    shared = [name for name in runs[0].metrics if name in runs[1].metrics]
    if not shared:
        raise InputError(f"{first} and {second} share no metric")
    for method, other_method in pairs:
        for name in shared:
            differing = differing_fields(runs[0][method, name].signature, runs[1][other_method, name].signature)
            if differing:
                text = ", ".join(
                    f"{key} ({one or 'absent'} against {two or 'absent'})" for key, (one, two) in differing.items()
                )
                raise InputError(
                    f"{name} of {first} and {second} cannot be compared: their signatures differ in {text}"
                )
    return _differences([first, second], runs, pairs, shared, n_bootstrap, seed)


def compare_methods(out: Path, baseline: str, *, n_bootstrap: int = 10_000, seed: int = 0) -> list[Difference]:
    """Differences of every method of one run to a baseline, method minus baseline.

    Built-in methods are compared too; the truth is not.

    Raises
    ------
    InputError
        If the run has no method of that name, or no other.
    """
    run = _without_intervals(out)
    if baseline not in run.methods:
        raise InputError(f"{out} has no method {baseline!r}; it has {', '.join(run.methods)}")
    pairs = [(baseline, method) for method in run.record.methods if method not in (baseline, "truth")]
    if not pairs:
        raise InputError(f"{out} has no method beside {baseline!r}, so there is nothing to compare it with")
    return _differences([out, out], [run, run], pairs, list(run.metrics), n_bootstrap, seed)


def _differences(
    folders: Sequence[Path],
    runs: Sequence[Scores],
    pairs: Sequence[tuple[str, str]],
    shared: Sequence[str],
    n_bootstrap: int,
    seed: int,
) -> list[Difference]:
    records: Sequence[RunRecord] = [run.record for run in runs]
    metrics = create_metrics(shared, records[0].options, records[0].setups)
    stored = [_statistics(folder, record, metrics) for folder, record in zip(folders, records, strict=True)]
    differences = []
    for method, other_method in pairs:
        statistics = (stored[0].methods[method], stored[1].methods[other_method])
        for metric in metrics:
            values = runs[0][method, metric.name].value, runs[1][other_method, metric.name].value
            between, p_value = _interval_and_test(metric, statistics, values[1] - values[0], n_bootstrap, seed)
            differences.append(
                Difference(
                    method=method,
                    other_method=other_method,
                    metric=metric.name,
                    first=values[0],
                    second=values[1],
                    difference=values[1] - values[0],
                    std_error=between.std_error,
                    ci_low=between.low,
                    ci_high=between.high,
                    p_value=p_value,
                )
            )
    return differences


def _statistics(folder: Path, record: RunRecord, metrics: Sequence[Metric]) -> StoredStatistics:
    return load_statistics(folder / "statistics", record, metrics)


def _interval_and_test(
    metric: Metric, statistics: tuple[ImageStatistics, ImageStatistics], difference: float, n_bootstrap: int, seed: int
) -> tuple[Interval, float]:
    """Interval of second minus first, and p-value of the label swap."""
    if math.isnan(difference):
        return Interval.missing("one of the two is unscored"), math.nan
    if not isinstance(metric, SumMetric):
        return Interval.missing("a metric of whole sets has no paired interval"), math.nan
    first, second = (metric.terms(rows) for rows in statistics)
    p_value = sign_flip_test(second, first, metric.score, n_bootstrap, seed).p_value if n_bootstrap else math.nan
    if metric.interval == "jackknife":
        leave_one_out = leave_one_out_scores(second, metric.score) - leave_one_out_scores(first, metric.score)
        return jackknife_interval(difference, leave_one_out), p_value
    replicates = replicate_scores([(first, metric.score), (second, metric.score)], n_bootstrap, seed)
    return paired_difference(replicates[:, 1], replicates[:, 0], difference), p_value


def _without_intervals(folder: Path) -> Scores:
    """Scores and signatures of a run; the differences get intervals of their own."""
    record = RunRecord.from_json(folder / "run.json")
    statistics = folder / "statistics"
    if not statistics.is_dir():
        raise InputError(
            f"{folder}: holds a summary without statistics (made by 'evalkit rescore'?), and differences need the "
            "statistics of every image; compare folders that 'evalkit score' or 'evalkit merge' wrote"
        )
    return summarise(statistics, replace(record, n_bootstrap=0))


def _method_pairs(runs: Sequence[Scores]) -> list[tuple[str, str]]:
    shared = [method for method in runs[0].methods if method in runs[1].methods]
    own = [[m for m in run.methods if m not in run.record.builtins] for run in runs]
    named = [method for method in shared if method in own[0]]
    if named:
        return [(method, method) for method in shared]
    if len(own[0]) == len(own[1]) == 1:
        return [(own[0][0], own[1][0]), *((method, method) for method in shared)]
    if shared:
        return [(method, method) for method in shared]
    raise InputError(
        f"the runs share no method ({', '.join(runs[0].methods)} against {', '.join(runs[1].methods)}); give a method the "
        "same name in both, or score one method per run"
    )
