"""The checkpoint file: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit.color.ab_classes import AbClasses, preset
from evalkit.colorizers.learned.checkpoints import Checkpoint, load_checkpoint, save_tensors, shipped_weights
from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet
from evalkit.errors import InputError


def checkpoint(variant: str = "full", classes: AbClasses | None = None) -> Checkpoint:
    classes = classes or preset("seed2024")
    n = 2 if variant.startswith("l2") else len(classes)
    torch.manual_seed(0)
    state = ColorizationNet(n, LAYOUTS["tiny"]).state_dict()
    return Checkpoint(
        variant=variant,
        classes=classes,
        widths=LAYOUTS["tiny"],
        input_size=64,
        state=state,
        training={"n_photos": 3, "data_source": "nowhere"},
    )


@pytest.mark.parametrize("variant", ["full", "l2"])
def test_a_checkpoint_comes_back_as_it_was(variant: str, tmp_path: Path) -> None:
    written = checkpoint(variant)
    written.save(tmp_path / "weights.pt")
    read = load_checkpoint(tmp_path / "weights.pt", variant=variant, classes=preset("seed2024"))
    assert (read.variant, read.widths, read.input_size) == (variant, LAYOUTS["tiny"], 64)
    assert read.training == {"n_photos": 3, "data_source": "nowhere"}
    np.testing.assert_array_equal(read.classes.centers, preset("seed2024").centers)
    assert read.classes.temperature == 0.45
    assert all(torch.equal(value, read.state[key]) for key, value in written.state.items())
    assert read.is_regression == (variant == "l2")
    assert not read.network().training


def test_half_precision_halves_the_file_and_hardly_changes_the_scores(tmp_path: Path) -> None:
    written = checkpoint()
    written.save(tmp_path / "single.pt")
    written.save(tmp_path / "half.pt", torch.float16)
    sizes = [(tmp_path / f"{name}.pt").stat().st_size for name in ("single", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    read = load_checkpoint(tmp_path / "half.pt")
    assert {value.dtype for value in read.state.values()} == {torch.float32, torch.int64}
    lightness = 100 * torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(read.network()(lightness), written.network()(lightness), rtol=0, atol=5e-3)


def test_classes_of_ones_own_travel_with_the_weights(tmp_path: Path) -> None:
    own = AbClasses(
        name="file@12345678",
        centers=np.array([[0.0, 0], [20, 0], [0, 20]]),
        sigma=7.0,
        smoothing_sigma=8.0,
        rebalancing=0.3,
        temperature=0.6,
    )
    checkpoint(classes=own).save(tmp_path / "weights.pt")
    read = load_checkpoint(tmp_path / "weights.pt").classes
    assert dataclasses.astuple(read)[2:] == (7.0, 8.0, 0.3, 0.6)
    np.testing.assert_array_equal(read.centers, own.centers)


def test_another_variant_or_preset_is_named(tmp_path: Path) -> None:
    checkpoint().save(tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"weights\.pt holds the variant 'full', not 'l2'"):
        load_checkpoint(tmp_path / "weights.pt", variant="l2")
    with pytest.raises(InputError, match=r"speaks the ab classes seed2024 \(256 of them\), not zhang2016 \(313\)"):
        load_checkpoint(tmp_path / "weights.pt", classes=preset("zhang2016"))


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pt is not a file of weights"):
        load_checkpoint(tmp_path / "text.pt")
    checkpoint().save(tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.pt is not a file of weights"):
        load_checkpoint(tmp_path / "cut.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="no table of weights"):
        load_checkpoint(tmp_path / "list.pt")
    save_tensors({"something": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a checkpoint of 'evalkit train'"):
        load_checkpoint(tmp_path / "other.pt")
    save_tensors({"model1.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "release.pth")
    with pytest.raises(InputError, match="evalkit colorize eccv16"):
        load_checkpoint(tmp_path / "release.pth")


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("executed",)


def test_code_in_a_file_is_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"format": Malicious()}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="not a file of weights"):
        load_checkpoint(tmp_path / "weights.pt")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"variant": "best"}, {"widths": [1, 2]}, {"widths": [8] * 8}, {"training": "{"}])
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    checkpoint().save(tmp_path / "weights.pt")
    record = torch.load(tmp_path / "weights.pt", weights_only=True)
    save_tensors({**record, **change}, tmp_path / "changed.pt")
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(tmp_path / "changed.pt")


def test_a_preset_with_other_centres_is_refused(tmp_path: Path) -> None:
    classes = dataclasses.replace(preset("seed2024"), centers=preset("seed2024").centers + 1)
    checkpoint(classes=classes).save(tmp_path / "weights.pt")
    with pytest.raises(InputError, match="centres are not those of seed2024"):
        load_checkpoint(tmp_path / "weights.pt")


def test_a_variant_without_shipped_weights_is_named() -> None:
    with pytest.raises(InputError, match="no weights for 'nothing' come with this installation"):
        shipped_weights("nothing")
