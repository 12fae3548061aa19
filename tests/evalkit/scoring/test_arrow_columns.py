"""Columns of Arrow tables: what `pyarrow.array` and `to_numpy` give, without pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evalkit.scoring.arrow_columns import list_column, number_column, values_of


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["a", None, "", "żółw", "a/b.png"], pa.string()),
        ([1, None, -3], pa.int64()),
        ([0.5, None, -0.0], pa.float64()),
        ([True, None, False, True, True, False, False, True, True], pa.bool_()),
        ([False] * 8 + [None], pa.bool_()),
        ([], pa.string()),
        ([], pa.bool_()),
        ([None, None], pa.int64()),
    ],
)
def test_lists_become_the_columns_of_pyarrow(values: list[object], type_: pa.DataType) -> None:
    column = list_column(values, type_)
    column.validate(full=True)
    assert column.equals(pa.array(values, type_))
    assert column.null_count == values.count(None)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.int64, np.float32, np.float64])
def test_numbers_become_the_columns_of_pyarrow_and_come_back(kind: type[np.generic]) -> None:
    values = np.arange(23).astype(kind)
    for part in (values, values[::3], values[:0]):
        column = number_column(part)
        column.validate(full=True)
        assert column.equals(pa.array(part))
        np.testing.assert_array_equal(values_of(column), part)
        assert values_of(column).dtype == kind
    missing = values > 3
    assert number_column(values, missing=missing).equals(pa.array(values, mask=missing))


def test_a_number_that_a_column_cannot_hold_is_an_error() -> None:
    assert number_column(np.array([65_535]), pa.uint16()).equals(pa.array([65_535], pa.uint16()))
    with pytest.raises(pa.ArrowInvalid):
        number_column(np.array([65_536]), pa.uint16())


def test_values_of_parts_of_columns() -> None:
    truths = pa.array([True, False, True, True, False, False, True, False, True, True])
    np.testing.assert_array_equal(values_of(truths[3:]), truths[3:].to_numpy(zero_copy_only=False))
    numbers = pa.chunked_array([[1.5, 2.5], [], [3.5]])
    np.testing.assert_array_equal(values_of(numbers[1:]), [2.5, 3.5])
    np.testing.assert_array_equal(values_of(pa.chunked_array([[1, None]])), [1.0, np.nan])


SCORED = """
import sys
from evalkit.scoring.run import score
scores = score("truth", {"mine": "mine"}, out="out", n_bootstrap=0)
assert scores["mine", "ab_auc"].value > 0
print("pandas" in sys.modules)
"""


def test_scoring_does_without_pandas(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side in ("truth", "mine"):
        (tmp_path / side).mkdir()
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(tmp_path / side / "a.png")
    scored = subprocess.run([sys.executable, "-c", SCORED], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert scored.stdout == "False\n"
