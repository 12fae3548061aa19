"""The segmentation probe: labels as data sets store them, mean IoU, and scenes whose classes are known."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score

from evalkit.cli import main
from evalkit.colorizers.probing.features import Features
from evalkit.colorizers.probing.mean_iou import (
    IGNORED,
    SegmentationResult,
    class_ious,
    intersections_and_unions,
    mean_iou,
)
from evalkit.colorizers.probing.scenes import CAMVID_COLORS, CAMVID_GROUPS, Scene, SceneSet, read_scenes
from evalkit.colorizers.probing.segmentation import _positions, segmented
from evalkit.errors import InputError
from evalkit.networks._torchvision_compat import import_torchvision

HEIGHT, WIDTH = 48, 64
VOC_PALETTE = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
    (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128),
    (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip
"""As published with the challenge."""


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["probe", *map(str, words)])


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo of a bright sky with soft grain above, a dark striped ground below; and which of the two each pixel is."""
    rng = np.random.default_rng(seed)
    horizon = rng.integers(12, 36)
    label = np.repeat((np.arange(HEIGHT) >= horizon).astype(np.uint8), WIDTH).reshape(HEIGHT, WIDTH)
    soft = gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), 3) * 60
    stripes = 25 * np.sign(np.sin(np.arange(WIDTH) * 1.6 + rng.uniform(0, 6)))[None]
    lightness = np.where(label == 0, 190 + soft, 80 + stripes + soft)
    return np.repeat(np.clip(lightness, 0, 255).astype(np.uint8)[..., None], 3, axis=2), label


def palette_png(indices: np.ndarray, palette: list[tuple[int, int, int]] = VOC_PALETTE) -> Image.Image:
    image = Image.fromarray(indices, mode="P")
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    colors[255] = (224, 224, 192)
    image.putpalette(colors.reshape(-1).tolist())
    return image


def write_voc(root: Path, n_train: int = 6, n_val: int = 4, classes: tuple[int, int] = (0, 15)) -> Path:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = [f"2007_{k:06}" for k in range(n_train + n_val)]
    for k, name in enumerate(names):
        photo, label = scene(k)
        Image.fromarray(photo).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        indices = np.array(classes, np.uint8)[label]
        indices[:, :2] = 255  # the border that nobody scores
        palette_png(indices).save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names[:n_train]) + "\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(names[n_train:]) + "\n")
    return root


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("devkit") / "VOC2012")


def write_camvid(root: Path, as_label: Callable[[np.ndarray], Image.Image], *, ending: str, mark: str = "") -> Path:
    for part, first in (("train", 0), ("val", 6)):
        (root / part).mkdir(parents=True)
        (root / f"{part}{ending}").mkdir()
        for k in range(first, first + (6 if part == "train" else 4)):
            photo, label = scene(k)
            Image.fromarray(photo).save(root / part / f"0001TP_{k:06}.png")
            as_label(label).save(root / f"{part}{ending}" / f"0001TP_{k:06}{mark}.png")
    return root


def named_colors(label: np.ndarray) -> Image.Image:
    """Sky above, a marked road below, a column of void."""
    colors = np.array([CAMVID_COLORS["Sky"], CAMVID_COLORS["LaneMkgsDriv"], CAMVID_COLORS["Void"]], np.uint8)
    label = label.copy()
    label[:, 0] = 2
    return Image.fromarray(colors[label])


# --- mean IoU -----------------------------------------------------------------------------------------------------------


def random_labels(seed: int, n_classes: int, absent: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    allowed = np.setdiff1d(np.arange(n_classes), absent)
    truth = rng.choice(allowed, (5, 20, 30))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.choice(allowed, truth.shape))
    truth = np.where(rng.random(truth.shape) < 0.1, IGNORED, truth)
    return truth, predicted


@pytest.mark.parametrize("absent", [(), (3,), (0, 6)])
def test_mean_iou_is_that_of_scikit_learn_and_torchmetrics(absent: tuple[int, ...]) -> None:
    truth, predicted = random_labels(1, 7, absent)
    counts = sum(intersections_and_unions(t, p, 7) for t, p in zip(truth, predicted, strict=True))
    kept = truth != IGNORED
    present = [k for k in range(7) if k not in absent]
    theirs = jaccard_score(truth[kept], predicted[kept], labels=present, average=None)
    np.testing.assert_allclose(class_ious(counts)[present], theirs, rtol=1e-12)
    assert np.isnan(class_ious(counts)[list(absent)]).all()
    assert mean_iou(counts) == pytest.approx(theirs.mean(), rel=1e-12)
    import_torchvision()  # torchmetrics imports it, and on some machines that fails the first time
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(num_classes=7, ignore_index=IGNORED)
    for t, p in zip(truth, predicted, strict=True):
        metric.update(torch.from_numpy(p), torch.from_numpy(t))
    assert mean_iou(counts) == pytest.approx(float(metric.compute()), rel=1e-6)


def test_a_class_that_is_only_predicted_counts_with_zero_and_one_that_is_neither_is_left_out() -> None:
    truth, predicted = np.array([[0, 0, 1, IGNORED]]), np.array([[0, 2, 1, 3]])
    counts = intersections_and_unions(truth, predicted, 5)
    np.testing.assert_array_equal(counts, [[1, 0 + 1, 0, 0, 0], [2, 1, 1, 0, 0]])
    assert mean_iou(counts) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert np.isnan(mean_iou(np.zeros((2, 5), np.int64)))


def test_labels_out_of_range_and_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="labels go from 0 to 5; allowed are 0 to 4"):
        intersections_and_unions(np.array([[0, 5]]), np.array([[0, 1]]), 5)
    with pytest.raises(InputError, match="cannot be compared"):
        intersections_and_unions(np.zeros((2, 2), np.int64), np.zeros((2, 3), np.int64), 5)


def result_of(counts: np.ndarray) -> SegmentationResult:
    return SegmentationResult(network="", size=64, block="", n_features=1, counts=counts)


def test_intervals_are_jackknife_over_images_and_paired() -> None:
    rng = np.random.default_rng(0)
    intersections = rng.integers(20, 80, (30, 1, 4))
    counts = np.concatenate([intersections, intersections + rng.integers(10, 60, (30, 1, 4))], axis=1)
    result = result_of(counts)
    # By hand: the mean IoU of all images but one, for each of them.
    without = np.array([mean_iou(counts.sum(0) - image) for image in counts])
    error = np.sqrt(29 / 30 * np.sum((without - without.mean()) ** 2))
    assert result.std_error == pytest.approx(error, rel=1e-9)
    assert 0 < result.interval().low < result.value < result.interval().high < 1
    better = counts.copy()
    better[:, 0] += 3
    between = result_of(better).interval_above(result)
    assert 0 < between.low < result_of(better).value - result.value < between.high
    assert between.high - between.low < 0.5 * (result.interval().high - result.interval().low)
    assert result.interval_above(result).std_error == 0


# --- layouts ------------------------------------------------------------------------------------------------------------


def test_voc_is_read_with_its_palette_and_its_border(voc: Path) -> None:
    scenes = read_scenes(voc.parent)  # the devkit holds one year
    assert (scenes.layout, len(scenes.names), len(scenes.train), len(scenes.val)) == ("PASCAL VOC", 21, 6, 4)
    labels = scenes.labels(scenes.val[0])
    assert labels.shape == (HEIGHT, WIDTH)
    assert set(np.unique(labels[:, 2:])) == {0, 15}
    assert scenes.names[15] == "person"
    assert (labels[:, :2] == IGNORED).all()


@pytest.mark.parametrize("kind", ["gray", "colours", "short palette", "palette of grays"])
def test_voc_labels_in_other_clothes_are_the_same(voc: Path, tmp_path: Path, kind: str) -> None:
    scenes = read_scenes(voc)
    stored = Image.open(scenes.val[0].label_file)
    indices = np.asarray(stored)
    if kind == "gray":
        image = Image.fromarray(indices)
    elif kind == "colours":
        image = stored.convert("RGB")
    elif kind == "short palette":
        image = stored.convert("RGB").quantize(4)
        assert set(np.unique(np.asarray(image))) <= {0, 1, 2, 3}
    else:
        image = palette_png(indices, [(k, k, k) for k in range(255)])
    image.save(tmp_path / "label.png")
    found = scenes.labels(Scene("", scenes.val[0].photo, tmp_path / "label.png"))
    np.testing.assert_array_equal(found, scenes.labels(scenes.val[0]))


def test_segnets_camvid_is_read_by_index(tmp_path: Path) -> None:
    def as_label(label: np.ndarray) -> Image.Image:
        indices = np.array([0, 3], np.uint8)[label]
        indices[:, 0] = 11
        return Image.fromarray(indices)

    root = write_camvid(tmp_path / "CamVid", as_label, ending="annot")
    scenes = read_scenes(root)
    assert scenes.names == tuple(CAMVID_GROUPS)
    assert len(scenes.names) == 11
    labels = scenes.labels(scenes.train[0])
    assert {scenes.names[k] for k in np.unique(labels[:, 1:])} == {"Sky", "Road"}
    assert (labels[:, 0] == IGNORED).all()
    twelve = read_scenes(root, "12")
    assert twelve.names[11] == "Unlabelled"
    assert (twelve.labels(twelve.train[0])[:, 0] == 11).all()
    thirty_two = read_scenes(root, "32")
    with pytest.raises(InputError, match="has the labels 0, 3, 11"):
        thirty_two.labels(thirty_two.train[0])


@pytest.mark.parametrize("table", ["", "class_dict.csv", "label_colors.txt"])
def test_coloured_camvid_is_read_and_joined(tmp_path: Path, table: str) -> None:
    root = write_camvid(tmp_path / "CamVid", named_colors, ending="_labels", mark="_L")
    if table == "class_dict.csv":
        lines = [f"{name},{r},{g},{b}" for name, (r, g, b) in CAMVID_COLORS.items()]
        (root / table).write_text("\n".join(["name,r,g,b", *lines]))
    elif table:
        (root / table).write_text("\n".join(f"{r} {g} {b}\t\t{name}" for name, (r, g, b) in CAMVID_COLORS.items()))
    for classes, names in (("11", {"Sky", "Road"}), ("32", {"Sky", "LaneMkgsDriv"})):
        scenes = read_scenes(root, classes)
        labels = scenes.labels(scenes.train[0])
        assert {scenes.names[k] for k in np.unique(labels[:, 1:])} == names
        assert (labels[:, 0] == IGNORED).all()
    assert len(read_scenes(root, "32").names) == 31  # void is not scored


def test_camvid_with_codes_and_a_list_is_read(tmp_path: Path) -> None:
    names = list(CAMVID_COLORS)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for k in range(5):
        photo, label = scene(k)
        Image.fromarray(photo).save(tmp_path / "images" / f"s{k}.png")
        indices = np.array([names.index("Sky"), names.index("Road")], np.uint8)[label]
        indices[0] = names.index("Void")
        Image.fromarray(indices).save(tmp_path / "labels" / f"s{k}_P.png")
    with pytest.raises(InputError, match=r"needs val.txt or valid.txt"):
        read_scenes(tmp_path)
    (tmp_path / "valid.txt").write_text("s1.png\ns3.png\n")
    (tmp_path / "codes.txt").write_text("\n".join(names))
    scenes = read_scenes(tmp_path)
    assert [s.name for s in scenes.train] == ["s0", "s2", "s4"]
    assert [s.name for s in scenes.val] == ["s1", "s3"]
    labels = scenes.labels(scenes.train[0])
    assert {scenes.names[k] for k in np.unique(labels[1:])} == {"Sky", "Road"}
    assert (labels[0] == IGNORED).all()
    all_of_them = read_scenes(tmp_path, "32")
    assert all_of_them.names[all_of_them.labels(all_of_them.train[0])[1, 0]] == "Sky"


def test_classes_of_ones_own_are_scored_as_they_are(tmp_path: Path) -> None:
    colors = np.array([(250, 250, 250), (10, 10, 10)], np.uint8)
    root = write_camvid(tmp_path / "own", lambda label: Image.fromarray(colors[label]), ending="_labels")
    (root / "class_dict.csv").write_text("name,r,g,b\nabove,250,250,250\nbelow,10,10,10\nvoid,0,0,0\n")
    scenes = read_scenes(root)
    assert scenes.names == ("above", "below")
    np.testing.assert_array_equal(scenes.labels(scenes.val[0]), scene(6)[1])
    with pytest.raises(InputError, match="classes that are not CamVid's"):
        read_scenes(root, "11")


def test_folders_that_do_not_fit_are_refused(voc: Path, tmp_path: Path) -> None:
    def refused(message: str, root: Path, classes: str | None = None) -> None:
        with pytest.raises(InputError, match=message):
            read_scenes(root, classes)

    refused("no such folder", tmp_path / "absent")
    refused("is in neither layout", tmp_path)
    refused("whose classes are its own 21", voc, "11")
    root = write_voc(tmp_path / "VOC2012")
    (root / "ImageSets/Segmentation/val.txt").unlink()
    refused("val.txt: no such file", root)
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000000\n")
    refused("2007_000000 is in train and in val", root)
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_999999\n")
    refused("names 1 scene without a file in JPEGImages: 2007_999999", root)
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000007\n2007_000007\n")
    refused("names 2007_000007 more than once", root)
    (root / "ImageSets/Segmentation/val.txt").write_text("\n")
    refused("names no scene", root)
    camvid = write_camvid(tmp_path / "CamVid", named_colors, ending="_labels")
    (camvid / "train_labels" / "0001TP_000000.png").unlink()
    refused("lacks labels of 1 photo", camvid)


def test_labels_that_do_not_fit_are_refused(voc: Path, tmp_path: Path) -> None:
    scenes = read_scenes(voc)
    path = tmp_path / "label.png"

    def refused(message: str, image: Image.Image | None, to: Path = path) -> None:
        if image is not None:
            image.save(to)
        with pytest.raises(InputError, match=message):
            scenes.labels(Scene("", scenes.val[0].photo, to))

    refused("has the label 21; allowed are 0 to 20 and 255", Image.fromarray(np.full((4, 4), 21, np.uint8)))
    refused("a colour that is no class: .1, 2, 3.", Image.fromarray(np.full((4, 4, 3), (1, 2, 3), np.uint8)))
    refused("labels of pixels are PNG", Image.fromarray(np.zeros((4, 4), np.uint8)), tmp_path / "label.jpg")
    path.write_bytes(scenes.val[0].label_file.read_bytes()[:-40])
    refused("truncated or corrupt", None)


# --- the probe ----------------------------------------------------------------------------------------------------------


def features_that_know(maps: Callable[[np.ndarray], np.ndarray], name: str = "made") -> Features:
    return Features(network=name, size=WIDTH, digest="", maps=lambda rgb8: [("block 1", maps(rgb8).astype(np.float32))])


def test_features_that_know_the_class_give_a_mean_iou_of_one_and_others_what_chance_gives(voc: Path) -> None:
    scenes = read_scenes(voc)
    # Above 135 it is sky: the classes of the generated scenes are linear in lightness but for their grain.
    exact = segmented(scenes, features_that_know(lambda rgb8: gaussian_filter(rgb8[None, ..., 0] * 1.0, (0, 0, 2))))[0]
    assert exact.value > 0.9
    assert exact.counts.shape == (4, 2, 21)
    # Nothing but one number: every pixel is the class that is more frequent among the examples.
    blind = segmented(scenes, features_that_know(lambda rgb8: np.zeros((1, 6, 8))))[0]
    labels = np.stack([scenes.labels(s) for s in scenes.val])
    shares = [(labels == k).sum() / (labels != IGNORED).sum() for k in (0, 15)]
    assert blind.value == pytest.approx(max(shares) / 2, abs=1e-9) or blind.value == pytest.approx(min(shares) / 2)
    between = exact.interval_above(blind)
    assert 0 < between.low < exact.value - blind.value < between.high


def test_scores_are_interpolated_to_the_labels_and_the_highest_wins(voc: Path) -> None:
    scenes = read_scenes(voc)
    coarse = features_that_know(lambda rgb8: rgb8[None, 2::4, 2::4, 0] / 255.0)
    result = segmented(scenes, coarse, pixels=10_000, penalty=1e-2)[0]
    # By hand. The scores of two classes are w and -w, so the penalty of 2 w^2 is that of half their squared difference.
    examples, classes = [], []
    for s in scenes.train:
        labels = scenes.labels(s)[2::4, 2::4].reshape(-1)
        values = np.asarray(Image.open(s.photo))[2::4, 2::4, 0].reshape(-1) / 255.0
        examples.append(values[labels != IGNORED])
        classes.append(labels[labels != IGNORED])
    x, y = np.concatenate(examples)[:, None], np.concatenate(classes)
    model = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-10, max_iter=1000).fit((x - x.mean()) / x.std(), y)
    counts = []
    for s in scenes.val:
        values = np.asarray(Image.open(s.photo))[2::4, 2::4, 0] / 255.0
        score = model.decision_function((values.reshape(-1, 1) - x.mean()) / x.std()).reshape(1, 1, *values.shape)
        finer = torch.nn.functional.interpolate(torch.from_numpy(score), size=(HEIGHT, WIDTH), mode="bilinear")
        counts.append(intersections_and_unions(scenes.labels(s), np.where(finer[0, 0].numpy() > 0, 15, 0), 21))
    assert result.value == pytest.approx(float(mean_iou(np.sum(counts, axis=0))), abs=2e-3)


def test_the_same_labelled_positions_are_learnt_from_whatever_the_network(voc: Path) -> None:
    scenes = read_scenes(voc)
    labels = scenes.labels(scenes.train[0])
    rows, columns = np.mgrid[:24, :32]
    grid = np.stack([rows, columns]).astype(np.float32)

    def drawn(activation: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return _positions(activation, labels, 20, np.random.default_rng(seed))

    positions, classes = drawn(grid, 3)
    assert len({tuple(position) for position in positions}) == 20
    at_centres = labels[(positions[:, 0] * 2 + 1).astype(int), (positions[:, 1] * 2 + 1).astype(int)]
    np.testing.assert_array_equal(classes, at_centres)
    assert IGNORED not in classes
    np.testing.assert_array_equal(drawn(7 * grid, 3)[0], 7 * positions)
    assert not np.array_equal(drawn(grid, 4)[0], positions)


@pytest.mark.parametrize("layout", ["voc", "camvid"])
def test_the_command_gives_mean_iou_by_layer_and_class(voc: Path, tmp_path: Path, layout: str) -> None:
    root = voc if layout == "voc" else write_camvid(tmp_path / "CamVid", named_colors, ending="_labels")
    words = ["--segmentation", root, "--sizes", "32", "--pixels", "50", "--features", tmp_path / "kept.npz"]
    result = run(*words, "--out", tmp_path / "probe.csv", "--out", tmp_path / "probe.tex")
    assert result.exit_code == 0, result.output
    assert "4 scenes of" in result.output
    assert "learnt from 6 scenes" in result.output
    with (tmp_path / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    above, below = ("iou_background", "iou_person") if layout == "voc" else ("iou_Sky", "iou_Road")
    for row in rows:
        ious = [float(value) for name, value in row.items() if name.startswith("iou_") and value]
        assert float(row["mean_iou"]) == pytest.approx(np.mean(ious))
    best = max(rows, key=lambda row: float(row["mean_iou"]))
    assert float(best["mean_iou"]) > 0.8
    assert min(float(best[above]), float(best[below])) > 0.8
    again = run(*words, "--out", tmp_path / "again.csv")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "probe.csv").read_bytes()


def test_a_label_of_another_size_and_a_crop_are_refused(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012", 2, 1)
    palette_png(np.zeros((10, 10), np.uint8)).save(root / "SegmentationClass/2007_000000.png")
    result = run("--segmentation", root, "--out", tmp_path / "probe.csv")
    assert result.exit_code == 2
    assert "has 10 x 10 labels, its photo 2007_000000.jpg 64 x 48 pixels" in " ".join(result.output.split())
    assert not (tmp_path / "probe.csv").exists()
    result = run("--segmentation", root, "--supervised", "squeezenet1_0=x.pth", "--preprocess", "short256-crop224")
    assert result.exit_code == 2
    assert "labels of pixels need the whole photo" in " ".join(result.output.split())


def test_scenes_without_a_labelled_pixel_are_refused(voc: Path) -> None:
    scenes = read_scenes(voc)
    empty = SceneSet(
        root=scenes.root, layout="", names=scenes.names, train=scenes.train, val=scenes.val,
        class_of_index={0: IGNORED, 15: IGNORED, 255: IGNORED}, class_of_color={},
    )  # fmt: skip
    with pytest.raises(InputError, match="no scene to train on has a labelled pixel"):
        segmented(empty, features_that_know(lambda rgb8: rgb8[None, ::2, ::2, 0] / 255.0))
