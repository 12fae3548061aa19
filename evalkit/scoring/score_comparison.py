"""Differences between two runs, or two methods of one run, on the same images: paired intervals and label-swap tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError, NoSuchResultError, check_path, check_whole
from evalkit.metrics import DEFAULT, create_metrics, expand_default, load_metric
from evalkit.metrics.base import Metric, SumMetric, exact_sum
from evalkit.needs import need_pandas
from evalkit.plotting import chosen_axes
from evalkit.resampling.intervals import (
    Interval,
    jackknife_interval,
    jackknife_p_value,
    leave_one_out_scores,
    paired_difference,
    paired_share_difference_interval,
)
from evalkit.resampling.multiplicity import holm
from evalkit.resampling.replicates import FEW_IMAGES, ScoreFunction, quietly, replicate_scores
from evalkit.resampling.swap_tests import SwapTest, sign_flip_tests, studentised_swap_test
from evalkit.scoring.cautions import cautions_about
from evalkit.scoring.difference_plot import draw_differences
from evalkit.scoring.estimates import Estimate, check_n_bootstrap, estimate
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import Score, Scores, load_statistics, summarise
from evalkit.scoring.signature import differing_fields
from evalkit.scoring.statistics_store import StoredStatistics
from evalkit.shown import ShownAsTable, is_position, part_of
from evalkit.wording import counted, unknown_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "Difference",
    "Differences",
    "RunEstimates",
    "compare_methods",
    "compare_runs",
    "p_text",
    "run_estimates",
]

SMALLEST_P = 0.001
"""Below this a p-value is only said to be below it."""

STUDENTISED_UP_TO = 200
"""Images up to which the class-rebalanced AuC is tested by studentised swaps; above, their ratio follows Student's t, and
100,000 swaps would take minutes."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Second minus first, on the images that both have a finite value of.

    Attributes
    ----------
    method, other_method : str
        First and second: of two runs, or of one.
    metric : str
    n_images : int
        Images that carry both values: one that is infinite or unscored on either side is left out on both.
    first, second, difference : float
        Values on these images and ``second - first``.
    std_error, ci_low, ci_high : float
        Of the difference, over images; the same image weights serve both.
    p_value : float
        Two-sided, by swapping the two methods' labels image by image (`evalkit.resampling.swap_tests`); NaN without a
        test.
    p_holm : float
        The same, adjusted for all rows that were tested together.
    is_at_floor : bool
        Whether no random swap went as far as what was observed: the p-values are then at most what they say.
    cautions : tuple of str
        What a reader should know of the runs and of the two values; those of one of two runs alone begin with
        ``first run:`` or ``second run:``.
    """

    method: str
    other_method: str
    metric: str
    n_images: int
    first: float
    second: float
    difference: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float
    is_at_floor: bool
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Differences(ShownAsTable, Sequence[Difference]):
    """The rows of one comparison, whose p-values were adjusted together.

    Attributes
    ----------
    records : tuple of Difference
    """

    records: tuple[Difference, ...]

    @overload
    def __getitem__(self, index: SupportsIndex) -> Difference: ...
    @overload
    def __getitem__(self, index: slice) -> Differences: ...
    @overload
    def __getitem__(self, index: tuple[str, str]) -> Difference: ...
    def __getitem__(self, index: SupportsIndex | slice | tuple[str, str]) -> Difference | Differences:
        """By position, or by ``(method, metric)``: the second method, or the first where one row alone has it."""
        if isinstance(index, slice):
            return Differences(part_of(self.records, index))
        if is_position(index):
            return self.records[index]
        if not isinstance(index, tuple) or len(index) != 2 or not all(isinstance(name, str) for name in index):
            raise InputError(f"differences[{index!r}]: give a method and a metric, differences['mine', 'ab_auc']")
        method, metric = index
        of_metric = [record for record in self.records if record.metric == metric]
        if not of_metric:
            metrics = tuple(dict.fromkeys(record.metric for record in self.records))
            raise NoSuchResultError(f"in these differences {unknown_name('metric', str(metric), metrics)}")
        of_second = [record for record in of_metric if record.other_method == method]
        found = of_second or [record for record in of_metric if record.method == method]
        if len(found) == 1:
            return found[0]
        others = tuple(record.other_method for record in found or of_metric)
        if found:
            raise NoSuchResultError(
                f"{counted(len(found), 'difference')} in {metric} have the method {method!r}; give the other one: {', '.join(others)}"
            )
        raise NoSuchResultError(f"in these differences {unknown_name('method', str(method), others)}")

    def __len__(self) -> int:
        return len(self.records)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per difference, column name to value; the cautions in one text, with semicolons between them."""
        return [{**vars(record), "cautions": "; ".join(record.cautions)} for record in self.records]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas data frame (needs pandas)."""
        need_pandas()
        import pandas as pd

        return pd.DataFrame(self.rows())

    def plot(self, ax: Axes | None = None, *, metric: str | None = None) -> Axes:
        """Draw the differences in one metric with their intervals, one line each.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            pyplot's current ones by default.
        metric : str, optional
            The first one of the rows by default.

        Returns
        -------
        matplotlib Axes
            Those that were drawn on; AuC and accuracies in percentage points.

        Raises
        ------
        InputError
            If there is no difference to draw, or matplotlib is not installed.
        """
        if not self.records:
            raise InputError("there are no differences to draw")
        name = self.records[0].metric if metric is None else metric
        shown = [record for record in self.records if record.metric == name]
        if not shown:
            metrics = tuple(dict.fromkeys(record.metric for record in self.records))
            raise NoSuchResultError(f"in these differences {unknown_name('metric', str(name), metrics)}")
        axes, of = chosen_axes(ax), load_metric(name)
        factor = 100.0 if of.percent else 1.0
        draw_differences(
            axes,
            [
                record.method
                if record.method == record.other_method
                else f"{record.other_method} minus {record.method}"
                for record in shown
            ],
            [(factor * record.difference, factor * record.ci_low, factor * record.ci_high) for record in shown],
            f"{of.title}, second minus first{', points' if of.percent else ''}",
        )
        return axes

    def shown_title(self) -> str:
        """What is compared, and on how many images."""
        n_images = max((record.n_images for record in self.records), default=0)
        return (
            f"Second minus first on {counted(n_images, 'image')}: {counted(len(self), 'difference')} with 95 % intervals; p is "
            "adjusted for all that were tested together (Holm)"
        )

    def shown_rows(self) -> list[dict[str, Any]]:
        """One row per difference, AuC and accuracies in per cent."""
        return [_shown_row(record) for record in self.records]


def _shown_row(record: Difference) -> dict[str, Any]:
    metric = load_metric(record.metric)
    first, second, difference, low, high = (
        "unscored" if math.isnan(value) else metric.number_text(value)
        for value in (record.first, record.second, record.difference, record.ci_low, record.ci_high)
    )
    return {
        "first": record.method,
        "second": record.other_method,
        "metric": metric.title + (" %" if metric.percent else ""),
        "first value": first,
        "second value": second,
        "difference": difference,
        "95 % interval": "" if math.isnan(record.ci_low) else f"{low} – {high}",
        "p (Holm)": p_text(record.p_holm, is_at_floor=record.is_at_floor),
    }


def p_text(p_value: float, *, is_at_floor: bool = False) -> str:
    """A p-value in words that are true: never 0, and "at most" where the number of draws is what bounds it."""
    if math.isnan(p_value):
        return ""
    if p_value < SMALLEST_P:
        return f"< {SMALLEST_P:g}"
    return f"at most {p_value:.3f}" if is_at_floor else f"{p_value:.3f}"


def compare_runs(
    first: str | Path,
    second: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    n_bootstrap: int = 10_000,
    seed: int = 0,
) -> Differences:
    """Differences for every method and metric that two runs share.

    Where they share no method and each has exactly one that is not built in, these two are compared.

    Parameters
    ----------
    first, second : path
        Finished ``--out`` folders.
    metrics : sequence of str, optional
        The metrics to compare, which are then the family that p-values are adjusted for; by default all that both have.
    n_bootstrap : int
        Bootstrap replicates over images.
    seed : int
        Of bootstrap and label swaps.

    Raises
    ------
    InputError
        If the signatures of a metric differ (the fields are named), nothing is shared, or a metric is in one run only.
    """
    check_n_bootstrap(n_bootstrap)
    check_whole("seed", seed, 0)
    runs = [_read_run(first), _read_run(second)]
    scores = [run.scores for run in runs]
    pairs = _method_pairs(scores)
    shared = [name for name in scores[0].metrics if name in scores[1].metrics]
    if not shared:
        raise InputError(f"{first} and {second} share no metric")
    shared = _chosen(metrics, shared, f"{first} and {second}")
    for method, other_method in pairs:
        for name in shared:
            differing = differing_fields(scores[0][method, name].signature, scores[1][other_method, name].signature)
            if differing:
                text = ", ".join(
                    f"{key} ({one or 'absent'} against {two or 'absent'})" for key, (one, two) in differing.items()
                )
                raise InputError(
                    f"{name} of {first} and {second} cannot be compared: their signatures differ in {text}"
                )
    return _differences(runs, pairs, shared, n_bootstrap, seed)


def compare_methods(
    out: str | Path, baseline: str, *, metrics: Sequence[str] | None = None, n_bootstrap: int = 10_000, seed: int = 0
) -> Differences:
    """Differences of every method of one run to a baseline, method minus baseline.

    Built-in methods are compared too; the truth is not.

    Parameters
    ----------
    out : path
        Finished ``--out`` folder.
    baseline : str
        Name of a method.
    metrics, n_bootstrap, seed
        As in `compare_runs`.

    Raises
    ------
    InputError
        If the run has no method of that name, or no other, or lacks a metric.
    """
    check_n_bootstrap(n_bootstrap)
    check_whole("seed", seed, 0)
    run = _read_run(out)
    scores = run.scores
    if baseline not in scores.methods:
        raise InputError(f"{out} has no method {baseline!r}; it has {', '.join(scores.methods)}")
    pairs = [(baseline, method) for method in scores.record.methods if method not in (baseline, "truth")]
    if not pairs:
        raise InputError(f"{out} has no method beside {baseline!r}, so there is nothing to compare it with")
    chosen = _chosen(metrics, list(scores.metrics), str(out))
    return _differences([run, run], pairs, chosen, n_bootstrap, seed)


def _chosen(metrics: Sequence[str] | None, available: list[str], runs: str) -> list[str]:
    """The metrics that were asked for, in the order of the runs; ``default`` is what runs have of those."""
    if metrics is None:
        return available
    asked = expand_default(metrics)
    if isinstance(asked, str):
        raise InputError(f"metrics is one text; give a list of names: [{metrics!r}]")
    for name in metrics:
        if name not in (*available, DEFAULT):
            raise InputError(f"{runs}: {unknown_name('metric', name, available)}")
    chosen = [name for name in available if name in asked]
    if not chosen:
        raise InputError(f"{runs}: no metric to compare was given; allowed are {', '.join(available)}.")
    return chosen


def _differences(
    runs: Sequence[_Run],
    pairs: Sequence[tuple[str, str]],
    shared: Sequence[str],
    n_bootstrap: int,
    seed: int,
) -> Differences:
    metrics = [metric for metric in runs[0].metrics if metric.name in shared]
    rows = [_paired(metric, method, other_method, runs) for method, other_method in pairs for metric in metrics]
    tests = _swap_tests(rows, seed) if n_bootstrap else [None] * len(rows)
    adjusted = holm([math.nan if test is None else test.p_value for test in tests])
    return Differences(
        tuple(
            _difference(row, test, float(p_holm), n_bootstrap, seed, _cautions(row, runs))
            for row, test, p_holm in zip(rows, tests, adjusted, strict=True)
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Paired:
    """One metric of two methods on their common images; terms are None for metrics of whole sets."""

    metric: Metric
    method: str
    other_method: str
    n_images: int
    values: tuple[float, float]
    terms: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None

    @property
    def difference(self) -> float:
        return self.values[1] - self.values[0]


def _paired(metric: Metric, method: str, other_method: str, runs: Sequence[_Run]) -> _Paired:
    if not isinstance(metric, SumMetric):
        scores = runs[0].scores[method, metric.name], runs[1].scores[other_method, metric.name]
        return _Paired(
            metric=metric,
            method=method,
            other_method=other_method,
            n_images=min(score.n_images for score in scores),
            values=(scores[0].value, scores[1].value),
            terms=None,
        )
    statistics = runs[0].stored.methods[method], runs[1].stored.methods[other_method]
    common = np.logical_and.reduce([np.isfinite(metric.per_image(one)) for one in statistics])
    # Rows of zeros, not fewer rows: all metrics are tested under one set of swaps over the same images.
    terms = [np.where(common[:, None], metric.terms(one), 0) for one in statistics]
    first, second = (float(quietly(metric.score, exact_sum(term))) if common.any() else math.nan for term in terms)
    return _Paired(
        metric=metric,
        method=method,
        other_method=other_method,
        n_images=int(common.sum()),
        values=(first, second),
        terms=(terms[0], terms[1]),
    )


def _swap_tests(rows: Sequence[_Paired], seed: int) -> list[SwapTest | None]:
    """Label swaps of all rows; plain ones share their swaps."""
    tests: dict[int, SwapTest] = {}
    plain: dict[int, tuple[npt.NDArray[Any], npt.NDArray[Any], ScoreFunction]] = {}
    for k, row in enumerate(rows):
        if row.terms is None or not isinstance(row.metric, SumMetric) or math.isnan(row.difference):
            continue
        first, second = row.terms
        if row.metric.interval != "jackknife":
            plain[k] = second, first, row.metric.score
        elif len(first) <= STUDENTISED_UP_TO:
            tests[k] = studentised_swap_test(second, first, row.metric.score, seed=seed)
        else:
            leave_one_out = leave_one_out_scores(second, row.metric.score) - leave_one_out_scores(
                first, row.metric.score
            )
            tests[k] = SwapTest(row.difference, jackknife_p_value(row.difference, leave_one_out), 0)
    if plain:
        tests.update(zip(plain, sign_flip_tests(plain.values(), seed=seed), strict=True))
    return [tests.get(k) for k in range(len(rows))]


def _cautions(row: _Paired, runs: Sequence[_Run]) -> tuple[str, ...]:
    """Of both values: what both runs say stands once, what one of them alone says is marked."""
    first, second = runs
    metric = row.metric.name
    if first is second:
        pair = (row.method, row.other_method)
        return cautions_about(metric, pair, warnings=first.scores.warnings, summary=first.summary)
    of_first, of_second = (
        cautions_about(metric, (method,), warnings=run.scores.warnings, summary=run.summary)
        for run, method in ((first, row.method), (second, row.other_method))
    )
    return (
        *(text for text in of_first if text in of_second),
        *(f"first run: {text}" for text in of_first if text not in of_second),
        *(f"second run: {text}" for text in of_second if text not in of_first),
    )


def _difference(
    row: _Paired, test: SwapTest | None, p_holm: float, n_bootstrap: int, seed: int, cautions: tuple[str, ...]
) -> Difference:
    between = _interval(row, n_bootstrap, seed)
    return Difference(
        method=row.method,
        other_method=row.other_method,
        metric=row.metric.name,
        n_images=row.n_images,
        first=row.values[0],
        second=row.values[1],
        difference=row.difference,
        std_error=between.std_error,
        ci_low=between.low,
        ci_high=between.high,
        p_value=math.nan if test is None else test.p_value,
        p_holm=p_holm,
        is_at_floor=test is not None and test.is_at_floor,
        cautions=cautions,
    )


def _interval(row: _Paired, n_bootstrap: int, seed: int) -> Interval:
    """Interval of second minus first, of the kind that the single values have."""
    metric = row.metric
    if math.isnan(row.difference):
        return Interval.missing("one of the two is unscored")
    if row.terms is None or not isinstance(metric, SumMetric):
        return Interval.missing("a metric of whole sets has no paired interval")
    if n_bootstrap == 0:
        return Interval.missing("no interval was asked for (--bootstrap 0)")
    first, second = row.terms
    if metric.interval in ("share", "ratio of shares"):
        return _interval_of_shares(metric, first, second)
    if metric.interval == "jackknife" or row.n_images < FEW_IMAGES:
        carries = (first != 0).any(axis=1) | (second != 0).any(axis=1)
        leave_one_out = [leave_one_out_scores(terms[carries], metric.score) for terms in (first, second)]
        return jackknife_interval(row.difference, leave_one_out[1] - leave_one_out[0])
    replicates = replicate_scores([(first, metric.score), (second, metric.score)], n_bootstrap, seed)
    return paired_difference(replicates[:, 1], replicates[:, 0], row.difference)


def _interval_of_shares(metric: SumMetric, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Interval:
    if metric.interval == "share":
        answered = (first[:, 1] > 0) & (second[:, 1] > 0)
        return paired_share_difference_interval(first[answered, 0], second[answered, 0])
    # Both are divided by the same number of recognised true photos, which is taken as given.
    per_truth = len(first) / float(first[:, 1].sum())
    shares = paired_share_difference_interval(first[:, 0], second[:, 0])
    return Interval(std_error=shares.std_error * per_truth, low=shares.low * per_truth, high=shares.high * per_truth)


@dataclass(frozen=True)
class _Run:
    """A finished run: what is stored of its images, and the scores and signatures without intervals."""

    metrics: Sequence[Metric]
    stored: StoredStatistics
    scores: Scores

    @cached_property
    def summary(self) -> dict[tuple[str, str], Score]:
        """The scores by method and metric."""
        return {(score.method, score.metric): score for score in self.scores.summary}


def _read_run(run: str | Path) -> _Run:
    """Read the shards once, for the scores and for the differences, which get intervals of their own."""
    if not isinstance(run, str | PathLike):
        raise InputError(
            f"a run is named by its folder, not by {type(run).__name__}: that of evalkit.score(..., out=FOLDER)"
        )
    check_path("the folder of a run", run)
    folder = Path(run)
    record = RunRecord.from_json(folder / "run.json")
    statistics = _statistics_of(folder)
    metrics = create_metrics(record.metrics, record.options, record.setups)
    stored = load_statistics(statistics, record, metrics)
    scores = summarise(statistics, replace(record, n_bootstrap=0), metrics=metrics, stored=stored)
    return _Run(metrics, stored, scores)


def _statistics_of(folder: Path) -> Path:
    statistics = folder / "statistics"
    if not statistics.is_dir():
        raise InputError(
            f"{folder}: holds a summary without statistics (made by 'evalkit rescore'?), and differences need the "
            "statistics of every image; compare folders that 'evalkit score' or 'evalkit merge' wrote"
        )
    return statistics


@dataclass(frozen=True, kw_only=True)
class RunEstimates:
    """What pairs of methods of one run, or of several, are tested by.

    Attributes
    ----------
    images : tuple of str
        In name order.
    by_metric : mapping of str to mapping of str to Estimate
        By metric, then by method; metrics of whole sets are left out, for nothing of theirs can be paired.
    """

    images: tuple[str, ...]
    by_metric: Mapping[str, Mapping[str, Estimate]]


def run_estimates(folder: str | Path, metrics: Sequence[str], methods: Sequence[str]) -> RunEstimates:
    """Read what some metrics of some methods of a finished run are made of.

    Parameters
    ----------
    folder : path
        A finished ``--out`` folder.
    metrics, methods : sequence of str
        Of that run.

    Raises
    ------
    InputError
        If the folder holds no finished run, or none with statistics.
    """
    record = RunRecord.from_json(Path(folder) / "run.json")
    created = create_metrics(record.metrics, record.options, record.setups)
    sums = [metric for metric in created if isinstance(metric, SumMetric) and metric.name in metrics]
    stored = load_statistics(_statistics_of(Path(folder)), record, sums)
    return RunEstimates(
        images=stored.methods[record.methods[0]].images,
        by_metric={
            metric.name: {method: estimate(metric, stored.methods[method]) for method in methods} for metric in sums
        },
    )


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
