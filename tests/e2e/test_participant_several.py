"""Choices among several images at once, in the browser: places, keys, touch, window, record."""

from __future__ import annotations

import pytest

from analysis.trials.columns import PLACES
from tests.e2e.participants import ON_SCREEN, QUICK, Participant, served
from tests.e2e.test_participant_designs import INVENTED, flags_of
from tests.e2e.test_participant_windows import check_answers_are_within_reach, check_images_are_whole
from turing_test.stimuli.create import create_study


@pytest.fixture(scope="module")
def make_several(studies, tmp_path_factory):
    """Makes studies of four methods, one of them the photos themselves, all shown at once."""
    photos = studies.built.parent / "photos"

    def make(preset="preference", **settings):
        settings = {**QUICK, "feedback_ms": 0, "gap_ms": 0, "size": 128, "min_width": 0, "alternatives": 4, **settings}
        return create_study(
            tmp_path_factory.mktemp("several") / "study", photos / "truth",
            {"pale": photos / "pale", "turned": photos / "turned", "gray": None, **({"truth": None} if preset == "preference" else {})},
            preset=preset,
            settings=settings,
        ).study  # fmt: skip

    return make


def is_row_by_row(boxes, columns):
    """Whether each place lies right of the one before, or below those of the row before."""
    for k, box in enumerate(boxes):
        if k % columns:
            assert box["left"] >= boxes[k - 1]["right"] + 16
            assert box["top"] == boxes[k - 1]["top"]
        elif k:
            assert box["top"] >= boxes[k - 1]["bottom"] + 16


def test_four_in_a_grid_are_answered_by_number_arrows_and_mouse(make_several, tab):
    study = make_several(practice_trials=1, test_trials=4, reserve_trials=1)
    with served(study) as here:
        page = tab()
        person = Participant(page).open(here.url)
        page.wait_for_selector('[data-screen="consent"]:not([hidden])')
        person.press("consent", "agree")
        person.press("device")
        assert "keys 1 to 4" in page.inner_text('[data-screen="instructions"]')
        assert "4 times at once" in page.inner_text('[data-screen="instructions"]')
        person.press("instructions")
        person.is_asked()
        assert page.inner_text(".question") == "Which image looked most natural?"
        assert [button.inner_text() for button in page.query_selector_all("[data-answer]")] == ["1", "2", "3", "4"]
        is_row_by_row(check_images_are_whole(page, 1280, 800, 128), 2)
        person.answer_by(lambda: page.keyboard.press("3"))
        person.press("ready")

        def by_arrows():
            for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
                page.keyboard.press(key)

        person.answer_by(by_arrows)  # to the first, to its right and no further, down
        person.answer_by(lambda: page.keyboard.press("Numpad2"))
        person.is_asked()
        page.keyboard.press("5")  # no such place
        page.keyboard.press("j")
        assert page.is_visible('[data-answer="first"]')
        person.answer("first")
        person.answer("fourth")
        assert person.code() == here.session["completion_code"]
        trials = here.trials
    assert [trial["response"] for trial in trials] == ["third", "fourth", "second", "first", "fourth"]
    assert {trial["state"] for trial in trials} == {"answered"}
    assert not any(INVENTED & flags_of(trial) for trial in trials)
    assert not any("cropped" in flags_of(trial) for trial in trials)


def test_three_in_a_row_stay_until_a_touch_and_answers_cover_none(make_several, tab):
    study = make_several(
        alternatives=3, image_ms="until answered", practice_trials=0, test_trials=3, reserve_trials=0, language="de"
    )
    with served(study) as here:
        page = tab({"width": 740, "height": 390}, has_touch=True, is_mobile=True, device_scale_factor=3)
        person = Participant(page).open(here.url)
        for screen, action in (("consent", "agree"), ("device", "next"), ("instructions", "next")):
            page.tap(f'[data-screen="{screen}"]:not([hidden]) [data-action="{action}"]:enabled')
        for place in PLACES[:3]:
            person.is_asked()
            page.wait_for_function(ON_SCREEN, arg="third")
            is_row_by_row(check_images_are_whole(page, 740, 390, 128), 3)
            check_answers_are_within_reach(page, 740, 390)
            assert all(
                button.bounding_box()["y"]
                >= max(c.bounding_box()["y"] + 128 for c in page.query_selector_all(".trial canvas"))
                for button in page.query_selector_all("[data-answer]")
            )
            person.answer_by(lambda place=place: page.tap(f'[data-answer="{place}"]'))
        person.code()
        assert [trial["response"] for trial in here.trials] == list(PLACES[:3])
        assert not any(INVENTED & flags_of(trial) for trial in here.trials)


def test_a_window_without_room_for_the_rows_waits_for_more(make_several, tab):
    study = make_several(size=256, image_ms="until answered", practice_trials=0, test_trials=1, reserve_trials=0)
    needed = study.protocol.window_height
    assert needed == 2 * (256 + 64) + 16 + 48
    with served(study) as here:
        page = tab({"width": 1024, "height": needed - 1})
        person = Participant(page).open(here.url)
        person.press("consent", "agree")
        person.press("device")
        person.sees("window")
        assert f"640 × {needed}" in page.inner_text('[data-screen="window"]')
        page.set_viewport_size({"width": 1024, "height": needed})
        person.press("instructions")
        person.is_asked()
        page.wait_for_function(ON_SCREEN, arg="fourth")
        is_row_by_row(check_images_are_whole(page, 1024, needed, 256), 2)
        check_answers_are_within_reach(page, 1024, needed)
        person.answer("second")
        person.code()
        assert not any("cropped" in flags_of(trial) for trial in here.trials)


def test_after_practice_the_real_photo_is_marked_among_several(make_several, tab):
    study = make_several(
        "simultaneous", practice_trials=1, test_trials=4, vigilance_trials=0, reserve_trials=1, feedback_ms=60_000
    )
    with served(study) as here:
        page = tab()
        person = Participant(page).open(here.url)
        for screen, action in (("consent", "agree"), ("device", "next")):
            person.press(screen, action)
        assert "4 times at once" in page.inner_text('[data-screen="instructions"]')
        person.press("instructions")
        person.is_asked()
        assert page.inner_text(".question") == "Which image do you think had the real colors?"
        page.keyboard.press("2")
        page.wait_for_selector(".trial.explaining")
        told = [verdict.inner_text() for verdict in page.query_selector_all(".verdict")]
        (trial,) = [trial for trial in here.trials if trial["response"] is not None]
        real = PLACES.index(trial["real_position"])
        assert told == ["Real" if place == real else "Fake" for place in range(4)]
        assert page.is_visible('[data-part="right"]') == (real == 1)
        assert page.is_visible('[data-part="wrong"]') == (real != 1)
        boxes = check_images_are_whole(page, 1280, 800, 128)
        for box, verdict in zip(boxes, page.query_selector_all(".verdict"), strict=True):
            own = verdict.bounding_box()
            assert box["left"] <= own["x"]
            assert own["x"] + own["width"] <= box["right"]
            assert box["top"] <= own["y"]
            assert own["y"] + own["height"] <= box["bottom"]
