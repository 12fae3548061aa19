"""Crowd platforms: the redirect of Prolific; preview, acceptance and submission of MTurk inside its frame."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

import pytest

from tests.e2e.browser import chromium
from tests.e2e.participants import ON_SCREEN, Participant

PROLIFIC = {"PROLIFIC_PID": "5f0c1e2d3b4a", "STUDY_ID": "60aa", "SESSION_ID": "70bb"}
MTURK = {"hitId": "3HIT", "turkSubmitTo": "https://workersandbox.mturk.com"}
NOT_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"
TRY_COOKIE = """() => { document.cookie = "probe=1; SameSite=None; Secure"; return document.cookie; }"""


@pytest.fixture(scope="module")
def browser():
    """Chromium that blocks third-party cookies."""
    with chromium("--test-third-party-cookie-phaseout") as opened:
        yield opened


def take_part(person, n_trials=2):
    person.press("consent", "agree")
    person.press("device")
    person.press("instructions")
    for _ in range(n_trials):
        person.answer()


@pytest.fixture
def prolific(tab):
    """A tab whose visit to Prolific is answered here."""
    page = tab()
    page.route(
        "https://app.prolific.com/**", lambda route: route.fulfill(body="<h1>Prolific</h1>", content_type="text/html")
    )
    return page


def test_prolific_gets_its_participant_back_with_the_code(serve, prolific):
    here = serve(practice_trials=0, test_trials=2, prolific_completed="DONE42", prolific_declined="NO0")
    person = Participant(prolific).open(f"{here.url}/?{urlencode(PROLIFIC)}")
    take_part(person)
    prolific.wait_for_url("https://app.prolific.com/submissions/complete?cc=DONE42")
    session = here.session
    assert (session["platform"], session["state"], session["verified"]) == ("prolific", "completed", 0)
    assert PROLIFIC["PROLIFIC_PID"] not in repr(here.rows("SELECT * FROM session"))


def test_prolific_gets_the_code_of_declined_consent(serve, prolific):
    here = serve(prolific_completed="DONE42", prolific_declined="NO0")
    person = Participant(prolific).open(f"{here.url}/?{urlencode(PROLIFIC)}")
    person.press("consent", "decline")
    prolific.wait_for_url("https://app.prolific.com/submissions/complete?cc=NO0")


def test_nobody_takes_part_twice_and_everybody_may_come_back(serve, tab):
    here = serve(practice_trials=0, test_trials=2)
    person = Participant(tab()).open(f"{here.url}/?{urlencode(PROLIFIC)}")
    person.begin()
    person.answer()
    again = Participant(tab()).open(f"{here.url}/?{urlencode(PROLIFIC)}")  # another device, the same participation
    again.press("consent", "agree")
    again.press("resume")
    again.answer()
    again.sees("completed")
    other = Participant(tab()).open(f"{here.url}/?{urlencode({**PROLIFIC, 'SESSION_ID': '71cc'})}")
    other.press("consent", "agree")
    other.sees("refused")
    assert "already" in other.page.inner_text('[data-screen="refused"]')


@pytest.mark.parametrize("ended", ["withdrawn", "completed"])
def test_who_comes_back_with_another_submission_is_handed_back(serve, prolific, tab, ended):
    here = serve(practice_trials=0, test_trials=2, prolific_completed="DONE42", prolific_declined="NO0")
    first = Participant(tab()).open(f"{here.url}/?{urlencode(PROLIFIC)}")
    first.page.route("https://app.prolific.com/**", lambda route: route.fulfill(body="", content_type="text/html"))
    if ended == "completed":
        take_part(first)
    else:
        first.press("consent", "agree")
        first.sees("device")
        first.page.click('[data-action="withdraw"]')
        first.page.click('dialog [value="yes"]')
    first.page.wait_for_url("https://app.prolific.com/**")
    assert here.session["state"] == ended
    again = Participant(prolific).open(f"{here.url}/?{urlencode({**PROLIFIC, 'SESSION_ID': '71cc'})}")
    again.press("consent", "agree")
    again.sees("refused")
    assert "already" in prolific.inner_text('[data-screen="refused"]')
    prolific.wait_for_url("https://app.prolific.com/submissions/complete?cc=NO0")
    assert here.session["state"] == ended  # and nothing else is stored


@pytest.mark.parametrize("declined", ["", "DONE42"])  # no code, and one that would pay twice
def test_without_a_fitting_code_the_submission_is_to_be_returned(serve, tab, declined):
    here = serve(prolific_completed="DONE42", prolific_declined=declined)
    Participant(tab()).open(f"{here.url}/?{urlencode(PROLIFIC)}").press("consent", "agree")
    while here.rows("SELECT * FROM session") == []:
        pass
    again = Participant(tab()).open(f"{here.url}/?{urlencode({**PROLIFIC, 'SESSION_ID': '71cc'})}")
    again.press("consent", "agree")
    again.sees("refused")
    assert "Please return this task on the platform" in again.page.inner_text('[data-screen="refused"]')
    assert "DONE42" not in again.page.content()


@pytest.mark.parametrize(("query", "returns"), [(PROLIFIC, True), ({}, False)])
def test_a_browser_that_cannot_show_the_study_tells_how_to_leave(serve, tab, query, returns):
    here = serve()
    page = tab()
    page.add_init_script("delete globalThis.createImageBitmap")
    page.goto(f"{here.url}/?{urlencode(query)}")
    Participant(page).sees("incompatible")
    assert page.is_visible('[data-screen="incompatible"] [data-part="give-back"]') == returns


@pytest.fixture
def platform():
    """A site of another origin that shows the study in a frame, as MTurk does."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            address = parse_qs(self.path.partition("?")[2])["frame"][0]
            place = parse_qs(self.path.partition("?")[2])
            height, above = place.get("height", ["750"])[0], place.get("above", ["0"])[0]
            page = (
                f'<!doctype html><div style="height: {above}px"></div>'
                f'<iframe width="900" height="{height}" src="{address.replace("&", "&amp;")}"></iframe>'
                '<div style="height: 2000px"></div>'
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


class Framed(Participant):
    """Somebody at the page inside the platform's frame."""

    def __init__(self, page, frame):
        super().__init__(frame)
        self.tab = page


def enter(page, platform, here, query, **place):
    page.goto(f"{platform}/?{urlencode({'frame': f'{here.url}/?{urlencode(query)}', **place})}")
    return Framed(page, page.frames[1])


def test_mturk_preview_then_accepted_then_submitted_without_cookies(serve, platform, tab):
    submitted = []

    def submit(route):
        submitted.append((route.request.url, route.request.method, parse_qs(route.request.post_data)))
        route.fulfill(body="<h1>Submitted</h1>", content_type="text/html")

    here = serve(practice_trials=0, test_trials=2)
    page = tab()
    page.route("https://workersandbox.mturk.com/**", submit)
    page.route(f"{here.url}/**", lambda route: let_in(route, platform))

    preview = enter(page, platform, here, {"assignmentId": NOT_ACCEPTED, "hitId": "3HIT"})
    preview.sees("consent")
    preview.page.wait_for_selector('[data-part="preview"]:not([hidden])')
    assert not preview.page.is_visible('[data-action="agree"]')
    assert here.rows("SELECT * FROM session") == []

    person = enter(page, platform, here, {**MTURK, "assignmentId": "3ASSIGN", "workerId": "A1WORKER"})
    person.sees("consent")
    assert person.page.evaluate(TRY_COOKIE) == ""
    take_part(person)
    person.sees("completed")
    session = here.session
    with page.expect_request("https://workersandbox.mturk.com/**"):
        person.page.click('[data-screen="completed"] [data-part="form"] button')
    page.wait_for_selector("iframe")
    (sent,) = submitted
    assert sent[:2] == ("https://workersandbox.mturk.com/mturk/externalSubmit", "POST")
    assert sent[2] == {"assignmentId": ["3ASSIGN"], "code": [session["completion_code"]]}
    assert (session["platform"], session["state"]) == ("mturk", "completed")
    assert page.context.cookies() == []
    assert here.trials[0]["first_clock"] == "presented"  # also without isolation from other origins


WORKER = {**MTURK, "assignmentId": "3ASSIGN", "workerId": "A1WORKER"}


def test_images_are_whole_in_a_frame_of_400_pixels(serve, platform, tab):
    here = serve(practice_trials=0, test_trials=2, image_ms=500, platforms=("mturk",))
    page = tab()
    page.route(f"{here.url}/**", lambda route: let_in(route, platform))
    person = enter(page, platform, here, WORKER, height=400)
    person.press("consent", "agree")
    person.press("device")
    person.press("instructions")
    for _ in range(2):
        person.page.wait_for_function(ON_SCREEN, arg="first")
        for canvas in person.page.query_selector_all(".trial canvas"):
            top = canvas.evaluate("(element) => element.getBoundingClientRect().top")
            assert 0 <= top <= 400 - 256
        person.answer()
    person.sees("completed")
    assert not [trial for trial in here.trials if "cropped" in trial["flags"]]


def test_a_frame_of_which_a_part_is_out_of_view_is_waited_for(serve, platform, tab):
    here = serve(practice_trials=0, test_trials=2, image_ms=3000, platforms=("mturk",))
    page = tab()
    page.route(f"{here.url}/**", lambda route: let_in(route, platform))
    person = enter(page, platform, here, WORKER, height=600, above=100)
    person.press("consent", "agree")
    person.press("device")
    person.page.wait_for_selector('[data-screen="instructions"]:not([hidden])')
    page.evaluate("scrollTo(0, 400)")  # the platform's page: the upper part of the frame is gone
    person.page.wait_for_timeout(200)
    person.page.evaluate("""document.querySelector('[data-screen="instructions"] [data-action="next"]').click()""")
    person.page.wait_for_selector(".trial.unseen .hint")
    page.wait_for_timeout(1500)
    assert here.trials == []
    page.evaluate("scrollTo(0, 100)")
    person.page.wait_for_function(ON_SCREEN, arg="second")
    page.evaluate("scrollTo(0, 500)")
    page.wait_for_timeout(600)
    page.evaluate("scrollTo(0, 100)")
    person.answer()
    person.answer()
    person.sees("completed")
    assert ["cropped" in trial["flags"].split() for trial in here.trials] == [True, False]


def test_cookies_are_blocked_in_frames_of_this_browser_only(serve, tab):
    """Without which the test above would show nothing."""
    page = tab()
    Participant(page).open(serve().url)
    assert page.evaluate(TRY_COOKIE) == "probe=1"


def let_in(route, platform):
    """The server's answer, with the test's platform among those that may frame it."""
    answer = route.fetch(max_redirects=0)
    headers = dict(answer.headers)
    policy = headers.get("content-security-policy", "")
    if policy:
        assert "https://workersandbox.mturk.com" in policy.partition("frame-ancestors")[2]
        headers["content-security-policy"] = policy.replace("frame-ancestors", f"frame-ancestors {platform}")
    route.fulfill(response=answer, headers=headers)


def test_other_sites_cannot_frame_the_page(serve, platform, browser):
    here = serve()
    page = browser.new_page()
    enter(page, platform, here, {**MTURK, "assignmentId": "3ASSIGN", "workerId": "A1WORKER"})
    page.wait_for_timeout(300)
    assert page.frames[1].query_selector("[data-screen]") is None
    page.close()
