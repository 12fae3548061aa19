"""Curves against the number of hints: points, areas and intervals against numbers reckoned apart."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evalkit.cli import main
from evalkit.hints.curve import area_weights
from evalkit.images.image_files import write_png

COUNTS = (0, 1, 3, 10)
N_PHOTOS = 24


def curve_command(folder: Path, *words: object) -> Result:
    options = ["--truth", folder / "truth", "--metrics", "psnr_rgb,ab_auc,ab_auc_rebal", "--workers", 1]
    return CliRunner().invoke(main, ["hint-curve", *map(str, options), *map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, and two methods that come nearer to them with every hint, the second more slowly."""
    top = tmp_path_factory.mktemp("curve")
    random = np.random.default_rng(0)
    for i in range(N_PHOTOS):
        tint = random.integers(-60, 60, 3)
        photo = np.clip(random.integers(60, 200, (24, 24, 1)) + tint + random.integers(-15, 15, (24, 24, 3)), 0, 255)
        gray = np.broadcast_to(photo.mean(axis=-1, keepdims=True), photo.shape)
        (top / "truth").mkdir(exist_ok=True)
        write_png(top / "truth" / f"{i:02}.png", photo.astype(np.uint8))
        for method, speed in (("quick", 0.5), ("slow", 0.2)):
            for k in COUNTS:
                share = (1 - speed) ** np.log2(1 + k) * random.uniform(0.8, 1)
                (top / method / str(k)).mkdir(parents=True, exist_ok=True)
                made = np.rint(photo + share * (gray - photo)).astype(np.uint8)
                write_png(top / method / str(k) / f"{i:02}.png", made)
    return top


def psnr_by_hand(folder: Path, method: str) -> np.ndarray:
    """Shape (photos, counts), dB, by the definition."""
    from PIL import Image

    def pixels(path: Path) -> np.ndarray:
        return np.asarray(Image.open(path)).astype(float)

    return np.array(
        [
            [
                10 * np.log10(255**2 / ((pixels(path) - pixels(folder / method / str(k) / path.name)) ** 2).mean())
                for k in COUNTS
            ]
            for path in sorted((folder / "truth").iterdir())
        ]
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_points_areas_and_intervals_are_those_reckoned_by_hand(folder: Path, tmp_path: Path) -> None:
    words = ("--method", f"quick={folder / 'quick'}", "--method", f"slow={folder / 'slow'}", "--out", tmp_path / "out")
    result = curve_command(folder, *words, "--bootstrap", 4000)
    assert result.exit_code == 0, result.output
    assert "PSNR" in result.output
    points = {(r["method"], r["metric"], int(r["n_hints"])): r for r in rows_of(tmp_path / "out" / "hint_curve.csv")}
    areas = {(r["method"], r["metric"]): r for r in rows_of(tmp_path / "out" / "hint_areas.csv")}
    assert len(points) == 2 * 3 * len(COUNTS)
    of_photos = {}
    for method in ("quick", "slow"):
        psnr = psnr_by_hand(folder, method)
        for k, expected in zip(COUNTS, psnr.mean(axis=0), strict=True):
            assert float(points[method, "psnr_rgb", k]["value"]) == pytest.approx(expected)
        place = np.log2(1 + np.array(COUNTS))
        of_photos[method] = np.trapezoid(psnr, place, axis=1) / place[-1]
        area = areas[method, "psnr_rgb"]
        assert float(area["value"]) == pytest.approx(of_photos[method].mean())
        # The area of means is the mean of the photos' areas, whose standard error is known.
        standard_error = of_photos[method].std(ddof=1) / np.sqrt(N_PHOTOS)
        assert float(area["std_error"]) == pytest.approx(standard_error, rel=0.08)
        assert float(area["ci_low"]) < float(area["value"]) < float(area["ci_high"])
    apart = of_photos["slow"] - of_photos["quick"]
    assert float(areas["slow", "psnr_rgb"]["difference"]) == pytest.approx(apart.mean())
    width = float(areas["slow", "psnr_rgb"]["difference_ci_high"]) - float(
        areas["slow", "psnr_rgb"]["difference_ci_low"]
    )
    assert width == pytest.approx(2 * 1.96 * apart.std(ddof=1) / np.sqrt(N_PHOTOS), rel=0.12)
    assert areas["quick", "psnr_rgb"]["difference"] == ""
    # Pooled and rebalanced metrics have areas too, the latter by the jackknife.
    for metric in ("ab_auc", "ab_auc_rebal"):
        heights = [float(points["quick", metric, k]["value"]) for k in COUNTS]
        assert float(areas["quick", metric]["value"]) == pytest.approx(area_weights(COUNTS) @ heights)
        assert float(areas["slow", metric]["difference_ci_high"]) < 0
    assert (tmp_path / "out" / "hint_curve.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "out" / "hint_curve.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "scores" / "summary.csv").is_file()


def test_a_curve_carries_the_cautions_of_its_scores(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "quick", tmp_path / "copied")
    shutil.copyfile(folder / "truth" / "00.png", tmp_path / "copied" / "3" / "00.png")
    words = ("--method", f"slow={folder / 'slow'}", "--method", f"copied={tmp_path / 'copied'}", "--bootstrap", 0)
    printed = " ".join(curve_command(folder, *words, "--out", tmp_path / "out").output.split())
    of_point = "1 of 24 images has the truth's own pixels"
    assert printed.count(f"Warning: method copied-3: {of_point}") == 1
    assert "Warning: 24 images: a small set" in printed
    points = {(r["method"], r["metric"], r["n_hints"]): r for r in rows_of(tmp_path / "out" / "hint_curve.csv")}
    assert f"copied-3: {of_point}" in points["copied", "ab_auc", "3"]["cautions"]
    assert of_point not in points["copied", "ab_auc", "10"]["cautions"]
    areas = {(r["method"], r["metric"]): r for r in rows_of(tmp_path / "out" / "hint_areas.csv")}
    assert f"copied-3: {of_point}" in areas["copied", "ab_auc"]["cautions"]
    assert of_point not in areas["slow", "ab_auc"]["cautions"]
    as_json = json.loads(curve_command(folder, *words, "--out", tmp_path / "json", "--json").stdout)
    assert f"method copied-3: {of_point}" in as_json["warnings"]


def test_images_are_read_as_by_score(folder: Path, tmp_path: Path) -> None:
    """Photos of CMYK inks, and a limit of pixels, by the options that every command of scores has."""
    from PIL import Image

    (tmp_path / "truth").mkdir()
    for path in sorted((folder / "truth").iterdir()):
        Image.open(path).convert("CMYK").save(tmp_path / "truth" / f"{path.stem}.jpg", quality=95)
    words = ("--truth", tmp_path / "truth", "--method", f"quick={folder / 'quick'}", "--bootstrap", 0)
    refused = curve_command(folder, *words, "--out", tmp_path / "refused")
    assert refused.exit_code == 2
    assert "--convert-cmyk" in refused.stderr
    assert not (tmp_path / "refused" / "hint_curve.csv").exists()
    result = curve_command(folder, *words, "--convert-cmyk", "--max-megapixels", 0.001, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "scores" / "run.json").read_text())
    assert record["reading"] == {"convert_cmyk": True, "max_megapixels": 0.001}
    too_large = curve_command(folder, *words, "--convert-cmyk", "--max-megapixels", 0.0001, "--out", tmp_path / "small")
    assert too_large.exit_code == 2
    assert "--max-megapixels" in too_large.stderr


def test_a_method_and_its_copy_differ_by_exactly_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "quick", tmp_path / "copy")
    words = ("--method", f"one={folder / 'quick'}", "--method", f"two={tmp_path / 'copy'}", "--out", tmp_path / "out")
    result = curve_command(folder, *words, "--bootstrap", 200, "--json")
    assert result.exit_code == 0, result.output
    areas = json.loads(result.stdout)["areas"]
    for area in areas:
        if area["method"] == "two":
            assert (area["difference"], area["difference_ci_low"], area["difference_ci_high"]) == (0, 0, 0)


def test_the_area_of_a_straight_line_is_the_mean_of_its_ends_and_weights_sum_to_one() -> None:
    counts = [0, 1, 2, 5, 10, 50, 500]
    weights = area_weights(counts)
    assert weights.sum() == pytest.approx(1)
    line = 20 + 3 * np.log2(1 + np.array(counts))
    assert weights @ line == pytest.approx((line[0] + line[-1]) / 2)


def test_without_weights_of_a_network_the_points_are_unscored_and_say_why(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    words = ("--method", f"quick={folder / 'quick'}", "--out", tmp_path / "out", "--metrics", "psnr_rgb,lpips_alex")
    result = curve_command(folder, *words, "--bootstrap", 0)
    assert result.exit_code == 0, result.output
    points = rows_of(tmp_path / "out" / "hint_curve.csv")
    unscored = [row for row in points if row["metric"] == "lpips_alex"]
    assert len(unscored) == len(COUNTS)
    assert all(row["value"] == "" and row["reason"].startswith("unscored") for row in unscored)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "quick=quick", "--method", "odd=odd"], "odd and quick have colorizations for different numbers"),
        (["--method", "one=quick/0"], "needs colorizations in at least two folders named by the number of hints"),
        (["--method", "gray"], "a curve needs a folder of each method, as NAME=DIR"),
        (["--method", "a=quick", "--method", "a=slow"], "method a is given twice"),
        (["--method", "a=absent"], "absent: no such folder"),
        (["--method", "a=quick", "--metrics", "psnr_rgb,fid"], "fid: a number of the whole set has no curve here"),
    ],
)
def test_what_cannot_be_a_curve_is_one_sentence(
    words: list[str], sentence: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if not (folder / "odd").exists():
        for k in (0, 2):
            (folder / "odd" / str(k)).mkdir(parents=True)
    result = curve_command(folder, *words, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()
