"""An answer as one statement of PostgreSQL: checks, stores, advances, and reads what comes next in one round trip.

It does what `turing_test.sessions.presentation.answer` does step by step, for the answers that nothing is wrong with; for all
others it does nothing and says so. Several answers are so many statements in one transaction, sent without waiting for one
another. SQLite has no statement like this, and no round trips to save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from turing_test.database.storage import Storage
from turing_test.sessions.snapshot import SESSION_COLUMNS, TRIAL_COLUMNS, Snapshot, snapshot_of
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import digest

__all__ = ["GivenAnswer", "answer_at_once", "answer_together"]


class GivenAnswer(NamedTuple):
    """An answer as the page gives it.

    Attributes
    ----------
    token : str
        Of the session.
    position : int
        The trial as the participant counts, from 1.
    load : str
        Differs for each time the page is loaded.
    response : str
        One of those that the preset asks for.
    response_ms : float
        From the question to the answer.
    """

    token: str
    position: int
    load: str
    response: str
    response_ms: float

    @classmethod
    def of(cls, token: str, position: int, body: Mapping[str, Any]) -> GivenAnswer:
        """From the body of a request, which is of the described form."""
        return cls(token, position, body["load"], body["response"], body["response_ms"])


_SESSION = ", ".join(f"a.{name}" for name in SESSION_COLUMNS)
_TRIAL = ", ".join(f"n.{name}" for name in TRIAL_COLUMNS)
_STATES = ", ".join(f"'{state}'" for state in ACTIVE[1:])

# The session's row is locked first, as everywhere, so that whoever waited sees it as it is now. The trial is found by
# the statement's snapshot and checked again as it is now; if it changed meanwhile, no row comes out of `answered`, and
# then none out of `advanced`: all happens or nothing. Scalar subqueries, not joins: they are looked up by index
# whatever the planner believes about the size of the tables.
_TEXT = f"""
WITH locked AS (
  SELECT id, simulated FROM session
  WHERE token_hash = %(token_hash)s AND position = %(position)s AND state IN ({_STATES}) AND updated_at >= %(oldest)s
    AND n_trials > %(position)s  -- the last answer decides how the session ends, which is told step by step
  FOR UPDATE
), answered AS (
  UPDATE trial t
  SET state = 'answered', answered_at = %(now)s, response = %(response)s, response_ms = coalesce(t.response_ms, %(response_ms)s),
      flags = CASE WHEN t.state <> 'shown' THEN 'untimed'
                   WHEN t.load <> %(load)s AND position('reloaded' IN coalesce(t.flags, '')) = 0
                   THEN trim(coalesce(t.flags, '') || ' reloaded')
                   ELSE coalesce(t.flags, '') END
  WHERE t.session_id = (SELECT id FROM locked) AND t.position = %(position)s
    AND ((t.state = 'shown' AND (t.begun_at <= %(latest_begin)s OR t.begun_at > %(now)s OR (SELECT simulated FROM locked)))
         OR ((SELECT simulated FROM locked) AND t.state IN ('pending', 'begun')))
  RETURNING t.session_id, t.phase, t.real_position
), advanced AS (
  UPDATE session s
  SET position = %(position)s + 1, updated_at = %(now)s,
      check_at = CASE WHEN s.holds_place THEN s.check_at ELSE 0 END,  -- whoever comes back takes a place again
      state = (
        SELECT n.phase FROM trial n
        WHERE n.session_id = s.id AND n.position = %(position)s + 1 AND n.state <> 'replaced')
  WHERE s.id = (SELECT session_id FROM answered)
  RETURNING s.*
)
SELECT (SELECT phase FROM answered), (SELECT real_position FROM answered), {_SESSION}, {_TRIAL}
FROM advanced a
LEFT JOIN trial n
  ON n.session_id = a.id AND n.position IN (%(position)s + 1, %(position)s + 2) AND n.state <> 'replaced'
ORDER BY n.position
"""


# Whoever stores many answers waits for no single session: it is told apart, and waited for, by itself.
_TEXT_WITHOUT_WAITING = _TEXT.replace("FOR UPDATE\n", "FOR UPDATE SKIP LOCKED\n")

Stored = tuple[Snapshot, str, str | None]
"""The session after an answer, and phase and true position of the trial."""


def answer_at_once(
    storage: Storage, given: GivenAnswer, *, now: float, timeout_s: float, least_s: float
) -> Stored | None:
    """Store an answer that nothing is wrong with.

    Parameters
    ----------
    storage : Storage
        PostgreSQL.
    given : GivenAnswer
    now : float
        Seconds since 1970.
    timeout_s : float
        How long a session may have been idle.
    least_s : float
        Seconds from the begin of a trial to the first answer that can be honest.

    Returns
    -------
    tuple or None
        None when nothing was done.
    """
    return _stored(storage.run_statement(_TEXT, _parameters(given, now, timeout_s, least_s)))


def answer_together(
    storage: Storage, given: Sequence[GivenAnswer], *, now: float, timeouts_s: Sequence[float], least_s: float
) -> list[Stored | None]:
    """Store answers of different sessions as `answer_at_once` does, in one transaction.

    Returns
    -------
    list
        For each answer; None also for one whose session somebody else is changing at the moment.
    """
    parameters = [
        _parameters(answer, now, timeout_s, least_s) for answer, timeout_s in zip(given, timeouts_s, strict=True)
    ]
    return [_stored(rows) for rows in storage.run_statements(_TEXT_WITHOUT_WAITING, parameters)]


def _parameters(given: GivenAnswer, now: float, timeout_s: float, least_s: float) -> dict[str, Any]:
    return {
        "token_hash": digest(given.token), "position": given.position, "load": given.load, "response": given.response,
        "response_ms": float(given.response_ms), "now": now, "oldest": now - timeout_s, "latest_begin": now - least_s,
    }  # fmt: skip


def _stored(rows: Sequence[tuple[Any, ...]]) -> Stored | None:
    if not rows:
        return None
    phase, real_position = rows[0][:2]
    return snapshot_of([row[2:] for row in rows]), phase, real_position
