"""Hints spread by texture: remote pixels of the same texture, the map from lightness to colour, the labels."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.color.colorspace import srgb8_to_lab
from evalkit.colorizers.classical import levin2004
from evalkit.colorizers.classical.luan2007 import colour_map, gabor_textures, group_hints, propagate, smoothness
from evalkit.hints.hint import Hint, hint_maps
from evalkit.hints.protocols import HintRecipe, draw_hints


def ruled(height: int, width: int, axis: int) -> np.ndarray:
    """Lines of L 35 and 65, two pixels wide: the same mean, whatever their direction."""
    return np.where(np.indices((height, width))[axis] // 2 % 2, 65.0, 35.0)


def test_a_remote_region_of_the_same_texture_gets_the_colour_where_nearness_alone_answers_wrong() -> None:
    """Across, along, across again: one hint in each of the first two."""
    photo = np.concatenate([ruled(64, 64, 0), ruled(64, 64, 1), ruled(64, 64, 0)], axis=1)
    hints = hint_maps(
        [Hint(row=32, column=30, side=7, a=50, b=20), Hint(row=32, column=96, side=7, a=-40, b=30)], 64, 192
    )
    ab = propagate(photo, hints)
    inner = slice(8, 56)
    for columns, colour in ((slice(8, 54), (50, 20)), (slice(74, 118), (-40, 30)), (slice(138, 184), (50, 20))):
        np.testing.assert_allclose(ab[inner, columns], np.broadcast_to(colour, ab[inner, columns].shape), atol=1e-6)
    by_nearness = levin2004.propagate(photo, hints)
    assert by_nearness[inner, 138:184, 0].mean() < 0


def test_flat_regions_are_told_apart_by_lightness() -> None:
    photo = np.full((40, 60), 30.0)
    photo[:, 30:] = 70.0
    hints = hint_maps(
        [Hint(row=20, column=10, side=3, a=60, b=40), Hint(row=5, column=50, side=3, a=-40, b=20)], 40, 60
    )
    ab = propagate(photo, hints)
    np.testing.assert_allclose(ab[:, :22], np.broadcast_to([60, 40], (40, 22, 2)), atol=1e-6)
    np.testing.assert_allclose(ab[:, 38:], np.broadcast_to([-40, 20], (40, 22, 2)), atol=1e-6)


def test_no_hints_are_gray_one_colour_is_everywhere_and_given_colours_stay() -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (24, 30))
    assert not propagate(lightness, hint_maps([], 24, 30)).any()
    one = propagate(lightness, hint_maps([Hint(row=4, column=4, side=2, a=12, b=-7)], 24, 30))
    np.testing.assert_allclose(one, np.broadcast_to([12, -7], one.shape))
    maps = hint_maps([Hint(row=4, column=4, side=3, a=12, b=-7), Hint(row=20, column=20, side=3, a=-50, b=7)], 24, 30)
    np.testing.assert_array_equal(propagate(lightness, maps)[maps.mask], maps.ab[maps.mask])


def test_the_map_runs_straight_between_given_lightnesses_and_is_constant_outside() -> None:
    ab = colour_map(
        np.array([0.0, 20.0, 40.0, 60.0, 100.0]), np.array([20.0, 60.0]), np.array([[0.0, 10.0], [40.0, -10.0]])
    )
    np.testing.assert_allclose(ab, [[0, 10], [0, 10], [20, 0], [40, -10], [40, -10]])


def test_hints_of_nearly_one_colour_make_one_label() -> None:
    labels = group_hints(np.array([[50.0, 20.0], [-40.0, 0.0], [52.0, 21.0], [-41.0, 3.0], [0.0, 60.0]]))
    assert labels[0] == labels[2] != labels[1]
    assert labels[1] == labels[3]
    assert len(set(labels.tolist())) == 3


def test_the_filter_that_answers_a_grating_most_has_its_frequency_and_direction() -> None:
    """Gratings at the centres of the 24 filters, 0.4 / 2^scale cycles per pixel, turned by 30 degrees each."""
    rows, columns = np.indices((128, 128))
    for scale in range(4):
        for k in (0, 2, 5):
            angle = np.pi * k / 6
            phase = 2 * np.pi * 0.4 / 2**scale * (columns * np.cos(angle) + rows * np.sin(angle))
            means = gabor_textures(50 + 20 * np.sin(phase))[64, 64, ::2]
            assert means.argmax() == scale * 6 + k
            # The transform of 20 sin holds 10 at the filter's centre, where its gain is 1.
            assert means.max() == pytest.approx(10, rel=0.1)


def test_smoothness_is_one_where_flat_and_small_in_texture() -> None:
    photo = np.concatenate([np.full((20, 20), 50.0), ruled(20, 20, 0)], axis=1)
    smooth = smoothness(photo)
    assert (smooth[:, :17] == 1).all()
    assert (smooth[:, 23:] < 0.2).all()


def test_colours_stay_in_the_hull_of_those_given(photos: dict[str, np.ndarray]) -> None:
    lab = srgb8_to_lab(photos["coffee"][60:188, 80:208])
    hints = hint_maps(draw_hints(lab[..., 1:], "coffee", HintRecipe(count=12)), 128, 128)
    ab = propagate(lab[..., 0], hints)
    given = hints.ab[hints.mask]
    assert (ab >= given.min(axis=0) - 1e-6).all()
    assert (ab <= given.max(axis=0) + 1e-6).all()


@pytest.mark.parametrize("name", ["coffee", "china"])
def test_twenty_true_hints_bring_real_photos_nearer_than_gray(name: str, photos: dict[str, np.ndarray]) -> None:
    lab = srgb8_to_lab(photos[name][60:188, 80:208])
    ab = propagate(lab[..., 0], hint_maps(draw_hints(lab[..., 1:], name, HintRecipe(count=20)), 128, 128))
    assert ((ab - lab[..., 1:]) ** 2).mean() < 0.7 * (lab[..., 1:] ** 2).mean()


def test_a_large_photo_is_coloured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a reduced size inside; the answer has the photo's size and the same regions."""
    monkeypatch.setattr("evalkit.colorizers.classical.luan2007.MAX_PIXELS", 40 * 40)
    photo = np.full((80, 120), 30.0)
    photo[:, 60:] = 70.0
    hints = hint_maps(
        [Hint(row=40, column=20, side=9, a=60, b=40), Hint(row=9, column=100, side=9, a=-40, b=20)], 80, 120
    )
    ab = propagate(photo, hints)
    assert ab.shape == (80, 120, 2)
    np.testing.assert_allclose(ab[:, :40], np.broadcast_to([60, 40], (80, 40, 2)), atol=0.5)
    np.testing.assert_allclose(ab[:, 80:], np.broadcast_to([-40, 20], (80, 40, 2)), atol=0.5)
