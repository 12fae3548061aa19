"""The page of photos before and after: what is shown, and what is not and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from evalkit.cli import main
from evalkit.colorizers.anchors import random_donors
from evalkit.colorizers.folder import UnreadPhotosError, colorize_folder
from evalkit.colorizers.gallery import write_gallery
from evalkit.errors import InputError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans, of which one was not coloured and one is cut off."""
    rng = np.random.default_rng(0)
    for folder in ("scans", "coloured"):
        (tmp_path / folder).mkdir()
    for name in ("church", "harbour", "market"):
        Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(tmp_path / "scans" / f"{name}.png")
        if name != "harbour":
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(
                tmp_path / "coloured" / f"{name}.png"
            )
    market = tmp_path / "scans" / "market.png"
    market.write_bytes(market.read_bytes()[:200])
    return tmp_path


def test_one_damaged_scan_does_not_cost_the_page_of_the_others(scans: Path) -> None:
    shown = write_gallery(scans / "page.html", scans / "scans", scans / "coloured", "Coloured")
    page = (scans / "page.html").read_text(encoding="utf-8")
    assert shown == 1
    assert page.count("<img ") == 2
    assert "church, coloured" in page
    below = page.partition("<h2>Not shown</h2>")[2]
    assert "harbour: not coloured yet; the same command with --resume goes on." in below
    assert "market.png: is a truncated or corrupt PNG file" in below


def test_a_page_of_nothing_is_refused(scans: Path) -> None:
    (scans / "empty").mkdir()
    with pytest.raises(InputError, match="holds no colorization of a photo"):
        write_gallery(scans / "page.html", scans / "scans", scans / "empty", "Coloured")
    assert not (scans / "page.html").exists()


def colorize(*words: object) -> Result:
    return CliRunner().invoke(main, ["colorize", *map(str, words)])


@pytest.mark.parametrize("method", ["gray", "truth"])
def test_a_damaged_scan_is_passed_over_and_mended_by_resume(scans: Path, method: str) -> None:
    damaged = scans / "scans" / "church.png"  # the first by name: those behind it are coloured too
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    words = [method, "--input", scans / "scans", "--output", scans / "made", "--gallery", scans / "page.html"]
    result = colorize(*words)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert f"2 of 3 photos cannot be read, the others are in {scans / 'made'}; first: {damaged}: is a truncated" in said
    assert "Once they are mended, the same command with --resume goes on." in said
    assert [path.name for path in (scans / "made").iterdir()] == ["harbour.png"]
    page = (scans / "page.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 1
    assert page.partition("<h2>Not shown</h2>")[2].count("is a truncated") == 2
    damaged.write_bytes(whole)
    (scans / "scans" / "market.png").write_bytes(whole)
    before = (scans / "made" / "harbour.png").stat().st_mtime_ns
    mended = colorize(*words, "--resume")
    assert mended.exit_code == 0, mended.output
    assert "2 images by" in mended.output
    assert "1 were there already" in mended.output
    assert (scans / "made" / "harbour.png").stat().st_mtime_ns == before
    assert (scans / "page.html").read_text(encoding="utf-8").count("<figure>") == 3


def test_a_photo_whose_donor_is_damaged_waits_for_it(scans: Path) -> None:
    names = ["church", "harbour", "market"]
    borrower = names[random_donors(names, 0).index(names.index("market"))]
    words = ["random", "--input", scans / "scans", "--output", scans / "made"]
    with pytest.raises(UnreadPhotosError, match="2 of 3 photos cannot be read") as refused:
        colorize_folder("random", scans / "scans", scans / "made")
    market = scans / "scans" / "market.png"
    assert f"{market}: is a truncated" in str(refused.value)
    assert not (scans / "made" / f"{borrower}.png").exists()
    market.write_bytes((scans / "scans" / "harbour.png").read_bytes())
    assert colorize(*words, "--resume").exit_code == 0
    assert {path.stem for path in (scans / "made").iterdir()} == set(names)


def test_classical_methods_pass_over_a_damaged_scan_too(scans: Path) -> None:
    words = ["welsh2002", "--example", scans / "coloured" / "church.png"]
    result = colorize(*words, "--input", scans / "scans", "--output", scans / "made")
    assert result.exit_code == 2
    assert "1 of 3 photos cannot be read, the others are in" in " ".join(result.output.split())
    assert {path.name for path in (scans / "made").glob("*.png")} == {"church.png", "harbour.png"}


def test_where_no_photo_can_be_read_no_others_are_spoken_of(scans: Path) -> None:
    for name in ("church", "harbour"):
        (scans / "scans" / f"{name}.png").write_bytes(b"no picture")
    result = colorize("gray", "--input", scans / "scans", "--output", scans / "made")
    assert result.exit_code == 2
    assert "3 of 3 photos cannot be read; first: " in " ".join(result.output.split())
