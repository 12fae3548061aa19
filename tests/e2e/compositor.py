"""When images really came and went: the display compositor's swaps, by Chromium's own tracing.

The page's log is not asked. A script put into the page before its own marks in the trace when something is drawn on a
canvas or taken away. The trace follows each frame from the page to the display compositor (viz), which notes when it puts
it on screen.
"""

from __future__ import annotations

import bisect
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MARK_CHANGES = """
for (const [method, name] of [["drawImage", "on"], ["clearRect", "off"]]) {
  const original = CanvasRenderingContext2D.prototype[method];
  CanvasRenderingContext2D.prototype[method] = function (...options) {
    performance.mark(`screen ${name}`);
    return original.apply(this, options);
  };
}
new MutationObserver((changes) => {
  if (changes.some((change) => [...change.removedNodes].some((node) => node.querySelector?.("canvas") || node.tagName === "CANVAS")))
    performance.mark("screen off");
}).observe(document, { childList: true, subtree: true });
"""

SWAP = "Display::DrawAndSwap"
# A frame, and its stages: the page's part is done; the display compositor has it.
FRAME, COMMITTED, SUBMITTED = "PipelineReporter", "Commit", "SubmitCompositorFrameToPresentationCompositorFrame"
CATEGORIES = ["blink.user_timing", "viz", "disabled-by-default-devtools.timeline.frame"]


@dataclass
class Recording:
    """What was on screen from when to when, ms on the tracing clock."""

    on_off: list[tuple[float, float]] = field(default_factory=list)

    @property
    def durations(self) -> list[float]:
        """Display time of each image, ms."""
        return [off - on for on, off in self.on_off]


@contextmanager
def recording(browser: Any) -> Iterator[Recording]:
    """Watch the compositor; the recording is filled in at the end."""
    session = browser.new_browser_cdp_session()
    events: list[dict[str, Any]] = []
    complete: list[bool] = []
    session.on("Tracing.dataCollected", lambda chunk: events.extend(chunk["value"]))
    session.on("Tracing.tracingComplete", lambda _: complete.append(True))
    config = {
        "includedCategories": CATEGORIES,
        "excludedCategories": ["*"],
        "traceBufferSizeInKb": 400_000,
    }
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
    found = Recording()
    yield found
    session.send("Tracing.end")
    while not complete:
        browser.contexts[0].pages[0].wait_for_timeout(50)
    found.on_off = _on_off(events)
    session.detach()


def _on_off(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    result = []
    onset = None
    for name, time in _changes(events):
        if name == "on":
            onset = time
        elif onset is not None:
            result.append((onset, time))
            onset = None
    return result


def _changes(events: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Marks in order, each with the time of the swap that put it on screen, ms."""
    swaps = sorted(
        (event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == SWAP and "dur" in event
    )
    frames = _frames(events)
    for event in sorted((e for e in events if e["name"].startswith("screen ")), key=lambda e: e["ts"]):
        # Drawn in a frame (this page) or between two (timers): the first commit after it carries it.
        ours = frames.get(event["pid"], [])
        j = bisect.bisect_left(ours, (event["ts"], 0.0))
        if j < len(ours) and (k := bisect.bisect_left(swaps, (ours[j][1], 0.0))) < len(swaps):
            yield event["name"].removeprefix("screen "), swaps[k][1] / 1000


def _frames(events: list[dict[str, Any]]) -> dict[int, list[tuple[float, float]]]:
    """By process, in order: when each frame was committed by the page, and when it was handed to the display compositor.

    Beginnings of stages alone are read: the trace mixes up the names of endings.
    """
    committed: dict[tuple[int, str], float] = {}  # numbers of frames are used again
    found: dict[int, list[tuple[float, float]]] = {}
    for event in sorted((e for e in events if e["ph"] == "b" and "id2" in e), key=lambda e: e["ts"]):
        frame = (event["pid"], event["id2"].get("local", ""))
        if event["name"] == FRAME:
            committed.pop(frame, None)
        elif event["name"] == COMMITTED:
            committed[frame] = event["ts"]
        elif event["name"] == SUBMITTED and frame in committed:
            found.setdefault(event["pid"], []).append((committed.pop(frame), event["ts"]))
    return {process: sorted(frames) for process, frames in found.items()}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the machine busy with so many processes that never rest; 0 leaves it alone."""
    code = "import hashlib\nwhile True: hashlib.sha256(bytes(1 << 16)).digest()"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def load_average() -> float:
    """Processes that wanted a core in the last minute, on average."""
    return os.getloadavg()[0]
