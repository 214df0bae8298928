"""Which message lies where, for queues of any size: in a temporary file that goes with the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

_BATCH = 10_000


class Index:
    """Messages and dead letters by id, with their keys; memory holds a page of them. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._books = sqlite3.connect("")  # '': private, on disk, gone when it is closed
        self._books.execute("PRAGMA journal_mode = OFF")
        for table in ("alive", "letters"):
            self._books.execute(f"CREATE TABLE {table} (id TEXT, key TEXT)")
        self._books.execute("CREATE TABLE births (id TEXT, key TEXT)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._books.close()

    def add_alive(self, rows: Iterable[tuple[str, str]]) -> None:
        """Note messages that are alive: id and key of the object."""
        self._books.executemany("INSERT INTO alive VALUES (?, ?)", rows)

    def add_letters(self, rows: Iterable[tuple[str, str]]) -> None:
        """Note dead letters: id of the message and key."""
        self._books.executemany("INSERT INTO letters VALUES (?, ?)", rows)

    def add_births(self, rows: Iterable[tuple[str, str]]) -> None:
        """Note message objects: their id, which begins the ids of the messages born in them, and key."""
        self._books.executemany("INSERT INTO births VALUES (?, ?)", rows)

    def has_letter(self, key: str) -> bool:
        """Whether a letter was noted under this key."""
        self._books.execute("CREATE INDEX IF NOT EXISTS letters_by_key ON letters (key)")
        return self._books.execute("SELECT 1 FROM letters WHERE key = ?", (key,)).fetchone() is not None

    def dead_twice(self) -> Iterator[tuple[str, str, str]]:
        """Yield id and first and last key of messages with several letters."""
        yield from self._each("SELECT id, MIN(key), MAX(key) FROM letters GROUP BY id HAVING COUNT(*) > 1 ORDER BY id")

    def alive_twice(self) -> Iterator[tuple[str, str, str]]:
        """Yield id and first and last key of messages that are alive in several objects."""
        yield from self._each(
            "SELECT id, MIN(key), MAX(key) FROM alive GROUP BY id HAVING COUNT(DISTINCT key) > 1 ORDER BY id"
        )

    def alive_and_dead(self) -> Iterator[tuple[str, str, str]]:
        """Yield id, key of the object and key of the letter of messages that are both."""
        yield from self._each("SELECT a.id, a.key, l.key FROM letters l JOIN alive a ON a.id = l.id ORDER BY a.id")

    def born_and_dead(self) -> Iterator[tuple[str, str, str]]:
        """Yield id, key of the object it was born in, which is still there, and key of the letter of a message."""
        yield from self._each(
            "SELECT l.id, b.key, l.key FROM letters l JOIN births b ON b.id = SUBSTR(l.id, 1, 20) ORDER BY l.id"
        )

    def _each(self, query: str) -> Iterator[tuple[str, str, str]]:
        found = self._books.execute(query)
        while rows := found.fetchmany(_BATCH):
            yield from rows
