"""What may go wrong while somebody takes part: reloads, a lost network, a hidden tab, a server that is down."""

from __future__ import annotations

import time

from tests.e2e.participants import ON_SCREEN, Participant

SLOW = {"image_ms": 3000, "gap_ms": 400, "practice_trials": 0, "test_trials": 2}


def begun(server):
    """The trial that is going on."""
    return server.trials[-1]


def happened(trial):
    """Flags of what befell a pair, without late frames: those are the machine's, and it may be busy."""
    return set(trial["flags"].split()) - {"first_duration", "second_duration"}


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


# --- reload --------------------------------------------------------------------------------------------------------


def test_a_pair_that_a_reload_interrupted_is_replaced(serve, tab):
    here = serve(**SLOW)
    person = Participant(tab()).open(here.url)
    person.begin()
    person.page.wait_for_function(ON_SCREEN, arg="first")
    interrupted = begun(here)
    person.page.reload()
    person.press("instructions")
    person.is_asked()
    # The question does not wait until the server has stored what was shown.
    while here.trials[-1]["state"] != "shown":
        person.page.wait_for_timeout(50)
    old, new = here.trials
    assert old["number"] == interrupted["number"]
    assert (old["state"], happened(old), old["replaced_by"]) == ("replaced", {"interrupted"}, new["number"])
    assert (new["state"], happened(new)) == ("shown", set())
    assert new["image"] != old["image"]
    assert (new["position"], new["phase"], new["real_position"]) == (1, "test", old["real_position"])
    for _ in range(2):
        person.answer()
    assert person.code()
    assert sum(trial["state"] == "answered" for trial in here.trials) == 2


def test_a_pair_that_was_fully_shown_before_a_reload_is_only_asked_for(serve, tab):
    here = serve()
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    person.is_asked()
    wait_until(lambda: begun(here)["state"] == "shown")
    page.add_init_script(
        """window.drawn = 0;
        const draw = CanvasRenderingContext2D.prototype.drawImage;
        CanvasRenderingContext2D.prototype.drawImage = function (...all) { window.drawn += 1; draw.apply(this, all); };"""
    )
    page.reload()
    person.press("resume")
    person.is_asked()
    assert page.is_visible('[data-part="seen"]')
    assert page.evaluate("window.drawn") == 0
    page.click('[data-answer="second"]')
    person.sees("ready")
    (trial,) = here.trials
    assert (trial["state"], trial["response"], happened(trial)) == ("answered", "second", {"reloaded"})


def test_a_reload_between_trials_goes_on_with_the_next(serve, tab):
    here = serve()
    person = Participant(tab()).open(here.url)
    person.begin()
    person.answer()
    person.sees("ready")
    person.page.reload()
    person.press("resume")
    for _ in range(4):
        person.answer()
    assert person.code()
    assert [trial["state"] for trial in here.trials] == ["answered"] * 5


# --- network -------------------------------------------------------------------------------------------------------


def test_an_answer_survives_ten_seconds_without_network(serve, tab):
    here = serve(practice_trials=0)
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    person.is_asked()
    wait_until(lambda: begun(here)["state"] == "shown")
    page.context.set_offline(True)
    page.click('[data-answer="second"]')
    page.wait_for_selector('[data-part="offline"]:not([hidden]), [data-part="again"]:not([hidden])')
    time.sleep(10)
    assert begun(here)["state"] == "shown"
    assert page.is_visible('[data-part="notice"] span:not([hidden])')
    page.context.set_offline(False)
    wait_until(lambda: here.trials[0]["state"] == "answered", seconds=9)
    assert here.trials[0]["response"] == "second"
    person.is_asked()
    assert not page.is_visible('[data-part="notice"] span:not([hidden])')
    for _ in range(3):
        person.answer()
    assert person.code()


def test_display_times_that_could_not_be_sent_at_once_arrive_before_the_answer(serve, tab):
    here = serve(practice_trials=0)
    page = tab()
    failures = []

    def fail_twice(route):
        failures.append(route.request.url)
        route.abort() if len(failures) <= 2 else route.continue_()

    page.route("**/shown", fail_twice)
    person = Participant(page).open(here.url)
    person.begin()
    person.answer("second")
    trial = here.trials[0]
    assert len(failures) > 2
    assert (trial["state"], trial["response"]) == ("answered", "second")
    assert trial["shown_at"] <= trial["answered_at"]


def test_an_answer_whose_acknowledgement_got_lost_is_stored_once(serve, tab):
    here = serve(practice_trials=0)
    page = tab()
    sent = []

    def lose_the_first(route):
        sent.append(route.request.post_data_json)
        if len(sent) > 1:
            route.continue_()
            return
        route.fetch()  # the server stores it, and the network breaks before the page hears of it
        assert here.trials[0]["state"] == "answered"
        route.abort()

    page.route("**/trials/1/answer", lose_the_first)
    person = Participant(page).open(here.url)
    person.begin()
    person.answer("second")
    assert sent == [sent[0]] * 2
    assert here.trials[0]["response"] == "second"
    for _ in range(3):
        person.answer()
    assert person.code()
    assert [trial["position"] for trial in here.trials] == [1, 2, 3, 4]


def test_a_server_that_cannot_store_is_waited_for(serve, tab):
    here = serve(practice_trials=0)
    page = tab()
    states = []

    def refuse_at_first(route):
        states.append(503 if len(states) < 2 else 200)
        if states[-1] == 503:
            route.fulfill(status=503, json={"error": "The study cannot store anything at the moment.", "retry": True})
        else:
            route.continue_()

    page.route("**/answer", refuse_at_first)
    person = Participant(page).open(here.url)
    person.begin()
    person.is_asked()
    page.click('[data-answer="first"]')
    page.wait_for_selector('[data-part="again"]:not([hidden])')
    person.is_asked()
    assert states[:3] == [503, 503, 200]
    assert here.trials[0]["response"] == "first"


# --- hidden tab ----------------------------------------------------------------------------------------------------

# Playwright keeps every tab visible (focus emulation), so the page is told what a browser would tell it.
HIDE = """
(hidden) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (hidden ? "hidden" : "visible") });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_a_tab_that_is_hidden_during_a_pair_is_flagged(serve, tab):
    here = serve(**SLOW)
    page = tab()
    person = Participant(page).open(here.url)
    person.begin()
    wait_until(lambda: here.trials)
    page.wait_for_function(ON_SCREEN, arg="first")
    page.evaluate(HIDE, True)
    assert not page.evaluate(ON_SCREEN, "first")  # taken away at once
    time.sleep(0.3)
    page.evaluate(HIDE, False)
    person.answer()
    person.is_asked()
    wait_until(lambda: begun(here)["state"] == "shown")
    first, second = here.trials
    assert happened(first) == {"hidden"}
    assert "first_duration" in first["flags"].split()  # taken away early, whatever the machine does
    assert happened(second) == set()
