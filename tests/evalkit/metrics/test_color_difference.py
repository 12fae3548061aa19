"""CIEDE2000 against Sharma's published test pairs and scikit-image."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from evalkit.errors import InputError
from evalkit.metrics.color_difference import Ciede2000, ciede2000, ciede2000_lab

# Sharma, Wu and Dalal 2005, table 1: L1 a1 b1, L2 a2 b2, dE00 to four digits. Pairs 7 to 16 sit on the
# discontinuities of the mean hue.
SHARMA = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)

colours = st.tuples(st.floats(0, 100), st.floats(-110, 110), st.floats(-110, 110))


def test_the_34_published_pairs():
    np.testing.assert_allclose(ciede2000_lab(SHARMA[:, :3], SHARMA[:, 3:6]), SHARMA[:, 6], atol=5.1e-5)


def test_the_34_published_pairs_exchanged():
    np.testing.assert_allclose(ciede2000_lab(SHARMA[:, 3:6], SHARMA[:, :3]), SHARMA[:, 6], atol=5.1e-5)


def test_equal_to_scikit_image_on_random_colours():
    rng = np.random.default_rng(0)
    first, second = rng.uniform([0, -110, -110], [100, 110, 110], (2, 300_000, 3))
    np.testing.assert_allclose(ciede2000_lab(first, second), deltaE_ciede2000(first, second), atol=1e-10)


def test_equal_to_scikit_image_on_near_colours():
    rng = np.random.default_rng(1)
    first = rng.uniform([0, -110, -110], [100, 110, 110], (100_000, 3))
    for size in (1e-6, 1e-2, 1.0):
        second = first + rng.normal(0, size, first.shape)
        expected = deltaE_ciede2000(first, second)
        np.testing.assert_allclose(ciede2000_lab(first, second), expected, atol=1e-10)


def test_equal_to_scikit_image_where_one_hue_or_none_is_defined():
    rng = np.random.default_rng(2)
    first = rng.uniform([0, -110, -110], [100, 110, 110], (1000, 3))
    neutral = first * [1, 0, 0]
    for pair in ((first, neutral), (neutral, first), (neutral, neutral[::-1])):
        np.testing.assert_allclose(ciede2000_lab(*pair), deltaE_ciede2000(*pair), atol=1e-10)


def test_the_rotation_term_around_every_hue():
    """All mean hues in steps of a tenth of a degree, also where the bell around 275 is cut off."""
    hue = np.deg2rad(np.arange(0.05, 360, 0.1))
    lightness = np.full_like(hue, 50.0)
    first = np.stack([lightness, 60 * np.cos(hue - 0.1), 60 * np.sin(hue - 0.1)], axis=1)
    second = np.stack([lightness, 80 * np.cos(hue + 0.1), 80 * np.sin(hue + 0.1)], axis=1)
    np.testing.assert_allclose(ciede2000_lab(first, second), deltaE_ciede2000(first, second), atol=1e-10)


def test_exactly_opposite_hues_take_the_arithmetic_mean_of_their_angles():
    """Hues 135 and 315: the mean is 225, where T is another than at 45; rounding must not choose."""
    first, second = [50.0, -20.0, 20.0], [50.0, 20.0, -20.0]
    mean_chroma = 20 * math.sqrt(2)
    g = 1.5 - 0.5 * math.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    angle = math.degrees(math.atan2(20, -20 * g))
    chroma, mean_hue = math.hypot(20 * g, 20), angle + 90
    t = 1.0
    for weight, multiple, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63)):
        t += weight * math.cos(math.radians(multiple * mean_hue + shift))
    expected = 2 * chroma / (1 + 0.015 * chroma * t)
    assert float(ciede2000_lab(first, second)) == pytest.approx(expected, abs=1e-10)
    assert float(ciede2000_lab(second, first)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("hue", [0, 5, 89.7, 90, 135, 179.9])
def test_at_exactly_opposite_hues_the_sign_of_the_hue_difference_is_that_of_the_angles(hue):
    """Sharma et al. 2005, equation 10: dh' = h2' - h1' where that is at most 180; it counts in the rotation term.

    With unequal chromas the sign decides whether the rotation term adds or takes away. Written out with true angles.
    """
    a, b = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    if hue == 90:
        a = 0.0
    for first, second in (((40 * a, 40 * b), (-20 * a, -20 * b)), ((-20 * a, -20 * b), (40 * a, 40 * b))):
        mean_chroma = 30.0
        g = 1.5 - 0.5 * math.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
        chromas = [math.hypot(x * g, y) for x, y in (first, second)]
        # The smaller of the two angles lies in [0, 180); the other is 180 more, to the bit.
        base = math.degrees(math.atan2(abs(b) * 20, (a if b else abs(a)) * 20 * g))
        upper_first = first[1] < 0 or (first[1] == 0 and first[0] < 0)
        difference, mean_hue = (-180.0 if upper_first else 180.0), base + 90
        c, dc = sum(chromas) / 2, chromas[1] - chromas[0]
        dh = 2 * math.sqrt(chromas[0] * chromas[1]) * math.sin(math.radians(difference / 2))
        t = 1.0
        for weight, multiple, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63)):
            t += weight * math.cos(math.radians(multiple * mean_hue + shift))
        turn = 30 * math.exp(-(((mean_hue - 275) / 25) ** 2))
        rotation = -2 * math.sqrt(c**7 / (c**7 + 25.0**7)) * math.sin(math.radians(2 * turn))
        in_c, in_h = dc / (1 + 0.045 * c), dh / (1 + 0.015 * c * t)
        expected = math.sqrt(in_c**2 + in_h**2 + rotation * in_c * in_h)
        assert float(ciede2000_lab([50.0, *first], [50.0, *second])) == pytest.approx(expected, abs=1e-9)


@given(colours, colours)
@example((0.0, 0.0, 5.0), (0.0, 0.0, -1.0))  # opposite hues: the bisector and the sign both have to be chosen
@settings(deadline=None)  # the first example compiles
def test_symmetric_never_negative_and_zero_only_for_equal_colours(first, second):
    there, back = float(ciede2000_lab(first, second)), float(ciede2000_lab(second, first))
    assert there == back
    assert there >= 0
    assert float(ciede2000_lab(first, first)) == 0


def test_equal_to_scikit_image_on_real_photos(photo_pairs):
    for truth, prediction in photo_pairs.values():
        expected = deltaE_ciede2000(rgb2lab(truth), rgb2lab(prediction)).mean()
        assert ciede2000(truth, prediction) == pytest.approx(expected, abs=1e-8)


def test_the_score_of_a_set_is_the_mean_over_images(photo_pairs, set_score):
    pairs = list(photo_pairs.values())
    assert set_score(Ciede2000(), pairs) == pytest.approx(np.mean([ciede2000(*pair) for pair in pairs]))


def test_identical_images_are_zero(photos):
    assert ciede2000(photos["coffee"], photos["coffee"]) == 0.0


def test_any_leading_shape(photos):
    lab = rgb2lab(photos["chelsea"][:10, :20])
    differences = ciede2000_lab(lab, lab[::-1])
    assert differences.shape == (10, 20)
    assert differences[3, 4] == ciede2000_lab(lab[3, 4], lab[6, 4])
    assert ciede2000_lab(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_nan_stays_nan():
    differences = ciede2000_lab([[50, np.nan, 0], [50, 1, 0]], [[50, 0, 0], [50, 0, 0]])
    np.testing.assert_array_equal(np.isnan(differences), [True, False])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((4, 3)), np.zeros((5, 3)), r"one shape .* got \(4, 3\) and \(5, 3\)"),
        (np.zeros((3, 4)), np.zeros((3, 4)), r"\(3, 4\)"),
        (0.0, 0.0, r"\(\)"),
        (np.zeros((4, 3)), np.zeros((4, 3), np.uint8), "lab_2: expected L, a and b in CIE units, got 8-bit"),
    ],
)
def test_what_is_no_lab_is_refused_in_plain_words(first, second, message):
    with pytest.raises(InputError, match=message):
        ciede2000_lab(first, second)


def test_the_signature_names_the_parametric_factors():
    assert Ciede2000().fields == {"lab": "sk-D65", "agg": "image", "kLCH": "1"}
