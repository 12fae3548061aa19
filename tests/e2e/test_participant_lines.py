"""Slow lines and lines that break off: the page says what it waits for, repeats, and loses no session."""

from __future__ import annotations

import threading

import pytest

from tests.e2e.bad_line import breaking_line
from tests.e2e.participants import Participant

QUIET = {"practice_trials": 0, "test_trials": 2}
KINDS = ("sessions", "view", "device", "begin", "shown", "answer", "stimulus")


def play(person, n_trials=2):
    for _ in range(n_trials):
        person.answer()
    return person.code()


@pytest.fixture
def patient(tab):
    """A tab whose person waits long."""
    page = tab()
    page.set_default_timeout(180_000)
    return page


def test_a_session_at_100_kilobits_per_second(serve, patient):
    """A pair of 394 kB takes half a minute; no request may end in an error for that."""
    here = serve(**QUIET)
    person = Participant(patient).open(here.url)
    told = []
    patient.expose_function("told", lambda entry: told.append(entry))
    patient.evaluate(
        """() => {
          const slow = document.querySelector('[data-part="slow"]');
          new MutationObserver(() => {
            if (!slow.hidden) window.told([slow.textContent.trim(), slow.querySelector("progress").value]);
          }).observe(slow, { attributes: true, subtree: true });
        }"""
    )
    line = patient.context.new_cdp_session(patient)
    line.send("Network.enable")
    speed = 100_000 / 8
    conditions = {"offline": False, "latency": 150, "downloadThroughput": speed, "uploadThroughput": speed}
    line.send("Network.emulateNetworkConditions", conditions)
    asked_ahead = []
    patient.on("request", lambda request: asked_ahead.append(request.url) if request.url.endswith("/ahead") else None)
    person.begin()
    assert play(person) == here.session["completion_code"]
    assert {text for text, _ in told} == {"Your connection is slow, loading…"}
    shares = [share for _, share in told]
    assert max(shares) > 0.5
    assert len(set(shares)) > 4  # it moves
    assert asked_ahead
    assert here.rows("SELECT count(*) AS n FROM session") == [{"n": 1}]
    assert [trial["state"] for trial in here.trials] == ["answered"] * 2
    assert not {"not_fetched", "looked_again", "hidden"} & {flag for t in here.trials for flag in t["flags"].split()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_the_server_that_breaks_off_is_asked_for_again(serve, tab, kind):
    here = serve(**QUIET)
    with breaking_line(here.url, lambda of, before: of == kind and before == 0) as line:
        page = tab()
        person = Participant(page).open(line.url)
        person.begin()
        if kind == "view":
            person.is_asked()
            page.reload()
            person.press("resume") if here.trials[0]["state"] == "shown" else person.press("instructions")
        assert play(person) == here.session["completion_code"]
        assert line.cut[kind] == 1
    assert here.rows("SELECT count(*) AS n FROM session") == [{"n": 1}]
    assert sum(trial["state"] == "answered" for trial in here.trials) == 2


def test_the_screen_of_colour_vision_survives_a_lost_answer(serve, tab):
    here = serve(**QUIET, color_vision=True)
    with breaking_line(here.url, lambda kind, before: kind == "vision" and before == 0) as line:
        page = tab()
        person = Participant(page).open(line.url)
        person.press("consent", "agree")
        person.press("device")
        for plate in here.study.manifest.plates:
            page.fill("input[name=number]", plate.answer)
            page.keyboard.press("Enter")
        person.sees("instructions")
        assert line.cut["vision"] == 1


def test_images_that_break_off_again_and_again_go_on_where_they_were(serve, tab):
    here = serve(**QUIET)
    with breaking_line(here.url, lambda kind, before: kind == "stimulus" and before % 4 != 3) as line:
        person = Participant(tab()).open(line.url)
        person.begin()
        assert play(person) == here.session["completion_code"]
        assert line.cut["stimulus"] >= 6
        assert len(line.ranges) >= 6  # the rest alone was asked for
    assert not {"not_fetched", "looked_again"} & {flag for trial in here.trials for flag in trial["flags"].split()}


def test_a_script_of_the_page_that_breaks_off_is_loaded_again(serve, tab):
    here = serve(**QUIET)
    with breaking_line(here.url, lambda kind, before: kind == "module" and before == 3) as line:
        page = tab()
        page.goto(line.url)
        Participant(page).sees("consent")
        assert line.cut["module"] == 1


@pytest.mark.parametrize("nth", [0, 1])
def test_a_style_of_the_page_that_breaks_off_is_loaded_again(serve, tab, nth):
    here = serve(**QUIET)
    with breaking_line(here.url, lambda kind, before: kind == "style" and before == nth) as line:
        page = tab()
        page.goto(line.url, wait_until="commit")
        page.wait_for_function(
            """() => performance.getEntriesByType("navigation")[0].type === "reload"
              && [...document.querySelectorAll('link[rel="stylesheet"]')].every((link) => link.sheet?.cssRules.length > 0)""",
        )
        Participant(page).sees("consent")
        assert line.cut["style"] == 1


@pytest.mark.parametrize(
    ("held_back", "language", "word"), [("participant.css", "en", "blocker"), ("trial.js", "de", "Blocker")]
)
def test_what_a_blocker_holds_back_is_told_after_a_few_tries(serve, tab, held_back, language, word):
    here = serve(**QUIET, language=language)
    page = tab()
    loads = []
    page.on("request", lambda request: loads.append(1) if request.is_navigation_request() else None)
    page.route(f"**/{held_back}", lambda route: route.abort("blockedbyclient"))
    page.goto(here.url, wait_until="commit")
    page.wait_for_selector("#broken-load:not([hidden])")
    assert word in page.inner_text("#broken-load")
    assert "/static/participant" in page.inner_text("#broken-load")
    assert page.query_selector("#study") is None
    page.wait_for_timeout(3000)
    assert len(loads) == 4
    page.unroute(f"**/{held_back}")
    page.reload()
    Participant(page).sees("consent")
    assert page.evaluate("history.state") is None


def test_a_page_that_breaks_off_is_loaded_again(serve, tab):
    here = serve(**QUIET)
    may_break = threading.Event()
    with breaking_line(here.url, lambda kind, before: kind == "page" and before == 0, may_break) as line:
        page = tab()
        page.goto(line.url, wait_until="commit")
        page.wait_for_function("document.getElementById('study')")  # the head's script has run
        may_break.set()
        person = Participant(page)
        person.sees("consent")
        assert line.cut["page"] == 1
        assert page.evaluate("performance.getEntriesByType('navigation')[0].type") == "reload"
        person.begin()
        assert play(person) == here.session["completion_code"]


@pytest.mark.parametrize("n_bad", [1, 4])
def test_half_a_page_that_passes_for_a_whole_one_is_loaded_again(serve, tab, n_bad):
    """A proxy that shortens, or a browser that goes on with what came."""
    here = serve(**QUIET)
    page = tab()
    loads = []

    def halve(route):
        answer = route.fetch()
        loads.append(1)
        body = answer.text()
        assert 'id="broken-load"' in body[: len(body) // 2]
        route.fulfill(response=answer, body=body[: len(body) // 2] if len(loads) <= n_bad else body)

    page.route(here.url + "/", halve)
    page.goto(here.url + "/", wait_until="commit")
    if n_bad == 4:
        page.wait_for_selector("#broken-load:not([hidden])")
        assert page.query_selector("#study") is None
        assert len(loads) == 4
        page.reload()
    Participant(page).sees("consent")
    assert len(loads) == n_bad + 1
    assert page.evaluate("history.state") is None


def test_an_image_that_was_damaged_on_the_way_is_fetched_again(serve, tab):
    here = serve(**QUIET)
    page = tab()
    damaged = []

    def damage(route):
        answer = route.fetch()
        if len(damaged) < 2:
            damaged.append(route.request.url)
            body = bytearray(answer.body())
            body[60] ^= 0xFF  # in the compressed data: the checksums no longer fit
            route.fulfill(response=answer, body=bytes(body))
        else:
            route.fulfill(response=answer)

    page.route("**/stimuli/**", damage)
    person = Participant(page).open(here.url)
    person.begin()
    assert play(person)
    assert len(damaged) == 2
