"""When images really came and went: the display compositor's swaps, by Chromium's own tracing.

The page's log is not asked. A script put into the page before its own marks in the trace when something is drawn on a
canvas or taken away; the display compositor (viz) notes each time it puts new content on screen. Nothing else moves on
these pages, so the first swap after a mark is the one that shows that change.
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
        "includedCategories": ["blink.user_timing", "viz"],
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
    swaps = sorted((event["ts"] + event["dur"]) / 1000 for event in events if event["name"] == SWAP and "dur" in event)
    marks = sorted(
        (event["ts"] / 1000, event["name"].removeprefix("screen "))
        for event in events
        if event["name"].startswith("screen ")
    )
    result = []
    onset = None
    for time, name in marks:
        k = bisect.bisect_right(swaps, time)
        if k == len(swaps):
            break
        if name == "on":
            onset = swaps[k]
        elif onset is not None:
            result.append((onset, swaps[k]))
            onset = None
    return result


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
