"""Figures of the report that join scores, answers and pictures, on what the caller gives to draw on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import analysis
import evalkit
from analysis.report.categories import category_figure, chosen_categories
from analysis.report.content import ReportInput
from analysis.report.figures import image_scatter_figure
from analysis.report.report_figures import by_first_measure, scattered
from analysis.study.analysis import analyze_study
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError
from evalkit.scoring.score_folder import read_score_folder
from tests.analysis.conftest import simulated_rows

METHODS = {"near": 0.5, "far": 0.2}
NAMES = [f"test{number}" for number in range(4, 14)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photos under two methods, half of each in one group, with their scores."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for name in NAMES:
        truth = rng.integers(0, 200, (16, 16, 3))
        for method, noise in (("truth", 0), ("near", 10), ("far", 55)):
            (folder / method).mkdir(exist_ok=True)
            pixels = (truth + rng.integers(0, noise + 1, truth.shape)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / method / f"{name}.png")
    lines = ["image,scene", *(f"{name},{'in' if k % 2 else 'out'}" for k, name in enumerate(NAMES))]
    (folder / "groups.csv").write_text("\n".join(lines), encoding="utf-8")
    methods = {method: folder / method for method in METHODS}
    evalkit.score(folder / "truth", methods, metrics=("ab_auc", "psnr_rgb"), out=folder / "scores", n_bootstrap=100)
    return folder


@pytest.fixture
def trials(write_csv: Callable[..., Path]) -> TrialTable:
    return analysis.read_trials(write_csv(simulated_rows(METHODS, n_participants=8)))


def lines_of(axes: Axes) -> list[object]:
    """What the lines of axes show, and what is written beside them."""
    lines = [(np.asarray(line.get_xydata()).tolist(), line.get_marker(), line.get_color()) for line in axes.lines]
    return [lines, axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left"), axes.get_legend_handles_labels()[1]]


def test_the_metric_against_people_is_drawn_as_in_the_report(scored: Path, trials: TrialTable) -> None:
    content = ReportInput(scores=read_score_folder(scored / "scores"), study=analyze_study(trials))
    assert content.scatter is not None
    (wanted,) = image_scatter_figure(*scattered(content, content.scatter)).axes
    figure = Figure()
    axes, other = figure.subplots(1, 2)
    assert analysis.plot_metric_scatter(os.fspath(scored / "scores"), trials, axes) is axes
    assert lines_of(axes) == lines_of(wanted)
    assert [len(line.get_xdata()) for line in axes.lines] == [10, 10]
    assert [text.get_text()[:3] for text in axes.get_legend().get_texts()] == ["nea", "far"]
    assert not other.has_data()
    assert not figure.legends


@pytest.mark.parametrize("of_people", [True, False])
def test_categories_are_drawn_as_in_the_report(scored: Path, trials: TrialTable, of_people: bool) -> None:
    given = {"scores": scored / "scores", **({"trials": trials} if of_people else {})}
    whole = Figure(figsize=(7, 5))
    upper, lower = whole.subfigures(2, 1)
    assert analysis.plot_categories(scored / "groups.csv", upper, **given) is upper
    assert not lower.axes
    panels = [axes for axes in upper.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels] == ["out (5)", "in (5)"]
    study = analyze_study(trials) if of_people else None
    folder = read_score_folder(scored / "scores")
    categories = chosen_categories(str(scored / "groups.csv"), "", folder, None)
    content = ReportInput(scores=folder, study=study, categories=categories)
    wanted = category_figure(*by_first_measure(content))
    assert [lines_of(axes) for axes in panels] == [lines_of(axes) for axes in wanted.axes]
    assert upper.get_supxlabel() == wanted.get_supxlabel()
    assert ("fooled" in upper.get_supxlabel()) is of_people


def test_pictures_fill_a_figure_of_the_callers(scored: Path) -> None:
    figure = Figure(figsize=(5, 3))
    methods = {method: scored / method for method in METHODS}
    assert analysis.plot_gallery(scored / "truth", methods, ["test5", "test4"], figure) is figure
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 2 * 4
    np.testing.assert_array_equal(shown[0].images[0].get_array(), Image.open(scored / "truth" / "test5.png"))


def test_what_cannot_be_drawn_is_said(scored: Path, trials: TrialTable) -> None:
    scores, figure = scored / "scores", Figure()
    others = pd.DataFrame(
        {"participant": ["a", "b"], "image": ["x", "y"], "method": ["near", "near"], "fooled": [0, 1]}
    )
    with pytest.raises(InputError, match="share no method with two images or more"):
        analysis.plot_metric_scatter(scores, others, figure.subplots())
    with pytest.raises(InputError, match="scores is empty"):
        analysis.plot_metric_scatter("", trials)
    with pytest.raises(InputError, match="ax is int"):
        analysis.plot_metric_scatter(scores, trials, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="scores, trials, or both"):
        analysis.plot_categories("folders", figure)
    with pytest.raises(InputError, match="no image lies in a folder"):
        analysis.plot_categories("folders", figure, scores=scores)
    with pytest.raises(InputError, match="figure is NoneType"):
        analysis.plot_categories("folders", None, scores=scores)  # type: ignore[type-var]
    with pytest.raises(InputError, match="images is 'test4'; give a list"):
        analysis.plot_gallery(scored / "truth", {"near": scored / "near"}, "test4", figure)
