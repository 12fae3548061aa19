"""Colourfulness against the formula in plain numpy, and the two ways to compare sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from evalkit.metrics.colorfulness import (
    Colorfulness,
    ColorfulnessAbs,
    ColorfulnessDiff,
    ColorfulnessSetDiff,
    colorfulness,
    colorfulness_abs,
    colorfulness_diff,
)


def plain(rgb8, modulus=False):
    """Hasler and Suesstrunk 2003, equation for M3."""
    red, green, blue = np.moveaxis(rgb8.astype(float), -1, 0)
    rg, yb = red - green, 0.5 * (red + green) - blue
    if modulus:
        rg, yb = np.abs(rg), np.abs(yb)
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def test_equal_to_the_formula_on_real_photos(photos):
    for photo in photos.values():
        assert colorfulness(photo) == pytest.approx(plain(photo), abs=1e-10)
        assert colorfulness_abs(photo) == pytest.approx(plain(photo, modulus=True), abs=1e-10)


@given(arrays(np.uint8, (3, 4, 3)))
@settings(deadline=None)  # the first example compiles
def test_equal_to_the_formula_on_any_pixels(rgb8):
    # Plain numpy loses a standard deviation of zero in rounding: 1e-6 covers its square root.
    assert colorfulness(rgb8) == pytest.approx(plain(rgb8), abs=1e-6)
    assert colorfulness_abs(rgb8) == pytest.approx(plain(rgb8, modulus=True), abs=1e-6)


def test_gray_has_none(photos):
    gray = np.repeat(photos["chelsea"][..., :1], 3, axis=2)
    assert colorfulness(gray) == colorfulness_abs(gray) == 0.0


def test_one_colour_everywhere_has_only_the_mean_term():
    red = np.tile(np.uint8([255, 0, 0]), (5, 6, 1))
    assert colorfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_the_two_variants_are_different_numbers(photos):
    for name in ("astronaut", "rocket"):
        assert abs(colorfulness(photos[name]) - colorfulness_abs(photos[name])) > 1


def test_order_of_pixels_does_not_change_a_bit(photos):
    photo = photos["astronaut"]
    shuffled = np.random.default_rng(0).permutation(photo.reshape(-1, 3)).reshape(photo.shape)
    for function in (colorfulness, colorfulness_abs):
        assert function(photo) == function(photo[::-1]) == function(photo[:, ::-1]) == function(shuffled)


def test_the_difference_of_a_pair_is_absolute(photo_pairs):
    truth, dull = photo_pairs["dull"]
    expected = colorfulness(truth) - colorfulness(dull)
    assert expected > 0
    assert colorfulness_diff(truth, dull) == colorfulness_diff(dull, truth) == expected
    assert colorfulness_diff(truth, truth) == 0


def test_the_mean_is_of_the_prediction_alone(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    for metric, function in ((Colorfulness(), colorfulness), (ColorfulnessAbs(), colorfulness_abs)):
        expected = np.mean([function(prediction) for _, prediction in pairs])
        assert set_score(metric, pairs) == pytest.approx(expected)
        assert set_score(metric, [(prediction, prediction) for _, prediction in pairs]) == pytest.approx(expected)


def test_mean_of_differences_is_not_the_difference_of_means(photo_pairs, set_score):
    truth, dull = photo_pairs["dull"]
    too_dull_and_too_vivid = [(truth, dull), (dull, truth)]
    assert set_score(ColorfulnessDiff(), too_dull_and_too_vivid) == colorfulness_diff(truth, dull)
    assert set_score(ColorfulnessSetDiff(), too_dull_and_too_vivid) == 0.0


def test_the_difference_of_set_means_on_real_photos(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    truths, predictions = zip(*pairs, strict=True)
    expected = abs(np.mean([plain(p) for p in predictions]) - np.mean([plain(t) for t in truths]))
    assert set_score(ColorfulnessSetDiff(), pairs) == pytest.approx(expected, abs=1e-10)
    assert set_score(ColorfulnessSetDiff(), pairs) <= set_score(ColorfulnessDiff(), pairs)


def test_scores_of_many_replicates_come_in_one_call():
    sums = np.array([[-6.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(ColorfulnessSetDiff().score(sums), [3.0, 3.0, np.nan])


def test_names_and_signatures_keep_the_variants_apart():
    metrics = [Colorfulness(), ColorfulnessAbs(), ColorfulnessDiff(), ColorfulnessSetDiff()]
    assert len({metric.name for metric in metrics}) == len({metric.title for metric in metrics}) == 4
    assert len({tuple(metric.columns) for metric in metrics}) == 4
    assert [dict(metric.fields) for metric in metrics] == [
        {"agg": "image", "opp": "signed"},
        {"agg": "image", "opp": "abs"},
        {"agg": "image", "opp": "signed"},
        {"agg": "set-mean", "opp": "signed"},
    ]
    assert [metric.better for metric in metrics] == ["neither", "neither", "lower", "lower"]
