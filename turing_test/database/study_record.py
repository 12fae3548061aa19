"""The one row that says which study a database belongs to, how it is run, and whether it takes anybody now."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from evalkit.errors import InputError
from evalkit.release import release
from turing_test.database import schema as tables
from turing_test.database.prepared import Prepared
from turing_test.database.storage import Storage
from turing_test.study.study_folder import Study
from turing_test.study.texts import own_asking_digest, own_texts_digest

__all__ = [
    "ADMISSIONS",
    "Admission",
    "Change",
    "admission",
    "changes_while_running",
    "is_logged_out",
    "log_out",
    "register",
    "set_admission",
    "unlock",
    "unlocked_at",
]

Admission = Literal["open", "paused", "closed", "moved"]
ADMISSIONS: dict[Admission, str] = {
    "open": "new participants are admitted",
    "paused": "new participants are asked to come back later; sessions that have begun go on",
    "closed": "new participants are told that nobody is needed any more; sessions that have begun go on",
    "moved": "the answers were moved to another database",
}
"""What a study does with those who come."""

LOGGED_OUT = "logged_out"
ASKING_TEXTS = (
    "asking_texts"  # kept with the options: a digest of those texts of the study's own that are what is asked
)
_R, _E = tables.study, tables.event
_ADMISSION = Prepared(sa.select(_R.c.admission))


@dataclass(frozen=True)
class Change:
    """What changed in how a study is run.

    Attributes
    ----------
    at : float
        Seconds since 1970.
    what : str
        The option, or ``admission``.
    before, after : object
    """

    at: float
    what: str
    before: object
    after: object


def register(storage: Storage, study: Study) -> None:
    """Write down which study a new database belongs to, and check it in one that was used before.

    What was asked must be what it was; how the study is run may have changed, which is written down with its time.

    Raises
    ------
    InputError
        When it belongs to another study, what is asked was changed since the first answers, or the answers were moved.
    """
    identity = {"name": study.protocol.name, "manifest": study.manifest.digest, "protocol": study.protocol.asked_digest}
    whose = study.folder, study.protocol.language
    running = {**study.protocol.running, "texts": own_texts_digest(*whose), ASKING_TEXTS: own_asking_digest(*whose)}

    def work(connection: Connection) -> None:
        storage.lock_assignment(connection)
        now = time.time()
        row = connection.execute(sa.select(_R)).mappings().first()
        if row is None:
            first = {**identity, "running": json.dumps(running), "version": release(), "created_at": now}
            connection.execute(sa.insert(_R).values(id=1, **first))
            return
        if row["admission"] == "moved":
            raise InputError(
                f"the answers of study {row['name']} were moved from this database to another one; name that with "
                "--database (evalkit study move says where to)."
            )
        before = json.loads(row["running"] or "{}")
        changed = [name for name, value in identity.items() if row[name] != value]
        if before.get(ASKING_TEXTS, running[ASKING_TEXTS]) != running[ASKING_TEXTS]:
            changed.append(ASKING_TEXTS)
        _log_changes(connection, before, running, now)
        values: dict[str, Any] = {"running": json.dumps(running)}
        if changed:
            if connection.execute(sa.select(sa.func.count()).select_from(tables.session)).scalar_one():
                what = {
                    "name": "its name",
                    "manifest": "its stimuli",
                    "protocol": "its study file",
                    ASKING_TEXTS: "its texts of question, answers, instructions or feedback",
                }
                raise InputError(
                    f"{study.folder}: the database holds sessions of the study {row['name']!r}, from which this one "
                    f"differs by {' and '.join(what[name] for name in changed)}; serve the study as it was, or name "
                    "another --database."
                )
            values |= {**identity, "version": release(), "unlocked_at": None}
        if row["running"] != values["running"]:  # also how long a place is kept: who holds one is looked at anew
            is_watched = tables.session.c.check_at.is_not(None)
            connection.execute(sa.update(tables.session).where(is_watched).values(check_at=0.0))
        if changed or row["running"] != values["running"]:
            connection.execute(sa.update(_R).values(values))

    storage.write(work)


def _log_changes(connection: Connection, before: dict[str, Any], after: dict[str, Any], now: float) -> None:
    if not before:
        return
    for name, value in after.items():
        if name in before and before[name] != value and name != ASKING_TEXTS:
            _log(connection, now, name, before[name], value)


def _log(connection: Connection, now: float, what: str, before: object, after: object) -> None:
    detail = json.dumps({"what": what, "before": before, "after": after}, ensure_ascii=False)
    connection.execute(sa.insert(_E).values(at=now, kind="changed", detail=detail))


def changes_while_running(connection: Connection) -> list[Change]:
    """What changed in how the study is run since the database was made, in order of time."""
    rows = connection.execute(sa.select(_E.c.at, _E.c.detail).where(_E.c.kind == "changed").order_by(_E.c.id))
    return [Change(row.at, **json.loads(row.detail)) for row in rows]


def admission(connection: Connection) -> Admission:
    """What the study does with those who come; ``open`` before it was first served."""
    rows = _ADMISSION.all(connection)
    state: Admission = rows[0][0] if rows else "open"
    return state


def set_admission(storage: Storage, state: Admission) -> Admission:
    """Open, pause or close a study; a running server acts on it at once.

    Parameters
    ----------
    storage : Storage
    state : str
        Key of `ADMISSIONS`.

    Returns
    -------
    str
        What it was before.
    """

    def work(connection: Connection) -> Admission:
        storage.lock_assignment(connection)
        before = admission(connection)
        if before != state:
            connection.execute(sa.update(_R).values(admission=state))
            _log(connection, time.time(), "admission", before, state)
        return before

    return storage.write(work)


def log_out(storage: Storage, login: str) -> None:
    """Write down that a login of the dashboard has ended, so that no server takes its cookie any more."""
    values = {"at": time.time(), "kind": LOGGED_OUT, "detail": hashlib.sha256(login.encode()).hexdigest()}
    storage.write(lambda connection: connection.execute(sa.insert(_E).values(values)))


def is_logged_out(connection: Connection, login: str) -> bool:
    """Whether `log_out` was called for a login."""
    ended = sa.select(_E.c.id).where(_E.c.kind == LOGGED_OUT, _E.c.detail == hashlib.sha256(login.encode()).hexdigest())
    return connection.execute(ended.limit(1)).first() is not None


def unlocked_at(connection: Connection) -> float | None:
    """When the fool rates were first looked at (seconds since 1970); None while they are hidden."""
    at: float | None = connection.execute(sa.select(_R.c.unlocked_at)).scalar()
    return at


def unlock(storage: Storage) -> None:
    """Show fool rates from now on, and write down when: looking early is part of the record."""

    def work(connection: Connection) -> None:
        now = time.time()
        updated = connection.execute(sa.update(_R).where(_R.c.unlocked_at.is_(None)).values(unlocked_at=now))
        if updated.rowcount:
            connection.execute(sa.insert(_E).values(at=now, kind="unlocked"))

    storage.write(work)
