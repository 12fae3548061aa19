"""Where features come from: the blocks of a colorizer, of the same network with random weights, of a classifier.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 3.2: linear classifiers on
   each layer, feature maps resized to about 9,000 numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from evalkit.color.colorspace import lab_planes
from evalkit.colorizers.anchors import Gray
from evalkit.colorizers.learned.network import STRIDE, ColorizationNet
from evalkit.errors import InputError
from evalkit.images.image_files import resize

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from evalkit.arrays import Rgb8
    from evalkit.networks.classifiers import Classifier

__all__ = [
    "Features",
    "check_size",
    "colorizer_features",
    "pooled",
    "random_network",
    "supervised_features",
]

N_FEATURES = 9000
"""Numbers that a block's activations are resized to, about."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """A network whose layers are probed, on photos of one size.

    Attributes
    ----------
    network : str
        Its name in tables.
    size : int or None
        Side of the square that photos are resized to; None where the network has a preprocessing of its own.
    digest : str
        Of its weights and of what is done to a photo: equal digests give equal features.
    maps : callable
        From a photo to names of blocks and float32 maps of shape (C, h, w), in order.
    """

    network: str
    size: int | None
    digest: str
    maps: Callable[[Rgb8], list[tuple[str, npt.NDArray[np.float32]]]]


def check_size(size: int) -> None:
    """Refuse a size that the network cannot take.

    Raises
    ------
    InputError
        If it is no positive multiple of 8.
    """
    if size < STRIDE or size % STRIDE:
        raise InputError(f"size {size}: the network takes photos whose side is a multiple of {STRIDE} pixels")


def colorizer_features(
    network: ColorizationNet, size: int, device: torch.device | str = "cpu", name: str = "trained"
) -> Features:
    """Activations of the eight blocks; the network reads L alone, so photos in colour and in gray give the same.

    Parameters
    ----------
    network : ColorizationNet
    size : int
        Side of the square that photos are resized to, a multiple of 8.
    device : torch.device or str
    name : str
        What tables call it.

    Raises
    ------
    InputError
        If the size is no multiple of 8.
    """
    check_size(size)
    network = network.to(device).eval()

    def maps(rgb8: Rgb8) -> list[tuple[str, npt.NDArray[np.float32]]]:
        lightness = lab_planes(resize(rgb8, size))[0].astype(np.float32).reshape(1, 1, size, size)
        with torch.inference_mode():
            activations = network.activations(torch.from_numpy(lightness).to(device))
        return [
            (f"block {k}", activation[0].float().cpu().numpy()) for k, activation in enumerate(activations, start=1)
        ]

    return Features(network=name, size=size, digest=_digest(network, f"L of {size} x {size}"), maps=maps)


def supervised_features(classifier: Classifier, *, gray: bool, n_blocks: int = 8) -> Features:
    """Activations of a network that was trained with labels: the ceiling.

    Parameters
    ----------
    classifier : Classifier
        One whose module has ``features``, a sequence of layers (VGG, AlexNet, SqueezeNet, MobileNet, ...).
    gray : bool
        Give it the photos without colours, as the colorizer sees them.
    n_blocks : int
        Layers to read, spread evenly over the sequence; the last one is among them.

    Raises
    ------
    InputError
        If the module has no such sequence.
    """
    layers = getattr(classifier.module, "features", None)
    if not isinstance(layers, nn.Sequential):
        raise InputError(f"{classifier.name}: has no sequence 'features' to probe; give a VGG, SqueezeNet or MobileNet")
    wanted = np.unique(np.linspace(0, len(layers) - 1, min(n_blocks, len(layers)) + 1).round().astype(int)[1:])

    def maps(rgb8: Rgb8) -> list[tuple[str, npt.NDArray[np.float32]]]:
        photo = Gray().colorize(rgb8, None)[0] if gray else rgb8
        found: list[tuple[str, npt.NDArray[np.float32]]] = []
        hooks = [
            layers[int(k)].register_forward_hook(
                lambda _module, _inputs, output, k=int(k): found.append((f"layer {k}", output[0].float().cpu().numpy()))
            )
            for k in wanted
        ]
        try:
            classifier.logits(np.stack([classifier.prepare(photo)]))
        finally:
            for hook in hooks:
                hook.remove()
        return found

    seen = "gray" if gray else "colour"
    how = f"{seen}, {getattr(classifier, 'preprocessing', None)}, {n_blocks} layers"
    return Features(network=f"{classifier.name}, {seen}", size=None, digest=_digest(classifier.module, how), maps=maps)


def pooled(activation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A map of shape (C, h, w), averaged down to about `N_FEATURES` numbers; smaller maps stay as they are.

    Returns
    -------
    ndarray of float32, shape (n_features,)
    """
    side = max(1, round(math.sqrt(N_FEATURES / activation.shape[0])))
    height, width = min(side, activation.shape[1]), min(side, activation.shape[2])
    averaged = functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(activation))[None], (height, width))
    flat: npt.NDArray[np.float32] = averaged.reshape(-1).numpy()
    return flat


def random_network(like: ColorizationNet, seed: int = 0) -> ColorizationNet:
    """A network of the same shape that has learnt nothing: the floor.

    Its weights are drawn as those are from which `evalkit train` starts; batch normalisation does nothing yet.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ColorizationNet(like.n_outputs, like.widths).eval()


def _digest(module: nn.Module, how: str) -> str:
    """Of every weight, and of what is done to a photo before."""
    digest = hashlib.sha256(how.encode())
    tensors: dict[str, Tensor] = module.state_dict()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
