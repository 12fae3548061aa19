"""The page of the report in a real browser: widths, dark, print, keyboard, pointer, and without any script."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evalkit.text_formats import csv_text
from tests.analysis.conftest import simulated_rows
from tests.conftest import require
from tests.e2e.browser import PATIENCE_MS, quiet_page

METHODS = {"plain": 0.05, "mine_with_a_long_name": 0.4, "dahl": 0.2, "full": 0.3}
IMAGES = [f"test{number}" for number in range(4, 14)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of real scores and of simulated answers, with pictures: every section that there is."""
    import evalkit
    from analysis.commands.report import report_command

    folder = tmp_path_factory.mktemp("report_page")
    rng = np.random.default_rng(0)
    for image in IMAGES:
        truth = rng.integers(0, 256, size=(6, 8, 3), dtype=np.int64).repeat(6, 0).repeat(6, 1)
        for number, name in enumerate(("truth", *METHODS)):
            (folder / name).mkdir(exist_ok=True)
            tint = np.array([number, -number, 2 * number]) * rng.integers(4, 12)
            pixels = np.clip(truth + tint, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
    methods = {name: folder / name for name in METHODS}
    evalkit.score(folder / "truth", methods, metrics=("ab_auc", "psnr_rgb"), out=folder / "scores", n_bootstrap=100)
    (folder / "trials.csv").write_text(csv_text(simulated_rows(METHODS)), encoding="utf-8")
    arguments = [f"--scores={folder / 'scores'}", f"--trials={folder / 'trials.csv'}", f"--out={folder / 'out'}",
                 "--published=zhang2016", "--baseline=dahl", f"--truth={folder / 'truth'}",
                 *(f"--method={name}={path}" for name, path in methods.items())]  # fmt: skip
    done = CliRunner().invoke(report_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "out" / "report.html"


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report, opened; whatever it asks of the network, or says on the console, is an error."""
    with quiet_page(browser, report) as opened:
        yield opened


@pytest.mark.parametrize("width", [320, 480, 768, 1024, 1600])
def test_no_width_makes_the_page_itself_scroll_sideways(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("width => innerWidth === width", arg=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_column_stays_while_a_wide_table_scrolls(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    box = page.get_by_role("region", name="Results").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth + 100")
    before = box.locator("tbody th").first.bounding_box()
    second = box.locator("tbody td").first.bounding_box()
    box.evaluate("box => { box.scrollLeft = 100; }")
    page.wait_for_function("box => box.scrollLeft === 100", arg=box.element_handle())
    assert box.locator("tbody th").first.bounding_box()["x"] == before["x"]
    assert box.locator("tbody td").first.bounding_box()["x"] == pytest.approx(second["x"] - 100)


def test_the_contents_lead_to_every_chapter(page: Any) -> None:
    links = page.get_by_role("navigation", name="Contents").get_by_role("link")
    assert links.all_inner_texts() == page.locator("main h2").all_inner_texts()
    assert links.count() >= 6
    for link in links.all():
        target = link.get_attribute("href")
        assert page.locator(f"h2{target}").count() == 1
    links.last.click()
    page.wait_for_function("location.hash === '#methods'")


def test_a_click_on_a_heading_sorts_and_the_third_restores(page: Any) -> None:
    table = page.get_by_role("region", name="Results").first.locator("table")
    names = table.locator("tbody th")
    first = names.all_inner_texts()
    heading = table.locator("thead th").nth(1)
    orders = []
    for expected in ("ascending", "descending", None):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == expected
        shown = table.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.cells[1].innerText)")
        orders.append([float(text.split()[0]) for text in shown if text != "–"])
        missing = [k for k, text in enumerate(shown) if text == "–"]
        if expected:
            assert missing == list(range(len(shown) - len(missing), len(shown))), "what is missing stays last"
    assert orders[0] == sorted(orders[0])
    assert orders[1] == sorted(orders[1], reverse=True)
    assert orders[0] != orders[2]
    assert names.all_inner_texts() == first
    table.locator("thead th").first.get_by_role("button").press("Enter")
    sorted_names = names.evaluate_all("cells => cells.map((cell) => cell.firstChild.data.trim())")
    assert "mine_with_a_long_name" in sorted_names
    assert sorted_names == sorted(sorted_names, key=str.lower)


def test_minus_signs_and_limits_sort_as_numbers(page: Any) -> None:
    table = page.locator("#comparisons ~ .scroll table").first
    heading = table.locator("thead th", has_text="A − B")
    heading.get_by_role("button").click()
    shown = table.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.cells[2].innerText)")
    values = [float(text.replace("−", "-")) for text in shown]
    assert min(values) < 0 < max(values)
    assert values == sorted(values)


def test_a_click_on_a_picture_opens_truth_input_and_methods_in_place(page: Any) -> None:
    page.locator(".gallery .strip button").nth(2).click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("status").inner_text() == "plain (3 of 6)"
    place = dialog.locator(".stage img.shown").bounding_box()
    image = dialog.locator(".stage img.shown").get_attribute("alt").removeprefix("plain of ")
    seen = []
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        shown = dialog.locator(".stage img.shown")
        assert shown.count() == 1
        assert shown.bounding_box() == place, "a blink comparison needs every picture in the same place"
        seen.append(shown.get_attribute("alt"))
    assert seen == [f"{name} of {image}" for name in (*list(METHODS)[1:], "truth", "input", "plain")]
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("button[aria-pressed=true]").inner_text() == "input"
    page.keyboard.press("ArrowDown")
    other = dialog.locator(".stage img.shown").get_attribute("alt")
    assert other.startswith("input of ")
    assert other != f"input of {image}"
    dialog.get_by_role("button", name="full").click()
    assert dialog.get_by_role("status").inner_text() == "full (6 of 6)"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.querySelector('img') !== null"), "focus is back on the picture"


def test_the_pictures_in_the_page_are_those_of_the_folders(page: Any, report: Path) -> None:
    import base64
    import io

    first = page.locator(".gallery .row").first
    image = first.get_attribute("data-image")
    for heading in ("truth", "full"):
        source = first.locator(f"img[data-heading={heading}]").get_attribute("src")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))), dtype=float)
        pixels = np.asarray(Image.open(report.parents[1] / heading / f"{image}.png"), dtype=float)
        assert np.abs(shown - pixels).mean() < 25


def test_a_point_of_the_scatter_shows_the_pictures_behind_it(page: Any) -> None:
    svg = page.locator("svg[data-points]")
    points = svg.locator("use[data-image]")
    assert points.count() == len(IMAGES) * len(METHODS)
    svg.scroll_into_view_if_needed()
    images = points.evaluate_all("points => points.map((point) => point.dataset.image)")
    number = 13
    place = points.nth(number).bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    tip = page.locator(".tip:not([hidden])")
    tip.wait_for()
    words = tip.locator("p").inner_text()
    assert re.fullmatch(r"test\d+, \w+: (AuC %|PSNR) [\d.]+, rate \d+ %", words)
    assert tip.locator("img").count() == 2 + len(METHODS)
    svg.focus()
    page.keyboard.press("Escape")
    tip.wait_for(state="hidden")
    page.keyboard.press("ArrowRight")
    assert tip.locator("p").inner_text().startswith(f"{images[0]}, plain")
    page.keyboard.press("ArrowLeft")
    assert tip.locator("p").inner_text().startswith(f"{images[-1]}, full")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.get_by_role("heading").inner_text() == images[-1]
    assert dialog.locator(".stage img").count() == 2 + len(METHODS)


def test_dark_is_dark_and_readable_and_paper_is_white(page: Any) -> None:
    colours = """() => {
      const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
      const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
          const rgb = numbers(getComputedStyle(at).backgroundColor);
          if (rgb.length < 4 || rgb[3] > 0) return light(rgb);
        }
        return 1;
      };
      const contrast = (node) => {
        const [one, two] = [light(numbers(getComputedStyle(node).color)), ground(node)].sort((a, b) => b - a);
        return (one + 0.05) / (two + 0.05);
      };
      const text = [...document.querySelectorAll("h1, h2, h3, p, th, td, a, figcaption, pre, span, button")];
      return { ground: ground(document.body), least: Math.min(...text.map(contrast)) };
    }"""
    for scheme, media, dark in (("light", "screen", False), ("dark", "screen", True), ("dark", "print", False)):
        page.emulate_media(color_scheme=scheme, media=media)
        seen = page.evaluate(colours)
        assert (seen["ground"] < 0.05) == dark, (scheme, media)
        assert seen["least"] >= 4.5, (scheme, media)


def test_printed_tables_keep_their_size(page: Any, tmp_path: Path) -> None:
    """The browser shrinks a page whose tables are too wide for the paper; at 5 pt nobody reads them."""
    program = shutil.which("pdftotext")
    require(program is not None, "pdftotext is not installed: the printed report was not measured")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 900})  # A4 less two margins of 14 mm
    page.wait_for_function("innerWidth === 688")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    page.pdf(path=str(tmp_path / "page.pdf"), format="A4", prefer_css_page_size=True)
    subprocess.run([str(program), "-bbox", "page.pdf", "words.html"], cwd=tmp_path, check=True)
    words = (tmp_path / "words.html").read_text(encoding="utf-8")
    found = re.findall(r'yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)<', words)
    heights = [float(bottom) - float(top) for top, _, bottom, text in found if len(text) > 3]
    # The box of a word is taller than its size in points; drawn with this font, one of 8 pt is 9 to 11.
    assert min(heights) > 8.5
    assert max(float(right) for _, right, _, _ in found) <= 595 - 35
    # Headings and the names of methods are not cut into pieces, but for a name that alone would fill the line.
    page.add_style_tag(content="td.number { min-width: 9rem }")  # as in a table of many long numbers
    for cell in page.locator("thead th, tbody th:not(:has(*))").all():
        words = cell.inner_text().split()
        if max(map(len, words), default=0) <= 10:
            assert cell.evaluate(
                "cell => { const range = document.createRange(); range.selectNodeContents(cell);"
                " return new Set([...range.getClientRects()].map(line => Math.round(line.top / 4))).size; }"
            ) <= len(words), words


def test_a_screen_reader_finds_roles_and_texts(page: Any) -> None:
    tree = page.locator("body").aria_snapshot()
    for part in (
        "- banner:", "- main:", '- navigation "Contents":', '- heading "Results" [level=2]', '- region "Results":',
        '- rowheader "plain"', "- columnheader", 'img "Cumulative ab-error curves', '- button "truth of test',
    ):  # fmt: skip
        assert part in tree, part
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    for svg in page.locator("figure svg").all():
        caption = svg.get_attribute("aria-labelledby")
        assert page.locator(f"[id='{caption}']").inner_text().strip()


def test_without_any_script_everything_can_be_read(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.get_by_role("navigation", name="Contents").get_by_role("link").count() >= 6
    assert page.locator(".gallery img").count() > 60
    assert page.locator(".gallery img").first.is_visible()
    assert page.locator("figure svg").count() >= 6
    assert page.locator("button").count() == 0, "no control that does nothing"
    assert page.locator("svg use[data-image] title").first.text_content().startswith("test")
    context.close()
