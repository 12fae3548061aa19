"""The page of photos before and after: what is shown, and what is not and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_colorize_shows_what_was_coloured_before_a_damaged_scan(scans: Path) -> None:
    from click.testing import CliRunner

    from evalkit.commands.colorize import colorize_command

    words = ["gray", "--input", scans / "scans", "--output", scans / "made", "--gallery", scans / "page.html"]
    result = CliRunner().invoke(colorize_command, [str(word) for word in words])
    assert isinstance(result.exception, InputError), "the run still ends with the reason"
    assert "market" in str(result.exception)
    page = (scans / "page.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert "market.png" in page.partition("<h2>Not shown</h2>")[2]
