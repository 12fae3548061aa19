"""What the template of the participant's page is filled with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turing_test.sessions.recruiters import QUERY_NAMES
from turing_test.study.texts import read_texts

if TYPE_CHECKING:
    from turing_test.study.protocol import Protocol

__all__ = ["consent_paragraphs", "consent_sha256", "minutes", "page_variables"]

ANSWER_MS = 1500
"""How long people think about a trial, for the duration that is announced; Zhang et al. set no limit."""

UNTIMED_MS = 5000
"""How long they look and think where images stay until the answer, for the same purpose."""

BREAK_S = 30
"""How long they rest, unless a break is shorter."""


def page_variables(
    protocol: Protocol, texts: Mapping[str, Any] | None = None, consent_text: str | None = None
) -> dict[str, Any]:
    """All variables of ``participant.html`` but those of one visit (``session``, ``link``, ``opened``).

    Parameters
    ----------
    protocol : Protocol
    texts : mapping, optional
        As `turing_test.study.texts.read_texts` has them; by default those of the toolkit.
    consent_text : str, optional
        The study's own; without it the text that comes with the toolkit.

    Returns
    -------
    dict
        ``texts, protocol, numbers, instructions`` and ``question`` (names of texts), ``consent`` (list of paragraphs),
        ``consent_hash``, ``query_names`` (what of an address's query concerns the server).
    """
    texts = read_texts(protocol.language) if texts is None else texts
    paragraphs = consent_paragraphs(protocol, texts, consent_text)
    return {
        "texts": texts,
        "protocol": protocol,
        "numbers": _numbers(protocol, texts),
        "instructions": _instructions(protocol),
        "question": _question(protocol),
        "consent": paragraphs,
        "consent_hash": consent_sha256(paragraphs),
        "query_names": QUERY_NAMES,
    }


def consent_paragraphs(protocol: Protocol, texts: Mapping[str, Any], consent_text: str | None = None) -> list[str]:
    """The consent text as it is shown, contacts included.

    Returns
    -------
    list of str
        A study's own text is split at empty lines and shown as it is.
    """
    if consent_text is None:
        numbers = _numbers(protocol, texts)
        paragraphs = [paragraph.format(**numbers) for paragraph in texts["consent"]["paragraphs"]]
        if protocol.limit_ms == math.inf:
            paragraphs[0] = texts["consent"]["until_answered"].format(**numbers)
    else:
        paragraphs = [part.strip() for part in consent_text.split("\n\n") if part.strip()]
    for key in ("contact", "ethics_contact"):
        if contact := getattr(protocol, key):
            paragraphs.append(texts["consent"][key].format(contact=contact))
    return paragraphs


def consent_sha256(paragraphs: list[str]) -> str:
    """SHA-256 (hex) of the text shown, paragraphs joined by an empty line: stored with every consent."""
    return hashlib.sha256("\n\n".join(paragraphs).encode()).hexdigest()


def minutes(protocol: Protocol) -> int:
    """Whole minutes that a session takes, answers included, rounded up."""
    n_exposures = 2 if protocol.sequential else 1
    if protocol.limit_ms == math.inf:
        exposures = float(UNTIMED_MS)
    else:
        exposures = n_exposures * (protocol.limit_ms + protocol.mask_ms) + protocol.gap_ms
        exposures += ANSWER_MS if protocol.answer_ends else protocol.answer_delay_ms + ANSWER_MS
    n_breaks = sum(map(protocol.has_break_before, range(1, protocol.session_trials + 1)))
    total = protocol.session_trials * (protocol.blank_ms + exposures) + protocol.practice_trials * protocol.feedback_ms
    total += 1000 * n_breaks * min(BREAK_S, protocol.break_allowed_s)
    return max(1, math.ceil(total / 60_000))


def _instructions(protocol: Protocol) -> str:
    """Which text says what a trial is."""
    if protocol.limit_ms == math.inf:
        return f"{protocol.preset}_until_answered"
    return "preference_side_by_side" if protocol.preset == "preference" and protocol.side_by_side else protocol.preset


def _question(protocol: Protocol) -> str:
    """Which text asks: of images that can be seen, or of those that were."""
    return f"{protocol.preset}_now" if protocol.answer_ends and not protocol.sequential else protocol.preset


def _numbers(protocol: Protocol, texts: Mapping[str, Any]) -> dict[str, Any]:
    """What the texts fill in; what is counted comes with its noun, in the number that the language asks for."""
    counts = {
        "trials": protocol.session_trials,
        "practice": protocol.practice_trials,
        "test": protocol.shown_test_trials,
    }
    every = protocol.break_every
    return {
        "minutes": minutes(protocol),
        **{name: texts["count"][name][count != 1].format(n=count) for name, count in counts.items()},
        "every": texts["count"]["test"][every != 1].format(n=every),
        "seconds": f"{protocol.limit_ms / 1000:g}",
        "width": protocol.window_width,
        "height": protocol.window_height,
    }
