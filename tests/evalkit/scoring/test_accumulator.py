"""Accumulator: any order, any split, one result to the last bit, for every built-in metric."""

from __future__ import annotations

import copy
import math
import pickle
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import evalkit
from evalkit.arrays import Rgb8
from evalkit.color.ab_classes import Prior, preset
from evalkit.errors import InputError
from evalkit.metrics import BUILT_IN, load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.base import MeanMetric, exact_parts, exact_sum
from evalkit.metrics.blocks import BlockMetric
from evalkit.scoring.accumulator import Accumulator, AccumulatorCollection
from evalkit.scoring.signature import differing_fields

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
def test_without_pairs_there_is_no_number_but_a_sentence(metric: str) -> None:
    with pytest.raises(InputError, match=rf"{metric}: no pair was given yet; update before compute\."):
        Accumulator(metric).compute()


@pytest.mark.parametrize("metric", PAIRWISE)
def test_a_copy_and_one_that_came_by_pickle_are_accumulators_of_their_own(metric: str, pairs: list[Pair]) -> None:
    original = accumulated(metric, pairs[:3])
    before = original.compute()
    for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert twin.compute() == before
        twin.update(*pairs[4])
        twin.merge(original)
        assert twin.n_images == 7
        assert twin.compute() == accumulated(metric, [*pairs[:3], *pairs[:3], pairs[4]]).compute()
    assert original.compute() == before
    assert len(pickle.dumps(original)) < 20_000  # of the classes the name travels, not their table


@pytest.mark.parametrize("metric", PAIRWISE)
def test_after_a_reset_it_is_as_new(metric: str, pairs: list[Pair]) -> None:
    running = accumulated(metric, pairs[:2])
    running.reset()
    assert running.n_images == 0
    running.update(*pairs[3])
    assert running.compute() == accumulated(metric, pairs[3:4]).compute()


@pytest.fixture(scope="module")
def scores(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> evalkit.Scores:
    """What the scoring run makes of the same pairs as files, out of order."""
    root = tmp_path_factory.mktemp("pairs")
    for i, pair in enumerate(pairs):
        for folder, image in zip(("truth", "mine"), pair, strict=True):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(root / folder / f"{(3 * i) % 7}.png")
    return evalkit.score(root / "truth", {"mine": root / "mine"}, metrics=PAIRWISE, n_bootstrap=0)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_the_number_is_that_of_the_scoring_run_to_the_bit_and_signed_alike(
    metric: str, pairs: list[Pair], scores: evalkit.Scores
) -> None:
    running = accumulated(metric, pairs)
    assert running.compute() == scores["mine", metric].value
    differing = differing_fields(running.signature, scores["mine", metric].signature)
    assert set(differing) == {"set"}
    assert differing["set"][0] == "arrays"


def test_a_collection_gives_the_numbers_of_single_ones(pairs: list[Pair]) -> None:
    together = AccumulatorCollection(PAIRWISE)
    for pair in pairs[:4]:
        together.update(*pair)
    late = AccumulatorCollection(PAIRWISE)
    late.update(*pairs[4], weight=2)
    together.merge(pickle.loads(pickle.dumps(late)))
    assert together.n_images == 6
    assert together.compute() == {name: accumulated(name, [*pairs[:5], pairs[4]]).compute() for name in PAIRWISE}
    assert list(together.signatures) == PAIRWISE
    together.reset()
    with pytest.raises(InputError, match="no pair was given yet"):
        together.compute()


def test_a_collection_brings_each_photo_to_lab_once(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.color import colorspace

    converted = []
    original = colorspace.lab_planes
    monkeypatch.setattr(colorspace, "lab_planes", lambda rgb8: converted.append(1) or original(rgb8))
    together = AccumulatorCollection(["ab_rmse", "ciede2000", "psnr_ab", "l_mae"])
    together.update(*pairs[0])
    assert len(converted) == 2


def test_what_it_says_of_itself(pairs: list[Pair]) -> None:
    running = Accumulator("ab_auc")
    assert repr(running) == "<Accumulator of ab_auc; no image yet>"
    running.update(*pairs[0])
    assert repr(running) == f"<Accumulator of ab_auc; 1 image: ab_auc {running.compute():.4f}>"
    together = AccumulatorCollection(["ab_auc", "psnr_rgb"])
    assert repr(together) == "<AccumulatorCollection of ab_auc, psnr_rgb; no image yet>"


class TestTensors:
    """What a network returns: floats, channels first, with gradients, in a range that is stated."""

    def test_floats_are_scored_as_the_file_that_would_be_written(self, pairs: list[Pair], tmp_path: Path) -> None:
        import torch

        from evalkit.networks._torchvision_compat import import_torchvision

        save_image = import_torchvision().utils.save_image
        truth = pairs[0][0]
        prediction = torch.rand(3, *truth.shape[:2], generator=torch.Generator().manual_seed(0), requires_grad=True)
        save_image(prediction.detach(), tmp_path / "prediction.png")
        written = np.asarray(Image.open(tmp_path / "prediction.png"))
        expected = accumulated("ab_auc", [(truth, written)]).compute()
        for values, data_range in ((prediction, (0, 1)), (prediction * 2 - 1, (-1, 1)), (prediction * 255, (0, 255))):
            running = Accumulator("ab_auc", data_range=data_range)
            running.update(torch.from_numpy(truth.transpose(2, 0, 1).copy()), values)
            # Of 32-bit floats a few lie so near a half that each way of scaling rounds them to another side.
            assert running.compute() == pytest.approx(expected, abs=1e-5)
        batch = Accumulator("ab_auc", data_range=(0, 1))
        batch.update(torch.from_numpy(truth.transpose(2, 0, 1).copy())[None], prediction[None])
        assert batch.compute() == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16"])
    def test_any_float_type(self, pairs: list[Pair], kind: str) -> None:
        import torch

        truth, prediction = (torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in pairs[0])
        running = Accumulator("ab_auc", data_range=(0, 1))
        running.update(truth, (prediction / 255).to(getattr(torch, kind)))
        exact = accumulated("ab_auc", pairs[:1]).compute()
        # Eight binary places of bfloat16 do not hold 255 steps; the others do.
        assert running.compute() == (pytest.approx(exact, abs=2e-3) if kind == "bfloat16" else exact)

    def test_a_range_that_is_none_is_refused_for_bytes_too(self) -> None:
        with pytest.raises(InputError, match="data_range 255: expected two numbers, black and white"):
            evalkit.to_rgb8(np.zeros((4, 5, 3), np.uint8), 255)

    def test_values_outside_are_clipped_as_in_a_file(self) -> None:
        assert evalkit.to_rgb8(np.full((1, 1, 3), 1.2), (0, 1)).tolist() == [[[255, 255, 255]]]
        assert evalkit.to_rgb8(np.full((1, 1, 3), -0.2), (0, 1)).tolist() == [[[0, 0, 0]]]

    @pytest.mark.parametrize(
        ("values", "data_range", "sentence"),
        [
            (np.zeros((4, 5, 3)), None, "holds floats (float64); say what black and white are: data_range=(0, 1)"),
            (np.full((4, 5, 3), -1.0), (0, 1), "holds values from -1 to -1, far outside of the data_range (0, 1)"),
            (np.full((4, 5, 3), 200.0), (0, 1), "holds values from 200 to 200, far outside of the data_range (0, 1)"),
            (np.full((4, 5, 3), np.nan), (0, 1), "holds values that are not finite"),
            (np.zeros((3, 4, 5), np.uint8), None, "expected shape (H, W, 3) or (N, H, W, 3), got (3, 4, 5)"),
            (np.zeros((4, 5, 3), np.int64), (0, 1), "expected uint8 values from 0 to 255, got int64; if they are from"),
            (None, (0, 1), "pred_rgb8: expected an array or a tensor of pixels, got NoneType"),
            ("mine.png", None, "pred_rgb8: expected an array or a tensor of pixels, got str"),
            (
                np.ma.masked_less(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), 9),
                None,
                "is an array of which a part is masked, and every pixel counts",
            ),
        ],
    )
    def test_what_would_be_a_guess_is_refused(self, values: np.ndarray, data_range: object, sentence: str) -> None:
        running = Accumulator("ab_auc", data_range=data_range)
        with pytest.raises(InputError, match=re.escape(sentence)):
            running.update(np.zeros((4, 5, 3), np.uint8), values)
        assert running.n_images == 0

    @pytest.mark.parametrize("data_range", [(1, 0), 255, "01", (0, 1, 2), (0, float("nan")), (0.5, 0.5), (0, None)])
    def test_a_range_that_is_none_is_refused_before_the_first_image(self, data_range: object) -> None:
        for make in (lambda: Accumulator("ab_auc", data_range=data_range), lambda: evalkit.to_rgb8(0.5, data_range)):
            with pytest.raises(InputError, match=re.escape(f"data_range {data_range!r}: expected two numbers")):
                make()

    def test_tensors_without_pixels_are_refused_in_a_sentence(self) -> None:
        import torch

        for tensor, kind in (
            (torch.zeros(3, 4, 5, device="meta"), "one on the device meta"),
            (torch.zeros(3, 4, 5).to_sparse(), "one of layout torch.sparse_coo"),
        ):
            with pytest.raises(InputError, match=f"the tensor must be dense and hold values, got {kind}"):
                evalkit.to_rgb8(tensor, (0, 1))

    def test_a_list_of_tensors_is_a_batch(self, pairs: list[Pair]) -> None:
        import torch

        images = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in pairs[0]]
        np.testing.assert_array_equal(evalkit.to_rgb8(images), np.stack(pairs[0]))
        with pytest.raises(InputError, match="the images of a batch must have one size"):
            evalkit.to_rgb8([images[0], images[1][:, 1:]])
        with pytest.raises(InputError, match=r"images\[1\]: a tensor has shape"):
            evalkit.to_rgb8([images[0], images[1][:2]])

    def test_a_tensor_with_its_channels_last_is_refused_by_functions_too(self) -> None:
        import torch

        with pytest.raises(InputError, match=r"a tensor has shape .3, H, W. .* got \(4, 5, 3\)"):
            evalkit.ab_auc(torch.zeros(4, 5, 3, dtype=torch.uint8), torch.zeros(4, 5, 3, dtype=torch.uint8))

    def test_functions_take_8_bit_tensors_and_refuse_floats(self, pairs: list[Pair]) -> None:
        import torch

        truth, prediction = (torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in pairs[0])
        assert evalkit.ab_auc(truth, prediction) == evalkit.ab_auc(*pairs[0])
        with pytest.raises(InputError, match=r"evalkit\.to_rgb8 rounds floats"):
            evalkit.ab_auc(truth, (prediction / 255).requires_grad_())


@given(st.lists(st.floats(-1e300, 1e300), max_size=30), st.integers(0, 30))
def test_parts_hold_a_sum_exactly_however_it_is_split(values: list[float], split: int) -> None:
    """Fractions are the independent arithmetic."""
    parts = exact_parts([*exact_parts(values[:split]), *exact_parts(values[split:])])
    assert sum(map(Fraction, parts.tolist())) == sum(map(Fraction, values))
    assert parts[0] == math.fsum(values)


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
        Accumulator("ab_auc_rebal", AbErrorOptions(classes=preset("seed2024"))),
        Accumulator("ab_auc_rebal", AbErrorOptions(prior=Prior("test", np.ones(313)))),
        Accumulator("ab_auc_rebal", AbErrorOptions(rebalancing=0.5)),
        Accumulator("ab_auc_rebal", AbErrorOptions(quadrature="thresholds")),
    ],
    ids=["metric", "classes", "prior", "lambda", "quadrature"],
)
def test_what_was_made_otherwise_is_not_merged(other: Accumulator, pairs: list[Pair]) -> None:
    accumulator = accumulated("ab_auc_rebal", pairs[:1])
    before = accumulator.compute()
    with pytest.raises(InputError, match=f"cannot merge {other.metric.name} .*into ab_auc_rebal"):
        accumulator.merge(other)
    assert accumulator.compute() == before


class TestMistakes:
    IMAGE = np.zeros((4, 5, 3), np.uint8)

    @pytest.mark.parametrize(
        ("truth", "prediction", "weight", "message"),
        [
            (IMAGE, IMAGE, 0, "weight 0: a pair counts once, or a whole number of times"),
            (IMAGE, IMAGE, 1.5, "weight 1.5: a pair counts once, or a whole number of times"),
            (IMAGE, IMAGE, [1, 2], "weight [1, 2]: a pair counts once"),
            (IMAGE, IMAGE[:3], 1, "truth_rgb8 has shape (4, 5, 3) but pred_rgb8 has (3, 5, 3)"),
            (IMAGE[None], IMAGE, 1, "truth_rgb8 has shape (1, 4, 5, 3) but pred_rgb8 has (4, 5, 3)"),
            (IMAGE / 255, IMAGE, 1, "truth_rgb8: holds floats (float64)"),
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
        assert repr(accumulator).endswith("no image yet>")

    def test_an_unknown_metric(self) -> None:
        with pytest.raises(InputError, match=r"there is no metric 'ab_auk' .did you mean 'ab_auc'"):
            Accumulator("ab_auk")


def test_sums_are_exact_where_order_would_show() -> None:
    terms = np.array([[1e16], [1.0], [-1e16], [1e-3]])
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [1, 3, 0, 2]):
        assert exact_sum(terms[order]).tolist() == [1.001]
    integers = np.array([[2**62], [1], [-(2**62)]])
    assert exact_sum(integers).tolist() == [1]


SEVERAL = ["diversity_variance", "diversity_lpips", "diversity_lpips_consecutive", "cdc", "clip_rate"]


@pytest.mark.parametrize("metric", SEVERAL)
def test_metrics_that_need_more_than_pairs_are_refused_at_once(metric: str) -> None:
    with pytest.raises(InputError, match=f"metric {metric} needs more than pairs of arrays"):
        Accumulator(metric)


@pytest.mark.parametrize("metric", [name for name in BUILT_IN if name not in [*PAIRWISE, *SEVERAL]])
def test_a_network_that_is_not_there_is_told_at_once(
    metric: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(InputError, match=rf"metric {metric}: .*(weights|evalkit weights)"):
        Accumulator(metric)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Accumulator(["ab_auc"]),
            "an Accumulator has one metric, by name; AccumulatorCollection takes several",
        ),
        (lambda: Accumulator("default"), "an Accumulator has one metric, by name; 'default' stands for several"),
        (lambda: AccumulatorCollection(["ab_auc", 1]), "metrics holds 1; give names"),
        (lambda: Accumulator("ab_auc", "zhang2016"), "options is str; evalkit.AbErrorOptions(...) is needed"),
        (lambda: Accumulator("AB_AUC"), "did you mean 'ab_auc'?"),
        (lambda: Accumulator("lpips"), "did you mean 'lpips_alex'?"),
        (
            lambda: Accumulator("ab_auc").merge(Accumulator("ab_auc", AbErrorOptions(quadrature="thresholds"))),
            "cannot merge ab_auc of quad:mean0-150 into ab_auc of quad:exact150",
        ),
        (lambda: AccumulatorCollection("ab_auc"), "metrics is one text; give a list of names: ['ab_auc']"),
        (lambda: AccumulatorCollection([]), "no metric given"),
        (lambda: AccumulatorCollection(["ab_auc", "ab_auc"]), "metric ab_auc is given twice"),
        (lambda: Accumulator("ab_auc").merge(1), "cannot merge int into an accumulator"),
        (lambda: AccumulatorCollection(["ab_auc"]).merge(Accumulator("ab_auc")), "cannot merge Accumulator into"),
    ],
)
def test_wrong_calls_are_told_in_a_sentence(make, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        make()
