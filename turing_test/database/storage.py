"""The database of a study: SQLite by default, PostgreSQL by URL; what is acknowledged is on disk.

`Storage.read` and `Storage.write` run one function in one transaction. Writing is serialised where it must be: SQLite
has one writer (``BEGIN IMMEDIATE``, shared commits); on PostgreSQL the functions lock the rows they change.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from evalkit.errors import InputError
from turing_test.database.before_commit import finish
from turing_test.database.group_commit import GroupCommit
from turing_test.database.pooled import Settings
from turing_test.database.prepared import Prepared

__all__ = [
    "Storage",
    "StorageUnavailable",
    "as_unavailable",
    "default_url",
    "private_file",
]

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for another process that writes."""

QUEUE_TIMEOUT_S = 60.0
"""How long somebody waits for the turn to be assigned: whoever is ahead gets on, so a slow machine refuses nobody."""

ASSIGNMENT_LOCK = 0x5EA1
"""Key of PostgreSQL's advisory lock under which participants are assigned and the schema is made."""


class StorageUnavailable(RuntimeError):
    """The database cannot be used now (locked, full, unreachable); nothing was changed, and trying later helps."""


def default_url(folder: Path) -> str:
    """URL of the SQLite database in a study folder."""
    return f"sqlite:///{folder.resolve() / 'study.db'}"


# Evaluated from left to right, so the longer time holds for this one lock.
_LOCK_ASSIGNMENT = Prepared(
    sa.select(
        sa.func.set_config("evalkit.lock_timeout", sa.func.current_setting("lock_timeout"), True),
        sa.func.set_config("lock_timeout", f"{QUEUE_TIMEOUT_S:.0f}s", True),
        sa.func.pg_advisory_xact_lock(ASSIGNMENT_LOCK),
        sa.func.set_config("lock_timeout", sa.func.current_setting("evalkit.lock_timeout"), True),
    )
)


class Storage:
    """A study's database.

    Parameters
    ----------
    url : str
        ``sqlite:///PATH`` or ``postgresql://USER@HOST/DATABASE`` (psycopg 3 is used whatever the scheme says).
    connections : int
        How many may be open at once: one a thread of the server.
    busy_timeout_s : float
        How long to wait for another writer before `StorageUnavailable`.

    Raises
    ------
    InputError
        For a URL of another kind.
    """

    def __init__(self, url: str, *, connections: int = 16, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        parsed = _parse(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.url = parsed
        # Waiting for a free connection is waiting for the database: the same limit holds for both.
        pool: dict[str, Any] = {"pool_size": connections, "max_overflow": 4, "pool_timeout": 2 * busy_timeout_s}
        if self.is_sqlite:
            # Several threads use a connection, one after the other: the pool and the group see to that.
            options: dict[str, Any] = {"timeout": busy_timeout_s, "check_same_thread": False}
            self.engine = sa.create_engine(parsed, connect_args=options, poolclass=sa.QueuePool, **pool)
            _prepare_sqlite(self.engine)
            self._group = GroupCommit(self._connect_writer, _is_unavailable)
            self._files = _Files(Path(parsed.database or ""))
            self._reading = self.engine
        else:
            settings = {
                "lock_timeout": str(int(1000 * busy_timeout_s)),
                "synchronous_commit": "on",
                "plan_cache_mode": "force_generic_plan",
            }
            self.engine = sa.create_engine(parsed, connect_args={"connect_timeout": 5}, **pool)
            self._settings = Settings(self.engine, settings)
            # Its default shows each statement of a transaction what others committed meanwhile.
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")
            self._group = GroupCommit(self.connect_to_change, _is_unavailable)
        self._at_hand: deque[Any] = deque()
        self._turns = threading.BoundedSemaphore(connections)
        self._turn_timeout_s = 2 * busy_timeout_s
        self._is_closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads, on one consistent state of the database.

        Raises
        ------
        StorageUnavailable
            When the database does not answer.
        """
        with as_unavailable():
            if self.is_sqlite:
                self._files.check()
            with self._reading.connect() as connection:
                return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes the database, and return when the change is on disk.

        Parameters
        ----------
        work : callable
            May be run twice, the first time rolled back; it changes nothing but the database.

        Raises
        ------
        StorageUnavailable
            When the database is locked, full or does not answer: then nothing has changed.
        """
        with as_unavailable():
            if self.is_sqlite:
                self._files.check()
                result = self._group.run(work)
                self._files.check_after_commit()  # nothing is acknowledged that went into a file without a name
                return result
            with self.engine.begin() as connection:
                result = work(connection)
                finish(connection)
                return result

    def write_many(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for functions that change many rows one after the other: PostgreSQL is not waited for between them.

        What is wrong with one statement is told by a later one, or at the end: then nothing of all has changed.

        Parameters
        ----------
        work : callable
            Runs `Prepared` statements alone: SQLAlchemy's own want to know at once what they return.
        """
        if self.is_sqlite:
            return self.write(work)
        with as_unavailable(), self.engine.begin() as connection:
            raw: Any = connection.connection.driver_connection
            with raw.pipeline():
                return work(connection)

    def write_in_turn(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for functions that call `lock_assignment` first: those that come meanwhile share one transaction.

        On PostgreSQL, one commit for each would let all the others wait for the disk as well.
        """
        if self.is_sqlite:
            return self.write(work)
        with as_unavailable():
            return self._group.run(work)

    def run_statement(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement of PostgreSQL that is a transaction by itself: it is on disk when this returns.

        Its connections stay at hand, for whichever thread comes next: to take one from the pool and give it back costs as
        much as the statement. There are no more of them than may be open at once.

        Raises
        ------
        StorageUnavailable
            As `write`.
        """
        with as_unavailable(), self._connection_at_hand() as connection:
            if not self._settings.is_pooled:
                return list(connection.execute(statement, parameters).fetchall())
            with connection.transaction():
                connection.execute(self._settings.statement)
                return list(connection.execute(statement, parameters).fetchall())

    def run_statements(self, statement: str, parameters: Sequence[Mapping[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """Run one statement of PostgreSQL with several sets of parameters, in one transaction: on disk when this returns.

        All are sent before the first result is waited for.

        Raises
        ------
        StorageUnavailable
            As `write`; then nothing of all of them has changed.
        """
        with as_unavailable(), self._connection_at_hand() as connection:
            with connection.pipeline(), connection.transaction():
                if self._settings.is_pooled:
                    connection.execute(self._settings.statement)
                cursors = [connection.execute(statement, values) for values in parameters]
            return [list(cursor.fetchall()) for cursor in cursors]

    @contextmanager
    def _connection_at_hand(self) -> Iterator[Any]:
        """A connection of psycopg; one with which something fails is closed."""
        if not self._turns.acquire(timeout=self._turn_timeout_s):
            raise sa.exc.TimeoutError
        try:
            try:
                connection = self._at_hand.pop()
            except IndexError:
                connection = self._connect_by_itself()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._at_hand.append(connection)
            if self._is_closed:
                self._close_at_hand()
        finally:
            self._turns.release()

    def _connect_by_itself(self) -> Any:
        pooled = self.engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        connection.autocommit = True
        return connection

    def lock_assignment(self, connection: Connection) -> None:
        """Let one transaction at a time assign participants; ends with the transaction."""
        if not self.is_sqlite:  # SQLite's BEGIN IMMEDIATE has seen to it
            _LOCK_ASSIGNMENT.all(connection)

    def upgrade(self) -> None:
        """Bring the tables to this version of the toolkit; makes them in a new database.

        Raises
        ------
        InputError
            When the database was made by a newer version.
        StorageUnavailable
            When the database cannot be used now.
        """
        from turing_test.database.migrations import upgrade

        with as_unavailable():
            if self.is_sqlite:
                private_file(Path(self.url.database or ""))
            with self.connect_to_change() as connection, _without_foreign_keys(connection), connection.begin():
                self.lock_assignment(connection)
                upgrade(connection)
            if self.is_sqlite:
                self._files.remember()

    def close(self) -> None:
        """Close all connections."""
        self._group.close()
        self._is_closed = True
        self._close_at_hand()
        self.engine.dispose()

    def _close_at_hand(self) -> None:
        with suppress(IndexError):
            while True:
                self._at_hand.pop().close()

    def _connect_writer(self) -> Connection:
        self._files.forget_log()
        return self.connect_to_change()

    def connect_to_change(self) -> Connection:
        """A connection whose transactions may write: on SQLite each is the only one from its begin on."""
        return self.engine.connect().execution_options(evalkit_begin="BEGIN IMMEDIATE")


def private_file(path: Path) -> None:
    """Make an empty file that its owner alone can read, unless it is there: a database is nobody else's business.

    What SQLite puts beside it gets the same permissions.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageUnavailable(f"The database cannot be used now: {path}: {error.strerror or error}.") from None


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Say `StorageUnavailable`, or a sentence, where a driver says that the database cannot be used."""
    try:
        yield
    except Exception as error:
        raise _translate(error) from error


_REMOVED = (
    "The database cannot be used now: {name} was removed or replaced while it was in use. Put it back and start the server "
    "again; use evalkit study reset, backup and move instead of rm, cp and mv."
)


class _Files:
    """Whether the files of a SQLite database are still those that were opened.

    A process goes on writing into a file that was removed or replaced, and SQLite does not notice: what it acknowledges
    is gone with the process.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log_path = str(path), f"{path}-wal"
        self._file: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None

    def remember(self) -> None:
        """Take the file that is there for the right one."""
        self._file = _inode(self._path)

    def forget_log(self) -> None:
        """A new connection writes; SQLite removes the log with the last connection and makes a new one with the next."""
        self._log = None

    def check(self) -> None:
        """Refuse to go on when the file is another one, or gone."""
        self._file = self._compare(self._path, self._file)

    def check_after_commit(self) -> None:
        """The same for the file and its log, which must be there and the same as long as a connection writes."""
        self.check()
        self._log = self._compare(self._log_path, self._log)
        if self._log is None:
            raise StorageUnavailable(_REMOVED.format(name=self._log_path))

    def _compare(self, name: str, opened: tuple[int, int] | None) -> tuple[int, int] | None:
        current = _inode(name)
        if opened is not None and current != opened:
            raise StorageUnavailable(_REMOVED.format(name=name))
        return current


def _inode(name: str) -> tuple[int, int] | None:
    try:
        status = os.stat(name)  # noqa: PTH116 - twice an answer: a Path costs as much as the call
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite alters a table by making it anew, and dropping the old one would delete every row that refers to it."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    raw.execute("PRAGMA foreign_keys = OFF")  # outside of a transaction: inside it does nothing
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys = ON")


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # not even in a message: it may hold a password
        raise InputError(
            "the database's URL cannot be read; allowed is sqlite:///PATH or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, PORT a number."
        ) from None
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite+pysqlite")
    shown = parsed.render_as_string(hide_password=True)
    raise InputError(
        f"the database is {shown!r}; allowed is a file, sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/DATABASE."
    )


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, not where sqlite3 guesses
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # the default of WAL builds may be NORMAL: loses the last commits
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("evalkit_begin", "BEGIN"))


_SQLITE_REASONS = {
    "locked": "it is locked by another program",
    "full": "the disk is full",
    "disk i/o": "the disk reports an error",
    "unable to open": "its file cannot be opened",
    "readonly": "its file cannot be written",
}


def _reason(error: BaseException) -> str | None:
    """Why the database cannot be used, in words; None when the error is another one."""
    if isinstance(error, sa.exc.TimeoutError):
        return "too many requests wait for it"
    original = _original(error)
    if isinstance(original, sqlite3.OperationalError):
        text = str(original).lower()
        return next((words for key, words in _SQLITE_REASONS.items() if key in text), None)
    # psycopg: connection, resources, locks. Its own name, because SQLite must not import it.
    if type(original).__module__.startswith("psycopg") and _is_operational(original):
        return " ".join(str(original).split("\n")[0].split()) or "it does not answer"
    return None


def _original(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


def _is_operational(error: BaseException | None) -> bool:
    import psycopg

    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _is_unavailable(error: BaseException) -> bool:
    return _reason(error) is not None


def _translate(error: Exception) -> Exception:
    original = _original(error)
    if isinstance(original, sqlite3.DatabaseError) and "not a database" in str(original):
        return InputError("the database's file is no SQLite database, or is damaged; restore the last backup.")
    reason = _reason(error)
    return error if reason is None else StorageUnavailable(f"The database cannot be used now: {reason}.")
