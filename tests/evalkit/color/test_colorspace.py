"""sRGB to CIE Lab against scikit-image over every 8-bit colour: the float64 path and the kernel's float32 path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import cube_slice, lab_of

from evalkit.color._ab_kernel import UNSURE
from evalkit.color.ab_bins import ORIGIN
from evalkit.color.ab_classes import preset
from evalkit.color.colorspace import AB_LIMITS, lab_planes, lab_to_srgb, lab_to_srgb8, srgb8_to_lab, srgb_to_lab
from evalkit.metrics.ab_counts import PairCounter
from evalkit.metrics.photo import Photo

SUBSET = (0, 1, 10, 11, 64, 127, 200, 254, 255)  # 10 and 11 stand on either side of the joint of the transfer curve

# IEC 61966-2-1 primaries in CIE Lab (D65, 2 degrees), to the two digits that every table of them agrees on.
KNOWN = {
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.74, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (0, 255, 255): (91.11, -48.09, -14.13),
    (255, 0, 255): (60.32, 98.24, -60.83),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize(("colour", "lab"), KNOWN.items())
def test_known_lab_values(colour: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(srgb8_to_lab([colour])[0], lab, atol=0.011)


@pytest.mark.parametrize("red", SUBSET)
def test_the_reference_path_is_that_of_scikit_image(red: int) -> None:
    colours = cube_slice(red)
    np.testing.assert_allclose(srgb8_to_lab(colours), lab_of(colours), rtol=0, atol=1e-11)


def test_both_fast_paths_over_the_whole_cube() -> None:
    """float64 planes within 1e-9; the kernel's float32 within the bound that decides which pixels it looks at twice."""
    counter = PairCounter(preset("zhang2016"))
    bound = float(UNSURE) / 2
    assert bound < 0.01
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for red in range(256):
        colours = cube_slice(red)
        expected = srgb8_to_lab(colours).T
        np.testing.assert_allclose(lab_planes(colours), expected, rtol=0, atol=1e-9)
        kernel, _, chroma = counter.prepare(Photo(colours[None]))
        np.testing.assert_allclose(kernel.reshape(3, -1)[1:], expected[1:], rtol=0, atol=bound)
        np.testing.assert_allclose(kernel.reshape(3, -1)[0], expected[0], rtol=0, atol=bound)
        assert chroma == pytest.approx(np.hypot(*expected[1:]).max(), abs=bound)
        low, high = np.minimum(low, expected.min(axis=1)), np.maximum(high, expected.max(axis=1))
    for i, (least, most) in enumerate(AB_LIMITS, start=1):
        assert least <= low[i] < least + 0.1
        assert most - 0.1 < high[i] <= most
    assert max(-low[1:].min(), high[1:].max()) < ORIGIN  # the cell table covers the gamut


@pytest.mark.parametrize("red", SUBSET)
def test_a_round_trip_changes_no_colour_and_clips_none(red: int) -> None:
    colours = cube_slice(red)
    back, clipped = lab_to_srgb8(srgb8_to_lab(colours))
    np.testing.assert_array_equal(back, colours)
    assert not clipped.any()


def test_colours_outside_the_gamut_are_clipped_and_said_so() -> None:
    rgb8, clipped = lab_to_srgb8([[50.0, 0.0, 0.0], [50.0, 120.0, 0.0], [50.0, 0.0, -120.0], [1.0, 0.0, -127.0]])
    assert clipped.tolist() == [False, True, True, True]
    assert rgb8[1, 0] == 255
    assert np.all(np.isfinite(lab_to_srgb([0.0, -128.0, 127.0])))


def test_rounding_to_8_bits_is_to_nearest() -> None:
    colour = np.array([100.4, 100.6, 17.0]) / 255.0
    back, clipped = lab_to_srgb8(srgb_to_lab(colour))
    assert back.tolist() == [100, 101, 17]
    assert not clipped


@pytest.mark.parametrize("n_pixels", [1, 3, 2047, 2048, 2049, 4096, 6145])
def test_planes_of_any_number_of_pixels(n_pixels: int) -> None:
    """Sizes around the chunk of 2,048: the last, partial chunk holds no rest of the one before."""
    colours = np.random.default_rng(n_pixels).integers(0, 256, (n_pixels, 3), dtype=np.uint8)
    np.testing.assert_allclose(lab_planes(colours), lab_of(colours).T, rtol=0, atol=1e-9)


def test_planes_are_in_the_order_of_the_pixels_whatever_the_strides() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    mirrored = image[:, ::-1]
    np.testing.assert_array_equal(
        lab_planes(mirrored).reshape(3, 40, 30), lab_planes(image).reshape(3, 40, 30)[..., ::-1]
    )


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(3))))
def test_any_colours_equal_scikit_image(colours: np.ndarray) -> None:
    np.testing.assert_allclose(srgb8_to_lab(colours), lab_of(colours), rtol=0, atol=1e-11)
    np.testing.assert_allclose(lab_planes(colours), lab_of(colours).T, rtol=0, atol=1e-9)
