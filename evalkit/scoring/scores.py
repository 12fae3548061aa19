"""The result of a scoring run: summary, curves, per-image table, and the record of how they came about.

Everything here is computed from the stored statistics, never from images: the same code serves a fresh run, a rescored
one (other prior, lambda, thresholds, subset), a merged one and a comparison.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.arrays import FloatArray, IntArray
from evalkit.datasets.ctest10k import image_set_field
from evalkit.errors import InputError, NoSuchResultError, check_path
from evalkit.files import check_hides_no_package, write_atomically
from evalkit.images.image_files import decoder_versions
from evalkit.metrics import create_metrics, load_metric
from evalkit.metrics.ab_counts import AbErrorOptions, chosen_options
from evalkit.metrics.ab_error import curve
from evalkit.metrics.base import Metric, ReferenceSet, SumMetric, mean_score
from evalkit.metrics.blocks import BlockMetric
from evalkit.needs import need_pandas
from evalkit.plotting import chosen_axes
from evalkit.release import DISTRIBUTION, release
from evalkit.resampling.intervals import Interval, interval, jackknife_interval, leave_one_out_scores
from evalkit.resampling.replicates import FEW_IMAGES, replicate_scores
from evalkit.scoring.arrow_columns import number_column, values_of
from evalkit.scoring.curve_plot import draw_curves
from evalkit.scoring.estimates import Estimate, check_n_bootstrap, estimate, intervals
from evalkit.scoring.notices import notices, refuse_copies
from evalkit.scoring.ranking import first_rank
from evalkit.scoring.record import RunRecord
from evalkit.scoring.samples import SampleScore, sample_scores
from evalkit.scoring.signature import format_signature
from evalkit.scoring.statistics_store import (
    DIAGNOSTICS,
    StoredStatistics,
    check_shards,
    drop_notes,
    is_of_method,
    read_reference,
    read_statistics,
    read_vectors,
    rows_of_method,
)
from evalkit.shown import ShownAsTable
from evalkit.text_formats import FORMULA_STARTS, csv_text
from evalkit.wording import counted, unknown_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Curve", "Score", "Scores", "load_statistics", "summarise"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of the table.

    Attributes
    ----------
    method, metric : str
    value : float
        NaN where it is unscored; `reason` then says why.
    std_error, ci_low, ci_high : float
        Bootstrap over images: standard error and 95 % interval; NaN where there is none.
    n_images, n_pixels : int
        Images that carry the value, and their pixels.
    signature : str
        How the number was made.
    reason : str
        Why a value is missing, or what was left out of it; empty otherwise.
    """

    method: str
    metric: str
    value: float
    std_error: float
    ci_low: float
    ci_high: float
    n_images: int
    n_pixels: int
    signature: str
    reason: str = ""


SUMMARY_COLUMNS = (
    "method", "metric", "value", "std_error", "ci_low", "ci_high", "n_images", "n_pixels", "signature", "reason",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Curve:
    """Cumulative ab-error curve of one method.

    Attributes
    ----------
    threshold : ndarray of int64, shape (151,)
        0, 1, ..., 150, CIE Lab units.
    fraction, fraction_rebalanced : ndarray of float64, shape (151,)
        Share of pixels with an ab error of at most the threshold; plain, and weighted by class.
    """

    threshold: IntArray
    fraction: FloatArray
    fraction_rebalanced: FloatArray

    def __repr__(self) -> str:
        return f"<Curve at {len(self.threshold)} thresholds; {100 * self.fraction[10]:.1f} % of the pixels within 10>"


@dataclass(frozen=True, kw_only=True, repr=False)
class Scores(ShownAsTable):
    """Scores of several methods on the same images.

    Attributes
    ----------
    summary : tuple of Score
        One per method and metric, methods in the order given.
    curves : mapping of str to Curve
        By method; empty when no ab metric was asked for.
    per_image : pyarrow.Table
        One row per image and method: metric values and diagnostics.
    warnings : tuple of str
        What a reader of the numbers should know.
    record : RunRecord
    samples : tuple of Score
        Numbers of all samples together, for methods with several images per photo (see `evalkit.scoring.samples`).
    first_rank : mapping of str to tuple of str
        By metric the best method and those that cannot be told apart from it, anchors aside (see
        `evalkit.scoring.ranking`).
    """

    summary: tuple[Score, ...]
    curves: Mapping[str, Curve]
    per_image: pa.Table
    warnings: tuple[str, ...]
    record: RunRecord
    samples: tuple[Score, ...] = ()
    first_rank: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order of the table."""
        return self.record.methods

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics in the order of the table."""
        return self.record.metrics

    def __getitem__(self, key: tuple[str, str]) -> Score:
        """Score of ``(method, metric)``."""
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(name, str) for name in key):
            raise InputError(f"scores[{key!r}]: give a method and a metric, scores['mine', 'ab_auc']")
        for score in self.summary:
            if (score.method, score.metric) == key:
                return score
        what, name, allowed = (
            ("metric", key[1], self.metrics) if key[0] in self.methods else ("method", key[0], self.methods)
        )
        raise NoSuchResultError(f"in these scores {unknown_name(what, str(name), allowed)}")

    def __contains__(self, key: object) -> bool:
        """Whether there is a method of this name, or a score of ``(method, metric)``."""
        return key in self.methods or key in [(score.method, score.metric) for score in self.summary]

    def shown_title(self) -> str:
        """How many images; what the numbers are."""
        n_images = len(self.per_image) // max(len(self.methods), 1)
        has_intervals = any(not math.isnan(score.ci_low) for score in self.summary)
        return f"Scores of {counted(n_images, 'image')}" + (
            "; in brackets 95 % intervals over images" if has_intervals else ""
        )

    def shown_rows(self) -> list[dict[str, Any]]:
        """One row per method, one column per metric."""
        return [{"method": method, **dict(self._shown_cells(method))} for method in self.methods]

    def _shown_cells(self, method: str) -> Iterator[tuple[str, str]]:
        for name in self.metrics:
            metric, score = load_metric(name), self[method, name]
            arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.better]
            unit = " %" if metric.percent else ""
            numbers = [metric.number_text(value) for value in (score.value, score.ci_low, score.ci_high)]
            between = "" if math.isnan(score.ci_low) else f" ({numbers[1]} – {numbers[2]})"
            yield f"{metric.title}{arrow}{unit}", "unscored" if math.isnan(score.value) else numbers[0] + between

    def plot_curves(self, ax: Axes | None = None) -> Axes:
        """Draw the cumulative ab-error curves, as the report does.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            pyplot's current ones by default.

        Returns
        -------
        matplotlib Axes
            Those that were drawn on.

        Raises
        ------
        InputError
            If no ab metric was asked for, so that there are no curves, or matplotlib is not installed.
        """
        if not self.curves:
            raise InputError("these scores have no ab-error curves; score with ab_auc or ab_auc_rebal")
        axes = chosen_axes(ax)
        draw_curves(axes, {name: np.stack([one.threshold, one.fraction]) for name, one in self.curves.items()})
        return axes

    def to_frame(self) -> pd.DataFrame:
        """The summary as a pandas data frame, in long form (needs pandas)."""
        need_pandas()
        import pandas as pd

        return pd.DataFrame([{name: getattr(score, name) for name in SUMMARY_COLUMNS} for score in self.summary])

    @classmethod
    def read(cls, out: str | Path) -> Scores:
        """Read the results in an ``--out`` folder; the summary is recomputed from the statistics.

        Raises
        ------
        InputError
            If the folder holds no finished run.
        """
        check_path("out", out)
        return summarise(Path(out) / "statistics", RunRecord.from_json(Path(out) / "run.json"))

    def rescored(
        self, out: str | Path, *, options: AbErrorOptions | None = None, images: Sequence[str] | None = None
    ) -> Scores:
        """The same run under other options or on a subset of its images; `out` is where its statistics are."""
        check_path("out", out)
        if isinstance(images, str):
            raise InputError(f"images is one text; give a list of names: [{images!r}]")
        if images is not None and not len(images):
            raise InputError("images is empty; at least one image of the run is needed")
        record = replace(self.record, options=self.record.options if options is None else chosen_options(options))
        return summarise(Path(out) / "statistics", record, None if images is None else frozenset(images))

    def write(self, target: str | Path, *, statistics: Path | None = None, per_image_csv: bool = False) -> None:
        """Write the result files; ``run.json`` comes last and marks the folder as finished.

        Parameters
        ----------
        target : path
            Folder, made if it does not exist.
        statistics : Path, optional
            Folder of shards to move to ``target/statistics``.
        per_image_csv : bool
            Write ``per_image.csv`` as well.

        Raises
        ------
        InputError
            If the folder would hide a package of ours.
        """
        check_path("target", target)
        target = Path(target)
        check_hides_no_package(target)
        target.mkdir(parents=True, exist_ok=True)
        (target / "run.json").unlink(missing_ok=True)
        if statistics is not None and statistics != target / "statistics":
            shutil.rmtree(target / "statistics", ignore_errors=True)
            statistics.replace(target / "statistics")
        write_atomically(target / "summary.csv", self.summary_csv().encode())
        write_atomically(target / "curves.csv", self.curves_csv().encode())
        (target / "samples.csv").unlink(missing_ok=True)
        if self.samples:
            write_atomically(target / "samples.csv", _scores_csv(self.samples).encode())
        buffer = io.BytesIO()
        pq.write_table(self.per_image, buffer, compression="zstd")
        write_atomically(target / "per_image.parquet", buffer.getvalue())
        (target / "per_image.csv").unlink(missing_ok=True)
        if per_image_csv:
            from pyarrow.csv import write_csv

            text = io.BytesIO()
            write_csv(_without_formulas(self.per_image), text)
            write_atomically(target / "per_image.csv", text.getvalue())
        if statistics is not None:
            drop_notes(target / "statistics")
        write_atomically(target / "run.json", (json.dumps(self.run_json(), indent=1) + "\n").encode())

    def summary_csv(self) -> str:
        """``summary.csv``: long form, full precision; an unscored value is an empty field, with its reason."""
        return _scores_csv(self.summary)

    def curves_csv(self) -> str:
        """``curves.csv``: method, threshold, fraction, fraction_rebalanced."""
        columns = ("method", "threshold", "fraction", "fraction_rebalanced")
        rows = (
            dict(zip(columns, (method, t, plain, rebalanced), strict=True))
            for method, one in self.curves.items()
            for t, plain, rebalanced in zip(one.threshold, one.fraction, one.fraction_rebalanced, strict=True)
        )
        return csv_text(rows, columns)

    def run_json(self) -> dict[str, Any]:
        """``run.json``: versions, options, digests of inputs, what was left out and why, warnings."""
        used = [DISTRIBUTION, "numpy", "numba", "pillow", "pyarrow"]
        if any(not setup.reason for setup in self.record.setups.values()):
            used += ["torch", "torchvision"]
        packages = {name: version(name) for name in used}
        return {
            "format": 1,
            **self.record.to_json(),
            "unscored": [
                {"method": s.method, "metric": s.metric, "reason": s.reason} for s in self.summary if s.reason
            ],
            "warnings": list(self.warnings),
            "signatures": sorted({s.signature for s in self.summary}),
            "versions": {"python": platform.python_version(), **packages, "decoders": decoder_versions()},
            "platform": platform.platform(),
        }


def load_statistics(
    folder: Path, record: RunRecord, metrics: Sequence[Metric], keep: frozenset[str] | None = None
) -> StoredStatistics:
    """What the metrics of a run need from its shards."""
    sums = [metric for metric in metrics if isinstance(metric, SumMetric)]
    columns = dict.fromkeys(name for metric in metrics for name in metric.columns)
    columns.update(dict.fromkeys(name for metric in sums for name in metric.reads))
    needs_ab_errors = any(metric.uses_ab_error for metric in sums)
    options = record.options if needs_ab_errors else None
    stored = read_statistics(folder, record.methods, list(columns), options, keep)
    if record.shards:
        check_shards(folder, stored.shards, record.shards)
    return stored


def summarise(
    folder: Path,
    record: RunRecord,
    keep: frozenset[str] | None = None,
    *,
    metrics: Sequence[Metric] | None = None,
    stored: StoredStatistics | None = None,
) -> Scores:
    """Compute the summary of stored statistics.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    record : RunRecord
        Methods, metrics and options to summarise under.
    keep : frozenset of str, optional
        Summarise these images only.
    metrics : sequence of Metric, optional
        The metrics of the record where they are made already.
    stored : StoredStatistics, optional
        What `load_statistics` read for these metrics and images, where it is read already.

    Raises
    ------
    InputError
        If shards cannot be read, images of `keep` are not in the run, or a method is a copy of the truth.
    """
    check_n_bootstrap(record.n_bootstrap)
    if metrics is None:
        metrics = create_metrics(record.metrics, record.options, record.setups)
    if stored is None:
        stored = load_statistics(folder, record, metrics, keep)
    record = replace(record, shards=stored.shards)
    reference = read_reference(folder, _reference_columns(metrics))
    run_fields = _run_fields(stored, record)
    summary: list[Score] = []
    cautions: dict[str, None] = {}
    by_metric: dict[str, dict[str, Estimate]] = {metric.name: {} for metric in metrics}
    per_image: dict[str, FloatArray] = {metric.name: np.full(stored.scalars.num_rows, np.nan) for metric in metrics}
    for method in record.methods:
        estimates, fields = _estimates(folder, stored, method, metrics, keep, reference)
        _fill_rows(per_image, stored.scalars, method, estimates)
        of_method = _with_seed(run_fields, record, method)
        for one, own, between in zip(
            estimates, fields, intervals(estimates, record.n_bootstrap, record.seed), strict=True
        ):
            summary.append(_score(method, one, between, format_signature(one.metric.name, of_method, own, release())))
            cautions[one.metric.caution(method, one.value, one.n_scored)] = None
            cautions[one.metric.notice(method, stored.methods[method])] = None
            if method in record.own_methods:
                by_metric[one.metric.name][method] = one
    table = _per_image_table(stored.scalars, per_image, metrics)
    refuse_copies(table, record)
    digests = _input_digests(table, record)
    record = replace(record, inputs=digests if reference is None else {**digests, "reference": reference.digest})
    return Scores(
        summary=tuple(summary),
        curves=_curves(stored, record),
        per_image=table,
        warnings=(*notices(table, record), *filter(None, cautions)),
        record=record,
        samples=_scores_of_samples(table, metrics, record, run_fields) if record.samples else (),
        first_rank={name: first_rank(estimates) for name, estimates in by_metric.items()},
    )


def _reference_columns(metrics: Sequence[Metric]) -> list[str]:
    scored = [metric for metric in metrics if isinstance(metric, BlockMetric) and not metric.setup.reason]
    return list(dict.fromkeys(name for metric in scored for name in metric.reference_columns))


def _run_fields(stored: StoredStatistics, record: RunRecord) -> dict[str, str]:
    """Signature fields that all numbers of the run share."""
    names = stored.methods[record.methods[-1]].images
    fields = {"set": image_set_field(names), "n": str(len(names)), "size": record.size_field}
    return {**fields, "common": str(len(names))} if record.allow_missing else fields


def _with_seed(fields: Mapping[str, str], record: RunRecord, method: str) -> Mapping[str, str]:
    is_random = method == "random" and method in record.builtins
    return {**fields, "seed": str(record.seed)} if is_random else fields


def _estimates(
    folder: Path,
    stored: StoredStatistics,
    method: str,
    metrics: Sequence[Metric],
    keep: frozenset[str] | None,
    reference: ReferenceSet | None,
) -> tuple[list[Estimate], list[Mapping[str, str]]]:
    """Every metric of one method, and its signature fields."""
    statistics = stored.methods[method]
    vectors = list(dict.fromkeys(name for metric in metrics for name in metric.vectors))
    if vectors:
        statistics = replace(statistics, vectors=read_vectors(folder, method, vectors, keep), reference=reference)
    return [estimate(metric, statistics) for metric in metrics], [metric.fields_of(statistics) for metric in metrics]


def _fill_rows(
    per_image: Mapping[str, FloatArray], scalars: pa.Table, method: str, estimates: Sequence[Estimate]
) -> None:
    rows = np.flatnonzero(is_of_method(scalars, method))
    for one in estimates:
        per_image[one.metric.name][rows] = one.per_image


def _score(method: str, one: Estimate, between: Interval, signature: str) -> Score:
    return Score(
        method=method,
        metric=one.metric.name,
        value=one.value,
        std_error=between.std_error,
        ci_low=between.low,
        ci_high=between.high,
        n_images=one.n_images,
        n_pixels=one.n_pixels,
        signature=signature,
        reason=one.reason,
    )


def _curves(stored: StoredStatistics, record: RunRecord) -> dict[str, Curve]:
    curves = {}
    for method, histogram in stored.histograms.items():
        fraction, rebalanced = curve(histogram, record.options)
        curves[method] = Curve(np.arange(len(fraction)), fraction, rebalanced)
    return {method: curves[method] for method in record.methods if method in curves}


def _per_image_table(scalars: pa.Table, values: Mapping[str, FloatArray], metrics: Sequence[Metric]) -> pa.Table:
    table = scalars.select(["image", "method", "n_pixels"])
    for name, column in values.items():
        table = table.append_column(name, number_column(column, missing=np.isnan(column)))
    for name in dict.fromkeys(name for metric in metrics for name in metric.details):
        table = table.append_column(name, _missing_as_null(scalars[name]))
    for name in DIAGNOSTICS:
        table = table.append_column(name, scalars[name])
    return table.replace_schema_metadata(None).combine_chunks()


def _missing_as_null(column: pa.ChunkedArray) -> pa.Array:
    values = values_of(column)
    return number_column(values, missing=values < 0 if values.dtype.kind == "i" else np.isnan(values))


def _input_digests(table: pa.Table, record: RunRecord) -> dict[str, str]:
    """Digest of each folder: sha256 over the lines ``<sha256 of the file>  <image>``, images in name order."""

    def digest(method: str, name: str) -> str:
        lines = hashlib.sha256()
        # Piece by piece: the texts of a million images would take as much memory as all of their numbers.
        for piece in rows_of_method(table.select(["method", name, "image"]), method).to_batches(max_chunksize=4096):
            files = zip(piece[name].to_pylist(), piece["image"].to_pylist(), strict=True)
            lines.update("".join(f"{sha}  {image}\n" for sha, image in files).encode())
        return lines.hexdigest()

    digests = {"truth": digest(record.methods[0], "truth_sha256")}
    for method in record.methods:
        if method not in record.builtins:
            digests[f"method {method}"] = digest(method, "sha256")
    return digests


def _scores_of_samples(
    table: pa.Table, metrics: Sequence[Metric], record: RunRecord, run_fields: Mapping[str, str]
) -> tuple[Score, ...]:
    n_pixels: IntArray = values_of(rows_of_method(table, record.methods[0])["n_pixels"])
    return tuple(
        _score_of_samples(one, n_pixels, record, run_fields) for one in sample_scores(table, metrics, record.samples)
    )


def _score_of_samples(one: SampleScore, n_pixels: IntArray, record: RunRecord, run_fields: Mapping[str, str]) -> Score:
    carries = np.isfinite(one.per_image)
    between = Interval.missing("no interval was asked for (--bootstrap 0)")
    if not carries.any():
        between = Interval.missing("no image has this score")
    elif record.n_bootstrap and carries.sum() < FEW_IMAGES:
        between = jackknife_interval(one.value, leave_one_out_scores(one.terms[carries], mean_score))
    elif record.n_bootstrap:
        between = interval(
            one.value, replicate_scores([(one.terms, mean_score)], record.n_bootstrap, record.seed)[:, 0]
        )
    return Score(
        method=one.method,
        metric=one.metric,
        value=one.value,
        std_error=between.std_error,
        ci_low=between.low,
        ci_high=between.high,
        n_images=int(carries.sum()),
        n_pixels=int(n_pixels[carries].sum()),
        signature=format_signature(one.metric, run_fields, one.fields, release()),
        reason="" if carries.any() else "unscored: no image has a value of all its samples",
    )


def _without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before texts that a spreadsheet would run, as `csv_text` writes them."""
    import pyarrow.compute as pc

    starts = re.escape("".join(FORMULA_STARTS))
    for k, column in enumerate(table.schema):
        if column.type == pa.string():
            guarded = pc.replace_substring_regex(table[k], pattern=f"^([{starts}])", replacement=r"'\1")
            table = table.set_column(k, column, guarded)
    return table


def _scores_csv(scores: Sequence[Score]) -> str:
    return csv_text([{name: getattr(score, name) for name in SUMMARY_COLUMNS} for score in scores], SUMMARY_COLUMNS)
