"""Linear classifiers on activations, on generated classes where the answer is known."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from torch import nn

from evalkit.cli import main
from evalkit.color.ab_classes import preset
from evalkit.color.colorspace import lab_to_srgb8
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet
from evalkit.colorizers.probing.classes import (
    LabelledPhotos,
    ProbeResult,
    _parts,
    cross_validated,
    labelled_photos,
    train_and_validation_photos,
    validated,
)
from evalkit.colorizers.probing.features import colorizer_features, pooled, supervised_features
from evalkit.colorizers.probing.linear import fit_linear
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
    results = cross_validated(photos, colorizer_features(network, SIDE))
    assert [result.block for result in results] == [f"block {k}" for k in range(1, 9)]
    assert max(result.value for result in results) > 0.8  # chance is a third
    assert [result.n_features for result in results[:2]] == [8 * 32 * 32, 8 * 16 * 16]
    assert all(result.std_error < 0.1 for result in results)


def test_labels_of_chance_are_answered_by_chance(lit: Path, network: ColorizationNet) -> None:
    photos = labelled_photos(lit)
    shuffled = np.random.default_rng(0).permutation(photos.labels)
    results = cross_validated(LabelledPhotos(photos.paths, shuffled, photos.names), colorizer_features(network, SIDE))
    assert np.mean([result.value for result in results]) == pytest.approx(1 / 3, abs=0.2)


def test_the_colorizer_is_blind_to_hue_and_a_colour_network_is_not(hues: Path, network: ColorizationNet) -> None:
    photos = labelled_photos(hues)
    assert np.mean([r.value for r in cross_validated(photos, colorizer_features(network, SIDE))]) < 0.7
    colour, gray = (
        cross_validated(photos, supervised_features(Supervised(), gray=gray))[-1].value  # type: ignore[arg-type]
        for gray in (False, True)
    )
    assert colour == 1
    assert gray < 0.7


def test_activations_are_averaged_down_to_about_nine_thousand_numbers() -> None:
    wide = ColorizationNet(2, LAYOUTS["small"])
    found = colorizer_features(wide, 256).maps(np.full((40, 40, 3), 90, np.uint8))
    sizes = [pooled(activation).size for _, activation in found]
    assert all(8000 < size < 10_000 for size in sizes[:7])
    block = found[0][1]
    np.testing.assert_allclose(pooled(block).reshape(16, 24, 24).mean((1, 2)), block.mean((1, 2)), atol=1e-3)


@pytest.mark.parametrize(("n_features", "n_train"), [(300, 60), (20, 60)], ids=["fewer photos", "fewer features"])
def test_the_linear_classifier_is_logistic_regression(n_features: int, n_train: int) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, n_train + 30)
    data = rng.normal(size=(n_train + 30, n_features)) + 0.4 * rng.normal(size=(3, n_features))[labels]
    train, test = slice(0, n_train), slice(n_train, None)
    penalty = 1e-2
    found = fit_linear(data[train], labels[train], 3, penalty)
    scaled = (data - data[train].mean(0)) / data[train].std(0) / np.sqrt(n_features)
    # scikit-learn minimises |w|^2 / 2 + C * (sum of the losses): C = 1 / (2 penalty n).
    model = LogisticRegression(C=1 / (2 * penalty * n_train), max_iter=5000, tol=1e-8).fit(scaled[train], labels[train])
    np.testing.assert_array_equal(found.predict(data[test]), model.predict(scaled[test]))
    scores, wanted = found.scores(data[test]), model.decision_function(scaled[test])
    np.testing.assert_allclose(
        scores - scores.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), atol=2e-3
    )


def test_features_of_a_run_that_diverged_are_refused() -> None:
    with pytest.raises(InputError, match="block 3: not every activation is a finite number"):
        fit_linear(np.array([[1.0, np.nan], [0.0, 1.0]]), np.array([0, 1]), 2, what="block 3")


def test_every_class_is_spread_over_the_folds() -> None:
    labels = np.repeat([0, 1, 2], [10, 11, 7])
    part = _parts(labels, 5, seed=3)
    for label in range(3):
        counts = np.bincount(part[labels == label], minlength=5)
        assert np.ptp(counts) <= 1
    assert not np.array_equal(part, _parts(labels, 5, seed=4))


@pytest.fixture(scope="module")
def weights(network: ColorizationNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    Checkpoint(
        variant="full", classes=preset("seed2024"), widths=LAYOUTS["tiny"], input_size=SIDE, state=network.state_dict()
    ).save(path)
    return path


@pytest.fixture(scope="module")
def parts(lit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same three classes in a folder to train on and one to validate on."""
    folder = tmp_path_factory.mktemp("parts")
    for photo in sorted(lit.rglob("*.png")):
        part = folder / ("train" if int(photo.stem) < 8 else "val") / photo.parent.name
        part.mkdir(parents=True, exist_ok=True)
        (part / photo.name).write_bytes(photo.read_bytes())
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["probe", *map(str, words)])


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_command_compares_with_random_weights(lit: Path, weights: Path, tmp_path: Path) -> None:
    result = run("--weights", weights, "--input", lit, "--out", tmp_path / "probe.csv", "--folds", "2")
    assert result.exit_code == 0, result.output
    assert "36 photos of 3 classes, 2 folds" in result.output
    rows = read(tmp_path / "probe.csv")
    assert [row["network"] for row in rows] == ["full, trained"] * 8 + ["random weights"] * 8
    assert all(0 <= float(row["ci_low"]) <= float(row["top1"]) <= float(row["ci_high"]) <= 1 for row in rows)
    for trained, random in zip(rows[:8], rows[8:], strict=True):
        assert float(trained["minus_random"]) == pytest.approx(float(trained["top1"]) - float(random["top1"]))
        assert float(trained["minus_random_ci_low"]) <= float(trained["minus_random"])
        assert random["minus_random"] == ""


def test_a_classifier_is_trained_on_one_folder_and_tested_on_the_other(parts: Path, network: ColorizationNet) -> None:
    train, val = train_and_validation_photos(parts / "train", parts / "val")
    assert (len(train.paths), len(val.paths), val.names) == (24, 12, ("above", "below", "left"))
    results = validated(train, val, colorizer_features(network, SIDE))
    assert [result.n_images for result in results] == [12] * 8
    assert max(result.value for result in results) > 0.8
    # By hand, with scikit-learn on the very features.
    maps = colorizer_features(network, SIDE).maps
    x, y = (
        np.stack([pooled(maps(np.asarray(Image.open(path)))[1][1]) for path in photos.paths]).astype(float)
        for photos in (train, val)
    )
    scale = x.std(0)
    scale[scale < 1e-12] = np.inf
    model = LogisticRegression(C=1 / (2 * 1e-2 * 24), max_iter=5000, tol=1e-8)
    model.fit((x - x.mean(0)) / scale / np.sqrt(x.shape[1]), train.labels)
    predicted = model.predict((y - x.mean(0)) / scale / np.sqrt(x.shape[1]))
    np.testing.assert_array_equal(results[1].correct, predicted == val.labels)


def test_the_difference_to_random_weights_is_paired_by_photo() -> None:
    def result(correct: list[int]) -> ProbeResult:
        return ProbeResult(network="", size=64, block="", n_features=1, correct=np.array(correct, np.bool_))

    # Newcombe (1998), table II: 36 pairs right in both, 12 in the first alone, 2 in the second alone; his method 10.
    a = result([1] * 36 + [1] * 12 + [0] * 2)
    b = result([1] * 36 + [0] * 12 + [1] * 2)
    between = a.interval_above(b)
    assert (round(between.low, 4), round(between.high, 4)) == (0.0569, 0.3404)
    # Two networks that fail on the same photos are told apart better than two that fail on any.
    first, second = result([1] * 60 + [0] * 40), result([1] * 55 + [0] * 45)
    shuffled = result(list(np.random.default_rng(0).permutation(second.correct)))
    paired, loose = first.interval_above(second), first.interval_above(shuffled)
    assert paired.low > 0 > loose.low
    assert a.interval_above(a).low < 0 < a.interval_above(a).high


def test_sizes_networks_and_files_of_the_table(parts: Path, weights: Path, tmp_path: Path) -> None:
    outs = [word for end in ("csv", "md", "tex") for word in ("--out", tmp_path / f"probe.{end}")]
    words = ["--weights", weights, "--train", parts / "train", "--val", parts / "val", "--sizes", "32,64", *outs]
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "12 photos of 3 classes, learnt from 24 photos" in result.output
    assert "full, trained, 32 x 32 pixels" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    rows = read(tmp_path / "probe.csv")
    assert [(row["network"], row["size"]) for row in rows[::8]] == [
        ("full, trained", "32"), ("random weights", "32"), ("full, trained", "64"), ("random weights", "64"),
    ]  # fmt: skip
    markdown = (tmp_path / "probe.md").read_text(encoding="utf-8")
    assert markdown.startswith("| network | block 1 |")
    difference = 100 * float(rows[16]["minus_random"])
    assert f"| less random weights | {difference:+.1f}".replace("-", "−").replace("+0.0", "0.0") in markdown
    assert "| 95 % interval |" in markdown
    top1 = 100 * float(rows[16]["top1"])
    assert f"| full, trained, 64 px | {top1:.1f} ± " in markdown
    latex = (tmp_path / "probe.tex").read_text(encoding="utf-8")
    assert r"\begin{tabular}{lrrrrrrrr}" in latex
    assert "less random weights & " in latex
    assert latex.isascii()
    assert rf"{top1:.1f} $\pm$" in latex


def test_features_are_kept_and_those_of_another_run_refused(parts: Path, weights: Path, tmp_path: Path) -> None:
    file, words = tmp_path / "kept.npz", ["--weights", weights, "--train", parts / "train", "--val", parts / "val"]
    first = run(*words, "--features", file, "--out", tmp_path / "first.csv")
    assert first.exit_code == 0, first.output
    with np.load(file) as kept:
        assert kept["full, trained/64/train/block 1"].shape == (24, 8 * 32 * 32)
    before = file.stat().st_mtime_ns
    again = run(*words, "--features", file, "--out", tmp_path / "again.csv")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "first.csv").read_bytes()
    assert file.stat().st_mtime_ns == before
    # They are read, not computed: other numbers in the file give other results.
    with np.load(file) as kept:
        arrays = {name: kept[name] for name in kept.files}
    np.savez(tmp_path / "zeros.npz", **{k: a if k == "signature" else np.zeros_like(a) for k, a in arrays.items()})
    zeros = run(*words, "--features", tmp_path / "zeros.npz", "--out", tmp_path / "zeros.csv")
    assert zeros.exit_code == 0, zeros.output
    assert {row["top1"] for row in read(tmp_path / "zeros.csv")} == {repr(1 / 3)}

    def refused(message: str, *options: object) -> None:
        result = run(*words, *options)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.output.split())

    refused("(networks differs)", "--features", file, "--sizes", "32")
    refused("(networks differs)", "--features", file, "--seed", "1")
    damaged = tmp_path / "damaged.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    refused("is damaged at", "--features", damaged)
    (tmp_path / "text.npz").write_text("no features")
    refused("is no file of features", "--features", tmp_path / "text.npz")
    refused("does not exist", "--features", tmp_path / "absent" / "kept.npz")
    picture(grain(999), 0, 0).save(parts / "val" / "above" / "0.png")
    try:
        refused("(photos differs)", "--features", file)
    finally:
        (parts / "val" / "above" / "0.png").unlink()


def test_photos_to_validate_on_that_do_not_fit_are_refused(parts: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            train_and_validation_photos(parts / "train", tmp_path)

    (tmp_path / "right").mkdir()
    picture(grain(5), 0, 0).save(tmp_path / "right" / "5.png")
    refused("right is no class of")
    (tmp_path / "right").rename(tmp_path / "left")
    train_and_validation_photos(parts / "train", tmp_path)
    (tmp_path / "left" / "copy.png").write_bytes((parts / "train" / "left" / "1.png").read_bytes())
    refused("copy.png is the same photo as .*1.png")


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
        (["--train", "photos"], "probe takes one of: --input DIR (cross-validation), --train DIR with --val DIR"),
        (["--pixels", "9"], "--pixels is about --segmentation DIR, which was not given"),
        (["--sizes", "64,big"], "--sizes 64,big: expected numbers of pixels"),
        (["--sizes", "64,64"], "--sizes 64,64: names a size twice"),
        (["--out", "probe.xls"], "--out probe.xls: ends in none of .csv, .md, .tex"),
        (["--out", "absent/probe.csv"], "--out absent/probe.csv: there is no folder absent; make it first"),
    ],
)
def test_options_that_do_not_fit_are_refused(hues: Path, words: list[str], message: str) -> None:
    result = run("--input", hues, *words)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_what_is_probed_must_be_said_once(hues: Path) -> None:
    for words, message in (
        (["--train", hues], "--val DIR is missing"),
        (["--val", hues], "--train DIR is missing"),
        ([], "probe takes one of"),
        (["--input", hues, "--sizes", "60"], "size 60: the network takes photos whose side is a multiple of 8"),
    ):
        result = run(*words)
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
        cross_validated(labelled_photos(hues), colorizer_features(network, SIDE), folds=1)
    with pytest.raises(InputError, match="no sequence 'features'"):
        supervised_features(SimpleNamespace(name="resnet", module=nn.Module()), gray=False)  # type: ignore[arg-type]
