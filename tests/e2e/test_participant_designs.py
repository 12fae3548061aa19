"""Designs beside those of the presets, in the browser and in the record: no limit, early answers, masks, breaks."""

from __future__ import annotations

import re

import pytest

from tests.e2e.participants import ON_SCREEN, WIDE, Participant
from tests.e2e.test_participant_windows import check_answers_are_within_reach, check_images_are_whole

PIXELS = """(slot) => {
  const canvas = document.querySelector(`[data-slot="${slot}"] canvas`);
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].join();
}"""
RECORD = """() => {
  window.seen = { first: [], second: [] };
  const look = () => {
    for (const [slot, list] of Object.entries(window.seen)) {
      const canvas = document.querySelector(`[data-slot="${slot}"] canvas`);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let hash = 0, plain = true, gray = true;
      for (let k = 0; k < data.length; k += 4) {
        hash = (Math.imul(hash, 31) + data[k] + 256 * data[k + 1] + 65536 * data[k + 2]) | 0;
        plain &&= data[k] === data[0];
        gray &&= data[k] === data[k + 1] && data[k] === data[k + 2];
      }
      const blank = data[3] === 0;
      if (!blank && list.at(-1)?.hash !== hash) list.push({ hash, plain, gray });
      if (blank && list.length && list.at(-1) !== null) list.push(null);
    }
    requestAnimationFrame(look);
  };
  look();
}"""
"""For a page: what the places of the images hold, looked at in every frame; null for nothing."""

ANSWER_ONCE = """() => {
  const trial = document.querySelector(".trial");
  const observer = new MutationObserver(() => {
    if (!trial.classList.contains("asking")) return;
    observer.disconnect();
    setTimeout(() => document.querySelector('[data-answer="second"]').click(), 300);
  });
  observer.observe(trial, { attributes: true });
}"""
"""For a page: somebody who answers as soon as the question is there, whatever the machine is busy with."""

SHAPES = ((1920, 1080), (1366, 625), (1024, 600), (683, 380), (640, 368))
INVENTED = {"too_fast", "not_fetched", "looked_again"}


def check_answers_cover_nothing(page):
    lowest = max(canvas.bounding_box()["y"] + 256 for canvas in page.query_selector_all(".trial canvas"))
    assert all(button.bounding_box()["y"] >= lowest for button in page.query_selector_all("[data-answer]"))


def flags_of(trial):
    return set(trial["flags"].split())


def test_images_side_by_side_stay_until_the_answer_and_after_a_reload(serve, tab):
    here = serve(
        "preference", side_by_side=True, image_ms="until answered", gap_ms=0, practice_trials=0, test_trials=3,
        reserve_trials=1, min_width=0, language="de",
    )  # fmt: skip
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    page.wait_for_function(ON_SCREEN, arg="second")
    page.wait_for_timeout(700)
    assert page.evaluate(ON_SCREEN, "first")
    check_answers_cover_nothing(page)
    person.answer_by(lambda: page.keyboard.press("j"))

    page.wait_for_function(ON_SCREEN, arg="second")
    shown = page.evaluate(PIXELS, "first")
    page.reload()
    person.press("resume")
    page.wait_for_function(ON_SCREEN, arg="second")
    assert page.evaluate(PIXELS, "first") == shown  # the same pair: a second look is no matter here
    person.answer("first")

    person.is_asked()
    other = tab()
    other.bring_to_front()
    page.bring_to_front()
    assert page.evaluate(ON_SCREEN, "first")
    person.answer("second")
    assert person.code() == here.session["completion_code"]
    trials = here.trials
    assert [trial["response"] for trial in trials] == ["second", "first", "second"]
    assert {trial["state"] for trial in trials} == {"answered"}
    assert all(trial["first_on_ms"] == trial["second_on_ms"] for trial in trials)
    assert trials[0]["first_off_ms"] - trials[0]["first_on_ms"] >= 700
    assert trials[0]["response_ms"] >= 700
    assert all(trial["response_ms"] <= trial["first_off_ms"] - trial["first_on_ms"] for trial in trials)
    assert ["reloaded" in flags_of(trial) for trial in trials] == [False, True, False]
    assert not any(INVENTED & flags_of(trial) for trial in trials)


def test_an_answer_ends_the_second_image_and_may_come_after_it(serve, tab):
    here = serve(image_ms=5000, gap_ms=0, answer_while_shown=True, practice_trials=0, test_trials=2, reserve_trials=0)
    page = tab()
    person = Participant(page).open(here.url)
    page.evaluate(ANSWER_ONCE)
    person.begin()
    page.wait_for_function("() => document.querySelector('[data-part=done]').textContent === '1'")
    page.wait_for_function(ON_SCREEN, arg="second")
    page.wait_for_function(f"(slot) => !({ON_SCREEN})(slot)", arg="second")
    assert page.is_visible('[data-answer="first"]')
    person.answer_by(lambda: page.keyboard.press("f"))
    person.code()
    early, late = here.trials
    assert early["response_ms"] <= early["second_off_ms"] - early["second_on_ms"] < 4500
    assert late["response_ms"] >= late["second_off_ms"] - late["second_on_ms"] > 4500
    for trial in (early, late):
        assert trial["first_off_ms"] == trial["second_on_ms"]  # no gap at all: one frame changes both
        assert not INVENTED & flags_of(trial)


@pytest.mark.parametrize("mask", ["plain", "noise", "scrambled"])
def test_a_mask_takes_the_place_of_either_image(serve, tab, mask):
    here = serve(
        mask=mask, mask_ms=2000, image_ms=200, gap_ms=0, practice_trials=0, test_trials=2, reserve_trials=0, min_width=0
    )
    page = tab()
    person = Participant(page).open(here.url)
    page.evaluate(RECORD)
    person.begin()
    person.answer()
    person.answer()
    person.code()
    first, second = page.evaluate("() => [window.seen.first, window.seen.second]")
    assert [look is None for look in first] == [look is None for look in second] == [False, False, True] * 2
    for own, other in ((first[1], second[1]), (first[4], second[4])):
        assert own == other  # it does not tell which image it stands for
        assert own["plain"] == (mask == "plain")
        assert own["gray"] == (mask != "scrambled")
    for trial in here.trials:
        assert trial["second_on_ms"] - trial["first_off_ms"] > 1000
        assert not INVENTED & flags_of(trial)


def test_breaks_are_kept_over_a_reload_and_go_on_by_keyboard(serve, tab):
    here = serve(break_every=2, break_s=600, practice_trials=1, test_trials=6)
    page = tab(color_scheme="dark", reduced_motion="reduce")
    person = Participant(page).open(here.url)
    person.begin()
    person.answer()
    person.press("ready")
    person.answer()
    person.answer()
    person.sees("pause")
    assert re.fullmatch(r"\d+:\d\d", page.inner_text('[data-part="clock"]'))
    assert page.inner_text('[data-screen="pause"] .count') == "3 of 7"
    page.reload()
    person.sees("pause")  # not "welcome back": the break goes on
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    person.answer()
    person.answer()
    person.press("pause")
    person.answer()
    person.answer()
    assert person.code() == here.session["completion_code"]
    assert {trial["state"] for trial in here.trials} == {"answered"}
    assert not any("reloaded" in flags_of(trial) for trial in here.trials)


@pytest.mark.parametrize("preset", ["simultaneous", "naturalness"])
def test_images_and_the_answers_below_have_room_in_windows_of_five_shapes(serve, tab, preset):
    here = serve(
        preset, image_ms="until answered", feedback_ms=0, practice_trials=0, test_trials=len(SHAPES) + 1, reserve_trials=0,
        min_width=0, language="de",
    )  # fmt: skip
    page = tab(WIDE)
    person = Participant(page).open(here.url)
    person.begin()
    for width, height in SHAPES:
        person.is_asked()
        page.set_viewport_size({"width": width, "height": height})
        person.answer("second" if preset == "simultaneous" else "no")
        page.wait_for_function(ON_SCREEN, arg="first")
        boxes = check_images_are_whole(page, width, height)
        check_answers_are_within_reach(page, width, height)
        check_answers_cover_nothing(page)
        if preset == "simultaneous":
            assert boxes[1]["left"] >= boxes[0]["right"] + 16
    person.answer("first" if preset == "simultaneous" else "yes")
    person.code()


def test_two_small_images_side_by_side_on_a_phone_by_touch(serve, tab):
    here = serve(
        "preference",
        side_by_side=True,
        answer_while_shown=True,
        image_ms=60_000,
        gap_ms=0,
        practice_trials=0,
        min_width=528,
    )
    page = tab({"width": 740, "height": 390}, has_touch=True, is_mobile=True, device_scale_factor=3)
    person = Participant(page).open(here.url)
    for screen, action in (("consent", "agree"), ("device", "next"), ("instructions", "next")):
        page.tap(f'[data-screen="{screen}"]:not([hidden]) [data-action="{action}"]:enabled')
    for _ in range(4):
        page.wait_for_function(ON_SCREEN, arg="second")
        check_images_are_whole(page, 740, 390)
        check_answers_cover_nothing(page)
        person.answer_by(lambda: page.tap('[data-answer="second"]'))
    person.code()
    assert '"touch": true' in here.session["device"]
    assert all(trial["response_ms"] < 60_000 for trial in here.trials)
