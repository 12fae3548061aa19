"""From scores to a picture: annealed mean, upsampling, and the join with the photo's own lightness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from skimage.color import rgb2lab

from evalkit.color.ab_classes import PRESETS, preset
from evalkit.color.ab_classes import annealed_mean as plain_annealed_mean
from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab
from evalkit.colorizers.learned.decoding import annealed_mean, join_with_lightness, upsampled
from evalkit.errors import InputError


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("temperature", [0, 0.05, 0.38, 0.45, 1.0, 3.0])
def test_the_annealed_mean_equals_the_plain_one_pixel_by_pixel(name: str, temperature: float) -> None:
    classes = preset(name)
    logits = 4 * np.random.default_rng(0).normal(size=(2, len(classes), 5, 6))
    found = annealed_mean(torch.from_numpy(logits), torch.from_numpy(classes.centers), temperature)
    z = softmax(logits, axis=1).transpose(0, 2, 3, 1)
    expected = plain_annealed_mean(z, classes, temperature)
    np.testing.assert_allclose(found.numpy().transpose(0, 2, 3, 1), expected, atol=1e-9)


def test_single_precision_is_precise_enough() -> None:
    classes = preset("zhang2016")
    logits = 20 * torch.randn(1, 313, 16, 16, generator=torch.Generator().manual_seed(1))
    centers = torch.from_numpy(classes.centers)
    single, double = annealed_mean(logits, centers, 0.38), annealed_mean(logits.double(), centers, 0.38)
    assert (single - double).abs().max() < 1e-3


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_without_meaning_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        annealed_mean(torch.zeros(1, 313, 2, 2), torch.zeros(313, 2), temperature)


def test_upsampling_is_pillows_bilinear_filter() -> None:
    ab = torch.randn(1, 2, 7, 9, generator=torch.Generator().manual_seed(2))
    found = upsampled(ab, 50, 61)
    for plane, expected in zip(found[0], ab[0], strict=True):
        resized = np.asarray(Image.fromarray(expected.numpy()).resize((61, 50), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(plane.numpy(), resized, atol=1e-5)


def test_the_photos_own_colours_give_the_photo_back(photos: dict[str, np.ndarray]) -> None:
    photo = np.ascontiguousarray(photos["coffee"][:90, :110])
    ab = torch.from_numpy(srgb8_to_lab(photo)[..., 1:].transpose(2, 0, 1))
    rgb8, n_clipped = join_with_lightness(photo, ab)
    assert np.abs(rgb8.astype(int) - photo).max() <= 1  # ab travel in single precision
    assert (rgb8 != photo).mean() < 1e-3
    assert n_clipped < 0.01 * photo[..., 0].size


def test_the_join_is_that_of_the_reference_and_counts_what_it_clips(photos: dict[str, np.ndarray]) -> None:
    photo = np.ascontiguousarray(photos["astronaut"][:80, 100:180])
    ab = torch.tensor([40.0, -60.0]).reshape(2, 1, 1).expand(2, 20, 20)
    rgb8, n_clipped = join_with_lightness(photo, ab)
    lab = srgb8_to_lab(photo)
    lab[..., 1:] = (40, -60)
    expected, clipped = lab_to_srgb8(lab)
    assert (rgb8 != expected).any(axis=-1).mean() < 1e-3
    assert abs(n_clipped - clipped.sum()) <= 3
    assert n_clipped > 0
    inside = ~clipped
    assert np.abs(rgb2lab(rgb8)[inside][:, 0] - rgb2lab(photo)[inside][:, 0]).max() < 0.7  # 8 bits, nothing else


def test_a_gray_photo_keeps_its_lightness_at_any_size() -> None:
    ramp = np.repeat(np.arange(30, 200, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(33, axis=0)
    rgb8, _ = join_with_lightness(ramp, torch.full((1, 2, 4, 4), 6.0))
    assert rgb8.shape == (33, 170, 3)
    assert np.abs(rgb2lab(rgb8)[..., 0] - rgb2lab(ramp)[..., 0]).max() < 0.7
