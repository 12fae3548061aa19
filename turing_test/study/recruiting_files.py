"""What a crowd platform is told of a study: Prolific's address, MTurk's ExternalQuestion.

What participants bring from there and take back is in `turing_test.sessions.recruiters`.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from evalkit.errors import InputError

__all__ = ["PROLIFIC_QUERY", "mturk_question", "prolific_url"]

PROLIFIC_QUERY = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
"""What Prolific fills in: the person, the study, and this one participation."""


def mturk_question(url: str, frame_height: int = 0) -> str:
    """The ExternalQuestion XML that a HIT is made of.

    Parameters
    ----------
    url : str
        Where the study is served; ``https``, as MTurk demands.
    frame_height : int, default 0
        Height of the frame in pixels; 0 fills the worker's window.

    Raises
    ------
    InputError
        When the address is not ``https``.
    """
    if not url.startswith("https://"):
        raise InputError(f"public_url is {url!r}; Mechanical Turk allows https:// only.")
    if (address := urlsplit(url)).path and not address.query:
        url = url.rstrip("/") + "/"  # a redirection from /study1 to /study1/ is one more thing that can fail in a frame
    schema = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ExternalQuestion xmlns="{schema}">\n'
        f"  <ExternalURL>{escape(url)}</ExternalURL>\n"
        f"  <FrameHeight>{frame_height}</FrameHeight>\n"
        "</ExternalQuestion>\n"
    )


def prolific_url(url: str) -> str:
    """The address to enter as study URL at Prolific, which fills in the names in double braces."""
    query = "&".join(f"{name}={{{{%{name}%}}}}" for name in PROLIFIC_QUERY)
    return f"{url.removesuffix('/')}/?{query}"
