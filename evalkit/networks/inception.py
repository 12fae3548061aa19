"""The Inception network of FID: its features, and the two ways in which an image is brought to its size.

A. Obukhov, M. Krasnyanskiy, "torch-fidelity", 2020: the network and resizing of the original TensorFlow code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.weight_files import load_state

if TYPE_CHECKING:
    import torch

__all__ = ["N_FEATURES", "RESIZE", "SIDE", "inception", "load_inception", "torch_fidelity"]

SIDE = 299
N_FEATURES = 2048


def torch_fidelity(module: str) -> Any:
    """A module of torch-fidelity; by name, for it has no types."""
    import_torchvision()
    return import_module(f"torch_fidelity.{module}")


def _resize_like_tensorflow(rgb8: Rgb8) -> npt.NDArray[np.float32]:
    """Bilinear without antialiasing, as the first FID code: float32, shape (3, 299, 299), 0 to 255."""
    import torch

    interpolate = torch_fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    x = torch.from_numpy(np.array(rgb8, dtype=np.float32).transpose(2, 0, 1)[np.newaxis])
    resized: torch.Tensor = interpolate(x, size=(SIDE, SIDE), align_corners=False)
    return resized[0].numpy()


def _resize_clean(rgb8: Rgb8) -> npt.NDArray[np.float32]:
    """Bicubic with antialiasing in floating point, clipped to 0 to 255, as clean-fid."""
    from PIL import Image

    channels = [
        np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for channel in rgb8.astype(np.float32).transpose(2, 0, 1)
    ]
    clipped: npt.NDArray[np.float32] = np.clip(np.stack(channels), 0, 255)
    return clipped


RESIZE: Mapping[str, Callable[[Rgb8], npt.NDArray[np.float32]]] = {
    "torch-fidelity": _resize_like_tensorflow,
    "clean-fid": _resize_clean,
}


def inception() -> Any:
    """Inception up to its 2,048 pooled features, with the weights that torch draws for a new network."""
    from collections import OrderedDict

    from torch import nn

    blocks = torch_fidelity("feature_extractor_inceptionv3")
    layers: list[tuple[str, nn.Module]] = [
        ("Conv2d_1a_3x3", blocks.BasicConv2d(3, 32, kernel_size=3, stride=2)),
        ("Conv2d_2a_3x3", blocks.BasicConv2d(32, 32, kernel_size=3)),
        ("Conv2d_2b_3x3", blocks.BasicConv2d(32, 64, kernel_size=3, padding=1)),
        ("MaxPool_1", nn.MaxPool2d(kernel_size=3, stride=2)),
        ("Conv2d_3b_1x1", blocks.BasicConv2d(64, 80, kernel_size=1)),
        ("Conv2d_4a_3x3", blocks.BasicConv2d(80, 192, kernel_size=3)),
        ("MaxPool_2", nn.MaxPool2d(kernel_size=3, stride=2)),
        ("Mixed_5b", blocks.InceptionA(192, pool_features=32)),
        ("Mixed_5c", blocks.InceptionA(256, pool_features=64)),
        ("Mixed_5d", blocks.InceptionA(288, pool_features=64)),
        ("Mixed_6a", blocks.InceptionB(288)),
        ("Mixed_6b", blocks.InceptionC(768, channels_7x7=128)),
        ("Mixed_6c", blocks.InceptionC(768, channels_7x7=160)),
        ("Mixed_6d", blocks.InceptionC(768, channels_7x7=160)),
        ("Mixed_6e", blocks.InceptionC(768, channels_7x7=192)),
        ("Mixed_7a", blocks.InceptionD(768)),
        ("Mixed_7b", blocks.InceptionE_1(1280)),
        ("Mixed_7c", blocks.InceptionE_2(2048)),
    ]
    return nn.Sequential(OrderedDict(layers))


def load_inception(path: Path) -> Any:
    """That network with the weights of a file.

    Raises
    ------
    InputError
        If they are those of another network.
    """
    import torch

    state = {name: value for name, value in load_state(path).items() if not name.startswith("fc.")}
    with torch.device("meta"):  # without storage: the tensors of the file become the parameters
        model = inception()
    wanted = model.state_dict()
    if any(
        state[name].shape != value.shape if name in state else "num_batches" not in name
        for name, value in wanted.items()
    ):
        raise InputError(f"{path}: are weights of another network than the Inception of FID.")
    for name in wanted:
        state.setdefault(name, torch.zeros((), dtype=torch.int64))
    model.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return model.eval()
