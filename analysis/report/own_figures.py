"""Figures of the report that need more than a table of trials, on axes or in a figure of the caller's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from analysis.report.content import ReportInput
from analysis.report.figures import draw_image_scatter
from analysis.study.analysis import analyze_study
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError, check_path
from evalkit.plotting import check_figure, chosen_axes
from evalkit.scoring.score_folder import read_score_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_categories", "plot_gallery", "plot_metric_scatter"]

_F = TypeVar("_F", bound="Figure | SubFigure")


def plot_metric_scatter(
    scores: str | os.PathLike[str], trials: TrialTable | pd.DataFrame, ax: Axes | None = None
) -> Axes:
    """Draw a metric of single images against how often they fool people: the metric that agrees with people best.

    Parameters
    ----------
    scores : path-like
        Folder that ``evalkit score`` wrote.
    trials : TrialTable or pandas.DataFrame
        Answers about the same methods and images.
    ax : matplotlib Axes, optional
        pyplot's current ones by default.

    Returns
    -------
    matplotlib Axes
        Those that were drawn on.

    Raises
    ------
    InputError
        If the two share no images of a method, cannot be read, or matplotlib is not installed.
    """
    from analysis.report.report_figures import scattered

    check_path("scores", scores)
    content = ReportInput(scores=read_score_folder(Path(scores)), study=analyze_study(as_trials(trials)))
    if content.scatter is None:
        raise InputError(
            f"{scores} and the trials share no method with two images or more that have a score and a rate"
        )
    axes = chosen_axes(ax)
    draw_image_scatter(axes, *scattered(content, content.scatter))
    axes.legend()
    return axes


def plot_categories(
    groups: str | os.PathLike[str],
    figure: _F,
    *,
    scores: str | os.PathLike[str] | None = None,
    trials: TrialTable | pd.DataFrame | None = None,
    group_column: str = "",
) -> _F:
    """Draw results by category of image: a panel a category, a line a method, with intervals.

    Parameters
    ----------
    groups : path-like or "folders"
        CSV file of image names and categories, or the word for the folders of the images, as ``--groups`` takes them.
    figure : matplotlib Figure or SubFigure
        Which is filled with panels.
    scores : path-like, optional
        Folder that ``evalkit score`` wrote.
    trials : TrialTable or pandas.DataFrame, optional
        Answers; where they are given, the rates are drawn, else the first metric of the scores.
    group_column : str
        Column of the categories; by default the second of the file.

    Returns
    -------
    Figure or SubFigure
        The one that was given.

    Raises
    ------
    InputError
        If there are no results to divide, no such categories, or nothing in them to draw.
    """
    from analysis.report.categories import category_figure, chosen_categories
    from analysis.report.report_figures import by_first_measure

    check_path("groups", groups)
    check_figure(figure)
    if scores is None and trials is None:
        raise InputError("categories need results to divide: scores, trials, or both")
    if scores is not None:
        check_path("scores", scores)
    folder = None if scores is None else read_score_folder(Path(scores))
    study = None if trials is None else analyze_study(as_trials(trials))
    table = None if study is None else study.headline.trials
    categories = chosen_categories(os.fspath(groups), group_column, folder, table)
    content = ReportInput(scores=folder, study=study, categories=categories)
    if not content.category_measures:
        raise InputError(f"{groups}: no category has a result to draw")
    category_figure(*by_first_measure(content), figure)
    return figure


def plot_gallery(
    truth: str | os.PathLike[str],
    methods: Mapping[str, str | os.PathLike[str]],
    images: Sequence[str],
    figure: _F,
) -> _F:
    """Draw pictures under their names: truth, input and every method from left to right, one row an image.

    Parameters
    ----------
    truth : path-like
        Folder of true photos.
    methods : mapping of str to path-like
        Folder per method.
    images : sequence of str
        Rows.
    figure : matplotlib Figure or SubFigure
        Without a layout engine of its own; it is filled from edge to edge.

    Returns
    -------
    Figure or SubFigure
        The one that was given.

    Raises
    ------
    InputError
        When a folder is missing, or no picture of the images can be read.
    """
    from analysis.report.galleries import ImageFolders
    from analysis.report.gallery_figure import gallery_figure

    if isinstance(images, str) or not images:
        raise InputError(f"images is {images!r}; give a list of one name or more")
    return gallery_figure(ImageFolders(truth, methods), images, figure=figure)
