"""Every metric on arrays takes a pair or a batch of 8-bit sRGB and refuses everything else in plain words."""

import numpy as np
import pytest

from evalkit.errors import InputError
from evalkit.metrics.color_difference import Ciede2000, ciede2000
from evalkit.metrics.colorfulness import colorfulness, colorfulness_abs, colorfulness_diff
from evalkit.metrics.fidelity import AbRmse, LMae, PsnrAb, PsnrRgb, ab_rmse, l_mae, psnr_ab, psnr_rgb
from evalkit.metrics.photo import Photo
from evalkit.metrics.ssim import MsSsimAb, SsimRgb, ms_ssim_ab, ssim_rgb

ON_PAIRS = [ab_rmse, ciede2000, colorfulness_diff, l_mae, ms_ssim_ab, psnr_ab, psnr_rgb, ssim_rgb]
ON_IMAGES = [colorfulness, colorfulness_abs]


def by_name(function):
    return function.__name__


@pytest.mark.parametrize("metric", ON_PAIRS, ids=by_name)
def test_a_batch_of_pairs_gives_one_number_a_pair(metric, photo_pairs):
    truth, prediction = photo_pairs["swapped channels"]
    truths = np.stack([truth, truth[::-1], prediction])
    predictions = np.stack([prediction, prediction[::-1], truth // 2])
    values = metric(truths, predictions)
    assert values.shape == (3,)
    assert values.dtype == np.float64
    assert values.tolist() == [metric(t, p) for t, p in zip(truths, predictions, strict=True)]


@pytest.mark.parametrize("metric", ON_IMAGES, ids=by_name)
def test_a_batch_of_images_gives_one_number_an_image(metric, photo_pairs):
    truth, prediction = photo_pairs["swapped channels"]
    values = metric(np.stack([truth, prediction, truth // 2]))
    assert values.tolist() == [metric(truth), metric(prediction), metric(truth // 2)]


@pytest.mark.parametrize("metric", ON_PAIRS, ids=by_name)
def test_an_image_gives_a_python_float(metric, photo_pairs):
    assert type(metric(*photo_pairs["swapped channels"])) is float


@pytest.mark.parametrize("metric", ON_PAIRS, ids=by_name)
def test_memory_layout_does_not_matter(metric, photo_pairs):
    truth, prediction = photo_pairs["noisy"]
    value = metric(truth, prediction)
    strided = np.repeat(np.repeat(prediction, 2, axis=0), 2, axis=1)[::2, ::2]
    read_only = truth.copy(order="F")
    read_only.setflags(write=False)
    assert metric(read_only, strided) == pytest.approx(value, rel=1e-12, nan_ok=True)


def test_an_empty_batch_gives_no_number():
    empty = np.zeros((0, 8, 8, 3), np.uint8)
    assert psnr_rgb(empty, empty).shape == (0,)
    assert colorfulness(empty).shape == (0,)


@pytest.mark.parametrize("metric", ON_PAIRS, ids=by_name)
@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((8, 8, 3)), np.zeros((8, 8, 3), np.uint8), "truth_rgb8: expected uint8 .* got float64"),
        (
            np.zeros((8, 8, 3), np.uint8),
            np.zeros((8, 8, 3), np.int64),
            "pred_rgb8: expected uint8 .* got int64",
        ),
        (
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8), np.uint8),
            r"truth_rgb8: expected shape .* got \(8, 8\)",
        ),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 4), np.uint8), r"pred_rgb8: .* got \(8, 8, 4\)"),
        (np.zeros((9, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), r"\(9, 8, 3\) but .* \(8, 9, 3\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "nothing is resized or repeated"),
        (np.zeros((0, 8, 3), np.uint8), np.zeros((0, 8, 3), np.uint8), "has no pixels"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)],
            np.zeros((2, 8, 8, 3), np.uint8),
            "the images of a batch must have one size",
        ),
    ],
    ids=["float", "int64", "flat gray", "alpha", "sizes", "batch with one", "no pixels", "mixed sizes"],
)
def test_bad_pairs_are_refused_in_plain_words(metric, truth, prediction, message):
    with pytest.raises(InputError, match=message):
        metric(truth, prediction)


@pytest.mark.parametrize("metric", ON_IMAGES, ids=by_name)
def test_bad_images_are_refused_in_plain_words(metric):
    with pytest.raises(InputError, match=r"rgb8: expected uint8 .* got float32"):
        metric(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(InputError, match=r"rgb8: expected shape .* got \(3,\)"):
        metric(np.zeros(3, np.uint8))


@pytest.mark.parametrize("metric", [AbRmse, Ciede2000, LMae, MsSsimAb, PsnrAb, PsnrRgb, SsimRgb], ids=by_name)
def test_a_metric_refuses_photos_of_different_sizes(metric):
    truth, prediction = Photo(np.zeros((300, 200, 3), np.uint8)), Photo(np.zeros((200, 300, 3), np.uint8))
    with pytest.raises(InputError, match=r"the truth is 300 x 200 pixels .* the prediction is 200 x 300"):
        metric().measure(truth, prediction)
