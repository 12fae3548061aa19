"""PSNR, RMSE in ab and the change of L, against scikit-image and numpy on real photos."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from evalkit.metrics.fidelity import AbRmse, LMae, PsnrAb, PsnrRgb, ab_rmse, l_mae, psnr_ab, psnr_rgb

FUNCTION_AND_METRIC = [(ab_rmse, AbRmse), (l_mae, LMae), (psnr_ab, PsnrAb), (psnr_rgb, PsnrRgb)]
small_pairs = arrays(np.uint8, (2, 5, 7, 3))


def test_psnr_equals_scikit_image_on_real_photos(photo_pairs):
    for truth, prediction in photo_pairs.values():
        expected = peak_signal_noise_ratio(truth, prediction, data_range=255)
        assert psnr_rgb(truth, prediction) == pytest.approx(expected, abs=1e-12)


@given(small_pairs)
@settings(deadline=None)  # the first example compiles
def test_psnr_equals_numpy_on_any_pixels(pair):
    truth, prediction = pair.astype(float)
    mse = np.mean((truth - prediction) ** 2)
    expected = 10 * np.log10(255**2 / mse) if mse else math.inf
    assert psnr_rgb(*pair) == pytest.approx(expected, abs=1e-10)


def test_psnr_does_not_wrap_around():
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr_rgb(black, black + 255) == 0.0
    assert psnr_rgb(black + 255, black) == 0.0


def test_psnr_of_known_error():
    truth = np.full((4, 4, 3), 100, np.uint8)
    assert psnr_rgb(truth, truth + 1) == pytest.approx(20 * math.log10(255))


def test_ab_metrics_equal_float64_lab_on_real_photos(photo_pairs):
    for truth, prediction in photo_pairs.values():
        difference = rgb2lab(truth) - rgb2lab(prediction)
        mse = np.mean(difference[..., 1:] ** 2)
        assert ab_rmse(truth, prediction) == pytest.approx(math.sqrt(mse), abs=1e-8)
        assert psnr_ab(truth, prediction) == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-8)
        assert l_mae(truth, prediction) == pytest.approx(np.mean(np.abs(difference[..., 0])), abs=1e-8)


def test_l_mae_sees_what_a_change_of_colour_alone_does_not_do(photo_pairs):
    truth, dull = photo_pairs["dull"]
    darker = (truth * 0.8).astype(np.uint8)
    assert l_mae(truth, darker) > 5
    assert l_mae(truth, dull) < 5


@given(small_pairs)
@settings(max_examples=30, deadline=None)
def test_exchanging_truth_and_prediction_changes_nothing(pair):
    for function, _ in FUNCTION_AND_METRIC:
        assert function(pair[0], pair[1]) == function(pair[1], pair[0])


def test_identical_images_have_no_error(photos):
    photo = photos["chelsea"]
    assert ab_rmse(photo, photo) == 0.0
    assert l_mae(photo, photo) == 0.0
    assert psnr_rgb(photo, photo) == math.inf
    assert psnr_ab(photo, photo) == math.inf


@pytest.mark.parametrize(("function", "metric"), FUNCTION_AND_METRIC)
def test_mirrored_pairs_score_the_same(function, metric, photo_pairs):
    for truth, prediction in photo_pairs.values():
        mirrored = function(truth[:, ::-1], prediction[:, ::-1])
        assert mirrored == pytest.approx(function(truth, prediction), rel=1e-12)


@pytest.mark.parametrize("metric", [PsnrRgb, PsnrAb, LMae])
def test_the_score_of_a_set_is_the_mean_over_images(metric, photo_pairs, set_score):
    function = {m: f for f, m in FUNCTION_AND_METRIC}[metric]
    pairs = list(photo_pairs.values())
    assert set_score(metric(), pairs) == pytest.approx(np.mean([function(*pair) for pair in pairs]))


def test_identical_images_are_counted_apart_and_never_averaged_in(photo_pairs, set_score, statistics_for):
    pairs = list(photo_pairs.values())
    with_identical = [*pairs, (pairs[0][0], pairs[0][0])]
    for metric in (PsnrRgb(), PsnrAb()):
        assert set_score(metric, with_identical) == set_score(metric, pairs)
        assert metric.n_identical(statistics_for(metric, with_identical)) == 1
        assert metric.n_identical(statistics_for(metric, pairs)) == 0
    assert math.isnan(set_score(PsnrRgb(), with_identical[-1:]))


def test_ab_rmse_pools_the_pixels_of_the_set(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    squared = [np.square(rgb2lab(t) - rgb2lab(p))[..., 1:].ravel() for t, p in pairs]
    pooled = math.sqrt(np.concatenate(squared).mean())
    assert set_score(AbRmse(), pairs) == pytest.approx(pooled, abs=1e-8)
    assert set_score(AbRmse(), pairs) != pytest.approx(np.mean([ab_rmse(*pair) for pair in pairs]), abs=0.1)


def test_ab_rmse_of_each_image_is_that_of_the_function(photo_pairs, statistics_for):
    pairs = list(photo_pairs.values())
    per_image = AbRmse().per_image(statistics_for(AbRmse(), pairs))
    np.testing.assert_allclose(per_image, [ab_rmse(*pair) for pair in pairs], rtol=1e-14)


@pytest.mark.parametrize("metric", [AbRmse, LMae, PsnrAb, PsnrRgb])
def test_an_image_given_twice_weighs_twice_and_shards_add_up(metric, photo_pairs, statistics_for):
    pairs = list(photo_pairs.values())
    terms = metric().terms(statistics_for(metric(), pairs))
    twice = metric().terms(statistics_for(metric(), [*pairs, pairs[1]]))
    np.testing.assert_allclose(twice.sum(axis=0), np.array([1, 2, 1, 1]) @ terms, rtol=1e-14)
    np.testing.assert_allclose(terms[:2].sum(axis=0) + terms[2:].sum(axis=0), terms.sum(axis=0), rtol=1e-14)


def test_scores_of_many_replicates_come_in_one_call():
    sums = np.array([[[8.0, 2.0], [18.0, 2.0]], [[0.0, 5.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(AbRmse().score(sums), [[2.0, 3.0], [0.0, np.nan]])


def test_an_unscored_image_leaves_the_rest_alone(photo_pairs, statistics_for):
    statistics = statistics_for(AbRmse(), list(photo_pairs.values()))
    whole = AbRmse().terms(statistics)
    statistics.columns["ab_squared_error"][1] = np.nan
    np.testing.assert_array_equal(AbRmse().terms(statistics)[1], [0.0, 0.0])
    np.testing.assert_array_equal(np.delete(AbRmse().terms(statistics), 1, axis=0), np.delete(whole, 1, axis=0))


def test_signatures_name_the_conventions():
    assert AbRmse().fields == {"lab": "sk-D65", "agg": "pixel", "rmse": "per-channel"}
    assert PsnrRgb().fields == {"agg": "image", "peak": "255", "inf": "apart"}
    assert PsnrAb().fields == {"lab": "sk-D65", **PsnrRgb().fields}
    assert LMae().fields == {"lab": "sk-D65", "agg": "image"}
