"""Samples: each pixel follows its own distribution, neighbours agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import gumbel_r, kstest

from evalkit.colorizers.learned.sampling import sampled_ab, smooth_gumbel
from evalkit.errors import InputError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("coherence", [0.0, 0.05, 0.3])
def test_the_fields_are_gumbel_distributed_at_every_pixel(coherence: float) -> None:
    fields = smooth_gumbel(4000, 12, 16, coherence, seeded(0)).numpy()
    for i, j in ((0, 0), (5, 7), (11, 15)):
        assert kstest(fields[:, i, j], gumbel_r.cdf).pvalue > 1e-3


def test_the_fields_are_smooth_as_far_as_asked() -> None:
    def agreement(coherence: float) -> float:
        fields = smooth_gumbel(200, 32, 32, coherence, seeded(1)).numpy()
        return float(np.corrcoef(fields[:, :, :-4].ravel(), fields[:, :, 4:].ravel())[0, 1])

    found = [agreement(coherence) for coherence in (0.0, 0.05, 0.15, 0.4)]
    assert abs(found[0]) < 0.02
    assert found == sorted(found)
    assert found[-1] > 0.9


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_pixel_is_drawn_from_its_own_distribution(temperature: float) -> None:
    logits = torch.tensor([1.5, 0.0, -1.0, 0.7]).reshape(1, 4, 1, 1).expand(1, 4, 6, 6)
    centers = torch.tensor([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    generator = seeded(2)
    drawn = torch.stack([sampled_ab(logits, centers, temperature, 0.3, generator)[0, 0, 3, 2] for _ in range(4000)])
    shares = np.bincount(drawn.long().numpy(), minlength=4) / 4000
    expected = torch.softmax(logits[0, :, 0, 0] / temperature, 0).numpy()
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / 4000**0.5)


def test_samples_differ_and_a_seed_repeats_them() -> None:
    logits = torch.randn(1, 256, 16, 16, generator=seeded(3))
    centers = torch.randn(256, 2, generator=seeded(4))
    one, same, other = (sampled_ab(logits, centers, 1.0, generator=seeded(seed)) for seed in (5, 5, 6))
    assert one.shape == (1, 2, 16, 16)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_low_temperature_gives_the_mode() -> None:
    logits = torch.randn(1, 20, 8, 8, generator=seeded(7))
    centers = torch.randn(20, 2, generator=seeded(8))
    expected = centers[logits[0].argmax(0)].permute(2, 0, 1)[None]
    torch.testing.assert_close(sampled_ab(logits, centers, 1e-5, generator=seeded(9)), expected)


@pytest.mark.parametrize(("temperature", "coherence"), [(0.0, 0.1), (-1.0, 0.1), (1.0, -0.1), (1.0, float("nan"))])
def test_values_without_meaning_are_refused(temperature: float, coherence: float) -> None:
    with pytest.raises(InputError, match=r"temperature|coherence"):
        sampled_ab(torch.zeros(1, 3, 4, 4), torch.zeros(3, 2), temperature, coherence)
