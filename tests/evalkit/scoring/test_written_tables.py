"""Names of images go into tables that spreadsheets open: none of them is run as a formula."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import evalkit

NAMES = ("=1+i027", "+2", "-3", "@sum", "plain", "a=b")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formulas")
    rng = np.random.default_rng(0)
    for side in ("truth", "mine"):
        (folder / side).mkdir()
        for name in NAMES:
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / side / f"{name}.png")
    evalkit.score(
        folder / "truth", {"mine": folder / "mine"}, out=folder / "out", metrics=("psnr_rgb",), n_bootstrap=0,
        per_image_csv=True,
    )  # fmt: skip
    return folder / "out"


def test_no_cell_of_a_csv_file_begins_like_a_formula(out: Path) -> None:
    for path in out.glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), (path.name, cell)
                    assert not cell.startswith("-") or float(cell) < 0


def test_the_names_are_guarded_in_csv_and_kept_in_parquet(out: Path) -> None:
    with (out / "per_image.csv").open(newline="") as file:
        names = {row["image"] for row in csv.DictReader(file)}
    assert names == {f"'{name}" if name[0] in "=+-@" else name for name in NAMES}
    assert set(pq.read_table(out / "per_image.parquet")["image"].to_pylist()) == set(NAMES)
