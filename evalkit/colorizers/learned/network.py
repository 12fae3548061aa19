"""The reference network: from lightness to a score for each ab class (or to ab itself) at a quarter of the resolution.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, figure 2 and supplementary
   table 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LAYOUTS", "OUTPUT_STRIDE", "STRIDE", "ColorizationNet", "n_parameters", "receptive_field"]

LAYOUTS: dict[str, tuple[int, ...]] = {
    "full": (64, 128, 256, 512, 512, 512, 512, 256),
    "small": (16, 32, 64, 96, 96, 96, 96, 64),
    "tiny": (8, 8, 16, 16, 16, 16, 16, 16),
}
"""Channels of blocks 1 to 8: the published network, one for CPU work, and one for tests."""

_CONVOLUTIONS = (2, 2, 3, 3, 3, 3, 3)
_STRIDES = (2, 2, 2, 1, 1, 1, 1)
_DILATIONS = (1, 1, 1, 1, 2, 2, 1)

STRIDE = 8
"""Both sides of the input must be multiples of this: blocks 1 to 3 halve them."""
OUTPUT_STRIDE = 4
"""Input pixels per output pixel along each side: block 8 doubles again."""

L_MIDDLE, L_SPAN = 50.0, 100.0
"""The network reads (L - 50) / 100, as the published one does."""
AB_SPAN = 110.0
"""A regression output of 1 stands for this many ab units, as in the published network."""


class ColorizationNet(nn.Module):
    """Eight blocks of two or three 3 x 3 convolutions; no pooling.

    Blocks 1 to 3 end with a stride of 2, blocks 5 and 6 are dilated by 2, blocks 1 to 7 end with batch
    normalisation after the last ReLU. Block 8 doubles the resolution with a transposed convolution, has no batch
    normalisation, and ends in a 1 x 1 convolution to the outputs.

    Parameters
    ----------
    n_outputs : int
        Q for a distribution over Q ab classes; 2 for regression, in units of 110 ab.
    widths : sequence of 8 ints
        Channels of the blocks (`LAYOUTS`).

    Raises
    ------
    InputError
        If the widths are not eight positive numbers.
    """

    def __init__(self, n_outputs: int, widths: Sequence[int] = LAYOUTS["full"]) -> None:
        super().__init__()
        if len(widths) != 8 or min(widths) < 1:
            raise InputError(f"the network has 8 blocks; {list(widths)} are not 8 positive numbers of channels")
        self.widths = tuple(widths)
        self.n_outputs = n_outputs
        self.blocks = nn.ModuleList()
        before = 1
        for width, n, stride, dilation in zip(widths[:7], _CONVOLUTIONS, _STRIDES, _DILATIONS, strict=True):
            layers: list[nn.Module] = []
            for k in range(n):
                step = stride if k == n - 1 else 1
                layers += [nn.Conv2d(before, width, 3, step, padding=dilation, dilation=dilation), nn.ReLU()]
                before = width
            self.blocks.append(nn.Sequential(*layers, nn.BatchNorm2d(width)))
        last = widths[7]
        self.blocks.append(
            nn.Sequential(
                nn.ConvTranspose2d(before, last, 4, 2, padding=1),
                nn.ReLU(),
                nn.Conv2d(last, last, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(last, last, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(last, n_outputs, 1),
            )
        )

    @property
    def output_layer(self) -> nn.Conv2d:
        """The last convolution, 1 x 1: the one layer that differs between the variants."""
        layer = self.blocks[7][-1]  # type: ignore[index]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def activations(self, lightness: Tensor) -> list[Tensor]:
        """Outputs of the eight blocks, in order; the last one is that of `forward`.

        Parameters
        ----------
        lightness : Tensor, shape (N, 1, H, W)
            CIE Lab L, 0..100; H and W multiples of 8.

        Returns
        -------
        list of Tensor

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
        activations = []
        x = (lightness - L_MIDDLE) / L_SPAN
        for block in self.blocks:
            x = block(x)
            activations.append(x)
        return activations

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
        """
        return self.activations(lightness)[-1]


def n_parameters(network: nn.Module) -> int:
    """Number of learnt numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def receptive_field() -> int:
    """Side, in input pixels, of the square that one output can depend on.

    The same for every layout: it follows from kernels, strides and dilations alone.

    Examples
    --------
    >>> receptive_field()
    349
    """
    side, step = 1, 1
    for n, stride, dilation in zip(_CONVOLUTIONS, _STRIDES, _DILATIONS, strict=True):
        side += 2 * dilation * step * n
        step *= stride
    # A transposed convolution of kernel 4 and stride 2: each output reads two neighbouring inputs.
    side += step
    step //= 2
    return side + 2 * 2 * step
