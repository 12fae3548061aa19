"""Differences between two runs, or two methods of one run, on the same images: paired intervals and label-swap tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.errors import InputError
from evalkit.metrics import create_metrics
from evalkit.resampling.intervals import (
    Interval,
    jackknife_interval,
    leave_one_out_scores,
    paired_difference,
    replicate_scores,
    sign_flip_test,
)
from evalkit.scoring.scores import RunRecord, Scores, load_statistics
from evalkit.scoring.signature import differing_fields
from evalkit.scoring.statistics_store import read_scalars

__all__ = ["Difference", "compare_methods", "compare_runs"]


@dataclass(frozen=True)
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
        Two-sided, by swapping the two methods' labels image by image (`evalkit.resampling.intervals.sign_flip_test`);
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
    for method, other in pairs:
        for name in shared:
            odd = differing_fields(runs[0][method, name].signature, runs[1][other, name].signature)
            if odd:
                text = ", ".join(
                    f"{key} ({one or 'absent'} against {two or 'absent'})" for key, (one, two) in odd.items()
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
    found = []
    records: Sequence[RunRecord] = [run.record for run in runs]
    tables = [read_scalars(folder / "statistics") for folder in folders]
    for method, other in pairs:
        statistics = [
            load_statistics(folders[i] / "statistics", records[i], name, tables[i])[0]
            for i, name in enumerate((method, other))
        ]
        for metric in create_metrics(shared, records[0].options, records[0].settings_of):
            terms = [metric.terms(rows) for rows in statistics]
            values = [runs[0][method, metric.name].value, runs[1][other, metric.name].value]
            difference = values[1] - values[0]
            p_value = math.nan
            if n_bootstrap and not math.isnan(difference):
                p_value = sign_flip_test(terms[1], terms[0], metric.score, n_bootstrap, seed).p_value
            if math.isnan(difference):
                interval = Interval.missing("one of the two is unscored")
            elif metric.interval == "jackknife":
                one, two = (leave_one_out_scores(term, metric.score) for term in terms)
                interval = jackknife_interval(difference, two - one)
            else:
                replicates = replicate_scores([(term, metric.score) for term in terms], n_bootstrap, seed)
                interval = paired_difference(replicates[:, 1], replicates[:, 0], difference)
            found.append(
                Difference(
                    method, other, metric.name, values[0], values[1], difference,
                    interval.std_error, interval.low, interval.high, p_value,
                )
            )  # fmt: skip
    return found


def _without_intervals(folder: Path) -> Scores:
    """Scores and signatures of a run; the differences get intervals of their own."""
    record = RunRecord.from_json(folder / "run.json")
    statistics = folder / "statistics"
    if not statistics.is_dir():
        raise InputError(
            f"{folder}: holds a summary without statistics (made by 'evalkit rescore'?), and differences need the "
            "statistics of every image; compare folders that 'evalkit score' or 'evalkit merge' wrote"
        )
    return Scores.summarise(statistics, replace(record, n_bootstrap=0))


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
        "same name in both, or score one method a run"
    )
