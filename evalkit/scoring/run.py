"""The run: pairs x methods x metrics, block by block, in one process or several.

A block is a fixed run of images in name order. It is the unit of work, of storage and of resuming: a worker decodes its
truth once for all methods, measures, and writes the block's shard. Which worker took which block shows nowhere in the
result, so any number of workers, any order of files and any number of interruptions give the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from evalkit.colorizers import BUILTIN_METHODS, BuiltinMethod, builtin
from evalkit.datasets.labels import labels_digest, labels_for
from evalkit.errors import InputError
from evalkit.images.image_files import DecodedImage, decode, decoder_versions, resize
from evalkit.images.image_pairs import PairTable, check_same_size, find_images, pair_folders
from evalkit.metrics import DEFAULT_METRICS, create_metrics, with_companions
from evalkit.metrics.ab_error import AbErrorOptions, PairCounter
from evalkit.metrics.base import Metric, Photo
from evalkit.metrics.blocks import BlockMeter, BlockMetric, NetworkOptions, Settings, missing_value
from evalkit.scoring.samples import expand_samples, sample_files
from evalkit.scoring.statistics_store import Row, block_of, write_shard

if TYPE_CHECKING:
    from evalkit.scoring.scores import Scores

__all__ = ["BLOCK_SIZE", "Plan", "Progress", "WorkerPool", "available_cores", "score"]

BLOCK_SIZE = 32
"""Images a block: some 0.1 s of work, and the most that an interruption costs each worker."""

GRAY_CHROMA = 1.0
"""A truth whose every pixel is closer than this to neutral is a grayscale photo: ab metrics mean nothing on it."""

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class Plan:
    """Everything a run depends on; the same plan gives the same bits.

    Attributes
    ----------
    pairs : PairTable
        Names and files of truth and methods.
    builtins : tuple of str
        Built-in methods (truth, gray, random), scored as anchors.
    methods : tuple of str
        All methods in the order of the tables.
    metrics : tuple of str
    options : AbErrorOptions
    size : int or None
        Resize everything to this size first; None scores the files as they are.
    fit : {"warp", "crop"}
    seed : int
        Seed of the ``random`` method.
    networks : NetworkOptions
        Device, batch size, weights files.
    settings_of : mapping of str to Settings
        What the metrics that are measured block by block settled on.
    labels : mapping of str to int
        True class by image; empty where no metric needs it.
    """

    pairs: PairTable
    builtins: tuple[str, ...]
    methods: tuple[str, ...]
    metrics: tuple[str, ...] = DEFAULT_METRICS
    options: AbErrorOptions = field(default_factory=AbErrorOptions)
    size: int | None = None
    fit: str = "warp"
    seed: int = 0
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    settings_of: Mapping[str, Settings] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, sorted."""
        return self.pairs.names

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.names) // BLOCK_SIZE)

    def block(self, index: int) -> range:
        """Indices of the images of a block."""
        return range(index * BLOCK_SIZE, min((index + 1) * BLOCK_SIZE, len(self.names)))

    def settings(self) -> dict[str, Any]:
        """What decides the statistics, as plain data: a resumed run must agree in all of it."""
        return {
            "methods": list(self.methods),
            "builtins": list(self.builtins),
            "metrics": list(self.metrics),
            "classes": self.options.classes.digest,
            "size": self.size,
            "fit": self.fit if self.size else None,
            "seed": self.seed,
            "names": hashlib.sha256("\n".join(self.names).encode()).hexdigest(),
            "networks": {name: [dict(found.fields), found.reason] for name, found in self.settings_of.items()},
            "labels": labels_digest(self.labels),
            # Another version may decode or measure otherwise: a resumed run is made by one alone.
            "versions": {"evalkit": version("colorization-evalkit"), **decoder_versions()},
        }

    @cached_property
    def makers(self) -> dict[str, BuiltinMethod]:
        """The built-in methods."""
        return {name: builtin(name, self.names, self.seed) for name in self.builtins}

    def block_digest(self, index: int) -> str:
        """Digest of settings and of size and time of every file that the block is made from."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for i in self.block(index):
            donors = [donor for maker in self.makers.values() if (donor := maker.donor(i)) is not None]
            truths = [self.pairs.truth[j] for j in (i, *donors)]
            for path in (*truths, *(paths[i] for paths in self.pairs.methods.values())):
                status = path.stat()
                digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


class BlockScorer:
    """Scores blocks of a plan; one instance a process, so that tables are built and networks loaded once."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.metrics: list[Metric] = create_metrics(plan.metrics, plan.options, plan.settings_of)
        self.columns: dict[str, type[np.generic]] = {}
        self.vectors: dict[str, int] = {}
        for metric in self.metrics:
            self.columns.update(metric.columns)
            self.vectors.update(metric.vectors)
        self.missing = {name: missing_value(kind) for name, kind in self.columns.items()}
        self.meters = self._open_meters()
        self.counter = PairCounter(plan.options.classes) if any(m.uses_ab_error for m in self.metrics) else None
        self.builtins = plan.makers

    def _open_meters(self) -> list[BlockMeter]:
        """One meter for all metrics that share it; none for metrics whose network is missing."""
        meters: dict[str, BlockMeter] = {}
        for metric in self.metrics:
            if isinstance(metric, BlockMetric) and not metric.settings.reason and metric.meter_key not in meters:
                meters[metric.meter_key] = metric.open_meter(self.plan.networks, self.plan.labels)
        return list(meters.values())

    @property
    def notes(self) -> set[str]:
        """What the meters noticed."""
        return set().union(*(meter.notes for meter in self.meters))

    def _decode(self, path: Path) -> tuple[DecodedImage, Any]:
        image = decode(path)
        rgb8 = image.rgb8 if self.plan.size is None else resize(image.rgb8, self.plan.size, self.plan.fit)
        return image, rgb8

    def score(self, index: int) -> int:
        """Measure one block and write its shard; returns the number of images."""
        plan = self.plan
        digest = plan.block_digest(index)
        rows: list[Row] = []
        for i in plan.block(index):
            truth_file, truth_rgb8 = self._decode(plan.pairs.truth[i])
            truth = Photo(truth_rgb8)
            for method in plan.methods:
                diagnostics: dict[str, Any] = {
                    "truth_format": truth_file.format,
                    "truth_sha256": truth_file.sha256,
                    "truth_notes": "; ".join(truth_file.notes) or None,
                }
                if method in self.builtins:
                    maker = self.builtins[method]
                    donor = maker.donor(i)
                    donor_rgb8 = None if donor is None else self._decode(plan.pairs.truth[donor])[1]
                    rgb8, diagnostics["gamut_clipped"] = maker.colorize(truth_rgb8, donor_rgb8)
                else:
                    path = plan.pairs.methods[method][i]
                    file, rgb8 = self._decode(path)
                    check_same_size(plan.names[i], method, truth.rgb8.shape, rgb8.shape)
                    diagnostics["format"], diagnostics["sha256"] = file.format, file.sha256
                    diagnostics["notes"] = "; ".join(file.notes) or None
                prediction = Photo(rgb8)
                rows.append(self._measure(plan.names[i], method, truth, prediction, diagnostics))
                for meter in self.meters:
                    meter.add(plan.names[i], method, truth, prediction)
        for meter in self.meters:
            rows = [_with_statistics(row, found) for row, found in zip(rows, meter.finish(), strict=True)]
        write_shard(self.folder / shard_name(index), rows, self.columns, digest, self.vectors)
        return len(plan.block(index))

    def _measure(self, image: str, method: str, truth: Photo, prediction: Photo, diagnostics: dict[str, Any]) -> Row:
        counts = None
        if self.counter is not None:
            counts = self.counter.count(truth, prediction)
            diagnostics["l_change"] = counts.lightness_change
            diagnostics["newly_clipped"] = counts.newly_clipped
            diagnostics["gray_truth"] = self.counter.prepare(truth)[2] < GRAY_CHROMA
        suspect = counts is None or int(counts.error_sum.sum()) == 0
        diagnostics["identical"] = suspect and np.array_equal(truth.rgb8, prediction.rgb8)
        scalars: dict[str, float] = dict(self.missing)
        for metric in self.metrics:
            if not isinstance(metric, BlockMetric):
                scalars.update(zip(metric.columns, metric.measure(truth, prediction), strict=True))
        nothing = {name: np.full(length, np.nan, np.float32) for name, length in self.vectors.items()}
        return Row(image, method, truth.n_pixels, scalars, diagnostics, counts, nothing)


def _with_statistics(row: Row, found: Mapping[str, Any]) -> Row:
    """A row with what a meter found: scalars and feature vectors."""
    vectors = {name: value for name, value in found.items() if name in row.vectors}
    scalars = {name: value for name, value in found.items() if name not in vectors}
    return replace(row, scalars={**row.scalars, **scalars}, vectors={**row.vectors, **vectors})


def shard_name(index: int) -> str:
    """File name of a block's shard."""
    return f"part-{index:05d}.parquet"


_scorer: BlockScorer | None = None


def _start_worker(plan: Plan, folder: Path) -> None:
    global _scorer
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _scorer = BlockScorer(plan, folder)


def _work(index: int) -> tuple[int, set[str]]:
    if _scorer is None:
        raise RuntimeError("worker was not started")
    return _scorer.score(index), _scorer.notes


class WorkerPool:
    """Scores blocks of a plan, in this process or in several; a context manager.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the shards go.
    workers : int
        Processes; 1 works in this one.
    """

    def __init__(self, plan: Plan, folder: Path, workers: int) -> None:
        self._workers = workers
        self.notes: set[str] = set()
        """What a reader of the results should know."""
        self._scorer = BlockScorer(plan, folder) if workers == 1 else None
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            # forkserver: forking this process after numba or torch started threads would hang; its server imports
            # once and hands every worker a copy.
            context = get_context("forkserver" if os.name == "posix" else "spawn")
            if os.name == "posix":
                context.set_forkserver_preload(["evalkit.scoring._preload"])
            self._pool = ProcessPoolExecutor(workers, context, _start_worker, (plan, folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, blocks: Iterable[int]) -> Iterator[int]:
        """Score blocks; yields the number of images of each as it is finished, in no particular order.

        Raises
        ------
        InputError
            What a block found wrong with its images, or that a worker was killed.
        """
        if self._scorer is not None:
            for index in blocks:
                yield self._scorer.score(index)
                self.notes |= self._scorer.notes
            return
        if self._pool is None:
            raise RuntimeError("the pool is closed")
        running: set[Future[tuple[int, set[str]]]] = set()
        queue = iter(blocks)
        try:
            # A bounded queue: of ten thousand blocks a few wait in memory, and an error stops the rest at once.
            while True:
                for index in islice(queue, 4 * self._workers - len(running)):
                    running.add(self._pool.submit(_work, index))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for count, notes in [future.result() for future in finished]:
                    self.notes |= notes
                    yield count
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed (out of memory?); score again with fewer --workers, and --resume to keep "
                "what is finished"
            ) from None


def _run_blocks(plan: Plan, folder: Path, blocks: Sequence[int], workers: int, progress: Progress) -> tuple[str, ...]:
    """Score blocks; returns what a reader of the results should know."""
    total = len(plan.names)
    done = total - sum(len(plan.block(index)) for index in blocks)
    progress(done, total)
    if not blocks:
        return ()
    with WorkerPool(plan, folder, min(workers, len(blocks))) as pool:
        for count in pool.run(blocks):
            done += count
            progress(done, total)
        return tuple(sorted(pool.notes))


def make_plan(
    truth: str | Path,
    methods: Mapping[str, str | Path | None],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: AbErrorOptions | None = None,
    size: int | None = None,
    fit: str = "warp",
    seed: int = 0,
    allow_missing: bool = False,
    networks: NetworkOptions | None = None,
) -> Plan:
    """Check everything that can be checked before an image is decoded.

    Parameters as in `score`.

    Raises
    ------
    InputError
        Unknown metric or built-in method, bad size or fit, folders that do not match.
    """
    if not methods:
        raise InputError("no method given; name at least one with --method NAME=DIR, or --method gray")
    for name, folder in methods.items():
        if folder is None and name not in BUILTIN_METHODS:
            raise InputError(f"method {name!r} has no folder; allowed without one: {', '.join(BUILTIN_METHODS)}")
    if size is not None and not 16 <= size <= 16384:
        raise InputError(f"size {size} is outside 16..16384 pixels")
    if fit not in ("warp", "crop"):
        raise InputError(f"unknown fit {fit!r}; allowed: warp, crop")
    options = options or AbErrorOptions()
    networks = networks or NetworkOptions()
    create_metrics(metrics, options)
    chosen = with_companions(metrics)
    folders = {name: Path(folder) for name, folder in methods.items() if folder is not None}
    truths = tuple(find_images(truth)) if folders else ()
    files_of = {name: files for name, folder in folders.items() if (files := sample_files(folder, truths)) is not None}
    single = {name: folder for name, folder in folders.items() if name not in files_of}
    pairs, samples = expand_samples(pair_folders(Path(truth), single, allow_missing=allow_missing), files_of)
    networks = replace(networks, samples=samples)
    methods = {sample: folder for name, folder in methods.items() for sample in samples.get(name, (name,))}
    settled = {
        metric.name: metric.settle(networks)
        for metric in create_metrics(chosen, options)
        if isinstance(metric, BlockMetric)
    }
    if settled and "truth" not in methods:
        # What a network makes of the true photos frames every other number; they are a row of their own.
        methods = {"truth": None, **methods}
    builtins = tuple(name for name, folder in methods.items() if folder is None)
    needs_labels = any("labels" in metric.needs for metric in create_metrics(chosen, options))
    labels = labels_for(networks.labels, pairs.names) if needs_labels and networks.labels is not None else {}
    return Plan(pairs, builtins, tuple(methods), chosen, options, size, fit, seed, networks, settled, labels)


def score(
    truth: str | Path,
    methods: Mapping[str, str | Path | None],
    *,
    out: str | Path | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: AbErrorOptions | None = None,
    size: int | None = None,
    fit: str = "warp",
    seed: int = 0,
    n_bootstrap: int = 10_000,
    workers: int = 1,
    allow_missing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    per_image_csv: bool = False,
    networks: NetworkOptions | None = None,
    progress: Progress = lambda done, total: None,
    notify: Callable[[str], None] = lambda sentence: None,
) -> Scores:
    """Score folders of colorizations against a folder of true photos.

    Parameters
    ----------
    truth : path
        Folder of true photos.
    methods : mapping of str to path or None
        Folder of colorizations per method, matched to the truth by file name without extension; None for the built-in
        methods ``truth``, ``gray`` and ``random``.
    out : path, optional
        Folder for the results; without it they live in memory only.
    metrics : sequence of str
        Names as listed by ``evalkit metrics``.
    options : AbErrorOptions, optional
        Ab classes, prior, quadrature, lambda.
    size : int, optional
        Resize truth and predictions to ``size x size`` first (Pillow bicubic).
    fit : {"warp", "crop"}
        How: ignore the aspect ratio, or short side and centre crop.
    seed : int
        Of the ``random`` method and of the bootstrap.
    n_bootstrap : int
        Bootstrap replicates over images; 0 leaves the intervals out.
    workers : int
        Processes.
    allow_missing : bool
        Score the images that truth and all methods have in common, instead of refusing.
    resume : bool
        Continue an interrupted run in `out` from its finished images.
    overwrite : bool
        Replace the results in `out`.
    per_image_csv : bool
        Write ``per_image.csv`` beside ``per_image.parquet``.
    networks : NetworkOptions, optional
        Labels, weights, device, batch size and precision of the metrics that need a network.
    progress : callable
        Called with images done and images in all.
    notify : callable
        Called before the first image with each sentence that cannot wait for the results: that weights are missing.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        One sentence per mistake; nothing is half-written: results appear in `out` when the run is complete.
    """
    from evalkit.scoring.scores import Scores, check_n_bootstrap

    plan = make_plan(
        truth, methods, metrics=metrics, options=options, size=size, fit=fit, seed=seed, allow_missing=allow_missing,
        networks=networks,
    )  # fmt: skip
    for reason, names in _reasons(plan).items():
        notify(f"{', '.join(names)} will stay unscored: {reason}")
    if workers < 1:
        raise InputError(f"{workers} workers: at least 1 is needed")
    check_n_bootstrap(n_bootstrap)
    if out is None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="evalkit-") as temporary:
            notes = _run_blocks(plan, Path(temporary), range(plan.n_blocks), workers, progress)
            return Scores.from_run(plan, Path(temporary), n_bootstrap=n_bootstrap, notes=notes)
    target = Path(out)
    unfinished = target / ".unfinished"
    _prepare_out(target, unfinished, resume=resume, overwrite=overwrite)
    _remove_foreign_shards(plan, unfinished)
    blocks = [i for i in range(plan.n_blocks) if not resume or _stale(plan, unfinished, i)]
    try:
        notes = _run_blocks(plan, unfinished, blocks, workers, progress)
    except BaseException:
        _forget_if_empty(target, unfinished)
        raise
    scores = Scores.from_run(plan, unfinished, n_bootstrap=n_bootstrap, notes=notes)
    scores.write(target, statistics=unfinished, per_image_csv=per_image_csv)
    return scores


def _reasons(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, settings in plan.settings_of.items():
        if settings.reason:
            found.setdefault(settings.reason, []).append(name)
    return found


def _stale(plan: Plan, folder: Path, index: int) -> bool:
    path = folder / shard_name(index)
    return not path.is_file() or block_of(path) != plan.block_digest(index)


def _remove_foreign_shards(plan: Plan, folder: Path) -> None:
    """Remove half-written files of a killed run, and blocks of a run over more images than now."""
    expected = {shard_name(index) for index in range(plan.n_blocks)}
    for path in folder.iterdir():
        if path.name not in expected and path.with_suffix(".parquet").name not in expected:
            path.unlink()


def _forget_if_empty(target: Path, unfinished: Path) -> None:
    """Leave no trace of a run that stopped before its first finished block."""
    for folder in (unfinished, target):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


RESULTS = ("summary.csv", "samples.csv", "per_image.parquet", "per_image.csv", "curves.csv", "run.json", "statistics")


def _prepare_out(target: Path, unfinished: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or say why it cannot be used; touches nothing that is not ours."""
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; --out names a folder")
    finished = (target / "run.json").exists()
    if finished and not overwrite:
        raise InputError(f"{target}: already holds results; choose another --out, or replace them with --overwrite")
    if not finished and target.is_dir():
        foreign = sorted(p.name for p in target.iterdir() if p.name not in RESULTS and p.name != ".unfinished")
        if foreign and not unfinished.exists():
            raise InputError(f"{target}: is not empty (it holds {foreign[0]}); choose a new folder for --out")
    if not finished and not unfinished.exists() and (target / "statistics").is_dir():
        # Stopped while the results were written: the shards had already moved.
        (target / "statistics").replace(unfinished)
    if unfinished.exists() and not resume:
        if not overwrite:
            raise InputError(
                f"{target}: holds an interrupted run; continue it with --resume, or start again with --overwrite"
            )
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True, exist_ok=True)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
