"""Which measured display times are marked; marked trials stay in the data, and the analysis may leave them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FLAGS", "TOLERANCE_FRAMES", "Exposure", "timing_flags"]

TOLERANCE_FRAMES = 1.25
"""Display times are whole frames: one frame too many or too few is within the protocol, two are not; a quarter of a
frame is room for the clock."""

FLAGS = {
    "hidden": "The page was hidden while an image should have been on screen.",
    "first_duration": "The first image was on screen for a time more than one frame off.",
    "second_duration": "The second image was on screen for a time more than one frame off.",
    "untimed": "Answered without display times: a simulated participant.",
    "reloaded": "The page was loaded anew between the images and the answer.",
    "interrupted": "The images were not fully shown; another trial took this one's place, if the reserve had one.",
}
"""Every flag and its meaning."""


@dataclass(frozen=True)
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
    """

    on_ms: float
    off_ms: float
    frames: int
    largest_gap_ms: float
    hidden: bool
    clock: str = "frame"

    @property
    def shown_ms(self) -> float:
        """Time on screen."""
        return self.off_ms - self.on_ms


def timing_flags(
    exposures: Sequence[Exposure], image_ms: int, interval_ms: float, resolution_ms: float = 0.0
) -> list[str]:
    """Flags of a trial whose images were shown.

    Parameters
    ----------
    exposures : sequence of Exposure
        Of the first and, where there is one, the second image.
    image_ms : int
        How long each should have been on screen.
    interval_ms : float
        Measured time between two frames of the display.
    resolution_ms : float
        How coarse the compositor's clock is.

    Returns
    -------
    list of str
        Keys of `FLAGS`.
    """
    flags = ["hidden"] if any(exposure.hidden for exposure in exposures) else []
    for side, exposure in zip(("first", "second"), exposures, strict=False):
        clock_ms = resolution_ms if exposure.clock == "presented" else 0.0
        allowed = interval_ms + max((TOLERANCE_FRAMES - 1) * interval_ms, clock_ms)
        if abs(exposure.shown_ms - image_ms) > allowed:
            flags.append(f"{side}_duration")
    return flags
