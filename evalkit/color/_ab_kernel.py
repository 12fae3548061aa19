"""The compiled heart of the ab-error metrics: two images to integer counts per class and error bin.

Exact counts at float32 speed: Lab is computed in float32, whose ab are within `UNSURE` / 2 of the float64 reference on
the whole sRGB cube (tested over the cube). Where the float32 answer could fall on the other side of a class boundary or
of a bin edge, and only there (a few pixels in a thousand), the pixel is decided in float64. The counts are those of the
float64 reference; an error sum differs by rounding only.

Everything lives in this one file because numba's on-disk cache does not see edits of helpers in other files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from evalkit.color._kernel_helper import kernel_helper
from evalkit.color.colorspace import _EPSILON, _KAPPA, _LINEAR_TABLE, _OFFSET, _TO_XYZ

__all__ = [
    "CELLS",
    "ERROR_SCALE",
    "LIGHTNESS_SCALE",
    "MAX_ERROR",
    "MAX_PIXELS",
    "N_BINS",
    "ORIGIN",
    "count_pair",
    "prepare_truth",
    "unpack",
    "work_space",
]

MAX_ERROR = 150
"""Largest threshold of the cumulative curve; errors are capped here (the integral of the curve to 150)."""
N_BINS = MAX_ERROR + 2
"""Bin 0: d = 0; bin k: k - 1 < d <= k; the last one: d > 150. So the curve is exact at integer thresholds."""
ERROR_SCALE = 65536
"""Fixed-point steps per unit of ab error. Integer sums are the same in any order and number of workers."""
LIGHTNESS_SCALE = 4096
"""Fixed-point steps per unit of L: 100 * 4096 * `_CHUNK` fits int32."""
UNSURE = np.float32(4e-4)
"""Twice a bound on |float32 path - float64 reference| in a, b and d over the sRGB cube (measured: 7e-5)."""
ORIGIN = 128
"""The cell table covers a, b in [-128, 128), more than the sRGB gamut."""
CELLS = 256
"""Cells a side of the ab plane, one unit each, edges on integers."""

_CHUNK = 1024  # pixels a pass: buffers stay inside the first cache level
_TABLE64 = _LINEAR_TABLE
_TABLE32 = _LINEAR_TABLE.astype(np.float32)
_MATRIX64 = tuple(float(v) for v in _TO_XYZ)
_MATRIX32 = tuple(np.float32(v) for v in _TO_XYZ)
_EPSILON32, _KAPPA32, _OFFSET32 = np.float32(_EPSILON), np.float32(_KAPPA), np.float32(_OFFSET)
COUNT_SHIFT = 43
"""A cell packs (pixels << 43) + sum of fixed-point errors: one memory access per pixel."""
MAX_PIXELS = 2**19
"""Pixels that one set of packed cells can hold: 2^19 * 150 * 65536 < 2^43 and 2^19 << 43 < 2^63."""

_ROOT_SERIES = tuple(np.float32(c) for c in (0.66666663, 0.5555364, 0.493854, 0.4585502, 0.42286995))
"""((1 - e)^(-2/3) - 1) / e for |e| <= 0.106, least largest error (1.8e-8 of the root): 2/3, 5/9, 40/81, ... bent."""

# Contraction and reciprocals only change the last bits, which the float64 decision covers; no NaN or infinity occurs.
_FAST = {"contract", "arcp", "nsz", "nnan", "ninf", "reassoc"}


@intrinsic
def _intrinsic_bits(typing_context: Any, value: Any) -> Any:
    """Bits of a float32 as an int32, in registers; a view of an array would write and read memory."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(32)
    )


@intrinsic
def _intrinsic_float(typing_context: Any, value: Any) -> Any:
    """Float32 of the given bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.FloatType()
    )


@intrinsic
def _intrinsic_word(typing_context: Any, source: Any, position: Any) -> Any:
    """Four bytes of a uint8 array from any position on; a view as words takes long to compile."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(32).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint32(source, types.uintp), code


# Called by their values alone: the first argument is numba's own.
_bits_of: Any = _intrinsic_bits
_float_of: Any = _intrinsic_float
_word_at: Any = _intrinsic_word


@kernel_helper()
def _part(values: Any, start: int, size: int) -> Any:
    """Some values of an array; a slice takes long to compile, so it stands here once."""
    return values[start : start + size]


@kernel_helper(fastmath=_FAST)
def _linear(word: Any, shift: Any) -> Any:
    """Linear light of one of the four bytes of a word."""
    return _TABLE32[(word >> shift) & np.uint32(255)]


@kernel_helper(fastmath=_FAST)
def _compressed(x: Any) -> Any:
    """CIE's f: cube root, or a line near zero; float32, within 1.2e-7."""
    c0, c1, c2, c3, c4 = _ROOT_SERIES
    # A float's bits are close to its logarithm: minus a third of them is 1 / cube root to within 3.5 %.
    r: Any = _float_of(np.int32(np.float32(_bits_of(x)) * np.float32(-1 / 3) + np.float32(1419914000)))
    e = np.float32(1.0) - x * r * r * r
    y = x * r * r
    y = y + y * e * (c0 + e * (c1 + e * (c2 + e * (c3 + e * c4))))  # y (1 - e)^(-2/3), without a division
    return y if x > _EPSILON32 else _KAPPA32 * x + _OFFSET32


@kernel_helper(fastmath=_FAST)
def _lab_chunk(rgb: Any, start: int, size: int, linear: Any, lightness: Any, a: Any, b: Any) -> None:
    """Lab of pixels start..start+size in float32; `linear` is work space, three chunks."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX32
    red, green, blue = linear
    # Four pixels are three words: half the loads of reading bytes one by one.
    quads = size // 4
    four = np.uintp(4)
    s0, s1, s2, s3 = np.uint32(0), np.uint32(8), np.uint32(16), np.uint32(24)
    at = np.uintp(3 * start)
    for j in range(quads):
        i = 4 * j
        w0, w1, w2 = _word_at(rgb, at), _word_at(rgb, at + four), _word_at(rgb, at + four + four)
        at += np.uintp(12)
        red[i], green[i], blue[i] = _linear(w0, s0), _linear(w0, s1), _linear(w0, s2)
        red[i + 1], green[i + 1], blue[i + 1] = _linear(w0, s3), _linear(w1, s0), _linear(w1, s1)
        red[i + 2], green[i + 2], blue[i + 2] = _linear(w1, s2), _linear(w1, s3), _linear(w2, s0)
        red[i + 3], green[i + 3], blue[i + 3] = _linear(w2, s1), _linear(w2, s2), _linear(w2, s3)
    for i in range(4 * quads, size):
        p = 3 * (start + i)
        red[i] = _linear(np.uint32(rgb[p]), s0)
        green[i] = _linear(np.uint32(rgb[p + 1]), s0)
        blue[i] = _linear(np.uint32(rgb[p + 2]), s0)
    for i in range(size):
        fx = _compressed(m00 * red[i] + m01 * green[i] + m02 * blue[i])
        fy = _compressed(m10 * red[i] + m11 * green[i] + m12 * blue[i])
        fz = _compressed(m20 * red[i] + m21 * green[i] + m22 * blue[i])
        lightness[i] = np.float32(116.0) * fy - np.float32(16.0)
        a[i] = np.float32(500.0) * (fx - fy)
        b[i] = np.float32(200.0) * (fy - fz)


@kernel_helper(inline="never")
def _compressed_exact(x: float) -> float:
    """CIE's f in float64."""
    return np.cbrt(x) if x > _EPSILON else _KAPPA * x + _OFFSET


@kernel_helper(inline="never")
def _ab_exact(red: int, green: int, blue: int) -> tuple[float, float]:
    """A and b of one pixel in float64, as the reference computes them."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX64
    r, g, b = _TABLE64[red], _TABLE64[green], _TABLE64[blue]
    fx = _compressed_exact(m00 * r + m01 * g + m02 * b)
    fy = _compressed_exact(m10 * r + m11 * g + m12 * b)
    fz = _compressed_exact(m20 * r + m21 * g + m22 * b)
    return 500.0 * (fx - fy), 200.0 * (fy - fz)


@kernel_helper(inline="never")
def _class_exact(a: float, b: float, candidates: Any, offsets: Any, centers: Any) -> int:
    """Nearest centre in float64 among the candidates of the cell; the lower index wins a tie."""
    cell = int(np.floor(a) + ORIGIN) * CELLS + int(np.floor(b) + ORIGIN)
    best, nearest = -1, np.inf
    for k in range(offsets[cell], offsets[cell + 1]):
        c = candidates[k]
        da, db = a - centers[2 * c], b - centers[2 * c + 1]
        distance = da * da + db * db  # a power takes long to compile
        if distance < nearest:
            best, nearest = c, distance
    return best


@kernel_helper(fastmath=_FAST)
def _errors(a: Any, b: Any, true_a: Any, true_b: Any, size: int, error: Any, bins: Any, fixed: Any) -> None:
    """Bin of each ab error (-1 where float32 cannot tell) and the error in fixed-point steps; `error` is work space."""
    for i in range(size):
        da, db = a[i] - true_a[i], b[i] - true_b[i]
        error[i] = np.sqrt(da * da + db * db)
    # Floats to the end: numba widens int32 arithmetic to int64, which halves the lanes.
    for i in range(size):
        # Conditions rather than min and max, here and below: those are functions that numba compiles each time.
        d = error[i]
        capped = d if d < np.float32(MAX_ERROR + 1) else np.float32(MAX_ERROR + 1)
        whole = np.floor(capped)
        sure = abs(capped - whole - np.float32(0.5)) < np.float32(0.5) - UNSURE
        bins[i] = np.int32(whole + np.float32(1.0) if sure else np.float32(-1.0))
        summed = d if d < np.float32(MAX_ERROR) else np.float32(MAX_ERROR)
        fixed[i] = np.int32(summed * np.float32(ERROR_SCALE) + np.float32(0.5))


@kernel_helper(inline="never")
def _error_exact(truth: Any, prediction: Any, p: Any) -> tuple[Any, Any]:
    """Bin and fixed-point error, in float64, of the pixel that begins at byte `p`."""
    q, r = p + np.uintp(1), p + np.uintp(2)
    if truth[p] == prediction[p] and truth[q] == prediction[q] and truth[r] == prediction[r]:
        return np.int32(0), np.int64(0)
    a0, b0 = _ab_exact(truth[p], truth[q], truth[r])
    a1, b1 = _ab_exact(prediction[p], prediction[q], prediction[r])
    da, db = a1 - a0, b1 - b0
    d = np.sqrt(da * da + db * db)
    summed = d if d < MAX_ERROR else float(MAX_ERROR)
    bin_number = np.ceil(summed) if d <= MAX_ERROR else float(MAX_ERROR + 1)
    return np.int32(bin_number), np.int64(np.rint(summed * ERROR_SCALE))


@kernel_helper(fastmath=_FAST)
def _sum_of_changes(one: Any, other: Any, size: int) -> Any:
    """Sum of the absolute differences of L in fixed point.

    A sum of floats would depend on the order that the compiler gives it, which differed between a process that
    compiled this kernel itself and one that read it from numba's cache.
    """
    total: Any = np.int32(0)
    for i in range(size):
        total = np.int32(total + np.int32(abs(one[i] - other[i]) * np.float32(LIGHTNESS_SCALE) + np.float32(0.5)))
    return np.int64(total)


@kernel_helper(fastmath=_FAST)
def _newly_clipped(truth: Any, prediction: Any, start: int, size: int) -> Any:
    """Of pixels start..start+size those with a channel at 0 or 255 in the prediction and none in the truth."""
    newly: Any = 0
    one, first = np.uint8(1), np.uintp(3 * start)
    for i in range(size):
        p = first + np.uintp(3) * np.uintp(i)
        q, r = p + np.uintp(1), p + np.uintp(2)
        # x + 1 wraps 255 to 0: a channel at either end is one that is then at most 1.
        clipped = (
            (np.uint8(prediction[p] + one) <= one)
            | (np.uint8(prediction[q] + one) <= one)
            | (np.uint8(prediction[r] + one) <= one)
        )
        was_inside = (
            (np.uint8(truth[p] + one) > one) & (np.uint8(truth[q] + one) > one) & (np.uint8(truth[r] + one) > one)
        )
        newly += clipped & was_inside
    return newly


@kernel_helper(fastmath=_FAST)
def _cells_of(a: Any, b: Any, size: int, cell: Any) -> None:
    """Cell of each colour; -1 - cell where an edge is so close that float32 cannot tell."""
    for i in range(size):
        u, v = a[i] + np.float32(ORIGIN), b[i] + np.float32(ORIGIN)
        whole_u, whole_v = np.floor(u), np.floor(v)
        # Distance from the middle of the cell along the nearer axis: near 1/2 is near an edge.
        off_u, off_v = abs(u - whole_u - np.float32(0.5)), abs(v - whole_v - np.float32(0.5))
        place = whole_u * np.float32(CELLS) + whole_v
        limit = np.float32(0.5) - UNSURE
        cell[i] = np.int32(place if (off_u < limit) & (off_v < limit) else np.float32(-1.0) - place)


@kernel_helper(fastmath=_FAST)
def _largest_square(a: Any, b: Any, size: int, squares: Any) -> Any:
    """Largest squared chroma; `squares` is work space."""
    for i in range(size):
        squares[i] = a[i] * a[i] + b[i] * b[i]
    # Floats that are not negative order like their bits, and a largest integer vectorises.
    largest: Any = np.int32(0)
    for i in range(size):
        square: Any = _bits_of(squares[i])
        largest = square if square > largest else largest
    return _float_of(largest)


@kernel_helper()
def _row_near_edge(cell: Any, cells: Any) -> Any:
    """Row of a colour at the edge of a cell: sure where all cells around belong to one class, else -1.

    Without it every neutral pixel (a = b = 0, a corner of four cells) would be decided in float64.
    """
    row = cells[cell]
    u, v = cell // CELLS, cell % CELLS
    if u == 0 or v == 0 or u == CELLS - 1 or v == CELLS - 1:
        return np.int32(-1)
    for other in (cell - CELLS, cell, cell + CELLS):
        if cells[other - 1] != row or cells[other] != row or cells[other + 1] != row:
            return np.int32(-1)
    return row


@kernel_helper(fastmath=_FAST)
def _prepare_chunk(
    rgb: Any, start: int, size: int, table: Any, linear: Any, squares: Any, cell: Any, lab: Any, first_bins: Any
) -> Any:
    """Fill `lab` and `first_bins` (see `prepare_truth`) for some pixels; returns their largest squared chroma."""
    cells, candidates, offsets, centers = table
    n = first_bins.size
    a, b = _part(lab, n + start, size), _part(lab, 2 * n + start, size)
    _lab_chunk(rgb, start, size, linear, _part(lab, start, size), a, b)
    largest = _largest_square(a, b, size, squares)
    _cells_of(a, b, size, cell)
    for i in range(size):
        index = cell[i]
        row = _row_near_edge(-1 - index, cells) if index < 0 else cells[np.uint32(index)]
        if row < 0:
            p = 3 * (start + i)
            exact_a, exact_b = _ab_exact(rgb[p], rgb[p + 1], rgb[p + 2])
            row = np.int32(_class_exact(exact_a, exact_b, candidates, offsets, centers))
        first_bins[np.uintp(start + i)] = row * np.int32(N_BINS)
    return largest


def work_space() -> tuple[Any, ...]:
    """Chunks for `prepare_truth` and `count_pair`, of one thread; made here, since it takes long to compile."""
    floats = [np.empty(_CHUNK, np.float32) for _ in range(7)]
    whole_numbers = [np.empty(_CHUNK, np.int32) for _ in range(2)]
    return tuple(floats[:3]), *floats[3:], *whole_numbers


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def prepare_truth(rgb: Any, table: Any, work: Any, lab: Any, first_bins: Any) -> Any:
    """Lab (float32, 3 x n) of every pixel of the truth and N_BINS times its class (int32); returns the largest chroma.

    `table` holds cells, candidates, offsets (see `evalkit.color.ab_classes.AbClasses.cell_table`) and the centres, flat.
    """
    n = first_bins.size
    linear, _, _, _, squares, cell, _ = work
    largest: Any = np.float32(0.0)
    for start in range(0, n, _CHUNK):
        size = n - start if n - start < _CHUNK else _CHUNK
        found = _prepare_chunk(rgb, start, size, table, linear, squares, cell, lab, first_bins)
        largest = found if found > largest else largest
    return np.sqrt(largest)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def count_pair(
    truth_rgb: Any,
    table: Any,
    work: Any,
    lab: Any,
    first_bins: Any,
    prepare: bool,
    rgb: Any,
    begin: int,
    end: int,
    packed: Any,
) -> tuple[int, int, float]:
    """Add pixels begin..end (at most MAX_PIXELS) of one pair to `packed` (int64, Q * N_BINS).

    With `prepare` it does the work of `prepare_truth` on the way, chunk by chunk while the chunk is in the cache.
    Returns the sum of |dL| in steps of 1 / `LIGHTNESS_SCALE`, the number of pixels with a channel newly at 0 or 255,
    and, with `prepare`, the largest chroma of the truth.
    """
    n = first_bins.size
    linear, lightness, a, b, error, bins, fixed = work
    total_dl: Any = 0
    newly: Any = 0
    largest: Any = np.float32(0.0)
    for start in range(begin, end, _CHUNK):
        size = end - start if end - start < _CHUNK else _CHUNK
        if prepare:
            found = _prepare_chunk(truth_rgb, start, size, table, linear, error, bins, lab, first_bins)
            largest = found if found > largest else largest
        _lab_chunk(rgb, start, size, linear, lightness, a, b)
        true_a, true_b = _part(lab, n + start, size), _part(lab, 2 * n + start, size)
        _errors(a, b, true_a, true_b, size, error, bins, fixed)
        total_dl += _sum_of_changes(lightness, _part(lab, start, size), size)
        newly += _newly_clipped(truth_rgb, rgb, start, size)
        for i in range(size):
            k, value = bins[i], np.int64(fixed[i])
            if k < 0:
                p = np.uintp(3 * (start + i))
                k, value = _error_exact(truth_rgb, rgb, p)
            # Unsigned, so that numba does not look for negative indices.
            packed[np.uint64(np.uint32(first_bins[np.uintp(start + i)]) + np.uint32(k))] += (
                np.int64(1) << COUNT_SHIFT
            ) + value
    return total_dl, newly, np.sqrt(largest)


@njit(cache=True, nogil=True, error_model="numpy")
def unpack(packed: Any, keys: Any, counts: Any, class_ids: Any, class_counts: Any, error_sums: Any) -> tuple[int, int]:
    """Move the packed cells that are not empty to sparse arrays and empty them.

    Returns the number of cells (in `keys`, `counts`) and of classes (in the last three).
    """
    cells = 0
    classes = 0
    for row in range(packed.size // N_BINS):
        row_cells = _part(packed, row * N_BINS, N_BINS)
        anything = np.int64(0)
        for k in range(N_BINS):
            anything |= row_cells[k]
        if anything == 0:
            continue
        pixels = np.int64(0)
        errors = np.int64(0)
        for k in range(N_BINS):
            value = row_cells[k]
            if value != 0:
                keys[cells] = row * N_BINS + k
                counts[cells] = value >> COUNT_SHIFT
                pixels += value >> COUNT_SHIFT
                errors += value & ((np.int64(1) << COUNT_SHIFT) - 1)
                row_cells[k] = 0
                cells += 1
        class_ids[classes] = row
        class_counts[classes] = pixels
        error_sums[classes] = errors
        classes += 1
    return cells, classes
