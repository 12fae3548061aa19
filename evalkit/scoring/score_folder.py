"""The files of a scoring run, as the report needs them: summary, curves, per-image values."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.scoring.cautions import cautions_about, cautions_by_method, cautions_of_score
from evalkit.scoring.record import size_field
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ScoreFolder", "ScoreSummary", "read_score_folder"]


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """One number of ``summary.csv``; NaN where a cell is empty.

    Attributes
    ----------
    value, std_error, ci_low, ci_high : float
        Score, and its uncertainty over images.
    n_images : int
        Images that carry it.
    signature : str
        How it was made.
    reason : str
        Why it is missing, or rests on fewer images; empty otherwise.
    """

    value: float
    std_error: float
    ci_low: float
    ci_high: float
    n_images: int
    signature: str
    reason: str = ""

    def cautions(self, n_images: int) -> list[str]:
        """Why it is missing, or that it rests on fewer images than the method has."""
        return cautions_of_score(self, n_images)


@dataclass(frozen=True, kw_only=True)
class ScoreFolder:
    """What `evalkit score` wrote.

    Attributes
    ----------
    folder : Path
        Where.
    methods, metrics : tuple of str
        In the order of the table.
    summary : mapping of (method, metric) to ScoreSummary
        ``summary.csv``.
    curves : mapping of str to ndarray, shape (2, k)
        ``curves.csv``: thresholds and fraction of pixels, by method; empty without an ab metric.
    curve_std_errors : mapping of str to ndarray, shape (k,)
        Standard errors of the fractions over images, by method; absent for a folder without statistics.
    per_image : mapping of str to ndarray, shape (n,)
        Columns of ``per_image.parquet``, ``image`` and ``method`` among them.
    record : dict
        ``run.json``.
    """

    folder: Path
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    summary: Mapping[tuple[str, str], ScoreSummary]
    curves: Mapping[str, FloatArray]
    curve_std_errors: Mapping[str, FloatArray]
    per_image: Mapping[str, npt.NDArray[Any]]
    record: Mapping[str, Any]

    @property
    def size_field(self) -> str:
        """How images were resized before they were scored, as signatures say it."""
        return size_field(
            self.record.get("size"), self.record.get("fit", "warp"), self.record.get("resample", "bicubic")
        )

    def images_of(self, method: str) -> int:
        """Images of one method: the most that any of its metrics rests on."""
        return max((score.n_images for (name, _), score in self.summary.items() if name == method), default=0)

    def cautions(self) -> dict[str, list[str]]:
        """Warnings of the run by the method that they are about; those about all of it under ""."""
        return cautions_by_method(self.record.get("warnings", ()), self.methods)

    def cautions_about(self, metric: str, methods: Iterable[str]) -> tuple[str, ...]:
        """What a reader of a number that is made of one metric of some methods should know."""
        return cautions_about(metric, methods, warnings=self.record.get("warnings", ()), summary=self.summary)


def read_score_folder(folder: Path | str) -> ScoreFolder:
    """Read the files of a finished scoring run.

    Raises
    ------
    InputError
        When the folder holds no finished run, or a damaged one.
    """
    from evalkit.scoring.statistics_store import check_shards, shard_rows

    folder = Path(folder)
    if not (folder / "run.json").is_file() or not (folder / "summary.csv").is_file():
        raise InputError(
            f"{folder} holds no finished scoring run (run.json and summary.csv); `evalkit score` makes one."
        )
    record = _read_record(folder / "run.json")
    reasons = {(entry["method"], entry["metric"]): entry["reason"] for entry in record.get("unscored", ())}
    if (folder / "statistics").is_dir() and "shards" in record:
        check_shards(folder / "statistics", shard_rows(folder / "statistics"), record["shards"])
    summary = {
        (row["method"], row["metric"]): ScoreSummary(
            value=_number(row["value"]),
            std_error=_number(row["std_error"]),
            ci_low=_number(row["ci_low"]),
            ci_high=_number(row["ci_high"]),
            n_images=int(row["n_images"] or 0),
            signature=row.get("signature", ""),
            reason=reasons.get((row["method"], row["metric"]), ""),
        )
        for row in _rows(folder / "summary.csv", ("value", "std_error", "ci_low", "ci_high"))
    }
    lacking = [name for name in record.get("methods", ()) if name not in {method for method, _ in summary}]
    if lacking or not summary:
        raise InputError(
            f"{folder / 'summary.csv'}: is cut off or damaged (it lacks {lacking or 'all rows'}); {_AGAIN}."
        )
    points: dict[str, list[tuple[float, float]]] = {}
    if (folder / "curves.csv").is_file():
        for row in _rows(folder / "curves.csv", ("threshold", "fraction")):
            points.setdefault(row["method"], []).append((_number(row["threshold"]), _number(row["fraction"])))
    per_image: dict[str, npt.NDArray[Any]] = {}
    if (folder / "per_image.parquet").is_file():
        table = _read_table(folder / "per_image.parquet")
        per_image = {name: np.array(table[name].to_pylist()) for name in table.column_names if name in _KEYS} | {
            name: np.array([math.nan if cell is None else cell for cell in table[name].to_pylist()], dtype=np.float64)
            for name in dict.fromkeys(metric for _, metric in summary)
            if name in table.column_names
        }
    return ScoreFolder(
        folder=folder,
        methods=tuple(dict.fromkeys(method for method, _ in summary)),
        metrics=tuple(dict.fromkeys(metric for _, metric in summary)),
        summary=summary,
        curves={method: np.array(pairs).T for method, pairs in points.items()},
        curve_std_errors=_curve_std_errors(folder / "statistics", list(points)),
        per_image=per_image,
        record=record,
    )


_KEYS = ("image", "method")
_AGAIN = "write it anew with 'evalkit score --resume' or 'evalkit rescore'"


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as the record of a scoring run ({error_reason(error)}).") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: is not the record of a scoring run.")
    return record


def _read_table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0].rstrip('.')}); {_AGAIN}.") from None
    if not {*_KEYS} <= {*table.column_names}:
        raise InputError(f"{path}: lacks the columns {' and '.join(_KEYS)}; {_AGAIN}.")
    return table


def _curve_std_errors(statistics: Path, methods: list[str]) -> dict[str, FloatArray]:
    """Of the pooled share of pixels within each threshold: a ratio of sums over images, linearised."""
    from evalkit.scoring.statistics_store import image_curves

    std_errors = {}
    curves = image_curves(statistics, methods) if statistics.is_dir() else {}
    for method, counts in curves.items():
        within = counts.astype(np.float64)
        n = len(within)
        if n < 2:
            continue
        pixels = within[:, -1:]
        share = within.sum(axis=0) / pixels.sum()
        rest = within - share * pixels
        std_errors[method] = (np.sqrt(n / (n - 1) * (rest**2).sum(axis=0)) / pixels.sum())[:-1]
    return std_errors


def _rows(path: Path, numbers: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table of the run; one that was cut off inside a row or a number is refused."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if None in row or None in row.values():
                raise ValueError("a row is not complete")
            for name in numbers:
                _number(row[name])
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"{path}: is cut off or damaged ({error_reason(error)}); {_AGAIN}.") from None
    return rows


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan
