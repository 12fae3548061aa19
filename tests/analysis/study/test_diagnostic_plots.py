"""The diagnostic figures of the report on axes of one's own: the same artists, and a sentence where data are lacking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import analysis
from analysis.report import figures
from analysis.study.analysis import analyze_study
from analysis.study.breakdowns import component_rows, diagnose, participant_rows
from analysis.study.diagnostic_plots import plot_diagnostic
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError

OF_THE_REPORT: dict[str, Callable[[TrialTable], Figure]] = {
    "variance_components": lambda trials: figures.component_figure(component_rows(trials)),
    "vigilance": lambda trials: figures.vigilance_figure(diagnose(trials)["methods"]),
    "fatigue": lambda trials: figures.fatigue_figure(trials.of_kind("test")),
    "side_bias": lambda trials: figures.side_bias_figure(participant_rows(trials)),
    "answer_times": lambda trials: figures.answer_time_figure(trials.of_kind("test")),
}


def frame() -> pd.DataFrame:
    """Twelve people, sixteen images of two methods and four vigilance trials, with sides and times."""
    random = np.random.default_rng(0)
    rows = []
    for person in range(12):
        for number in range(20):
            watched = number % 5 == 4
            fooled = int(random.random() < (0.02 * person if watched else 0.3))
            first = bool(random.random() < 0.6)
            rows.append({
                "participant": f"p{person}", "image": f"i{number}", "trial": number, "fooled": fooled,
                "method": ("other", "mine")[number % 2], "kind": "vigilance" if watched else "test",
                "response": "first" if first else "second",
                "real_position": "first" if first == bool(fooled) else "second",
                "response_ms": float(random.lognormal(7, 0.5)),
            })  # fmt: skip
    return pd.DataFrame(rows)


def drawn(axes: Axes) -> list[object]:
    """What lies on axes: lines, rectangles, ends of error bars, and what is written beside them."""
    texts = [axes.get_xlabel(), axes.get_ylabel(), axes.get_legend_handles_labels()[1]]
    paths = [np.round(path.vertices, 9).tolist() for one in axes.collections for path in one.get_paths()]
    boxes = [
        np.round(patch.get_patch_transform().transform(patch.get_path().vertices), 9).tolist() for patch in axes.patches
    ]
    return [texts, [np.asarray(line.get_xydata()).tolist() for line in axes.lines], paths, boxes, axes.get_xscale()]


@pytest.mark.parametrize("name", OF_THE_REPORT)
def test_a_figure_of_the_report_is_drawn_on_the_axes_of_the_caller(name: str) -> None:
    trials = as_trials(frame())
    own = Figure()
    axes, other = own.subplots(1, 2)
    assert plot_diagnostic(name, frame(), axes) is axes
    (wanted,) = OF_THE_REPORT[name](trials).axes
    assert drawn(axes) == drawn(wanted)
    assert drawn(axes)[1:4] != [[], [], []]
    assert not other.has_data()
    assert not own.legends  # the figure is the caller's: a legend belongs on the axes
    if name in ("vigilance", "variance_components", "answer_times"):
        legend = axes.get_legend()
        assert legend is not None
        assert len(legend.get_texts()) >= 2


def test_all_that_the_study_command_draws_of_answers_is_to_be_had() -> None:
    study = analyze_study(as_trials(frame()))
    assert {"fatigue", "side_bias", "answer_times", "methods"} <= study.subsets[0].diagnostics.keys()


@pytest.mark.parametrize(
    ("name", "lacks", "said"),
    [
        ("fatigue", ["trial"], "needs the number of each trial"),
        ("side_bias", ["response", "real_position"], "needs answers that say which side was chosen"),
        ("answer_times", ["response_ms"], "needs answer times"),
        ("vigilance", ["kind"], "needs vigilance trials"),
    ],
)
def test_what_the_trials_lack_is_said(name: str, lacks: list[str], said: str) -> None:
    axes = Figure().subplots()
    with pytest.raises(InputError, match=f"the data frame has nothing to draw in {name}, which {said}"):
        plot_diagnostic(name, frame().drop(columns=lacks), axes)
    assert not axes.has_data()


def test_wrong_calls_are_told_in_a_sentence() -> None:
    with pytest.raises(InputError, match="figure is 'fatige'; allowed: variance_components, vigilance, fatigue"):
        analysis.plot_diagnostic("fatige", frame())
    with pytest.raises(InputError, match="ax is int; give the axes to draw on"):
        analysis.plot_diagnostic("fatigue", frame(), 1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a TrialTable or a pandas data frame is needed"):
        analysis.plot_diagnostic("fatigue", [1, 2])  # type: ignore[arg-type]
    one_one = frame().query("participant == 'p0'").assign(participant="p0")
    with pytest.raises(InputError, match="has nothing to draw in variance_components"):
        analysis.plot_diagnostic("variance_components", one_one, Figure().subplots())
