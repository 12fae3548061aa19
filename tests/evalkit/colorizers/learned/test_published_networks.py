"""The release's two networks, on made-up checkpoints of its names and shapes.

The released files themselves are not to be had where these tests run. The layers below are written down from the
release, and the forward passes from its description, independently of the code under test.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from evalkit.cli import main
from evalkit.colorizers.learned.published_networks import load_published
from evalkit.errors import InputError

State = dict[str, Tensor]

# block: (layers of its convolutions, channels in, channels out, batch norm's layer)
ECCV16 = {
    1: ((0, 2), 1, 64, 4), 2: ((0, 2), 64, 128, 4), 3: ((0, 2, 4), 128, 256, 6), 4: ((0, 2, 4), 256, 512, 6),
    5: ((0, 2, 4), 512, 512, 6), 6: ((0, 2, 4), 512, 512, 6), 7: ((0, 2, 4), 512, 512, 6),
}  # fmt: skip
SIGGRAPH17 = {
    **ECCV16, 1: ((0, 2), 4, 64, 4), 8: ((1, 3), 256, 256, 5), 9: ((1,), 128, 128, 3),
}  # fmt: skip


def conv(
    state: State, name: str, out: int, into: int, kernel: int, generator: torch.Generator, bias: bool = True
) -> None:
    scale = (2 / (into * kernel**2)) ** 0.5
    state[f"{name}.weight"] = scale * torch.randn(out, into, kernel, kernel, generator=generator)
    if bias:
        state[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)


def blocks(state: State, layout: dict[int, tuple[tuple[int, ...], int, int, int]], generator: torch.Generator) -> None:
    for block, (layers, into, out, norm) in layout.items():
        for k, layer in enumerate(layers):
            conv(state, f"model{block}.{layer}", out, into if k == 0 else out, 3, generator)
        for key in ("weight", "running_var"):
            state[f"model{block}.{norm}.{key}"] = 0.5 + torch.rand(out, generator=generator)
        for key in ("bias", "running_mean"):
            state[f"model{block}.{norm}.{key}"] = 0.1 * torch.randn(out, generator=generator)
        state[f"model{block}.{norm}.num_batches_tracked"] = torch.tensor(7)


def transposed(state: State, name: str, into: int, out: int, generator: torch.Generator) -> None:
    conv(state, name, into, out, 4, generator)
    state[f"{name}.bias"] = torch.zeros(out)


@pytest.fixture(scope="module")
def eccv16() -> State:
    generator = torch.Generator().manual_seed(1)
    state: State = {}
    blocks(state, ECCV16, generator)
    transposed(state, "model8.0", 512, 256, generator)
    for layer in (2, 4):
        conv(state, f"model8.{layer}", 256, 256, 3, generator)
    conv(state, "model8.6", 313, 256, 1, generator)
    conv(state, "model_out", 2, 313, 1, generator, bias=False)
    return state


@pytest.fixture(scope="module")
def siggraph17() -> State:
    generator = torch.Generator().manual_seed(2)
    state: State = {}
    blocks(state, SIGGRAPH17, generator)
    for name, into, out in (("model8up", 512, 256), ("model9up", 256, 128), ("model10up", 128, 128)):
        transposed(state, f"{name}.0", into, out, generator)
    for name, into, out in (("model3short8", 256, 256), ("model2short9", 128, 128), ("model1short10", 64, 128)):
        conv(state, f"{name}.0", out, into, 3, generator)
    conv(state, "model10.1", 128, 128, 3, generator)
    conv(state, "model_class.0", 529, 256, 1, generator)
    conv(state, "model_out.0", 2, 128, 1, generator)
    return state


def run_block(x: Tensor, state: State, block: int, layout: dict, last_stride: int = 1, dilation: int = 1) -> Tensor:  # type: ignore[type-arg]
    layers, _, _, norm = layout[block]
    for k, layer in enumerate(layers):
        stride = last_stride if k == len(layers) - 1 else 1
        name = f"model{block}.{layer}"
        x = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, dilation, dilation).relu()
    values = (state[f"model{block}.{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, *values)


def test_eccv16_computes_what_the_release_describes(eccv16: State, tmp_path: Path) -> None:
    torch.save(eccv16, tmp_path / "release.pth")
    lightness = 100 * torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(3))
    x = (lightness - 50) / 100
    for block in range(1, 8):
        x = run_block(x, eccv16, block, ECCV16, 2 if block <= 3 else 1, 2 if block in (5, 6) else 1)
    x = functional.conv_transpose2d(x, eccv16["model8.0.weight"], eccv16["model8.0.bias"], 2, 1).relu()
    for layer in (2, 4):
        name = f"model8.{layer}"
        x = functional.conv2d(x, eccv16[f"{name}.weight"], eccv16[f"{name}.bias"], 1, 1).relu()
    x = functional.conv2d(x, eccv16["model8.6.weight"], eccv16["model8.6.bias"]).softmax(1)
    expected = 110 * functional.conv2d(x, eccv16["model_out.weight"])
    with torch.inference_mode():
        found = load_published("eccv16", tmp_path / "release.pth")(lightness)
    assert found.shape == (1, 2, 16, 12)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_siggraph17_computes_what_the_release_describes(siggraph17: State, tmp_path: Path) -> None:
    torch.save(siggraph17, tmp_path / "release.pth")
    state = siggraph17
    lightness = 100 * torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(4))

    def up(x: Tensor, name: str, short: str, skip: Tensor) -> Tensor:
        raised = functional.conv_transpose2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], 2, 1)
        return (raised + functional.conv2d(skip, state[f"{short}.0.weight"], state[f"{short}.0.bias"], 1, 1)).relu()

    hints = torch.zeros(1, 3, 48, 64)
    c1 = run_block(torch.cat([(lightness - 50) / 100, hints], 1), state, 1, SIGGRAPH17)
    c2 = run_block(c1[..., ::2, ::2], state, 2, SIGGRAPH17)
    c3 = run_block(c2[..., ::2, ::2], state, 3, SIGGRAPH17)
    x = run_block(c3[..., ::2, ::2], state, 4, SIGGRAPH17)
    for block, dilation in ((5, 2), (6, 2), (7, 1)):
        x = run_block(x, state, block, SIGGRAPH17, dilation=dilation)
    x = run_block(up(x, "model8up", "model3short8", c3), state, 8, SIGGRAPH17)
    x = run_block(up(x, "model9up", "model2short9", c2), state, 9, SIGGRAPH17)
    x = up(x, "model10up", "model1short10", c1)
    x = functional.leaky_relu(functional.conv2d(x, state["model10.1.weight"], state["model10.1.bias"], 1, 1), 0.2)
    expected = 110 * functional.conv2d(x, state["model_out.0.weight"], state["model_out.0.bias"]).tanh()
    with torch.inference_mode():
        found = load_published("siggraph17", tmp_path / "release.pth")(lightness)
    assert found.shape == (1, 2, 48, 64)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


def test_wrappings_and_old_files_are_understood(eccv16: State, tmp_path: Path) -> None:
    old = {f"module.{key}": value for key, value in eccv16.items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": old, "epoch": 3}, tmp_path / "old.pth")
    torch.save(eccv16, tmp_path / "plain.pth")
    first, second = (load_published("eccv16", tmp_path / f"{name}.pth").state_dict() for name in ("old", "plain"))
    assert all(torch.equal(value, second[key]) for key, value in first.items() if "num_batches" not in key)


def test_what_does_not_fit_is_named(eccv16: State, siggraph17: State, tmp_path: Path) -> None:
    def refused(state: object, name: str, message: str) -> None:
        torch.save(state, tmp_path / "file.pth")
        with pytest.raises(InputError, match=message):
            load_published(name, tmp_path / "file.pth")

    refused(siggraph17, "eccv16", r"not a checkpoint of eccv16: .* tensors are absent .*, and .* do not belong to it")
    refused(eccv16, "siggraph17", "not a checkpoint of siggraph17")
    without = {key: value for key, value in eccv16.items() if key != "model_out.weight"}
    refused(without, "eccv16", r"1 tensor is absent \(first: to_ab.weight\)")
    refused({**eccv16, "extra": torch.zeros(1)}, "eccv16", r"1 tensor does not belong to it \(first: extra\)")
    wrong = {**eccv16, "model8.6.weight": torch.zeros(256, 256, 1, 1)}
    refused(wrong, "eccv16", r"has shape \(256, 256, 1, 1\), not \(313, 256, 1, 1\)")
    refused({"epoch": 3}, "eccv16", "it holds epoch")


def test_photos_are_coloured_from_the_command_line(eccv16: State, crops: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    torch.save(eccv16, tmp_path / "release.pth")
    words = ["colorize", "eccv16", "--input", str(crops), "--output", str(tmp_path / "out"), "--network-size", "32"]
    missing = CliRunner().invoke(main, words)
    assert missing.exit_code == 2
    assert "name it with --weights" in missing.output
    done = CliRunner().invoke(main, [*words, "--weights", str(tmp_path / "release.pth")])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 12
    odd = CliRunner().invoke(
        main, [*words, "--weights", str(tmp_path / "release.pth"), "--samples", "2", "--overwrite"]
    )
    assert "no preset, temperature, lambda or samples" in odd.output
