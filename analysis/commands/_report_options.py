"""Options that say what a report or one of its figures is made of, and the reading of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from analysis.commands._trial_options import analyze_with_options, read_with_options, study_options, trial_options
from evalkit.commands._decoding import decode_options
from evalkit.commands._shared import GivenPath

if TYPE_CHECKING:
    from analysis.report.categories import Categories
    from analysis.report.content import ReportInput
    from analysis.report.galleries import ImageChoice, ImageFolders
    from analysis.study.analysis import StudyAnalysis
    from evalkit.scoring.score_folder import ScoreFolder

__all__ = ["picture_options", "read_pictures", "read_report_input", "report_options"]

_PICTURE_NAMES = (
    "truth", "inputs", "methods", "images", "rule", "every", "count", "turn_like_truth", "max_megapixels", "convert_cmyk",
)  # fmt: skip
F = TypeVar("F", bound=Callable[..., Any])
_PATH = GivenPath(path_type=Path)
FAMILIES = {"levin2004": "scribble", "luan2007": "scribble", "welsh2002": "example", "sousa2012": "example"}
"""Kinds of the classical baselines, in the words of Zeger et al. 2021, "Grayscale image colorization methods"."""

_DATA_OPTIONS = (
    click.option("--scores", type=_PATH, metavar="DIR", help="Results of `evalkit score`."),
    click.option("--trials", type=_PATH, multiple=True, metavar="FILE",
                 help="Trial table or study folder; may be repeated, several become one table."),
    click.option("--baseline", metavar="METHOD", help="Show differences to this method."),
    click.option("--groups", type=GivenPath(), metavar="FILE",
                 help="Results by category: a CSV of image names and categories, or the word folders for class folders."),
    click.option("--group-column", metavar="NAME", default="", help="Column of that file; by default its second."),
    click.option("--family", "families", multiple=True, metavar="METHOD=FAMILY",
                 help="Kind of a method (scribble, example, learned) for the table; repeat for more."),
)  # fmt: skip
_ORDER_OPTION = click.option(
    "--order", metavar="NAME,NAME", default="",
    help="Methods in this order everywhere; by default that of --method, then that of the scores.",
)  # fmt: skip
_PICTURE_OPTIONS = (
    click.option("--truth", type=GivenPath(), metavar="DIR",
                 help="Photos, for the galleries: a folder, or an address, as for score."),
    click.option("--input", "inputs", type=GivenPath(), metavar="DIR",
                 help="In place of --truth: photos that were never in colour."),
    click.option("--method", "methods", multiple=True, metavar="NAME=DIR",
                 help="Colorizations, for the galleries; repeat for more."),
    click.option("--images", metavar="NAME,NAME", default="", help="Show these images in the first gallery."),
    click.option("--rule", type=click.Choice(["every", "most", "least", "disagreement"]), default="every",
                 show_default=True,
                 help="Or choose them: evenly by name, those that fool people most or least (needs --trials), those on "
                 "which methods disagree most."),
    click.option("--every", type=click.IntRange(1), metavar="N",
                 help="With the rule every: each N-th image by name; by default spread over all."),
    click.option("--count", type=click.IntRange(1), default=6, show_default=True, help="Rows of the gallery."),
    click.option("--turn-like-truth", is_flag=True,
                 help="Apply the EXIF orientation of a photo to colorizations that lie on their side. Pictures are read "
                 "as the run of --scores read them; this and the next two say more."),
)  # fmt: skip


def picture_options(function: F) -> F:
    """Add the options of a gallery; the command hands them to `read_pictures`."""
    function = decode_options(function)
    for option in reversed(_PICTURE_OPTIONS):
        function = option(function)
    return function


def read_pictures(
    *,
    truth: str | None,
    inputs: str | None,
    methods: tuple[str, ...],
    images: str,
    rule: Any,
    every: int | None,
    count: int,
    turn_like_truth: bool,
    max_megapixels: float | None,
    convert_cmyk: bool,
    recorded: Iterable[Mapping[str, Any]] = (),
) -> tuple[ImageFolders | None, ImageChoice]:
    """Folders of pictures, None without any, and which of the images a gallery shows.

    Files are read as the options say, and as runs of them were: `recorded` is ``reading`` of their ``run.json``.

    Raises
    ------
    InputError
        For options that do not go together, and for folders without images.
    """
    from evalkit.errors import InputError

    folders = _folders(truth, inputs, methods)
    asked = {"turn_like_truth": turn_like_truth, "max_megapixels": max_megapixels, "convert_cmyk": convert_cmyk}
    given = [name for name, value in asked.items() if value]
    if folders is None and given:
        raise InputError(f"--{given[0].replace('_', '-')} is about pictures: give --truth DIR and --method NAME=DIR.")
    if folders is not None:
        every_run = list(recorded)
        limits = [one["max_megapixels"] for one in (asked, *every_run) if one.get("max_megapixels")]
        folders.read_with(
            max_megapixels=max(limits, default=None),
            convert_cmyk=any(one.get("convert_cmyk") for one in (asked, *every_run)),
            turn_like_truth=any(one.get("turn_like_truth") for one in (asked, *every_run)),
        )
    return folders, _choice(images, rule, every, count)


def report_options(function: F) -> F:
    """Add the options; the command hands them to `read_report_input`."""
    function = picture_options(_ORDER_OPTION(trial_options(study_options(function))))
    for option in reversed(_DATA_OPTIONS):
        function = option(function)
    return function


def read_report_input(
    *,
    scores: Path | None,
    trials: tuple[Path, ...],
    baseline: str | None,
    estimand: Any,
    exclude: Path | None,
    equivalence_margin: float,
    confidence: float,
    groups: str | None,
    group_column: str,
    families: tuple[str, ...],
    order: str,
    **further: Any,
) -> ReportInput:
    """Read everything that the options name.

    Raises
    ------
    InputError
        For options that do not go together, and for whatever cannot be read.
    """
    from analysis.report.content import ReportInput
    from evalkit.errors import InputError
    from evalkit.release import release
    from evalkit.scoring.score_folder import read_score_folder
    from evalkit.wording import unknown_name

    pictures = {name: further.pop(name) for name in _PICTURE_NAMES}
    score_folder = read_score_folder(scores) if scores else None
    recorded = [score_folder.record.get("reading", {})] if score_folder else []
    folders, choice = read_pictures(**pictures, recorded=recorded)
    if score_folder and baseline and not trials and baseline not in score_folder.methods:
        raise InputError(f"--baseline {baseline!r} is not in {scores}; it has {', '.join(score_folder.methods)}.")
    study = None
    if trials:
        table = read_with_options(trials, **further)
        # A baseline of the scores alone (gray, say) leaves the people's comparisons to all pairs.
        of_scores_alone = (
            score_folder is not None and baseline in score_folder.methods and baseline not in table.methods
        )
        study = analyze_with_options(
            table,
            baseline=None if of_scores_alone else baseline,
            estimand=estimand,
            exclude=exclude,
            equivalence_margin=equivalence_margin,
            confidence=confidence,
        )
    known = [
        *(score_folder.methods if score_folder else ()),
        *(study.headline.trials.methods if study else ()),
        *(folders.methods if folders else ()),
    ]
    wanted = _names("--order", order)
    for name in wanted:
        if name not in known:
            raise InputError(f"--order: {unknown_name('method', name, list(dict.fromkeys(known)))}")
    if not wanted and folders is not None:
        wanted = tuple(folders.methods)
    if folders is not None:
        folders.set_order(wanted)
    return ReportInput(
        scores=score_folder,
        study=study,
        baseline=baseline or "",
        folders=folders,
        images=choice,
        order=wanted,
        categories=_categories(groups, group_column, score_folder, study),
        families=_families(families, known),
        version=release(),
    )


def _categories(
    groups: str | None, column: str, scores: ScoreFolder | None, study: StudyAnalysis | None
) -> Categories | None:
    from analysis.report.categories import chosen_categories
    from evalkit.errors import InputError

    if groups is None:
        if column:
            raise InputError("--group-column is of --groups FILE.")
        return None
    return chosen_categories(groups, column, scores, study.headline.trials if study else None)


def _families(entries: tuple[str, ...], known: list[str]) -> dict[str, str]:
    """Families as they were given, and of the classical baselines that bear their paper's name."""
    from evalkit.errors import InputError
    from evalkit.wording import unknown_name

    given: dict[str, str] = {}
    for entry in entries:
        method, equals, family = entry.partition("=")
        if not equals or not family.strip():
            raise InputError(f"--family {entry!r}: METHOD=FAMILY is allowed, such as levin2004=scribble.")
        if method not in known:
            raise InputError(f"--family: {unknown_name('method', method, list(dict.fromkeys(known)))}")
        if method in given:
            raise InputError(f"--family: {method} is named twice.")
        given[method] = family.strip()
    return {**{name: family for name, family in FAMILIES.items() if name in known}, **given} if given else {}


def _folders(truth: str | None, inputs: str | None, methods: tuple[str, ...]) -> ImageFolders | None:
    from analysis.report.galleries import ImageFolders
    from evalkit.commands._methods import parse_method_places
    from evalkit.errors import InputError

    for entry in methods:
        if "=" not in entry:
            raise InputError(f"--method {entry!r} has no '='; --method NAME=DIR is allowed.")
    if truth is not None and inputs is not None:
        raise InputError(
            "Give either --truth DIR (photos in colour) or --input DIR (photos that never were), not both."
        )
    photos = truth if truth is not None else inputs
    if (photos is None) != (not methods):
        raise InputError("Galleries need both --truth DIR and --method NAME=DIR (without truth: --input DIR).")
    if photos is None:
        return None
    named = {name: place for name, place in parse_method_places(methods).items() if place is not None}
    return ImageFolders(photos, named, with_truth=truth is not None)


def _choice(images: str, rule: Any, every: int | None, count: int) -> ImageChoice:
    from analysis.report.galleries import ImageChoice
    from evalkit.errors import InputError

    names = _names("--images", images)
    if names and (rule != "every" or every is not None):
        raise InputError("--images names the images; --rule and --every choose them: give one of the two.")
    if every is not None and rule != "every":
        raise InputError(f"--every N belongs to the rule every, not to the rule {rule}.")
    return ImageChoice(names=names, rule=rule, step=every, count=count)


def _names(option: str, text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    from evalkit.errors import InputError

    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for name in names:
        if not name:
            raise InputError(f"{option} {text!r} has an empty name; NAME,NAME is allowed.")
        if names.count(name) > 1:
            raise InputError(f"{option}: {name} is named twice.")
    return names
