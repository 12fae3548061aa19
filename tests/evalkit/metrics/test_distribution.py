# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""FID and KID equal torch-fidelity on identical weights, and closed forms on features."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm
from scoring_folders import contents, photo_set  # noqa: F401 (fixtures)

import evalkit
from evalkit.datasets.ctest10k import image_set_field
from evalkit.errors import InputError
from evalkit.metrics.blocks import RunInputs
from evalkit.metrics.fid_kid import frechet_distance, kernel_distance, kernel_sum, unpaired_kernel_distance
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.merging import merge_runs
from evalkit.scoring.scores import Scores
from tests.conftest import require


class TestFrechetDistance:
    def test_of_gaussians_with_known_moments(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(400, 6)), rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 1
        s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
        assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-9)

    def test_fewer_images_than_features_are_exact_too(self):
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(7, 50)), rng.normal(size=(9, 50))
        # Both lie in the span of 16 vectors: the same distance there, where covariances have (almost) full rank.
        basis = np.linalg.qr(np.vstack([x, y]).T)[0]
        assert frechet_distance(x @ basis, y @ basis) == pytest.approx(frechet_distance(x, y), rel=1e-9)

    def test_a_shift_costs_its_square_and_a_set_and_itself_nothing(self):
        x = np.random.default_rng(2).normal(size=(30, 8))
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
        assert frechet_distance(x, x + 2) == pytest.approx(8 * 4)

    def test_one_image_has_no_covariance(self):
        assert np.isnan(frechet_distance(np.zeros((1, 3)), np.zeros((5, 3))))


class TestKernelDistance:
    def test_is_unbiased_sets_of_one_distribution_give_zero_on_average(self):
        rng = np.random.default_rng(0)
        values = [kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4)))[0] for _ in range(300)]
        assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
        assert kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4)) + 2)[0] > 5 * np.std(values)

    @pytest.mark.parametrize("block", [3, 1024])
    def test_leave_one_out_is_the_value_without_each_pair(self, monkeypatch, block):
        import evalkit.metrics.fid_kid as distribution

        monkeypatch.setattr(distribution, "KERNEL_BLOCK", block)
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(10, 5)), rng.normal(size=(10, 5)) + 0.5
        value, without = kernel_distance(x, y)
        for k in range(10):
            assert without[k] == pytest.approx(kernel_distance(np.delete(x, k, 0), np.delete(y, k, 0))[0])
        kernels = [(a @ b.T / 5 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
        own = sum((k.sum() - np.trace(k)) / 90 for k in kernels[:2])
        assert value == pytest.approx(own - 2 * kernels[2].mean())

    def test_too_few_images_are_undefined(self):
        assert np.isnan(kernel_distance(np.zeros((1, 3)), np.zeros((1, 3)))[0])
        assert np.isnan(kernel_distance(np.zeros((2, 3)), np.ones((2, 3)))[1]).all()


class TestUnpairedKernelDistance:
    @pytest.mark.parametrize("block", [3, 1024])
    def test_is_the_unbiased_estimate_and_leaves_one_image_of_the_method_out(self, monkeypatch, block):
        monkeypatch.setattr("evalkit.metrics.fid_kid.KERNEL_BLOCK", block)
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(7, 5)), rng.normal(size=(10, 5)) + 0.5

        def wanted(x, y):
            kernels = [(a @ b.T / 5 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
            own = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2])
            return own - 2 * kernels[2].mean()

        value, without = unpaired_kernel_distance(x, y)
        assert value == pytest.approx(wanted(x, y))
        for k in range(10):
            assert without[k] == pytest.approx(wanted(x, np.delete(y, k, 0)))
        assert unpaired_kernel_distance(x, y, kernel_sum(x))[0] == pytest.approx(value)
        assert unpaired_kernel_distance(y, y)[0] == pytest.approx(kernel_distance(y, y)[0])

    def test_too_few_images_are_undefined(self):
        assert np.isnan(unpaired_kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))[0])
        assert np.isnan(unpaired_kernel_distance(np.zeros((5, 3)), np.zeros((2, 3)))[1]).all()


@pytest.fixture
def torch(monkeypatch, tmp_path):
    for package in ("torch", "torchvision", "torch_fidelity"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one
    return torch


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """torch-fidelity's extractor with seeded weights, and the file of them."""
    for package in ("torch", "torchvision", "torch_fidelity"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path = tmp_path_factory.mktemp("inception") / "seeded.pth"
        with pytest.MonkeyPatch.context() as patch:
            # Its layers at random first: it has no other way to be made without a file.
            patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
            torch.save({}, path)
            torch.manual_seed(0)
            extractor = FeatureExtractorInceptionV3("seeded", ["2048"], str(path))
        # Weights that keep the size of what passes through: the default ones leave features that differ by 1e-8.
        for weight in extractor.parameters():
            if weight.ndim == 4:
                weight.normal_(std=(2 / weight[0].numel()) ** 0.5)
        torch.save(extractor.state_dict(), path)
    return extractor, path


def reference_features(torch, extractor, folder):
    rows = []
    for path in sorted(folder.glob("*.png")):
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            rows.append(extractor(pixels)[0][0])
    return torch.stack(rows)


@pytest.fixture(scope="module")
def small_set(photo_set, tmp_path_factory):
    """The first 12 photos."""
    import shutil

    root = tmp_path_factory.mktemp("small")
    for folder in ("truth", "dull"):
        (root / folder).mkdir()
        for path in sorted((photo_set / folder).iterdir())[:12]:
            shutil.copy(path, root / folder)
    return root


def test_features_fid_and_kid_are_those_of_torch_fidelity(torch, reference, small_set, tmp_path, monkeypatch):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    monkeypatch.setattr("evalkit.scoring.plan.BLOCK_SIZE", 8)  # two blocks
    extractor, path = reference
    scores = evalkit.score(
        small_set / "truth",
        {"dull": small_set / "dull"},
        out=tmp_path / "out",
        metrics=("fid", "kid"),
        networks=NetworkOptions(weights={"inception_fid": path}, device="cpu"),
        n_bootstrap=200,
    )
    truth, dull = (reference_features(torch, extractor, small_set / name) for name in ("truth", "dull"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Its matrix square root takes a minute on 2,048 features; 64 of them show the same.
        statistics = [fid_features_to_statistics(features[:, :64]) for features in (truth, dull)]
        fid_64 = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        kid = kid_features_to_metric(truth, dull, kid_subsets=1, kid_subset_size=12, verbose=False)
    assert frechet_distance(truth[:, :64].numpy(), dull[:, :64].numpy()) == pytest.approx(fid_64, rel=1e-3)
    fid = frechet_distance(truth.numpy(), dull.numpy())
    assert fid_64 > 1e-3
    assert fid > 1e-3
    assert abs(kid["kernel_inception_distance_mean"]) > 1e-6
    assert scores["dull", "fid"].value == pytest.approx(fid, rel=1e-3)
    assert scores["dull", "kid"].value == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-3)
    assert scores["truth", "fid"].value == pytest.approx(0, abs=1e-6 * fid)

    fid_score, kid_score = scores["dull", "fid"], scores["dull", "kid"]
    assert fid_score.n_images == kid_score.n_images == 12
    assert fid_score.reason == ""
    assert np.isnan(fid_score.ci_low)
    assert kid_score.ci_low < kid_score.value < kid_score.ci_high
    assert "|agg:set|net:inception-2048|resize:torch-fidelity|ref:truth|" in fid_score.signature
    assert any("fid of 12 images" in warning for warning in scores.warnings)
    assert Scores.read(tmp_path / "out").summary_csv() == scores.summary_csv()

    subset = scores.rescored(tmp_path / "out", images=[f"i{k:02d}" for k in range(7)])
    wanted = frechet_distance(truth[:7].numpy(), dull[:7].numpy())
    assert subset["dull", "fid"].value == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(InputError, match="at least two finished runs"):
        merge_runs([tmp_path / "out"], tmp_path / "merged")


def test_features_of_truth_and_reference_set_come_from_the_cache_to_the_bit(torch, reference, small_set, tmp_path):
    _, path = reference

    def score(cache):
        networks = NetworkOptions(weights={"inception_fid": path}, device="cpu", batch_size=4, cache=cache)
        return evalkit.score(
            small_set / "truth",
            {"dull": small_set / "dull"},
            metrics=("fid", "kid"),
            networks=networks,
            reference=small_set / "truth",
            n_bootstrap=0,
        )

    scores = {name: score(cache) for name, cache in (("none", None), ("new", tmp_path), ("full", tmp_path))}
    # The reference set are the true photos here: known already when its turn comes.
    assert scores["new"].record.cache["stored"] == scores["new"].record.cache["read"] == 12
    assert scores["full"].record.cache["read"] == 24
    values = {name: [one["dull", metric].value for metric in ("fid", "kid")] for name, one in scores.items()}
    assert values["none"] == values["new"] == values["full"]


@pytest.fixture
def other_photos(photo_set, tmp_path):
    """Twelve photos that are not scored, under names of their own."""
    import shutil

    folder = tmp_path / "training"
    folder.mkdir()
    for path in sorted((photo_set / "truth").iterdir())[20:32]:
        shutil.copy(path, folder / f"train-{path.name}")
    return folder


def test_a_reference_set_takes_the_place_of_the_true_photos(
    torch, reference, small_set, other_photos, tmp_path, monkeypatch
):
    from torch_fidelity.metric_kid import kid_features_to_metric

    monkeypatch.setattr("evalkit.scoring.plan.BLOCK_SIZE", 8)  # two blocks of pairs, two of the reference set
    extractor, path = reference
    networks = NetworkOptions(weights={"inception_fid": path}, device="cpu")

    def score(out, references=other_photos, **options):
        return evalkit.score(
            small_set / "truth", {"dull": small_set / "dull"}, out=out, metrics=("fid", "kid", "psnr_rgb"), n_bootstrap=100,
            networks=networks, reference=references, **options,
        )  # fmt: skip

    images = []
    scores = score(tmp_path / "out", progress=lambda done, total: images.append((done, total)))
    assert images[-1] == (24, 24)
    compared, truth, dull = (
        reference_features(torch, extractor, folder)
        for folder in (other_photos, small_set / "truth", small_set / "dull")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kid = kid_features_to_metric(compared, dull, kid_subsets=1, kid_subset_size=12, verbose=False)
    assert scores["dull", "fid"].value == pytest.approx(frechet_distance(compared.numpy(), dull.numpy()), rel=1e-3)
    assert scores["dull", "kid"].value == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-3)
    assert scores["truth", "fid"].value == pytest.approx(frechet_distance(compared.numpy(), truth.numpy()), rel=1e-3)
    assert scores["dull", "kid"].ci_low < scores["dull", "kid"].value < scores["dull", "kid"].ci_high

    signature = scores["dull", "fid"].signature
    assert f"|ref:{image_set_field([f.stem for f in other_photos.iterdir()])}|" in signature
    assert "|nref:12|" in signature
    assert "ref:" not in scores["dull", "psnr_rgb"].signature
    assert json.loads((tmp_path / "out" / "run.json").read_text())["inputs"].keys() == {
        "truth",
        "method dull",
        "reference",
    }
    assert any(warning.startswith("fid of 12 images: with fewer") for warning in scores.warnings)
    assert Scores.read(tmp_path / "out").summary_csv() == scores.summary_csv()
    subset = scores.rescored(tmp_path / "out", images=[f"i{k:02d}" for k in range(7)])
    wanted = frechet_distance(compared.numpy(), dull[:7].numpy())
    assert subset["dull", "fid"].value == pytest.approx(wanted, rel=1e-3)
    assert any(warning.startswith("fid of 7 images against 12: with fewer") for warning in subset.warnings)

    # A finished run stays, unless the reference set is another one; and no shard of it may be missing.
    assert score(tmp_path / "out", resume=True).summary_csv() == scores.summary_csv()
    with pytest.raises(InputError, match="already holds the results of a run with other"):
        score(tmp_path / "out", references=small_set / "truth", resume=True)
    (tmp_path / "out" / "statistics" / "reference-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"it lacks 1 shard|lacks \(reference-00001\.parquet\)|reference-00001"):
        Scores.read(tmp_path / "out")


def test_runs_against_one_reference_set_join_and_those_against_two_do_not(
    torch, reference, small_set, other_photos, tmp_path
):
    import shutil

    networks = NetworkOptions(weights={"inception_fid": reference[1]}, device="cpu")
    for path in sorted(other_photos.iterdir())[4:]:
        path.unlink()
    parts = {"a": slice(0, 3), "b": slice(3, 6), "whole": slice(0, 6)}
    for part, images in parts.items():
        for folder in ("truth", "dull"):
            (tmp_path / part / folder).mkdir(parents=True)
            for path in sorted((small_set / folder).iterdir())[images]:
                shutil.copy(path, tmp_path / part / folder)
    halves = [tmp_path / "a", tmp_path / "b"]

    def score(folder, references):
        out = tmp_path / f"scores-{folder.name}-{references.name}"
        return out, evalkit.score(
            folder / "truth", {"dull": folder / "dull"}, out=out, metrics=("fid",), n_bootstrap=0, networks=networks,
            reference=references,
        )  # fmt: skip

    outs = [score(half, other_photos)[0] for half in halves]
    merged = merge_runs(outs, tmp_path / "merged")
    whole = score(tmp_path / "whole", other_photos)[1]
    assert merged.summary_csv() == whole.summary_csv()
    changed = shutil.copytree(other_photos, tmp_path / "changed" / "training")
    first, *_, last = sorted(changed.iterdir())
    shutil.copy(last, first)
    out = tmp_path / "against-changed"
    evalkit.score(
        halves[1] / "truth", {"dull": halves[1] / "dull"}, out=out, metrics=("fid",), n_bootstrap=0, networks=networks,
        reference=changed,
    )  # fmt: skip
    with pytest.raises(InputError, match="another reference set"):
        merge_runs([outs[0], out], tmp_path / "refused")


def test_a_reference_set_that_nothing_compares_with_or_that_is_the_methods_own_is_refused(small_set, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "evalkit", "score", "--truth", str(small_set / "truth"), "--method", f"dull={small_set / 'dull'}",
         "--metrics", "psnr_rgb", "--reference", str(small_set / "truth"), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "a reference set is what FID and KID compare with, and none of them is asked for" in result.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is the folder of method 'dull' and of the reference set"):
        evalkit.score(small_set / "truth", {"dull": small_set / "dull"}, metrics=("fid",), reference=small_set / "dull")
    with pytest.raises(InputError, match="no such folder"):
        evalkit.score(small_set / "truth", {"dull": small_set / "dull"}, metrics=("fid",), reference=small_set / "none")


def test_clean_fid_resizes_each_channel_in_floating_point_with_antialiasing(torch, photos):
    from evalkit.networks.inception import RESIZE

    photo = photos["coffee"]
    clean, first = RESIZE["clean-fid"](photo), RESIZE["torch-fidelity"](photo)
    assert clean.shape == first.shape == (3, 299, 299)
    assert clean.dtype == first.dtype == np.float32
    whole = np.asarray(Image.fromarray(photo).resize((299, 299), Image.Resampling.BICUBIC), np.float32)
    assert np.quantile(np.abs(clean.transpose(1, 2, 0) - whole), 0.99) <= 1.0  # Pillow rounds bytes after each pass
    assert np.abs(clean - np.rint(clean)).max() > 0.4
    assert 0 <= clean.min() <= clean.max() <= 255
    assert np.abs(clean - first).mean() > 1  # without antialiasing it is another picture
    square = np.ascontiguousarray(photo[:299, :299])
    for resize in RESIZE.values():
        np.testing.assert_allclose(resize(square).transpose(1, 2, 0), square, atol=1e-3)


def test_without_weights_the_reason_says_what_to_do_and_other_files_are_refused(torch, tmp_path):
    from evalkit.metrics import load_metric

    metric = load_metric("fid")()
    assert "evalkit weights inception_fid" in metric.set_up(RunInputs(NetworkOptions())).reason
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="another network than the Inception of FID"):
        metric.set_up(RunInputs(NetworkOptions(weights={"inception_fid": tmp_path / "other.pth"})))
    with pytest.raises(InputError, match="no such file"):
        metric.set_up(RunInputs(NetworkOptions(weights={"inception_fid": tmp_path / "none.pth"})))
