"""The first rank of a table: alone only where nothing else can be told apart from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.metrics import create_metrics
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.metrics.base import ImageStatistics
from evalkit.scoring.estimates import Estimate, estimate
from evalkit.scoring.ranking import first_rank


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
