"""Which trials are marked, and why; marked trials stay in the data, and the analysis may leave them out.

Two kinds of flags: what happened to an honest participant (a hidden page, a late frame, a window too small), and what no
page of ours sends (`SUSPECT`): times that cannot be, images that were never fetched. The server's own clock is the witness
for the second kind; what a page says of itself proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.trials.columns import SUSPECT_FLAGS
from turing_test.study.protocol import Protocol

__all__ = [
    "FLAGS",
    "MAX_ERROR_MS",
    "SUSPECT",
    "TOLERANCE_FRAMES",
    "Exposure",
    "Showing",
    "least_ms",
    "timing_flags",
]

TOLERANCE_FRAMES = 1.25
"""Display times are whole frames: one frame too many or too few is within the protocol, two are not; a quarter of a
frame is room for the clock."""

MAX_ERROR_MS = 50.0
"""No image may be on screen longer or shorter by more, however long the frames of the display are: 5 % of a second."""

ENDING_MS = 100.0
"""An image that an answer ends goes in the next frame that the page can draw; so much later is too long."""

LEEWAY_MS = 50.0
"""Of the server's clock: the changes of a trial are up to half a frame early each."""

CLOCK_DRIFT = 1e-3
"""Share by which the clocks of two machines may run apart, while an image stays for minutes."""

SLOW_MS = 2000.0
"""Beyond what a trial takes: for two requests on their way and the display's last word."""

FLAGS = {
    "hidden": "The page was hidden while an image should have been on screen.",
    "cropped": "A part of an image was outside the window, or outside the part of the frame that could be seen.",
    "zoomed": "The page was zoomed, or moved to a display of another density, while an image was on screen.",
    "first_duration": f"The first image was on screen for a time more than one frame, or {MAX_ERROR_MS:.0f} ms, off; or stayed over "
    f"{ENDING_MS:.0f} ms longer than the answer that ends it.",
    "second_duration": "The same of the second image, or of a further one.",
    "low_refresh": "The display refreshed less often than min_refresh_hz.",
    "untimed": "Answered without display times: a simulated participant.",
    "reloaded": "The page was loaded anew between the images and the answer, or while images stayed until the answer.",
    "interrupted": "The images were not fully shown; another trial took this one's place, if the reserve had one.",
    "damaged": "An image of the trial was damaged on the server's disk; another trial took this one's place, if the reserve had one.",
    "slow_start": "By the server's clock the images took over 2 s longer than they should: a bad line, or a longer look.",
    "too_fast": "By the server's clock the images were reported as shown sooner than they can be: no page of this study.",
    "implausible": "The reported times contradict each other or the order of the images: no page of this study.",
    "not_fetched": "The images were not fetched to their end: no page of this study.",
    "looked_again": "An image was fetched far more often than a page does.",
}
"""Every flag and its meaning."""

SUSPECT = SUSPECT_FLAGS
"""Flags of trials that no page of a study sends: scripts, or people with the developer's tools."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What the page measured of one image.

    Attributes
    ----------
    on_ms, off_ms : float
        When it came and went, on the page's own clock.
    frames : int
        Animation frames in between.
    largest_gap_ms : float
        The longest time between two of them.
    hidden : bool
        Whether the page was hidden meanwhile.
    clock : {"presented", "frame"}
        Where the times come from: the compositor, or the animation frames that were asked for.
    cropped : bool
        Whether a part of it could not be seen.
    zoomed : bool
        Whether the device's pixels per image pixel changed meanwhile.
    """

    on_ms: float
    off_ms: float
    frames: int
    largest_gap_ms: float
    hidden: bool
    clock: str = "frame"
    cropped: bool = False
    zoomed: bool = False

    @property
    def shown_ms(self) -> float:
        """Time on screen."""
        return self.off_ms - self.on_ms


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What is known of how one trial was shown.

    Attributes
    ----------
    exposures : sequence of Exposure
        Of the images in order, one or more.
    interval_ms : float
        Time between two frames of the display, as the page measured it now.
    first_interval_ms : float
        The same as it was measured at the beginning: a page that says more now gains no tolerance by it.
    resolution_ms : float
        How coarse the compositor's clock is.
    took_ms : float
        From the request that began the trial to the one with the display times, on the server's clock.
    fetched : bool
        Whether the page has shown that it holds all images of the trial.
    response_ms : float or None
        From the last onset to the answer that ended the image; None where no answer did.
    """

    exposures: Sequence[Exposure]
    interval_ms: float
    first_interval_ms: float
    resolution_ms: float = 0.0
    took_ms: float | None = None
    fetched: bool = True
    response_ms: float | None = None

    def stayed_ms(self) -> float:
        """From the first onset to the end of what the page says that it showed, the answer that ended it included."""
        if not self.exposures:
            return 0.0
        first, last = self.exposures[0], self.exposures[-1]
        return last.on_ms - first.on_ms + max(last.shown_ms, self.response_ms or 0.0)


def least_ms(protocol: Protocol, *, answered: bool = False) -> float:
    """The least time that a page takes from the begin of a trial to its display times, or to the answer.

    Parameters
    ----------
    protocol : Protocol
    answered : bool
        Until the answer can be given.

    Returns
    -------
    float
        Milliseconds; 0 where images are shorter than the leeway. What an answer may end can have been as short as one likes.
    """
    images = protocol.images_per_trial if protocol.sequential else 1
    fixed = images - protocol.answer_ends
    total: float = min(protocol.first_blank_ms, protocol.blank_ms) + (images - 1) * protocol.gap_ms
    if fixed:  # else it may be without a limit
        total += fixed * (protocol.limit_ms + protocol.mask_ms)
    if answered and not protocol.answer_ends:
        total += protocol.answer_delay_ms
    return max(0.0, total - LEEWAY_MS)


def timing_flags(showing: Showing, protocol: Protocol) -> list[str]:
    """Flags of a trial whose images were shown.

    Parameters
    ----------
    showing : Showing
    protocol : Protocol

    Returns
    -------
    list of str
        Keys of `FLAGS`.
    """
    exposures = showing.exposures
    hidden = any(exposure.hidden for exposure in exposures)
    interval = min(showing.interval_ms, showing.first_interval_ms)
    flags = ["hidden"] if hidden else []
    if any(exposure.cropped for exposure in exposures):
        flags.append("cropped")
    if any(exposure.zoomed for exposure in exposures):
        flags.append("zoomed")
    for k, exposure in enumerate(exposures):
        allowed = _allowed_ms(exposure, interval, showing.resolution_ms)
        may_end = exposure is exposures[-1] or not protocol.sequential
        answered_ms = math.inf if showing.response_ms is None or not may_end else showing.response_ms
        error = exposure.shown_ms - min(protocol.limit_ms, answered_ms)
        if not -allowed <= error <= (allowed if answered_ms >= protocol.limit_ms else ENDING_MS):
            flags.append("second_duration" if k else "first_duration")
    if showing.interval_ms > 1000 / protocol.min_refresh_hz:
        flags.append("low_refresh")
    if _is_implausible(showing, protocol, interval):
        flags.append("implausible")
    if not showing.fetched:
        flags.append("not_fetched")
    if showing.took_ms is not None and showing.took_ms >= 0:  # below 0 the clock was set back: it is no witness
        least = least_ms(protocol)
        if protocol.answer_ends:  # as long as the page itself says
            blank = min(protocol.first_blank_ms, protocol.blank_ms)
            least = max(least, blank + showing.stayed_ms() * (1 - CLOCK_DRIFT) - LEEWAY_MS)
        # A hidden page lost its image early.
        fixed = exposures if not protocol.answer_ends else exposures[:-1] if protocol.sequential else ()
        lost = sum(max(0.0, protocol.limit_ms - exposure.shown_ms) for exposure in fixed if exposure.hidden)
        if showing.took_ms < least - lost:
            flags.append("too_fast")
        # A page that was hidden waits until it is back.
        elif showing.took_ms > least + _first_blank_more(protocol) + SLOW_MS and not hidden:
            flags.append("slow_start")
    return list(dict.fromkeys(flags))


def _first_blank_more(protocol: Protocol) -> float:
    """How much longer the blank before a pair may be than `least_ms` takes it to be."""
    return abs(protocol.first_blank_ms - protocol.blank_ms)


def _allowed_ms(exposure: Exposure, interval_ms: float, resolution_ms: float) -> float:
    clock_ms = resolution_ms if exposure.clock == "presented" else 0.0
    return min(interval_ms + max((TOLERANCE_FRAMES - 1) * interval_ms, clock_ms), MAX_ERROR_MS)


def _is_implausible(showing: Showing, protocol: Protocol, interval_ms: float) -> bool:
    """Whether no display can have shown the images like that: order, gap, and frames of each; or nothing ended them."""
    exposures = showing.exposures
    if protocol.limit_ms == math.inf and showing.response_ms is None:
        return True
    for exposure in exposures:
        most_frames = exposure.shown_ms / interval_ms * 1.5 + 3
        gaps_ms = exposure.frames * exposure.largest_gap_ms
        if exposure.shown_ms < 0 or exposure.frames > most_frames:
            return True
        if not exposure.hidden and gaps_ms + LEEWAY_MS + 2 * interval_ms < exposure.shown_ms:
            return True
    if len(exposures) < 2:
        return False
    if not protocol.sequential:
        onsets = [exposure.on_ms for exposure in exposures]
        return max(onsets) - min(onsets) > LEEWAY_MS
    first, second = exposures
    return second.on_ms - first.off_ms < protocol.mask_ms + protocol.gap_ms - MAX_ERROR_MS
