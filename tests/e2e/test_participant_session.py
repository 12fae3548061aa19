"""Whole sessions in a real browser against the real server: mouse, keyboard, touch, every preset, every way out."""

from __future__ import annotations

import pytest

from tests.e2e.participants import NARROW, WIDE, Participant, served
from turing_test.study.study_folder import read_study
from turing_test.study.texts import format_texts, own_texts_path, read_texts

# --- whole sessions ----------------------------------------------------------------------------------------------


def test_by_mouse(serve, tab):
    here = serve(practice_trials=2, contact="Ada", vigilance_trials=2, test_trials=4)
    person = Participant(tab())
    person.open(here.url)
    person.begin()
    for _ in range(2):
        person.answer("second")
        person.page.wait_for_selector(".trial.explaining")
    person.press("ready")
    for response in ("first", "second", "first", "second"):
        person.answer(response)
    assert person.code() == here.session["completion_code"]
    assert here.session["state"] == "completed"
    trials = here.trials
    assert [trial["phase"] for trial in trials] == ["practice"] * 2 + ["test"] * 4
    assert [trial["response"] for trial in trials][2:] == ["first", "second", "first", "second"]
    assert {trial["state"] for trial in trials} == {"answered"}
    assert all(trial["first_clock"] == "presented" and trial["second_frames"] >= 3 for trial in trials)
    assert all(trial["response_ms"] > 0 for trial in trials)


def test_by_keyboard_alone(serve, tab):
    here = serve()
    page = tab()
    person = Participant(page).open(here.url)
    page.keyboard.press("Tab")  # from the heading, which has the focus, to the first button
    assert page.evaluate("document.activeElement.dataset.action") == "agree"
    page.keyboard.press("Enter")
    page.wait_for_selector('[data-screen="device"] [data-action="next"]:enabled')
    for screen in ("device", "instructions"):
        person.sees(screen)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    person.is_asked()
    page.keyboard.press("f")
    person.sees("ready")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for keys in (
        ["j"],
        ["ArrowLeft", "Enter"],
        ["ArrowRight", "ArrowLeft", "ArrowRight", "Enter"],
        ["ArrowRight", " "],
    ):
        person.answer_by(lambda keys=keys: [page.keyboard.press(key) for key in keys])
    person.sees("completed")
    assert [trial["response"] for trial in here.trials] == ["first", "second", "first", "second", "second"]


# Where the images were, and as large; on a short screen both were in one place, and each answer has a half of it.
@pytest.mark.parametrize(("height", "least"), [(740, 256), (620, 120)])
def test_by_touch_on_a_narrow_screen(serve, tab, height, least):
    here = serve()
    page = tab({**NARROW, "height": height}, has_touch=True, is_mobile=True, device_scale_factor=3)
    person = Participant(page).open(here.url)
    for screen, action in (("consent", "agree"), ("device", "next"), ("instructions", "next")):
        page.tap(f'[data-screen="{screen}"]:not([hidden]) [data-action="{action}"]:enabled')
    for number in range(5):
        person.is_asked()
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]  # nothing to scroll sideways
        for box in (page.locator(f'[data-answer="{place}"]').bounding_box() for place in ("first", "second")):
            assert min(box["width"], box["height"]) >= least
            assert box["y"] + box["height"] <= height  # nor downwards
        person.answer_by(lambda: page.tap('[data-answer="second"]'))
        if number == 0:
            page.tap('[data-screen="ready"]:not([hidden]) [data-action="next"]')
    person.sees("completed")
    assert {trial["response"] for trial in here.trials} == {"second"}
    assert '"touch": true' in here.session["device"]


@pytest.mark.parametrize(
    ("preset", "answers"), [("simultaneous", "first"), ("preference", "second"), ("naturalness", "no")]
)
def test_other_presets(serve, tab, preset, answers):
    here = serve(preset, language="de")
    person = Participant(tab({"width": 640, "height": 700})).open(here.url)
    person.begin()
    person.answer(answers)
    if preset == "simultaneous":
        person.page.wait_for_selector(".trial.explaining")
    person.press("ready")
    for _ in range(4):
        person.answer(answers)
    assert person.code() == here.session["completion_code"]
    trials = here.trials
    assert {trial["response"] for trial in trials} == {answers}
    assert all(trial["first_off_ms"] > trial["first_on_ms"] for trial in trials)
    if preset == "simultaneous":
        assert all(trial["first_on_ms"] == trial["second_on_ms"] for trial in trials)


@pytest.mark.parametrize(("preset", "answer"), [("zhang2016", "first"), ("naturalness", "yes")])
def test_one_person_judges_every_method(serve, tab, preset, answer):
    here = serve(preset, methods_per_person="all", practice_trials=0, test_trials=6, reserve_trials=1)
    person = Participant(tab()).open(here.url)
    person.begin()
    for _ in range(6):
        person.answer(answer)
    assert person.code() == here.session["completion_code"]
    trials = here.trials
    assert sorted(trial["method"] for trial in trials) == ["pale"] * 3 + ["turned"] * 3
    for k in (0, 2, 4):
        assert {trial["method"] for trial in trials[k : k + 2]} == {"pale", "turned"}
    assert len({trial["image"] for trial in trials}) == 6


def test_colour_vision_comes_first_where_it_is_wanted(serve, tab):
    here = serve(color_vision=True)
    page = tab()
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("vision")
    for plate in here.study.manifest.plates:
        page.fill("input[name=number]", plate.answer)
        page.keyboard.press("Enter")
    person.sees("instructions")
    assert here.session["state"] == "screened"


def test_no_number_can_be_typed_before_there_is_a_plate(serve, tab):
    here = serve(color_vision=True)
    page = tab()
    held = []
    page.route("**/stimuli/**", lambda route: held.append(route))
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    with page.expect_request("**/stimuli/**"):
        person.press("device")
    assert page.locator('[data-screen="vision"]').is_hidden()
    page.unroute("**/stimuli/**")  # what was held goes on its way
    person.sees("vision")


def test_enter_pressed_once_more_after_the_last_plate_means_nothing(serve, tab):
    here = serve(color_vision=True)
    page = tab()
    held, loaded = [], []
    page.route("**/vision", lambda route: held.append(route))
    page.on("load", lambda _: loaded.append(page.url))
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("vision")
    for plate in here.study.manifest.plates:
        page.fill("input[name=number]", plate.answer)
        page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    (route,) = held
    route.continue_()
    person.sees("instructions")
    assert len(loaded) == 1
    assert here.session["state"] == "screened"


def test_who_sees_no_number_is_screened_out_kindly(serve, tab):
    here = serve(color_vision=True)
    person = Participant(tab()).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    for _ in here.study.manifest.plates:
        person.press("vision", "none")
    person.sees("screened_out")
    assert here.session["state"] == "screened_out"


# --- other ways out ----------------------------------------------------------------------------------------------


def test_declined_consent_stores_nobody(serve, tab):
    here = serve()
    person = Participant(tab()).open(here.url)
    person.press("consent", "decline")
    person.sees("declined")
    session = here.session
    assert session["state"] == "declined"
    assert session["person_hash"] is session["device"] is session["consent_hash"] is None


def test_withdrawing_in_the_middle(serve, tab):
    here = serve()
    person = Participant(tab()).open(here.url)
    person.begin()
    person.is_asked()
    person.page.click('[data-action="withdraw"]')
    person.page.click('dialog [value="no"]')
    person.is_asked()  # still there
    person.page.click('[data-action="withdraw"]')
    person.page.click('dialog [value="yes"]')
    person.sees("withdrawn")
    assert here.session["state"] == "withdrawn"


def test_a_window_that_is_too_small_is_waited_for(serve, tab):
    here = serve(min_width=0, practice_trials=0)
    page = tab(NARROW)
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("window")
    assert "640 × 304" in page.inner_text('[data-screen="window"]')
    assert "360 × 740" in page.inner_text('[data-part="now"]')
    page.set_viewport_size({"width": 640, "height": 300})
    page.wait_for_function("""() => document.querySelector('[data-part="now"]').innerText.includes('640 × 300')""")
    page.set_viewport_size({"width": 740, "height": 360})  # the phone turned sideways
    person.press("instructions")
    person.answer()
    person.is_asked()
    page.set_viewport_size(NARROW)  # and back, in the middle: what is asked may still be answered
    person.answer()
    person.sees("window")
    assert not page.is_visible('[data-part="leave"]')  # who wants to leave now withdraws
    page.set_viewport_size({"width": 740, "height": 360})
    for _ in range(2):
        person.answer()
    assert person.code()


def test_who_has_no_larger_window_ends_and_may_come_back_on_another_device(serve, tab):
    from turing_test.database.storage import Storage, default_url
    from turing_test.sessions.links import make_links

    here = serve(min_width=0, practice_trials=0, open_link=False)
    storage = Storage(default_url(here.study.folder))
    (link,) = make_links(storage, 1, here.url)
    storage.close()
    person = Participant(tab(NARROW)).open(link)
    person.press("consent", "agree")
    person.press("device")
    person.press("window", "leave")
    person.sees("incompatible")
    assert here.session["state"] == "incompatible"
    person.page.reload()
    person.sees("incompatible")
    again = Participant(tab()).open(link)
    again.begin()
    for _ in range(4):
        again.answer()
    assert again.code() == here.session["completion_code"]


def test_a_session_belongs_to_its_browser(serve, tab):
    here = serve(practice_trials=0)
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    person.answer()
    address = page.url
    friend = tab()
    friend.goto(address)
    Participant(friend).sees("elsewhere")
    session = here.session
    assert session["position"] == 2
    again = Participant(page.context.new_page())  # another window of the same browser, after a crash, say
    again.page.goto(address)
    again.press("resume")
    for _ in range(3):
        again.answer()
    assert again.code() == here.session["completion_code"]


def test_trackers_in_the_address_keep_nobody_out(serve, tab):
    here = serve(practice_trials=0)
    trackers = "&".join([f"fbclid={'x' * 3000}", *(f"utm_{k}=%01{k}" for k in range(40))])
    person = Participant(tab()).open(f"{here.url}/?{trackers}&assignmentId=connect-1&participantId=p&projectId=q")
    person.begin()
    person.is_asked()
    assert here.session["platform"] == "link"  # CloudResearch Connect has an assignmentId too, and is no MTurk


@pytest.mark.parametrize("darkened", [False, True])
def test_a_browser_that_darkens_pages_is_recorded(serve, tab, darkened):
    import json

    here = serve()
    page = tab()
    page.context.new_cdp_session(page).send("Emulation.setAutoDarkModeOverride", {"enabled": darkened})
    person = Participant(page).open(here.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("instructions")
    assert json.loads(here.session["device"])["forced_dark"] is darkened


def test_a_page_that_an_extension_turns_dark_is_recorded(serve, tab):
    import json

    here = serve()
    page = tab()
    person = Participant(page).open(here.url)
    page.evaluate("document.documentElement.style.filter = 'invert(1)'")
    person.press("consent", "agree")
    person.press("device")
    person.sees("instructions")
    assert json.loads(here.session["device"])["forced_dark"] is True


def test_no_translator_touches_the_words_that_matter(serve, tab):
    page = tab()
    Participant(page).open(serve().url)
    for words in (".question", ".stage", ".below", ".paragraph", '[data-part="code-value"]'):
        assert page.locator(words).first.evaluate("(element) => element.translate") is False
    assert page.locator("h1").first.evaluate("(element) => element.translate") is True


@pytest.mark.parametrize(("preset", "hints"), [("zhang2016", True), ("naturalness", False)])
def test_one_practice_trial_is_one_and_hints_are_spoken_of_where_there_are_any(serve, tab, preset, hints):
    page = tab()
    person = Participant(page).open(serve(preset).url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("instructions")
    told = page.inner_text('[data-screen="instructions"]')
    assert "1 practice trial" in told
    assert "1 practice trials" not in told
    ready = page.locator('[data-screen="ready"]').text_content()
    assert ("what was right" in told, "telling what was right" in ready) == (hints, hints)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "There is no such session. Please open the link of the study again."),
        ("de", "Diese Teilnahme gibt es nicht. Bitte öffnen Sie den Link der Studie noch einmal."),
    ],
)
def test_a_session_that_is_unknown_is_told(serve, tab, language, said):
    page = tab()
    page.goto(f"{serve(language=language).url}/s/0123456789abcdef0123456789abcdef")
    Participant(page).sees("error")
    assert page.inner_text('[data-screen="error"] [data-part="sentence"]') == said


def test_whoever_is_not_admitted_is_told_why_in_the_language_of_the_page(serve, tab):
    here = serve(language="de", open_link=False, platforms=("prolific",))
    mturk = "assignmentId=A1&hitId=H1&workerId=W1&turkSubmitTo=https://www.mturk.com"
    for address, said in (
        ("/", "An dieser Studie nimmt man nur über einen persönlichen Link teil. Bitte fragen Sie nach Ihrem."),
        (f"/l/{'0' * 32}", "Dieser Link ist unbekannt. Bitte prüfen Sie, ob er vollständig kopiert wurde."),
        (f"/?{mturk}", "Unter dieser Adresse lässt sich die Studie nicht öffnen. Bitte öffnen Sie sie noch einmal auf der Plattform "
         "oder über den Link, den Sie bekommen haben."),
    ):  # fmt: skip
        person = Participant(tab()).open(f"{here.url}{address}")
        person.press("consent", "agree")
        person.sees("refused")
        assert person.page.inner_text('[data-screen="refused"] [data-part="sentence"]') == said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "The study goes on in another tab or window. Please close that one, then load this page again."),
        ("de", "Die Studie läuft in einem anderen Tab oder Fenster weiter. Bitte schließen Sie es und laden Sie dann diese Seite neu."),
    ],
)  # fmt: skip
def test_a_page_that_was_overtaken_in_another_tab_says_so_and_can_go_on(serve, tab, language, said):
    here = serve(practice_trials=0, language=language)
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    person.is_asked()
    other = Participant(page.context.new_page())
    other.page.set_default_timeout(90_000)
    other.page.goto(page.url)
    other.press("resume")
    other.answer("second")
    page.click('[data-answer="first"]')
    person.sees("error")
    assert page.inner_text('[data-screen="error"] [data-part="sentence"]') == said
    other.page.close()
    stored = len(here.rows("SELECT * FROM trial WHERE state = 'answered'"))
    person.press("error", "reload")
    person.press("resume")
    for _ in range(4 - stored):
        person.answer()
    assert person.code() == here.session["completion_code"]
    assert here.trials[0]["response"] == "second"


def test_in_a_script_from_right_to_left_first_is_still_on_the_left(studies, tab, tmp_path):
    folder = studies.make(tmp_path / "study", practice_trials=0).folder
    own_texts_path(folder, "he").parent.mkdir()
    own_texts_path(folder, "he").write_text(format_texts(read_texts("en")).replace('"Continue"', '"המשך"'))
    settings = folder / "study.toml"
    settings.write_text(settings.read_text().replace('language = "en"', 'language = "he"'))
    with served(read_study(folder)) as here:
        page = tab()
        person = Participant(page).open(here.url)
        heading, button = (
            page.locator(f'[data-screen="consent"] {part}').bounding_box() for part in ("h1", ".primary")
        )
        assert abs(heading["x"] + heading["width"] - button["x"] - button["width"]) < 1  # both begin on the right
        person.begin()
        person.is_asked()
        first, second = (page.locator(f'[data-answer="{answer}"]').bounding_box() for answer in ("first", "second"))
        assert first["x"] + first["width"] < second["x"]
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.dataset.answer") == "first"


def test_what_the_server_does_not_take_is_told_in_the_language_of_the_page(serve, tab):
    here = serve(practice_trials=0, language="de")
    page = tab()
    person = Participant(page).open(here.url)
    page.route("**/api/s/*/device", lambda route: route.fulfill(status=413, body="<html>Too large</html>"))  # a proxy's
    person.press("consent", "agree")
    person.press("device")
    person.sees("error")
    assert page.inner_text('[data-screen="error"] [data-part="sentence"]').startswith(
        "Die Studie konnte nicht annehmen, was diese Seite gesendet hat."
    )


def test_a_session_that_expired_meanwhile_ends_with_thanks(serve, tab):
    import sqlite3
    from contextlib import closing

    here = serve()
    person = Participant(tab()).open(here.url)
    person.begin()
    person.is_asked()
    with closing(sqlite3.connect(here.study.database)) as database:
        database.execute("UPDATE session SET updated_at = updated_at - 100000")
        database.commit()
    person.page.click('[data-answer="first"]')
    person.sees("expired")


def test_a_study_that_is_full_says_so(serve, tab):
    here = serve(sessions_per_method=1)
    for _ in range(2):
        person = Participant(tab()).open(here.url)
        person.press("consent", "agree")
        person.sees("device")
    person = Participant(tab()).open(here.url)
    person.press("consent", "agree")
    person.sees("full")
    assert "all the participants it needs" in person.page.inner_text('[data-screen="full"]')


# --- how it looks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("viewport", [WIDE, NARROW])
def test_nothing_moves_when_images_come_and_go(serve, tab, viewport):
    here = serve(practice_trials=0)
    page = tab(viewport)
    page.add_init_script(
        """window.shifts = [];
        new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((entry) => entry.value)))
          .observe({ type: "layout-shift" });"""
    )
    person = Participant(page).open(here.url)
    person.begin()
    page.evaluate("window.shifts.length = 0")
    for _ in range(3):
        person.answer()
    person.is_asked()
    assert page.evaluate("window.shifts") == []


def test_a_dark_system_gets_the_same_light_grey_page(serve, tab):
    here = serve()
    colors = set()
    for scheme in ("light", "dark"):
        page = tab(color_scheme=scheme)
        Participant(page).open(here.url)
        colors.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    (color,) = colors
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    assert red == green == blue > 180
