"""What the template of the participant's page is filled with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.trials.columns import PLACES
from turing_test.sessions.recruiters import QUERY_NAMES
from turing_test.study.duration import session_minutes
from turing_test.study.texts import direction, read_texts

if TYPE_CHECKING:
    from turing_test.study.protocol import Protocol

__all__ = ["consent_paragraphs", "consent_sha256", "page_variables"]


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
        ``texts, direction`` (of the language), ``protocol, numbers, places`` (of the images of a trial), ``instructions`` and ``question`` (names of texts), ``consent`` (list of paragraphs),
        ``consent_hash``, ``query_names`` (what of an address's query concerns the server).
    """
    texts = read_texts(protocol.language) if texts is None else texts
    paragraphs = consent_paragraphs(protocol, texts, consent_text)
    return {
        "texts": texts,
        "direction": direction(protocol.language),
        "protocol": protocol,
        "places": PLACES[: protocol.images_per_trial],
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


def _instructions(protocol: Protocol) -> str:
    """Which text says what a trial is."""
    if protocol.limit_ms == math.inf:
        return f"{protocol.preset}{'_several' * protocol.shows_several}_until_answered"
    if protocol.shows_several:
        return f"{protocol.preset}_several"
    return "preference_side_by_side" if protocol.preset == "preference" and protocol.side_by_side else protocol.preset


def _question(protocol: Protocol) -> str:
    """Which text asks: of images that can be seen, or of those that were."""
    asked = f"{protocol.preset}_several" if protocol.shows_several else protocol.preset
    return f"{asked}_now" if protocol.answer_ends and not protocol.sequential else asked


def _numbers(protocol: Protocol, texts: Mapping[str, Any]) -> dict[str, Any]:
    """What the texts fill in; what is counted comes with its noun, in the number that the language asks for."""
    counts = {
        "trials": protocol.session_trials,
        "practice": protocol.practice_trials,
        "test": protocol.shown_test_trials,
    }
    every = protocol.break_every
    return {
        "minutes": session_minutes(protocol),
        **{name: texts["count"][name][count != 1].format(n=count) for name, count in counts.items()},
        "every": texts["count"]["test"][every != 1].format(n=every),
        "seconds": f"{protocol.limit_ms / 1000:g}".replace(".", texts["page"].get("decimal_point", ".")),
        "alternatives": protocol.alternatives,
        "width": protocol.window_width,
        "height": protocol.window_height,
    }
