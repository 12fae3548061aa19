"""How long images really are on screen: this page beside jsPsych, as the display compositor of Chromium saw it.

    python benchmarks/bench_display_time.py [--presentations 200] [--busy 2] [--out docs/benchmarks/display_time.md]

Each contestant shows photos for 1000 ms. This page plays a session against the real server; jsPsych (fetched with npm;
left out, with a word, where that is not possible) plays `image-keyboard-response` trials with preloaded images. What
counts is the tracing of Chromium's display compositor, read from the outside (`tests/e2e/compositor.py`); this page's
stored times and flags are compared with it. Conditions: the machine as it is, kept busy by --busy processes a core, and with
the compositor stopped for 150 ms now and then, so that misses are certain. The load average is printed, since nothing
is idle for sure.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.browser import chromium
from tests.e2e.compositor import MARK_CHANGES, busy, load_average, recording
from tests.e2e.participants import WIDE, Participant, Served, Studies, served

IMAGE_MS, PAUSE_MS = 1000, 100
FRAME_MS = 1000 / 60  # of headless Chromium
STOPPED_S, STOP_EVERY_S = 0.15, 1.7  # of the condition in which the compositor is stopped
ADDRESS = "http://jspsych.test"

# Answers at once, from within, so that nothing disturbs the browser while images are shown.
ANSWER = """
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const trial = document.querySelector(".trial.asking:not(.sending)");
  if (trial) setTimeout(() => trial.querySelector("[data-answer]").click(), 30);
}).observe(document.querySelector(".trial"), { attributeFilter: ["class"] }));
"""

JSPSYCH_PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/jspsych.css">
<script src="/jspsych.js"></script><script src="/plugin.js"></script><body></body>"""

JSPSYCH_RUN = """
async ({ images, duration, pause }) => {
  const jsPsych = initJsPsych();
  await new Promise((resolve) => jsPsych.pluginAPI.preloadImages(images, resolve));
  window.done = false;
  jsPsych.run(images.map((stimulus) => ({
    type: jsPsychImageKeyboardResponse, stimulus, choices: "NO_KEYS", trial_duration: duration, post_trial_gap: pause,
  }))).then(() => { window.done = true; });
}
"""


@dataclass(frozen=True)
class Shown:
    """One image: ms on screen by the compositor; this page's stored time and whether it is flagged."""

    compositor: float
    stored: float | None = None
    flagged: bool = False
    hidden: bool = False


# --- contestants -------------------------------------------------------------------------------------------------


def this_page(browser: Any, study: Served, condition: Callable[[], AbstractContextManager[None]]) -> list[Shown]:
    """A whole session on the real server."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.add_init_script(MARK_CHANGES)
    page.add_init_script(ANSWER)
    person = Participant(page).open(study.url)
    person.press("consent", "agree")
    person.press("device")
    person.sees("instructions")
    page.wait_for_timeout(1500)
    with recording(browser) as seen, condition():
        person.press("instructions")
        while study.rows("SELECT 1 FROM session WHERE state = 'completed'") == []:
            page.wait_for_timeout(500)
    stored = [
        (
            trial[f"{side}_off_ms"] - trial[f"{side}_on_ms"],
            f"{side}_duration" in trial["flags"].split(),
            "hidden" in trial["flags"],
        )
        for trial in study.trials
        for side in ("first", "second")
    ]
    context.close()
    return [Shown(real, *logged) for real, logged in zip(seen.durations, stored, strict=True)]


def jspsych(
    browser: Any, folder: Path, photos: list[Path], n: int, condition: Callable[[], AbstractContextManager[None]]
) -> list[Shown]:
    """The same images in jsPsych."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.add_init_script(MARK_CHANGES)
    files = {
        "/jspsych.js": folder / "jspsych/dist/index.browser.min.js",
        "/plugin.js": folder / "@jspsych/plugin-image-keyboard-response/dist/index.browser.min.js",
        "/jspsych.css": folder / "jspsych/css/jspsych.css",
    }
    files |= {f"/photo/{k}": path for k, path in enumerate(photos)}

    def serve(route: Any) -> None:
        name = route.request.url.removeprefix(ADDRESS)
        if name == "/":
            route.fulfill(body=JSPSYCH_PAGE, content_type="text/html")
        else:
            route.fulfill(path=files[name])

    page.route(f"{ADDRESS}/**", serve)
    page.goto(f"{ADDRESS}/")
    page.wait_for_timeout(1500)
    images = [f"/photo/{k % len(photos)}" for k in range(n)]
    with recording(browser) as seen, condition():
        page.evaluate(JSPSYCH_RUN, {"images": images, "duration": IMAGE_MS, "pause": PAUSE_MS})
        while not page.evaluate("window.done"):
            page.wait_for_timeout(2000)
    context.close()
    return [Shown(real) for real in seen.durations]


@contextmanager
def jspsych_files() -> Iterator[Path | None]:
    """Where jsPsych and its plugin are, fetched with npm; None where that is not possible."""
    with tempfile.TemporaryDirectory() as folder:
        npm = shutil.which("npm")
        packages = ["jspsych@8.3.0", "@jspsych/plugin-image-keyboard-response@2.2.0"]
        command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
        if npm is None or subprocess.run(command, cwd=folder, capture_output=True).returncode:
            yield None
        else:
            yield Path(folder) / "node_modules"


# --- conditions --------------------------------------------------------------------------------------------------


@contextmanager
def stopping(process: int) -> Iterator[None]:
    """Stop a process for a moment, again and again, at times that nobody foresees."""
    ending = threading.Event()
    rng = random.Random(0)

    def work() -> None:
        while not ending.wait(rng.uniform(0.5, 1.5) * STOP_EVERY_S):
            os.kill(process, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def compositor_process(browser: Any) -> int:
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return int(next(process["id"] for process in processes if process["type"] == "GPU"))


# --- table -------------------------------------------------------------------------------------------------------


def row(name: str, condition: str, load: float, shown: list[Shown]) -> str:
    off = [abs(one.compositor - IMAGE_MS) / FRAME_MS for one in shown]
    within = sum(frames <= 1 for frames in off)
    cells = [
        name,
        condition,
        f"{load:.1f}",
        f"{within} of {len(shown)} ({100 * within / len(shown):.1f} %)",
        f"{median(one.compositor for one in shown):.1f}",
        f"{min(one.compositor for one in shown):.0f} to {max(one.compositor for one in shown):.0f}",
    ]
    if shown[0].stored is None:  # jsPsych
        return "| " + " | ".join([*cells, "not measured", "-", "-"]) + " |"
    differences = sorted(abs(one.compositor - one.stored) for one in shown if one.stored is not None)
    missed = [one for one, frames in zip(shown, off, strict=True) if frames > 1.25]
    hits = [one for one, frames in zip(shown, off, strict=True) if frames <= 1]
    cells += [
        f"{median(differences):.2f}, {differences[int(0.99 * (len(differences) - 1))]:.1f}",
        f"{sum(one.flagged for one in missed)} of {len(missed)}",
        f"{sum(one.flagged for one in hits)} of {len(hits)}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = """| page | machine | load | within one frame | median, ms | range, ms | stored - compositor: median, 99 % (ms) | misses flagged | hits flagged |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presentations", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="processes a core that keep the machine busy")
    parser.add_argument(
        "--niceness", type=int, default=0, help="of the browser; negative (root only): before other work"
    )
    parser.add_argument("--contestants", default="this page,jsPsych 8.3")
    parser.add_argument("--conditions", default="as it is,busy,stopped")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n_busy = options.busy * len(os.sched_getaffinity(0))
    wanted = options.conditions.split(",")
    trials = (options.presentations + 1) // 2
    rows = []
    with tempfile.TemporaryDirectory() as folder, jspsych_files() as libraries:
        studies = Studies.build(Path(folder) / "build", n_images=trials + 7)
        photos = sorted((Path(folder) / "build" / "photos" / "truth").iterdir())
        settings = {
            "image_ms": IMAGE_MS, "blank_ms": PAUSE_MS, "gap_ms": PAUSE_MS, "first_blank_ms": PAUSE_MS,
            "practice_trials": 0, "test_trials": trials // 2 * 2, "reserve_trials": 1,
        }  # fmt: skip
        for number, name in enumerate(wanted):
            for contestant in options.contestants.split(","):
                if contestant.startswith("jsPsych") and libraries is None:
                    print("jsPsych could not be fetched with npm, so it is left out", file=sys.stderr)
                    continue
                with chromium(niceness=options.niceness) as browser:
                    conditions: dict[str, Callable[[], AbstractContextManager[None]]] = {
                        "as it is": nullcontext,
                        "busy": lambda: busy(n_busy),
                        "stopped": lambda: stopping(compositor_process(browser)),
                    }
                    before = load_average()
                    if contestant == "this page":
                        with served(studies.make(Path(folder) / f"study-{number}", **settings)) as study:
                            shown = this_page(browser, study, conditions[name])
                    else:
                        assert libraries is not None
                        shown = jspsych(browser, libraries, photos, options.presentations, conditions[name])
                labels = {
                    "as it is": "as it is" + (f", browser at niceness {options.niceness}" if options.niceness else ""),
                    "busy": f"busy with {n_busy} processes",
                    "stopped": f"compositor stopped for {1000 * STOPPED_S:.0f} ms now and then",
                }
                rows.append(row(contestant, labels[name], before, shown))
                print(rows[-1], flush=True)
    table = "\n".join([HEADER, *rows])
    print(table)
    if options.out:
        options.out.write_text(PAGE.format(n=options.presentations, cores=len(os.sched_getaffinity(0)), table=table))


PAGE = """# Display time

{n} photos of 1000 ms in each row, headless Chromium at 60 Hz, {cores} cores. A time on screen is the time between two swaps of
the browser's display compositor, read from its tracing: neither page is asked. To run it again:

    python benchmarks/bench_display_time.py --out docs/benchmarks/display_time.md

{table}

- *load*: processes that wanted a core in the minute before, other work on the machine included.
- *within one frame*: on screen for 1000 ms, give or take 16.7 ms.
- *stored - compositor*: how far this page's stored times are from the compositor's. They come from the compositor itself
  (Element Timing); jsPsych stores none.
- *misses flagged*: of the presentations that were off by more than 1.25 frames (a quarter is room for the clocks), how many
  the stored trial has a flag for. *hits flagged*: of those within one frame, how many have one.

This page counts animation frames and ends an exposure in the frame that comes closest to the second, seen from the moment
at which the image really appeared: when the browser stalls, the image waits, too. jsPsych ends it with a timer, however late
the image came. Where a stall falls on the end itself neither can help; this page says so in the data.
"""

if __name__ == "__main__":
    main()
