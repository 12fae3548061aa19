"""Colours of an example: known answers on flat regions, the paper's statistics, the swatches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from evalkit.color.colorspace import srgb8_to_lab
from evalkit.colorizers.classical.welsh2002 import (
    Swatch,
    jittered_sample,
    local_deviation,
    remap_lightness,
    transfer,
    transfer_swatches,
)
from evalkit.errors import InputError

COLOURS = {20.0: (40.0, 10.0), 50.0: (-30.0, 30.0), 80.0: (5.0, -40.0)}


def stripes(order: tuple[float, ...]) -> np.ndarray:
    """Lab of three flat stripes, 20 pixels each."""
    return np.concatenate([np.broadcast_to([value, *COLOURS[value]], (60, 20, 3)) for value in order], axis=1)


def test_regions_get_the_colours_of_the_example_of_their_lightness_wherever_they_lie() -> None:
    example, photo = stripes((20.0, 50.0, 80.0)), stripes((80.0, 20.0, 50.0))
    ab = transfer(photo[..., 0], example)
    flat = local_deviation(photo[..., 0]) == 0
    np.testing.assert_array_equal(ab[flat], photo[flat][:, 1:])


def test_the_histogram_of_the_example_is_met() -> None:
    example, photo = stripes((20.0, 50.0, 80.0)), stripes((80.0, 20.0, 50.0))
    ab = transfer(photo[..., 0], example).reshape(-1, 2)
    for colour in COLOURS.values():
        assert (ab == colour).all(axis=1).mean() == pytest.approx(1 / 3, abs=0.05)


def test_texture_decides_where_lightness_is_the_same() -> None:
    board = 50 + 10.0 * (2 * (np.indices((40, 40)).sum(axis=0) % 2) - 1)
    example = np.zeros((40, 80, 3))
    example[..., 0] = np.concatenate([np.full((40, 40), 40.0), board], axis=1)
    example[:, :40, 1], example[:, 40:, 1] = 30, -30
    photo = np.concatenate([board, np.full((40, 40), 40.0)], axis=1)
    ab = transfer(photo, example)
    assert (ab[:, :36, 0] == -30).all()
    assert (ab[:, 44:, 0] == 30).all()


def test_lightness_is_remapped_to_the_targets_mean_and_deviation() -> None:
    random = np.random.default_rng(0)
    example, target = random.normal(30, 5, (50, 40)), random.normal(60, 12, (30, 70))
    remapped = remap_lightness(example, target)
    assert (remapped.mean(), remapped.std()) == pytest.approx((target.mean(), target.std()))
    np.testing.assert_allclose(remap_lightness(np.full((4, 4), 9.0), target), target.mean())


def test_the_local_deviation_is_that_of_the_5_by_5_pixels_around() -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (15, 13))
    expected = ndimage.generic_filter(lightness, np.std, size=5, mode="reflect")
    np.testing.assert_allclose(local_deviation(lightness), expected, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (100, 400), (31, 7), (1, 5000), (14, 14)])
def test_samples_are_about_200_distinct_pixels_spread_over_the_image(height: int, width: int) -> None:
    places = jittered_sample(height, width, 200, seed=3)
    assert len(np.unique(places, axis=0)) == len(places)
    assert (places >= 0).all()
    assert (places < (height, width)).all()
    assert 190 <= len(places) <= 210
    if height == width == 256:  # one in each cell of 14 x 14
        assert len(np.unique(places * 14 // 256, axis=0)) == 196


def test_only_colours_of_the_example_are_used(photos: dict[str, np.ndarray]) -> None:
    example, photo = srgb8_to_lab(photos["chelsea"][:100, :100]), srgb8_to_lab(photos["coffee"][:90, :80])
    colours = {tuple(colour) for colour in example[..., 1:].reshape(-1, 2)}
    assert {tuple(colour) for colour in transfer(photo[..., 0], example).reshape(-1, 2)} <= colours


def test_swatches_send_two_colours_of_one_lightness_to_the_right_textures() -> None:
    """A flat and a ruled half: the swatches say which is which, against what lightness alone would answer."""
    rules = np.broadcast_to(np.where(np.arange(40) % 2, 65.0, 35.0), (40, 40))
    photo = np.concatenate([np.full((40, 40), 50.0), rules], axis=1)
    example = np.zeros((20, 40, 3))
    example[..., 0] = 50
    example[:, :20, 1:], example[:, 20:, 1:] = (50, 0), (0, 50)
    swatches = [
        Swatch(target=(5, 5, 10, 10), example=(0, 20, 20, 20)),
        Swatch(target=(5, 55, 10, 10), example=(0, 0, 20, 20)),
    ]
    ab = transfer_swatches(photo, example, swatches)
    assert (ab[:, :36] == (0, 50)).all()
    assert (ab[:, 44:76] == (50, 0)).all()  # at the edge the photo is mirrored, which breaks the rules' rhythm


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 78, 5, 5)])
def test_a_swatch_outside_the_photo_is_named(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="does not lie in the photo of 80 x 40"):
        transfer_swatches(np.zeros((40, 80)), np.zeros((9, 9, 3)), [Swatch(target=box, example=(0, 0, 5, 5))])
