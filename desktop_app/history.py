"""What was translated: kept on this computer, searched by the beginnings of words. Knows no Tk."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from desktop_app.history_database import COLUMNS, HistoryDatabase
from desktop_app.plain_text import clean_text

_LOGGER = logging.getLogger(__name__)

PREVIEW_CHARACTERS = 300
_GROWING_SECONDS = 600.0  # a text that goes on within this time is one entry
_BATCH = 1000
# Scripts written without spaces (Thai to Khmer, Chinese, Japanese): the index knows whole runs of them only.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Entry:
    """One translation; `time` in seconds since 1970, UTC. From `search`, the texts are their beginnings."""

    id: int
    time: float
    source_language: str
    target_language: str
    source: str
    target: str


def history_path() -> Path | None:
    """Return this user's history file, or None where platformdirs is not installed."""
    try:
        import platformdirs
    except ImportError:
        _LOGGER.info("platformdirs is not installed; the history ends with the window")
        return None
    return platformdirs.user_data_path("keras_transformer", appauthor=False) / "history.sqlite"


class History:
    """The history of one user; two windows may use it at once. Any thread may call.

    Every method raises UserError where the file cannot be read or written.

    Args:
        path: The database, or None for one in memory that ends with the process.
        use_index: False searches without SQLite's word index, as where SQLite was built without FTS5.
    """

    def __init__(self, path: Path | None, *, use_index: bool = True) -> None:
        self._database = HistoryDatabase(path, use_index=use_index)
        self._newest_id = 0  # of the entries of this window
        self._newest_time = 0.0

    def take_notice(self) -> Path | None:
        """Return where a damaged file was set aside, once; None where there is nothing to say."""
        aside, self._database.set_aside = self._database.set_aside, None
        return aside

    def add(self, source: str, target: str, source_language: str, target_language: str) -> int:
        """Keep a translation and return its id, or 0 where one of the texts is empty.

        A text in the making is one entry: what goes on from this window's newest entry takes its
        place, and a beginning of it is not kept again.
        """
        source, target = clean_text(source), clean_text(target)
        if not source.strip() or not target.strip():
            return 0
        now = time.time()
        pair = source_language, target_language

        def write(connection: sqlite3.Connection) -> int:
            newest = connection.execute(
                "SELECT source FROM entries WHERE (id, source_language, target_language) = (?, ?, ?)",
                (self._newest_id, *pair),
            ).fetchone()
            if newest is not None and now - self._newest_time < _GROWING_SECONDS:
                if source.startswith(newest[0]):
                    connection.execute(
                        "UPDATE entries SET (time, source, target) = (?, ?, ?) WHERE id = ?",
                        (now, source, target, self._newest_id),
                    )
                    return self._newest_id
                if newest[0].startswith(source):
                    return self._newest_id
            cursor = connection.execute(
                "INSERT INTO entries (time, source_language, target_language, source, target)"
                " VALUES (?, ?, ?, ?, ?)",
                (now, *pair, source, target),
            )
            return cursor.lastrowid or 0

        self._newest_id = self._database.write(write)
        self._newest_time = now
        return self._newest_id

    def search(self, query: str = "", limit: int = 200, before_id: int | None = None) -> list[Entry]:
        """Return entries that hold a word beginning like each word of `query`, newest first.

        Args:
            query: "" finds everything. Signs alone, and text in a script without spaces, are looked
                for as they stand.
            limit: At most so many entries.
            before_id: Only entries older than this one: the next page.
        """

        def find(connection: sqlite3.Connection) -> list[Entry]:
            statement, values = _search_statement(query, self._database.is_indexed, before_id)
            return [Entry(*row) for row in connection.execute(statement, (*values, limit))]

        return self._database.run(find)

    def get(self, entry_id: int) -> Entry | None:
        """Return one entry with its whole texts, or None where it has gone."""
        statement = f"SELECT {COLUMNS} FROM entries WHERE id = ?"
        row = self._database.run(lambda c: c.execute(statement, (entry_id,)).fetchone())
        return None if row is None else Entry(*row)

    def count(self) -> int:
        """Return how many entries there are."""
        return int(self._database.run(lambda c: c.execute("SELECT count(*) FROM entries").fetchone()[0]))

    def entries(self) -> Iterator[Entry]:
        """Yield every entry with its whole texts, oldest first; read in batches, so nobody waits for it."""
        statement = f"SELECT {COLUMNS} FROM entries WHERE id > ? ORDER BY id LIMIT {_BATCH}"
        last_id = 0

        def batch(connection: sqlite3.Connection) -> list[Entry]:
            return [Entry(*row) for row in connection.execute(statement, (last_id,))]

        while found := self._database.run(batch):
            yield from found
            last_id = found[-1].id

    def delete(self, entry_ids: Iterable[int]) -> None:
        """Delete entries, their words in the index and their bytes in the file."""
        rows = [(number,) for number in entry_ids]
        self._database.write(lambda c: c.executemany("DELETE FROM entries WHERE id = ?", rows))
        self._database.forget_deleted()

    def clear(self) -> None:
        """Delete everything, and its bytes in the file."""
        self._database.clear()

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._database.close()


def _search_statement(query: str, indexed: bool, before_id: int | None) -> tuple[str, list[str | int]]:
    """The statement of a search without its limit's value, and its other values."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", query))
    as_it_stands = not words or _UNSPACED.search(query) is not None
    conditions: list[str] = []
    values: list[str | int] = []
    table, number = "entries", "entries.id"
    if indexed and not as_it_stands:
        table, number = "words JOIN entries ON entries.id = words.rowid", "words.rowid"
        conditions.append("words MATCH ?")
        values.append(" ".join(f'"{word}"*' for word in words))
    else:
        for part in filter(None, [query.strip()] if as_it_stands else words):
            conditions.append("(entries.source LIKE ? ESCAPE '!' OR entries.target LIKE ? ESCAPE '!')")
            escaped = re.sub("([!%_])", r"!\1", part)
            values += [f"%{escaped}%"] * 2
    if before_id is not None:
        conditions.append(f"{number} < ?")
        values.append(before_id)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    texts = ", ".join(f"substr(entries.{side}, 1, {PREVIEW_CHARACTERS})" for side in ("source", "target"))
    statement = (
        f"SELECT entries.id, time, source_language, target_language, {texts} FROM {table} "
        f"{where}ORDER BY {number} DESC LIMIT ?"
    )
    return statement, values
