"""The history's SQLite file: opened, created, and where it is damaged made anew of what can be read. Knows no Tk."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from keras_transformer.errors import UserError

_LOGGER = logging.getLogger(__name__)
_Result = TypeVar("_Result")

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0  # how long one window waits for the other's write

# AUTOINCREMENT: an id is never given twice, for a window may hold one that another window deletes.
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL,
    source_language TEXT NOT NULL, target_language TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL
)"""
COLUMNS = "id, time, source_language, target_language, source, target"
# Without diacritics "citta" finds "città"; the prefix indexes make the first letters typed as fast as a word.
_INDEX = """
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    source, target, content='entries', content_rowid='id',
    tokenize='unicode61 remove_diacritics 2', prefix='1 2 3'
)"""
_FORGET = "INSERT INTO words(words, rowid, source, target) VALUES ('delete', old.id, old.source, old.target)"
_LEARN = "INSERT INTO words(rowid, source, target) VALUES (new.id, new.source, new.target)"
_TRIGGERS = {
    "words_insert": f"AFTER INSERT ON entries BEGIN {_LEARN}; END",
    "words_delete": f"AFTER DELETE ON entries BEGIN {_FORGET}; END",
    "words_update": f"AFTER UPDATE ON entries BEGIN {_FORGET}; {_LEARN}; END",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class HistoryDatabase:
    """One connection to the file, made at the first call. Any thread may call; calls wait for each other.

    The journal is a write-ahead log: what was committed survives a kill of the process, and two
    windows write side by side.

    Args:
        path: The file, or None for a database in memory.
        use_index: False leaves out the word index, as where SQLite was built without FTS5.
    """

    def __init__(self, path: Path | None, *, use_index: bool = True) -> None:
        self.path = path
        self.is_indexed = False  # known once it is open
        self.set_aside: Path | None = None  # where a damaged file went
        self._use_index = use_index
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` on the database; of a damaged one `work` meets a new one, with the entries that can be read.

        Raises:
            UserError: the file cannot be read or written, or a newer version wrote it.
        """
        with self._lock:
            try:
                return work(self._connection or self._open())
            except sqlite3.DatabaseError as error:
                if self.path is None or not _is_damage(error):
                    raise self._failure(error) from error
                aside = self._set_aside(self.path, error)
            try:
                connection = self._open()
                if aside is not None:
                    self._rescue(aside, connection)
                return work(connection)
            except sqlite3.DatabaseError as error:
                raise self._failure(error) from error

    def write(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Like `run`, in one transaction: all of `work` is kept or nothing."""

        def transaction(connection: sqlite3.Connection) -> _Result:
            with _transaction(connection):
                return work(connection)

        return self.run(transaction)

    def clear(self) -> None:
        """Delete every entry, and its bytes from the file."""

        def empty(connection: sqlite3.Connection) -> None:
            _drop_triggers(connection)  # row by row they would take a minute for a large history
            connection.execute("DELETE FROM entries")
            if self.is_indexed:
                connection.execute("INSERT INTO words(words) VALUES ('delete-all')")
                _create_triggers(connection)

        self.write(empty)
        self.run(lambda connection: connection.execute("VACUUM"))
        self.fold_journal()

    def forget_deleted(self) -> None:
        """Remove the words of deleted entries from the index, and their bytes from the file."""
        if self.is_indexed:
            # Without it the index keeps the words until it next merges.
            self.write(lambda connection: connection.execute("INSERT INTO words(words) VALUES ('optimize')"))
        self.fold_journal()

    def fold_journal(self) -> None:
        """Move the journal into the file and empty it."""
        self.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _failure(self, error: sqlite3.Error) -> UserError:
        return UserError(
            f"The history must be readable and writable at {self.path}, SQLite says: {error}. "
            "Free disk space, or switch the history off."
        )

    def _open(self) -> sqlite3.Connection:
        if self.path is not None:
            self._inode = _touch(self.path)
        connection = sqlite3.connect(
            self.path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _use_journal(connection)
            connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # a kill loses nothing, a power cut no old entry
            connection.execute("PRAGMA secure_delete = ON")  # zeros over what was deleted
            with _transaction(connection):
                self._create(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise UserError(
                f"The history at {self.path} must be of format {SCHEMA_VERSION} or older, got {version}. "
                "Upgrade keras_transformer."
            )
        connection.execute(_TABLE)
        self.is_indexed = self._use_index and _create_index(connection)
        if not self.is_indexed:
            # They would need the index; whoever has one again finds them gone and rebuilds it.
            _drop_triggers(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _set_aside(self, path: Path, reason: Exception) -> Path | None:
        """Rename the damaged file and its journal; None where another window has done so already."""
        self.close()
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if self._inode is not None and (status.st_dev, status.st_ino) != self._inode:
                return None
        names = (f"{path.name}{'' if number == 1 else f'.{number}'}.bad" for number in itertools.count(1))
        aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
        _LOGGER.warning("%s was set aside as %s: %s", path, aside.name, reason)
        for ending in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{ending}", f"{aside}{ending}")
        return aside

    def _rescue(self, aside: Path, connection: sqlite3.Connection) -> None:
        """Take over the entries that can still be read: often only the index is damaged, which follows from them.

        The damaged file stays where one of them could not.
        """
        whole = False

        def entries(damaged: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
            nonlocal whole
            with contextlib.suppress(sqlite3.DatabaseError):
                yield from damaged.execute(f"SELECT {COLUMNS} FROM entries")
                whole = True

        address = f"{aside.absolute().as_uri()}?mode=ro"  # it stays as it was found
        with contextlib.closing(sqlite3.connect(address, uri=True)) as damaged, _transaction(connection):
            connection.executemany(
                f"INSERT OR IGNORE INTO entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", entries(damaged)
            )
        if not whole:
            self.set_aside = aside
            return
        _LOGGER.warning("every entry of %s could be read; it was replaced", aside.name)
        for ending in ("-wal", "-shm", ""):
            Path(f"{aside}{ending}").unlink(missing_ok=True)


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE  # without the extended part


def _touch(path: Path) -> tuple[int, int]:
    """Create the file private to the user (SQLite gives its journal the same mode); returns which file it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        status = os.stat(path)
    except OSError as error:
        raise UserError(
            f"The history must be writable at {path}, it is not: {error.strerror}. "
            "Correct the permissions, or switch the history off."
        ) from None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")  # waits for the other window here, not half-way
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _use_journal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself for a window that does the same."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _create_index(connection: sqlite3.Connection) -> bool:
    """Create index and triggers where they are missing; False where SQLite has no such index."""
    try:
        connection.execute(_INDEX)
        connection.execute("SELECT rowid FROM words LIMIT 0")
    except sqlite3.OperationalError as error:
        if "no such module" in str(error):
            return False
        raise
    if sqlite3.sqlite_version_info >= (3, 42):
        connection.execute("INSERT INTO words(words, rank) VALUES ('secure-delete', 1)")
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    if not names.issuperset(_TRIGGERS):
        _create_triggers(connection)
        connection.execute("INSERT INTO words(words) VALUES ('rebuild')")
    return True


def _create_triggers(connection: sqlite3.Connection) -> None:
    for name, body in _TRIGGERS.items():
        connection.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {body}")


def _drop_triggers(connection: sqlite3.Connection) -> None:
    for name in _TRIGGERS:
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
