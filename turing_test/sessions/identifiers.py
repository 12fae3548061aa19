"""Finding a session by whatever somebody knows of it: its label, completion code, one-time link, or platform and worker."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from turing_test.database import schema as tables
from turing_test.sessions.tokens import digest, keyed_digest
from turing_test.study.study_folder import Study

__all__ = ["Identifier", "find_sessions"]

_S, _L = tables.session.c, tables.link.c


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """What is known; exactly one of the first four, and a platform with the worker.

    Attributes
    ----------
    label : str or None
        ``participant`` or ``session`` of the exported table.
    code : str or None
        The completion code that the page showed.
    link : str or None
        A one-time link, or the last part of it.
    worker : str or None
        The platform's id of the person.
    platform : str or None
        ``mturk`` or ``prolific``.

    Raises
    ------
    InputError
        When nothing, too much, or a worker without a platform is given.
    """

    label: str | None = None
    code: str | None = None
    link: str | None = None
    worker: str | None = None
    platform: str | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.label, self.code, self.link, self.worker) if value is not None]
        if len(given) != 1:
            raise InputError("name the person in one way: --label, --code, --link, or --platform with --worker.")
        if (self.worker is None) != (self.platform is None):
            raise InputError("--worker and --platform belong together: the same id may exist on several platforms.")

    def __str__(self) -> str:
        """For a sentence: the link's token stays unsaid, since it opens the session."""
        if self.label is not None:
            return f"participant {self.label!r}"
        if self.code is not None:
            return f"participant with code {self.code!r}"
        if self.link is not None:
            return "participant of that link"
        return f"worker {self.worker!r} of {self.platform}"


def find_sessions(connection: Connection, study: Study, identifier: Identifier) -> list[int]:
    """Keys of the sessions that fit; empty when none does.

    Parameters
    ----------
    connection : Connection
    study : Study
    identifier : Identifier
    """
    condition: sa.ColumnElement[bool]
    if identifier.label is not None:
        label = identifier.label.strip()
        # In the exported table with a p in front (participant) or an s (session), which no label itself has.
        condition = _S.label == (label[1:] if label[:1] in ("p", "s") else label)
    elif identifier.code is not None:
        condition = _S.completion_code == identifier.code.strip().upper()
    elif identifier.link is not None:
        token = identifier.link.strip().rstrip("/").rpartition("/")[2].partition("?")[0]
        condition = _S.id.in_(sa.select(_L.session_id).where(_L.token_hash == digest(token)))
    else:
        assert identifier.worker is not None
        assert identifier.platform is not None
        condition = _S.person_hash == keyed_digest(study.key, identifier.platform, identifier.worker.strip())
    return list(connection.execute(sa.select(_S.id).where(condition).order_by(_S.id)).scalars())
