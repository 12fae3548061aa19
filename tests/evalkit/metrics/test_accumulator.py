"""Accumulator: any order, any split, one result to the last bit, for every built-in metric."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import evalkit
from evalkit.arrays import Rgb8
from evalkit.color.ab_classes import Prior, preset
from evalkit.errors import InputError
from evalkit.metrics import BUILT_IN, load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.accumulator import Accumulator
from evalkit.metrics.base import MeanMetric, exact_sum
from evalkit.metrics.blocks import BlockMetric

Pair = tuple[Rgb8, Rgb8]
PAIRWISE = [name for name in BUILT_IN if not issubclass(load_metric(name), BlockMetric) and not load_metric(name).reads]
"""Metrics that pairs of arrays are enough for; the others need a network, several images, or what a run knows."""


@pytest.fixture(scope="module")
def pairs(photos: dict[str, Rgb8]) -> list[Pair]:
    """Seven crops of two sizes (MS-SSIM needs 176 pixels a side), each with a colorization of another kind."""
    found = []
    for i, name in enumerate(["astronaut", "chelsea", "coffee", "rocket", "china", "flower", "chelsea"]):
        side = (180, 193)[i % 2]
        truth = np.ascontiguousarray(photos[name][5 * i : 5 * i + side, 60 : 60 + side])
        gray = truth.mean(axis=2, keepdims=True)
        found.append((truth, np.rint(gray + i / 8 * (truth[..., ::-1] - gray)).clip(0, 255).astype(np.uint8)))
    return found


def accumulated(metric: str, pairs: list[Pair], options: AbErrorOptions | None = None) -> Accumulator:
    accumulator = Accumulator(metric, options)
    for pair in pairs:
        accumulator.update(*pair)
    return accumulator


@pytest.mark.parametrize("metric", PAIRWISE)
def test_order_and_split_leave_every_bit_alone(metric: str, pairs: list[Pair]) -> None:
    whole = accumulated(metric, pairs)
    expected = whole.compute()
    assert math.isfinite(expected)
    assert whole.n_images == len(pairs)
    assert accumulated(metric, pairs[::-1]).compute() == expected
    parts = [accumulated(metric, pairs[i::3]) for i in range(3)]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        merged = Accumulator(metric)
        for i in order:
            merged.merge(parts[i])
        assert merged.compute() == expected
        assert merged.n_images == len(pairs)


@pytest.mark.parametrize("metric", ["ab_auc", "ab_auc_rebal"])
def test_so_under_a_fixed_prior(metric: str, pairs: list[Pair]) -> None:
    options = AbErrorOptions(prior=Prior("test", np.linspace(0.1, 1, 313)), quadrature="thresholds")
    expected = accumulated(metric, pairs, options).compute()
    merged = accumulated(metric, pairs[4:], options)
    merged.merge(accumulated(metric, pairs[3::-1], options))
    assert merged.compute() == expected


@pytest.mark.parametrize("metric", PAIRWISE)
def test_a_pair_given_twice_has_weight_two(metric: str, pairs: list[Pair]) -> None:
    twice, weighted = accumulated(metric, [*pairs[:3], pairs[1]]), accumulated(metric, [pairs[0], pairs[2]])
    weighted.update(*pairs[1], weight=2)
    assert weighted.compute() == twice.compute()
    assert weighted.n_images == 4


MEANS = [name for name in BUILT_IN if issubclass(load_metric(name), MeanMetric) and hasattr(evalkit, name)]


@pytest.mark.parametrize("metric", MEANS)
def test_a_mean_metric_is_the_mean_of_its_function(metric: str, pairs: list[Pair]) -> None:
    function = getattr(evalkit, metric)
    alone = [
        function(*pair[1:]) if metric in ("colorfulness", "colorfulness_abs") else function(*pair) for pair in pairs
    ]
    expected = math.fsum(alone) / len(alone)
    assert accumulated(metric, pairs).compute() == expected


def test_the_mean_metrics_are_found() -> None:
    assert {"psnr_rgb", "ssim_rgb", "ciede2000", "colorfulness", "l_mae"} <= set(MEANS)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_a_batch_is_its_pairs(metric: str, pairs: list[Pair]) -> None:
    same_size = pairs[::2]
    truth, prediction = (np.stack(images) for images in zip(*same_size, strict=True))
    batch = Accumulator(metric)
    batch.update(truth, prediction)
    assert batch.n_images == len(same_size)
    assert batch.compute() == accumulated(metric, same_size).compute()


def test_one_pair_is_the_function_of_arrays(pairs: list[Pair]) -> None:
    for metric in ("ab_auc", "ab_auc_rebal"):
        assert accumulated(metric, pairs[:1]).compute() == getattr(evalkit, metric)(*pairs[0])


@pytest.mark.parametrize("metric", PAIRWISE)
def test_without_pairs_there_is_no_number(metric: str) -> None:
    assert math.isnan(Accumulator(metric).compute())


def test_an_update_after_a_result_goes_on(pairs: list[Pair]) -> None:
    running = accumulated("ab_auc", pairs[:4])
    running.compute()
    for pair in pairs[4:]:
        running.update(*pair)
    assert running.compute() == accumulated("ab_auc", pairs).compute()


@pytest.mark.parametrize(
    "other",
    [
        Accumulator("ab_auc"),
        Accumulator("ab_auc_rebal", AbErrorOptions(preset("seed2024"))),
        Accumulator("ab_auc_rebal", AbErrorOptions(prior=Prior("test", np.ones(313)))),
        Accumulator("ab_auc_rebal", AbErrorOptions(rebalancing=0.5)),
        Accumulator("ab_auc_rebal", AbErrorOptions(quadrature="thresholds")),
    ],
    ids=["metric", "classes", "prior", "lambda", "quadrature"],
)
def test_what_was_made_otherwise_is_not_merged(other: Accumulator, pairs: list[Pair]) -> None:
    accumulator = accumulated("ab_auc_rebal", pairs[:1])
    before = accumulator.compute()
    with pytest.raises(InputError, match=f"cannot merge {other.metric.name} .* into ab_auc_rebal"):
        accumulator.merge(other)
    assert accumulator.compute() == before


class TestMistakes:
    IMAGE = np.zeros((4, 5, 3), np.uint8)

    @pytest.mark.parametrize(
        ("truth", "prediction", "weight", "message"),
        [
            (IMAGE, IMAGE, 0, "weight 0: a pair counts at least once"),
            (IMAGE, IMAGE[:3], 1, "truth_rgb8 has shape (4, 5, 3) but pred_rgb8 has (3, 5, 3)"),
            (IMAGE[None], IMAGE, 1, "truth_rgb8 has shape (1, 4, 5, 3) but pred_rgb8 has (4, 5, 3)"),
            (IMAGE / 255, IMAGE, 1, "truth_rgb8: expected uint8 values from 0 to 255, got float64"),
            (IMAGE, IMAGE[..., 0], 1, "pred_rgb8: expected shape (H, W, 3) or (N, H, W, 3), got (4, 5)"),
        ],
    )
    def test_a_bad_update_is_refused_and_adds_nothing(
        self, truth: np.ndarray, prediction: np.ndarray, weight: int, message: str
    ) -> None:
        accumulator = Accumulator("ab_auc")
        with pytest.raises(InputError, match=re.escape(message)):
            accumulator.update(truth, prediction, weight)
        assert accumulator.n_images == 0
        assert math.isnan(accumulator.compute())

    def test_an_unknown_metric(self) -> None:
        with pytest.raises(InputError, match=r"there is no metric 'ab_auk' .did you mean 'ab_auc'"):
            Accumulator("ab_auk")


def test_sums_are_exact_where_order_would_show() -> None:
    terms = np.array([[1e16], [1.0], [-1e16], [1e-3]])
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [1, 3, 0, 2]):
        assert exact_sum(terms[order]).tolist() == [1.001]
    integers = np.array([[2**62], [1], [-(2**62)]])
    assert exact_sum(integers).tolist() == [1]


@pytest.mark.parametrize("metric", [name for name in BUILT_IN if name not in PAIRWISE])
def test_metrics_that_need_more_than_pairs_are_refused_at_once(metric: str) -> None:
    with pytest.raises(InputError, match=f"metric {metric} needs more than pairs of arrays"):
        Accumulator(metric)
