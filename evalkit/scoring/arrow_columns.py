"""Columns of Arrow tables out of numpy arrays and lists, and back, without pandas.

`pyarrow.array`, `pyarrow.scalar` and `to_numpy` import pandas, wherever that is installed, to ask whether they have to do
with something of it: a third of a second of every process that writes or reads statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evalkit.arrays import BoolArray

__all__ = ["list_column", "number_column", "values_of"]


def number_column(
    values: npt.NDArray[Any], type_: pa.DataType | None = None, *, missing: BoolArray | None = None
) -> pa.Array:
    """Numbers or truth values as a column.

    Parameters
    ----------
    values : ndarray, shape (n,)
    type_ : pyarrow.DataType, optional
        Of the column; by default that of the values. A value that it cannot hold is an error.
    missing : ndarray of bool, shape (n,), optional
        Where the column is null.
    """
    own = pa.from_numpy_dtype(values.dtype)
    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    column = pa.Array.from_buffers(own, len(values), [_validity(missing), pa.py_buffer(data)])
    return column if type_ is None or type_ == own else column.cast(type_)


def list_column(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Strings, numbers or truth values as a column; None is null."""
    missing = np.array([value is None for value in values], bool)
    if type_ != pa.string():
        kind = np.bool_ if type_ == pa.bool_() else np.float64 if pa.types.is_floating(type_) else np.int64
        numbers = np.array([0 if value is None else value for value in values], kind)
        return number_column(numbers, type_, missing=missing)
    texts = [b"" if value is None else value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int32)
    buffers = [_validity(missing), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(type_, len(texts), buffers)


def _validity(missing: BoolArray | None) -> pa.Buffer | None:
    """A bit per value, set where there is one; nothing where all are there."""
    if missing is None or not missing.any():
        return None
    return pa.py_buffer(np.packbits(~missing, bitorder="little"))


def values_of(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Numbers or truth values of a column, not to be written to; null among numbers becomes NaN."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if array.type != pa.bool_():
        return np.from_dlpack(array)
    bits = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.zeros(0, np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(np.bool_)
