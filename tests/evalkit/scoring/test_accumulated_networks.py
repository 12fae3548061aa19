"""Metrics that need a network, on arrays: functions and accumulators give the numbers of the scoring run."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evalkit
from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.images.image_files import DecodedImage, DecodeOptions
from evalkit.networks.options import NetworkOptions
from evalkit.scoring import blocks
from tests.conftest import require
from tests.evalkit import pretrained

Pair = tuple[Rgb8, Rgb8]
LABELS = (3, 1, 4, 1, 5)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    for name in ("torch", "torchvision", "lpips", "torch_fidelity"):
        require(importlib.util.find_spec(name) is not None, f"{name} is not installed (the extra `networks`)")
    import torch

    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one


@pytest.fixture(scope="module")
def pairs(photos: dict[str, np.ndarray]) -> list[Pair]:
    made = []
    for i, name in enumerate(["astronaut", "chelsea", "coffee", "rocket", "chelsea"]):
        truth = np.ascontiguousarray(photos[name][9 * i : 9 * i + 64, 80:144])
        gray = truth.mean(axis=2, keepdims=True)
        made.append((truth, np.rint(gray + i / 5 * (truth - gray)).astype(np.uint8)))
    return made


@pytest.fixture(scope="module")
def networks(shared_data: Path) -> NetworkOptions:
    weights = {
        "alexnet": pretrained.lpips_trunk("alexnet", shared_data),
        "inception_fid": pretrained.inception(shared_data),
    }
    return NetworkOptions(
        weights=weights, classifiers={"tiny": "tests.evalkit.classifiers_for_tests:tiny"}, device="cpu", batch_size=2
    )


METRICS = ("lpips_alex", "tiny_top1", "tiny_top5_kept", "fid", "kid")


@pytest.fixture(scope="module")
def scores(pairs: list[Pair], networks: NetworkOptions, tmp_path_factory: pytest.TempPathFactory) -> evalkit.Scores:
    root = tmp_path_factory.mktemp("pairs")
    for i, pair in enumerate(pairs):
        for folder, image in zip(("truth", "mine"), pair, strict=True):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(root / folder / f"{i}.png")
    (root / "labels.csv").write_text(
        "file,class_index\n" + "".join(f"{i}.png,{label}\n" for i, label in enumerate(LABELS))
    )
    options = NetworkOptions(**{**networks.__dict__, "labels": str(root / "labels.csv")})
    return evalkit.score(root / "truth", {"mine": root / "mine"}, metrics=METRICS, networks=options, n_bootstrap=0)


def test_accumulators_split_sent_and_merged_are_the_scoring_run(
    pairs: list[Pair], networks: NetworkOptions, scores: evalkit.Scores
) -> None:
    parts = []
    for rows in (slice(0, 2), slice(2, 5)):
        part = evalkit.AccumulatorCollection(METRICS, networks=networks)
        truth, prediction = (np.stack(images) for images in zip(*pairs[rows], strict=True))
        part.update(truth, prediction, labels=LABELS[rows])
        parts.append(pickle.loads(pickle.dumps(part)))
    parts[0].merge(parts[1])
    values = parts[0].compute()
    for name in ("lpips_alex", "tiny_top1", "tiny_top5_kept"):
        assert values[name] == scores["mine", name].value
    for name in ("fid", "kid"):
        assert values[name] == pytest.approx(scores["mine", name].value, rel=1e-5, abs=1e-7)
        assert scores["mine", name].value != 0
    assert "|net:alex-v0.1|" in parts[0].signatures["lpips_alex"]
    parts[0].update(*pairs[0], labels=LABELS[:1])  # after the journey it loads its networks again
    assert parts[0].n_images == 6


def test_networks_of_a_run_share_one_decode(
    pairs: list[Pair], networks: NetworkOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, image in zip(("truth", "mine"), pairs[1], strict=True):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).save(tmp_path / folder / "a.png")
    decodes: list[str] = []
    genuine = blocks.decode

    def decode(path: Path, *options: DecodeOptions) -> DecodedImage:
        decodes.append(path.parent.name)
        return genuine(path, *options)

    monkeypatch.setattr(blocks, "decode", decode)
    (tmp_path / "labels.csv").write_text("file,class_index\na.png,1\n", encoding="utf-8")
    options = NetworkOptions(**{**networks.__dict__, "labels": str(tmp_path / "labels.csv")})
    scores = evalkit.score(
        tmp_path / "truth", {"mine": tmp_path / "mine"}, metrics=("lpips_alex", "tiny_top1", "ab_auc"), networks=options,
        n_bootstrap=0,
    )  # fmt: skip
    assert scores["mine", "lpips_alex"].value > 0
    assert decodes == ["truth", "mine"]


def test_functions_on_arrays(pairs: list[Pair], networks: NetworkOptions, scores: evalkit.Scores) -> None:
    truth, prediction = (np.stack(images) for images in zip(*pairs, strict=True))
    distances = evalkit.lpips(truth, prediction, networks=networks)
    assert (
        distances.tolist()
        == scores.per_image.filter(np.asarray(scores.per_image["method"].to_pylist()) == "mine")[
            "lpips_alex"
        ].to_pylist()
    )
    assert evalkit.lpips(*pairs[2], networks=networks) == distances[2]
    assert evalkit.lpips(pairs[2][0], pairs[2][0], networks=networks) == 0
    assert evalkit.fid(truth, prediction, networks=networks) == pytest.approx(scores["mine", "fid"].value, rel=1e-5)
    assert evalkit.kid(list(truth), list(prediction), networks=networks) == pytest.approx(
        scores["mine", "kid"].value, rel=1e-4, abs=1e-7
    )
    answers = evalkit.classify(prediction, LABELS, network="tiny", networks=networks)
    assert np.mean(answers.rank == 1) == scores["mine", "tiny_top1"].value
    assert evalkit.classify(prediction[1], LABELS[1], network="tiny", networks=networks).rank == answers.rank[1]


def test_wrong_calls_are_told(pairs: list[Pair], networks: NetworkOptions) -> None:
    truth, prediction = pairs[0]
    with pytest.raises(InputError, match="net 'squeeze': allowed are alex and vgg"):
        evalkit.lpips(truth, prediction, net="squeeze", networks=networks)
    with pytest.raises(InputError, match="convention 'own': allowed are torch-fidelity and clean-fid"):
        evalkit.fid(truth, prediction, convention="own", networks=networks)
    with pytest.raises(InputError, match="truth_rgb8 has 2 images but pred_rgb8 has 1"):
        evalkit.kid([truth, truth], [prediction], networks=networks)
    with pytest.raises(InputError, match=r"pred_rgb8\[0\]: expected shape"):
        evalkit.kid([truth], [prediction[None]], networks=networks)
    with pytest.raises(InputError, match="labels: expected 1 whole number"):
        evalkit.classify(truth, [1, 2], network="tiny", networks=networks)
    with pytest.raises(InputError, match="class index 99 is out of range"):
        evalkit.classify(truth, 99, network="tiny", networks=networks)


def test_an_accuracy_needs_labels_and_a_refused_batch_leaves_no_trace(
    pairs: list[Pair], networks: NetworkOptions
) -> None:
    running = evalkit.Accumulator("tiny_top1", networks=networks)
    with pytest.raises(InputError, match="an accuracy needs the true class of each image: give labels"):
        running.update(*pairs[0])
    with pytest.raises(InputError, match="class index 99 is out of range"):
        running.update(*pairs[0], labels=[99])
    running.update(*pairs[0], labels=[3])
    assert running.n_images == 1
    assert running.compute() in (0.0, 1.0)
