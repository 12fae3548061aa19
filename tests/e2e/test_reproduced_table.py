"""The table of variants from photos alone: colours, scores, a rehearsed human test, the report; one command."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.colorizers.classical.methods import CLASSICAL
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
    assert {"truth", "gray", "random", *VARIANTS} <= rows.keys()
    assert float(rows["truth"]["ab_auc"]) == float(rows["truth"]["ab_auc_rebal"]) == 1
    # The paper's own comparison: every row against the network without rebalancing, paired.
    with (out / "report" / "metric_differences.csv").open(newline="", encoding="utf-8") as file:
        assert {row["baseline"] for row in csv.DictReader(file)} == {"classification"}
    for variant in VARIANTS:
        assert 0.5 < float(rows[variant]["ab_auc"]) < 1
        assert 0.3 < float(rows[variant]["ab_auc_rebal"]) < 1
        assert 0 <= float(rows[variant]["fooled"]) < 0.7
    assert "simulated observers" in (out / "report" / "report.html").read_text(encoding="utf-8")


def test_with_classical_adds_the_four_baselines_before_networks(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth", tmp_path / "table"
    truth.mkdir()
    for name, crop in islice(photo_crops(), 3):
        write_png(truth / f"{name}.png", crop[:64, :64])
    words = ["reproduce", "--truth", str(truth), "--out", str(out), "--with-classical", "--baseline", "gray"]
    words += ["--device", "cpu", "--metrics", "ab_auc", "--bootstrap", "100"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    with (out / "report" / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["published"] == "0"}
    assert {"truth", "gray", "random", *VARIANTS, *CLASSICAL} == rows.keys()
    for told_the_truth in ("levin2004", "luan2007"):
        assert float(rows[told_the_truth]["ab_auc"]) > float(rows["gray"]["ab_auc"])
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output
    assert "0 images by luan2007, 3 were there already" in again.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--baseline", "levin2004"], "--baseline is 'levin2004'; allowed are gray, random, l2"),
        (["--example", "photo.png"], "--example goes with --with-classical"),
    ],
)
def test_what_does_not_go_together_is_said_before_any_work(words: list[str], sentence: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["reproduce", "--truth", str(tmp_path), "--out", str(tmp_path / "x"), *words])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (tmp_path / "x").exists()


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
