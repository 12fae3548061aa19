"""The losses, against plain NumPy and against finite differences."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from evalkit.color.ab_classes import PRESETS, AbClasses, preset, rebalancing_weights, smoothed_shares, soft_encode
from evalkit.colorizers.learned.network import AB_SPAN
from evalkit.colorizers.training.objective import ClassificationLoss, L2Loss, SoftEncoder

SHARES = {name: np.exp(-np.hypot(*preset(name).centers.T) / 12) for name in PRESETS}


def photo_ab(photos: dict[str, np.ndarray], side: int = 24) -> np.ndarray:
    """Colours of six real photos, shape (6, 2, side, side)."""
    ab = [rgb2lab(photo[40 : 40 + 7 * side : 7, 60 : 60 + 7 * side : 7])[..., 1:] for photo in photos.values()]
    return np.stack(ab).transpose(0, 3, 1, 2)


@cache
def encoder_of(name: str, n_neighbors: int = 10) -> SoftEncoder:
    return SoftEncoder(preset(name), n_neighbors)


def dense(encoder: SoftEncoder, ab: np.ndarray, n_classes: int) -> np.ndarray:
    indices, shares = encoder(torch.from_numpy(ab))
    return torch.zeros(len(ab), n_classes, dtype=shares.dtype).scatter(1, indices, shares).numpy()


@pytest.mark.parametrize("name", PRESETS)
def test_the_fast_encoding_equals_the_plain_one_on_real_photos(name: str, photos: dict[str, np.ndarray]) -> None:
    classes = preset(name)
    ab = photo_ab(photos).transpose(0, 2, 3, 1).reshape(-1, 2)
    found, expected = dense(encoder_of(name), ab, len(classes)), soft_encode(ab, classes)
    # Black and gray pixels have several centres at the same distance: there the last neighbour may be another one.
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-6)
    differing = (abs(found - expected) > 1e-6).any(axis=1)
    assert differing.mean() < 0.02
    assert abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("n_neighbors", [1, 5, 10])
def test_the_fast_encoding_equals_the_plain_one_all_over_the_plane(n_neighbors: int) -> None:
    classes = preset("zhang2016")
    ab = np.random.default_rng(0).uniform(-128, 128, (20_000, 2))
    found = dense(encoder_of("zhang2016", n_neighbors), ab, 313)
    np.testing.assert_allclose(found, soft_encode(ab, classes, n_neighbors), atol=1e-6)


@given(st.floats(-110, 110), st.floats(-110, 110))
def test_shares_are_right_where_centres_are_equally_far(a: float, b: float) -> None:
    # On lines between centres the last neighbour is not unique; the shares are, and that is what the loss sees.
    classes = preset("seed2024")
    ab = np.array([[round(a / 6) * 6.0, round(b / 6) * 6.0]])
    found = np.sort(dense(encoder_of("seed2024"), ab, 256))
    np.testing.assert_allclose(found, np.sort(soft_encode(ab, classes)), atol=1e-6)


def plain_loss(logits: np.ndarray, ab: np.ndarray, name: str, shares: np.ndarray | None) -> np.ndarray:
    """Loss of each pixel by eqs. 2 to 4, spelled out."""
    classes = preset(name)
    weights = np.ones(len(classes))
    if shares is not None:
        weights = rebalancing_weights(smoothed_shares(shares, classes), classes.rebalancing)
    losses = []
    for image_logits, image_ab in zip(logits, ab, strict=True):
        for i in range(ab.shape[2]):
            for j in range(ab.shape[3]):
                scores = image_logits[:, i, j]
                log_p = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
                z = soft_encode(image_ab[:, i, j], classes)
                losses.append(-weights[classes.nearest(image_ab[:, i, j])] * (z * log_p).sum())
    return np.array(losses)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rebalanced", [False, True])
def test_the_loss_is_the_papers_pixel_by_pixel(name: str, rebalanced: bool, photos: dict[str, np.ndarray]) -> None:
    ab = photo_ab(photos, 4)
    logits = 3 * np.random.default_rng(2).normal(size=(6, len(preset(name)), 4, 4))
    shares = SHARES[name] if rebalanced else None
    objective = ClassificationLoss(preset(name), shares).double()
    expected = plain_loss(logits, ab, name, shares)
    assert objective(torch.from_numpy(logits), torch.from_numpy(ab)).item() == pytest.approx(expected.mean(), rel=1e-6)
    for k in (0, 5):
        one = objective(torch.from_numpy(logits[k : k + 1, :, :1, :1]), torch.from_numpy(ab[k : k + 1, :, :1, :1]))
        assert one.item() == pytest.approx(expected[16 * k], rel=1e-6)


@pytest.mark.parametrize("rebalanced", [False, True])
def test_the_gradient_is_that_of_finite_differences(rebalanced: bool) -> None:
    centers = np.array([(a, b) for a in range(-30, 31, 15) for b in range(-30, 31, 15)], dtype=float)
    classes = AbClasses(name="few", centers=centers, sigma=8.0, smoothing_sigma=8.0, rebalancing=0.25, temperature=0.45)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 25, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    ab = 60 * torch.rand(2, 2, 2, 3, dtype=torch.float64, generator=generator) - 30
    shares = np.exp(-np.hypot(*centers.T) / 12)
    objective = ClassificationLoss(classes, shares if rebalanced else None).double()
    assert torch.autograd.gradcheck(lambda scores: objective(scores, ab), (logits,), eps=1e-6, atol=1e-8)


def test_rare_colours_weigh_more_by_the_papers_factor() -> None:
    classes = preset("seed2024")
    objective = ClassificationLoss(classes, SHARES["seed2024"])
    logits = torch.zeros(1, 256, 1, 1)  # every colour costs log Q before weighting
    gray, vivid = (torch.tensor(ab).reshape(1, 2, 1, 1) for ab in ([1.0, 1.0], [72.0, 48.0]))
    weights = rebalancing_weights(smoothed_shares(SHARES["seed2024"], classes), 0.25)
    for ab in (gray, vivid):
        weight = weights[classes.nearest(ab.ravel().numpy())]
        assert objective(logits, ab).item() == pytest.approx(weight * np.log(256), rel=1e-5)
    assert objective(logits, vivid) > 20 * objective(logits, gray)


def test_one_neighbour_is_the_cross_entropy_of_torch() -> None:
    classes = preset("zhang2016")
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 313, 5, 5, generator=generator)
    ab = 80 * torch.rand(2, 2, 5, 5, generator=generator) - 40
    target = torch.from_numpy(classes.nearest(ab.permute(0, 2, 3, 1).numpy()))
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(ClassificationLoss(classes, None, 1)(logits, ab), expected)


def test_the_l2_loss_is_half_the_squared_distance_in_units_of_110() -> None:
    ab = torch.tensor([30.0, -40.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert L2Loss()(torch.zeros(1, 2, 3, 3), ab).item() == pytest.approx(0.5 * (50 / AB_SPAN) ** 2)
    assert L2Loss()(ab / AB_SPAN, ab).item() == 0
