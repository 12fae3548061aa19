"""Whatever is given where a file or a folder is expected: one plain sentence, exit status 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.images.image_files import write_png

COMMANDS = (
    "validate-metrics scores --human WRONG",
    "compare WRONG scores",
    "compare scores WRONG --out out",
    "rescore WRONG --out out",
    "merge scores WRONG --out out",
    "score --truth truth --method mine=mine --metrics ab_auc_rebal --prior WRONG --out out",
    "score --truth truth --method mine=mine --metrics ab_auc --images WRONG --out out",
    "score --truth truth --method mine=mine --metrics vgg16_top1 --labels WRONG --out out",
    "score --truth WRONG --method mine=mine --metrics ab_auc --out out",
    "score --truth truth --method mine=WRONG --metrics ab_auc --out out",
    "lint --truth WRONG --method mine=mine",
    "prior --input WRONG --out out",
    "hints --input WRONG --output out",
    "hint-curve --truth WRONG --method mine=mine --out out",
    "hint-curve --truth truth --method mine=WRONG --out out",
    "colorize gray --input WRONG --output out",
    "colorize levin2004 --input truth --hints WRONG --output out",
    "datasets ctest10k --labels WRONG --out out",
    "analyze WRONG --out out",
    "plan --from WRONG",
    "report --scores WRONG --out out",
    "report --trials WRONG --out out",
    "report --scores scores --groups WRONG --out out",
    "leaderboard WRONG --out out",
    "leaderboard scores --add WRONG --out out",
    "figure curves --scores WRONG --out out.pdf",
    "cite WRONG",
    "study create out --truth WRONG --method mine=mine",
    "study create out --truth truth --method mine=WRONG",
    "study serve WRONG",
    "study audit WRONG",
    "study freeze WRONG",
    "study simulate WRONG",
    "study export WRONG --out out",
    "study people WRONG",
    "study backup WRONG --out out",
)
TECHNICAL = ("Errno", "codec", "Error(", "pickle", "NoneType", "Traceback", "<class")
"""What is meant for programmers."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, colorizations and a finished run; an image, an empty folder and a text to be given in the wrong place."""
    top = tmp_path_factory.mktemp("wrong-files")
    rng = np.random.default_rng(0)
    for name in ("truth", "mine"):
        (top / name).mkdir()
        for k in range(4):
            write_png(top / name / f"{k}.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    (top / "nothing").mkdir()
    (top / "words.csv").write_text("these,are\nno,numbers\n", encoding="utf-8")
    words = f"--truth {top / 'truth'} --method mine={top / 'mine'} --metrics psnr_rgb,ab_auc --out {top / 'scores'}"
    assert CliRunner().invoke(main, ["score", "--quiet", *words.split()]).exit_code == 0
    return top


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_file_is_one_plain_sentence(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    for wrong in ("truth/0.png", "words.csv", "nothing", "absent"):
        result = CliRunner().invoke(main, command.replace("WRONG", wrong).split(), prog_name="evalkit")
        assert result.exit_code == 2, (wrong, result.output, result.exception)
        *_, sentence = result.stderr.strip().split("\n")
        assert sentence.startswith("Error: "), (wrong, result.stderr)
        assert sentence.endswith("."), sentence
        assert not [word for word in TECHNICAL if word in sentence], sentence
    assert sorted(folder.rglob("*")) == before
