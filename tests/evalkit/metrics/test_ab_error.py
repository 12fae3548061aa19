"""AuC of the cumulative ab error: counts and scores equal to the plain float64 reference, on real photos."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import (
    auc_exact,
    auc_thresholds,
    auc_trapezoid,
    classes_of,
    cmf,
    errors_of,
    histogram_of,
    lab_of,
    weights_of,
)

from evalkit.arrays import Rgb8
from evalkit.color.ab_bins import ERROR_SCALE, N_BINS
from evalkit.color.ab_classes import AbClasses, Prior, preset
from evalkit.errors import InputError
from evalkit.metrics.ab_counts import AbErrorOptions, AbErrorTable, PairCounter, table_of
from evalkit.metrics.ab_error import AbAuc, AbAucRebalanced, ab_auc, ab_auc_rebal, curve
from evalkit.metrics.base import ImageStatistics
from evalkit.metrics.photo import Photo
from evalkit.scoring.accumulator import Accumulator

ZHANG, SEED = preset("zhang2016"), preset("seed2024")
Pair = tuple[Rgb8, Rgb8]


def counted(truth: Rgb8, prediction: Rgb8, classes: AbClasses = ZHANG) -> AbErrorTable:
    return table_of([PairCounter(classes).count(Photo(truth), Photo(prediction))], len(classes))


def noise(shape: tuple[int, int], seed: int) -> Rgb8:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def desaturated(photo: Rgb8, saturation: float) -> Rgb8:
    gray = photo.mean(axis=2, keepdims=True)
    return np.rint(saturation * photo + (1 - saturation) * gray).astype(np.uint8)


def predictions_of(photo: Rgb8) -> Iterator[Rgb8]:
    """Too dull, gray, other hues, noisy, another photo's colours, the negative (errors beyond 150)."""
    yield desaturated(photo, 0.5)
    yield desaturated(photo, 0.0)
    yield np.ascontiguousarray(photo[..., ::-1])
    yield np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    yield np.ascontiguousarray(photo[::-1, ::-1])
    yield 255 - photo


def statistics(table: AbErrorTable) -> ImageStatistics:
    pixels = table.totals(table.class_count)
    return ImageStatistics(images=tuple(f"{i:04d}" for i in range(len(table))), n_pixels=pixels, ab_error=table)


def pooled(table: AbErrorTable, options: AbErrorOptions) -> tuple[float, float]:
    """AuC and rebalanced AuC of all images of a table."""
    found = []
    for metric in (AbAuc(options), AbAucRebalanced(options)):
        found.append(float(metric.score(metric.terms(statistics(table)).sum(axis=0))))
    return found[0], found[1]


class TestCounts:
    """The integer counts are those of float64, for every pixel."""

    @pytest.mark.parametrize("classes", [ZHANG, SEED], ids=lambda c: c.name)
    def test_published_colorizations(self, classes: AbClasses, published_pairs: list[Pair]) -> None:
        assert len(published_pairs) == 100
        counter = PairCounter(classes)
        for truth, prediction in published_pairs:
            found = table_of([counter.count(Photo(truth), Photo(prediction))], len(classes)).histogram()
            np.testing.assert_array_equal(found, histogram_of(truth, prediction, classes.centers))

    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket", "china", "flower"])
    def test_photos_that_everybody_has(self, name: str, photos: dict[str, Rgb8]) -> None:
        photo = photos[name][:300, :299]
        for prediction in predictions_of(photo):
            expected = histogram_of(photo, prediction, ZHANG.centers)
            np.testing.assert_array_equal(counted(photo, prediction).histogram(), expected)

    def test_centres_off_the_grid(self, photos: dict[str, Rgb8]) -> None:
        classes = AbClasses(name="test", centers=np.random.default_rng(3).uniform(-60, 60, (200, 2)))
        truth, prediction = photos["coffee"][:128, :128], photos["coffee"][100:228, 100:228]
        expected = histogram_of(truth, prediction, classes.centers)
        np.testing.assert_array_equal(counted(truth, prediction, classes).histogram(), expected)

    @pytest.mark.parametrize("n_pixels", [1, 2, 63, 64, 65, 127, 1023, 1024, 1025, 1087, 1089])
    def test_colours_between_classes_at_every_place_of_a_group(self, n_pixels: int) -> None:
        """Most are not told by the table of cells; they are looked for in groups, of which the last may be short."""
        classes = AbClasses(name="test", centers=np.random.default_rng(3).uniform(-60, 60, (1500, 2)))
        truth, prediction = noise((1, n_pixels), 1) // 4 + 96, noise((1, n_pixels), 2)
        prediction[0, -1] = truth[0, -1]  # an error of zero is at the edge of a bin
        expected = histogram_of(truth, prediction, classes.centers)
        np.testing.assert_array_equal(counted(truth, prediction, classes).histogram(), expected)

    @given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)).flatmap(
        lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape))
    ))  # fmt: skip
    def test_any_images(self, pair: Pair) -> None:
        table = counted(*pair)
        np.testing.assert_array_equal(table.histogram(), histogram_of(*pair, ZHANG.centers))
        # One rounding to 1/65536 a pixel, on errors that float32 knows to 1e-4.
        expected = np.minimum(errors_of(*pair), 150)
        assert table.error_sum.sum() / ERROR_SCALE == pytest.approx(expected.sum(), abs=2e-4 * expected.size)

    def test_colours_that_differ_by_one_step(self) -> None:
        """Tiny errors, the grays among them: bin 1, never 0."""
        truth = noise((64, 64), 0) // 2
        truth[:32] = truth[:32, :, :1]
        for step in ((1, 0, 0), (0, 0, 1), (1, 1, 1)):
            prediction = truth + np.array(step, np.uint8)
            histogram = counted(truth, prediction).histogram()
            np.testing.assert_array_equal(histogram, histogram_of(truth, prediction, ZHANG.centers))
            assert histogram[:, 0].sum() == 0

    @pytest.mark.parametrize(
        "shape", [(1, 1), (3, 7), (1, 1023), (1, 1024), (1, 1025), (255, 257), (256, 257), (512, 1024), (725, 725)]
    )
    def test_any_size(self, shape: tuple[int, int]) -> None:
        """Around one chunk of 1,024 pixels and beyond the 2^19 after which packed cells are emptied."""
        truth, prediction = noise(shape, 1), noise(shape, 2)
        table = counted(truth, prediction)
        np.testing.assert_array_equal(table.histogram(), histogram_of(truth, prediction, ZHANG.centers))
        assert table.totals(table.class_count).tolist() == [shape[0] * shape[1]]

    def test_a_packed_cell_holds_the_largest_error_of_every_pixel(self) -> None:
        """One class and one bin for 1.2 million pixels that are more than 150 apart: nothing overflows."""
        truth = np.full((1000, 1200, 3), (0, 255, 0), np.uint8)
        prediction = np.full((1000, 1200, 3), (0, 0, 255), np.uint8)
        table = counted(truth, prediction)
        assert table.bin_count.tolist() == [1_200_000]
        assert table.bin_key.tolist() == [table.class_id[0] * N_BINS + 151]
        assert table.error_sum.tolist() == [1_200_000 * 150 * ERROR_SCALE]

    def test_a_counter_carries_nothing_over_to_the_next_pair(self) -> None:
        counter = PairCounter(ZHANG)
        one, other = (noise((30, 30), 1), noise((30, 30), 2)), (noise((7, 9), 3), noise((7, 9), 4))
        for pair in (one, other, one):
            found = table_of([counter.count(Photo(pair[0]), Photo(pair[1]))], len(ZHANG))
            np.testing.assert_array_equal(found.histogram(), histogram_of(*pair, ZHANG.centers))
            assert found.error_sum.tolist() == counted(*pair).error_sum.tolist()

    def test_one_truth_under_two_sets_of_classes(self) -> None:
        truth, prediction = Photo(noise((20, 20), 1)), Photo(noise((20, 20), 2))
        for classes in (ZHANG, SEED, ZHANG):
            found = table_of([PairCounter(classes).count(truth, prediction)], len(classes)).histogram()
            np.testing.assert_array_equal(found, histogram_of(truth.rgb8, prediction.rgb8, classes.centers))

    def test_diagnostics(self) -> None:
        truth, prediction = noise((60, 50), 5), noise((60, 50), 6)
        truth[0, 0], prediction[0, 0] = (0, 5, 5), (0, 0, 9)  # was at an end before: not newly
        counts = PairCounter(ZHANG).count(Photo(truth), Photo(prediction))
        change = np.abs(lab_of(truth)[..., 0] - lab_of(prediction)[..., 0]).mean()
        assert counts.lightness_change == pytest.approx(change, abs=2e-4)
        at_end = [np.any((image == 0) | (image == 255), axis=2) for image in (truth, prediction)]
        assert counts.newly_clipped == np.count_nonzero(at_end[1] & ~at_end[0])

    def test_the_change_of_lightness_is_the_same_to_the_last_bit_in_any_order_of_pixels(self) -> None:
        truth, prediction = noise((1, 1000), 5), noise((1, 1000), 6)
        shuffled = np.random.default_rng(0).permutation(1000)
        in_order, out_of_order = (
            PairCounter(ZHANG).count(Photo(truth[:, pixels]), Photo(prediction[:, pixels])).lightness_change
            for pixels in (np.arange(1000), shuffled)
        )
        assert in_order == out_of_order


class TestTruthAgainstItself:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 7), (23, 89), (1, 2049), (300, 300)])
    def test_is_exactly_one_and_all_in_bin_0(self, shape: tuple[int, int]) -> None:
        image = noise(shape, 9)
        table = counted(image, image.copy())
        assert table.histogram()[:, 0].sum() == shape[0] * shape[1]
        assert not table.error_sum.any()
        for quadrature in ("exact", "thresholds"):
            options = AbErrorOptions(quadrature=quadrature)  # type: ignore[arg-type]
            assert ab_auc(image, image.copy(), options) == 1.0
            assert ab_auc_rebal(image, image.copy(), options) == 1.0

    def test_on_photos(self, photos: dict[str, Rgb8]) -> None:
        for photo in photos.values():
            assert not counted(photo, photo.copy()).histogram()[:, 1:].any()


@pytest.fixture(scope="module")
def set_of_pairs(photos: dict[str, Rgb8]) -> list[Pair]:
    return [
        (photos["chelsea"][:201, :333], desaturated(photos["chelsea"][:201, :333], 0.3)),
        (photos["coffee"][:200, :250], np.ascontiguousarray(photos["coffee"][:200, :250, ::-1])),
        (photos["rocket"][:90, :60], 255 - photos["rocket"][:90, :60]),
    ]


@pytest.fixture(scope="module")
def pixels(set_of_pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Error and class of all pixels, by the reference."""
    errors = np.concatenate([errors_of(*pair) for pair in set_of_pairs])
    return errors, np.concatenate([classes_of(truth, ZHANG.centers) for truth, _ in set_of_pairs])


@pytest.fixture(scope="module")
def table(set_of_pairs: list[Pair]) -> AbErrorTable:
    counter = PairCounter(ZHANG)
    return table_of([counter.count(Photo(truth), Photo(other)) for truth, other in set_of_pairs], len(ZHANG))


class TestScores:
    PRIOR = Prior("test", np.linspace(1, 9, 313) / np.linspace(1, 9, 313).sum())

    @pytest.mark.parametrize("prior", [None, PRIOR], ids=["truth", "fixed"])
    @pytest.mark.parametrize("rebalancing", [0.0, 0.5, 1.0])
    def test_closed_form_equals_the_reference(
        self, table: AbErrorTable, pixels: tuple[np.ndarray, np.ndarray], prior: Prior | None, rebalancing: float
    ) -> None:
        errors, classes = pixels
        auc, rebalanced = pooled(table, AbErrorOptions(prior=prior, rebalancing=rebalancing))
        weights = weights_of(classes, prior.shares if prior else None, 313, rebalancing)
        assert auc == pytest.approx(auc_exact(errors), abs=1e-6)
        assert rebalanced == pytest.approx(auc_exact(errors, weights), abs=1e-6)

    @pytest.mark.parametrize("prior", [None, PRIOR], ids=["truth", "fixed"])
    @pytest.mark.parametrize("rebalancing", [0.0, 0.5])
    @pytest.mark.parametrize("max_threshold", [1, 40, 149, 150])
    def test_thresholds_are_the_mean_of_the_explicit_ones(
        self,
        table: AbErrorTable,
        pixels: tuple[np.ndarray, np.ndarray],
        prior: Prior | None,
        rebalancing: float,
        max_threshold: int,
    ) -> None:
        errors, classes = pixels
        options = AbErrorOptions(
            prior=prior, rebalancing=rebalancing, quadrature="thresholds", max_threshold=max_threshold
        )
        auc, rebalanced = pooled(table, options)
        weights = weights_of(classes, prior.shares if prior else None, 313, rebalancing)
        assert auc == pytest.approx(auc_thresholds(errors, None, max_threshold), abs=1e-12)
        assert rebalanced == pytest.approx(auc_thresholds(errors, weights, max_threshold), abs=1e-12)

    def test_closed_form_equals_the_trapezoid_of_a_million_steps(
        self, table: AbErrorTable, pixels: tuple[np.ndarray, np.ndarray]
    ) -> None:
        errors, classes = pixels
        auc, rebalanced = pooled(table, AbErrorOptions())
        assert auc == pytest.approx(auc_trapezoid(errors), abs=1e-6)
        assert rebalanced == pytest.approx(auc_trapezoid(errors, weights_of(classes, None, 313)), abs=1e-6)

    def test_with_the_truths_own_shares_it_is_the_mean_over_the_classes_present(
        self, table: AbErrorTable, pixels: tuple[np.ndarray, np.ndarray]
    ) -> None:
        errors, classes = pixels
        of_class = [auc_exact(errors[classes == c]) for c in np.unique(classes)]
        assert pooled(table, AbErrorOptions())[1] == pytest.approx(np.mean(of_class), abs=1e-6)

    @pytest.mark.parametrize("prior", [None, PRIOR], ids=["truth", "fixed"])
    def test_the_curve_is_that_of_explicit_thresholds(
        self, table: AbErrorTable, pixels: tuple[np.ndarray, np.ndarray], prior: Prior | None
    ) -> None:
        errors, classes = pixels
        weights = weights_of(classes, prior.shares if prior else None, 313, 0.25)
        plain, rebalanced = curve(table.histogram(), AbErrorOptions(prior=prior, rebalancing=0.25))
        np.testing.assert_allclose(plain, cmf(errors, np.ones_like(errors), np.arange(151)), rtol=1e-12)
        np.testing.assert_allclose(rebalanced, cmf(errors, weights, np.arange(151)), rtol=1e-12)

    def test_each_image_alone(self, table: AbErrorTable, set_of_pairs: list[Pair]) -> None:
        options = AbErrorOptions(quadrature="thresholds")
        for metric, function in ((AbAuc(options), ab_auc), (AbAucRebalanced(options), ab_auc_rebal)):
            alone = [function(*pair, options) for pair in set_of_pairs]
            assert metric.per_image(statistics(table)).tolist() == alone

    def test_pooling_is_over_pixels_not_images(self, table: AbErrorTable, set_of_pairs: list[Pair]) -> None:
        alone = np.array([ab_auc(*pair) for pair in set_of_pairs])
        n_pixels = [truth.shape[0] * truth.shape[1] for truth, _ in set_of_pairs]
        auc, _ = pooled(table, AbErrorOptions())
        assert auc == pytest.approx(np.average(alone, weights=n_pixels), abs=1e-12)
        assert abs(auc - alone.mean()) > 1e-3

    def test_a_known_answer(self) -> None:
        red, gray = np.full((1, 1, 3), (255, 0, 0), np.uint8), np.full((1, 1, 3), 119, np.uint8)
        error = np.hypot(80.0924, 67.2032)  # published Lab of sRGB red; grays are at most 0.01 from neutral
        assert ab_auc(red, gray) == pytest.approx(1 - error / 150, abs=1e-4)
        assert ab_auc(red, gray, AbErrorOptions(quadrature="thresholds")) == pytest.approx((151 - 105) / 151, abs=1e-12)

    def test_mirrored_images_score_the_same(self, set_of_pairs: list[Pair]) -> None:
        for truth, prediction in set_of_pairs:
            one, other = counted(truth, prediction), counted(truth[:, ::-1], prediction[:, ::-1])
            np.testing.assert_array_equal(one.histogram(), other.histogram())
            np.testing.assert_array_equal(one.error_sum, other.error_sum)

    def test_the_class_is_that_of_the_truth(self) -> None:
        """Swapping truth and prediction keeps AuC, as the distance is symmetric, and moves the rebalanced one."""
        truth, prediction = noise((40, 40), 1), noise((40, 40), 2) // 2
        assert ab_auc(truth, prediction) == pytest.approx(ab_auc(prediction, truth), abs=1e-12)
        assert abs(ab_auc_rebal(truth, prediction) - ab_auc_rebal(prediction, truth)) > 1e-3


class TestTables:
    def test_a_reduced_table_gives_the_same_scores_and_no_others(self) -> None:
        counter = PairCounter(ZHANG)
        pairs = [(noise((15, 20), i), noise((15, 20), 50 + i)) for i in range(3)]
        table = table_of([counter.count(Photo(truth), Photo(other)) for truth, other in pairs], 313)
        options = AbErrorOptions(quadrature="thresholds", max_threshold=60)
        reduced = table.reduced(options)
        assert len(reduced.bin_key) == 0
        assert pooled(reduced, options) == pooled(table, options)
        with pytest.raises(ValueError, match="reduced to another quadrature"):
            reduced.losses(AbErrorOptions())

    def test_the_histogram_of_a_set_is_the_sum_of_its_images(self) -> None:
        counter = PairCounter(ZHANG)
        pairs = [(noise((9, 8), i), noise((9, 8), 20 + i)) for i in range(4)]
        counts = [counter.count(Photo(truth), Photo(other)) for truth, other in pairs]
        merged = table_of(counts, 313).histogram()
        np.testing.assert_array_equal(merged, sum(table_of([c], 313).histogram() for c in counts))
        np.testing.assert_array_equal(merged, table_of(counts[::-1], 313).histogram())

    def test_dense_and_totals(self) -> None:
        counter = PairCounter(ZHANG)
        pairs = [(noise((9, 8), i), noise((9, 8), 20 + i)) for i in range(4)]
        table = table_of([counter.count(Photo(truth), Photo(other)) for truth, other in pairs], 313)
        dense = table.dense(table.class_count)
        assert dense.shape == (4, 313)
        np.testing.assert_array_equal(dense.sum(axis=1), table.totals(table.class_count))
        np.testing.assert_array_equal(dense.sum(axis=0), table.histogram().sum(axis=1))

    def test_no_images(self) -> None:
        table = table_of([], 313)
        assert len(table) == 0
        assert not table.histogram().any()
        assert np.isnan(pooled(table, AbErrorOptions())).all()


class TestBatches:
    def test_a_batch_gives_one_value_a_pair_in_order(self) -> None:
        truth, prediction = (np.stack([noise((12, 10), seed + i) for i in range(3)]) for seed in (0, 10))
        for function in (ab_auc, ab_auc_rebal):
            values = function(truth, prediction)
            assert isinstance(values, np.ndarray)
            assert values.tolist() == [function(one, other) for one, other in zip(truth, prediction, strict=True)]
            assert function(truth[::-1], prediction[::-1]).tolist() == values[::-1].tolist()  # type: ignore[union-attr]

    def test_a_pair_counted_twice_is_a_pair_of_weight_two(self) -> None:
        pairs = [(noise((12, 10), i), noise((12, 10), 30 + i)) for i in range(3)]
        for metric in ("ab_auc", "ab_auc_rebal"):
            twice, weighted = Accumulator(metric), Accumulator(metric)
            for i, pair in enumerate(pairs):
                weighted.update(*pair, weight=2 if i == 1 else 1)
                twice.update(*pair)
            twice.update(*pairs[1])
            assert twice.compute() == weighted.compute()
            assert twice.n_images == weighted.n_images == 4


class TestMistakes:
    IMAGE = np.zeros((4, 5, 3), np.uint8)

    @pytest.mark.parametrize("function", [ab_auc, ab_auc_rebal])
    @pytest.mark.parametrize(
        ("prediction", "message"),
        [
            (IMAGE.astype(np.float32), "pred_rgb8: expected uint8 values from 0 to 255, got float32"),
            (IMAGE.astype(np.int64), "expected uint8 values from 0 to 255, got int64"),
            (IMAGE[..., 0], "expected shape (H, W, 3) or (N, H, W, 3), got (4, 5)"),
            (np.zeros((4, 5, 4), np.uint8), "got (4, 5, 4)"),
            (IMAGE[:3], "truth_rgb8 has shape (4, 5, 3) but pred_rgb8 has (3, 5, 3)"),
            (IMAGE[None], "truth_rgb8 has shape (4, 5, 3) but pred_rgb8 has (1, 4, 5, 3)"),
            (IMAGE[:0], "has no pixels"),
        ],
    )
    def test_arrays_that_are_no_pair(self, function: object, prediction: np.ndarray, message: str) -> None:
        with pytest.raises(InputError, match=re.escape(message)):
            function(self.IMAGE, prediction)  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"quadrature": "simpson"}, "unknown quadrature 'simpson'; allowed: exact, thresholds"),
            ({"quadrature": "thresholds", "max_threshold": 0}, "largest threshold 0 is outside 1..150"),
            ({"quadrature": "thresholds", "max_threshold": 151}, "largest threshold 151 is outside 1..150"),
            ({"max_threshold": 100}, "use quadrature 'thresholds' for a shorter range"),
            ({"rebalancing": -0.1}, "lambda -0.1 is outside 0..1"),
            ({"rebalancing": 1.5}, "lambda 1.5 is outside 0..1"),
            ({"rebalancing": float("nan")}, "lambda nan is outside 0..1"),
            ({"rebalancing": "0.5"}, "rebalancing is str; lambda, a number from 0 to 1, is needed"),
            ({"quadrature": "thresholds", "max_threshold": "150"}, "max_threshold is '150'; a whole number is needed"),
            ({"quadrature": "thresholds", "max_threshold": 10.5}, "max_threshold is 10.5; a whole number is needed"),
            ({"classes": "zhang2016"}, "classes is str; evalkit.color.ab_classes.preset(...)"),
            ({"prior": "prior.json"}, "prior is str; evalkit.color.ab_classes.load_prior(...)"),
        ],
    )
    def test_options(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(InputError, match=re.escape(message)):
            AbErrorOptions(**options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("function", [ab_auc, ab_auc_rebal])
    def test_options_of_another_kind(self, function: object) -> None:
        with pytest.raises(InputError, match=re.escape("options is str; evalkit.AbErrorOptions(...) is needed")):
            function(self.IMAGE, self.IMAGE, "thresholds")  # type: ignore[operator]

    def test_a_prior_without_share_where_the_truth_has_pixels(self) -> None:
        shares = np.ones(313)
        shares[ZHANG.neutral] = 0
        options = AbErrorOptions(prior=Prior("mine", shares))
        with pytest.raises(InputError, match=r"prior mine gives share 0 to class \(0, 0\), which the truth has"):
            ab_auc_rebal(self.IMAGE, self.IMAGE, options)
        mixed = AbErrorOptions(prior=Prior("mine", shares), rebalancing=0.5)
        assert ab_auc_rebal(self.IMAGE, self.IMAGE, mixed) == 1.0

    def test_statistics_without_ab_errors(self) -> None:
        nothing = ImageStatistics(images=("a",), n_pixels=np.array([4]))
        with pytest.raises(InputError, match="ab_auc: the statistics of this run hold no ab errors"):
            AbAuc().terms(nothing)


def test_signature_fields_name_what_changes_the_number() -> None:
    plain = AbAucRebalanced()
    assert plain.fields == {
        "lab": "sk-D65",
        "q": "round",
        "quad": "exact150",
        "agg": "pixel",
        "classes": "zhang2016-313",
        "prior": "truth",
        "lam": "0",
    }
    other = AbAucRebalanced(
        AbErrorOptions(
            classes=SEED,
            prior=Prior("file@01234567", np.ones(256) / 256),
            quadrature="thresholds",
            max_threshold=100,
            rebalancing=0.25,
        )
    )
    assert other.fields["quad"] == "mean0-100"
    assert other.fields["classes"] == "seed2024-256"
    assert other.fields["prior"] == "file@01234567"
    assert other.fields["lam"] == "0.25"
    assert (plain.interval, other.interval) == ("jackknife", "bootstrap")
