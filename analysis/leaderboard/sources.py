"""What a leaderboard is made of: runs of `evalkit score`, and studies as trials or as `evalkit analyze` left them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.records import Row
from analysis.report.cells import ReportColumn
from analysis.report.tables import rate_column
from analysis.study.analysis import SubsetAnalysis, analyze_study
from analysis.study.rates import VIGILANCE
from analysis.trials.columns import REAL_AMONG_SEVERAL
from analysis.trials.trial_files import read_trials
from evalkit.errors import InputError
from evalkit.scoring.record import RunRecord
from evalkit.scoring.score_folder import ScoreFolder, read_score_folder
from evalkit.text_formats import parse_json, unguarded
from evalkit.wording import error_reason

__all__ = ["ScoreSource", "Source", "StudySource", "read_sources"]

TAKEN_FOR_REAL = "taken_for_real"
"""Measure of a search for the real photo among several; each number of images has its own chance."""
_MEASURES = {
    "real-vs-fake": "fooled",
    "naturalness": "natural",
    "rating": "rating",
    "preference": "strength",
    REAL_AMONG_SEVERAL: TAKEN_FOR_REAL,
}
"""Measure by what was asked."""


@dataclass(frozen=True, kw_only=True)
class ScoreSource:
    """A run of `evalkit score`.

    Attributes
    ----------
    path : Path
        Its folder.
    label : str
        What tells it from the other sources of the leaderboard.
    folder : ScoreFolder
        Summary, values of single images, record.
    record : RunRecord
        What the run was.
    """

    path: Path
    label: str
    folder: ScoreFolder
    record: RunRecord

    def identity(self, method: str) -> tuple[str, str]:
        """Name and digest of the files: two runs that scored the same files hold one method."""
        return method, str(self.record.inputs.get(f"method {method}", ""))


@dataclass(frozen=True, kw_only=True)
class StudySource:
    """What people said of methods, with every pair of them compared.

    Attributes
    ----------
    path : Path
        Trial table, study folder, or folder of `evalkit analyze`.
    label : str
        What tells it from the other sources of the leaderboard.
    measure : str
        ``fooled``, ``natural``, ``rating``, ``strength`` (preferences) or ``taken_for_real``.
    column : ReportColumn
        Heading and factor of the rates, mean ratings, strengths or shares.
    rates : list of rows
        ``method``, ``value``, ``std_error``, ``ci_low``, ``ci_high``, ``n_images``.
    pairs : list of rows
        ``method_a``, ``method_b``, ``difference``, ``p_value``, ``p_holm``, ``n_images``, of all pairs.
    signature : str
        Preset, estimand, participants, digest of the trials.
    image_rows : list of rows
        Of ``per_image.csv``, for galleries of images that fool people most or least.
    is_simulated : bool
        Whether the answers come from simulated observers.
    """

    path: Path
    label: str
    measure: str
    column: ReportColumn
    rates: list[Row]
    pairs: list[Row]
    signature: str
    image_rows: list[Row]
    is_simulated: bool


Source = ScoreSource | StudySource


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read runs and studies, in the given order.

    Raises
    ------
    InputError
        For a path that is neither or stands twice, and for whatever cannot be read.
    """
    places = [path.resolve() for path in paths]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{paths[number]} is named twice; give each run and study once.")
    return [_read(path, label) for path, label in zip(paths, _labels(places), strict=True)]


def _labels(places: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell it from the others."""
    labels = []
    for place in places:
        parts = place.parts
        others = [other.parts for other in places if other != place]
        count = next((k for k in range(1, len(parts)) if all(other[-k:] != parts[-k:] for other in others)), len(parts))
        labels.append("/".join(parts[-count:]))
    return labels


def _read(path: Path, label: str) -> Source:
    if not path.exists():
        raise InputError(
            f"{path} does not exist; a folder of `evalkit score` or `evalkit analyze`, or trials, is needed."
        )
    record = path / "run.json"
    if (path / "summary.csv").is_file() or (record.is_file() and _command_of(record) is None):
        folder = read_score_folder(path)
        return ScoreSource(path=path, label=label, folder=folder, record=RunRecord.from_json(record))
    if record.is_file() and _command_of(record) == "analyze":
        return _of_analysis(path, label)
    if record.is_file():
        raise InputError(
            f"{path} holds the results of {_command_of(record)!r}; a folder of `evalkit score` or `evalkit analyze`, or "
            "trials, is needed."
        )
    return _of_trials(path, label)


def _command_of(record: Path) -> str | None:
    """The command that wrote a record; None where it does not say so, as runs of `evalkit score` do not."""
    try:
        content = parse_json(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{record}: cannot be read as a record ({error_reason(error)}).") from None
    command = content.get("command") if isinstance(content, dict) else None
    return None if command is None else str(command)


def _of_trials(path: Path, label: str) -> StudySource:
    study = analyze_study(read_trials(path))
    subset = study.headline
    question, alternatives = subset.trials.question, subset.trials.n_alternatives
    rates = _rates(_rate_rows(subset), question)
    return StudySource(
        path=path,
        label=label,
        measure=_MEASURES[question],
        column=_column(question, alternatives),
        rates=rates,
        pairs=_pairs(_difference_rows(subset)),
        signature=_study_signature(question, alternatives, study.options.estimand, subset.trials.digest),
        image_rows=subset.tables["per_image"],
        is_simulated=study.simulated,
    )


def _rate_rows(subset: SubsetAnalysis) -> list[Row]:
    if subset.preferences is not None:
        return subset.preferences.choice_rows() if subset.trials.seeks_real else subset.preferences.scale_rows()
    return subset.rates.rows() if subset.rates is not None else []


def _difference_rows(subset: SubsetAnalysis) -> list[Row]:
    if subset.preferences is not None:
        return subset.preferences.differences.rows()
    return subset.differences.rows() if subset.differences is not None else []


_TABLES = {
    "real-vs-fake": ("fool_rates.csv", "comparisons.csv"),
    "naturalness": ("natural_rates.csv", "comparisons.csv"),
    "rating": ("mean_ratings.csv", "comparisons.csv"),
    "preference": ("preference_scale.csv", "preference_comparisons.csv"),
    REAL_AMONG_SEVERAL: ("choice_shares.csv", "preference_comparisons.csv"),
}


def _of_analysis(path: Path, label: str) -> StudySource:
    """Of the subset that the declared exclusions left, which is the last one."""
    record = parse_json((path / "run.json").read_text(encoding="utf-8"))
    question, options = str(record.get("preset")), record.get("options", {})
    alternatives = record.get("alternatives") or 2
    if question not in _TABLES or not isinstance(alternatives, int):
        raise InputError(f"{path / 'run.json'}: is not a record of `evalkit analyze` as this release writes it.")
    if options.get("baseline"):
        raise InputError(
            f"{path} compares methods with the baseline {options['baseline']!r} alone, and ranks need every pair: "
            "analyse the trials without --baseline, or give the trials themselves."
        )
    rates, pairs = (_last_subset(path / name) for name in _TABLES[question])
    images = _last_subset(path / "per_image.csv") if (path / "per_image.csv").is_file() else []
    return StudySource(
        path=path,
        label=label,
        measure=_MEASURES[question],
        column=_column(question, alternatives),
        rates=_rates(rates, question),
        pairs=_pairs(pairs),
        signature=_study_signature(
            question, alternatives, str(options.get("estimand", "")), str(record.get("sha256", ""))
        ),
        image_rows=images,
        is_simulated=bool(record.get("simulated")),
    )


def _last_subset(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = [{name: _value(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read ({error_reason(error)}); write it anew with `evalkit analyze`."
        ) from None
    return [row for row in rows if row.get("subset") == rows[-1].get("subset")]


_TEXTS = ("method", "method_a", "method_b", "name", "image", "quantity", "subset", "note")


def _value(column: str, cell: str) -> Any:
    """A text, a number, or NaN of an empty cell; some texts (of other columns) stay texts."""
    if column in _TEXTS:
        return unguarded(cell)
    try:
        return float(cell) if cell else math.nan
    except ValueError:
        return cell


def _study_signature(question: str, alternatives: int, estimand: str, digest: str) -> str:
    """What was asked, of how many images where that may differ, what the intervals are for, which trials."""
    among = f"among:{alternatives}|" if question in ("preference", REAL_AMONG_SEVERAL) and alternatives > 2 else ""
    return f"{question}|{among}{estimand}|trials:{digest[:8]}"


def _column(question: str, alternatives: int) -> ReportColumn:
    if question == "preference":
        return ReportColumn(_MEASURES[question], "strength", decimals=2)
    if question == REAL_AMONG_SEVERAL:
        chance = f"{100 / alternatives:.3g}"
        return ReportColumn(TAKEN_FOR_REAL, f"taken for real % (one of {alternatives}, chance {chance})", 100.0)
    return rate_column(question)


_VALUES = ("fool_rate", "natural_rate", "mean_rating", "strength", "share")


def _rates(rows: Sequence[Mapping[str, Any]], question: str) -> list[Row]:
    """Methods alone: no vigilance trials, no effect of the order, no places."""
    quantity = {"preference": "strength", REAL_AMONG_SEVERAL: "method"}.get(question)
    named = "name" if question == REAL_AMONG_SEVERAL else "method"
    return [
        {
            "method": str(row[named]),
            "value": next(float(row[name]) for name in _VALUES if name in row),
            **{name: float(row[name]) for name in ("std_error", "ci_low", "ci_high")},
            "n_images": int(row["n_images"]),
        }
        for row in rows
        if row[named] != VIGILANCE and (quantity is None or row["quantity"] == quantity)
    ]


def _pairs(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Of real pairs; the share stands for the sign where a preference has no finite strength."""
    pairs = []
    for row in rows:
        if VIGILANCE in (row["method_a"], row["method_b"]):
            continue
        difference = float(row["difference"])
        if math.isnan(difference) and "share" in row:
            difference = float(row["share"]) - 0.5
        n_images = row["n_images"] if "n_images" in row else row["n_shared_images"]
        pairs.append(
            {
                "method_a": str(row["method_a"]),
                "method_b": str(row["method_b"]),
                "difference": difference,
                "p_value": float(row["p_value"]),
                "p_holm": float(row["p_holm"]),
                "n_images": int(n_images),
            }
        )
    return pairs
