"""An answer as one statement of PostgreSQL: checks, stores, advances, and reads what comes next in one round trip.

It does what `turing_test.sessions.presentation.answer` does step by step, for the answers that nothing is wrong with; for all
others it does nothing and says so. SQLite has no statement like this, and no round trips to save.
"""

from __future__ import annotations

from typing import Any

from turing_test.database.storage import Storage
from turing_test.sessions.snapshot import SESSION_COLUMNS, TRIAL_COLUMNS, Snapshot, snapshot_of
from turing_test.sessions.states import ACTIVE
from turing_test.sessions.tokens import digest

__all__ = ["answer_at_once"]

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


def answer_at_once(
    storage: Storage,
    token: str,
    position: int,
    load: str,
    response: str,
    response_ms: float,
    *,
    now: float,
    timeout_s: float,
    least_s: float,
) -> tuple[Snapshot, str, str | None] | None:
    """Store an answer that nothing is wrong with.

    Parameters
    ----------
    storage : Storage
        PostgreSQL.
    token, position, load, response, response_ms
        As of `turing_test.sessions.presentation.answer`.
    now : float
        Seconds since 1970.
    timeout_s : float
        How long a session may have been idle.
    least_s : float
        Seconds from the begin of a trial to the first answer that can be honest.

    Returns
    -------
    tuple or None
        The session after it, and phase and true position of the trial; None when nothing was done.
    """
    parameters: dict[str, Any] = {
        "token_hash": digest(token), "position": position, "load": load, "response": response,
        "response_ms": float(response_ms), "now": now, "oldest": now - timeout_s,
        "latest_begin": now - least_s,
    }  # fmt: skip
    rows = storage.run_statement(_TEXT, parameters)
    if not rows:
        return None
    phase, real_position = rows[0][:2]
    return snapshot_of([row[2:] for row in rows]), phase, real_position
