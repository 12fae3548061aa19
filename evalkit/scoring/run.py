"""The run: from folders of images to `Scores`.

A block is a fixed run of images in name order. It is the unit of work, of storage and of resuming: a worker decodes its
truth once for all methods, measures, and writes the block's shard. Which worker took which block shows nowhere in the
result, so any number of workers, any order of files and any number of interruptions give the same bits.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evalkit.errors import InputError, check_flag, check_path, check_whole
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions
from evalkit.images.places import PlaceLike, changed_since_listed, check_is_folder, modified_at
from evalkit.metrics import DEFAULT_METRICS
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.networks.needs import with_command
from evalkit.networks.options import NetworkOptions
from evalkit.networks.output_cache import CacheUse, prune, size_limit, size_text
from evalkit.progress import Progress, progress_bar
from evalkit.scoring.estimates import check_n_bootstrap
from evalkit.scoring.executors import open_executor, run_on_executor
from evalkit.scoring.kernels import compile_kernels
from evalkit.scoring.plan import Plan, make_plan
from evalkit.scoring.record import RunRecord
from evalkit.scoring.run_lock import LOCK_FILES, locked
from evalkit.scoring.scores import Scores, summarise
from evalkit.scoring.statistics_store import block_of, check_shards, note_of, read_shard, shard_paths, shard_rows
from evalkit.scoring.torchrun import serve_unless_first
from evalkit.scoring.workers import end_if_unguarded, run_blocks
from evalkit.wording import agree, counted, some_names

__all__ = ["score"]

RESULTS = ("summary.csv", "samples.csv", "per_image.parquet", "per_image.csv", "curves.csv", "run.json", "statistics")
"""What a finished run leaves in its folder."""


def score(
    truth: PlaceLike,
    methods: Mapping[str, PlaceLike | None],
    *,
    out: str | Path | None = None,
    images: PlaceLike | Collection[str] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: AbErrorOptions | None = None,
    size: int | None = None,
    fit: str = "warp",
    resample: str = "bicubic",
    seed: int = 0,
    n_bootstrap: int = 10_000,
    workers: int = 1,
    executor: Executor | str | None = None,
    allow_missing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    per_image_csv: bool = False,
    networks: NetworkOptions | None = None,
    decoding: DecodeOptions = DEFAULT_OPTIONS,
    turn_like_truth: bool = False,
    reference: PlaceLike | None = None,
    image_cache: str | Path | None = None,
    progress: Progress | bool = False,
    notify: Callable[[str], None] = lambda sentence: None,
) -> Scores:
    """Score folders of colorizations against a folder of true photos.

    Parameters
    ----------
    truth : path or str
        Folder of true photos, or the address of another place: a bucket, a web server, an archive, a table
        (`evalkit.images.places.place_of`).
    methods : mapping of str to path, str or None
        Folder or address of colorizations per method, matched to the truth by file name without extension; None for the built-in
        methods ``truth``, ``gray`` and ``random``.
    out : path, optional
        Folder for the results; without it they live in memory only.
    images : path, str or collection of str, optional
        Names of the photos to score, with or without extension: a text file, or the address of one, with one per line, or
        a list of them. The others of `truth`, and what methods made of them, are left aside. By default all.
    metrics : sequence of str
        Names as listed by ``evalkit metrics``; ``default`` stands for those that are computed by default.
    options : AbErrorOptions, optional
        Ab classes, prior, quadrature, lambda.
    size : int, optional
        Resize truth and predictions to ``size x size`` first.
    fit : {"warp", "crop"}
        How: ignore the aspect ratio, or short side and centre crop.
    resample : {"bicubic", "bilinear", "area"}
        With which of Pillow's filters.
    seed : int
        Of the ``random`` method and of the bootstrap.
    n_bootstrap : int
        Bootstrap replicates over images; 0 leaves the intervals out.
    workers : int
        Processes. With more than one, a script must guard what it runs by ``if __name__ == "__main__":``, since every
        worker reads the script again.
    executor : Executor or str, optional
        Where blocks are measured, in place of `workers`: anything with the interface of `concurrent.futures` (Dask's
        ``Client.get_executor()``, mpi4py's ``MPIPoolExecutor``, loky), or a text: ``threads:N``, ``processes:N``,
        ``dask:ADDRESS``, ``mpi``, ``torchrun``. Workers must see the images under the same paths; results come back to this
        process. The numbers do not depend on it. Of the processes that torchrun starts the first one goes on with the scores;
        the others end here, when the run does.
    allow_missing : bool
        Score the images that truth and all methods have in common, instead of refusing.
    resume : bool
        Continue an interrupted run in `out` from its finished images; a finished one is left as it is.
    overwrite : bool
        Replace the results in `out`.
    per_image_csv : bool
        Write ``per_image.csv`` beside ``per_image.parquet``.
    networks : NetworkOptions, optional
        Labels, weights, device, batch size and precision of the metrics that need a network, and the cache in which their
        outputs of true photos are kept for other runs.
    decoding : DecodeOptions, optional
        How large an image may be, and whether CMYK is converted.
    turn_like_truth : bool
        Apply the EXIF orientation of true photos to images of methods that lack it.
    reference : path or str, optional
        Folder or address of images that FID and KID compare with instead of the true photos; resized like these.
    image_cache : path, optional
        Folder for copies of images that lie elsewhere, read again from there by the next run; by default the one that the
        environment variable ``EVALKIT_IMAGE_CACHE`` names, or none.
    progress : bool or callable
        True for a bar, on the terminal or below the cell of a notebook; or what is called with images done and images in
        all.
    notify : callable
        Called with each sentence that does not wait for the results: before the first image, that weights are missing or that
        kernels are compiled; after the last one, what the cache of network outputs was good for.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        One sentence per mistake; nothing is half-written: results appear in `out` when the run is complete.
    """
    end_if_unguarded()
    serve_unless_first(executor)
    check_whole("workers", workers, 1)
    if not isinstance(progress, bool) and not callable(progress):
        raise InputError(f"progress is {type(progress).__name__}; True, False or a function of two numbers is needed")
    if not callable(notify):
        raise InputError(f"notify is {type(notify).__name__}; a function of a sentence is needed")
    for name, value in (("resume", resume), ("overwrite", overwrite), ("per_image_csv", per_image_csv)):
        check_flag(name, value)
    if out is not None:
        check_path("out", out)
    check_n_bootstrap(n_bootstrap)
    plan = make_plan(
        truth, methods, images=images, metrics=metrics, options=options, size=size, fit=fit, resample=resample, seed=seed,
        allow_missing=allow_missing, networks=networks, decoding=decoding, turn_like_truth=turn_like_truth,
        reference=reference, image_cache=image_cache,
    )  # fmt: skip
    for sentence in plan.unused:
        notify(f"{sentence}.")
    for reason, names in _reasons(plan).items():
        notify(f"{', '.join(names)} will stay unscored: {with_command(reason)}")
    if executor is not None and workers != 1:
        raise InputError(f"{workers} workers and an executor: give one of the two")
    size_limit()  # refused before the first image, if at all
    if out is None:
        with TemporaryDirectory(prefix="evalkit-") as temporary:
            notes, use = _measured(plan, Path(temporary), range(plan.n_blocks), workers, executor, progress, notify)
            return summarise(Path(temporary), plan.record(n_bootstrap, notes, use), metrics=plan.created)
    target = Path(out)
    check_is_folder(target)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; --out names a folder")
    try:
        with locked(target):
            return _score_into(
                plan, target, n_bootstrap=n_bootstrap, workers=workers, executor=executor, resume=resume,
                overwrite=overwrite, per_image_csv=per_image_csv, progress=progress, notify=notify,
            )  # fmt: skip
    finally:
        _forget_if_empty(target)


def _score_into(
    plan: Plan,
    target: Path,
    *,
    n_bootstrap: int,
    workers: int,
    executor: Executor | str | None,
    resume: bool,
    overwrite: bool,
    per_image_csv: bool,
    progress: Progress | bool,
    notify: Callable[[str], None],
) -> Scores:
    """Run a plan in a folder that is this run's alone."""
    unfinished = target / ".unfinished"
    if resume and not overwrite and (target / "run.json").exists():
        _check_same_run(plan, target, n_bootstrap)
        if not isinstance(progress, bool):
            progress(plan.n_images, plan.n_images)
        return Scores.read(target)
    _prepare_out(target, unfinished, resume=resume, overwrite=overwrite)
    _remove_foreign_shards(plan, unfinished)
    finished = _finished_blocks(plan, unfinished) if resume else set()
    blocks = [index for index in range(plan.n_blocks) if index not in finished]
    try:
        notes, use = _measured(plan, unfinished, blocks, workers, executor, progress, notify)
    finally:
        _forget_if_empty(unfinished)
    scores = summarise(unfinished, plan.record(n_bootstrap, notes, use), metrics=plan.created)
    scores.write(target, statistics=unfinished, per_image_csv=per_image_csv)
    return scores


def _measured(
    plan: Plan,
    folder: Path,
    blocks: Sequence[int],
    workers: int,
    executor: Executor | str | None,
    progress: Progress | bool,
    notify: Callable[[str], None],
) -> tuple[tuple[str, ...], CacheUse]:
    """Measure blocks in this process, in several, or on an executor.

    Returns what a reader should know, and what the cache was good for, which is said too.
    """
    if progress is True:
        with progress_bar("scoring", "images") as show:
            return _measured(plan, folder, blocks, workers, executor, show, notify)
    if progress is False:
        progress = _silent
    if executor is None:
        notes, use = run_blocks(plan, folder, blocks, workers, progress, notify)
    else:
        if blocks:
            compile_kernels(plan, notify)
        with open_executor(executor) if isinstance(executor, str) else nullcontext(executor) as opened:
            notes, use = run_on_executor(plan, folder, blocks, opened, progress)
    changed = changed_since_listed(plan.files)
    if changed:
        raise InputError(
            f"{counted(len(changed), 'object')} {agree(len(changed), 'has', 'have')} changed while the run read "
            f"{agree(len(changed), 'it', 'them')} ({some_names(changed)}); what is finished is kept in --out: score again with "
            "--resume, which measures anew what has changed"
        )
    root = plan.networks.cache_folder
    if root is None or not plan.caches_outputs:
        return notes, use
    notify(_said_of_cache(root, use))
    if use.n_stored:
        _keep_within_limit(root, notify)
    return notes, use


def _keep_within_limit(root: Path, notify: Callable[[str], None]) -> None:
    limit = size_limit()
    try:
        n_removed, n_bytes = prune(root, max_bytes=limit)
    except OSError as error:
        notify(f"cache {root}: could not be kept within {size_text(limit)} ({error.strerror}).")
        return
    if n_removed:
        notify(
            f"cache {root}: {counted(n_removed, 'entry', 'entries')} ({size_text(n_bytes)}), unread for longest, made room; it "
            f"may take {size_text(limit)} (EVALKIT_CACHE_SIZE)."
        )


def _said_of_cache(root: Path, use: CacheUse) -> str:
    """What the cache was good for, as a sentence."""
    n = use.n_damaged
    damaged = f"; {counted(n, 'entry', 'entries')} {agree(n, 'was', 'were')} damaged and computed anew"
    return (
        f"cache {root}: network outputs of true photos, {use.n_read:,} read and {use.n_stored:,} stored"
        f"{damaged if n else ''}."
    )


def _silent(done: int, total: int) -> None:
    """No progress is shown."""


def _check_same_run(plan: Plan, target: Path, n_bootstrap: int) -> None:
    """Refuse to take the results in a folder for those of a plan when they are others."""
    finished = RunRecord.from_json(target / "run.json")
    planned = plan.record(n_bootstrap)
    wanted, made = (json.loads(json.dumps(record.to_json())) for record in (planned, finished))
    decisive = ("methods", "metrics", "size", "fit", "resample", "seed", "bootstrap", "samples", "shards")
    changed = [name for name in decisive if wanted[name] != made[name]]
    # A limit of size decides what is read, not how.
    reading = [{**record["reading"], "max_megapixels": None} for record in (wanted, made)]
    changed += [*_differing(wanted["options"], made["options"]), *_differing(*reading)]
    if not changed:
        check_shards(target / "statistics", shard_rows(target / "statistics"), finished.shards)
    if not changed and {name for path in shard_paths(target / "statistics") for name in _images(path)} != set(
        plan.names
    ):
        changed = ["images"]
    time_made = (target / "run.json").stat().st_mtime
    if not changed and any((modified_at(file) or 0) > time_made for file in plan.files):
        changed = ["files, some of which are newer than the results"]
    if changed:
        raise InputError(
            f"{target}: already holds the results of a run with other {', '.join(changed)}; choose another --out, or "
            "replace them with --overwrite"
        )


def _differing(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """Names of the entries that differ; of networks' entries "weights of lpips_alex"."""
    names = []
    for name in dict.fromkeys([*wanted, *made]):
        one, two = wanted.get(name), made.get(name)
        if name == "networks" and isinstance(one, Mapping) and isinstance(two, Mapping):
            for metric in dict.fromkeys([*one, *two]):
                fields = (one.get(metric, {}).get("fields", {}), two.get(metric, {}).get("fields", {}))
                own = _differing(*fields) or (["network"] if one.get(metric) != two.get(metric) else [])
                names += [f"{field} of {metric}" for field in own]
        elif one != two:
            names.append({"class_centers": "classes", "prior_shares": "prior"}.get(name, name))
    return list(dict.fromkeys(names))


def _images(path: Path) -> list[str]:
    names: list[str] = read_shard(path, ["image"])["image"].to_pylist()
    return names


def _reasons(plan: Plan) -> dict[str, list[str]]:
    names_of: dict[str, list[str]] = {}
    for name, setup in plan.setups.items():
        if setup.reason:
            names_of.setdefault(setup.reason, []).append(name)
    return names_of


def _finished_blocks(plan: Plan, folder: Path) -> set[int]:
    """Blocks that a killed run has left, of the same files; what is there twice, or in parts of other files, is removed."""
    finished: set[int] = set()
    for part in plan.parts:
        path = folder / plan.part_name(part)
        if not path.exists():
            continue
        if block_of(path) == "\n".join(plan.block_digest(index) for index in part):
            finished.update(part)
            doubles = [folder / plan.shard(index) for index in part]
        else:
            doubles = [path]
        for double in doubles:
            double.unlink(missing_ok=True)
            note_of(double).unlink(missing_ok=True)
    for index in set(range(plan.n_blocks)) - finished:
        path = folder / plan.shard(index)
        if path.is_file() and block_of(path) == plan.block_digest(index):
            finished.add(index)
    return finished


def _remove_foreign_shards(plan: Plan, folder: Path) -> None:
    """Remove half-written files of a killed run, and blocks of a run over more images than now."""
    expected = {plan.shard(index) for index in range(plan.n_blocks)} | {plan.part_name(part) for part in plan.parts}
    for path in folder.iterdir():
        if path.name not in expected and path.with_suffix(".parquet").name not in expected:
            path.unlink()


def _forget_if_empty(folder: Path) -> None:
    """Leave no trace of a run that stopped before its first finished block."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _prepare_out(target: Path, unfinished: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or say why it cannot be used; touches nothing that is not ours."""
    finished = (target / "run.json").exists()
    if finished and not overwrite:
        raise InputError(f"{target}: already holds results; choose another --out, or replace them with --overwrite")
    if not finished and target.is_dir():
        foreign = sorted(p.name for p in target.iterdir() if p.name not in (*RESULTS, *LOCK_FILES, ".unfinished"))
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
