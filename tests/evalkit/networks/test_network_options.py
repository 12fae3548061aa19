# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Labels, weights, classifiers and devices on the command line of the scoring run."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scoring_folders import photo_set  # noqa: F401 (fixture)

import evalkit
from evalkit.commands.colorize import colorize_command
from evalkit.commands.score import score_command
from evalkit.errors import InputError
from evalkit.metrics.base import ImageStatistics
from evalkit.metrics.classification import accuracy_metric
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.estimates import estimate
from tests.conftest import require

OWN = "tests.evalkit.classifiers_for_tests"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": 5}, "labels is int; a path is needed"),
        ({"labels": {"a": 1}}, "labels is dict; a path is needed"),
        ({"weights": "x.pth"}, "weights is str; a mapping by the name of a network is needed"),
        ({"weights": {"vgg16": None}}, "weights['vgg16'] is NoneType; a path is needed"),
        ({"classifiers": "vgg16"}, "classifiers is str; a mapping by the name of a network is needed"),
        ({"classifiers": {"mine": 5}}, "classifiers['mine'] is int; a text is needed"),
        ({"preprocessing": {"vgg16": 227}}, "preprocessing['vgg16'] is int; a text is needed"),
        ({"batch_size": 0}, "batch_size is 0; a whole number, at least 1, is needed"),
        ({"batch_size": "8"}, "batch_size is '8'; a whole number, at least 1, is needed"),
        ({"precision": "fp8"}, "precision 'fp8' is unknown; allowed: fp32, bf16, fp16"),
        ({"precision": None}, "precision None is unknown; allowed: fp32, bf16, fp16"),
        ({"device": "foo"}, "device 'foo' is unknown; allowed: auto, cpu, cuda, cuda:N, mps."),
        ({"device": ""}, "device '' is unknown; allowed: auto"),
        ({"device": None}, "device 'None' is unknown; allowed: auto"),
        ({"device": "cuda:x"}, "device 'cuda:x' is unknown; allowed: auto"),
        ({"cache": 5}, "cache is int; a path is needed"),
    ],
)
def test_wrong_options_are_refused_where_they_are_made(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        NetworkOptions(**options)  # type: ignore[arg-type]


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
    for field in ("prep:warp40-bilinear-imagenet", "prec:bf16+fp32"):
        assert field in rows["vivid", "tiny_top1"]["signature"]


def test_missing_weights_are_told_before_the_run_and_in_the_table(run, monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    result = run("--metrics", "vgg16_top1,psnr_rgb")
    assert result.exit_code == 0, result.output
    assert "vgg16_top1, vgg16_top1_kept will stay unscored: the weights of vgg16 are not there" in result.stderr
    assert "unscored" in result.stdout
    quiet = run("--metrics", "vgg16_top1,psnr_rgb", "--quiet")  # of the truth's infinite PSNR nothing need be said
    assert quiet.stdout == ""
    assert quiet.stderr.startswith("vgg16_top1, vgg16_top1_kept: unscored: the weights of vgg16 are not there")
    assert len(quiet.stderr.splitlines()) == 1


def test_an_unscored_number_has_its_reason_in_every_file(run, monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    result = run("--metrics", "vgg16_top1,psnr_rgb")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())["unscored"]
    reason_of = {(entry["method"], entry["metric"]): entry["reason"] for entry in recorded}
    for row in rows:
        assert row["reason"] == reason_of.get((row["method"], row["metric"]), "")
        assert row["value"] or row["reason"]
        if row["metric"].startswith("vgg16"):
            assert row["value"] == ""
            assert row["reason"].startswith("unscored: the weights of vgg16 are not there")


def test_nothing_kept_of_no_recognised_photo_is_unscored_with_its_reason():
    rank = np.array([4, 9, 2], dtype=np.int32)
    statistics = ImageStatistics(
        images=("a", "b", "c"),
        n_pixels=np.full(3, 100, dtype=np.int64),
        columns={"class_index": np.zeros(3, np.int32), "tiny_class": np.ones(3, np.int32), "tiny_rank": rank,
                 "tiny_probability": np.full(3, 0.1), "tiny_truth_rank": rank},
    )  # fmt: skip
    kept = estimate(accuracy_metric("tiny_top1_kept")(), statistics)
    assert np.isnan(kept.value)
    assert kept.reason == "unscored: the classifier recognises none of the true photos"
    assert estimate(accuracy_metric("tiny_top5_kept")(), statistics).reason == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--metrics", "fid", "--weights", "inception=FILE"],
            "--weights inception=FILE: there is no network 'inception' (did you mean 'inception_fid'?); the metrics of this "
            "run use inception_fid (fid); allowed are",
        ),
        (["--metrics", "lpips_alex", "--weights", "alex=FILE"], "there is no network 'alex' (did you mean 'alexnet'?)"),
        (["--metrics", "lpips_vgg,fid", "--weights", "Vgg=FILE"], "there is no network 'Vgg' (did you mean 'vgg16'?)"),
        (
            ["--metrics", "psnr_rgb", "--weights", "vgg61=FILE"],
            "(did you mean 'vgg16'?); no metric of this run uses one",
        ),
        (
            ["--metrics", "tiny_top1", "--classifier", f"tiny={OWN}:tiny", "--weights", "tiny=FILE"],
            "--weights tiny=FILE: tiny is a classifier of your own, which loads its weights itself.",
        ),
        (
            ["--metrics", "tiny_top1", "--classifier", f"tiny={OWN}:tiny", "--preprocess", "tinny=warp40"],
            "--preprocess tinny=warp40: there is no classifier 'tinny' (did you mean 'tiny'?)",
        ),
        (["--metrics", "fid", "--preprocess", "inception_fid=warp299"], "there is no classifier 'inception_fid'"),
    ],
)
def test_a_name_that_no_network_has_is_refused(run, tmp_path, words, message):
    result = run(*words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--weights", f"inception_v3={__file__}"],
            "--weights inception_v3 is used by no metric of this run; they use no network",
        ),
        (
            ["--preprocess", "vgg16=warp256-crop224"],
            "--preprocess vgg16 is used by no metric of this run; they use no network",
        ),
        (
            ["--classifier", f"tiny={OWN}:tiny"],
            "--classifier tiny is used by no metric of this run; add tiny_top1 or tiny_top5 to the metrics",
        ),
    ],
)
def test_what_no_metric_uses_is_said_and_recorded(run, tmp_path, words, sentence):
    result = run("--metrics", "psnr_rgb", *words)
    assert result.exit_code == 0, result.output
    assert f"{sentence}." in result.stderr
    assert sentence in json.loads((tmp_path / "out" / "run.json").read_text())["warnings"]


def test_arrays_are_measured_under_names_that_networks_have():
    pair = np.zeros((2, 40, 40, 3), np.uint8)
    with pytest.raises(InputError, match=r"there is no network 'alex' \(did you mean 'alexnet'\?\)"):
        evalkit.lpips(pair[0], pair[1], networks=NetworkOptions(weights={"alex": Path("alex.pth")}))


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", ""], "device '' is unknown; allowed: auto, cpu, cuda, cuda:N, mps."),
        (["--device", "foo"], "device 'foo' is unknown; allowed: auto, cpu, cuda, cuda:N, mps."),
        (["--weights", "vgg16=none.pth"], "--weights vgg16=none.pth: no such file."),
        (["--preprocess", "vgg16=foo"], "preprocessing 'foo' is not understood; allowed: shortN-cropM"),
        (["--preprocess", "vgg16=warp8"], "sizes are 16 to 4096 pixels"),
        (["--classifier", "tiny=module"], "--classifier tiny=module: expected package.module:function."),
        (["--labels", "none.csv"], "--labels none.csv: no such file; allowed are a label file, folders and names."),
        (["--image-cache", __file__], "is a file; the cache of images is a folder"),
    ],
)
def test_what_cannot_be_is_refused_also_where_no_metric_uses_it(run, tmp_path, words, message):
    result = run("--metrics", "psnr_rgb", *words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_what_is_no_device_is_refused_before_photos_are_coloured(photo_set, tmp_path):
    for device in ("", "foo"):
        words = ["gray", "--input", str(photo_set / "truth"), "--output", str(tmp_path / "out"), "--device", device]
        result = CliRunner().invoke(colorize_command, words)
        assert f"device '{device}' is unknown; allowed: auto" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu:0", "cuda", "cuda:1", "mps"])
def test_where_nothing_runs_a_device_is_only_named(device):
    assert NetworkOptions(device=device).device == device


@pytest.mark.parametrize("size", ["0", "many", "-3"])
def test_a_batch_size_is_auto_or_a_number(run, size):
    result = run("--batch-size", size)
    assert result.exit_code == 2
    assert "allowed are auto and whole numbers from 1" in result.output
