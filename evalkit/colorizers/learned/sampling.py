"""Several colorizations of one photo, drawn from the network's distribution so that neighbours agree.

Drawing every pixel for itself gives confetti. Here each class gets a smooth random field, and a pixel takes the class
with the largest sum of log-probability and field. Where the fields are Gumbel-distributed at each pixel, that choice
follows the pixel's own distribution exactly (the Gumbel-max trick); that they are smooth makes neighbours choose
alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["sampled_ab", "smooth_gumbel"]


def smooth_gumbel(
    n_fields: int, height: int, width: int, coherence: float, generator: torch.Generator | None = None
) -> Tensor:
    """Random fields that are Gumbel-distributed at every pixel and smooth across pixels.

    White Gaussian noise is blurred by a Gaussian on the torus (so its variance is the same everywhere, and is set to
    one exactly), then mapped by the distribution functions from normal to Gumbel.

    Parameters
    ----------
    n_fields, height, width : int
    coherence : float
        Standard deviation of the blur as a share of the longer side; 0 for independent pixels.
    generator : torch.Generator, optional
        On the CPU, so that the same seed gives the same fields on every device.

    Returns
    -------
    Tensor of float32, shape (n_fields, height, width)

    Raises
    ------
    InputError
        If the coherence is negative or not finite.
    """
    if not 0 <= coherence < math.inf:
        raise InputError(f"the coherence is {coherence}; it must be 0 or a positive number")
    noise = torch.randn(n_fields, height, width, generator=generator, dtype=torch.float64)
    if coherence > 0:
        sigma = coherence * max(height, width)
        rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
        response = torch.exp(-2.0 * (math.pi * sigma) ** 2 * (rows**2 + columns**2))
        # Variance of the blurred noise: the mean of the squared response over all (not half the) frequencies.
        whole = torch.exp(-4.0 * (math.pi * sigma) ** 2 * (rows**2 + torch.fft.fftfreq(width).double()[None] ** 2))
        noise = torch.fft.irfft2(torch.fft.rfft2(noise) * response, s=(height, width)) / whole.mean().sqrt()
    uniform = torch.special.ndtr(noise).clamp(1e-15, 1 - 1e-15)
    return (-torch.log(-torch.log(uniform))).float()


def sampled_ab(
    logits: Tensor,
    centers: Tensor,
    temperature: float,
    coherence: float = 0.25,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one colorization.

    Parameters
    ----------
    logits : Tensor, shape (1, Q, h, w)
        Unnormalised log-probabilities.
    centers : Tensor, shape (Q, 2)
    temperature : float
        T > 0: each pixel follows softmax(logits / T); small values stay near the mode.
    coherence : float, default 0.25
        How far neighbours agree (`smooth_gumbel`).
    generator : torch.Generator, optional

    Returns
    -------
    Tensor, shape (1, 2, h, w)
        Class centres, CIE Lab units.

    Raises
    ------
    InputError
        If the temperature or the coherence is not as above.
    """
    if not 0 < temperature < math.inf:
        raise InputError(f"the temperature is {temperature}; to draw samples it must be a positive number")
    n_classes, height, width = logits.shape[1:]
    fields = smooth_gumbel(n_classes, height, width, coherence, generator).to(logits)
    chosen = (logits[0] / temperature + fields).argmax(dim=0)
    return centers.to(logits)[chosen].permute(2, 0, 1)[None]
