# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Labels, weights, classifiers and devices on the command line of the scoring run."""

from __future__ import annotations

import importlib.util
import json

import pytest
from click.testing import CliRunner
from scoring_folders import photo_set  # noqa: F401 (fixture)

from evalkit.commands.score import score_command
from tests.conftest import require

OWN = "tests.evalkit.classifiers_for_tests"


@pytest.fixture
def run(photo_set, tmp_path):
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    labels = tmp_path / "val.txt"
    labels.write_text("".join(f"i{k:02d}.png {k % 10}\n" for k in range(70)))

    def command(*words, labels=labels):
        common = ["--truth", str(photo_set / "truth"), "--method", f"vivid={photo_set / 'vivid'}"]
        options = ["--out", str(tmp_path / "out"), "--bootstrap", "0", "--workers", "1", "--overwrite"]
        return CliRunner().invoke(score_command, [*common, *options, "--labels", str(labels), *words])

    return command


def test_a_classifier_of_ones_own_is_scored_by_its_name(run):
    words = ["--classifier", f"tiny={OWN}:tiny", "--preprocess", "tiny=warp40", "--batch-size", "5", "--device", "cpu"]
    result = run(*words, "--metrics", "tiny_top1,tiny_top5", "--precision", "bf16", "--json")
    assert result.exit_code == 0, result.output
    rows = {(row["method"], row["metric"]): row for row in json.loads(result.output)["summary"]}
    assert set(rows) == {
        (method, f"tiny_top{k}{kept}") for method in ("truth", "vivid") for k in (1, 5) for kept in ("", "_kept")
    }
    assert 0 < rows["vivid", "tiny_top5"]["value"] < 1
    for field in ("prep:warp40-bilinear-imagenet", "prec:bf16"):
        assert field in rows["vivid", "tiny_top1"]["signature"]


def test_missing_weights_are_told_before_the_run_and_in_the_table(run, monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    result = run("--metrics", "vgg16_top1,psnr_rgb")
    assert result.exit_code == 0, result.output
    assert "vgg16_top1, vgg16_top1_kept will stay unscored: the weights of vgg16 are not there" in result.stderr
    assert "unscored" in result.stdout
    assert run("--metrics", "vgg16_top1", "--quiet").output == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "vgg16.pth"], r"--weights vgg16.pth: expected NAME=FILE."),
        (["--weights", "vgg16=a", "--weights", "vgg16=b"], "--weights: vgg16 is given twice."),
        (["--classifier", "tiny="], "--classifier tiny=: expected NAME=package.module:function."),
        (["--weights", "vgg16=none.pth"], "--weights vgg16=none.pth: no such file."),
        (["--device", "gpu"], "device 'gpu' is unknown"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, words, message):
    result = run("--metrics", "vgg16_top1", *words)
    assert message in str(result.exception)


@pytest.mark.parametrize("size", ["0", "many", "-3"])
def test_a_batch_size_is_auto_or_a_number(run, size):
    result = run("--batch-size", size)
    assert result.exit_code == 2
    assert "allowed are auto and whole numbers from 1" in result.output
