"""The networks of the paper authors' PyTorch release, run from a checkpoint file that the user has.

``eccv16`` is the network of this package with 313 classes and a learnt 1 x 1 convolution in place of the annealed
mean. ``siggraph17`` is another one: it reads colour hints beside L (none are given here), has skip connections, and
predicts ab at full resolution. The tests run both on made-up checkpoints of these names and shapes; the released
files themselves were not at hand.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016.
.. [2] R. Zhang, J.-Y. Zhu, P. Isola, X. Geng, A. S. Lin, T. Yu, A. A. Efros, "Real-Time User-Guided Image
   Colorization with Learned Deep Priors", SIGGRAPH 2017.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from evalkit.colorizers.learned.checkpoints import load_tensors
from evalkit.colorizers.learned.network import AB_SPAN, L_MIDDLE, L_SPAN, LAYOUTS, ColorizationNet
from evalkit.errors import InputError
from evalkit.wording import agree, counted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Eccv16", "Siggraph17", "load_published"]

INPUT_SIZE = 256
"""Side of the square that the release resizes photos to."""


class Eccv16(nn.Module):
    """The ECCV 2016 network as released: class probabilities, then a learnt linear map to ab."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ColorizationNet(313, LAYOUTS["full"])
        self.to_ab = nn.Conv2d(313, 2, 1, bias=False)

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, S / 4, S / 4), CIE Lab units."""
        ab: Tensor = AB_SPAN * self.to_ab(torch.softmax(self.network(lightness), dim=1))
        return ab

    @staticmethod
    def own_name(released: str) -> str:
        """Name here of a tensor of the release: ``model3.4.weight`` is that of layer 4 of block 3."""
        block = re.fullmatch(r"model([1-8])\.(.+)", released)
        if block:
            return f"network.blocks.{int(block[1]) - 1}.{block[2]}"
        return released.replace("model_out.", "to_ab.")


class Siggraph17(nn.Module):
    """The SIGGRAPH 2017 network as released, given no hints."""

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _block(4, 64, 2)
        self.model2 = _block(64, 128, 2)
        self.model3 = _block(128, 256, 3)
        self.model4 = _block(256, 512, 3)
        self.model5 = _block(512, 512, 3, dilation=2)
        self.model6 = _block(512, 512, 3, dilation=2)
        self.model7 = _block(512, 512, 3)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(512, 256, 4, 2, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(), *_block(256, 256, 2))
        self.model9up = nn.Sequential(nn.ConvTranspose2d(256, 128, 4, 2, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(), *_block(128, 128, 1))
        self.model10up = nn.Sequential(nn.ConvTranspose2d(128, 128, 4, 2, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1))
        # Scores of 529 classes, a training aid of the release: held so that its tensors fit, not used for colours.
        self.model_class = nn.Sequential(nn.Conv2d(256, 529, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, lightness: Tensor) -> Tensor:
        """L, 0..100, shape (N, 1, S, S), to ab, shape (N, 2, S, S), CIE Lab units."""
        no_hints = torch.zeros_like(lightness).expand(-1, 3, -1, -1)
        at1 = self.model1(torch.cat([(lightness - L_MIDDLE) / L_SPAN, no_hints], dim=1))
        at2 = self.model2(at1[:, :, ::2, ::2])
        at3 = self.model3(at2[:, :, ::2, ::2])
        x = self.model4(at3[:, :, ::2, ::2])
        x = self.model7(self.model6(self.model5(x)))
        x = self.model8(self.model8up(x) + self.model3short8(at3))
        x = self.model9(self.model9up(x) + self.model2short9(at2))
        x = self.model10(self.model10up(x) + self.model1short10(at1))
        ab: Tensor = AB_SPAN * self.model_out(x)
        return ab

    @staticmethod
    def own_name(released: str) -> str:
        """Name here of a tensor of the release: the same."""
        return released


def _block(before: int, width: int, n: int, dilation: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(n):
        first = before if k == 0 else width
        layers += [nn.Conv2d(first, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm2d(width))


_NETWORKS: dict[str, Callable[[], Eccv16 | Siggraph17]] = {"eccv16": Eccv16, "siggraph17": Siggraph17}


def load_published(name: str, path: Path) -> nn.Module:
    """One of the released networks with the weights of a file: L, shape (N, 1, S, S), to ab.

    Parameters
    ----------
    name : {"eccv16", "siggraph17"}
    path : Path
        ``colorization_release_v2-9b330a0b.pth`` or ``siggraph17-df00044c.pth``, as downloaded.

    Returns
    -------
    nn.Module
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    InputError
        If the file is not a table of tensors, or any name or shape differs from the network's.
    """
    network = _NETWORKS[name]()
    tensors = _tensors(load_tensors(path), path)
    state = {network.own_name(key): value for key, value in tensors.items()}
    wanted = network.state_dict()
    # Files older than torch 0.4.1 lack this counter of training steps, which colours nothing.
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, value)
    absent, surplus = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if absent or surplus:
        what = [
            f"{counted(len(keys), 'tensor')} {agree(len(keys), *verbs)} {rest} (first: {keys[0]})"
            for keys, verbs, rest in (
                (absent, ("is", "are"), "absent"),
                (surplus, ("does", "do"), "not belong to it"),
            )
            if keys
        ]
        raise InputError(f"{path} is not a checkpoint of {name}: {', and '.join(what)}")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise InputError(
                f"{path} is not a checkpoint of {name}: {key} has shape {tuple(state[key].shape)}, "
                f"not {tuple(value.shape)}"
            )
    network.load_state_dict(state)
    return network.eval()


def _tensors(record: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The table of tensors, out of the wrappings that training scripts put around it."""
    table: Mapping[str, Any] = record
    for key in ("state_dict", "model_state_dict"):
        if isinstance(table.get(key), Mapping):
            table = table[key]
    no_tensors = [key for key, value in table.items() if not isinstance(value, torch.Tensor)]
    if not table or no_tensors:
        raise InputError(
            f"{path} is not a checkpoint of the release: it holds {no_tensors[0] if no_tensors else 'nothing'}"
        )
    parallel = all(key.startswith("module.") for key in table)
    return {key.removeprefix("module.") if parallel else key: value for key, value in table.items()}
