"""Frames of what a bucket holds: messages, dead letters, workers, tickets, history, audit, costs; each with a declared schema.

``messages(bucket)`` and its like return :class:`~s3queue_admin.rows.Rows`, to be exported or looped over;
``messages_frame(bucket)`` and its like a pandas DataFrame. Schemas: dtype by column, the same without rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from s3queue.core.kept import HistoryRecord
from s3queue.protocol import frames as engine
from s3queue.protocol import history as kept
from s3queue.protocol.frames import Schema
from s3queue.protocol.viewing import MessageView
from s3queue.queue import Queue
from s3queue_admin.bucket import Bucket
from s3queue_admin.exporting import FORMATS, export
from s3queue_admin.filters import Filter, parse
from s3queue_admin.grouping import fingerprint
from s3queue_admin.known import (
    AUDIT,
    COSTS,
    TICKETS,
    WORKERS,
    audit,
    audit_frame,
    costs,
    costs_frame,
    tickets,
    tickets_frame,
    workers,
    workers_frame,
)
from s3queue_admin.rows import MAX_ROWS, Row, Rows
from s3queue_admin.text import Redactor

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AUDIT", "COSTS", "FORMATS", "HISTORY", "LETTERS", "MAX_ROWS", "MESSAGES", "TICKETS", "WORKERS", "Rows", "audit",
    "audit_frame", "costs", "costs_frame", "export", "history", "history_frame", "letters", "letters_frame", "matching",
    "messages", "messages_frame", "tickets", "tickets_frame", "workers", "workers_frame",
]  # fmt: skip

MESSAGES: Final[Schema] = {"queue": "str", **engine.MESSAGES, "fingerprint": "str"}
"""The engine's columns (:data:`s3queue.protocol.frames.MESSAGES`), the queue before them and the kind of error behind."""
LETTERS: Final[Schema] = {
    "queue": "str",
    **{name: kind for name, kind in engine.LETTERS.items() if name != "source"},
    "lane": "Int64",
    "key": "str",
    "fingerprint": "str",
}
"""As for messages; where the letter lies (``key``) in place of where its message lay (``source``)."""
HISTORY: Final[Schema] = {"queue": "str", **kept.COLUMNS, "outcome": ("completed", "retry", "dead")}
"""``wait_ms``: from when it was visible until its handler began; ``run_ms``: how long that ran; a row an attempt."""
_TEXTS: Final = {"reason": "reason", "error_type": "error_type", "error_message": "error", "traceback": "traceback"}
"""Columns with texts of strangers, and what the hook is told that they are."""
Names = str | Iterable[str] | None
"""A queue, several, or None: all of the bucket."""


# -- messages ---------------------------------------------------------------------------------------------------------


def matching(bucket: Bucket, queue: Names = None, where: Filter | str = "") -> Iterator[tuple[Queue, MessageView]]:
    """Return an iterator over the messages that a filter matches, as they are, each with its queue.

    Queues and states that cannot match are not read; ages are those when a queue's turn comes. Costs what
    :meth:`s3queue.Queue.messages` does. Raises FilterError at once, NoQueue for a queue that is not there.
    """
    chosen = parse(where) if isinstance(where, str) else where
    looked_at = _matching(bucket, _names(bucket, queue), chosen)
    return ((opened, view) for opened, view in looked_at if view is not None)


def _matching(bucket: Bucket, names: Iterable[str], where: Filter) -> Iterator[tuple[Queue, MessageView | None]]:
    """Yield each message that is read, None in place of those that do not match."""
    for name in names:
        if where.states and where.admits(name):
            opened = bucket.queue(name)
            now_ms = opened.connect().lane.now_ms()
            for view in opened.messages(*where.states):
                yield opened, view if where.matches(view, now_ms) else None


def _names(bucket: Bucket, queue: Names) -> list[str]:
    if queue is None:
        return bucket.queue_names()
    return [queue] if isinstance(queue, str) else list(queue)


def messages(bucket: Bucket, queue: Names = None, where: Filter | str = "") -> Rows:
    """Return rows of :data:`MESSAGES` for the messages that a filter matches; see :func:`matching`."""
    return _message_rows(bucket, queue, where, MESSAGES, _message)


def messages_frame(bucket: Bucket, queue: Names = None, where: Filter | str = "", **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`messages` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return messages(bucket, queue, where).to_dataframe(**options)


def letters(bucket: Bucket, queue: Names = None, where: Filter | str = "") -> Rows:
    """Return rows of :data:`LETTERS` for the dead letters that a filter matches; see :func:`matching`.

    ``error_*``, ``traceback`` and ``worker`` are of the last attempt.
    """
    dead = parse("state:dead") & (parse(where) if isinstance(where, str) else where)
    return _message_rows(bucket, queue, dead, LETTERS, _letter)


def letters_frame(bucket: Bucket, queue: Names = None, where: Filter | str = "", **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`letters` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return letters(bucket, queue, where).to_dataframe(**options)


def _message_rows(
    bucket: Bucket,
    queue: Names,
    where: Filter | str,
    schema: Schema,
    make: Callable[[Queue, MessageView], Row],
) -> Rows:
    chosen = parse(where) if isinstance(where, str) else where
    names = queue if queue is None or isinstance(queue, str) else tuple(queue)  # it is asked more than once

    def read() -> Iterator[Row | None]:
        for opened, view in _matching(bucket, _names(bucket, names), chosen):
            # The kind of error is that of the message as it is: it is what filters ask for.
            if view is None:
                yield None
            else:
                row = make(opened, view)
                yield {**row, **_shown(row, bucket.redactor), "fingerprint": fingerprint(view)}

    def total() -> int:
        found = [bucket.queue(name).stats() for name in _names(bucket, names) if chosen.admits(name)]
        return sum(getattr(stats, state) for stats in found for state in chosen.states)

    return Rows(schema, read, label="reading messages", total=total)


def _shown(row: Row, redactor: Redactor) -> Row:
    """Return what strangers wrote in a row as it may be shown."""
    texts = {name: redactor.text(row[name], where) for name, where in _TEXTS.items() if row.get(name)}
    return texts | {name: redactor.value(row[name], name) for name in ("payload", "headers")}


def _message(queue: Queue, view: MessageView) -> dict[str, Any]:
    most = queue.connect().register.current().max_attempts
    return {"queue": queue.name, **engine.message_row(view, most)}


def _letter(queue: Queue, view: MessageView) -> dict[str, Any]:
    return {"queue": queue.name, **engine.letter_row(view), "lane": view.lane, "key": view.key}


# -- history ----------------------------------------------------------------------------------------------------------


def history(
    bucket: Bucket,
    queue: Names = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Rows:
    """Return rows of :data:`HISTORY` for attempts that ended from ``since`` up to ``until``; see :meth:`s3queue.Queue.history`.

    ``limit``: so many of each queue, the oldest.
    """
    names = queue if queue is None or isinstance(queue, str) else tuple(queue)

    def read() -> Iterator[Row]:
        for name in _names(bucket, names):
            for record in bucket.queue(name).history(since=since, until=until, limit=limit):
                yield _attempt(name, record, bucket.redactor)

    return Rows(HISTORY, read, label="reading history")


def history_frame(bucket: Bucket, queue: Names = None, **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`history` as a frame; ``options``: its own, and :meth:`s3queue_admin.rows.Rows.to_dataframe`'s."""
    own = {name: options.pop(name) for name in ("since", "until", "limit") if name in options}
    return history(bucket, queue, **own).to_dataframe(**options)


def _attempt(queue: str, record: HistoryRecord, redactor: Redactor) -> Row:
    shown = {
        "error": redactor.text(record.error, "error"),
        "error_type": redactor.text(record.error_type, "error_type"),
    }
    return kept.record_row(record) | shown | {"queue": queue}
