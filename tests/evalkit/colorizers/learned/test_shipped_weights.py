"""The networks that come with evalkit do what the documentation says of them, on photos they never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import ttest_1samp

import evalkit
from benchmarks.shipped_networks import best_tint, mean_color, read_photos, squared_errors, tinted
from evalkit.cli import main
from evalkit.color.ab_classes import preset
from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
from evalkit.colorizers.learned.learned_folder import Recipe, colorize_photos
from evalkit.colorizers.variants import VARIANTS
from evalkit.images.image_files import write_png
from evalkit.scoring.score_comparison import Difference, compare_runs

METRICS = ("ab_auc", "ab_auc_rebal")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_ships_with_its_history(variant: str) -> None:
    path = shipped_weights(variant)
    assert path.stat().st_size < 10_000_000
    checkpoint = load_checkpoint(path, variant=variant, classes=preset("seed2024"))
    assert checkpoint.encoder == "lite0"
    assert checkpoint.training["n_photos"] > 10_000
    assert "none of the 100 photos of the test part" in checkpoint.training["data_source"]
    assert all(torch.isfinite(value).all() for value in checkpoint.state.values())


@pytest.fixture(scope="module")
def truth(comparison: Path) -> dict[str, np.ndarray]:
    """The 100 photos of the test part."""
    return read_photos(comparison / "gt")


@pytest.fixture(scope="module")
def runs(comparison: Path, truth: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scores of each method on the 100 photos of the test part, a run each."""
    folder = tmp_path_factory.mktemp("shipped")
    tints = {"gray": np.zeros(2), "tint": best_tint(truth.values())}
    for method in ("gray", "tint", "l2", "l2-finetuned", "classification", "full"):
        target = folder / method
        target.mkdir()
        if method in tints:
            for name, photo in truth.items():
                write_png(target / f"{name}.png", tinted(photo, tints[method]))
        else:
            colorize_photos(Recipe(method=method), comparison / "gt", target, device="cpu", resume=True)
    found = {}
    for method in ("gray", "tint", "l2", "l2-finetuned", "classification", "full"):
        found[method] = folder / f"scores-{method}"
        metrics = (*METRICS, "colorfulness")
        evalkit.score(comparison / "gt", {method: folder / method}, out=found[method], metrics=metrics, n_bootstrap=0)
    return found


def difference(runs: dict[str, Path], first: str, second: str, metric: str) -> Difference:
    """Second less first, with its paired 95 % interval."""
    found = compare_runs(runs[first], runs[second], n_bootstrap=2000)
    return next(item for item in found if item.metric == metric)


@pytest.mark.parametrize("anchor", ["gray", "tint"])
def test_photos_never_seen_come_nearer_to_the_truth_than_gray_and_any_tint(anchor: str, runs: dict[str, Path]) -> None:
    assert difference(runs, anchor, "classification", "ab_auc").ci_low > 0


@pytest.mark.parametrize(
    ("variant", "anchor"), [("l2", "gray"), ("l2", "mean"), ("l2-finetuned", "gray"), ("l2-finetuned", "mean")]
)
def test_regression_lowers_what_it_minimises(
    variant: str, anchor: str, runs: dict[str, Path], truth: dict[str, np.ndarray]
) -> None:
    """Also below the one colour with the least squared error on these very photos."""
    color = mean_color(truth.values()) if anchor == "mean" else np.zeros(2)
    flat = {name: tinted(photo, color) for name, photo in truth.items()}
    found = read_photos(runs[variant].parent / variant)
    gain = squared_errors(flat, truth) - squared_errors(found, truth)
    assert ttest_1samp(gain, 0).confidence_interval(0.95).low > 0


def test_regression_is_ahead_of_gray(runs: dict[str, Path]) -> None:
    # In AuC by less than the interval: the documentation says so.
    for variant in ("l2", "l2-finetuned"):
        assert difference(runs, "gray", variant, "ab_auc").difference > 0
        assert difference(runs, "gray", variant, "ab_auc_rebal").ci_low > 0


def test_regression_is_ahead_of_any_tint_where_rare_colours_count(runs: dict[str, Path]) -> None:
    for variant in ("l2", "l2-finetuned"):
        assert difference(runs, "tint", variant, "ab_auc_rebal").ci_low > 0


def test_classification_is_ahead_of_regression(runs: dict[str, Path]) -> None:
    assert difference(runs, "l2", "classification", "ab_auc").ci_low > 0


@pytest.mark.parametrize("anchor", ["gray", "tint", "l2", "l2-finetuned", "classification"])
def test_rebalancing_gives_rare_colours_their_due(anchor: str, runs: dict[str, Path]) -> None:
    # By less than the interval of 100 photos: the documentation says so.
    assert difference(runs, anchor, "full", "ab_auc_rebal").difference > 0.02


def test_rebalancing_makes_colours_more_saturated(runs: dict[str, Path]) -> None:
    assert difference(runs, "classification", "full", "colorfulness").ci_low > 0


def test_the_table_of_the_seed_is_one_command(tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    truth, out = tmp_path / "truth", tmp_path / "table"
    truth.mkdir()
    for name, photo in photos.items():
        write_png(truth / f"{name}.png", np.ascontiguousarray(photo[60:156, 90:186]))
    words = ["reproduce", "--truth", str(truth), "--out", str(out), "--metrics", "ab_auc,ab_auc_rebal"]
    words += ["--bootstrap", "100", "--workers", "1", "--device", "cpu"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    report = (out / "report" / "report.html").read_text()
    summary = (out / "scores" / "summary.csv").read_text()
    for method in ("gray", "random", *VARIANTS):
        assert f"\n{method},ab_auc_rebal," in summary
        assert method in report
    before = {path: path.stat().st_mtime_ns for path in (out / "methods").rglob("*.png")}
    assert len(before) == 4 * len(photos)
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output  # pictures are kept, scores and report made anew
    assert {path: path.stat().st_mtime_ns for path in (out / "methods").rglob("*.png")} == before


def test_the_table_takes_other_checkpoints(tmp_path: Path, crops: Path) -> None:
    result = CliRunner().invoke(
        main, ["reproduce", "--truth", str(crops), "--out", str(tmp_path / "out"), "--checkpoints", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "l2.pt: there is no such file" in result.output
