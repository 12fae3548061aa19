"""A trained network as a colorizer: photo in, photo with new colours out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from evalkit.color.ab_classes import AbClasses
from evalkit.color.colorspace import lab_planes
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.decoding import annealed_mean, check_temperature, join_with_lightness
from evalkit.colorizers.learned.network import AB_SPAN
from evalkit.images.image_files import resize

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.arrays import Rgb8

__all__ = ["AnnealedMean", "LearnedColorizer", "Regression", "as_ab_network"]


class AnnealedMean(nn.Module):
    """A network that classifies, with the annealed mean behind it: L to ab.

    Parameters
    ----------
    network : nn.Module
        L, shape (N, 1, S, S), to scores of shape (N, Q, h, w).
    classes : AbClasses
    temperature : float, optional
        That of the classes where not given.
    """

    centers: Tensor

    def __init__(self, network: nn.Module, classes: AbClasses, temperature: float | None = None) -> None:
        super().__init__()
        self.network = network
        self.temperature = classes.temperature if temperature is None else temperature
        check_temperature(self.temperature)
        self.register_buffer("centers", torch.from_numpy(classes.centers).float(), False)

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, h, w), CIE Lab units."""
        return annealed_mean(self.network(lightness).float(), self.centers, self.temperature)


class Regression(nn.Module):
    """A network that predicts ab / 110, in CIE Lab units."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, h, w), CIE Lab units."""
        ab: Tensor = AB_SPAN * self.network(lightness).float()
        return ab


def as_ab_network(checkpoint: Checkpoint, temperature: float | None = None) -> nn.Module:
    """A checkpoint's network with its decoding: L, shape (N, 1, S, S), to ab, shape (N, 2, h, w)."""
    network = checkpoint.network()
    return Regression(network) if checkpoint.is_regression else AnnealedMean(network, checkpoint.classes, temperature)


class LearnedColorizer:
    """Colours photos of any size with a network of a fixed input size.

    The photo is resized to the network's square (bicubic, antialiased), the predicted ab are upsampled to the
    photo's size, and its own L is kept as it is.

    Parameters
    ----------
    ab_network : nn.Module
        L, shape (N, 1, S, S), to ab of any resolution.
    input_size : int
        S.
    device : torch.device or str

    Examples
    --------
    >>> from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
    >>> checkpoint = load_checkpoint(shipped_weights("full"))  # doctest: +SKIP
    >>> colorizer = LearnedColorizer(as_ab_network(checkpoint), checkpoint.input_size)  # doctest: +SKIP
    """

    def __init__(self, ab_network: nn.Module, input_size: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.ab_network = ab_network.to(self.device).eval()
        self.input_size = input_size

    def network_input(self, photos: Sequence[Rgb8]) -> Tensor:
        """L of photos at the network's size, shape (N, 1, S, S)."""
        small = [lab_planes(resize(photo, self.input_size))[0] for photo in photos]
        lightness = np.stack(small).astype(np.float32).reshape(-1, 1, self.input_size, self.input_size)
        return torch.from_numpy(lightness).to(self.device)

    @torch.inference_mode()
    def predict_ab(self, photos: Sequence[Rgb8]) -> Tensor:
        """Colours at the network's resolution, shape (N, 2, h, w), CIE Lab units."""
        ab: Tensor = self.ab_network(self.network_input(photos))
        return ab

    def __call__(self, photos: Sequence[Rgb8]) -> list[tuple[Rgb8, int]]:
        """Colour photos, of any sizes, in one batch.

        Parameters
        ----------
        photos : sequence of ndarray of uint8, shape (H, W, 3)

        Returns
        -------
        list of (rgb8, n_clipped)
            The photos in their new colours, each at its own size, and the pixels clipped into the sRGB gamut.
        """
        return [join_with_lightness(photo, ab) for photo, ab in zip(photos, self.predict_ab(photos), strict=True)]
