"""A trained network as a colorizer: photo in, photo with new colours out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from evalkit.arrays import FloatArray
from evalkit.color.ab_classes import AbClasses, loss_weights
from evalkit.color.colorspace import lab_planes
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.decoding import annealed_mean, check_temperature, join_with_lightness
from evalkit.colorizers.learned.network import AB_SPAN
from evalkit.colorizers.variants import VARIANTS
from evalkit.errors import InputError
from evalkit.images.image_files import resize
from evalkit.networks.devices import uploaded

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.arrays import Rgb8

__all__ = ["AnnealedMean", "LearnedColorizer", "Regression", "as_ab_network", "log_weights_between"]


class AnnealedMean(nn.Module):
    """A network that classifies, with the annealed mean behind it: L to ab.

    Parameters
    ----------
    network : nn.Module
        L, shape (N, 1, S, S), to scores of shape (N, Q, h, w).
    classes : AbClasses
    temperature : float, optional
        That of the classes where not given.
    log_weights : array_like, shape (Q,), optional
        Added to the scores: log w is what class weights w in the loss would have taught the network.
    """

    centers: Tensor
    log_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        classes: AbClasses,
        temperature: float | None = None,
        log_weights: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature = classes.temperature if temperature is None else temperature
        check_temperature(self.temperature)
        self.register_buffer("centers", torch.from_numpy(classes.centers).float(), False)
        added = None if log_weights is None else torch.as_tensor(log_weights).float().reshape(-1, 1, 1)
        self.register_buffer("log_weights", added, False)

    def scores(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to scores of the classes, shape (N, Q, h, w), float32."""
        scores: Tensor = self.network(lightness).float()
        return scores if self.log_weights is None else scores + self.log_weights

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, h, w), CIE Lab units."""
        return annealed_mean(self.scores(lightness), self.centers, self.temperature)


class Regression(nn.Module):
    """A network that predicts ab / 110, in CIE Lab units."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, h, w), CIE Lab units."""
        ab: Tensor = AB_SPAN * self.network(lightness).float()
        return ab


def as_ab_network(
    checkpoint: Checkpoint, temperature: float | None = None, log_weights: npt.ArrayLike | None = None
) -> nn.Module:
    """A checkpoint's network with its decoding: L, shape (N, 1, S, S), to ab, shape (N, 2, h, w)."""
    network = checkpoint.network()
    if checkpoint.is_regression:
        return Regression(network)
    return AnnealedMean(network, checkpoint.classes, temperature, log_weights)


def log_weights_between(checkpoint: Checkpoint, rebalancing: float, shares: npt.ArrayLike | None = None) -> FloatArray:
    """What to add to the scores of a network, so that they are those of one trained under another lambda.

    Under class weights w in the loss, the scores to learn are log p + log w: the weights of the new lambda come on,
    those that the network was trained with come off. Exact for a network that has learnt all there is to learn.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of a variant that classifies.
    rebalancing : float
        lambda, above 0 and at most 1; 1 weighs no colour up, as ``classification`` is trained.
    shares : array_like, shape (Q,), optional
        Class shares of the photos that were learnt from; those of the checkpoint where not given.

    Returns
    -------
    ndarray of float64, shape (Q,)

    Raises
    ------
    InputError
        If lambda is not of that range, or neither names the shares.
    """
    if not 0 < rebalancing <= 1:
        raise InputError(f"lambda is {rebalancing:g}; it must be above 0 and at most 1 (which weighs no colour up)")
    shares = checkpoint.shares if shares is None else shares
    if shares is None:
        raise InputError(
            "the checkpoint does not hold the class shares of its photos, which lambda needs; name the file prior.json "
            "of its training with --prior"
        )
    trained = checkpoint.classes.rebalancing if VARIANTS[checkpoint.variant].rebalanced else 1.0
    new, old = (np.log(loss_weights(shares, checkpoint.classes, value)) for value in (rebalancing, trained))
    difference: FloatArray = new - old
    return difference


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
        return uploaded(lightness, self.device)

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
