"""The display modules on simulated displays: any refresh rate, late frames, a hidden page. They run in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.browser import chromium

STATIC = Path(__file__).parents[2] / "turing_test" / "web" / "static"
ADDRESS = "http://study.test"

# A display of a given rate, in place of the browser's: frames come at once, time is made up. What is drawn reaches the
# screen `latency` ms after its frame; `late` and `missed` say in which frames something goes wrong.
DISPLAY = """
class Display {
  constructor({ hz, latency = 0, tells = true, late = {}, missed = [], hiddenAt = null, jitter = 0 }) {
    Object.assign(this, { interval: 1000 / hz, latency, tells, late, missed, hiddenAt, jitter, count: 0, drawn: [] });
    this.hidden = false;
    this.watchers = new Set();
  }
  frame = async () => {
    do { this.count += 1; } while (this.missed.includes(this.count));
    if (this.count === this.hiddenAt) this.watchers.forEach((act) => act());
    return this.now();
  };
  now() {
    return 5000 + this.count * this.interval + this.jitter * Math.sin(this.count * 12.9898) ;
  }
  mark(change, presented) {
    if (!this.tells) return;
    change.presented = 5000 + this.count * this.interval + this.latency + (this.late[this.count] ?? 0);
    presented();
  }
  watch(act) {
    this.watchers.add(act);
    return () => this.watchers.delete(act);
  }
  draw(what) {
    return () => this.drawn.push([what, this.count]);
  }
}
"""

PLAY = """
async ({ display, duration, delay }) => {
  const { Presenter } = await import("/static/participant/presentation.js");
  const screen = new Display(display);
  const presenter = new Presenter(screen.frame, screen, screen);
  await presenter.calibrate();
  const before = await presenter.change(() => {});
  const shown = await presenter.expose({
    before, delay, duration, draw: screen.draw("on"), clear: screen.draw("off"),
  });
  return { record: await shown.record(), interval: presenter.interval.ms, before, drawn: screen.drawn };
}
"""


@pytest.fixture(scope="module")
def page():
    with chromium() as browser:
        tab = browser.new_page()
        tab.route(
            f"{ADDRESS}/static/**", lambda route: route.fulfill(path=STATIC / route.request.url.split("/static/")[1])
        )
        tab.route(f"{ADDRESS}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        tab.goto(f"{ADDRESS}/")
        yield tab


def play(page, *, duration=1000, delay=600, **display):
    """Show one image on a simulated display; what was measured of it."""
    script = f"(options) => {{ {DISPLAY}; return ({PLAY})(options); }}"
    return page.evaluate(script, {"display": display, "duration": duration, "delay": delay})


def time_of(shown, what):
    return next(count for name, count in shown["drawn"] if name == what)


@pytest.mark.parametrize("hz", [24, 30, 50, 59.94, 60, 72, 75, 85, 90, 100, 120, 144, 165, 240, 360])
@pytest.mark.parametrize("latency", [0, 7, 40])
def test_an_image_is_shown_for_the_frames_nearest_to_a_second_at_any_rate(page, hz, latency):
    shown = play(page, hz=hz, latency=latency)
    assert shown["interval"] == pytest.approx(1000 / hz, rel=1e-6)
    assert shown["record"]["frames"] == round(hz)
    assert shown["record"]["off_ms"] - shown["record"]["on_ms"] == pytest.approx(1000, abs=500 / hz)
    assert shown["record"]["largest_gap_ms"] == pytest.approx(1000 / hz)
    assert shown["record"]["clock"] == "presented"


@pytest.mark.parametrize("duration", [20, 100, 333, 1000, 2500])
def test_other_durations_are_met_to_half_a_frame(page, duration):
    record = play(page, hz=60, duration=duration)["record"]
    assert record["off_ms"] - record["on_ms"] == pytest.approx(duration, abs=1000 / 60 / 2)


def test_the_blank_before_is_met_to_half_a_frame(page):
    shown = play(page, hz=144, delay=900)
    assert shown["record"]["on_ms"] - shown["before"]["presented"] == pytest.approx(900, abs=1000 / 144 / 2)


def test_jittering_frame_times_do_not_move_the_end(page):
    assert play(page, hz=60, jitter=2)["record"]["frames"] == 60


def test_without_the_compositors_word_times_are_those_of_frames(page):
    record = play(page, hz=60, latency=20, tells=False)["record"]
    assert record["clock"] == "frame"
    assert record["off_ms"] - record["on_ms"] == pytest.approx(1000)


def frame_of_onset(page, **display):
    return time_of(play(page, **display), "on")


def test_an_image_that_came_late_goes_as_much_later(page):
    onset = frame_of_onset(page, hz=60)
    record = play(page, hz=60, late={onset: 50})["record"]
    assert record["off_ms"] - record["on_ms"] == pytest.approx(1000, abs=1000 / 60 / 2)
    assert record["frames"] == 63


def test_an_image_that_went_late_says_so(page):
    end = time_of(play(page, hz=60), "off")
    record = play(page, hz=60, late={end: 50})["record"]
    assert record["off_ms"] - record["on_ms"] == pytest.approx(1050)


def test_missed_frames_show_as_the_largest_gap_and_lengthen_nothing(page):
    onset = frame_of_onset(page, hz=60)
    record = play(page, hz=60, missed=[onset + 10, onset + 11, onset + 12])["record"]
    assert record["largest_gap_ms"] == pytest.approx(4 * 1000 / 60)
    assert record["frames"] == 57
    assert record["off_ms"] - record["on_ms"] == pytest.approx(1000)


def test_frames_missed_at_the_end_lengthen_the_exposure_and_are_recorded(page):
    end = time_of(play(page, hz=60), "off")
    record = play(page, hz=60, missed=[end, end + 1])["record"]
    assert record["off_ms"] - record["on_ms"] == pytest.approx(1000 + 2 * 1000 / 60)


def test_a_hidden_page_loses_the_image_at_once_and_is_marked(page):
    onset = frame_of_onset(page, hz=60)
    shown = play(page, hz=60, hiddenAt=onset + 20)
    assert shown["record"]["hidden"] is True
    assert time_of(shown, "off") == onset + 20
    assert [name for name, _ in shown["drawn"]] == ["on", "off"]  # and it does not come back


def test_a_page_hidden_during_the_blank_starts_it_afresh(page):
    onset = frame_of_onset(page, hz=60, delay=600)
    shown = play(page, hz=60, delay=600, hiddenAt=onset - 6)
    assert shown["record"]["hidden"] is True
    assert time_of(shown, "on") == onset - 6 + 36  # 600 ms after the page was back
    assert shown["record"]["off_ms"] - shown["record"]["on_ms"] == pytest.approx(1000)


def test_an_image_pixel_is_a_css_pixel_and_stays_crisp_on_dense_displays(page):
    colors = page.evaluate(
        """async () => {
          const { drawCrisp } = await import("/static/participant/stage.js");
          const image = await createImageBitmap(new ImageData(new Uint8ClampedArray(
            [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255]), 2, 2));
          const canvas = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });
          drawCrisp(canvas, image);
          const pixels = canvas.getContext("2d").getImageData(0, 0, 6, 6).data;
          return Array.from({ length: 36 }, (_, k) => [...pixels.slice(4 * k, 4 * k + 3)].join(" "));
        }"""
    )
    assert set(colors) == {"255 0 0", "0 255 0", "0 0 255", "255 255 255"}
    assert [colors[2], colors[3]] == ["255 0 0", "0 255 0"]


def test_browsers_are_recorded_by_family_only(page):
    agents = {
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36": "Chrome",
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36 Edg/120": "Edge",
        "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0": "Firefox",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Safari/604.1": "Safari",
        "curl/8.0": "other",
    }
    families = page.evaluate(
        """async (agents) => {
          const { browserFamily } = await import("/static/participant/display.js");
          return agents.map(browserFamily);
        }""",
        list(agents),
    )
    assert families == list(agents.values())
