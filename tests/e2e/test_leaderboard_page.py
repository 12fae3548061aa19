"""The page of a leaderboard in a real browser: widths, keyboard, and that it asks nothing of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.e2e.browser import quiet_page

METHODS = {"plain": 60, "mine_with_a_long_name": 5, "another": 30}


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods in two runs, with pictures."""
    import evalkit
    from analysis.commands.leaderboard import leaderboard_command

    folder = tmp_path_factory.mktemp("leaderboard_page")
    rng = np.random.default_rng(0)
    for number in range(12):
        truth = rng.integers(0, 256, size=(16, 16, 3))
        for name, noise in {"truth": 0, **METHODS}.items():
            (folder / name).mkdir(exist_ok=True)
            pixels = np.clip(truth + rng.normal(0, noise, truth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    metrics = ("ab_auc", "psnr_rgb", "ssim_rgb", "ciede2000")
    for run, names in {"one": ("plain", "another"), "two": ("mine_with_a_long_name",)}.items():
        methods = {name: folder / name for name in names}
        evalkit.score(folder / "truth", methods, metrics=metrics, out=folder / run, n_bootstrap=0, workers=1)
    pictures = [f"--truth={folder / 'truth'}", *(f"--method={name}={folder / name}" for name in METHODS)]
    arguments = [str(folder / "one"), str(folder / "two"), "--count=2", *pictures, f"--out={folder / 'board'}"]
    done = CliRunner().invoke(leaderboard_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "board" / "leaderboard.html"


def test_every_width_the_keyboard_and_no_network(browser: Any, leaderboard: Path) -> None:
    with quiet_page(browser, leaderboard, color_scheme="dark") as page:
        for width in (320, 768, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("width => innerWidth === width", arg=width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        table = page.get_by_role("region", name="Results").locator("table")
        heading = table.locator("thead th").nth(1)
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        values = table.locator("tbody tr").evaluate_all("rows => rows.map((row) => parseFloat(row.cells[1].innerText))")
        assert values == sorted(values)
        page.locator(".gallery .strip button").first.press("Enter")
        assert page.get_by_role("dialog").get_by_role("status").inner_text() == "truth (1 of 5)"
