"""The plan of a run: everything that its numbers depend on, checked before an image is decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evalkit.colorizers import BUILTIN_METHODS, BuiltinMethod, builtin
from evalkit.datasets.labels import check_label_source, labels_digest, labels_for
from evalkit.errors import InputError, check_flag, check_kind, check_path, check_whole
from evalkit.images.copies import chosen_copies_folder
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions, decoder_versions
from evalkit.images.image_pairs import (
    FolderScan,
    PairTable,
    check_folders,
    list_name,
    pair_scans,
    read_image_names,
    scan_folder,
)
from evalkit.images.places import ImageFile, ImagePlace, PlaceLike, lie_in_one_another, place_of, state_of
from evalkit.metrics import DEFAULT_METRICS, create_metrics, expand_default, with_companions
from evalkit.metrics.ab_counts import AbErrorOptions, chosen_options
from evalkit.metrics.base import Metric
from evalkit.metrics.blocks import BlockMetric, RunInputs, networks_of
from evalkit.networks.catalogue import check_network_names
from evalkit.networks.classifiers import Preprocessing
from evalkit.networks.options import NetworkOptions, Setup, chosen_networks
from evalkit.networks.output_cache import CacheUse, chosen_cache_folder
from evalkit.release import release
from evalkit.scoring.record import RunDefinition, RunRecord
from evalkit.scoring.samples import Group, expand_samples, sample_files, without_photos
from evalkit.scoring.signature import DEFINITIONS
from evalkit.scoring.statistics_store import joined_name, reference_name, shard_name
from evalkit.wording import counted, unknown_name

__all__ = ["BLOCKS_PER_PART", "BLOCK_SIZE", "Plan", "make_plan"]

BLOCK_SIZE = 32
"""Images per block: some 0.1 s of work, and the most that an interruption costs each worker."""

BLOCKS_PER_PART = 128
"""Blocks whose shards are joined into one file: 4096 images."""

SIZES = range(16, 16384 + 1)
FITS = ("warp", "crop")
FILTERS = ("bicubic", "bilinear", "area")


@dataclass(frozen=True, kw_only=True)
class Plan(RunDefinition):
    """Everything a run depends on; the same plan gives the same bits.

    Attributes
    ----------
    pairs : PairTable
        Names and files of truth and methods.
    created : tuple of Metric
        The metrics, made once for the whole run, workers included.
    networks : NetworkOptions
        Device, batch size, weights files.
    labels : mapping of str to int
        True class by image; empty where no metric needs it.
    decoding : DecodeOptions
        How large an image may be, and whether CMYK is converted.
    turn_like_truth : bool
        Apply the EXIF orientation of true photos to images of methods that lack it.
    reference : mapping of str to Path or PlacedImage
        Files of the images that metrics of whole sets compare with, by name, sorted; empty for the true photos.
    unused : tuple of str
        Options of networks that no metric of the run uses, one sentence each.
    """

    pairs: PairTable[ImageFile]
    created: tuple[Metric, ...] = field(repr=False, compare=False)
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    labels: Mapping[str, int] = field(default_factory=dict)
    decoding: DecodeOptions = DEFAULT_OPTIONS
    turn_like_truth: bool = False
    reference: Mapping[str, ImageFile] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, sorted."""
        return self.pairs.names

    @property
    def n_images(self) -> int:
        """Images to measure, those of the reference set included."""
        return len(self.names) + len(self.reference)

    @property
    def n_blocks(self) -> int:
        """Number of blocks: those of the pairs, then those of the reference set."""
        return self._n_pair_blocks + -(-len(self.reference) // BLOCK_SIZE)

    @property
    def _n_pair_blocks(self) -> int:
        return -(-len(self.names) // BLOCK_SIZE)

    def is_of_reference(self, index: int) -> bool:
        """Whether a block holds images of the reference set."""
        return index >= self._n_pair_blocks

    def block(self, index: int) -> range:
        """Indices of the images of a block, in `names` or in `reference`."""
        first, n = (
            (index - self._n_pair_blocks, len(self.reference))
            if self.is_of_reference(index)
            else (index, len(self.names))
        )
        return range(first * BLOCK_SIZE, min((first + 1) * BLOCK_SIZE, n))

    def shard(self, index: int) -> str:
        """File name of a block's shard."""
        return reference_name(index - self._n_pair_blocks) if self.is_of_reference(index) else shard_name(index)

    @cached_property
    def parts(self) -> tuple[range, ...]:
        """Blocks whose shards are joined into one file; those at the end that do not fill one keep their own shards."""
        n = BLOCKS_PER_PART
        of_pairs, of_reference = range(self._n_pair_blocks), range(self._n_pair_blocks, self.n_blocks)
        return tuple(blocks[i : i + n] for blocks in (of_pairs, of_reference) for i in range(0, len(blocks) - n + 1, n))

    def part_of(self, index: int) -> range | None:
        """The part that a block's shard goes into, if any."""
        offset = self._n_pair_blocks if self.is_of_reference(index) else 0
        end = self.n_blocks if offset else self._n_pair_blocks
        first = offset + (index - offset) // BLOCKS_PER_PART * BLOCKS_PER_PART
        return range(first, first + BLOCKS_PER_PART) if first + BLOCKS_PER_PART <= end else None

    def part_name(self, part: range) -> str:
        """File name of a part."""
        return joined_name(self.shard(part[0]), self.shard(part[-1]))

    @property
    def rows_by_file(self) -> Mapping[str, int]:
        """Rows of each file of the statistics once the run is complete."""
        rows: dict[str, int] = {}
        for index in range(self.n_blocks):
            part = self.part_of(index)
            name = self.shard(index) if part is None else self.part_name(part)
            n_methods = 1 if self.is_of_reference(index) else len(self.methods)
            rows[name] = rows.get(name, 0) + n_methods * len(self.block(index))
        return rows

    @property
    def caches_outputs(self) -> bool:
        """Whether a network takes part whose outputs of true photos are worth keeping."""
        return any(metric.caches_outputs and not metric.setup.reason for metric in _block_metrics(self.created))

    @property
    def inputs(self) -> RunInputs:
        """What meters may know of the run."""
        return RunInputs(self.networks, self.labels, self.samples, tuple(self.reference))

    @cached_property
    def makers(self) -> dict[str, BuiltinMethod]:
        """The built-in methods."""
        return {name: builtin(name, self.names, self.seed) for name in self.builtins}

    @cached_property
    def fingerprint(self) -> str:
        """What decides the statistics, as one line of JSON: a resumed run must agree in all of it."""
        decisive: dict[str, Any] = {
            "methods": list(self.methods),
            "builtins": list(self.builtins),
            "metrics": list(self.metrics),
            "classes": self.options.classes.digest,
            "size": self.size,
            "fit": [self.fit, self.resample] if self.size else None,
            "read": [self.decoding.convert_cmyk, self.turn_like_truth],
            "seed": self.seed,
            "names": hashlib.sha256("\n".join(self.names).encode()).hexdigest(),
            "reference": hashlib.sha256("\n".join(self.reference).encode()).hexdigest() if self.reference else None,
            "networks": {name: [dict(setup.fields), setup.reason] for name, setup in self.setups.items()},
            "labels": labels_digest(self.labels),
            # Another version may decode or measure otherwise: a resumed run is made by one alone.
            "definitions": DEFINITIONS,
            "versions": {"evalkit": release(), **decoder_versions()},
        }
        return json.dumps(decisive, sort_keys=True)

    @property
    def files(self) -> Iterator[ImageFile]:
        """Every file that the run reads."""
        yield from self.pairs.truth
        for files in self.pairs.methods.values():
            yield from files
        yield from self.reference.values()

    def block_digest(self, index: int) -> str:
        """Digest of the fingerprint and of size and time of every file that the block is made from."""
        digest = hashlib.sha256(self.fingerprint.encode())
        if self.is_of_reference(index):
            files = list(self.reference.values())
            _add_files(digest, (files[i] for i in self.block(index)))
            return digest.hexdigest()
        for i in self.block(index):
            donors = [donor for maker in self.makers.values() if (donor := maker.donor(i)) is not None]
            truths = [self.pairs.truth[j] for j in (i, *donors)]
            _add_files(digest, (*truths, *(paths[i] for paths in self.pairs.methods.values())))
        return digest.hexdigest()

    @property
    def reading(self) -> dict[str, Any]:
        """How files are read, where not as they are by default."""
        asked = {
            "max_megapixels": self.decoding.max_megapixels,
            "convert_cmyk": self.decoding.convert_cmyk,
            "turn_like_truth": self.turn_like_truth,
        }
        return {name: value for name, value in asked.items() if value}

    def record(self, n_bootstrap: int, notes: Sequence[str] = (), cache_use: CacheUse | None = None) -> RunRecord:
        """The record of this run, once it was made.

        Parameters
        ----------
        n_bootstrap : int
            Replicates behind the intervals.
        notes : sequence of str
            What the workers noticed.
        cache_use : CacheUse, optional
            What the cache of network outputs was good for.
        """
        cache: dict[str, str | int] = {}
        if cache_use is not None and self.networks.cache_folder is not None and self.caches_outputs:
            cache = {
                "folder": str(self.networks.cache_folder),
                "read": cache_use.n_read,
                "stored": cache_use.n_stored,
                "damaged": cache_use.n_damaged,
            }
        return RunRecord(
            methods=self.methods,
            builtins=self.builtins,
            metrics=self.metrics,
            options=self.options,
            size=self.size,
            fit=self.fit,
            resample=self.resample,
            seed=self.seed,
            setups=self.setups,
            samples=self.samples,
            n_bootstrap=n_bootstrap,
            allow_missing=bool(self.pairs.missing),
            missing=tuple(self.pairs.missing),
            notes=(*self.unused, *_of_another_kind(self.pairs.ignored), *notes),
            reading=self.reading,
            shards=self.rows_by_file,
            cache=cache,
        )


def make_plan(
    truth: PlaceLike,
    methods: Mapping[str, PlaceLike | None],
    *,
    images: PlaceLike | Collection[str] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    options: AbErrorOptions | None = None,
    size: int | None = None,
    fit: str = "warp",
    resample: str = "bicubic",
    seed: int = 0,
    allow_missing: bool = False,
    networks: NetworkOptions | None = None,
    decoding: DecodeOptions = DEFAULT_OPTIONS,
    turn_like_truth: bool = False,
    reference: PlaceLike | None = None,
    image_cache: str | Path | None = None,
) -> Plan:
    """Check everything that can be checked before an image is decoded.

    Parameters as in `evalkit.score`.

    Raises
    ------
    InputError
        Unknown metric or built-in method, bad size or fit, folders that do not match.
    """
    _check_request(methods, size, fit, resample)
    check_whole("seed", seed, 0)
    options, networks = chosen_options(options), chosen_networks(networks)
    check_kind("decoding", decoding, DecodeOptions, "evalkit.images.image_files.DecodeOptions(...)")
    check_flag("allow_missing", allow_missing)
    check_flag("turn_like_truth", turn_like_truth)
    if image_cache is not None:
        check_path("image_cache", image_cache)
        chosen_copies_folder(image_cache)  # a file is refused also where nothing is copied
    networks = replace(networks, cache=chosen_cache_folder(networks.cache))
    names = with_companions(expand_default(metrics))
    created = create_metrics(names, options)
    truth_place = place_of(truth, image_cache)
    places = {name: place_of(place, image_cache) for name, place in methods.items() if place is not None}
    pairs, samples = _find_files(truth_place, places, images, allow_missing=allow_missing)
    compared = _reference_files(None if reference is None else place_of(reference, image_cache), created, places)
    inputs = RunInputs(networks, _labels_needed(created, networks, pairs.names), samples, tuple(compared))
    unused = check_network_names(networks, *networks_of(created))
    for text in networks.preprocessing.values():
        Preprocessing.parse(text)
    setups = {metric.name: metric.set_up(inputs) for metric in created if isinstance(metric, BlockMetric)}
    if not any(metric.reference_columns and not setups[metric.name].reason for metric in _block_metrics(created)):
        compared = {}
    # Samples stand in the place of their method.
    folders = {sample: folder for name, folder in methods.items() for sample in samples.get(name, (name,))}
    if setups and "truth" not in folders:
        # What a network makes of the true photos frames every other number; they are a row of their own.
        folders = {"truth": None, **folders}
    return Plan(
        methods=tuple(folders),
        builtins=tuple(name for name, folder in folders.items() if folder is None),
        metrics=names,
        options=options,
        size=size,
        fit=fit,
        resample=resample,
        seed=seed,
        setups=setups,
        samples=samples,
        pairs=pairs,
        created=tuple(_with_setup(metric, setups) for metric in created),
        networks=networks,
        labels=inputs.labels,
        decoding=decoding,
        turn_like_truth=turn_like_truth,
        reference=compared,
        unused=unused,
    )


def _add_files(digest: hashlib._Hash, files: Iterable[ImageFile]) -> None:
    for file in files:
        digest.update(f"{state_of(file)}\n".encode())


def _block_metrics(created: Sequence[Metric]) -> list[BlockMetric]:
    return [metric for metric in created if isinstance(metric, BlockMetric)]


def _reference_files(
    folder: Path | ImagePlace | None, created: Sequence[Metric], methods: Mapping[str, Path | ImagePlace]
) -> Mapping[str, ImageFile]:
    """The images to compare with, by name; none where the true photos are meant."""
    if folder is None:
        return {}
    if not any(metric.reference_columns for metric in _block_metrics(created)):
        raise InputError(
            "a reference set is what FID and KID compare with, and none of them is asked for: add fid, fid_clean, kid or "
            "kid_clean to the metrics, or leave out --reference."
        )
    for method, own in methods.items():
        if lie_in_one_another(own, folder) == "same":
            raise InputError(
                f"{folder}: is the folder of method '{method}' and of the reference set; they must differ."
            )
    return scan_folder(folder).images


def _check_request(methods: Mapping[str, PlaceLike | None], size: int | None, fit: str, resample: str) -> None:
    if not isinstance(methods, Mapping):
        raise InputError(
            f"methods is {type(methods).__name__}; give a mapping of names to folders: {{'mine': 'out/mine', 'gray': None}}"
        )
    if not methods:
        raise InputError("no method given; name at least one with --method NAME=DIR, or --method gray")
    for name, folder in methods.items():
        if not isinstance(name, str):
            raise InputError(f"methods names {name!r}; a method's name is a text: {{'mine': 'out/mine'}}")
        if folder is None and name not in BUILTIN_METHODS:
            raise InputError(f"method {name!r} has no folder; allowed without one: {', '.join(BUILTIN_METHODS)}")
    if size is not None:
        check_whole("size", size)
    if size is not None and size not in SIZES:
        raise InputError(f"size {size} is outside {SIZES[0]}..{SIZES[-1]} pixels")
    if fit not in FITS:
        raise InputError(f"unknown fit {fit!r}; allowed: {', '.join(FITS)}")
    if resample not in FILTERS:
        raise InputError(unknown_name("filter", resample, FILTERS))


def _find_files(
    truth: Path | ImagePlace,
    folders: Mapping[str, Path | ImagePlace],
    images: PlaceLike | Collection[str] | None,
    *,
    allow_missing: bool,
) -> tuple[PairTable[ImageFile], Group]:
    """Files of truth and methods, of all photos or those of a list, every sample as a method of its own.

    Each folder is walked once.
    """
    check_folders(truth, folders)
    truths = scan_folder(truth)
    scans = {name: scan_folder(folder) for name, folder in folders.items()}
    if images is not None:
        unlisted = truths.images.keys() - read_image_names(images, truths.images)
        truths = without_photos(truths, unlisted)
        scans = {name: without_photos(scan, unlisted) for name, scan in scans.items()}
        for name, scan in scans.items():
            if not scan.images:
                raise InputError(
                    f"method '{name}' ({scan.folder}): holds none of the {counted(len(truths.images), 'photo')} that {list_name(images)} names."
                )
    files_of_samples = {
        name: files for name, scan in scans.items() if (files := sample_files(scan, truths.images)) is not None
    }
    single: dict[str, FolderScan[ImageFile]] = {
        name: scan for name, scan in scans.items() if name not in files_of_samples
    }
    return expand_samples(pair_scans(truths, single, allow_missing=allow_missing), files_of_samples)


def _labels_needed(metrics: Sequence[Metric], networks: NetworkOptions, names: tuple[str, ...]) -> Mapping[str, int]:
    is_needed = any("labels" in metric.needs for metric in metrics)
    if networks.labels is None:
        return {}
    if is_needed:
        return labels_for(networks.labels, names)
    check_label_source(networks.labels)
    return {}


def _with_setup(metric: Metric, setups: Mapping[str, Setup]) -> Metric:
    return metric.with_setup(setups[metric.name]) if isinstance(metric, BlockMetric) else metric


def _of_another_kind(ignored: Sequence[ImageFile]) -> list[str]:
    """What lay beside the images and cannot be read, one line per folder."""
    lines = []
    for folder in dict.fromkeys(path.parent for path in ignored):
        names = [path.name for path in ignored if path.parent == folder]
        lines.append(f"{folder}: {counted(len(names), 'file')} of another kind left out, for example {names[0]}")
    return lines
