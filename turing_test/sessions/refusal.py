"""What a participant asked for and does not get: one plain sentence and an HTTP status."""

from __future__ import annotations

from typing import Any

__all__ = ["Refused"]


class Refused(Exception):
    """A request that changes nothing.

    Parameters
    ----------
    status : int
        400 malformed, 403 not allowed, 404 unknown, 409 not now.
    sentence : str
        For a person, in English.
    **more
        Further keys of the JSON answer. With a ``reason``, the page says it in its own language: the key of one of its texts
        ``refusal``. Without, the page says ``unexpected``: for what only a page that is not ours would ask.
        With an ``ending`` (`turing_test.sessions.recruiters.Ending.described`), it hands the person back to their platform.
    """

    def __init__(self, status: int, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.more = more
