"""The third and further images of a trial that shows several at once, as one column of the database holds them.

The first two have columns of their own, as in every trial. Nothing is measured of the others: all come and go in the same frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from turing_test.database import schema as tables
from turing_test.sessions.tokens import new_tokens

__all__ = ["FurtherImage", "read_further", "shows_image", "write_further"]


class FurtherImage(NamedTuple):
    """One of them: whose it is, the digest of its file, and the token that it is fetched by."""

    method: str
    sha: str
    token: str


def read_further(column: str | None) -> tuple[FurtherImage, ...]:
    """What stands in the column ``further`` of a trial, in order of their places; empty for pairs and single images."""
    return tuple(FurtherImage(*entry) for entry in json.loads(column)) if column else ()


def write_further(images: Sequence[tuple[str, str]]) -> str | None:
    """The reverse, with a new token for each of these methods and digests."""
    if not images:
        return None
    tokens = new_tokens(len(images))
    return json.dumps([(*image, token) for image, token in zip(images, tokens, strict=True)])


def shows_image(image: str) -> sa.ColumnElement[bool]:
    """Whether a trial shows the image of a token, whichever its place, for a query of trials."""
    trial = tables.trial.c
    quoted = json.dumps(image)
    is_further = sa.func.coalesce(trial.further, "").contains(quoted, autoescape=True)
    return (trial.first_token == image) | (trial.second_token == image) | is_further
