"""SSIM against scikit-image, MS-SSIM against a plain SciPy implementation, on real photos."""

import csv
import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate1d
from scipy.stats import spearmanr
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from evalkit.metrics import _ssim_kernel, ssim
from evalkit.metrics.photo import Photo
from evalkit.metrics.ssim import MsSsimAb, SsimRgb, ms_ssim_ab, ssim_rgb


def scikit_image_ssim(truth, prediction):
    return structural_similarity(
        truth,
        prediction,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )


def plain_ms_ssim(x, y, data_range=255.0):
    """Wang, Simoncelli and Bovik 2003, on one plane, written down as it stands in the paper."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def filtered(plane):
        rows = correlate1d(plane, window, axis=0)
        return correlate1d(rows, window, axis=1)[5:-5, 5:-5]

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product = 1.0
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        mx, my = filtered(x), filtered(y)
        vx, vy, cov = filtered(x * x) - mx**2, filtered(y * y) - my**2, filtered(x * y) - mx * my
        index = (2 * cov + c2) / (vx + vy + c2)
        if scale == 4:
            index = index * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        product *= max(index.mean(), 0) ** weight
        height, width = x.shape[0] // 2, x.shape[1] // 2
        x, y = (plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3)) for plane in (x, y))
    return product


def test_ssim_equals_scikit_image_on_real_photos(photo_pairs):
    for truth, prediction in photo_pairs.values():
        assert ssim_rgb(truth, prediction) == pytest.approx(scikit_image_ssim(truth, prediction), abs=1e-12)


@pytest.mark.parametrize("shape", [(11, 11), (11, 60), (53, 12), (42, 42), (43, 43), (75, 31)])
def test_ssim_equals_scikit_image_at_the_edges_of_window_and_strip(shape, photo_pairs):
    truth, prediction = (image[: shape[0], : shape[1]] for image in photo_pairs["noisy"])
    assert ssim_rgb(truth, prediction) == pytest.approx(scikit_image_ssim(truth, prediction), abs=1e-12)


def test_ms_ssim_equals_a_plain_implementation_on_real_photos(photo_pairs):
    for truth, prediction in photo_pairs.values():
        x, y = rgb2lab(truth), rgb2lab(prediction)
        expected = np.mean([plain_ms_ssim(x[..., channel], y[..., channel]) for channel in (1, 2)])
        assert ms_ssim_ab(truth, prediction) == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_counts_a_negative_term_as_zero():
    """Opposite colours everywhere: anticorrelated at every scale, where a power would be undefined."""
    stripes = np.tile(np.repeat(np.arange(32), 8)[:, None] % 2, (1, 256))
    truth = np.where(stripes[..., None], np.uint8([255, 0, 0]), np.uint8([0, 255, 0]))
    assert ms_ssim_ab(truth, truth[np.roll(np.arange(256), 8)]) == 0.0


def test_identical_images_are_exactly_one(photo_pairs):
    for truth, prediction in photo_pairs.values():
        for image in (truth, prediction):
            assert ssim_rgb(image, image) == 1.0
            assert ms_ssim_ab(image, image) == 1.0


def test_exchanging_truth_and_prediction_changes_nothing(photo_pairs):
    for truth, prediction in photo_pairs.values():
        assert ssim_rgb(truth, prediction) == pytest.approx(ssim_rgb(prediction, truth), abs=1e-13)
        assert ms_ssim_ab(truth, prediction) == pytest.approx(ms_ssim_ab(prediction, truth), abs=1e-13)


def test_mirrored_and_transposed_pairs_score_the_same(photo_pairs):
    for truth, prediction in photo_pairs.values():
        value = ssim_rgb(truth, prediction)
        assert ssim_rgb(truth[::-1], prediction[::-1]) == pytest.approx(value, abs=1e-13)
        assert ssim_rgb(truth[:, ::-1], prediction[:, ::-1]) == pytest.approx(value, abs=1e-13)
        assert ssim_rgb(truth.swapaxes(0, 1), prediction.swapaxes(0, 1)) == pytest.approx(value, abs=1e-13)


def test_images_smaller_than_the_window_are_unscored():
    rng = np.random.default_rng(0)
    narrow = rng.integers(0, 256, (200, 10, 3), dtype=np.uint8)
    assert math.isnan(ssim_rgb(narrow, narrow))
    below, enough = (rng.integers(0, 256, (side, 300, 3), dtype=np.uint8) for side in (175, 176))
    assert math.isnan(ms_ssim_ab(below, below))
    assert ms_ssim_ab(enough, enough) == 1.0


def test_an_unscored_image_is_left_out_of_the_mean(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    small = tuple(image[:9, :9] for image in pairs[0])
    assert set_score(SsimRgb(), [*pairs, small]) == set_score(SsimRgb(), pairs)
    assert math.isnan(set_score(SsimRgb(), [small]))


def test_the_score_of_a_set_is_the_mean_over_images(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    assert set_score(SsimRgb(), pairs) == pytest.approx(np.mean([ssim_rgb(*pair) for pair in pairs]))
    assert set_score(MsSsimAb(), pairs) == pytest.approx(np.mean([ms_ssim_ab(*pair) for pair in pairs]))


@pytest.mark.parametrize("metric", [SsimRgb(), MsSsimAb()], ids=lambda metric: metric.name)
def test_a_truth_shared_by_methods_gives_the_same_bits(metric, photo_pairs):
    truth, prediction = photo_pairs["swapped channels"]
    shared = Photo(truth)
    others = [Photo(prediction), Photo(truth), Photo(prediction // 2), Photo(prediction)]
    values = [metric.value(shared, other) for other in others]
    assert values == [metric.value(Photo(truth), Photo(other.rgb8)) for other in others]
    assert values[0] == values[3]


@pytest.mark.parametrize("function", [ssim_rgb, ms_ssim_ab])
def test_bands_of_a_large_image_add_up_to_the_whole(function, photo_pairs, monkeypatch):
    for truth, prediction in photo_pairs.values():
        whole = function(truth, prediction)
        for band_pixels in (1, 5_000, 20_000):
            monkeypatch.setattr(ssim, "_BAND_PIXELS", band_pixels)
            assert function(truth, prediction) == pytest.approx(whole, abs=1e-13)
            assert function(truth, truth) == 1.0
        monkeypatch.undo()


def test_a_truth_is_filtered_once(photo_pairs, monkeypatch):
    truth, prediction = (Photo(image) for image in photo_pairs["dull"])
    calls = []
    filtered = _ssim_kernel.filtered_moments
    monkeypatch.setattr(_ssim_kernel, "filtered_moments", lambda *given: calls.append(filtered(*given)))
    for _ in range(3):
        SsimRgb().value(truth, prediction)
    assert len(calls) == 1
    for _ in range(3):
        MsSsimAb().value(truth, prediction)
    assert len(calls) == 1 + 2 * 5


def test_a_large_truth_is_not_kept(photo_pairs, monkeypatch):
    truth, prediction = (Photo(image) for image in photo_pairs["dull"])
    monkeypatch.setattr(ssim, "_BAND_PIXELS", 5_000)
    SsimRgb().value(truth, prediction)
    assert "ssim_rgb" not in truth.derived


def test_signatures_name_the_conventions():
    assert SsimRgb().fields == {
        "agg": "image",
        "win": "gauss11-1.5",
        "range": "255",
        "region": "valid",
        "chan": "rgb-mean",
    }
    assert MsSsimAb().fields == {
        **SsimRgb().fields,
        "lab": "sk-D65",
        "chan": "ab-mean",
        "scales": "5",
        "neg": "0",
    }


def test_ms_ssim_on_ab_agrees_in_sign_with_human_scores(shared_data):
    """HECD's crowd scores, on the part that is shared (8 scenes, truth and six methods each)."""
    folder = shared_data / "human" / "hecd"
    with (folder / "mean_zscores.csv").open() as file:
        rows = [row for row in csv.reader(file) if (folder / "images" / row[1]).exists()]
    assert len(rows) == 56

    def read(name):
        return np.asarray(Image.open(folder / "images" / name).convert("RGB"))

    similarity = [ms_ssim_ab(read(truth), read(recolouring)) for truth, recolouring, _ in rows]
    assert 0.2 < spearmanr(similarity, [float(z) for _, _, z in rows]).statistic < 0.4
