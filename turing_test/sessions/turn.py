"""What those who are assigned in one transaction need to know: read once, then kept up with what they take.

Whoever comes while a commit is under way shares the next one (`Storage.write_in_turn`), and under `Storage.lock_assignment`
nobody else moves the counters. So a crowd asks the database once for a transaction, not once for each of its people, and on
PostgreSQL its sessions are stored together before the transaction ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection

from turing_test.database.before_commit import do_before_commit
from turing_test.database.storage import Storage
from turing_test.database.study_record import Admission, admission
from turing_test.sessions.assignment import Arm, BlockOrder, Judged
from turing_test.sessions.new_sessions import NewSession, new_keys, store_session, store_sessions
from turing_test.sessions.place_counters import settle
from turing_test.sessions.places import has_room, images_shown, sessions_by_order, unused_links
from turing_test.study.study_folder import Study

__all__ = ["Turn"]

_KEY = "evalkit_turn"

_Shown = Counter[tuple[Arm | None, str, str]]


class Turn:
    """One transaction in which participants are assigned.

    Attributes
    ----------
    admission : str
        What the study does with those who come.
    """

    def __init__(self, connection: Connection, study: Study) -> None:
        self.admission: Admission = admission(connection)
        self._connection, self._study = connection, study
        self._taken: dict[bool, Counter[tuple[Judged, BlockOrder]]] = {}
        self._sessions: dict[bool, Counter[Judged]] = {}
        self._shown: dict[tuple[bool, Judged | None], _Shown] = {}
        self._unused_links: int | None = None
        self._not_stored: dict[int, NewSession] = {}
        self._hashes_not_stored: set[str | None] = set()
        self._keys: list[int] = []
        self._n_keys = 1

    @classmethod
    def of(cls, connection: Connection, storage: Storage, study: Study, now: float) -> Turn:
        """The turn of the connection's transaction; the first to ask begins it, with counters that are up to date."""
        transaction = connection.get_transaction()
        begun_in, turn = connection.info.get(_KEY, (None, None))
        if turn is None or begun_in is not transaction:
            storage.lock_assignment(connection)
            settle(connection, study, now)
            turn = cls(connection, study)
            connection.info[_KEY] = transaction, turn
            do_before_commit(connection, turn.store)
        found: Turn = turn
        return found

    @staticmethod
    def end(connection: Connection) -> None:
        """Whoever comes next in this transaction reads anew: a session has changed that is counted, or will be."""
        begun_in, turn = connection.info.pop(_KEY, (None, None))
        if turn is not None and begun_in is connection.get_transaction():
            turn.store()

    def sessions(self, *, simulated: bool) -> Mapping[Judged, int]:
        """Sessions that hold a place, by the arms that they judge."""
        if simulated not in self._sessions:
            self._sessions[simulated] = Counter()
            for (judged, _), times in self.sessions_by_order(simulated=simulated).items():
                self._sessions[simulated][judged] += times
        return self._sessions[simulated]

    def sessions_by_order(self, *, simulated: bool) -> Mapping[tuple[Judged, BlockOrder], int]:
        """The same by arms and the order of the blocks of images."""
        if simulated not in self._taken:
            self._taken[simulated] = Counter(sessions_by_order(self._connection, simulated=simulated))
        return self._taken[simulated]

    def images_shown(self, judged: Judged, *, simulated: bool) -> _Shown:
        """As `turing_test.sessions.places.images_shown`."""
        key = simulated, judged if len(judged) == 1 else None
        if key not in self._shown:
            self._shown[key] = images_shown(self._connection, judged, simulated=simulated)
        return self._shown[key]

    def has_room(self, *, by_link: bool, simulated: bool) -> bool:
        """Whether one more session is wanted (`turing_test.sessions.places.has_room`)."""
        if self._unused_links is None:
            self._unused_links = unused_links(self._connection)
        kept = 0 if by_link or simulated else self._unused_links
        return has_room(self._study, self.sessions(simulated=simulated), kept)

    def use_link(self) -> None:
        """A link was used; how many are left is asked anew."""
        self._unused_links = None

    def take(self, session: NewSession, judged: Judged, shown: _Shown) -> int:
        """Count a session, and the images that it shows; its key.

        On PostgreSQL it is stored when the transaction ends, or when `store` is called.
        """
        simulated, block_order = session.values["simulated"], session.values["block_order"]
        self._sessions[simulated][judged] += 1
        self._taken[simulated][judged, block_order] += 1
        self._shown[simulated, judged if len(judged) == 1 else None].update(shown)
        if self._connection.dialect.name == "sqlite":  # where nothing is saved by waiting
            return store_session(self._connection, session)
        if not self._keys:
            self._keys = new_keys(self._connection, self._n_keys)[::-1]
            self._n_keys = 8  # one at first: whoever comes alone leaves no gap
        key = self._keys.pop()
        self._not_stored[key] = session
        self._hashes_not_stored |= {session.values["person_hash"], session.values["arrival_hash"]}
        return key

    def store_if_of(self, person_hash: str | None, arrival_hash: str | None) -> None:
        """Store the sessions, when one of them is of this person or came from the same place."""
        if ({person_hash, arrival_hash} - {None}) & self._hashes_not_stored:
            self.store()

    def store(self) -> None:
        """Store the sessions that are not yet."""
        sessions, self._not_stored, self._hashes_not_stored = self._not_stored, {}, set()
        if sessions:
            store_sessions(self._connection, sessions)
