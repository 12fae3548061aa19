"""Do metrics rank colorizations as people do? Rank correlation of every metric with human scores.

The human scores are a table of (image, method, score); the metrics come from a finished run over the same images.
Rows of one image share its content, so intervals are from a bootstrap over images, not over rows.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.arrays import FloatArray, TextArray
from evalkit.errors import InputError
from evalkit.resampling.rank_correlation import spearman
from evalkit.scoring.cautions import cautions_about
from evalkit.text_formats import spreadsheet_text, with_decimal_point
from evalkit.wording import agree, counted, error_reason

if TYPE_CHECKING:
    from evalkit.scoring.scores import Scores

__all__ = ["Agreement", "read_human_scores", "validate_metrics"]

HumanScores = Mapping[tuple[str, str], float]
"""Mean human score by image and method."""

MIN_PAIRS = 4


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How one metric agrees with people.

    Attributes
    ----------
    metric : str
    n_pairs, n_images : int
        Rows with both a finite value of the metric and a human score, and their images.
    correlation : float
        Spearman's rank correlation over these rows; positive where higher values go with higher human scores, so a
        distance that agrees with people is negative. NaN where it is undefined.
    ci_low, ci_high : float
        95 % interval, percentiles of a bootstrap over images.
    within_image : float
        Mean over images of the rank correlation among the methods of one image, so that easy images do not help.
    cautions : tuple of str
        What a reader of it should know: of the run, of the methods that were judged, of their numbers.
    """

    metric: str
    n_pairs: int
    n_images: int
    correlation: float
    ci_low: float
    ci_high: float
    within_image: float
    cautions: tuple[str, ...] = ()


def read_human_scores(path: str | Path) -> dict[tuple[str, str], float]:
    """Read a CSV table with the columns ``image``, ``method`` and ``score``.

    Parameters
    ----------
    path : path
        Images as in the run (file name without extension; an extension is dropped). Several rows of one image and method
        are averaged. The true photos themselves may be scored: their method is ``truth``.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or a score is no finite number.
    """
    try:
        sheet = spreadsheet_text(Path(path))
        with io.StringIO(sheet.text, newline="") as file:
            reader = csv.DictReader(file, delimiter=sheet.delimiter)
            missing = {"image", "method", "score"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path}: has no column {sorted(missing)[0]}; human scores need image, method and score."
                )
            answers: dict[tuple[str, str], list[float]] = {}
            for number, row in enumerate(reader, start=sheet.header_row + 1):
                try:
                    score = float(with_decimal_point(row["score"]) if sheet.decimal_comma else row["score"])
                except (TypeError, ValueError):
                    score = math.nan
                if not math.isfinite(score):
                    raise InputError(
                        f"{path}, row {number}: the score is {row['score']!r}; a finite number is expected."
                    )
                answers.setdefault((row["image"], row["method"]), []).append(score)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a table ({error_reason(error)}).") from error
    if not answers:
        raise InputError(f"{path}: holds no scores.")
    return {key: sum(scores) / len(scores) for key, scores in answers.items()}


def validate_metrics(scores: Scores, human: HumanScores, *, n_bootstrap: int = 2000, seed: int = 0) -> list[Agreement]:
    """Rank correlation of every metric of a run with human scores.

    Parameters
    ----------
    scores : Scores
        A finished run.
    human : mapping of (image, method) to score
        As `read_human_scores` gives it.
    n_bootstrap : int
        Replicates over images, at least 100.
    seed : int

    Returns
    -------
    list of Agreement
        In the order of the run's metrics.

    Raises
    ------
    InputError
        If fewer than four rows of the run have a human score.
    """
    if n_bootstrap < 100:
        raise InputError(
            f"{counted(n_bootstrap, 'bootstrap replicate')} {agree(n_bootstrap, 'is', 'are')} too few for an interval; at least 100."
        )
    rows = [row for row in scores.per_image.to_pylist() if _key(row, human) is not None]
    if len(rows) < MIN_PAIRS:
        raise InputError(
            f"{counted(len(rows), 'row')} of the run have a human score; at least {MIN_PAIRS} are needed. Images and methods must have "
            f"the run's names (for example {scores.per_image['image'][0]}, {scores.methods[0]})."
        )
    judged = np.array([human[_known(row, human)] for row in rows])
    images = np.array([row["image"] for row in rows])
    agreements = []
    summary = {(score.method, score.metric): score for score in scores.summary}
    of_methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    for metric in scores.metrics:
        values = np.array([math.nan if row[metric] is None else row[metric] for row in rows], dtype=np.float64)
        keep = np.isfinite(values)
        agreement = _agreement(metric, values[keep], judged[keep], images[keep], n_bootstrap, seed)
        about = cautions_about(metric, of_methods, warnings=scores.warnings, summary=summary)
        agreements.append(replace(agreement, cautions=about))
    return agreements


def _key(row: Mapping[str, object], human: HumanScores) -> tuple[str, str] | None:
    image, method = str(row["image"]), str(row["method"])
    if (image, method) in human:
        return image, method
    return next(
        (key for suffix in (".png", ".jpg", ".jpeg", ".JPEG") if (key := (image + suffix, method)) in human), None
    )


def _known(row: Mapping[str, object], human: HumanScores) -> tuple[str, str]:
    key = _key(row, human)
    if key is None:
        raise KeyError(row["image"])
    return key


def _agreement(
    metric: str, values: FloatArray, judged: FloatArray, images: TextArray, n_bootstrap: int, seed: int
) -> Agreement:
    names, which = np.unique(images, return_inverse=True)
    rows_of = [np.flatnonzero(which == k) for k in range(len(names))]
    correlation = spearman(values, judged)
    inner = [spearman(values[rows], judged[rows]) for rows in rows_of]
    finite = [value for value in inner if not math.isnan(value)]
    low = high = math.nan
    if not math.isnan(correlation) and len(names) > 1:
        draw = np.random.default_rng(seed)
        replicates = []
        for _ in range(n_bootstrap):
            rows = np.concatenate([rows_of[k] for k in draw.integers(len(names), size=len(names))])
            replicates.append(spearman(values[rows], judged[rows]))
        low, high = (float(end) for end in np.nanpercentile(replicates, [2.5, 97.5]))
    within = sum(finite) / len(finite) if finite else math.nan
    return Agreement(
        metric=metric,
        n_pairs=len(values),
        n_images=len(names),
        correlation=correlation,
        ci_low=low,
        ci_high=high,
        within_image=within,
    )


def agreement_rows(agreements: Sequence[Agreement]) -> list[dict[str, object]]:
    """Plain rows for tables and JSON; undefined numbers are None."""
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in vars(row).items()}
        | {"cautions": "; ".join(row.cautions)}
        for row in agreements
    ]
