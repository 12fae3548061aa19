"""Which answers are right: of two images the fake is asked for, of several the real photo."""

from __future__ import annotations

import sqlalchemy as sa

from analysis.trials.columns import is_fooled
from turing_test.database import schema as tables

__all__ = ["is_right", "is_right_answer"]

_T = tables.trial.c


def is_right(response: str | None, real_position: str | None, *, among_several: bool) -> bool:
    """Whether an answer is right; False without an answer or without a real photo.

    Parameters
    ----------
    response, real_position : str or None
        Places of the trial's images.
    among_several : bool
        Whether the trial shows more than two images, of which the real photo is asked for.
    """
    if response is None or real_position is None:
        return False
    return (response == real_position) if among_several else not is_fooled(response, real_position)


def is_right_answer() -> sa.ColumnElement[bool]:
    """The same as a condition of a query of trials."""
    is_pair = _T.further.is_(None)
    return sa.or_(is_pair & ~is_fooled(_T.response, _T.real_position), ~is_pair & (_T.response == _T.real_position))
