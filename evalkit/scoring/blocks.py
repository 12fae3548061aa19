"""A block of images: decoded once, measured under every method and metric, written as one shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.arrays import Rgb8
from evalkit.color.limits import GRAYSCALE_CHROMA
from evalkit.images.image_files import DecodedImage, decode, resize
from evalkit.images.image_pairs import check_same_size
from evalkit.images.orientation import check_not_turned, turned_like_truth
from evalkit.images.read_ahead import PIXELS_AHEAD, ReadAhead
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.base import SumMetric
from evalkit.metrics.blocks import BlockMeter, BlockMetric, missing_value
from evalkit.metrics.photo import Photo
from evalkit.networks.memory import out_of_memory_advice
from evalkit.networks.output_cache import CacheUse
from evalkit.scoring.plan import Plan
from evalkit.scoring.statistics_store import Row, write_reference, write_shard

__all__ = ["BlockWorker"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ReadImage:
    """One image of a block, decoded and brought to the size of the run."""

    block: int
    photo: Photo
    diagnostics: dict[str, Any]


class BlockWorker:
    """Measures blocks of a plan; one instance per process, so that tables are built and networks loaded once.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the shards go.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self._pairwise = [metric for metric in plan.created if not isinstance(metric, BlockMetric)]
        self._columns = {name: kind for metric in plan.created for name, kind in metric.columns.items()}
        self._vectors = {name: length for metric in plan.created for name, length in metric.vectors.items()}
        self._labels = dict(plan.labels)
        self._missing = {name: missing_value(kind) for name, kind in self._columns.items()}
        self._meter_by_key = self._open_meters()
        self._meters = list(self._meter_by_key.values())
        counts_ab_errors = any(isinstance(metric, SumMetric) and metric.uses_ab_error for metric in plan.created)
        self._counter = PairCounter(plan.options.classes) if counts_ab_errors else None
        self._images: Iterator[_ReadImage] | None = None

    def _open_meters(self) -> dict[str, BlockMeter]:
        """One meter for all metrics that share it; none for metrics whose network is missing."""
        meters: dict[str, BlockMeter] = {}
        for metric in self.plan.created:
            if isinstance(metric, BlockMetric) and not metric.setup.reason and metric.meter_key not in meters:
                meters[metric.meter_key] = metric.open_meter(replace(self.plan.inputs, labels=self._labels))
        return meters

    def turn_to(self, plan: Plan, folder: Path) -> None:
        """Go on with the images of another part of the same run, with the tables and networks that are loaded."""
        self.plan, self.folder = plan, folder
        self._labels.clear()
        self._labels.update(plan.labels)

    @property
    def notes(self) -> set[str]:
        """What the meters noticed."""
        return set().union(*(meter.notes for meter in self._meters))

    def taken_use(self) -> CacheUse:
        """What the cache of network outputs was good for since the last call."""
        use = CacheUse()
        for meter in self._meters:
            if meter.cache is not None:
                use += meter.cache.use
                meter.cache.use = CacheUse()
        return use

    @contextmanager
    def reading(self, blocks: Sequence[int]) -> Iterator[None]:
        """Read the images of blocks, which are then measured in this order.

        Where a network runs, a thread reads while the network computes, the next block's images too.
        """
        images = self._read(self.plan, blocks)
        is_waited_for = bool(self._meters)  # without a network the processor is busy anyway
        with ReadAhead(images, _n_pixels, PIXELS_AHEAD) if is_waited_for else nullcontext(images) as self._images:
            try:
                yield
            finally:
                self._images = None

    def measure(self, index: int) -> int:
        """Measure one block and write its shard; returns the number of images."""
        if self._images is None:
            with self.reading([index]):
                return self.measure(index)
        plan = self.plan
        if plan.is_of_reference(index):
            return self._measure_reference(index)
        digest = plan.block_digest(index)
        rows: list[Row] = []
        for i in plan.block(index):
            truth = self._next_image(index)
            for method in plan.methods:
                prediction = self._next_image(index)
                diagnostics = {**prediction.diagnostics, **truth.diagnostics}
                with out_of_memory_advice(self._advice(f"{plan.names[i]}, method {method}", truth.photo)):
                    rows.append(self._measure_pair(plan.names[i], method, truth.photo, prediction.photo, diagnostics))
                    for meter in self._meters:
                        meter.add(plan.names[i], method, truth.photo, prediction.photo)
        for meter in self._meters:
            rows = [_with_statistics(row, measured) for row, measured in zip(rows, meter.finish(), strict=True)]
        write_shard(self.folder / plan.shard(index), rows, self._columns, digest, self._vectors)
        return len(plan.block(index))

    def _measure_reference(self, index: int) -> int:
        """Measure a block of the reference set: feature vectors alone."""
        plan = self.plan
        digest = plan.block_digest(index)
        columns: dict[str, tuple[str, ...]] = {
            metric.meter_key: metric.reference_columns
            for metric in plan.created
            if isinstance(metric, BlockMetric) and metric.meter_key in self._meter_by_key and metric.reference_columns
        }
        names = list(plan.reference)
        images: dict[str, str] = {}
        for i in plan.block(index):
            image = self._next_image(index)
            images[names[i]] = image.diagnostics["sha256"]
            for key in columns:
                with out_of_memory_advice(self._advice(f"{names[i]} of the reference set", image.photo)):
                    self._meter_by_key[key].add(names[i], "reference", image.photo, image.photo)
        vectors = {}
        for key, column_names in columns.items():
            measured = self._meter_by_key[key].finish()
            vectors.update({name: np.stack([one[name] for one in measured]) for name in column_names})
        write_reference(self.folder / plan.shard(index), images, vectors, digest)
        return len(images)

    def _advice(self, which: str, photo: Photo) -> str:
        """What helps when memory runs out at an image."""
        height, width = photo.shape
        elsewhere = "--device cpu, " if self._meters and self.plan.networks.device != "cpu" else ""
        return (
            f"at {which} ({width} x {height} pixels): {elsewhere}fewer --workers, or smaller images by --size may help; what is "
            "finished is kept: the same command with --resume goes on"
        )

    def _next_image(self, index: int) -> _ReadImage:
        image = None if self._images is None else next(self._images, None)
        if image is None or image.block != index:
            raise RuntimeError(f"the images that were read are not those of block {index}")
        return image

    def _read(self, plan: Plan, blocks: Sequence[int]) -> Iterator[_ReadImage]:
        """Images of blocks in the order in which they are measured: each true photo, then what methods made of it."""
        for index in blocks:
            if plan.is_of_reference(index):
                files = list(plan.reference.values())
                for i in plan.block(index):
                    file = decode(files[i], plan.decoding)
                    photo = _photo(plan, file.rgb8)
                    yield _ReadImage(block=index, photo=photo, diagnostics={"sha256": file.sha256})
                continue
            for i in plan.block(index):
                truth_file = decode(plan.pairs.truth[i], plan.decoding)
                truth = _photo(plan, truth_file.rgb8)
                of_truth = {
                    "truth_format": truth_file.format,
                    "truth_sha256": truth_file.sha256,
                    "truth_notes": "; ".join(truth_file.notes) or None,
                }
                yield _ReadImage(block=index, photo=truth, diagnostics=of_truth)
                for method in plan.methods:
                    prediction, diagnostics = _prediction(plan, method, i, truth_file, truth)
                    yield _ReadImage(block=index, photo=prediction, diagnostics=diagnostics)
                    del prediction  # or it would stay in memory while the next one is read

    def _measure_pair(
        self, image: str, method: str, truth: Photo, prediction: Photo, diagnostics: dict[str, Any]
    ) -> Row:
        counts = None
        if self._counter is not None:
            counts = self._counter.count(truth, prediction)
            diagnostics["l_change"] = counts.lightness_change
            diagnostics["newly_clipped"] = counts.newly_clipped
            diagnostics["gray_truth"] = self._counter.largest_chroma(truth) < GRAYSCALE_CHROMA
        may_be_identical = counts is None or int(counts.error_sum.sum()) == 0
        diagnostics["identical"] = may_be_identical and np.array_equal(truth.rgb8, prediction.rgb8)
        scalars: dict[str, float] = dict(self._missing)
        for metric in self._pairwise:
            scalars.update(zip(metric.columns, metric.measure(truth, prediction), strict=True))
        return Row(
            image=image,
            method=method,
            n_pixels=truth.n_pixels,
            scalars=scalars,
            diagnostics=diagnostics,
            counts=counts,
            vectors={name: np.full(length, np.nan, np.float32) for name, length in self._vectors.items()},
        )


def _n_pixels(image: _ReadImage) -> int:
    return image.photo.n_pixels


def _photo(plan: Plan, rgb8: Rgb8) -> Photo:
    return Photo(rgb8 if plan.size is None else resize(rgb8, plan.size, plan.fit, plan.resample))


def _prediction(
    plan: Plan, method: str, i: int, truth_file: DecodedImage, truth: Photo
) -> tuple[Photo, dict[str, Any]]:
    """Image i under a method, and what is known of how it came about."""
    if method in plan.makers:
        maker = plan.makers[method]
        donor = maker.donor(i)
        donor_rgb8: Rgb8 | None = None
        if donor is not None:
            donor_rgb8 = _photo(plan, decode(plan.pairs.truth[donor], plan.decoding).rgb8).rgb8
        rgb8, gamut_clipped = maker.colorize(truth.rgb8, donor_rgb8)
        return Photo(rgb8), {"gamut_clipped": gamut_clipped}
    file = decode(plan.pairs.methods[method][i], plan.decoding)
    rgb8, notes = file.rgb8, file.notes
    if plan.turn_like_truth:
        rgb8, note = turned_like_truth(truth_file, file)
        notes = (*notes, note) if note else notes
    else:
        check_not_turned(plan.names[i], method, truth_file, file)
    prediction = _photo(plan, rgb8)
    check_same_size(plan.names[i], method, truth.shape, prediction.shape)
    return prediction, {"format": file.format, "sha256": file.sha256, "notes": "; ".join(notes) or None}


def _with_statistics(row: Row, measured: Mapping[str, Any]) -> Row:
    """A row with what a meter measured: scalars and feature vectors."""
    vectors = {name: value for name, value in measured.items() if name in row.vectors}
    scalars = {name: value for name, value in measured.items() if name not in vectors}
    return replace(row, scalars={**row.scalars, **scalars}, vectors={**row.vectors, **vectors})
