"""A damaged file of a finished run is a sentence with exit status 2, whoever reads it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.scoring.score_folder import read_score_folder

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two methods on three images."""
    root = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    for name in ("truth", "one", "two"):
        (root / name).mkdir()
        for k in range(3):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / name / f"{k}.png")
    run("score", "--truth", root / "truth", "--method", f"one={root / 'one'}", "--method", f"two={root / 'two'}",
        "--metrics", "ab_auc,psnr_rgb", "--out", root / "run")  # fmt: skip
    return root / "run"


@pytest.fixture
def damaged(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "damaged")


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def told(*arguments):
    """What a command says that ends with exit status 2."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize(
    "content", ["", '{"methods"', DEEP, "[]", "\udcff"], ids=["empty", "cut", "deep", "list", "bytes"]
)
def test_a_damaged_record_is_told_by_every_reader(damaged, finished, tmp_path, content):
    (damaged / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    for arguments in (
        ("report", "--scores", damaged, "--out", tmp_path / "report"),
        ("figure", "gallery", "--scores", damaged, "--out", tmp_path / "gallery.png"),
        ("compare", damaged, finished),
        ("rescore", damaged, "--out", tmp_path / "rescored"),
        ("merge", damaged, finished, "--out", tmp_path / "merged"),
    ):
        assert "run.json" in told(*arguments), arguments
    assert not (tmp_path / "report").exists()


def test_damaged_values_of_images_are_told(damaged, tmp_path):
    path = damaged / "per_image.parquet"
    path.write_bytes(path.read_bytes()[:60])
    sentence = told("report", "--scores", damaged, "--out", tmp_path / "report")
    assert "per_image.parquet: cannot be read" in sentence
    assert "evalkit rescore" in sentence


@pytest.mark.parametrize("kept", [0, 40, 200, -100, -300])
def test_a_summary_that_was_cut_off_is_told_and_no_method_is_lost(damaged, tmp_path, kept):
    path = damaged / "summary.csv"
    path.write_text(path.read_text()[:kept])
    assert "summary.csv: is cut off or damaged" in told("report", "--scores", damaged, "--out", tmp_path / "report")


@pytest.mark.parametrize("kept", [30, 400])
def test_curves_that_were_cut_off_inside_a_row_are_told(damaged, kept):
    path = damaged / "curves.csv"
    text = path.read_text()
    path.write_text(text[: text.index(",", kept)])
    with pytest.raises(InputError, match="is cut off or damaged"):
        read_score_folder(damaged)
