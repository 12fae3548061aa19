"""`evalkit cite`: what to cite for a run, and its signatures in short."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import evalkit
from evalkit.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of two images by three metrics."""
    root = tmp_path_factory.mktemp("cited")
    (root / "truth").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for k, image in enumerate(pixels):
        Image.fromarray(image).save(root / "truth" / f"{k}.png")
    evalkit.score(root / "truth", {"gray": None}, out=root / "out", metrics=("ab_auc", "ssim_rgb", "psnr_rgb"))
    return root / "out"


def test_entries_go_to_standard_output_and_short_signatures_beside_it(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["cite", str(run)])
    assert result.exit_code == 0, result.output
    cited = re.findall(r"^@\w+\{(\w+),", result.stdout, flags=re.MULTILINE)
    assert cited == ["evalkit", "zhang2016colorful", "wang2004image"]
    assert re.fullmatch(r"ab_auc\+ssim_rgb\+psnr_rgb\|set:own@\w{8}\|n:2\|def:\d+\|v:\S+\n", result.stderr)

    into = tmp_path / "references.bib"
    written = CliRunner().invoke(main, ["cite", str(run), "--out", str(into), "--quiet"])
    assert (written.stdout, written.stderr) == (f"Wrote {into}.\n", "")
    assert into.read_text() == result.stdout


def test_what_is_no_run_is_refused_in_a_sentence(run: Path, tmp_path: Path) -> None:
    for words, sentence in (
        ([str(tmp_path)], f"{tmp_path}"),
        ([str(run), "--out", str(tmp_path)], "is a folder; a file such as"),
    ):
        result = CliRunner().invoke(main, ["cite", *words])
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert "Traceback" not in result.output
