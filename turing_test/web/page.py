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
        ``texts, protocol, numbers, consent`` (list of paragraphs), ``consent_hash``, ``query_names`` (what of an
        address's query concerns the server).
    """
    texts = read_texts(protocol.language) if texts is None else texts
    paragraphs = consent_paragraphs(protocol, texts, consent_text)
    return {
        "texts": texts,
        "protocol": protocol,
        "numbers": _numbers(protocol, texts),
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
    exposures = protocol.image_ms * (2 if protocol.sequential else 1) + protocol.gap_ms
    trial = protocol.blank_ms + exposures + protocol.answer_delay_ms + ANSWER_MS
    total = protocol.session_trials * trial + protocol.practice_trials * protocol.feedback_ms
    return max(1, math.ceil(total / 60_000))


def _numbers(protocol: Protocol, texts: Mapping[str, Any]) -> dict[str, Any]:
    """What the texts fill in; what is counted comes with its noun, in the number that the language asks for."""
    counts = {
        "trials": protocol.session_trials,
        "practice": protocol.practice_trials,
        "test": protocol.shown_test_trials,
    }
    return {
        "minutes": minutes(protocol),
        **{name: texts["count"][name][count != 1].format(n=count) for name, count in counts.items()},
        "seconds": f"{protocol.image_ms / 1000:g}",
        "width": protocol.window_width,
        "height": protocol.window_height,
    }
