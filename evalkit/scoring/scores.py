"""The result of a scoring run: summary, curves, per-image table, and the record of how they came about.

Everything here is computed from the stored statistics, never from images: the same code serves a fresh run, a rescored
one (other prior, lambda, thresholds, subset), a merged one and a comparison.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.arrays import BoolArray, FloatArray, IntArray
from evalkit.color.ab_classes import AbClasses, Prior, preset
from evalkit.datasets.ctest10k import image_set_field
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.metrics import create_metrics
from evalkit.metrics.ab_error import AbErrorOptions, curve
from evalkit.metrics.accumulator import exact_sum
from evalkit.metrics.base import ImageStatistics, Metric, mean_score
from evalkit.metrics.blocks import BlockMetric, Settings
from evalkit.resampling.intervals import Interval, interval, jackknife_interval, replicate_scores
from evalkit.scoring.samples import sample_scores
from evalkit.scoring.signature import format_signature
from evalkit.scoring.statistics_store import DIAGNOSTICS, drop_notes, read_method, read_scalars, read_vectors

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.scoring.run import Plan

__all__ = ["Curve", "RunRecord", "Score", "Scores", "load_statistics"]

DISTRIBUTION = "colorization-evalkit"
L_CHANGE_LIMIT = 1.0
"""Mean |dL| above this says that a method changed the lightness; 8-bit rounding of a kept L stays below 0.5."""


@dataclass(frozen=True)
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
    "method", "metric", "value", "std_error", "ci_low", "ci_high", "n_images", "n_pixels", "signature",
)  # fmt: skip


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class RunRecord:
    """What a run was: enough to compute its summary again from its statistics. Stored as ``run.json``."""

    methods: tuple[str, ...]
    builtins: tuple[str, ...]
    metrics: tuple[str, ...]
    options: AbErrorOptions
    size: int | None
    fit: str
    seed: int
    n_bootstrap: int
    allow_missing: bool
    inputs: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[Mapping[str, str]] = ()
    settings_of: Mapping[str, Settings] = field(default_factory=dict)
    """What the metrics that need a network settled on, by name."""
    notes: tuple[str, ...] = ()
    """What the run noticed, beside what the statistics show."""
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Methods that are samples of one, by its name."""

    @property
    def size_field(self) -> str:
        """Signature field: ``native``, or for example ``256-warp-bicubic``."""
        return "native" if self.size is None else f"{self.size}-{self.fit}-bicubic"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        prior = self.options.prior
        own_classes = self.options.classes.name.startswith("file")
        return {
            "methods": list(self.methods),
            "builtins": list(self.builtins),
            "metrics": list(self.metrics),
            "options": {
                "classes": self.options.classes.name,
                "class_centers": self.options.classes.centers.tolist() if own_classes else None,
                "prior": "truth" if prior is None else prior.name,
                "prior_shares": None if prior is None else prior.shares.tolist(),
                "quadrature": self.options.quadrature,
                "max_threshold": self.options.max_threshold,
                "lambda": self.options.rebalancing,
                "networks": {
                    name: {"fields": dict(found.fields), "reason": found.reason}
                    for name, found in self.settings_of.items()
                },
            },
            "size": self.size,
            "fit": self.fit,
            "seed": self.seed,
            "bootstrap": self.n_bootstrap,
            "allow_missing": self.allow_missing,
            "inputs": dict(self.inputs),
            "missing": [dict(entry) for entry in self.missing],
            "notes": list(self.notes),
            "samples": {name: list(methods) for name, methods in self.samples.items()},
        }

    @classmethod
    def from_json(cls, path: Path) -> RunRecord:
        """Read ``run.json``.

        Raises
        ------
        InputError
            If the file is missing or not a record of a scoring run.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            options = data["options"]
            shares = options["prior_shares"]
            name = options["classes"]
            centers = options["class_centers"]
            classes = preset(name) if centers is None else AbClasses(name, np.array(centers, dtype=np.float64))
            return cls(
                methods=tuple(data["methods"]),
                builtins=tuple(data["builtins"]),
                metrics=tuple(data["metrics"]),
                options=AbErrorOptions(
                    classes,
                    None if shares is None else Prior(options["prior"], np.array(shares)),
                    options["quadrature"],
                    options["max_threshold"],
                    options["lambda"],
                ),
                size=data["size"],
                fit=data["fit"],
                seed=data["seed"],
                n_bootstrap=data["bootstrap"],
                allow_missing=data["allow_missing"],
                inputs=data["inputs"],
                missing=tuple(data["missing"]),
                settings_of={name: Settings(**found) for name, found in options.get("networks", {}).items()},
                notes=tuple(data.get("notes", ())),
                samples={name: tuple(methods) for name, methods in data.get("samples", {}).items()},
            )
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; name a finished --out folder of 'evalkit score'") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a record of a scoring run ({error!r})") from None


def load_statistics(
    folder: Path, record: RunRecord, method: str, scalars: pa.Table, keep: frozenset[str] | None = None
) -> tuple[ImageStatistics, IntArray | None]:
    """Statistics of one method, images in name order, and its pooled histogram (None without ab errors)."""
    mask = np.asarray(scalars["method"].to_numpy(zero_copy_only=False) == method)
    rows = scalars.filter(pa.array(mask))
    if keep is not None:
        rows = rows.filter(pa.array([name in keep for name in rows["image"].to_pylist()]))
    metrics = create_metrics(record.metrics, record.options, record.settings_of)
    columns = {name: rows[name].to_numpy() for metric in metrics for name in (*metric.columns, *metric.reads)}
    table = histogram = None
    if any(metric.uses_ab_error for metric in metrics):
        table, histogram = read_method(folder, method, record.options, keep)
    images = tuple(rows["image"].to_pylist())
    wanted = list(dict.fromkeys(name for metric in metrics for name in metric.vectors))
    vectors = read_vectors(folder, method, wanted, keep) if wanted else {}
    return ImageStatistics(images, rows["n_pixels"].to_numpy(), columns, table, vectors), histogram


@dataclass(frozen=True)
class Scores:
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
    """

    summary: tuple[Score, ...]
    curves: Mapping[str, Curve]
    per_image: pa.Table
    warnings: tuple[str, ...]
    record: RunRecord
    samples: tuple[Score, ...] = ()
    """Numbers of all samples together, for methods with several images a photo (see `evalkit.scoring.samples`)."""

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
        for score in self.summary:
            if (score.method, score.metric) == key:
                return score
        raise KeyError(key)

    def to_frame(self) -> pd.DataFrame:
        """The summary as a pandas data frame, in long form (needs pandas)."""
        import pandas as pd

        return pd.DataFrame([{name: getattr(score, name) for name in SUMMARY_COLUMNS} for score in self.summary])

    @classmethod
    def from_run(cls, plan: Plan, folder: Path, *, n_bootstrap: int, notes: tuple[str, ...] = ()) -> Scores:
        """Summarise the shards of a run that has just finished."""
        record = RunRecord(
            methods=plan.methods,
            builtins=plan.builtins,
            metrics=plan.metrics,
            options=plan.options,
            size=plan.size,
            fit=plan.fit,
            seed=plan.seed,
            n_bootstrap=n_bootstrap,
            allow_missing=bool(plan.pairs.missing),
            missing=tuple(plan.pairs.missing),
            settings_of=plan.settings_of,
            notes=(*_of_another_kind(plan), *notes),
            samples=plan.networks.samples,
        )
        return cls.summarise(folder, record)

    @classmethod
    def read(cls, out: str | Path) -> Scores:
        """Read the results in an ``--out`` folder; the summary is recomputed from the statistics.

        Raises
        ------
        InputError
            If the folder holds no finished run.
        """
        return cls.summarise(Path(out) / "statistics", RunRecord.from_json(Path(out) / "run.json"))

    @classmethod
    def summarise(cls, folder: Path, record: RunRecord, keep: frozenset[str] | None = None) -> Scores:
        """Compute the summary of stored statistics.

        Parameters
        ----------
        folder : Path
            Folder of the shards.
        record : RunRecord
            Methods, metrics and options to summarise under.
        keep : frozenset of str, optional
            Summarise these images only.
        """
        check_n_bootstrap(record.n_bootstrap)
        scalars = read_scalars(folder)
        metrics = create_metrics(record.metrics, record.options, record.settings_of)
        if keep is not None:
            unknown = sorted(keep - set(scalars["image"].to_pylist()))
            if unknown:
                raise InputError(
                    f"image {unknown[0]!r} of the subset is not in the run ({len(unknown)} unknown in all)"
                )
        names: tuple[str, ...] = ()
        curves: dict[str, Curve] = {}
        values: dict[str, FloatArray] = {}
        estimates: list[tuple[str, str, Mapping[str, str], float, int, int, str]] = []
        intervals: list[Interval] = []
        cautions: list[str] = []
        for method in record.methods:
            statistics, histogram = load_statistics(folder, record, method, scalars, keep)
            names = statistics.images
            if histogram is not None:
                plain, rebalanced = curve(histogram, record.options)
                curves[method] = Curve(np.arange(len(plain)), plain, rebalanced)
            columns = []
            for metric in metrics:
                scored_terms = _score_terms(metric, statistics)
                single, value = scored_terms.per_image, scored_terms.value
                values.setdefault(metric.name, np.full(scalars.num_rows, np.nan))
                scored = np.full(len(single), not np.isnan(value)) if metric.of_set else ~np.isnan(single)
                reason = _reason(metric, statistics, scored)
                cautions.append(metric.caution(method, value, int(scored.sum())))
                counted = scored & (metric.of_set | np.isfinite(single))
                estimates.append(
                    (
                        method, metric.name, metric.fields_of(statistics), value,
                        int(counted.sum()), int(statistics.n_pixels[counted].sum()), reason,
                    )
                )  # fmt: skip
                values[metric.name][_rows_of(scalars, method, keep)] = single
                columns.append(scored_terms)
            intervals += _intervals(columns, record)
        run_fields = {"set": image_set_field(names), "n": str(len(names)), "size": record.size_field}
        if record.allow_missing:
            run_fields["common"] = str(len(names))
        release = version(DISTRIBUTION)
        summary = tuple(
            Score(
                method, name, value, interval.std_error, interval.low, interval.high, n_images, n_pixels,
                format_signature(
                    name,
                    {**run_fields, **({"seed": str(record.seed)} if method == "random" and method in record.builtins else {})},
                    fields,
                    release,
                ),
                reason,
            )
            for (method, name, fields, value, n_images, n_pixels, reason), interval in zip(
                estimates, intervals, strict=True
            )
        )  # fmt: skip
        details = dict.fromkeys(name for metric in metrics for name in metric.details)
        table = _per_image(scalars, values, list(details), keep)
        _refuse_copies(table, record)
        record = replace(record, inputs=_input_digests(table, record))
        warnings = (*_warnings(table, record), *dict.fromkeys(filter(None, cautions)))
        together = _sample_scores(table, metrics, record, run_fields) if record.samples else ()
        return cls(summary, curves, table, warnings, record, together)

    def rescored(
        self, out: str | Path, *, options: AbErrorOptions | None = None, images: Sequence[str] | None = None
    ) -> Scores:
        """The same run under other options or on a subset of its images; `out` is where its statistics are."""
        record = replace(self.record, options=options or self.record.options)
        return Scores.summarise(Path(out) / "statistics", record, None if images is None else frozenset(images))

    def write(self, target: Path, *, statistics: Path | None = None, per_image_csv: bool = False) -> None:
        """Write the result files; ``run.json`` comes last and marks the folder as finished.

        Parameters
        ----------
        target : Path
            Folder, made if it does not exist.
        statistics : Path, optional
            Folder of shards to move to ``target/statistics``.
        per_image_csv : bool
            Write ``per_image.csv`` as well.
        """
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
            import pyarrow.csv as pc

            text = io.BytesIO()
            pc.write_csv(self.per_image, text)
            write_atomically(target / "per_image.csv", text.getvalue())
        if statistics is not None:
            drop_notes(target / "statistics")
        write_atomically(target / "run.json", (json.dumps(self.run_json(), indent=1) + "\n").encode())

    def summary_csv(self) -> str:
        """``summary.csv``: long form, full precision; an unscored value is an empty field."""
        return _scores_csv(self.summary)

    def curves_csv(self) -> str:
        """``curves.csv``: method, threshold, fraction, fraction_rebalanced."""
        rows = (
            [method, int(t), float(plain), float(rebalanced)]
            for method, found in self.curves.items()
            for t, plain, rebalanced in zip(found.threshold, found.fraction, found.fraction_rebalanced, strict=True)
        )
        return _csv(("method", "threshold", "fraction", "fraction_rebalanced"), rows)

    def run_json(self) -> dict[str, Any]:
        """``run.json``: versions, options, digests of inputs, what was left out and why, warnings."""
        from evalkit.images.image_files import decoder_versions

        used = [DISTRIBUTION, "numpy", "numba", "pillow", "pyarrow"]
        if any(not found.reason for found in self.record.settings_of.values()):
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


def check_n_bootstrap(n_bootstrap: int) -> None:
    """Refuse numbers of replicates that give no interval; 0 leaves the intervals out."""
    if n_bootstrap != 0 and n_bootstrap < 100:
        raise InputError(f"{n_bootstrap} bootstrap replicates are too few for an interval; allowed: 0 or at least 100")


PART = 512
"""Images whose class matrices are dense at a time: 3 MB with 313 classes, however many images there are."""


@dataclass(frozen=True)
class _ScoredTerms:
    """One metric of one method: value, values of the images, and what its interval is made of."""

    metric: Metric
    value: float
    per_image: FloatArray
    terms: npt.NDArray[Any] | None
    leave_one_out: FloatArray | None


def _score_terms(metric: Metric, statistics: ImageStatistics) -> _ScoredTerms:
    if metric.of_set:
        found = metric.set_score(statistics)
        return _ScoredTerms(metric, found.value, np.full(len(statistics), np.nan), None, found.leave_one_out)
    if metric.interval == "bootstrap":
        terms = metric.terms(statistics)
        return _ScoredTerms(metric, float(metric.score(exact_sum(terms))), metric.per_image(statistics), terms, None)
    # Integer terms, one pair of columns a class: too wide to hold for all images at once.
    parts = [range(start, min(start + PART, len(statistics))) for start in range(0, len(statistics), PART)]
    total = np.sum([exact_sum(metric.terms(statistics.part(part))) for part in parts], axis=0)
    single, others = [], []
    for part in parts:
        terms = metric.terms(statistics.part(part))
        single.append(metric.score(terms))
        others.append(metric.score(total - terms))
    return _ScoredTerms(metric, float(metric.score(total)), np.concatenate(single), None, np.concatenate(others))


def _intervals(columns: Sequence[_ScoredTerms], record: RunRecord) -> list[Interval]:
    """Interval of each column; one shared stream of image weights, so that all replicates are paired."""
    if record.n_bootstrap == 0:
        return [Interval.missing("no interval was asked for (--bootstrap 0)") for _ in columns]
    resampled = [(column.terms, column.metric.score) for column in columns if column.terms is not None]
    replicates = iter(replicate_scores(resampled, record.n_bootstrap, record.seed).T if resampled else ())
    found = []
    for column in columns:
        if column.terms is not None:
            found.append(interval(column.value, next(replicates)))
        elif column.leave_one_out is None:
            found.append(Interval.missing("this metric has no interval"))
        else:
            found.append(jackknife_interval(column.value, column.leave_one_out))
    return found


def _reason(metric: Metric, statistics: ImageStatistics, scored: BoolArray) -> str:
    if isinstance(metric, BlockMetric) and metric.settings.reason:
        return f"unscored: {metric.settings.reason}"
    left_out = len(statistics) - int(scored.sum())
    infinite = 0
    for name in metric.columns:
        infinite += int(np.isposinf(statistics.columns[name]).sum())
    reasons = []
    if infinite:
        reasons.append(f"{infinite} of {len(statistics)} images are identical to the truth (infinite, counted apart)")
    if left_out - infinite > 0:
        reasons.append(f"{left_out - infinite} of {len(statistics)} images are unscored ({metric.unscored_because})")
    return "; ".join(reasons)


def _rows_of(scalars: pa.Table, method: str, keep: frozenset[str] | None) -> IntArray:
    mask = np.asarray(scalars["method"].to_numpy(zero_copy_only=False) == method)
    if keep is not None:
        mask &= np.array([name in keep for name in scalars["image"].to_pylist()])
    return np.flatnonzero(mask)


def _per_image(
    scalars: pa.Table,
    values: Mapping[str, FloatArray],
    details: Sequence[str],
    keep: frozenset[str] | None,
) -> pa.Table:
    table = scalars.select(["image", "method", "n_pixels"])
    for name, column in values.items():
        table = table.append_column(name, pa.array(column, from_pandas=True))
    for name in details:
        table = table.append_column(name, _missing_as_null(scalars[name]))
    for name in DIAGNOSTICS:
        table = table.append_column(name, scalars[name])
    if keep is not None:
        table = table.filter(pa.array([name in keep for name in table["image"].to_pylist()]))
    return table.replace_schema_metadata(None).combine_chunks()


def _missing_as_null(column: pa.ChunkedArray) -> pa.Array:
    values = column.to_numpy()
    return pa.array(values, mask=values < 0) if values.dtype.kind == "i" else pa.array(values, from_pandas=True)


def _column(table: pa.Table, method: str, name: str) -> list[Any]:
    mask = np.asarray(table["method"].to_numpy(zero_copy_only=False) == method)
    found: list[Any] = table.filter(pa.array(mask))[name].to_pylist()
    return found


def _refuse_copies(table: pa.Table, record: RunRecord) -> None:
    for method in record.methods:
        if method == "truth":
            continue
        identical = _column(table, method, "identical")
        gray = _column(table, method, "gray_truth")
        if method not in record.builtins and identical and all(identical) and not all(gray):
            raise InputError(
                f"method {method}: every image has the truth's own pixels; is its folder the right one? (name the method "
                "'truth' if that is what it is)"
            )


def _input_digests(table: pa.Table, record: RunRecord) -> dict[str, str]:
    """Digest of each folder: sha256 over the lines ``<sha256 of the file>  <image>``, images in name order."""

    def digest(method: str, name: str) -> str:
        files = zip(_column(table, method, name), _column(table, method, "image"), strict=True)
        return hashlib.sha256("".join(f"{sha}  {image}\n" for sha, image in files).encode()).hexdigest()

    found = {"truth": digest(record.methods[0], "truth_sha256")}
    for method in record.methods:
        if method not in record.builtins:
            found[f"method {method}"] = digest(method, "sha256")
    return found


def _of_another_kind(plan: Plan) -> list[str]:
    """What lay beside the images and cannot be read, a line a folder."""
    found = []
    for folder in dict.fromkeys(path.parent for path in plan.pairs.ignored):
        names = [path.name for path in plan.pairs.ignored if path.parent == folder]
        found.append(
            f"{folder}: {len(names)} file{'s' * (len(names) > 1)} of another kind left out, for example {names[0]}"
        )
    return found


def _applied(table: pa.Table, method: str, column: str, whose: str, n: int) -> list[str]:
    """What decoding changed, counted: profiles converted, images turned."""
    notes = Counter(note for text in _column(table, method, column) if text for note in text.split("; "))
    return [f"{whose}: in {count} of {n} images {note}" for note, count in sorted(notes.items())]


def _warnings(table: pa.Table, record: RunRecord) -> tuple[str, ...]:
    found = [*(record.options.prior.warnings if record.options.prior else ()), *record.notes]
    first = record.methods[0]
    n = len(_column(table, first, "image"))
    gray = sum(bool(value) for value in _column(table, first, "gray_truth"))
    if gray:
        found.append(f"{gray} of {n} true photos are grayscale: ab metrics mean nothing on them")
    found += _applied(table, first, "truth_notes", "true photos", n)
    jpeg = sum(value == "JPEG" for value in _column(table, first, "truth_format"))
    for method in record.methods:
        if method in record.builtins:
            clipped = sum(value or 0 for value in _column(table, method, "gamut_clipped"))
            pixels = sum(_column(table, method, "n_pixels"))
            if clipped:
                found.append(
                    f"method {method}: {100 * clipped / pixels:.1f} % of pixels were clipped to the sRGB gamut"
                )
            continue
        changes = [value for value in _column(table, method, "l_change") if value is not None]
        changed = sum(value > L_CHANGE_LIMIT for value in changes)
        if changed:
            found.append(
                f"method {method}: L differs from the truth's by more than {L_CHANGE_LIMIT:g} on average in {changed} of {n} "
                f"images (mean |dL| {sum(changes) / len(changes):.2f}): resized, re-encoded, or not kept"
            )
        found += _applied(table, method, "notes", f"method {method}", n)
        identical = sum(_column(table, method, "identical"))
        if identical and method != "truth":
            found.append(f"method {method}: {identical} of {n} images have the truth's own pixels")
        newly = [value for value in _column(table, method, "newly_clipped") if value is not None]
        share = sum(newly) / max(1, sum(_column(table, method, "n_pixels")))
        if share > 0.01:
            found.append(f"method {method}: {100 * share:.1f} % of pixels are newly at 0 or 255 (clipped colours)")
        own = sum(value == "JPEG" for value in _column(table, method, "format"))
        if own and own + jpeg < 2 * n:
            found.append(
                f"method {method}: {own} of {n} images are JPEG, {jpeg} of {n} true photos are; JPEG changes colours"
            )
        elif own:
            found.append(f"method {method}: {own} of {n} images are JPEG, which changes colours")
    return tuple(found)


def _sample_scores(
    table: pa.Table, metrics: Sequence[Metric], record: RunRecord, run_fields: Mapping[str, str]
) -> tuple[Score, ...]:
    found = sample_scores(table, metrics, record.samples)
    release = version(DISTRIBUTION)
    pixels = table["n_pixels"].to_numpy()[
        np.asarray(table["method"].to_numpy(zero_copy_only=False)) == record.methods[0]
    ]
    rows = []
    for one in found:
        between = Interval.missing("no interval was asked for (--bootstrap 0)")
        if record.n_bootstrap:
            replicates = replicate_scores([(one.terms, mean_score)], record.n_bootstrap, record.seed)
            between = interval(one.value, replicates[:, 0])
        counted = np.isfinite(one.per_image)
        rows.append(
            Score(
                one.method, one.metric, one.value, between.std_error, between.low, between.high,
                int(counted.sum()), int(pixels[counted].sum()),
                format_signature(one.metric, run_fields, one.fields, release),
            )
        )  # fmt: skip
    return tuple(rows)


def _scores_csv(scores: Sequence[Score]) -> str:
    return _csv(SUMMARY_COLUMNS, ([getattr(score, name) for name in SUMMARY_COLUMNS] for score in scores))


def _csv(header: Sequence[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if isinstance(cell, float) and np.isnan(cell) else cell for cell in row])
    return text.getvalue()
