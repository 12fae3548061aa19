"""The network's shape: blocks, parameter count, receptive field, resolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet, n_parameters, receptive_field
from evalkit.errors import InputError

TINY = LAYOUTS["tiny"]


def convolutions(block: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]


def test_the_blocks_are_those_of_the_paper() -> None:
    blocks = ColorizationNet(313).blocks
    assert [len(convolutions(block)) for block in blocks] == [2, 2, 3, 3, 3, 3, 3, 3]
    assert [[c.stride[0] for c in convolutions(block)] for block in blocks] == [
        [1, 2], [1, 2], [1, 1, 2], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1],
    ]  # fmt: skip
    assert [{c.dilation[0] for c in convolutions(block)} for block in blocks] == [
        {1}, {1}, {1}, {1}, {2}, {2}, {1}, {1},
    ]  # fmt: skip
    assert [convolutions(block)[-1].out_channels for block in blocks] == [64, 128, 256, 512, 512, 512, 512, 313]
    norms = [[isinstance(layer, nn.BatchNorm2d) for layer in block] for block in blocks]
    assert [found[-1] for found in norms] == [True] * 7 + [False]  # at the end of blocks 1 to 7, nowhere else
    assert [sum(found) for found in norms] == [1] * 7 + [0]
    assert not any("Pool" in type(layer).__name__ for layer in blocks.modules())
    assert isinstance(blocks[7][0], nn.ConvTranspose2d)


@pytest.mark.parametrize(
    ("layout", "n_outputs", "expected"),
    [
        ("full", 313, 32_235_385),
        ("full", 256, 32_220_736),
        ("full", 2, 32_155_458),
        ("small", 313, 1_271_113),
        ("small", 256, 1_267_408),
        ("small", 2, 1_250_898),
        ("tiny", 256, 48_776),
    ],
)
def test_parameters_are_counted(layout: str, n_outputs: int, expected: int) -> None:
    assert n_parameters(ColorizationNet(n_outputs, LAYOUTS[layout])) == expected


@pytest.mark.parametrize(("row", "column"), [(64, 64), (65, 66)])
def test_an_output_depends_on_a_square_of_349_pixels(row: int, column: int) -> None:
    assert receptive_field() == 349
    torch.manual_seed(0)
    network = ColorizationNet(1, TINY).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_()  # with positive weights nothing cancels and no ReLU is shut
    lightness = (100 * torch.rand(1, 1, 512, 512, dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(network(lightness)[0, 0, row, column], lightness)
    for axis in (0, 1):
        reached = gradient[0, 0].abs().sum(dim=axis).nonzero().ravel()
        assert reached.max() - reached.min() + 1 == 349
        centre = (reached.max() + reached.min()) / 2
        assert abs(centre - (4 * (column, row)[axis] + 1.5)) <= 6  # the square is centred but for a few pixels


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 88)])
def test_the_output_has_a_quarter_of_the_resolution(height: int, width: int) -> None:
    network = ColorizationNet(5, TINY).eval()
    found = network.activations(torch.rand(2, 1, height, width))
    assert found[-1].shape == (2, 5, height // 4, width // 4)
    assert [tuple(x.shape[2:]) for x in found[:7]] == [
        (height // 2, width // 2), (height // 4, width // 4), *[(height // 8, width // 8)] * 5
    ]  # fmt: skip


def test_dilation_leaves_no_holes_in_what_an_output_sees() -> None:
    network = ColorizationNet(1, TINY).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    lightness = (100 * torch.rand(1, 1, 128, 128, dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(network(lightness)[0, 0, 16, 16], lightness)
    assert (gradient[0, 0, 32:96, 32:96] != 0).all()


@pytest.mark.parametrize("shape", [(1, 1, 60, 64), (1, 3, 64, 64), (1, 64, 64)])
def test_inputs_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        ColorizationNet(2, TINY)(torch.zeros(shape))


def test_widths_that_are_no_network_are_refused() -> None:
    with pytest.raises(InputError, match="8 blocks"):
        ColorizationNet(2, (8, 8))
