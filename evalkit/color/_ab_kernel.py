"""The compiled heart of the ab-error metrics: two images to integer counts per class and error bin.

Exact counts at float32 speed: Lab is computed in float32, whose ab are within `UNSURE` / 2 of the float64 reference on
the whole sRGB cube (tested over the cube). Where the float32 answer could fall on the other side of a class boundary or
of a bin edge, and only there (a few pixels in a thousand), the pixel is decided in float64. The counts are those of the
float64 reference; an error sum differs by rounding only.

All of its code lives in this one file because numba's on-disk cache does not see edits of helpers in other files, nor of
the constants in `evalkit.color.ab_bins` and `evalkit.color.lab_definition`: whoever edits them empties the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from evalkit.color._kernel_helper import kernel, kernel_helper, pointer_at, pointer_to
from evalkit.color.ab_bins import CELLS, ERROR_SCALE, LIGHTNESS_SCALE, MAX_ERROR, N_BINS, ORIGIN
from evalkit.color.lab_definition import EPSILON, KAPPA, LINEAR_TABLE, OFFSET, TO_XYZ

__all__ = ["MAX_PIXELS", "SPARE", "count_pair", "unpack", "work_space"]

UNSURE = np.float32(4e-4)
"""Twice a bound on |float32 path - float64 reference| in a, b and d over the sRGB cube (measured: 7e-5)."""
_CHUNK = 1024  # pixels a pass: buffers stay inside the first cache level
_GROUP = 64  # pixels that are looked through for one that float32 cannot tell
_TABLE64 = LINEAR_TABLE
_TABLE32 = LINEAR_TABLE.astype(np.float32)
_MATRIX64 = tuple(float(v) for v in TO_XYZ)
_MATRIX32 = tuple(np.float32(v) for v in TO_XYZ)
# Constants in their type: a conversion inside of a kernel is a call that numba has to resolve.
_EPSILON32, _KAPPA32, _OFFSET32 = np.float32(EPSILON), np.float32(KAPPA), np.float32(OFFSET)
_L_SLOPE, _L_OFFSET, _A_SLOPE, _B_SLOPE = np.float32(116.0), np.float32(16.0), np.float32(500.0), np.float32(200.0)
_HALF, _ONE, _MINUS_THIRD, _ROOT_BITS = np.float32(0.5), np.float32(1.0), np.float32(-1 / 3), np.float32(1419914000)
_MAX, _OVER_MAX, _ERROR_STEPS = np.float32(MAX_ERROR), np.float32(MAX_ERROR + 1), np.float32(ERROR_SCALE)
_ORIGIN32, _CELLS32, _ALL_CELLS = np.float32(ORIGIN), np.float32(CELLS), np.float32(CELLS * CELLS)
_LIGHTNESS_STEPS = np.float32(LIGHTNESS_SCALE)
_BYTE, _SHIFTS = np.uint32(255), tuple(np.uint32(shift) for shift in (0, 8, 16, 24))
COUNT_SHIFT = 43
"""A cell packs (pixels << 43) + sum of fixed-point errors: one memory access per pixel."""
_ONE_PIXEL = 1 << COUNT_SHIFT
SPARE = 64
"""Cells behind the last class that take what cannot be told in float32; what they hold means nothing."""
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
def _intrinsic_as_bits(typing_context: Any, pointer: Any) -> Any:
    """The same pointer, to the bits of its float32."""
    return _numba_pointer(types.int32)(pointer), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(32).as_pointer()
    )


@intrinsic
def _intrinsic_word(typing_context: Any, pointer: Any, position: Any) -> Any:
    """Four bytes from any position on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(32).as_pointer())
        return builder.load(word, align=1)

    return types.uint32(pointer, types.intp), code


# Called by their values alone: the first argument is numba's own.
_numba_pointer: Any = types.CPointer
_bits_of: Any = _intrinsic_bits
_float_of: Any = _intrinsic_float
_as_bits: Any = _intrinsic_as_bits
_word_at: Any = _intrinsic_word
# np.cbrt in a kernel calls it too, after compiling two functions around it.
_cube_root: Any = types.ExternalFunction("cbrt", types.float64(types.float64))


@kernel_helper(fastmath=_FAST)
def _linear(word: Any, shift: Any, table: Any) -> Any:
    """Linear light of one of the four bytes of a word, from a table of whole numbers or floats."""
    return table[(word >> shift) & _BYTE]


@kernel_helper(fastmath=_FAST)
def _compressed(x: Any) -> Any:
    """CIE's f: cube root, or a line near zero; float32, within 1.2e-7."""
    c0, c1, c2, c3, c4 = _ROOT_SERIES
    # A float's bits are close to its logarithm: minus a third of them is 1 / cube root to within 3.5 %.
    r: Any = _float_of(np.int32(np.float32(_bits_of(x)) * _MINUS_THIRD + _ROOT_BITS))
    e = _ONE - x * r * r * r
    y = x * r * r
    y = y + y * e * (c0 + e * (c1 + e * (c2 + e * (c3 + e * c4))))  # y (1 - e)^(-2/3), without a division
    return y if x > _EPSILON32 else _KAPPA32 * x + _OFFSET32


@kernel_helper(fastmath=_FAST)
def _lab_chunk(rgb: Any, size: int, linear: Any, table: Any, lightness: Any, a: Any, b: Any) -> None:
    """Lab of some pixels in float32; `linear` is work space, three chunks, and `table` the linear light of each byte."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX32
    red, green, blue = linear, pointer_at(linear, _CHUNK), pointer_at(linear, 2 * _CHUNK)
    s0, s1, s2, s3 = _SHIFTS
    # Four pixels are three words: half the loads of reading bytes one by one. Floats move as whole numbers: processors
    # load and store more of those at a time.
    bits, to_red, to_green, to_blue = _as_bits(table), _as_bits(red), _as_bits(green), _as_bits(blue)
    quads = size // 4
    for j in range(quads):
        i, p = 4 * j, 12 * j
        w0, w1, w2 = _word_at(rgb, p), _word_at(rgb, p + 4), _word_at(rgb, p + 8)
        to_red[i], to_green[i], to_blue[i] = _linear(w0, s0, bits), _linear(w0, s1, bits), _linear(w0, s2, bits)
        i += 1
        to_red[i], to_green[i], to_blue[i] = _linear(w0, s3, bits), _linear(w1, s0, bits), _linear(w1, s1, bits)
        i += 1
        to_red[i], to_green[i], to_blue[i] = _linear(w1, s2, bits), _linear(w1, s3, bits), _linear(w2, s0, bits)
        i += 1
        to_red[i], to_green[i], to_blue[i] = _linear(w2, s1, bits), _linear(w2, s2, bits), _linear(w2, s3, bits)
    for i in range(4 * quads, size):
        red[i], green[i], blue[i] = table[rgb[3 * i]], table[rgb[3 * i + 1]], table[rgb[3 * i + 2]]
    for i in range(size):
        fx = _compressed(m00 * red[i] + m01 * green[i] + m02 * blue[i])
        fy = _compressed(m10 * red[i] + m11 * green[i] + m12 * blue[i])
        fz = _compressed(m20 * red[i] + m21 * green[i] + m22 * blue[i])
        lightness[i] = _L_SLOPE * fy - _L_OFFSET
        a[i] = _A_SLOPE * (fx - fy)
        b[i] = _B_SLOPE * (fy - fz)


@kernel_helper()
def _compressed_exact(x: float) -> float:
    """CIE's f in float64."""
    return _cube_root(x) if x > EPSILON else KAPPA * x + OFFSET


@kernel_helper()
def _ab_exact(rgb: Any, pixel: int, table: Any) -> tuple[float, float]:
    """A and b of one pixel in float64, as the reference computes them."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = _MATRIX64
    p = 3 * pixel
    r, g, b = table[rgb[p]], table[rgb[p + 1]], table[rgb[p + 2]]
    fx = _compressed_exact(m00 * r + m01 * g + m02 * b)
    fy = _compressed_exact(m10 * r + m11 * g + m12 * b)
    fz = _compressed_exact(m20 * r + m21 * g + m22 * b)
    return 500.0 * (fx - fy), 200.0 * (fy - fz)


@kernel_helper()
def _class_exact(rgb: Any, pixel: int, table: Any, candidates: Any, offsets: Any, centers: Any) -> Any:
    """Nearest centre in float64 among the candidates of the cell; the lower index wins a tie."""
    a, b = _ab_exact(rgb, pixel, table)
    cell = (math.floor(a) + ORIGIN) * CELLS + math.floor(b) + ORIGIN
    best, nearest = np.int32(-1), math.inf
    for k in range(offsets[cell], offsets[cell + 1]):
        c = candidates[k]
        da, db = a - centers[2 * c], b - centers[2 * c + 1]
        distance = da * da + db * db  # a power takes long to compile
        if distance < nearest:
            best, nearest = c, distance
    return best


@kernel_helper(fastmath=_FAST)
def _errors(
    a: Any, b: Any, true_a: Any, true_b: Any, firsts: Any, spare: Any, size: int, error: Any, places: Any, fixed: Any
) -> None:
    """Cell of each ab error (a spare one where float32 cannot tell) and the error in fixed point; `error` is work space.

    Spare cells are taken by turns, as one that is added to again and again makes each pixel wait for the one before.
    """
    for i in range(size):
        da, db = a[i] - true_a[i], b[i] - true_b[i]
        error[i] = np.sqrt(da * da + db * db)
    # Floats to the end: numba widens int32 arithmetic to int64, which halves the lanes.
    for i in range(size):
        # Conditions rather than min and max, here and below: those are functions that numba compiles each time.
        d = error[i]
        capped = d if d < _OVER_MAX else _OVER_MAX
        whole = np.floor(capped)
        sure = abs(capped - whole - _HALF) < _HALF - UNSURE
        in_row = np.int32(whole + _ONE)
        places[i] = np.int32(firsts[i] + in_row) if sure else np.int32(spare + np.int32(i % SPARE))
        summed = d if d < _MAX else _MAX
        fixed[i] = np.int32(summed * _ERROR_STEPS + _HALF)


@kernel_helper()
def _error_exact(truth: Any, prediction: Any, pixel: int, table: Any) -> tuple[Any, Any]:
    """Bin and fixed-point error of one pixel in float64."""
    p = 3 * pixel
    if truth[p] == prediction[p] and truth[p + 1] == prediction[p + 1] and truth[p + 2] == prediction[p + 2]:
        return np.int32(0), np.int64(0)
    a0, b0 = _ab_exact(truth, pixel, table)
    a1, b1 = _ab_exact(prediction, pixel, table)
    da, db = a1 - a0, b1 - b0
    d = math.sqrt(da * da + db * db)
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
        total = np.int32(total + np.int32(abs(one[i] - other[i]) * _LIGHTNESS_STEPS + _HALF))
    return np.int64(total)


@kernel_helper(fastmath=_FAST)
def _newly_clipped(truth: Any, prediction: Any, size: int) -> Any:
    """Of some pixels those with a channel at 0 or 255 in the prediction and none in the truth."""
    newly: Any = np.int32(0)
    one = np.uint8(1)
    for i in range(size):
        p = 3 * i
        # x + 1 wraps 255 to 0: a channel at either end is one that is then at most 1.
        clipped = (
            (np.uint8(prediction[p] + one) <= one)
            | (np.uint8(prediction[p + 1] + one) <= one)
            | (np.uint8(prediction[p + 2] + one) <= one)
        )
        was_inside = (
            (np.uint8(truth[p] + one) > one)
            & (np.uint8(truth[p + 1] + one) > one)
            & (np.uint8(truth[p + 2] + one) > one)
        )
        newly = np.int32(newly + np.int32(clipped & was_inside))
    return np.int64(newly)


@kernel_helper(fastmath=_FAST)
def _cells_of(a: Any, b: Any, size: int, cell: Any) -> None:
    """Cell of each colour, that of the second half of the table where an edge is so close that float32 cannot tell."""
    for i in range(size):
        u, v = a[i] + _ORIGIN32, b[i] + _ORIGIN32
        whole_u, whole_v = np.floor(u), np.floor(v)
        # Distance from the middle of the cell along the nearer axis: near 1/2 is near an edge.
        off_u, off_v = abs(u - whole_u - _HALF), abs(v - whole_v - _HALF)
        place = whole_u * _CELLS32 + whole_v
        limit = _HALF - UNSURE
        cell[i] = np.int32(place if (off_u < limit) & (off_v < limit) else place + _ALL_CELLS)


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
def _least(values: Any, size: int) -> Any:
    least: Any = np.int32(0)
    for i in range(size):
        least = values[i] if values[i] < least else least
    return least


@kernel_helper()
def _largest(values: Any, size: int) -> Any:
    largest: Any = np.int32(0)
    for i in range(size):
        largest = values[i] if values[i] > largest else largest
    return largest


def work_space() -> tuple[Any, Any]:
    """Chunks for `count_pair`, of one thread: seven of float32, two of int32."""
    return np.empty(7 * _CHUNK, np.float32), np.empty(2 * _CHUNK, np.int32)


@kernel(fastmath=_FAST)
def count_pair(
    truth_rgb: Any,
    first_bin_of: Any,
    candidates: Any,
    offsets: Any,
    centers: Any,
    floats: Any,
    whole_numbers: Any,
    n: int,
    lab: Any,
    first_bins: Any,
    prepare: bool,
    count: bool,
    rgb: Any,
    begin: int,
    end: int,
    packed: Any,
) -> tuple[int, int, float]:
    """Add pixels begin..end (at most MAX_PIXELS) of one pair to `packed` (int64, Q * N_BINS + SPARE).

    Both steps in one kernel, chunk by chunk while the chunk is in the cache, and since what they share takes longest to
    compile.

    Parameters
    ----------
    truth_rgb, rgb : ndarray of uint8, shape (3 n,)
    first_bin_of, candidates, offsets : ndarray of int32
        See `evalkit.color.ab_classes.AbClasses.cell_table`; in the first, N_BINS times the class.
    centers : ndarray of float64
        Of the classes, flat.
    floats, whole_numbers : ndarray
        What `work_space` gives.
    n : int
        Pixels of the image.
    lab, first_bins : ndarray of float32, shape (3 n,), and of int32, shape (n,)
        Lab and N_BINS times the class of each pixel of the truth: filled with `prepare`, else read.
    prepare, count : bool
        Which of the two steps to take.

    Returns
    -------
    lightness : int
        Sum of |dL| in steps of 1 / `LIGHTNESS_SCALE`.
    newly : int
        Pixels with a channel newly at 0 or 255.
    chroma : float
        With `prepare`, the largest of the truth.
    """
    table, exact_table = pointer_to(_TABLE32), pointer_to(_TABLE64)
    linear = pointer_to(floats)
    lightness, a = pointer_at(linear, 3 * _CHUNK), pointer_at(linear, 4 * _CHUNK)
    b, error = pointer_at(linear, 5 * _CHUNK), pointer_at(linear, 6 * _CHUNK)
    places = pointer_to(whole_numbers)
    fixed = pointer_at(places, _CHUNK)
    first_of, sums, spare = pointer_to(first_bin_of), pointer_to(packed), np.int32(packed.size - SPARE)
    total_dl: Any = 0
    newly: Any = 0
    largest: Any = np.float32(0.0)
    for start in range(begin, end, _CHUNK):
        size = end - start if end - start < _CHUNK else _CHUNK
        truth, prediction = pointer_at(pointer_to(truth_rgb), 3 * start), pointer_at(pointer_to(rgb), 3 * start)
        true_lightness = pointer_at(pointer_to(lab), start)
        true_a, true_b = pointer_at(true_lightness, n), pointer_at(true_lightness, 2 * n)
        firsts = pointer_at(pointer_to(first_bins), start)
        if prepare:
            _lab_chunk(truth, size, linear, table, true_lightness, true_a, true_b)
            square = _largest_square(true_a, true_b, size, error)
            largest = square if square > largest else largest
            _cells_of(true_a, true_b, size, places)
            # No branch a pixel, here and below: the few that cannot be told are looked for afterwards.
            for i in range(size):
                firsts[i] = first_of[places[i]]
            for j in range(0, size, _GROUP):
                group = size - j if size - j < _GROUP else _GROUP
                if _least(pointer_at(firsts, j), group) < 0:
                    for i in range(j, j + group):
                        if firsts[i] < 0:
                            firsts[i] = N_BINS * _class_exact(
                                truth, i, exact_table, pointer_to(candidates), pointer_to(offsets), pointer_to(centers)
                            )
        if not count:
            continue
        _lab_chunk(prediction, size, linear, table, lightness, a, b)
        _errors(a, b, true_a, true_b, firsts, spare, size, error, places, fixed)
        total_dl += _sum_of_changes(lightness, true_lightness, size)
        newly += _newly_clipped(truth, prediction, size)
        # Three places of the chunk by turns: neighbours are often alike, and to add to a cell waits for the last sum.
        third = size // 3
        for i in range(third):
            j, k = i + third, i + 2 * third
            sums[places[i]] += _ONE_PIXEL + np.int64(fixed[i])
            sums[places[j]] += _ONE_PIXEL + np.int64(fixed[j])
            sums[places[k]] += _ONE_PIXEL + np.int64(fixed[k])
        for i in range(3 * third, size):
            sums[places[i]] += _ONE_PIXEL + np.int64(fixed[i])
        for j in range(0, size, _GROUP):
            group = size - j if size - j < _GROUP else _GROUP
            if _largest(pointer_at(places, j), group) >= spare:
                for i in range(j, j + group):
                    if places[i] >= spare:
                        k, value = _error_exact(truth, prediction, i, exact_table)
                        sums[firsts[i] + k] += _ONE_PIXEL + value
    return total_dl, newly, math.sqrt(largest)


@kernel()
def unpack(packed: Any, keys: Any, counts: Any, class_ids: Any, class_counts: Any, error_sums: Any) -> tuple[int, int]:
    """Move the packed cells that are not empty to sparse arrays and empty them.

    Returns the number of cells (in `keys`, `counts`) and of classes (in the last three).
    """
    cells, classes = 0, 0
    cell_keys, cell_counts = pointer_to(keys), pointer_to(counts)
    ids, class_pixels, class_errors = pointer_to(class_ids), pointer_to(class_counts), pointer_to(error_sums)
    for row in range(packed.size // N_BINS):
        row_cells = pointer_at(pointer_to(packed), row * N_BINS)
        anything = 0
        for k in range(N_BINS):
            anything |= row_cells[k]
        if anything == 0:
            continue
        pixels, errors = 0, 0
        for k in range(N_BINS):
            value = row_cells[k]
            if value != 0:
                cell_keys[cells] = row * N_BINS + k
                cell_counts[cells] = value >> COUNT_SHIFT
                pixels += value >> COUNT_SHIFT
                errors += value & ((1 << COUNT_SHIFT) - 1)
                row_cells[k] = 0
                cells += 1
        ids[classes] = row
        class_pixels[classes] = pixels
        class_errors[classes] = errors
        classes += 1
    return cells, classes
