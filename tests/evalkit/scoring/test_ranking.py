"""The first rank of a table: alone only where nothing else can be told apart from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evalkit.metrics import create_metrics
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.base import ImageStatistics
from evalkit.resampling.multiplicity import holm
from evalkit.scoring.estimates import Estimate, estimate
from evalkit.scoring.ranking import LEVEL, first_rank, pair_tests


def of_values(metric: str, values: Sequence[float]) -> Estimate:
    """A metric whose images have these values."""
    (created,) = create_metrics([metric], AbErrorOptions())
    names = tuple(f"{i:03d}" for i in range(len(values)))
    pixels = np.full(len(values), 100)
    return estimate(created, ImageStatistics(images=names, n_pixels=pixels, columns={metric: np.array(values)}))


def test_a_method_that_is_better_on_every_image_stands_alone() -> None:
    base = np.linspace(20, 30, 20)
    found = first_rank({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", base + 1 + base / 100)})
    assert found == ("b",)


def test_methods_that_differ_by_chance_share_the_rank_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(25, 3, 40)
    methods = {name: of_values("psnr_rgb", base + rng.normal(0, 1, 40)) for name in ("a", "b")}
    methods["worse"] = of_values("psnr_rgb", base - 3 + rng.normal(0, 1, 40))
    assert set(first_rank(methods)) == {"a", "b"}


def test_lower_is_better_where_the_metric_says_so_and_nothing_ranks_where_it_has_no_direction() -> None:
    base = np.linspace(5, 9, 20)
    low, high = base, base + 2 + base / 100
    assert first_rank({"a": of_values("ciede2000", high), "b": of_values("ciede2000", low)}) == ("b",)
    assert first_rank({"a": of_values("colorfulness", high), "b": of_values("colorfulness", low)}) == ()


def test_on_five_images_nobody_stands_alone() -> None:
    base = np.linspace(20, 30, 5)
    assert len(first_rank({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", base + 1)})) == 2


def test_null_cases_seldom_stand_alone() -> None:
    """Bold where the interval left out 0 marked 8 to 15 % of null cases at five images."""
    rng = np.random.default_rng(4)
    n_sets, alone = 400, 0
    for _ in range(n_sets):
        base = rng.normal(25, 3, 8)
        methods = {name: of_values("psnr_rgb", base + rng.normal(0, 1, 8)) for name in "abc"}
        alone += len(first_rank(methods)) == 1
    assert alone / n_sets < 0.05


def test_unscored_methods_take_no_part() -> None:
    base = np.linspace(20, 30, 20)
    assert first_rank({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", np.full(20, np.nan))}) == ()


def test_every_pair_is_tested_on_the_images_that_both_have() -> None:
    base = np.linspace(20, 30, 20)
    holes = np.where(np.arange(20) < 8, np.inf, base - 1 - base / 100)
    (pair,) = pair_tests({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", holes)})
    assert (pair.first, pair.second, pair.n_images) == ("a", "b", 12)
    assert pair.difference == pytest.approx(np.mean(1 + base[8:] / 100))
    assert pair.p_value < 0.001


def test_a_pair_that_differs_on_few_images_is_never_surer_than_swaps_of_these() -> None:
    """Three images, all in one direction: of the 8 ways to swap their labels 2 go as far."""
    base = np.full(100, 25.0)
    (pair,) = pair_tests({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", base + (np.arange(100) < 3))})
    assert pair.p_value >= 0.25
    (same,) = pair_tests({"a": of_values("psnr_rgb", base), "b": of_values("psnr_rgb", base)})
    assert same.p_value == 1


def test_equal_methods_are_told_apart_in_one_table_of_twenty() -> None:
    """Four equal methods, heavy tails, all six pairs adjusted: any false claim in about 5 % of tables, never many more."""
    rng = np.random.default_rng(1)
    n_tables, false = 300, 0
    for _ in range(n_tables):
        base = rng.normal(25, 3, 60)
        tests = pair_tests({name: of_values("psnr_rgb", base + rng.laplace(0, 1, 60)) for name in "abcd"})
        false += bool((holm([test.p_value for test in tests]) < LEVEL).any())
    # 0.5 and 99.5 % of the binomial with 0.05 and 300: a test without adjustment gives about 20 %.
    assert 2 <= false <= 25
