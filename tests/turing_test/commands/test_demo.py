"""The demo: its fixed crops, its desaturations, its picture, and the whole command."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.color import rgb2lab

from evalkit.cli import main
from evalkit.demo.demo_figure import draw_curves
from evalkit.demo.photos import CROP, PHOTOS, desaturate, photo_crops, write_folders
from evalkit.errors import InputError
from turing_test.commands.demo import RATES


def test_there_are_sixty_colour_crops_and_they_are_always_the_same() -> None:
    first, second = dict(photo_crops()), dict(photo_crops())
    assert len(first) == 6 * len(PHOTOS) == 60
    for name, crop in first.items():
        assert (crop.shape, crop.dtype) == ((CROP, CROP, 3), np.uint8)
        np.testing.assert_array_equal(crop, second[name])
        assert np.ptp(crop, axis=-1).max() > 20, f"{name} has no colour"
    assert len({crop.tobytes() for crop in first.values()}) == 60


def test_crops_come_from_the_corners_of_the_photo(photos: dict[str, np.ndarray]) -> None:
    crops = dict(photo_crops())
    np.testing.assert_array_equal(crops["coffee_0"], photos["coffee"][:CROP, :CROP])
    np.testing.assert_array_equal(crops["coffee_5"], photos["coffee"][-CROP:, -CROP:])


def test_desaturation_scales_ab_and_keeps_lightness(photos: dict[str, np.ndarray]) -> None:
    truth = photos["astronaut"][:CROP, :CROP]
    before, after = rgb2lab(truth), rgb2lab(desaturate(truth, 0.4))
    assert np.abs(after[..., 0] - before[..., 0]).max() < 0.6  # the step of 8 bits
    assert np.abs(after[..., 1:] - 0.4 * before[..., 1:]).mean() < 0.5
    np.testing.assert_array_equal(desaturate(truth, 1.0), truth)


def test_folders_hold_the_crops_and_a_second_run_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.demo.photos.PHOTOS", {"china": 0, "retina": 240})
    steps: list[tuple[int, int]] = []
    assert write_folders(tmp_path, lambda *step: steps.append(step)) == 12
    assert steps == [(k, 12) for k in range(1, 13)]
    first = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert len(first) == 36
    write_folders(tmp_path)
    assert first == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.png")}
    strong = np.asarray(Image.open(tmp_path / "strong" / "china_3.png"))
    np.testing.assert_array_equal(strong, desaturate(dict(photo_crops())["china_3"], 0.4))


def test_a_folder_with_files_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "mine.png").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"mine\.png is not the demo's"):
        write_folders(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["truth", "mine.png"]


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn.datasets", "scikit-learn"), ("skimage.data", "scikit-image")]
)
def test_absent_photos_are_named_with_the_command_that_installs_them(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"^{package} is not installed; .*pip install .*\[demo\]"):
        next(photo_crops())


def test_absent_matplotlib_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("evalkit.needs.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 2
    assert "matplotlib is not installed; for the demo's curves, pip install" in result.stderr
    assert "[demo]" in result.stderr  # not the extra that brings matplotlib alone: the next lack would be said next
    assert not (tmp_path / "demo").exists()


def test_the_picture_is_as_wide_as_a_page_and_shows_every_method(tmp_path: Path) -> None:
    table, picture = tmp_path / "curves.csv", tmp_path / "curves.png"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["method", "threshold", "fraction", "fraction_rebalanced"])
        for method, scale in (("gray", 20), ("random", 30), ("mild", 4), ("strong", 12)):
            rows.writerows([method, t, 1 - np.exp(-t / scale), 1 - np.exp(-t / scale / 1.3)] for t in range(151))
    draw_curves(table, picture)
    with Image.open(picture) as image:
        assert image.width == 6.9 * 200
        colours = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    assert {(0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73), (0x4D, 0x4D, 0x4D), (0xD5, 0x5E, 0x00)} <= colours


def test_the_demo_goes_from_photos_to_scores_a_played_study_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = CliRunner().invoke(main, ["demo", "--out", str(out)])
    assert result.exit_code == 0, result.output
    with (out / "scores" / "summary.csv").open(newline="", encoding="utf-8") as file:
        auc = {row["method"]: float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "ab_auc"}
    assert auc["mild"] > auc["strong"] > auc["gray"] > auc["random"]
    assert 0.5 < auc["full"] < auc["strong"]  # colours of a small network: real ones, not good ones
    assert (out / "curves.png").stat().st_size > 10_000
    with (out / "rates" / "fool_rates.csv").open(newline="", encoding="utf-8") as file:
        rates = {row["method"]: row for row in csv.DictReader(file)}
    for method, rate in RATES.items():
        # Who sees what is drawn anew in every run: 3 standard errors would be exceeded in one of some 200 runs.
        assert abs(float(rates[method]["fool_rate"]) - rate) < 5 * float(rates[method]["std_error"])
    assert "simulated observers" in (out / "report" / "report.html").read_text(encoding="utf-8")
    text = " ".join(result.output.split())
    assert "crops of one photo are not independent" in text
    assert "come from simulated observers, not from people" in text
    assert f"evalkit study serve {out / 'study'}" in text
    assert "evalkit score --truth PHOTOS" in text

    answers = (out / "answers" / "trials.csv").read_bytes()
    again = CliRunner().invoke(main, ["demo", "--out", str(out)])
    assert again.exit_code == 0, again.output
    assert "holds answers of an earlier demo: they are kept" in again.output
    assert (out / "answers" / "trials.csv").read_bytes() == answers


def test_without_the_servers_packages_the_demo_scores_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.demo.photos.PHOTOS", {"china": 0, "retina": 240})
    monkeypatch.setattr("evalkit.needs.find_spec", lambda name: None if name in ("granian", "torch") else True)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert "left out: granian is not installed" in result.output
    assert not (tmp_path / "demo" / "study").exists()
    assert (tmp_path / "demo" / "scores" / "summary.csv").exists()


def test_photos_alone_are_written_again_and_never_over_what_is_not_theirs(tmp_path: Path) -> None:
    words = ["demo", "--photos", str(tmp_path / "lesson")]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    assert sorted(path.name for path in (tmp_path / "lesson").iterdir()) == ["mine", "other", "truth"]
    assert CliRunner().invoke(main, words).output == first.output
    foreign = tmp_path / "lesson" / "other" / "holiday.png"
    foreign.write_bytes(b"mine")
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2
    assert f"{foreign} is not the demo's: give --photos a folder that does not exist." in refused.stderr
    assert foreign.read_bytes() == b"mine"


def test_photos_and_the_whole_demo_are_not_asked_for_at_once(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--photos", str(tmp_path / "a"), "--out", str(tmp_path / "b")])
    assert result.exit_code == 2
    assert "give one of the two" in result.stderr
    assert not list(tmp_path.iterdir())
