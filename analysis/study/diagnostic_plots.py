"""What shows whether answers were given with care, on axes: the diagnostic figures of the report, of notebooks and of scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.records import Row
from analysis.statistics.crossed import one_way_variances
from analysis.study.breakdowns import component_rows, diagnose, participant_rows
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError, check_choice
from evalkit.plotting import COLOURS, LINES, chosen_axes, method_look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "draw_answer_times",
    "draw_components",
    "draw_fatigue",
    "draw_side_bias",
    "draw_vigilance",
    "has_vigilance_curve",
    "plot_diagnostic",
]

_ANSWERS = {
    "real-vs-fake": ("fooled", "not fooled"),
    "naturalness": ("natural", "not natural"),
    "preference": ("the first", "the second"),
}
"""Names of the answers 1 and 0."""


def draw_vigilance(axes: Axes, methods: Mapping[str, Any]) -> None:
    """Fool rate over every vigilance threshold: what leaving people out would change."""
    for number, (method, found) in enumerate(methods.items()):
        points = [p for p in found.get("vigilance_curve", []) if "estimate" in p]
        x = np.array([100 * p["threshold"] for p in points]) + 0.6 * (number - len(methods) / 2)
        y = np.array([[100 * p[key] for key in ("estimate", "ci_low", "ci_high")] for p in points]).reshape(-1, 3)
        spread = np.abs(y[:, 1:].T - y[:, 0])
        axes.errorbar(
            x,
            y[:, 0],
            yerr=spread,
            **method_look(number),
            markersize=3.2,
            linewidth=1.0,
            elinewidth=0.6,
            label=method,
        )
    axes.set_xlabel("vigilance trials right at least, %")
    axes.set_ylabel("fooled, %")


def draw_fatigue(axes: Axes, test: TrialTable, *, bins: int = 8) -> None:
    """Rate over the session in equal stretches of trials, all methods together; 95 %, participants as clusters."""
    trial = test["trial"]
    edges = np.linspace(trial.min(), trial.max() + 1, min(bins, int(np.ptp(trial)) + 1) + 1)
    index = np.clip(np.digitize(trial, edges) - 1, 0, edges.size - 2)
    filled = np.unique(index)
    rate, error = np.empty(filled.size), np.empty(filled.size)
    for position, stretch in enumerate(filled):
        inside = index == stretch
        design = test.design.subset(inside)
        rate[position] = test.value[inside].mean()
        error[position] = 1.96 * math.sqrt(one_way_variances(test.value[inside], design).participant)
    centre = ((edges[:-1] + edges[1:] - 1) / 2)[filled]
    axes.errorbar(centre, 100 * rate, yerr=100 * error, color=COLOURS[0], marker="o", markersize=3.5, linewidth=1.0)
    axes.set_xlabel("trial of the session")
    axes.set_ylabel("judged natural, %" if test.preset == "naturalness" else "fooled, %")


def draw_side_bias(axes: Axes, people: Sequence[Row]) -> None:
    """Each participant's share of "first" answers; 50 % is no preference."""
    share = 100 * np.array([row["first_share"] for row in people], dtype=np.float64)
    axes.hist(share[np.isfinite(share)], bins=np.arange(0, 105, 5).tolist(), color=COLOURS[4], edgecolor="white")
    axes.axvline(50, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 100)
    axes.set_xlabel('answers "the first", %')
    axes.set_ylabel("participants")


def draw_answer_times(axes: Axes, test: TrialTable) -> None:
    """Answer times on a logarithmic axis, by answer; ratings all together."""
    time = test["response_ms"]
    used = np.isfinite(time) & (time > 0)
    seconds = time[used] / 1000
    edges = np.geomspace(max(seconds.min() * 0.9, 0.01), seconds.max() * 1.1, 30)
    value = test.value[used]
    high, low = _ANSWERS.get(test.preset, ("all answers", "")) if test.n_alternatives == 2 else ("all answers", "")
    parts = [(high, value > 0.5), (low, value < 0.5)] if low else [(high, np.ones(value.size, dtype=np.bool_))]
    for number, (name, chosen) in enumerate(parts):
        if chosen.any():
            axes.hist(seconds[chosen], bins=edges.tolist(), histtype="step", density=True, color=COLOURS[number],
                      linestyle=LINES[number], linewidth=1.3, label=name)  # fmt: skip
    axes.set_xscale("log")
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60) if edges[0] <= tick <= edges[-1]]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks([])
    axes.set_xlabel("seconds to answer")
    axes.legend()


def draw_components(axes: Axes, shown: Sequence[Row]) -> None:
    """Where the variance of one answer lies, and so of what to have more for a shorter interval."""
    hatches = ("", "///", "...")
    left = np.zeros(len(shown))
    total = np.array([row["participant"] + row["image"] + row["residual"] for row in shown])
    for number, part in enumerate(("participant", "image", "residual")):
        width = 100 * np.array([row[part] for row in shown]) / total
        axes.barh(range(len(shown)), width, left=left, color=(COLOURS[0], COLOURS[5], "0.85")[number],
                  hatch=hatches[number], edgecolor="white", linewidth=0.5,
                  label=("participants", "images", "rest")[number])  # fmt: skip
        left += width
    axes.set_yticks(range(len(shown)), labels=[row["method"] for row in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the variance of one answer, %")


def _plot_components(trials: TrialTable, axes: Axes) -> bool:
    rows = [] if trials.preset == "preference" or trials.seeks_real else component_rows(trials)
    shown = [row for row in rows if not math.isnan(row["participant"])]
    if not shown:
        return False
    draw_components(axes, shown)
    axes.legend()
    return True


def has_vigilance_curve(methods: Mapping[str, Any]) -> bool:
    """Whether there is a point for `draw_vigilance`."""
    return any("estimate" in point for found in methods.values() for point in found.get("vigilance_curve", []))


def _plot_vigilance(trials: TrialTable, axes: Axes) -> bool:
    methods = diagnose(trials).get("methods", {})
    if not has_vigilance_curve(methods):
        return False
    draw_vigilance(axes, methods)
    axes.legend()
    return True


def _plot_fatigue(trials: TrialTable, axes: Axes) -> bool:
    test = trials.of_kind("test")
    is_of_rates = trials.preset not in ("rating", "preference") and not trials.seeks_real
    if not is_of_rates or "trial" not in test or not len(test) or not np.isfinite(test["trial"]).all():
        return False
    if not np.ptp(test["trial"]) > 0:
        return False
    draw_fatigue(axes, test)
    return True


def _plot_side_bias(trials: TrialTable, axes: Axes) -> bool:
    people = participant_rows(trials)
    if all(math.isnan(row["first_share"]) for row in people):
        return False
    draw_side_bias(axes, people)
    return True


def _plot_answer_times(trials: TrialTable, axes: Axes) -> bool:
    test = trials.of_kind("test")
    if "response_ms" not in test or not (np.isfinite(test["response_ms"]) & (test["response_ms"] > 0)).any():
        return False
    draw_answer_times(axes, test)
    return True


_PLOTS: Mapping[str, tuple[Callable[[TrialTable, Axes], bool], str]] = {
    "variance_components": (_plot_components, "judgements of methods by several people on several images"),
    "vigilance": (_plot_vigilance, "vigilance trials beside judgements of methods"),
    "fatigue": (_plot_fatigue, "the number of each trial (column trial) and yes-or-no answers"),
    "side_bias": (_plot_side_bias, "answers that say which side was chosen (column response)"),
    "answer_times": (_plot_answer_times, "answer times (column response_ms)"),
}
"""How each is drawn, which says whether there was something to draw, and what it needs."""


def plot_diagnostic(figure: str, trials: TrialTable | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw one of the report's figures that show how the answers of a study came about.

    Parameters
    ----------
    figure : {"variance_components", "vigilance", "fatigue", "side_bias", "answer_times"}
        Its name, as ``evalkit figure`` has it.
    trials : TrialTable or pandas.DataFrame
        Checked trials, or a frame under the columns of a trial file.
    ax : matplotlib Axes, optional
        pyplot's current ones by default.

    Returns
    -------
    matplotlib Axes
        Those that were drawn on.

    Raises
    ------
    InputError
        If the trials lack what the figure shows, there is no such figure, or matplotlib is not installed.
    """
    check_choice("figure", figure, tuple(_PLOTS))
    trials = as_trials(trials)
    axes = chosen_axes(ax)
    plot, needed = _PLOTS[figure]
    if not plot(trials, axes):
        raise InputError(f"{trials.source} has nothing to draw in {figure}, which needs {needed}")
    return axes
