# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""Methods with several colorizations of a photo: files in both layouts, best of n, diversity."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scoring_folders import contents, photo_set  # noqa: F401 (fixtures)
from skimage.color import rgb2lab

import evalkit
from evalkit.errors import InputError
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.scores import Scores
from tests.conftest import require

METRICS = ("psnr_rgb", "ab_rmse", "diversity_variance")
NAMES = [f"i{k:02d}" for k in range(40)]


@pytest.fixture(scope="module")
def sampled(photo_set, tmp_path_factory):
    """40 photos (two blocks) with three samples of unequal saturation, laid out in both ways."""
    root = tmp_path_factory.mktemp("sampled")
    rng = np.random.default_rng(0)
    (root / "truth").mkdir()
    for name in NAMES:
        source = photo_set / "truth" / f"{name}.png"
        shutil.copy(source, root / "truth")
        pixels = np.asarray(Image.open(source)).astype(float)
        gray = pixels.mean(axis=2, keepdims=True)
        for k in range(3):
            image = Image.fromarray(np.rint(gray + rng.uniform(0, 1) * (pixels - gray)).astype(np.uint8))
            for path in (root / "deep" / name / f"{k}.png", root / "flat" / f"{name}_{k}.png"):
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    return root


@pytest.fixture(scope="module")
def finished(sampled, tmp_path_factory):
    out = tmp_path_factory.mktemp("sampled-out") / "out"
    scores = evalkit.score(
        sampled / "truth", {"ours": sampled / "deep", "gray": None}, out=out, metrics=METRICS, n_bootstrap=200
    )
    return out, scores


def by_sample(scores, metric):
    rows = scores.per_image.to_pylist()
    return np.array([[row[metric] for row in rows if row["method"] == f"ours.{k}"] for k in range(3)], dtype=np.float64)


def value(scores, metric):
    (found,) = [score for score in scores.samples if score.metric == metric]
    return found


def test_every_sample_is_a_method(finished):
    _, scores = finished
    assert scores.methods == ("truth", "ours.0", "ours.1", "ours.2", "gray")
    assert scores.record.samples == {"ours": ("ours.0", "ours.1", "ours.2")}


def test_both_layouts_give_the_same_numbers(sampled, finished):
    flat = evalkit.score(
        sampled / "truth", {"ours": sampled / "flat", "gray": None}, metrics=METRICS, n_bootstrap=200, workers=2
    )
    assert flat.summary_csv() == finished[1].summary_csv()
    assert flat.samples == finished[1].samples


def test_best_of_n_metric_by_metric_and_jointly(finished):
    _, scores = finished
    psnr, rmse = by_sample(scores, "psnr_rgb"), by_sample(scores, "ab_rmse")
    assert value(scores, "psnr_rgb_best_of_3").value == pytest.approx(np.nanmean(psnr.max(axis=0)))
    assert value(scores, "ab_rmse_best_of_3").value == pytest.approx(rmse.min(axis=0).mean())
    assert value(scores, "error_of_best").value == pytest.approx(rmse.min(axis=0).mean())
    chosen = rmse.argmin(axis=0)
    joint = value(scores, "psnr_rgb_joint_best_of_3")
    assert joint.value == pytest.approx(np.nanmean(psnr[chosen, np.arange(40)]))
    assert joint.value <= value(scores, "psnr_rgb_best_of_3").value
    assert joint.ci_low < joint.value < joint.ci_high
    assert "|samples:3|choice:joint-ab_rmse|" in joint.signature
    assert (
        joint.n_images == np.isfinite(psnr[chosen, np.arange(40)]).sum()
    )  # a gray photo is met exactly, which has no finite PSNR


def test_the_variance_is_over_samples_of_pixels_in_lab(sampled, finished):
    _, scores = finished
    wanted = []
    for name in NAMES:
        ab = [rgb2lab(np.asarray(Image.open(sampled / "flat" / f"{name}_{k}.png")))[..., 1:] for k in range(3)]
        wanted.append(np.var(ab, axis=0, ddof=1).mean())
    assert value(scores, "diversity_variance").value == pytest.approx(np.mean(wanted), rel=1e-4)
    assert np.isnan(scores["gray", "diversity_variance"].value)
    assert "one image per photo" in scores["gray", "diversity_variance"].reason


def test_files_and_record_hold_them_and_they_are_computed_again(finished):
    out, scores = finished
    rows = list(csv.DictReader((out / "samples.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"ours"}
    assert json.loads((out / "run.json").read_text())["samples"] == {"ours": ["ours.0", "ours.1", "ours.2"]}
    assert Scores.read(out).samples == scores.samples
    part = scores.rescored(out, images=NAMES[:10])
    assert value(part, "psnr_rgb_best_of_3").value == pytest.approx(
        np.nanmean(by_sample(scores, "psnr_rgb")[:, :10].max(axis=0))
    )


def test_a_number_that_no_image_has_is_unscored_and_without_interval(sampled):
    # MS-SSIM needs images of 176 pixels; these are smaller.
    scores = evalkit.score(
        sampled / "truth", {"ours": sampled / "flat"}, metrics=("ms_ssim_ab", "ab_rmse"), n_bootstrap=200
    )
    best = value(scores, "ms_ssim_ab_best_of_3")
    assert (best.n_images, np.isnan(best.value), np.isnan(best.ci_low)) == (0, True, True)
    assert np.isfinite(value(scores, "error_of_best").ci_low)


def test_the_terminal_shows_them(finished):
    from rich.console import Console

    from evalkit.scoring.score_table import score_json, score_table

    console = Console(width=200, file=io.StringIO())
    console.print(score_table(finished[1]))
    assert "error_of_best" in console.file.getvalue()
    assert len(score_json(finished[1])["samples"]) == len(finished[1].samples)


def test_diversity_in_lpips_over_all_and_consecutive_pairs(sampled, tmp_path):
    for package in ("torch", "torchvision", "lpips"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    from evalkit.metrics.perceptual import Lpips
    from evalkit.networks._torchvision_compat import import_torchvision

    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.save(import_torchvision().models.alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    options = NetworkOptions(weights={"alexnet": tmp_path / "alexnet.pth"}, device="cpu")
    small = tmp_path / "truth"
    small.mkdir()
    for name in NAMES[:3]:
        shutil.copy(sampled / "truth" / f"{name}.png", small)
        shutil.copytree(sampled / "deep" / name, tmp_path / "ours" / name)
    scores = evalkit.score(
        small,
        {"ours": tmp_path / "ours"},
        metrics=("diversity_lpips", "diversity_lpips_consecutive"),
        networks=options,
        n_bootstrap=0,
    )
    lpips = Lpips("alex", options)
    wanted = {"diversity_lpips": [], "diversity_lpips_consecutive": []}
    for name in NAMES[:3]:
        a, b, c = (np.asarray(Image.open(sampled / "deep" / name / f"{k}.png")) for k in range(3))
        wanted["diversity_lpips"].append(np.mean([lpips(a, b), lpips(a, c), lpips(b, c)]))
        wanted["diversity_lpips_consecutive"].append(np.mean([lpips(a, b), lpips(b, c)]))
    for metric, values in wanted.items():
        assert value(scores, metric).value == pytest.approx(np.mean(values), rel=1e-5)
    assert "|pairs:all|" in value(scores, "diversity_lpips").signature


class TestMistakes:
    def run(self, root, folder):
        return evalkit.score(root / "truth", {"ours": root / folder}, metrics=("psnr_rgb",), n_bootstrap=0)

    @pytest.fixture
    def copy(self, sampled, tmp_path):
        return shutil.copytree(sampled, tmp_path / "copy")

    def test_a_missing_sample_is_named(self, copy):
        (copy / "deep" / "i03" / "2.png").unlink()
        with pytest.raises(InputError, match="sample 2 of i03 is missing; every photo needs the same samples"):
            self.run(copy, "deep")

    def test_a_photo_without_samples_is_named(self, copy):
        shutil.rmtree(copy / "deep" / "i03")
        with pytest.raises(InputError, match=r"1 true photo has no samples \(i03\)"):
            self.run(copy, "deep")

    def test_files_of_no_photo_are_named(self, copy):
        shutil.copy(copy / "flat" / "i03_0.png", copy / "flat" / "zebra_0.png")
        with pytest.raises(InputError, match=r"1 of 121 files is samples of no true photo \(zebra_0\)"):
            self.run(copy, "flat")

    def test_diversity_of_single_images_is_refused(self, photo_set):
        with pytest.raises(InputError, match="diversity_variance needs a method with several images per photo"):
            evalkit.score(photo_set / "truth", {"vivid": photo_set / "vivid"}, metrics=("diversity_variance",))


def test_a_list_of_images_takes_the_samples_of_its_photos_alone(sampled, tmp_path):
    (tmp_path / "list.txt").write_text("i05\ni06\n")
    for layout in ("deep", "flat"):
        scores = evalkit.score(
            sampled / "truth", {"ours": sampled / layout}, images=tmp_path / "list.txt", metrics=METRICS, n_bootstrap=0
        )
        assert scores.methods[-3:] == ("ours.0", "ours.1", "ours.2")
        assert {row.n_images for row in scores.summary if row.metric == "ab_rmse"} == {2}
