"""Images are never outside the window unnoticed, whatever its shape: all else gives way, or the page waits."""

from __future__ import annotations

import json

import pytest

from evalkit.errors import InputError
from tests.e2e.participants import ON_SCREEN, QUICK, Participant, served, write_photos
from turing_test.stimuli.create import create_study
from turing_test.study.protocol import Protocol

SHAPES = (
    (1920, 1080), (1366, 768), (1366, 625), (1280, 800), (1024, 600), (900, 400), (844, 342), (683, 310), (640, 304),
    (412, 823), (360, 620), (320, 480),
)  # fmt: skip
LOOK = {"image_ms": 500, "practice_trials": 0, "reserve_trials": 1}

BOXES = """() => [...document.querySelectorAll(".trial canvas")].map((canvas) => {
  const { left, top, right, bottom, width, height } = canvas.getBoundingClientRect();
  return { left, top, right, bottom, width, height };
})"""


def check_images_are_whole(page, width, height, size=256):
    boxes = page.evaluate(BOXES)
    assert boxes
    for box in boxes:
        assert (box["width"], box["height"]) == (size, size)
        assert box["left"] >= 0, (width, height, box)
        assert box["top"] >= 0, (width, height, box)
        assert box["right"] <= width, (width, height, box)
        assert box["bottom"] <= height, (width, height, box)
    return boxes


def check_answers_are_within_reach(page, width, height):
    for element in page.query_selector_all("[data-answer], .question"):
        box = element.bounding_box()
        assert box["x"] >= 0, (width, height)
        assert box["y"] >= 0, (width, height)
        assert box["x"] + box["width"] <= width, (width, height)
        assert box["y"] + box["height"] <= height, (width, height)


@pytest.mark.parametrize("shapes", [SHAPES[:6], SHAPES[6:]])
@pytest.mark.parametrize("preset", ["zhang2016", "naturalness"])
def test_images_are_whole_in_twelve_windows_one_after_the_other(serve, tab, preset, shapes):
    here = serve(preset, test_trials=6, language="de", **LOOK)
    page = tab({"width": shapes[0][0], "height": shapes[0][1]})
    person = Participant(page).open(here.url)
    person.begin()
    for trial, (width, height) in enumerate(shapes):
        page.wait_for_function(ON_SCREEN, arg="first")
        boxes = check_images_are_whole(page, width, height)
        if preset == "zhang2016" and width >= 528:
            assert boxes[1]["left"] >= boxes[0]["right"] + 16  # side by side, as in the paper
        person.is_asked()
        check_answers_are_within_reach(page, width, height)
        scrolled = page.evaluate("[document.documentElement.dataset.level, document.documentElement.scrollHeight]")
        assert scrolled[0] == "bare" or scrolled[1] <= height, (width, height, scrolled)
        if trial + 1 < len(shapes):
            page.set_viewport_size(dict(zip(("width", "height"), shapes[trial + 1], strict=True)))
            check_words_are_there(page)
        person.answer("first" if preset == "zhang2016" else "yes")
    person.code()
    assert [trial["flags"] for trial in here.trials if "cropped" in trial["flags"]] == []


def check_words_are_there(page):
    assert page.locator(".question").inner_text()
    assert page.locator('[data-action="withdraw"]').count() == 1


def test_simultaneous_images_lie_side_by_side(serve, tab):
    here = serve("simultaneous", test_trials=2, **{**LOOK, "min_width": 0})
    page = tab({"width": 640, "height": 310})
    person = Participant(page).open(here.url)
    person.begin()
    page.wait_for_function(ON_SCREEN, arg="second")
    first, second = check_images_are_whole(page, 640, 310)
    assert second["left"] >= first["right"] + 16


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two photos at 768 pixels, on the server."""
    folder = tmp_path_factory.mktemp("large")
    write_photos(folder / "photos", 2)
    settings = {**QUICK, **LOOK, "name": "large", "size": 768, "test_trials": 2, "reserve_trials": 0, "min_width": 0}
    created = create_study(
        folder / "study", folder / "photos" / "truth", {"pale": folder / "photos" / "pale"}, settings=settings
    )
    with served(created.study) as here:
        yield here, created.notes


def test_large_images_wait_for_a_large_window(large, tab):
    here, notes = large
    assert any("1552 x 816" in note and "1366 x 768" in note for note in notes)
    page = tab({"width": 1366, "height": 768})
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("window")
    assert "1552 × 816" in page.inner_text('[data-screen="window"]')
    page.set_viewport_size({"width": 1552, "height": 816})
    person.press("instructions")
    page.wait_for_function(ON_SCREEN, arg="first")
    check_images_are_whole(page, 1552, 816, 768)


@pytest.mark.parametrize("shape", [(844, 342), (640, 304), (1366, 625)])
def test_plate_and_number_are_seen_at_once_in_low_windows(serve, tab, shape):
    width, height = shape
    here = serve(color_vision=True, language="de")
    page = tab({"width": width, "height": height})
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    page.wait_for_selector('[data-screen="device"] [data-action="next"]:enabled')
    if height > 304:  # the sheet before it, too, in all but the lowest
        check_is_in_window(page, '[data-screen="device"] [data-action="next"]', width, height)
    person.press("device")
    person.sees("vision")
    for part in (".plate", "input", "button.primary", '[data-action="none"]'):
        check_is_in_window(page, f'[data-screen="vision"] {part}', width, height)
    plate, field = (page.locator(f'[data-screen="vision"] {part}').bounding_box() for part in (".plate", "input"))
    assert (plate["width"], plate["height"]) == (300, 300)
    assert field["x"] >= plate["x"] + 300


def check_is_in_window(page, selector, width, height):
    box = page.locator(selector).bounding_box()
    assert box["x"] >= 0, (selector, box)
    assert box["y"] >= 0, (selector, box)
    assert box["x"] + box["width"] <= width, (selector, box)
    assert box["y"] + box["height"] <= height, (selector, box)


def test_what_a_session_needs_is_checked_when_the_study_is_made():
    with pytest.raises(InputError, match="min_height is 700, too little"):
        Protocol(size=768, min_height=700)


def test_a_window_made_smaller_while_an_image_is_shown_is_flagged(serve, tab):
    here = serve(image_ms=4000, gap_ms=400, practice_trials=0, test_trials=2)
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    page.wait_for_function(ON_SCREEN, arg="first")
    page.set_viewport_size({"width": 1280, "height": 250})
    page.wait_for_timeout(1000)
    page.set_viewport_size({"width": 1280, "height": 800})
    person.answer()
    person.answer()
    person.code()
    assert ["cropped" in trial["flags"].split() for trial in here.trials] == [True, False]


def test_zoom_while_an_image_is_shown_is_flagged_also_when_it_is_undone(serve, tab):
    here = serve(image_ms=4000, gap_ms=400, practice_trials=0, test_trials=2)
    page = tab({"width": 1366, "height": 768})
    person = Participant(page).open(here.url)
    person.begin()
    page.wait_for_function(ON_SCREEN, arg="first")
    display = page.context.new_cdp_session(page)
    for ratio in (1.25, 1):
        metrics = {
            "width": round(1366 / ratio),
            "height": round(768 / ratio),
            "deviceScaleFactor": ratio,
            "mobile": False,
        }
        display.send("Emulation.setDeviceMetricsOverride", metrics)
        page.wait_for_timeout(700)
    person.answer()
    person.answer()
    person.code()
    found = [trial["flags"].split() for trial in here.trials]
    assert ["zoomed" in flags for flags in found] == [True, False]
    assert not any("cropped" in flags for flags in found)


def test_zoom_between_trials_is_recorded_and_a_window_made_too_low_is_waited_for(serve, tab):
    here = serve(practice_trials=0, test_trials=4)
    page = tab({"width": 1366, "height": 768})
    person = Participant(page).open(here.url)
    person.begin()
    person.is_asked()
    display = page.context.new_cdp_session(page)

    def zoom(width, height, ratio):
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
        display.send("Emulation.setDeviceMetricsOverride", metrics)
        page.wait_for_function(
            "([width, ratio]) => innerWidth === width && devicePixelRatio === ratio", arg=[width, ratio]
        )

    zoom(683, 384, 2)
    person.answer()
    person.is_asked()
    check_answers_are_within_reach(page, 683, 384)
    assert page.evaluate("document.querySelector('.trial canvas').width") == 512
    zoom(683, 250, 2)
    page.click('[data-answer="first"]')
    person.sees("window")
    zoom(1366, 768, 1)
    person.answer()
    person.answer()
    person.code()
    ratios = [
        json.loads(event["detail"])["device_pixel_ratio"]
        for event in here.rows("SELECT * FROM event WHERE kind = 'device'")
    ]
    assert ratios == [1, 2]  # what was before
    assert json.loads(here.session["device"])["device_pixel_ratio"] == 1
    assert [trial["flags"] for trial in here.trials if "cropped" in trial["flags"]] == []


def test_a_phone_that_is_turned_while_it_is_asked_keeps_its_buttons_in_view(serve, tab):
    page = tab({"width": 844, "height": 390}, has_touch=True)
    person = Participant(page).open(serve(practice_trials=0).url)
    person.begin()
    person.is_asked()
    for width, height in ((390, 844), (360, 640), (844, 390)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            """([width, height]) => [...document.querySelectorAll(".slot .answer")].every((button) => {
              const box = button.getBoundingClientRect();
              return innerWidth === width && box.left >= 0 && box.top >= 0 && box.right <= width && box.bottom <= height;
            })""",
            arg=[width, height],
        )
    person.answer()


def test_the_remark_that_only_an_answer_is_missing_covers_nothing_and_pushes_nothing_away(serve, tab):
    page = tab({"width": 1366, "height": 768})
    person = Participant(page).open(serve(practice_trials=0).url)
    person.begin()
    person.is_asked()
    page.reload()
    person.press("resume")
    person.is_asked()
    for width, height in ((1366, 768), (844, 342), (640, 304), (390, 844), (320, 568)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            """([width, height]) => {
              const parts = [...document.querySelectorAll('[data-part="seen"], .question, .slot .answer, .trial .progress, .foot button')]
                .filter((part) => getComputedStyle(part).visibility === "visible")
                .filter((part) => document.documentElement.dataset.level !== "bare" || !part.matches(".foot button"));
              const boxes = parts.map((part) => part.getBoundingClientRect());
              const inside = (box) => box.left >= 0 && box.top >= 0 && box.right <= width && box.bottom <= height;
              const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
              return innerWidth === width && document.querySelector('[data-part="seen"]').offsetHeight > 0
                && boxes.every(inside) && boxes.every((a, i) => boxes.slice(i + 1).every((b) => apart(a, b)));
            }""",
            arg=[width, height],
        )
    person.answer()


def test_a_resumed_session_is_measured_again(serve, tab):
    from turing_test.database.storage import Storage, default_url
    from turing_test.sessions.links import make_links

    here = serve(practice_trials=0, min_width=0)
    storage = Storage(default_url(here.study.folder))
    (link,) = make_links(storage, 1, here.url)
    storage.close()
    person = Participant(tab()).open(link)
    person.begin()
    person.answer()
    phone = Participant(tab({"width": 390, "height": 664})).open(link)
    phone.press("consent", "agree")
    phone.press("resume")
    phone.sees("window")
    phone.page.set_viewport_size({"width": 664, "height": 390})
    phone.answer()
    assert '"width": 664' in here.session["device"]
    (event,) = here.rows("SELECT * FROM event WHERE kind = 'device'")
    assert '"width": 1280' in event["detail"]
