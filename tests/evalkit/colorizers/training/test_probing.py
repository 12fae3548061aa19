"""Linear classifiers on activations, on generated classes where the answer is known."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from torch import nn

from evalkit.cli import main
from evalkit.color.ab_classes import preset
from evalkit.color.colorspace import lab_to_srgb8
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet
from evalkit.colorizers.training.probing import (
    LabelledPhotos,
    _classify,
    _parts,
    colorizer_features,
    labelled_photos,
    probe,
    supervised_features,
)
from evalkit.errors import InputError

SIDE = 64


def grain(number: int) -> np.ndarray:
    """Lightness of a random texture, 30 to 80."""
    noise = gaussian_filter(np.random.default_rng(number).normal(size=(SIDE, SIDE)), 2.0, mode="wrap")
    return 55 + 10 * np.clip(noise / noise.std(), -2.5, 2.5)


def picture(lightness: np.ndarray, a: float, b: float) -> Image.Image:
    lab = np.stack([lightness, np.full_like(lightness, a), np.full_like(lightness, b)], axis=-1)
    return Image.fromarray(lab_to_srgb8(lab)[0])


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that differ in lightness: lit from above, from the left, from below; all of them with grain."""
    folder = tmp_path_factory.mktemp("lit")
    ramp = np.linspace(15, -15, SIDE)
    for label, (name, light) in enumerate((("above", ramp[:, None]), ("below", -ramp[:, None]), ("left", ramp[None]))):
        (folder / name).mkdir()
        for k in range(12):
            picture(grain(100 * label + k) + light, 0, 0).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def hues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in hue alone."""
    folder = tmp_path_factory.mktemp("hues")
    for name, a, b in (("red", 30, 10), ("green", -30, 10)):
        (folder / name).mkdir()
        for k in range(12):
            picture(grain(k), a, b).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def network() -> ColorizationNet:
    torch.manual_seed(0)
    return ColorizationNet(256, LAYOUTS["tiny"])


class Supervised:
    """Stands in for a classifier with labels: it sees the mean colour, and knows nothing else."""

    name = "stand-in"

    def __init__(self) -> None:
        self.module = nn.Module()
        self.module.features = nn.Sequential(nn.AvgPool2d(32), nn.Identity())

    def prepare(self, rgb8: np.ndarray) -> np.ndarray:
        return rgb8.transpose(2, 0, 1).astype(np.float32) / 255

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return self.module.features(torch.from_numpy(batch)).mean((2, 3)).numpy()


def test_classes_that_lightness_tells_apart_are_read_off_the_blocks(lit: Path, network: ColorizationNet) -> None:
    photos = labelled_photos(lit)
    assert photos.names == ("above", "below", "left")
    assert np.bincount(photos.labels).tolist() == [12, 12, 12]
    results = probe(photos, colorizer_features(network, SIDE))
    assert [result.block for result in results] == [f"block {k}" for k in range(1, 9)]
    assert max(result.top1 for result in results) > 0.8  # chance is a third
    assert [result.n_features for result in results[:2]] == [8 * 32 * 32, 8 * 16 * 16]
    assert all(result.std_error < 0.1 for result in results)


def test_labels_of_chance_are_answered_by_chance(lit: Path, network: ColorizationNet) -> None:
    photos = labelled_photos(lit)
    shuffled = np.random.default_rng(0).permutation(photos.labels)
    results = probe(LabelledPhotos(photos.paths, shuffled, photos.names), colorizer_features(network, SIDE))
    assert np.mean([result.top1 for result in results]) == pytest.approx(1 / 3, abs=0.2)


def test_the_colorizer_is_blind_to_hue_and_a_colour_network_is_not(hues: Path, network: ColorizationNet) -> None:
    photos = labelled_photos(hues)
    assert np.mean([r.top1 for r in probe(photos, colorizer_features(network, SIDE))]) < 0.7
    colour, gray = (
        probe(photos, supervised_features(Supervised(), gray=gray))[-1].top1  # type: ignore[arg-type]
        for gray in (False, True)
    )
    assert colour == 1
    assert gray < 0.7


def test_activations_are_averaged_down_to_about_nine_thousand_numbers() -> None:
    wide = ColorizationNet(2, LAYOUTS["small"])
    features = colorizer_features(wide, 256)
    found = features(np.full((40, 40, 3), 90, np.uint8))
    from evalkit.colorizers.training.probing import _resized

    sizes = [_resized(activation).size for _, activation in found]
    assert all(8000 < size < 10_000 for size in sizes[:7])
    block = found[0][1]
    np.testing.assert_allclose(_resized(block).reshape(16, 24, 24).mean((1, 2)), block.mean((1, 2)), atol=1e-3)


def test_the_linear_classifier_is_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    data = rng.normal(size=(90, 300)) + 0.4 * rng.normal(size=(3, 300))[labels]
    train, test = slice(0, 60), slice(60, 90)
    penalty = 1e-2
    found = _classify(data[train], labels[train], data[test], 3, penalty)
    scaled = (data - data[train].mean(0)) / data[train].std(0) / np.sqrt(300)
    # scikit-learn minimises |w|^2 / 2 + C * (sum of the losses): C = 1 / (2 penalty n).
    model = LogisticRegression(C=1 / (2 * penalty * 60), max_iter=5000, tol=1e-8).fit(scaled[train], labels[train])
    np.testing.assert_array_equal(found, model.predict(scaled[test]))


def test_every_class_is_spread_over_the_folds() -> None:
    labels = np.repeat([0, 1, 2], [10, 11, 7])
    part = _parts(labels, 5, seed=3)
    for label in range(3):
        counts = np.bincount(part[labels == label], minlength=5)
        assert np.ptp(counts) <= 1
    assert not np.array_equal(part, _parts(labels, 5, seed=4))


def test_the_command_compares_with_random_weights(lit: Path, network: ColorizationNet, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    Checkpoint(
        variant="full", classes=preset("seed2024"), widths=LAYOUTS["tiny"], input_size=SIDE, state=network.state_dict()
    ).save(weights)
    words = ["probe", "--weights", str(weights), "--input", str(lit), "--out", str(tmp_path / "probe.csv")]
    result = CliRunner().invoke(main, [*words, "--folds", "2"])
    assert result.exit_code == 0, result.output
    assert "36 photos of 3 classes, 2 folds" in result.output
    with (tmp_path / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["full, trained"] * 8 + ["random weights"] * 8
    assert all(0 <= float(row["top1"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--preprocess", "warp227"],
            "--preprocess is about the supervised network; name one with --supervised NAME=FILE",
        ),
        (["--gray"], "--gray is about the supervised network"),
        (["--supervised", "=squeezenet.pth"], "--supervised =squeezenet.pth: expected NAME=FILE"),
        (["--supervised", "squeezenet1_0="], "--supervised squeezenet1_0=: expected NAME=FILE"),
    ],
)
def test_options_of_a_supervised_network_need_one(tmp_path: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["probe", "--input", str(tmp_path), *words])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_folders_that_are_not_labelled_are_refused(tmp_path: Path, hues: Path, network: ColorizationNet) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            labelled_photos(tmp_path)

    (tmp_path / "red").mkdir()
    for k in range(2):
        (tmp_path / "red" / f"{k}.png").write_bytes((hues / "red" / f"{k}.png").read_bytes())
    refused("two classes with two photos each; there is 1")
    (tmp_path / "green").mkdir()
    (tmp_path / "green" / "0.png").write_bytes((hues / "green" / "0.png").read_bytes())
    refused("'green' has 1")
    (tmp_path / "loose.png").write_bytes((hues / "green" / "0.png").read_bytes())
    refused("loose lies in no class")
    with pytest.raises(InputError, match="at least 2"):
        probe(labelled_photos(hues), colorizer_features(network, SIDE), folds=1)
    with pytest.raises(InputError, match="no sequence 'features'"):
        supervised_features(SimpleNamespace(name="resnet", module=nn.Module()), gray=False)  # type: ignore[arg-type]
