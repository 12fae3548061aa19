"""What a study does: every number and choice of the test, one frozen record, checked when it is made.

Each field describes itself (section of the study file, meaning, what is allowed), so the checks here, the
commented file (`turing_test.study.study_file`) and the documentation never disagree.

References
----------
.. [1] R. Zhang, P. Isola, A. A. Efros, "Colorful Image Colorization", ECCV 2016, section 3.1 and the
   supplementary material: the preset ``zhang2016``.
.. [2] J.-W. Su, H.-K. Chu, J.-B. Huang, "Instance-aware Image Colorization", CVPR 2020: ``preference``.
.. [3] S. Iizuka, E. Simo-Serra, H. Ishikawa, "Let there be Color!", SIGGRAPH 2016: ``naturalness``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.trials.columns import PLACES
from evalkit.errors import InputError
from evalkit.wording import unknown_name

__all__ = ["NEWER", "PRESETS", "RUNNING", "SECTIONS", "Option", "Protocol", "options", "parse_setting"]

PRESETS: Mapping[str, Mapping[str, object]] = {
    "zhang2016": {},
    "simultaneous": {"gap_ms": 0, "side_by_side": True},
    # Without a truth on screen no answer is right or wrong: no feedback, and nothing to be vigilant about.
    "preference": {"vigilance_trials": 0, "practice_trials": 4, "feedback_ms": 0},
    "naturalness": {"vigilance_trials": 0, "practice_trials": 4, "feedback_ms": 0, "gap_ms": 0},
}
"""What each preset changes of the defaults; the defaults are those of ``zhang2016``."""

RUNNING = (
    "sessions_per_method", "session_timeout_s", "place_idle_s", "contact", "ethics_contact", "open_link", "public_url",
    "platforms", "mturk_hits", "mturk_frame_hosts", "prolific_studies", "prolific_keys", "prolific_completed", "prolific_failed_checks",
    "prolific_incomplete", "prolific_full", "prolific_expired", "prolific_declined", "prolific_screened_out",
    "prolific_incompatible", "reward",
)  # fmt: skip
"""Options that say how a study is run, not what is asked: they may change while it runs, and every change is logged."""

NEWER = (
    "methods_per_person", "prolific_keys", "side_by_side", "answer_while_shown", "mask", "mask_ms", "blocks", "break_every",
    "break_s", "reward", "alternatives", "images_per_row",
)  # fmt: skip
"""Options that came after studies had been run: as the preset has them they ask what was asked before, so digests leave them out."""

UNTIL_ANSWERED, UNLIMITED = "until answered", "unlimited"
"""The words that may stand for ``image_ms`` and for ``break_s``."""

SECTIONS: Mapping[str, str] = {
    "": "",
    "stimuli": "How the images are made. A change here means building the stimuli again.",
    "timing": "What is shown when, in milliseconds.",
    "session": "What one participant does.",
    "exclusion": "Who is left out of the analysis, declared before the data come in. Zhang et al. excluded nobody.",
    "consent": "What participants are told before they agree.",
    "recruiting": "Where participants come from.",
}
"""Sections of the study file, in order, with the comment that opens each."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """How one field of `Protocol` stands in the study file.

    Attributes
    ----------
    name : str
        The field, and the key in the file.
    section : str
        Key of `SECTIONS`.
    meaning : str
        The comment in the file.
    kind : type
        bool, int, str, or tuple (of str; an array in the file); int where a word may stand in a number's place.
    default : object
        Of the preset ``zhang2016``.
    low, high : int or None
        Range of a whole number, ends included.
    pattern : str or None
        Regular expression that the whole of a text (each of several texts) must match.
    allowed : str
        What is allowed, in words.
    word : str or None
        A word that may stand in the place of a number.
    """

    name: str
    section: str
    meaning: str
    kind: type
    default: object
    low: int | None
    high: int | None
    pattern: str | None
    allowed: str
    word: str | None = None

    def check(self, value: object) -> None:
        """Refuse a value of the wrong type or outside the range.

        Raises
        ------
        InputError
            Naming the key, the value and what is allowed.
        """
        if self.word is not None and value == self.word:
            return
        # bool is a kind of int to Python, never to a person: hence type(), not isinstance().
        good = type(value) is self.kind
        if good and self.kind is int:
            good = self.low <= value <= self.high  # type: ignore[operator]
        elif good and self.kind is str and self.pattern is not None:
            good = re.fullmatch(self.pattern, value) is not None  # type: ignore[call-overload]
        elif good and self.kind is tuple:
            good = all(type(v) is str and re.fullmatch(self.pattern or "", v) for v in value)  # type: ignore[attr-defined]
        if not good:
            shown = json.dumps(value, ensure_ascii=False, default=str)
            raise InputError(f"{self.name} is {shown}; allowed is {self.allowed}.")


def _number(section: str, default: int, low: int, high: int, meaning: str) -> Any:
    return _field(section, default, meaning, f"a whole number from {low} to {high}", low=low, high=high)


def _number_or_word(section: str, default: int | str, low: int, high: int, word: str, meaning: str) -> Any:
    allowed = f'a whole number from {low} to {high}, or "{word}"'
    return _field(section, default, meaning, allowed, low=low, high=high, word=word)


def _flag(section: str, default: bool, meaning: str) -> Any:
    return _field(section, default, meaning, "true or false")


def _text(section: str, default: str, pattern: str, allowed: str, meaning: str) -> Any:
    return _field(section, default, meaning, allowed, pattern=pattern)


def _choice(section: str, default: str, choices: Iterable[str], meaning: str) -> Any:
    words = list(choices)
    return _field(section, default, meaning, " or ".join(f'"{w}"' for w in words), pattern="|".join(words))


def _texts(section: str, default: tuple[str, ...], pattern: str, allowed: str, meaning: str) -> Any:
    return _field(section, default, meaning, allowed, pattern=pattern)


def _field(section: str, default: Any, meaning: str, allowed: str, **limits: Any) -> Any:
    return dataclasses.field(
        default=default, metadata={"section": section, "meaning": meaning, "allowed": allowed, **limits}
    )


MOST_ALTERNATIVES = len(PLACES)  # each has a key of its own, 1 to 9
LEAST_WIDTH = 640  # CSS pixels: sheets of text read well from here on
BETWEEN = 16  # CSS pixels between two images side by side, at least; stage.js has the same
QUESTION_HEIGHT = 48  # CSS pixels: two lines in the smallest type that the page uses; stage.js has the same
ANSWERS_HEIGHT = (
    64  # CSS pixels: the row of buttons below images that can be answered while they are seen; stage.js has the same
)

_LINE = r"[^\x00-\x1f\x7f\ud800-\udfff]{0,500}"
_CODE = r"[A-Za-z0-9_-]{0,64}"
_OWN_FILE = r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})?"
_BLOCKS = r"none|method|[A-Za-z0-9_-][A-Za-z0-9._-]{0,123}\.csv"
_CODE_ALLOWED = "up to 64 letters, digits, - and _; empty where there is none"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All choices of a study; every field is a key of ``study.toml`` and of ``--set KEY=VALUE``.

    Raises
    ------
    InputError
        A value of the wrong type or outside its range, or an impossible combination; the key is named, and
        what is allowed.

    Examples
    --------
    >>> protocol = Protocol.of_preset("zhang2016", name="pilot", test_trials=20)
    >>> protocol.image_ms, protocol.session_trials, protocol.images_needed
    (1000, 30, 40)
    """

    name: str = _text(
        "", "study", r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9_-])?", "1 to 64 letters (a-z, A-Z), digits, spaces and . _ -, the first a letter or digit, the last no space or dot",
        "Name of the study; a column of the exported table.",
    )  # fmt: skip
    preset: str = _choice(
        "", "zhang2016", PRESETS,
        "zhang2016: a real photo, then (or before) its colorization; which had fake colours?\n"
        "simultaneous: the same with both side by side (or, with alternatives, several colorizations; which is the real photo?).\n"
        "preference: two methods one after the other (or side_by_side); which looks more natural?\n"
        "naturalness: one colorization; do its colours look natural?",
    )  # fmt: skip
    language: str = _text(
        "", "en", r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", 'a language code such as "en" or "de"',
        "Language of the page: the name of a file of texts.",
    )  # fmt: skip

    size: int = _number("stimuli", 256, 64, 1024, "Side of every image in pixels; on the page, CSS pixels.")
    fit: str = _choice(
        "stimuli", "warp", ("warp", "crop"),
        "How an image of another size becomes square. warp: scale both sides, as evalkit score does by default.\n"
        "crop: scale the short side, cut out the centre. Truth and methods are treated alike.",
    )  # fmt: skip
    seed: int = _number(
        "stimuli", 0, 0, 2**31 - 1, "Which other photo lends its colours to each vigilance image."
    )  # fmt: skip

    first_blank_ms: int = _number(
        "timing", 1200, 0, 10_000, "Blank page before the very first pair, and after a break."
    )
    blank_ms: int = _number("timing", 900, 0, 10_000, "Blank page before every other pair.")
    image_ms: int | str = _number_or_word(
        "timing", 1000, 20, 60_000, UNTIL_ANSWERED,
        'How long each image is shown. "until answered": without a limit, for images that are shown at once; the answer ends it.',
    )  # fmt: skip
    side_by_side: bool = _flag(
        "timing",
        False,
        "Both images of a pair at once. Always so with simultaneous; preference can have it (with gap_ms = 0).",
    )
    alternatives: int = _number(
        "timing", 2, 2, MOST_ALTERNATIVES,
        "preference: how many methods' versions of a photo a trial shows, to choose the best of. simultaneous: how many images,\n"
        "the real photo and colorizations of it by different methods, to find the real one among. More than 2 are shown at\n"
        "once, in rows; each then stands in every place equally often, and chance is 1 / alternatives.",
    )  # fmt: skip
    images_per_row: int = _number(
        "timing", 0, 0, MOST_ALTERNATIVES,
        "With more than 2 alternatives: how many stand side by side. 0: up to three in one row, more in a grid as square as\n"
        "can be.",
    )  # fmt: skip
    answer_while_shown: bool = _flag(
        "timing", False,
        "Whether the answer may come while the last image (both, side by side) is seen: the exposure ends with it, and\n"
        "response_ms counts from its onset. The buttons are below the images then.",
    )  # fmt: skip
    mask: str = _choice(
        "timing", "none", ("none", "plain", "noise", "scrambled"),
        "What takes the place of each image when it goes. plain: a grey field; noise: tiles of grey; scrambled: small tiles of\n"
        "both images, mixed. The same after either image of a pair.",
    )  # fmt: skip
    mask_ms: int = _number(
        "timing", 0, 0, 10_000, "How long the mask is shown; gap_ms and answer_delay_ms begin after it."
    )
    gap_ms: int = _number(
        "timing", 600, 0, 10_000,
        "Blank page between the two images of a pair. 0: the second comes in the frame in which the first (its mask) goes.",
    )  # fmt: skip
    answer_delay_ms: int = _number(
        "timing", 100, 0, 10_000,
        "From the end of the last image to the answer buttons; where answers may come earlier, they come with the image.",
    )  # fmt: skip
    feedback_ms: int = _number(
        "timing", 2400, 0, 60_000, "How long the answer is explained after a practice pair; 0 for no feedback."
    )  # fmt: skip

    min_refresh_hz: int = _number(
        "timing", 45, 1, 240, "Trials on a display that refreshes less often are flagged (low_refresh)."
    )  # fmt: skip

    methods_per_person: int | str = _number_or_word(
        "session", 1, 1, 100, "all",
        "How many methods one participant judges (preference: pairs of methods; with alternatives: sets). 1 in the paper. With more, each gets\n"
        "equally many of the person's trials; test_trials - vigilance_trials must be a multiple.",
    )  # fmt: skip
    blocks: str = _text(
        "session", "none", _BLOCKS, '"none", "method", or the name of a .csv file in the study folder',
        "Order of the test. none: every stretch has one trial of each method that a person judges; method: all trials of a\n"
        "method (preference: of a pair) in a row. A file with the columns image and block, one row per photo: all trials of a\n"
        "block of photos in a row, equally many of each block. The order of the blocks is balanced over people.",
    )  # fmt: skip
    break_every: int = _number(
        "session", 0, 0, 1000, "A page to rest at after every so many trials of the test; 0 for none."
    )  # fmt: skip
    break_s: int | str = _number_or_word(
        "session", UNLIMITED, 5, 86_400, UNLIMITED,
        'Seconds that a break may last before it counts as idleness; the page counts them down. "unlimited": no limit is\n'
        "told, and after session_timeout_s it counts as idleness.",
    )  # fmt: skip
    practice_trials: int = _number("session", 10, 0, 200, "Pairs before the test, left out of the analysis.")
    test_trials: int = _number("session", 40, 1, 1000, "Pairs of the test, vigilance pairs included.")
    vigilance_trials: int = _number(
        "session", 4, 0, 500,
        "How many of test_trials show the truth against the colours of another photo (10 % in the paper). With more than 2\n"
        "alternatives the one image with these colours stands in all other places.",
    )  # fmt: skip
    catch_trials: int = _number(
        "session", 0, 0, 100,
        "Obvious fakes (turned hues, oversaturated), in the test on top of test_trials; 6 with catch_pass = 5\n"
        "tell guessers from people who look.",
    )  # fmt: skip
    reserve_trials: int = _number(
        "session", 10, 0, 500, "Pairs kept to replace those that a reload or a lost connection spoiled."
    )  # fmt: skip
    sessions_per_method: int = _number(
        "session", 40, 1, 100_000, "Valid sessions wanted of each method (preference: of each pair of methods)."
    )  # fmt: skip
    session_timeout_s: int = _number(
        "session", 3600, 60, 7 * 86_400, "Seconds without an answer after which a session expires and frees its place."
    )  # fmt: skip
    place_idle_s: int = _number(
        "session", 600, 30, 7 * 86_400,
        "Seconds without a word from a participant after which the place is lent to somebody else. Whoever comes back\n"
        "before session_timeout_s goes on all the same, so a method may get a few sessions more.",
    )  # fmt: skip
    color_vision: bool = _flag("session", False, "Screen colour vision with dot plates first; a screen, no diagnosis.")
    min_width: int = _number(
        "session", 0, 0, 4096,
        "Narrowest window, in CSS pixels; in a smaller one the page asks for more room. 0: what the images take side by\n"
        "side, at least 640. A lower number admits narrow windows, where both images of a pair share one place.",
    )  # fmt: skip
    min_height: int = _number(
        "session", 0, 0, 4096, "Lowest window, in CSS pixels; 0: what an image and the question above it take."
    )  # fmt: skip

    vigilance_min: int = _number(
        "exclusion", 0, 0, 500,
        "Leave out sessions with fewer right vigilance answers; 0 leaves nobody out. Of 4, a guesser gets 3 or\n"
        "more right in 31 % of cases, so this rule is weak: prefer catch trials.",
    )  # fmt: skip
    catch_pass: int = _number(
        "exclusion", 0, 0, 100, "Leave out sessions with fewer right catch answers; 0 leaves nobody out."
    )  # fmt: skip
    suspect_trials: int = _number(
        "exclusion", 0, 0, 1000,
        "Leave out sessions with so many or more trials of practice and test that no page of the study sends: shown\n"
        "sooner than can be, times that contradict each other, images never fetched; 0 leaves nobody out.",
    )  # fmt: skip

    min_answered_percent: int = _number(
        "exclusion", 80, 0, 100,
        "A session that comes to its end with fewer of the test's trials answered is 'incomplete': not counted, and its\n"
        "place goes to somebody else. Reloads beyond reserve_trials lose trials.",
    )  # fmt: skip

    consent_file: str = _text(
        "consent", "", _OWN_FILE, "the name of a text file in the study folder, or empty",
        "Plain text shown for consent, a file beside this one; empty: the text that comes with the toolkit.",
    )  # fmt: skip
    contact: str = _text(
        "consent",
        "",
        _LINE,
        "one line of text, up to 500 characters",
        "Who answers questions: name and e-mail address.",
    )
    ethics_contact: str = _text(
        "consent", "", _LINE, "one line of text, up to 500 characters", "Whom to complain to: the ethics board."
    )

    open_link: bool = _flag(
        "recruiting", True,
        "Whether the plain link lets anybody in (unverified). With false, only one-time links\n"
        "(evalkit study links) and crowd platforms do.",
    )  # fmt: skip
    reward: str = _text(
        "recruiting", "", r"(\d{1,6}(\.\d{1,2})?( [A-Z]{3})?)?",
        'an amount such as "2.00" or "2.00 GBP", or empty',
        "What a participant is paid for a session. Nothing is paid by the toolkit: create and doctor say what it is per hour.",
    )  # fmt: skip
    public_url: str = _text(
        "recruiting", "", r"(https?://[A-Za-z0-9.:\[\]-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?)?",
        'an address such as "https://study.example.org" or "https://example.org/study1", or empty',
        "Where participants reach the server, with the path if there is one; needed for the links and files that platforms ask for.",
    )  # fmt: skip
    platforms: tuple[str, ...] = _texts(
        "recruiting", (), r"mturk|prolific", 'a list of "mturk" and "prolific"',
        "Crowd platforms whose people are admitted. What they write into an address can be invented, so such people\n"
        "count as claimed, not verified, unless prolific_keys is given.",
    )  # fmt: skip
    mturk_hits: tuple[str, ...] = _texts(
        "recruiting", (), r"[A-Za-z0-9]{1,64}", 'a list of ids such as "3XIQGXAUMC8ZVXAEJ4N2S8FTPSOX7T"',
        "The hitId of your HITs: others are refused; empty: any.",
    )  # fmt: skip
    mturk_frame_hosts: tuple[str, ...] = _texts(
        "recruiting",
        ("https://www.mturk.com", "https://workersandbox.mturk.com", "https://worker.mturk.com"),
        r"https://[A-Za-z0-9.-]+", "a list of addresses such as \"https://worker.mturk.com\"",
        "Sites that may show the page in a frame.",
    )  # fmt: skip
    prolific_studies: tuple[str, ...] = _texts(
        "recruiting", (), r"[A-Za-z0-9]{1,64}", 'a list of ids such as "60aa1f4b8f1c2d0012345678"',
        "The STUDY_ID of your studies at Prolific: others are refused; empty: any.",
    )  # fmt: skip
    prolific_keys: str = _text(
        "recruiting", "", _OWN_FILE, "the name of a file in the study folder, or empty",
        "Prolific's public keys, a file beside this one (JSON Web Key Set, or PEM). With it people from Prolific come by\n"
        "addresses that Prolific has signed alone (Secured External URL), and count as verified. Needs public_url.",
    )  # fmt: skip
    prolific_completed: str = _text(
        "recruiting", "", _CODE, _CODE_ALLOWED,
        "Completion codes of Prolific, one an outcome. This one pays for a session done to its end.",
    )  # fmt: skip
    prolific_failed_checks: str = _text(
        "recruiting", "", _CODE, _CODE_ALLOWED,
        "Done to the end, but left out by a rule of [exclusion]; empty: the same code as completed.",
    )  # fmt: skip
    prolific_incomplete: str = _text(
        "recruiting", "", _CODE, _CODE_ALLOWED, "Came to the end with too few answers (min_answered_percent)."
    )  # fmt: skip
    prolific_full: str = _text("recruiting", "", _CODE, _CODE_ALLOWED, "Came when nobody was needed any more.")
    prolific_expired: str = _text("recruiting", "", _CODE, _CODE_ALLOWED, "Idle for too long (session_timeout_s).")
    prolific_declined: str = _text(
        "recruiting", "", _CODE, _CODE_ALLOWED, "No consent, withdrawn later, or back with another submission."
    )
    prolific_screened_out: str = _text("recruiting", "", _CODE, _CODE_ALLOWED, "Did not pass the colour vision screen.")
    prolific_incompatible: str = _text(
        "recruiting", "", _CODE, _CODE_ALLOWED, "Window too small and no larger one at hand, or no suitable browser."
    )

    def __post_init__(self) -> None:
        for option in options():
            option.check(getattr(self, option.name))
        self._check_combinations()

    @classmethod
    def of_preset(cls, preset: str, **changes: Any) -> Protocol:
        """The protocol of a preset, with changes.

        Parameters
        ----------
        preset : str
            Key of `PRESETS`.
        **changes
            Values by field.

        Returns
        -------
        Protocol

        Raises
        ------
        InputError
            As the class; also an unknown preset or field.
        """
        if preset not in PRESETS:
            raise InputError(unknown_name("preset", preset, PRESETS))
        keys = [option.name for option in options()]
        for name in changes:
            if name not in keys:
                raise InputError(unknown_name("key", name, keys))
        several = changes.get("alternatives", 2) != 2 and preset == "preference"
        implied: dict[str, Any] = {"side_by_side": True} if several else {}
        if changes.get("side_by_side", several):
            implied["gap_ms"] = 0
        return cls(**{"preset": preset, **PRESETS[preset], **implied, **changes})

    @property
    def sequential(self) -> bool:
        """Whether the two images of a pair are shown one after the other."""
        return self.images_per_trial >= 2 and not self.side_by_side

    @property
    def limit_ms(self) -> float:
        """How long an image may be seen at most; infinite where it stays until the answer."""
        return math.inf if isinstance(self.image_ms, str) else self.image_ms

    @property
    def answer_ends(self) -> bool:
        """Whether the answer may come while an image is seen, and ends it."""
        return self.answer_while_shown or self.limit_ms == math.inf

    @property
    def presented(self) -> str:
        """How the images of a trial were shown, in words that follow "people saw the images"."""
        limit = "" if self.limit_ms == math.inf else f"for {self.limit_ms:g} ms"
        if self.sequential:
            words = f"one after the other {limit} each"
            words += ", the second at most until they answered," if self.answer_ends else ""
        else:
            side = "side by side " if self.images_per_trial == 2 else ""
            if self.shows_several:
                rows = f"{self.columns} in a row" if self.rows > 1 else "side by side"
                side = f"{self.alternatives} at once, {rows}, "
            ends = f"{limit.replace('for', 'for at most')} or until they answered" if limit else "until they answered"
            words = side + (ends if self.answer_ends else limit)
        if self.mask != "none":
            words += f", each followed by a mask ({self.mask}) of {self.mask_ms} ms,"
        return words

    @property
    def real_vs_fake(self) -> bool:
        """Whether each pair holds a real photo, so that an answer can be right."""
        return self.preset in ("zhang2016", "simultaneous")

    @property
    def images_per_trial(self) -> int:
        """Images of one trial: 2, or 1 for naturalness; preference and simultaneous can have more (``alternatives``)."""
        return 1 if self.preset == "naturalness" else self.alternatives

    @property
    def shows_several(self) -> bool:
        """Whether a trial is a choice among more than two images."""
        return self.alternatives > 2

    @property
    def seeks_real(self) -> bool:
        """Whether people look for the real photo among several images; of two they name the fake (``real_vs_fake``)."""
        return self.real_vs_fake and self.shows_several

    @property
    def methods_per_trial(self) -> int:
        """Methods whose colorizations one trial of the test shows."""
        if self.preset == "preference":
            return self.alternatives
        return self.alternatives - 1 if self.real_vs_fake else 1

    @property
    def chance(self) -> float | None:
        """How often each image is chosen by who does not look; None where there is nothing to choose from."""
        return None if self.preset == "naturalness" else 1 / self.alternatives

    @property
    def columns(self) -> int:
        """Images that stand side by side at most, where all of a trial are shown at once."""
        if not self.shows_several:
            return self.images_per_trial
        few = 3  # fit beside each other at 256 pixels on every laptop
        return self.images_per_row or (
            self.alternatives if self.alternatives <= few else math.ceil(math.sqrt(self.alternatives))
        )

    @property
    def rows(self) -> int:
        """Rows of images shown at once."""
        return math.ceil(self.images_per_trial / self.columns)

    def arms_per_person(self, n_arms: int) -> int:
        """Methods (preference: pairs of methods) that one participant judges, of ``n_arms`` that the study has."""
        return n_arms if isinstance(self.methods_per_person, str) else self.methods_per_person

    @property
    def shown_test_trials(self) -> int:
        """Trials of the test phase as the participant counts them: test and catch."""
        return self.test_trials + self.catch_trials

    @property
    def session_trials(self) -> int:
        """Trials of a whole session: practice, test and catch."""
        return self.practice_trials + self.shown_test_trials

    def has_break_before(self, position: int) -> bool:
        """Whether there is a break before the trial that the participant counts so, from 1."""
        into_test = position - self.practice_trials - 1
        return bool(self.break_every and 0 < into_test < self.shown_test_trials and into_test % self.break_every == 0)

    @property
    def break_allowed_s(self) -> int:
        """Seconds of a break that count as no idleness; 0 where there are no breaks."""
        if not self.break_every:
            return 0
        return self.session_timeout_s if isinstance(self.break_s, str) else self.break_s

    def idle_allowed_s(self, position: int) -> int:
        """Seconds without a word, before the trial at this position, after which a session expires: a break is no idleness."""
        return self.session_timeout_s + (self.break_allowed_s if self.has_break_before(position) else 0)

    @property
    def block_list(self) -> str:
        """The file that says which photo belongs to which block; empty without blocks of photos."""
        return "" if self.blocks in ("none", "method") else self.blocks

    @property
    def answers_needed(self) -> int:
        """Answered trials of the test, at least, of a session that is complete."""
        return -(-self.min_answered_percent * self.shown_test_trials // 100)

    @property
    def images_needed(self) -> int:
        """Different photos that a session may need, its reserve included: no photo comes twice."""
        return self.session_trials + self.reserve_trials

    @property
    def window_width(self) -> int:
        """Narrowest window for a session, CSS pixels: ``min_width``, or room for the images of a trial side by side."""
        beside = self.columns * self.size + (self.columns - 1) * BETWEEN
        return self.min_width or max(LEAST_WIDTH, beside)

    @property
    def window_height(self) -> int:
        """Lowest window for a session, CSS pixels: ``min_height``, or room for the rows of images, the question above, answers below."""
        return self.min_height or self._least_height

    @property
    def _least_height(self) -> int:
        row = self.size + (ANSWERS_HEIGHT if self.answer_ends else 0)
        return self.rows * row + (self.rows - 1) * BETWEEN + QUESTION_HEIGHT

    @property
    def shown_as(self) -> str:
        """What files became for people, in the words of the field ``size`` of signatures, such as ``256-warp-bicubic``."""
        return f"{self.size}-{self.fit}-bicubic"

    @property
    def departures(self) -> tuple[str, ...]:
        """What is shown and asked otherwise than the preset has it, as ``option = value``."""
        of_preset = Protocol.of_preset(self.preset)
        told = [
            option.name
            for option in options()
            if option.section in ("stimuli", "timing", "session") and option.name not in (*RUNNING, "seed")
        ]
        return tuple(
            f"{name} = {json.dumps(getattr(self, name))}"
            for name in told
            if getattr(self, name) != getattr(of_preset, name)
        )

    def as_dict(self) -> dict[str, Any]:
        """Values by field, as JSON has them (lists for tuples)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all values: two studies with the same digest do the same."""
        return _sha256(_without_newer(self.as_dict()))

    @property
    def running(self) -> dict[str, Any]:
        """The values of `RUNNING`."""
        return {name: value for name, value in self.as_dict().items() if name in RUNNING}

    @property
    def asked_digest(self) -> str:
        """SHA-256 (hex) over all other values: what participants are asked, which never changes once there are answers."""
        asked = {name: value for name, value in self.as_dict().items() if name not in RUNNING}
        return _sha256(_without_newer(asked))

    def _check_combinations(self) -> None:
        if self.vigilance_trials >= self.test_trials:
            raise InputError(
                f"vigilance_trials is {self.vigilance_trials} of test_trials = {self.test_trials}; allowed are fewer "
                "than test_trials, so that some test the method."
            )
        for name, trials, least in (
            ("vigilance_min", "vigilance_trials", self.vigilance_min),
            ("catch_pass", "catch_trials", self.catch_pass),
        ):
            if least > getattr(self, trials):
                raise InputError(
                    f"{name} is {least}, but {trials} is {getattr(self, trials)}, so everybody would be left out; "
                    f"allowed is at most {trials}."
                )
        if not self.real_vs_fake:
            for name in ("vigilance_trials", "catch_trials", "feedback_ms"):
                if getattr(self, name):
                    raise InputError(
                        f'{name} is {getattr(self, name)} with preset = "{self.preset}", which shows no real photo, so '
                        "that no answer is right or wrong; allowed is 0."
                    )
        if self.seeks_real and (n_trials := self.test_trials - self.vigilance_trials) % self.alternatives:
            enough = self.vigilance_trials - (-n_trials // self.alternatives) * self.alternatives
            raise InputError(
                f"test_trials - vigilance_trials is {n_trials} with alternatives = {self.alternatives}; allowed is a multiple of "
                f"{self.alternatives}, so that the real photo stands in every place equally often, such as test_trials = {enough}."
            )
        if self.real_vs_fake and not self.shows_several and (self.test_trials - self.vigilance_trials) % 2:
            raise InputError(
                f"test_trials - vigilance_trials is {self.test_trials - self.vigilance_trials}; allowed is an even number, "
                "so that the real photo comes first in exactly half of the pairs."
            )
        self._check_presentation()
        self._check_order()
        if self.prolific_keys and not self.public_url:
            raise InputError(
                f"prolific_keys is {self.prolific_keys!r} without public_url; allowed is with it, since Prolific signs for "
                "the study's address."
            )
        together = self.columns if self.side_by_side else 1
        for name, given, needed in (
            ("min_width", self.min_width, together * self.size + (together - 1) * BETWEEN),
            ("min_height", self.min_height, self._least_height),
        ):
            if 0 < given < needed:
                raise InputError(
                    f'{name} is {given}, too little for what preset = "{self.preset}" shows at once with size = '
                    f"{self.size}; allowed is 0 (as much as the images take) or at least {needed}."
                )

    def _check_presentation(self) -> None:
        """Refuse ways to show images that contradict each other."""
        if self.shows_several and self.preset not in ("preference", "simultaneous"):
            raise InputError(
                f'alternatives is {self.alternatives} with preset = "{self.preset}"; allowed is 2, or preset = "simultaneous" '
                '(which of several is the real photo?) or "preference" (which looks most natural?).'
            )
        if self.shows_several and not self.side_by_side:
            raise InputError(
                f"side_by_side is false with alternatives = {self.alternatives}, which are shown at once; allowed is true, or "
                "alternatives = 2."
            )
        if self.images_per_row and not 2 <= self.images_per_row <= self.alternatives * self.shows_several:
            allowed = f"0, or 2 to {self.alternatives}" if self.shows_several else "0, or more alternatives than 2"
            raise InputError(
                f"images_per_row is {self.images_per_row} with alternatives = {self.alternatives}; allowed is {allowed}."
            )
        if self.side_by_side and self.preset in ("zhang2016", "naturalness"):
            instead = 'false, or preset = "simultaneous"' if self.preset == "zhang2016" else "false"
            raise InputError(f'side_by_side is true with preset = "{self.preset}"; allowed is {instead}.')
        if self.preset == "simultaneous" and not self.side_by_side:
            raise InputError(
                'side_by_side is false with preset = "simultaneous"; allowed is true, or preset = "zhang2016", which shows one '
                "after the other."
            )
        if not self.sequential and self.gap_ms:
            at_once = "side_by_side = true" if self.preset == "preference" else f'preset = "{self.preset}"'
            raise InputError(
                f"gap_ms is {self.gap_ms} with {at_once}, which has no second image to wait for; allowed is 0."
            )
        if self.sequential and self.limit_ms == math.inf:
            at_once = "side_by_side = true" if self.preset == "preference" else 'preset = "simultaneous"'
            raise InputError(
                f'image_ms is "{UNTIL_ANSWERED}" where images come one after the other, and the first would never go; allowed '
                f"is a number, or {at_once}."
            )
        if self.mask != "none" and self.answer_ends:
            why = "answer_while_shown = true" if self.answer_while_shown else f'image_ms = "{UNTIL_ANSWERED}"'
            raise InputError(
                f'mask is "{self.mask}" with {why}, which ends the image with the answer, so that nothing is left to mask; '
                'allowed is "none".'
            )
        if (self.mask == "none") != (self.mask_ms == 0):
            allowed = "0" if self.mask == "none" else 'more than 0, or mask = "none"'
            raise InputError(f'mask_ms is {self.mask_ms} with mask = "{self.mask}"; allowed is {allowed}.')

    def _check_order(self) -> None:
        """Refuse blocks of a single method, and breaks that never come or outlast the session."""
        if self.blocks == "method" and self.methods_per_person == 1:
            raise InputError(
                'blocks is "method" with methods_per_person = 1, where one person\'s trials are all of one method; allowed is '
                '"none", or more methods per person.'
            )
        if self.break_every >= self.shown_test_trials:
            raise InputError(
                f"break_every is {self.break_every}, and the test has {self.shown_test_trials} trials, so that no break would "
                f"come; allowed is 0, or fewer than {self.shown_test_trials}."
            )
        if isinstance(self.break_s, str):
            return
        if not self.break_every:
            raise InputError(f'break_s is {self.break_s} without break_every; allowed is "{UNLIMITED}".')
        if self.break_s > self.session_timeout_s:
            raise InputError(
                f"break_s is {self.break_s}, longer than session_timeout_s = {self.session_timeout_s}, after which an idle "
                f'session expires; allowed is at most that, or "{UNLIMITED}".'
            )


def _without_newer(values: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {option.name: option.default for option in options()} | dict(PRESETS[values["preset"]])
    return {name: value for name, value in values.items() if name not in NEWER or value != defaults[name]}


def _sha256(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def options() -> tuple[Option, ...]:
    """How each field of `Protocol` stands in the study file, in order."""
    return tuple(
        Option(
            name=field.name,
            section=field.metadata["section"],
            meaning=field.metadata["meaning"],
            kind=int if "word" in field.metadata else type(field.default),
            default=field.default,
            low=field.metadata.get("low"),
            high=field.metadata.get("high"),
            pattern=field.metadata.get("pattern"),
            allowed=field.metadata["allowed"],
            word=field.metadata.get("word"),
        )
        for field in dataclasses.fields(Protocol)
    )


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE`` of ``--set``.

    Parameters
    ----------
    text : str
        A field of `Protocol` and its value; texts need no quotes, items of a list are separated by commas.

    Returns
    -------
    name : str
    value : bool, int, str or tuple of str
        Of the field's type; its range is checked when the protocol is made.

    Raises
    ------
    InputError
        No ``=``, an unknown key, or a value that is not of the key's type.

    Examples
    --------
    >>> parse_setting("test_trials=20")
    ('test_trials', 20)
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals:
        raise InputError(f"--set {text}: no '='; write KEY=VALUE, for example test_trials=20.")
    by_name = {option.name: option for option in options()}
    if name not in by_name:
        raise InputError(f"--set {text}: {unknown_name('key', name, by_name)}")
    option = by_name[name]
    if option.kind is bool and value in ("true", "false"):
        return name, value == "true"
    if option.word is not None and value == option.word:
        return name, value
    if option.kind is int and re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
        return name, int(value)
    if option.kind is str:
        return name, value
    if option.kind is tuple:
        return name, tuple(part.strip() for part in value.split(",") if part.strip())
    raise InputError(f"--set {text}: {name} is {value!r}; allowed is {option.allowed}.")
