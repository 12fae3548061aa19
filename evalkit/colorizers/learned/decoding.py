"""From the network's output to a picture: annealed mean, upsampling, and the join with the photo's own L.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 2.3, eq. 5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from evalkit.color.colorspace import lab_planes
from evalkit.color.lab_join import join_lab
from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from evalkit.arrays import Rgb8

__all__ = ["annealed_mean", "check_temperature", "join_with_lightness", "upsampled"]


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that has no meaning.

    Raises
    ------
    InputError
        If it is negative or not finite.
    """
    if not 0 <= temperature < math.inf:
        raise InputError(f"the temperature is {temperature}; it must be 0 (the mode) or a positive number")


def annealed_mean(logits: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Colour of each pixel's distribution over classes (eq. 5).

    Parameters
    ----------
    logits : Tensor, shape (N, Q, h, w)
        Unnormalised log-probabilities.
    centers : Tensor, shape (Q, 2)
        Class centres, CIE Lab units.
    temperature : float
        T >= 0: 1 is the mean, 0 the mode.

    Returns
    -------
    Tensor, shape (N, 2, h, w)
        The colours of `evalkit.color.ab_classes.annealed_mean`.

    Raises
    ------
    InputError
        If T is negative or not finite.
    """
    check_temperature(temperature)
    centers = centers.to(logits)
    if temperature == 0:
        return centers[logits.argmax(dim=1)].permute(0, 3, 1, 2)
    # softmax(log z / T) = softmax(logits / T), whose numerators alone are made: a column of ones beside the centres
    # adds up the denominator in the same product, two passes over the classes fewer than a softmax and its mean.
    scores = logits.permute(0, 2, 3, 1)
    numerators = (scores - scores.amax(dim=3, keepdim=True)).mul_(1.0 / temperature).exp_()
    sums = numerators @ torch.cat([centers, torch.ones_like(centers[:, :1])], dim=1)
    return (sums[..., :2] / sums[..., 2:]).permute(0, 3, 1, 2)


def upsampled(ab: Tensor, height: int, width: int) -> Tensor:
    """Bring ab to the size of the photo, bilinearly.

    Parameters
    ----------
    ab : Tensor, shape (N, 2, h, w)

    Returns
    -------
    Tensor, shape (N, 2, height, width)
    """
    return functional.interpolate(ab, (height, width), mode="bilinear", align_corners=False)


def join_with_lightness(rgb8: Rgb8, ab: Tensor) -> tuple[Rgb8, int]:
    """Give a photo new colours; its own L stays, untouched by any resizing.

    Parameters
    ----------
    rgb8 : ndarray of uint8, shape (H, W, 3)
        The photo, in colour or gray.
    ab : Tensor, shape (1, 2, h, w) or (2, h, w)
        Colours at any resolution, CIE Lab units; upsampled here.

    Returns
    -------
    rgb8 : ndarray of uint8, shape (H, W, 3)
    n_clipped : int
        Pixels whose colour lay outside the sRGB gamut and was clipped.
    """
    height, width = rgb8.shape[:2]
    full = upsampled(ab.reshape(1, *ab.shape[-3:]).float(), height, width)[0].double().cpu().numpy()
    a, b = (np.ascontiguousarray(plane).ravel() for plane in full)
    flat, n_clipped = join_lab(lab_planes(rgb8)[0], a, b)
    return flat.reshape(rgb8.shape), n_clipped
