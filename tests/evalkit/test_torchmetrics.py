"""Adapters for torchmetrics: the numbers of the scoring run to the bit, on one process and on two."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evalkit
from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.metrics import BUILT_IN, load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.blocks import BlockMetric
from tests.conftest import require
from tests.evalkit import pretrained

Pair = tuple[Rgb8, Rgb8]
PAIRWISE = [name for name in BUILT_IN if not issubclass(load_metric(name), BlockMetric) and not load_metric(name).reads]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    for name in ("torch", "torchmetrics"):
        require(importlib.util.find_spec(name) is not None, f"{name} is not installed (the extra `training`)")
    import torch

    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one


@pytest.fixture(scope="module")
def pairs(photos: dict[str, Rgb8]) -> list[Pair]:
    """Five crops (MS-SSIM needs 176 pixels a side), each with a colorization of another kind."""
    made = []
    for i, name in enumerate(["astronaut", "chelsea", "coffee", "china", "flower"]):
        truth = np.ascontiguousarray(photos[name][5 * i : 5 * i + 178, 60:238])
        gray = truth.mean(axis=2, keepdims=True)
        made.append((truth, np.rint(gray + i / 6 * (truth[..., ::-1] - gray)).clip(0, 255).astype(np.uint8)))
    return made


@pytest.fixture(scope="module")
def expected(pairs: list[Pair]) -> dict[str, float]:
    """By accumulators, which are tested against `evalkit.score` on files."""
    accumulators = evalkit.AccumulatorCollection(PAIRWISE)
    for pair in pairs:
        accumulators.update(*pair)
    return accumulators.compute()


def tensor(*images: Rgb8):
    import torch

    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def test_every_metric_is_that_of_the_scoring_run_to_the_bit(pairs: list[Pair], expected: dict[str, float]) -> None:
    from evalkit.torchmetrics import ScoreMetrics

    metrics = ScoreMetrics(PAIRWISE)
    truths, predictions = (tensor(*images) for images in zip(*pairs, strict=True))
    metrics.update(predictions[3:], truths[3:])
    metrics = pickle.loads(pickle.dumps(metrics))
    metrics.update(predictions[:3], truths[:3])
    assert {name: float(value) for name, value in metrics.compute().items()} == expected
    assert metrics.signatures["ab_auc"].startswith("ab_auc|set:arrays|n:5|")
    metrics.reset()
    metrics.update(predictions, truths)
    assert {name: float(value) for name, value in metrics.compute().items()} == expected


@pytest.mark.parametrize("name", ["ab_auc", "ab_auc_rebal", "psnr_rgb", "colorfulness_set_diff"])
def test_a_step_gives_the_number_of_its_batch_and_the_epoch_that_of_all(
    name: str, pairs: list[Pair], expected: dict[str, float]
) -> None:
    from evalkit.torchmetrics import ScoreMetric

    metric = ScoreMetric(name)
    for truth, prediction in pairs:
        alone = evalkit.Accumulator(name)
        alone.update(truth, prediction)
        assert float(metric(tensor(prediction), tensor(truth))) == alone.compute()
    assert float(metric.compute()) == expected[name]
    assert metric.higher_is_better is {"higher": True, "neither": None, "lower": False}[load_metric(name).better]


def test_it_lives_in_a_collection_and_is_cloned(pairs: list[Pair], expected: dict[str, float]) -> None:
    import torchmetrics

    from evalkit.torchmetrics import ScoreMetric

    options = AbErrorOptions(quadrature="thresholds")
    collection = torchmetrics.MetricCollection(
        {"val/auc": ScoreMetric("ab_auc"), "val/auc of 151 thresholds": ScoreMetric("ab_auc", options)}
    ).clone(prefix="epoch 1 ")
    for truth, prediction in pairs:
        collection.update(tensor(prediction), tensor(truth))
    values = collection.compute()
    assert float(values["epoch 1 val/auc"]) == expected["ab_auc"]
    assert 0 < float(values["epoch 1 val/auc"]) - float(values["epoch 1 val/auc of 151 thresholds"]) < 0.01


def test_other_definitions_are_told_apart_also_where_their_first_batch_says_the_same(pairs: list[Pair]) -> None:
    """torchmetrics takes metrics whose states agree after the first batch for one, and a photo itself leaves all at zero."""
    import torchmetrics

    from evalkit.torchmetrics import ScoreMetric

    options = {"exact": AbErrorOptions(), "thresholds": AbErrorOptions(quadrature="thresholds")}
    collection = torchmetrics.MetricCollection({name: ScoreMetric("ab_auc", one) for name, one in options.items()})
    truths, predictions = (tensor(*images) for images in zip(*pairs, strict=True))
    collection.update(truths[:1], truths[:1])
    collection.update(predictions, truths)
    for name, value in collection.compute().items():
        alone = evalkit.Accumulator("ab_auc", options[name])
        for pair in [(pairs[0][0], pairs[0][0]), *pairs]:
            alone.update(*pair)
        assert float(value) == alone.compute()
    with pytest.raises(InputError, match="cannot merge ab_auc of quad:mean0-150 into ab_auc of quad:exact150"):
        collection["exact"].merge_state(collection["thresholds"])
    collection["exact"].persistent(True)
    collection["thresholds"].persistent(True)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        collection["exact"].load_state_dict(collection["thresholds"].state_dict())


def test_metrics_of_one_definition_are_merged(pairs: list[Pair], expected: dict[str, float]) -> None:
    from evalkit.torchmetrics import ScoreMetrics

    first, second = ScoreMetrics(PAIRWISE), ScoreMetrics(PAIRWISE)
    truths, predictions = (tensor(*images) for images in zip(*pairs, strict=True))
    first.update(predictions[:2], truths[:2])
    second.update(predictions[2:], truths[2:])
    first.merge_state(second)
    assert {name: float(value) for name, value in first.compute().items()} == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_no_precision_of_the_module_around_it_rounds_the_states(
    dtype: str, pairs: list[Pair], expected: dict[str, float]
) -> None:
    import torch

    from evalkit.torchmetrics import ScoreMetrics

    module = torch.nn.Module()
    module.scores = ScoreMetrics(PAIRWISE)
    truths, predictions = (tensor(*images) for images in zip(*pairs, strict=True))
    module.scores.update(predictions[:2], truths[:2])
    module.half().to(getattr(torch, dtype))
    module.scores.set_dtype(getattr(torch, dtype))
    module.scores.update(predictions[2:], truths[2:])
    assert {name: float(value) for name, value in module.scores.compute().items()} == expected
    assert module.to("meta").scores.n_images.device.type == "meta"


def test_a_step_that_fails_loses_nothing_and_one_of_no_image_is_unscored(
    pairs: list[Pair], expected: dict[str, float]
) -> None:
    from evalkit.torchmetrics import ScoreMetrics

    metrics = ScoreMetrics(PAIRWISE)
    truths, predictions = (tensor(*images) for images in zip(*pairs, strict=True))
    metrics(predictions[:2], truths[:2])
    with pytest.raises(InputError, match="holds floats"):
        metrics(predictions / 255, truths)
    assert int(metrics.n_images) == 2
    assert all(np.isnan(float(value)) for value in metrics(predictions[:0], truths[:0]).values())
    metrics(predictions[2:], truths[2:])
    assert {name: float(value) for name, value in metrics.compute().items()} == expected


def test_it_is_shown_by_its_metrics_and_drawn(pairs: list[Pair]) -> None:
    import matplotlib.pyplot as plt

    from evalkit.torchmetrics import ScoreMetric, ScoreMetrics

    assert repr(ScoreMetrics(["ab_auc", "psnr_rgb"])) == "ScoreMetrics(ab_auc, psnr_rgb)"
    metric = ScoreMetric("ab_auc")
    steps = [metric(tensor(prediction), tensor(truth)) for truth, prediction in pairs]
    figure, axes = plt.subplots()
    try:
        metric.plot(steps, ax=axes)
        assert axes.lines
    finally:
        plt.close(figure)


def test_floats_with_a_gradient_are_rounded_as_a_file_would(pairs: list[Pair]) -> None:
    from evalkit.torchmetrics import ScoreMetric

    truth, prediction = pairs[0]
    metric = ScoreMetric("ab_auc", data_range=(0, 1))
    metric.update((tensor(prediction) / 255).requires_grad_(), tensor(truth) / 255)
    assert float(metric.compute()) == evalkit.ab_auc(truth, prediction)


def test_wrong_calls_are_told_in_a_sentence(pairs: list[Pair]) -> None:
    from evalkit.torchmetrics import ScoreMetric, ScoreMetrics

    metric = ScoreMetric("ab_auc")
    with pytest.raises(InputError, match="pred_rgb8: holds floats"):
        metric.update(tensor(pairs[0][1]) / 255, tensor(pairs[0][0]))
    with pytest.warns(UserWarning, match="before"), pytest.raises(InputError, match="no pair was given yet"):
        ScoreMetric("ab_auc").compute()
    with pytest.raises(InputError, match="ScoreMetrics takes several"):
        ScoreMetric(["ab_auc"])
    with pytest.raises(InputError, match="'default' stands for several"):
        ScoreMetric("default")
    with pytest.raises(InputError, match="data_range"):
        ScoreMetric("ab_auc", data_range=(1, 0))
    with pytest.raises(InputError, match="metrics is one text"):
        ScoreMetrics("ab_auc")


def gathered(
    tmp_path: Path, pairs: list[Pair], metrics: list[str], shares: list[list[int]], weights: dict[str, str]
) -> list[dict]:
    """What real processes make together over gloo, by rank."""
    np.savez(
        tmp_path / "pairs.npz",
        **{
            f"{side}{i}": image
            for i, pair in enumerate(pairs)
            for side, image in zip(("truth", "prediction"), pair, strict=True)
        },
    )
    (tmp_path / "shares.json").write_text(json.dumps({"shares": shares, "metrics": metrics, "weights": weights}))
    script = Path(__file__).with_name("gloo_rank.py")
    words = [tmp_path / name for name in ("pairs.npz", "shares.json", "rendezvous")]
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), *words, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for rank in range(len(shares))
    ]
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output.decode()
    return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(len(shares))]


def test_two_processes_make_what_one_makes_to_the_bit(
    tmp_path: Path, pairs: list[Pair], expected: dict[str, float]
) -> None:
    shares = [[4, 0, 2], [1, 3]]
    for rank, result in enumerate(gathered(tmp_path, pairs, PAIRWISE, shares, {})):
        assert {name: float.fromhex(value) for name, value in result["values"].items()} == expected
        assert result["own"] == len(shares[rank])


def test_a_process_without_images_takes_part_also_where_vectors_are_gathered(
    tmp_path: Path, pairs: list[Pair], shared_data: Path
) -> None:
    from evalkit.networks.options import NetworkOptions

    for name in ("torchvision", "torch_fidelity"):
        require(importlib.util.find_spec(name) is not None, f"{name} is not installed (the extra `networks`)")
    weights = {"inception_fid": pretrained.inception(shared_data)}
    first, second = gathered(
        tmp_path, pairs, ["kid", "ab_auc"], [[0, 1, 2], []], {name: str(path) for name, path in weights.items()}
    )
    assert first["values"] == second["values"]
    truths, predictions = (list(images) for images in zip(*pairs[:3], strict=True))
    kid = evalkit.kid(truths, predictions, networks=NetworkOptions(weights=weights, device="cpu"))
    assert float.fromhex(first["values"]["kid"]) == pytest.approx(kid, rel=1e-5)
