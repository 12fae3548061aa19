"""Studies of real photos, served by the real server, and participants who click through them in a real browser."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from turing_test.server.local_server import local_server
from turing_test.stimuli.create import create_study
from turing_test.study.protocol import Protocol
from turing_test.study.study_file import format_protocol
from turing_test.study.study_folder import STUDY_FILE, Study, read_study

WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 360, "height": 740}
QUICK = {
    "first_blank_ms": 100, "blank_ms": 50, "image_ms": 60, "gap_ms": 50, "answer_delay_ms": 20, "feedback_ms": 300,
    "practice_trials": 1, "test_trials": 4, "vigilance_trials": 0, "reserve_trials": 3, "min_width": 320,
    "platforms": ("mturk", "prolific"),
}  # fmt: skip
"""A session of seconds, for all that is not about timing."""

ON_SCREEN = """(slot) => {
  const canvas = document.querySelector(`[data-slot="${slot}"] canvas`);
  return canvas.getContext("2d").getImageData(9, 9, 1, 1).data[3] > 0;
}"""
"""For a page: whether an image is on the stage; the argument is "first" or "second"."""


def write_photos(folder: Path, n_images: int, size: int = 256) -> None:
    """Folders `truth`, `pale` and `turned` of photos: true, half the saturation, hues turned."""
    import skimage.data
    from PIL import Image
    from skimage.color import hsv2rgb, rgb2hsv

    photos = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    rng = np.random.default_rng(0)
    for name in ("truth", "pale", "turned"):
        (folder / name).mkdir(parents=True)
    for k in range(n_images):
        photo = photos[k % len(photos)]
        top, left = (int(rng.integers(0, side - size + 1)) for side in photo.shape[:2])
        truth = photo[top : top + size, left : left + size]
        hsv = rgb2hsv(truth)
        pale, turned = hsv * [1, 0.5, 1], np.dstack([(hsv[..., 0] + 0.3) % 1, hsv[..., 1], hsv[..., 2]])
        for name, image in (("truth", truth), ("pale", hsv2rgb(pale)), ("turned", hsv2rgb(turned))):
            rgb8 = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
            Image.fromarray(rgb8).save(folder / name / f"photo {k:03}.png")


@dataclass
class Studies:
    """Makes studies that differ in their protocol only: the stimuli are built once."""

    built: Path

    @classmethod
    def build(cls, folder: Path, n_images: int = 10) -> Studies:
        """Photos and stimuli, vigilance images and plates included."""
        write_photos(folder / "photos", n_images)
        settings = {**QUICK, "name": "e2e", "color_vision": True, "test_trials": 5, "vigilance_trials": 1}
        methods = {name: folder / "photos" / name for name in ("pale", "turned")}
        create_study(folder / "study", folder / "photos" / "truth", methods, settings=settings)
        return cls(folder / "study")

    def make(self, folder: Path, preset: str = "zhang2016", **changes: Any) -> Study:
        """A study in a new folder; quick unless told otherwise."""
        settings: dict[str, Any] = {**QUICK, "name": "e2e", "color_vision": False}
        if preset != "zhang2016":
            settings |= {"gap_ms": 50 if preset == "preference" else 0}
            settings |= {"feedback_ms": 300, "min_width": 640} if preset == "simultaneous" else {"feedback_ms": 0}
        protocol = Protocol.of_preset(preset, **{**settings, **changes})
        shutil.copytree(
            self.built, folder, copy_function=os.link, ignore=shutil.ignore_patterns(STUDY_FILE, "secret.key")
        )
        shutil.copy(self.built / "secret.key", folder)
        (folder / STUDY_FILE).write_text(format_protocol(protocol))
        return replace(read_study(folder))


@dataclass
class Served:
    """A study on its server."""

    study: Study
    url: str

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the database holds, read beside the server."""
        with closing(sqlite3.connect(self.study.database)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, values)]

    @property
    def session(self) -> dict[str, Any]:
        """The only session."""
        (row,) = self.rows("SELECT * FROM session")
        return row

    @property
    def trials(self) -> list[dict[str, Any]]:
        """Trials that were begun, in the order of the participant."""
        return self.rows("SELECT * FROM trial WHERE state != 'pending' ORDER BY begun_at")


@contextmanager
def served(study: Study) -> Iterator[Served]:
    """Serve a study on a free port."""
    with local_server(study) as url:
        yield Served(study, url)


class Participant:
    """Somebody at the page, in a tab of a browser (playwright.sync_api.Page)."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def sees(self, screen: str) -> None:
        """Wait for a screen."""
        self.page.wait_for_selector(f'[data-screen="{screen}"]:not([hidden])')

    def press(self, screen: str, action: str = "next") -> None:
        """Press a button of a screen, once it is there and enabled."""
        self.page.click(f'[data-screen="{screen}"]:not([hidden]) [data-action="{action}"]:enabled')

    def open(self, url: str) -> Participant:
        """Open the page; the consent screen is there."""
        self.page.goto(url)
        self.sees("consent")
        return self

    def begin(self) -> None:
        """From consent to the first trial."""
        self.press("consent", "agree")
        self.press("device")
        self.press("instructions")

    def is_asked(self) -> None:
        """Wait for the question."""
        self.page.wait_for_selector(".trial.asking:not(.sending)")

    def answer(self, response: str = "first") -> None:
        """Wait for the question and answer it by mouse."""
        self.answer_by(lambda: self.page.click(f'[data-answer="{response}"]'))

    def answer_by(self, act: Callable[[], None]) -> None:
        """Wait for the question, answer it, wait until the answer is stored and the page has gone on."""
        self.is_asked()
        done = int(self.page.text_content('[data-part="done"]'))
        act()
        self.page.wait_for_function(
            """(done) => document.querySelector(".trial").hidden || document.querySelector(".trial.explaining")
              || Number(document.querySelector('[data-part="done"]').textContent) > done""",
            arg=done,
        )

    def code(self) -> str:
        """The completion code of the last screen."""
        self.sees("completed")
        return str(self.page.text_content('[data-screen="completed"] [data-part="code-value"]'))
