"""A preset chooses metrics, size and definitions; what is given beside it wins; signatures are printed."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import evalkit
from evalkit.commands.score import score_command
from evalkit.errors import InputError
from evalkit.metrics import load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.scoring.presets import PRESETS, load_preset


def test_the_metrics_of_every_preset_exist():
    older = {"zhang2016", "larsson2016", "su2020", "deshpande2017", "anwar2022"}
    assert set(PRESETS) == older | {"ct2-2022", "colorformer2022", "ddcolor2023", "deoldify-video", "ntire2023"}
    for preset in PRESETS.values():
        for name in preset.metrics:
            assert load_metric(name).name == name


def test_unknown_presets_are_told_the_nearest():
    with pytest.raises(InputError, match="did you mean 'zhang2016'"):
        load_preset("zhang16")
    with pytest.raises(InputError, match="allowed are zhang2016, larsson2016"):
        load_preset("x")


@pytest.fixture
def run(tmp_path, photos):
    for side, saturation in (("truth", 1.0), ("mine", 0.5)):
        (tmp_path / side).mkdir()
        for k, name in enumerate(("astronaut", "coffee", "chelsea")):
            crop = photos[name][: 80 + k, :90].astype(float)
            gray = crop.mean(axis=2, keepdims=True)
            pixels = np.rint(gray + saturation * (crop - gray)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{name}.png")

    def command(*words):
        out = tmp_path / "out"
        common = ["--truth", str(tmp_path / "truth"), "--method", f"mine={tmp_path / 'mine'}", "--out", str(out)]
        result = CliRunner().invoke(
            score_command, [*common, "--bootstrap", "0", "--workers", "1", "--overwrite", *words]
        )
        assert result.exception is None, result.exception
        return result.output, evalkit.Scores.read(out)

    return command


def test_zhang2016_is_the_quadrature_of_the_published_scripts_at_256(run, tmp_path):
    output, found = run("--preset", "zhang2016")
    assert found.metrics == ("ab_auc", "ab_auc_rebal")
    assert "vgg16_top1 of the preset needs the true classes and is left out: give --labels FILE" in output
    wanted = evalkit.score(
        tmp_path / "truth",
        {"mine": tmp_path / "mine"},
        metrics=("ab_auc", "ab_auc_rebal"),
        size=256,
        options=AbErrorOptions(quadrature="thresholds"),
        n_bootstrap=0,
    )
    assert found.summary_csv() == wanted.summary_csv()
    for row in wanted.summary:
        assert row.signature in output
    assert "size:256-warp-bicubic" in output


def test_what_is_given_beside_it_wins(run):
    _, found = run("--preset", "zhang2016", "--size", "64", "--quadrature", "exact", "--metrics", "ab_auc")
    assert found.metrics == ("ab_auc",)
    assert "size:64-warp-bicubic" in found.summary[0].signature
    assert "quad:exact150" in found.summary[0].signature


def test_larsson2016_scores_files_as_they_are_and_says_what_differs(run):
    output, found = run("--preset", "larsson2016")
    assert found.metrics == ("ab_rmse", "psnr_rgb")
    assert "size:native" in found.summary[0].signature
    assert "compare orders, not values" in output


def test_anwar2022_warns_of_its_weak_metrics(run):
    output, _ = run("--preset", "anwar2022")
    assert "uiqm was made for underwater photos" in output


@pytest.mark.parametrize(
    ("name", "size"),
    [("ct2-2022", "256-crop-bicubic"), ("colorformer2022", "256-crop-bicubic"), ("ddcolor2023", "256-warp-bicubic")],
)
def test_the_papers_on_val5k_crop_and_those_on_whole_sets_warp(run, name, size):
    output, found = run("--preset", name)
    assert {"fid", "colorfulness_diff", "colorfulness_set_diff", "psnr_rgb"} <= set(found.metrics)
    psnr = next(row for row in found.summary if row.metric == "psnr_rgb")
    assert f"|size:{size}|" in psnr.signature
    assert "colorfulness_set_diff" in output
    _, other = run("--preset", name, "--fit", "warp" if "crop" in size else "crop")
    changed = next(row for row in other.summary if row.metric == "psnr_rgb")
    assert size not in changed.signature
    assert changed.value != psnr.value


def test_the_documentation_lists_every_preset():
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "how-to" / "paper-presets.md").read_text()
    for name in PRESETS:
        assert f"| `{name}` |" in page
