"""Ab errors as they are counted and stored: options, the counts of a pair, the table of a set.

What is stored per image is an integer matrix counts[class, error bin] and a fixed-point error sum per class. Both merge
by addition in any order, and any prior, lambda or subset applies afterwards without a second look at the images.
The formulas on top of these counts are in `evalkit.metrics.ab_error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.arrays import IntArray, Rgb8
from evalkit.color.ab_bins import ERROR_SCALE, LIGHTNESS_SCALE, MAX_ERROR, N_BINS
from evalkit.color.ab_classes import AbClasses, Prior, preset
from evalkit.errors import InputError, check_kind, check_whole
from evalkit.metrics.photo import Photo

__all__ = ["AbErrorOptions", "AbErrorTable", "PairCounter", "PairCounts", "Quadrature", "chosen_options", "table_of"]

Quadrature = Literal["exact", "thresholds"]


@dataclass(frozen=True, kw_only=True)
class AbErrorOptions:
    """How the ab-error metrics are computed; every field shows in the signature.

    Attributes
    ----------
    classes : AbClasses
        The quantised ab plane.
    prior : Prior or None
        Class shares for the rebalancing weights; None takes those of the evaluated truth itself.
    quadrature : {"exact", "thresholds"}
        ``exact``: the closed form. ``thresholds``: the mean of CMF(0), CMF(1), ..., CMF(max_threshold), which is what
        several published scripts compute; it reads 0.3 points lower at 150.
    max_threshold : int
        Upper end of the thresholds, 1..150; below 150 only with ``thresholds``.
    rebalancing : float
        lambda, share of the uniform distribution mixed into the prior; 0 for evaluation.
    """

    classes: AbClasses = field(default_factory=lambda: preset("zhang2016"))
    prior: Prior | None = None
    quadrature: Quadrature = "exact"
    max_threshold: int = 150
    rebalancing: float = 0.0

    def __post_init__(self) -> None:
        check_kind("classes", self.classes, AbClasses, "evalkit.color.ab_classes.preset(...), or AbClasses(...),")
        if self.prior is not None:
            check_kind("prior", self.prior, Prior, "evalkit.color.ab_classes.load_prior(...), or None,")
        if self.quadrature not in ("exact", "thresholds"):
            raise InputError(f"unknown quadrature {self.quadrature!r}; allowed: exact, thresholds")
        check_whole("max_threshold", self.max_threshold)
        if not 1 <= self.max_threshold <= 150:
            raise InputError(f"largest threshold {self.max_threshold} is outside 1..150")
        if self.max_threshold != 150 and self.quadrature == "exact":
            raise InputError(
                "the closed form is stored for thresholds 0..150; use quadrature 'thresholds' for a shorter range"
            )
        check_kind("rebalancing", self.rebalancing, Real, "lambda, a number from 0 to 1,")
        if not 0.0 <= self.rebalancing <= 1.0:
            raise InputError(f"lambda {self.rebalancing:g} is outside 0..1")

    @property
    def scale(self) -> int:
        """Integer loss of one pixel at the largest error."""
        return ERROR_SCALE * MAX_ERROR if self.quadrature == "exact" else self.max_threshold + 1

    @property
    def quadrature_field(self) -> str:
        """Signature field: ``exact150`` or, for the mean of T + 1 thresholds, ``mean0-T``."""
        return "exact150" if self.quadrature == "exact" else f"mean0-{self.max_threshold}"


def chosen_options(options: AbErrorOptions | None) -> AbErrorOptions:
    """Options as they were given, or the default; anything else is refused in a sentence."""
    if options is not None:
        check_kind("options", options, AbErrorOptions, "evalkit.AbErrorOptions(...)")
    return options or AbErrorOptions()


@dataclass(frozen=True, kw_only=True)
class AbErrorTable:
    """Stored ab errors of n images under Q classes, sparse by image.

    Attributes
    ----------
    n_classes : int
        Q.
    offsets : ndarray of int64, shape (n + 1,)
        Image i owns entries ``offsets[i]:offsets[i + 1]`` of the next three.
    class_id, class_count, error_sum : ndarray, shape (m,)
        Class, its pixels, and the sum of ``round(65536 * min(d, 150))`` over them.
    bin_offsets : ndarray of int64, shape (n + 1,)
        The same for the histogram.
    bin_key, bin_count : ndarray, shape (k,)
        ``class * 152 + bin`` and its pixels; bin 0 is d = 0, bin k is k - 1 < d <= k, bin 151 is d > 150.
    reduced_to : AbErrorOptions or None
        Set by `reduced`.
    """

    n_classes: int
    offsets: IntArray
    class_id: npt.NDArray[Any]
    class_count: npt.NDArray[Any]
    error_sum: IntArray
    bin_offsets: IntArray
    bin_key: npt.NDArray[Any]
    bin_count: npt.NDArray[Any]
    reduced_to: AbErrorOptions | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def losses(self, options: AbErrorOptions) -> IntArray:
        """Integer loss of each (image, class) entry; divided by pixels and ``options.scale`` it is 1 - AuC."""
        if self.reduced_to is not None:
            if (self.reduced_to.quadrature, self.reduced_to.max_threshold) != (
                options.quadrature,
                options.max_threshold,
            ):
                raise ValueError("this table was reduced to another quadrature")
            return self.error_sum
        if options.quadrature == "exact":
            return self.error_sum
        keys = self.bin_key.astype(np.int64)
        per_cell = np.minimum(keys % N_BINS, options.max_threshold + 1) * self.bin_count.astype(np.int64)
        # Entries and cells are both ordered by image, then class: number the (image, class) pairs of each and add up.
        image_of_entry = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        image_of_cell = np.repeat(np.arange(len(self)), np.diff(self.bin_offsets))
        entry = image_of_entry * self.n_classes + self.class_id.astype(np.int64)
        cell = image_of_cell * self.n_classes + keys // N_BINS
        sums = np.zeros(len(entry), np.int64)
        np.add.at(sums, np.searchsorted(entry, cell), per_cell)
        return sums

    def reduced(self, options: AbErrorOptions) -> AbErrorTable:
        """The same table with the losses in place of the error sums and without the histogram: a tenth of the memory."""
        nothing = np.zeros(0, np.int64)
        empty = np.zeros(len(self) + 1, np.int64)
        return replace(
            self,
            error_sum=self.losses(options),
            bin_offsets=empty,
            bin_key=nothing,
            bin_count=nothing,
            reduced_to=options,
        )

    def part(self, rows: range) -> AbErrorTable:
        """A run of consecutive images."""
        entries = slice(self.offsets[rows.start], self.offsets[rows.stop])
        cells = slice(self.bin_offsets[rows.start], self.bin_offsets[rows.stop])
        return replace(
            self,
            offsets=self.offsets[rows.start : rows.stop + 1] - self.offsets[rows.start],
            class_id=self.class_id[entries],
            class_count=self.class_count[entries],
            error_sum=self.error_sum[entries],
            bin_offsets=self.bin_offsets[rows.start : rows.stop + 1] - self.bin_offsets[rows.start],
            bin_key=self.bin_key[cells],
            bin_count=self.bin_count[cells],
        )

    def totals(self, values: npt.NDArray[Any]) -> IntArray:
        """Sum of the entries of each image, shape (n,)."""
        running = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        return np.asarray(running[self.offsets[1:]] - running[self.offsets[:-1]], dtype=np.int64)

    def dense(self, values: npt.NDArray[Any]) -> IntArray:
        """Entries as a matrix, shape (n, Q)."""
        matrix = np.zeros((len(self), self.n_classes), np.int64)
        image = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        matrix[image, self.class_id] = values
        return matrix

    def histogram(self) -> IntArray:
        """Pixels per class and error bin, pooled over images, shape (Q, 152)."""
        pooled = np.zeros(self.n_classes * N_BINS, np.int64)
        np.add.at(pooled, self.bin_key, self.bin_count)
        return pooled.reshape(self.n_classes, N_BINS)


KEPT_PIXELS = 1 << 24
"""Photos of more pixels than this are counted part by part: their work space would be five times their pixels."""


class PairCounter:
    """Counts the ab errors of pairs under given classes; reuses its work space, so one instance a thread.

    Parameters
    ----------
    classes : AbClasses
    """

    def __init__(self, classes: AbClasses) -> None:
        from evalkit.color import _ab_kernel

        self._kernel = _ab_kernel
        self.classes = classes
        cells, candidates, offsets = classes.cell_table
        first_bin_of = np.where(cells < 0, np.int32(-1), cells * np.int32(N_BINS))
        self._table = (first_bin_of, candidates, offsets, np.ascontiguousarray(classes.centers).ravel())
        self._work = _ab_kernel.work_space()
        size = len(classes) * N_BINS
        self._packed = np.zeros(size + _ab_kernel.SPARE, np.int64)
        self._keys = np.empty(size, np.int64)
        self._counts = np.empty(size, np.int64)
        self._per_class = np.empty((3, len(classes)), np.int64)
        self._owner: Photo | None = None
        self._chroma_of: Photo | None = None
        self._lab = np.empty(0, np.float32)
        self._first_bins = np.empty(0, np.int32)
        self._chroma = 0.0

    def __reduce__(self) -> tuple[type[PairCounter], tuple[AbClasses]]:
        # A copy, also in another process, has work space of its own.
        return PairCounter, (self.classes,)

    def prepare(self, truth: Photo) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], float]:
        """Lab (float32, L then a then b), number of the class's first bin, and largest chroma of the truth's pixels.

        Computed once for a truth that is asked for several times in a row; the arrays are valid until the next truth
        (fresh pages for every image would cost as much as a tenth of the counting).
        """
        if truth is not self._owner:
            self._make_room(truth.n_pixels)
            rgb = truth.rgb8.reshape(-1)
            _, _, self._chroma = self._run_kernel(rgb, rgb, 0, truth.n_pixels, prepare=True, count=False)
            self._owner = self._chroma_of = truth
        return self._lab, self._first_bins, self._chroma

    def largest_chroma(self, truth: Photo) -> float:
        """Largest chroma of the truth's pixels, CIE Lab units."""
        if truth is not self._chroma_of:
            self.prepare(truth)
        return self._chroma

    def _run_kernel(
        self, true_rgb: Rgb8, rgb: Rgb8, begin: int, end: int, *, prepare: bool, count: bool
    ) -> tuple[int, int, float]:
        """What `evalkit.color._ab_kernel.count_pair` gives."""
        return self._kernel.count_pair(
            true_rgb, *self._table, *self._work, len(self._first_bins), self._lab, self._first_bins, prepare, count, rgb,
            begin, end, self._packed,
        )  # fmt: skip

    def _make_room(self, n_pixels: int) -> None:
        self._owner = None
        if len(self._first_bins) != n_pixels:
            self._lab = np.empty(3 * n_pixels, np.float32)
            self._first_bins = np.empty(n_pixels, np.int32)

    def classes_of(self, truth: Photo) -> npt.NDArray[np.int32]:
        """Ab class of each pixel, shape (H * W,), int32."""
        return self.prepare(truth)[1] // np.int32(N_BINS)

    def count(self, truth: Photo, prediction: Photo) -> PairCounts:
        """Count one pair; both photos have the same size.

        What was found of the truth is kept for the next method, 16 bytes a pixel, unless the photo has more than
        `KEPT_PIXELS`: of a large scan only the part that is being counted is held, and found anew for every method.
        """
        is_large = truth.n_pixels > KEPT_PIXELS
        fresh = is_large or truth is not self._owner
        if fresh and not is_large:
            self._make_room(truth.n_pixels)
        true_rgb, rgb = truth.rgb8.reshape(-1), prediction.rgb8.reshape(-1)
        parts = []
        lightness, newly, chroma = 0, 0, 0.0
        for begin in range(0, truth.n_pixels, self._kernel.MAX_PIXELS):
            end = min(begin + self._kernel.MAX_PIXELS, truth.n_pixels)
            pixels, first, last = slice(None), begin, end
            if is_large:
                self._make_room(end - begin)
                pixels, first, last = slice(3 * begin, 3 * end), 0, end - begin
            change, clipped, largest = self._run_kernel(
                true_rgb[pixels], rgb[pixels], first, last, prepare=fresh, count=True
            )
            chroma = max(chroma, largest)
            lightness += change
            newly += clipped
            cells, classes = self._kernel.unpack(self._packed, self._keys, self._counts, *self._per_class)
            parts.append((*self._per_class[:, :classes].copy(), self._keys[:cells].copy(), self._counts[:cells].copy()))
        if fresh:
            self._owner = None if is_large else truth
            self._chroma_of, self._chroma = truth, chroma
        class_id, class_count, error_sum, bin_key, bin_count = parts[0] if len(parts) == 1 else _added(parts)
        return PairCounts(
            class_id=class_id,
            class_count=class_count,
            error_sum=error_sum,
            bin_key=bin_key,
            bin_count=bin_count,
            lightness_change=lightness / (LIGHTNESS_SCALE * truth.n_pixels),
            newly_clipped=newly,
        )


@dataclass(frozen=True, kw_only=True)
class PairCounts:
    """Ab errors of one pair, sparse: see `AbErrorTable`; with two diagnostics that cost nothing on the way.

    Attributes
    ----------
    lightness_change : float
        Mean absolute difference of L.
    newly_clipped : int
        Pixels of the prediction with a channel at 0 or 255 where the truth has none.
    """

    class_id: IntArray
    class_count: IntArray
    error_sum: IntArray
    bin_key: IntArray
    bin_count: IntArray
    lightness_change: float
    newly_clipped: int


def _added(parts: Sequence[tuple[IntArray, ...]]) -> tuple[IntArray, ...]:
    """Sum of the counts of the parts of one image: the first five fields of `PairCounts`."""
    ids, counts, sums, keys, cell_counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    class_id, position = np.unique(ids, return_inverse=True)
    bin_key, cell = np.unique(keys, return_inverse=True)
    class_count, error_sum = np.zeros((2, len(class_id)), np.int64)
    bin_count = np.zeros(len(bin_key), np.int64)
    np.add.at(class_count, position, counts)
    np.add.at(error_sum, position, sums)
    np.add.at(bin_count, cell, cell_counts)
    return class_id, class_count, error_sum, bin_key, bin_count


def table_of(counts: list[PairCounts], n_classes: int) -> AbErrorTable:
    """Stack the counts of several pairs."""

    def offsets(lengths: list[int]) -> IntArray:
        return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)

    def join(arrays: list[IntArray]) -> IntArray:
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    return AbErrorTable(
        n_classes=n_classes,
        offsets=offsets([len(c.class_id) for c in counts]),
        class_id=join([c.class_id for c in counts]),
        class_count=join([c.class_count for c in counts]),
        error_sum=join([c.error_sum for c in counts]),
        bin_offsets=offsets([len(c.bin_key) for c in counts]),
        bin_key=join([c.bin_key for c in counts]),
        bin_count=join([c.bin_count for c in counts]),
    )
