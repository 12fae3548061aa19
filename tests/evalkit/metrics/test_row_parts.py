"""Images of many megapixels are worked on in parts of rows: the same numbers, in little more than their own pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.color import row_parts as parts
from evalkit.color.row_parts import row_parts
from evalkit.colorizers.anchors import Gray, Random
from evalkit.images.folder_lint import lint_folders
from evalkit.images.image_files import DecodedImage, decode, write_png
from evalkit.images.orientation import turned_like_truth
from evalkit.metrics import create_metrics, metric_names
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.blocks import BlockMetric, RunInputs
from evalkit.metrics.diversity import DiversityVariance
from evalkit.metrics.photo import Photo

PAIRWISE = [
    metric
    for metric in create_metrics(metric_names(), AbErrorOptions())
    if not isinstance(metric, BlockMetric) and metric.columns
]


def pair_of(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A gradient under noise, and another."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * rng.uniform(0.1, 0.4, (2, 1, 1, 3))
    truth, prediction = (ramp + rng.uniform(0, 40, (2, height, width, 3))).clip(0, 255).astype(np.uint8)
    return truth, prediction


def measured(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    true, own = Photo(truth), Photo(prediction)
    return {
        name: value
        for metric in PAIRWISE
        for name, value in zip(metric.columns, metric.measure(true, own), strict=True)
    }


@settings(max_examples=25)
@given(
    seed=st.integers(0, 99),
    height=st.integers(11, 190),
    width=st.integers(11, 190),
    part=st.sampled_from([1, 700, 5000]),
)
def test_parts_give_the_numbers_of_the_whole(seed: int, height: int, width: int, part: int) -> None:
    truth, prediction = pair_of(seed, height, width)
    whole = measured(truth, prediction)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "WHOLE_PIXELS", 100)
        patch.setattr(parts, "PART_PIXELS", part)
        assert Photo(truth).is_large
        in_parts = measured(truth, prediction)
    assert {"ab_squared_error", "l_mae", "ciede2000", "psnr_ab", "ms_ssim_ab", "ssim_rgb", "pcqi"} <= set(whole)
    for name, value in whole.items():
        assert in_parts[name] == pytest.approx(value, rel=1e-12, abs=1e-13, nan_ok=True), name


def test_a_photo_of_4_megapixels_is_one_part_and_a_larger_one_is_covered_once() -> None:
    assert list(row_parts(np.empty((2048, 2048, 3), np.uint8))) == [slice(0, 2048)]
    large = np.empty((2049, 2048, 3), np.uint8)
    for multiple in (1, 10):
        slices = list(row_parts(large, multiple))
        assert [part.start for part in slices] == [0, *(part.stop for part in slices[:-1])]
        assert slices[-1].stop == 2049
        assert len(slices) > 4
        assert all((part.stop - part.start) % multiple == 0 for part in slices[:-1])


def test_a_large_photo_keeps_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = (Photo(rgb8) for rgb8 in pair_of(0, 180, 180))
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 1000)
    for metric in PAIRWISE:
        metric.measure(truth, prediction)
    for photo in (truth, prediction):
        assert "lab" not in vars(photo)
        assert not [key for key in photo.derived if "pyramid" in str(key)]


def test_samples_of_a_large_photo_vary_as_those_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, first = pair_of(1, 60, 90)
    samples = [first, first[::-1].copy(), truth]

    def variance() -> float:
        meter = DiversityVariance().open_meter(RunInputs(samples={"m": ("m#0", "m#1", "m#2")}))
        for k, sample in enumerate(samples):
            meter.add("photo", f"m#{k}", Photo(truth), Photo(sample))
        return float(meter.finish()[0]["diversity_variance"])

    whole = variance()
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(parts, "PART_PIXELS", 800)
    assert variance() == pytest.approx(whole, rel=1e-12)


def test_anchors_of_a_large_photo_have_the_bytes_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, donor = pair_of(2, 61, 83)
    whole = [Gray().colorize(truth, None), Random((1, 0)).colorize(truth, donor)]
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(parts, "PART_PIXELS", 700)
    for (rgb8, n_clipped), (own, own_clipped) in zip(
        whole, [Gray().colorize(truth, None), Random((1, 0)).colorize(truth, donor)], strict=True
    ):
        np.testing.assert_array_equal(own, rgb8)
        assert own_clipped == n_clipped


def test_a_deep_scan_is_rounded_in_parts_to_the_same_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    samples = np.random.default_rng(3).integers(0, 65536, (70, 90), dtype=np.uint16)
    path = tmp_path / "deep.tif"
    Image.fromarray(samples).save(path)
    whole = decode(path).rgb8
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(parts, "PART_PIXELS", 800)
    np.testing.assert_array_equal(decode(path).rgb8, whole)
    np.testing.assert_array_equal(whole[..., 1], np.rint(samples / 257).astype(np.uint8))


def test_lint_says_of_large_photos_what_it_says_of_small_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path
    truth, prediction = pair_of(4, 120, 90)
    for name, images in (("truth", (truth, truth[::-1])), ("m", (prediction, np.full_like(truth, 255)))):
        (folder / name).mkdir()
        for k, rgb8 in enumerate(images):
            write_png(folder / name / f"{k}.png", np.ascontiguousarray(rgb8))
    whole = lint_folders(folder / "truth", {"m": folder / "m"})
    assert any("lightness" in finding.code or "clipped" in finding.code for finding in whole), whole
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(parts, "PART_PIXELS", 800)
    assert lint_folders(folder / "truth", {"m": folder / "m"}) == whole


def test_a_turned_prediction_of_a_large_photo_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    upright, _ = pair_of(5, 80, 80)
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(parts, "PART_PIXELS", 800)
    as_stored = np.ascontiguousarray(upright[::-1, ::-1])

    def image(rgb8: np.ndarray, orientation: int) -> DecodedImage:
        return DecodedImage(
            rgb8=rgb8, format="PNG", is_gray=False, notes=(), sha256="", orientation=orientation
        )  # fmt: skip

    rgb8, note = turned_like_truth(image(upright, 3), image(as_stored, 1))
    assert note
    np.testing.assert_array_equal(rgb8, upright)


def test_metrics_of_25_megapixels_take_less_than_twice_the_pixels_of_both_images() -> None:
    code = """
import resource
import numpy as np
from evalkit.metrics import create_metrics
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.photo import Photo

NAMES = ["ab_rmse", "psnr_rgb", "psnr_ab", "ssim_rgb", "ms_ssim_ab", "ciede2000", "l_mae", "colorfulness_diff", "pcqi"]
small = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
for metric in create_metrics(NAMES, AbErrorOptions()):
    metric.measure(Photo(small), Photo(small[::-1].copy()))
pixels = np.tile(small, (20, 31, 1))  # 4,000 x 6,200
other = pixels[::-1].copy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
truth, prediction = Photo(pixels), Photo(other)
for metric in create_metrics(NAMES, AbErrorOptions()):
    metric.measure(truth, prediction)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (2 * pixels.nbytes))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert float(ran.stdout) < 2
