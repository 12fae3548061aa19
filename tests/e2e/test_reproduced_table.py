"""The table of variants from photos alone: colours, scores, a rehearsed human test, the report; one command."""

from __future__ import annotations

import csv
from pathlib import Path

from click.testing import CliRunner

from evalkit.cli import main
from evalkit.colorizers.variants import VARIANTS
from evalkit.demo.photos import photo_crops
from evalkit.images.image_files import write_png


def test_one_command_makes_every_column_of_the_table(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth", tmp_path / "table"
    truth.mkdir()
    for name, crop in photo_crops():
        write_png(truth / f"{name}.png", crop)
    words = ["reproduce", "--truth", str(truth), "--out", str(out), "--simulate", "8", "--device", "cpu"]
    result = CliRunner().invoke(main, [*words, "--metrics", "ab_auc,ab_auc_rebal", "--bootstrap", "100"])
    assert result.exit_code == 0, result.output
    with (out / "report" / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["published"] == "0"}
    assert {"gray", "random", *VARIANTS} <= rows.keys()
    for variant in VARIANTS:
        assert 0.5 < float(rows[variant]["ab_auc"]) < 1
        assert 0.3 < float(rows[variant]["ab_auc_rebal"]) < 1
        assert 0 <= float(rows[variant]["fooled"]) < 0.7
    assert "simulated observers" in (out / "report" / "report.html").read_text(encoding="utf-8")


def test_a_rehearsal_and_the_answers_of_people_exclude_each_other(tmp_path: Path) -> None:
    words = [
        "reproduce",
        "--truth",
        str(tmp_path),
        "--out",
        str(tmp_path / "x"),
        "--simulate",
        "8",
        "--trials",
        "t.csv",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "--trials and --simulate exclude each other" in result.stderr
    assert not (tmp_path / "x").exists()
