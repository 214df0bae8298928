"""History: one record for each attempt whose outcome was recorded, for analysis. The books are the ledger's.

Each process gathers the records of its own attempts and writes them a thousand an object, a minute after the first at the
latest. A process that dies takes what it has gathered with it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import count, groupby
from typing import TYPE_CHECKING, Any

from s3queue.clock import to_ms
from s3queue.core.kept import (
    HOUR_MS,
    HistoryRecord,
    decode_history,
    encode_history,
    history_name,
    hour_name,
    parse_history,
)
from s3queue.core.keys import visible_at_ms_of
from s3queue.core.message import storable
from s3queue.errors import CorruptObject, InvalidSetting, NotFound, PreconditionFailed, S3QueueError
from s3queue.protocol.frames import UTC_TIME, Schema, to_dataframe
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Recorded
from s3queue.store.port import CREATE, fetch, walk

if TYPE_CHECKING:
    import pandas as pd

FLUSH_AT = 1000
FLUSH_AFTER_S = 60.0
"""Records are written when there are this many, or this long after the first: a PUT each time."""
_AGAIN_S = 5.0
_KEPT = 20
SUFFIX = ".jsonl.gz"
COLUMNS: Schema = {
    "id": "str",
    "object": "str",
    "attempt": "Int64",
    "outcome": "str",
    "enqueued_at": UTC_TIME,
    "claimed_at": UTC_TIME,
    "started_at": UTC_TIME,
    "ended_at": UTC_TIME,
    "wait_ms": "Int64",
    "run_ms": "Int64",
    "error_type": "str",
    "error": "str",
    "worker": "str",
    "group": "str",
    "priority": "Int64",
}
"""The columns of :meth:`HistoryRecords.to_dataframe` and their dtypes."""


@dataclass(frozen=True, slots=True)
class _Object:
    """Records on their way into the bucket, under a name made before the first try."""

    key: str
    body: bytes
    size: int


class HistoryWriter:
    """Gathers the records of this process and writes them; safe to share between threads."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        self._records: list[HistoryRecord] = []
        self._objects: list[_Object] = []
        self._due_at = 0.0
        self._not_before = 0.0

    def note(self, recorded: Recorded) -> None:
        """Take down an attempt whose outcome was recorded; what fails is told, never raised."""
        lane = self._lane
        if not lane.settings().history:
            return
        with self._lock:
            if not self._records:
                self._due_at = lane.clock.monotonic() + FLUSH_AFTER_S
            self._records.append(_record(lane, recorded))
            full = len(self._records) >= FLUSH_AT
        if full:
            try:
                self.step()
            except S3QueueError as error:
                lane.events.emit("error", error=error, doing="writing history")

    def step(self, *, flush: bool = False) -> int:
        """Write what is due (with ``flush`` all there is) and return how many records were written."""
        now = self._lane.clock.monotonic()
        with self._lock:
            if flush or len(self._records) >= FLUSH_AT or (self._records and now >= self._due_at):
                self._pack()
            todo = list(self._objects) if flush or now >= self._not_before else []
            self._not_before = now + _AGAIN_S if todo else self._not_before
        for item in todo:
            with suppress(PreconditionFailed):  # it had landed before
                self._lane.store.put(item.key, item.body, CREATE)
            with self._lock:
                self._objects = [other for other in self._objects if other is not item]
        with self._lock:
            self._not_before = 0.0 if todo else self._not_before
        return sum(item.size for item in todo)

    def _pack(self) -> None:
        """Turn the records into objects, each of one hour, in the order in which attempts ended."""
        lane = self._lane
        records, self._records = sorted(self._records, key=lambda record: record.ended_at_ms), []
        for _, hour in groupby(records, key=lambda record: record.ended_at_ms // HOUR_MS):
            some = list(hour)
            name = history_name(some[0].ended_at_ms, lane.ids.new(lane.now_ms()))
            self._objects.append(_Object(lane.keys.history + name + SUFFIX, encode_history(some), len(some)))
        lost = sum(item.size for item in self._objects[:-_KEPT])
        if lost:
            self._objects = self._objects[-_KEPT:]
            error = S3QueueError(f"{lost} records of history are lost, as they could not be written for long.")
            lane.events.emit("error", error=error, doing="writing history")


def _record(lane: Lane, recorded: Recorded) -> HistoryRecord:
    delivery, outcome = recorded.delivery, recorded.outcome
    message, line = delivery.message, outcome.line
    ended = recorded.ended_at_ms
    started = delivery.started_at_ms or delivery.claimed_at_ms
    error = line.errors[-1] if line is not None and line.errors else None
    return HistoryRecord(
        id=delivery.id,
        object=delivery.handle.name,
        attempt=delivery.attempt,
        outcome=outcome.kind,
        enqueued_at_ms=message.enqueued_at_ms,
        claimed_at_ms=delivery.claimed_at_ms,
        started_at_ms=started,
        ended_at_ms=ended,
        wait_ms=max(0, started - visible_at_ms_of(delivery.handle.name)),
        run_ms=max(0, ended - started),
        error_type=storable(error.type) if error else "",
        error=storable(error.message) if error else "",
        worker=lane.worker,
        group=message.group,
        priority=message.priority,
    )


class HistoryRecords:
    """Records of history, oldest first by when the attempt ended; read from the store as they are asked for."""

    def __init__(
        self, lane: Callable[[], Lane], since: datetime | None, until: datetime | None, limit: int | None
    ) -> None:
        self._lane = lane
        self._since_ms = _ms("since", since, 0)
        self._until_ms = _ms("until", until, 1 << 62)
        if self._since_ms >= self._until_ms:
            raise InvalidSetting(f"since ({since}) is not before until ({until}).", remedy="Exchange them.")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InvalidSetting(f"limit is {limit!r}.", remedy="Use a whole number from 1, or None for all.")
        self._limit = limit

    def __iter__(self) -> Iterator[HistoryRecord]:
        """Yield the records: a LIST per thousand objects, a GET per object. What cannot be read is told as an error event."""
        for number, record in enumerate(self._merged()):
            if self._limit is not None and number >= self._limit:
                return
            yield record

    def to_dataframe(self) -> pd.DataFrame:
        """Return the records as a pandas DataFrame, a row each; the same columns when there are none. Times are UTC."""
        return to_dataframe(COLUMNS, map(record_row, self))

    def _merged(self) -> Iterator[HistoryRecord]:
        """Yield in order: an object is read when its first record's turn comes, which its name tells."""
        heap: list[tuple[int, int, HistoryRecord]] = []
        serial = count()
        for first_ms, key in self._objects():
            while heap and heap[0][0] < first_ms:
                yield heapq.heappop(heap)[2]
            for record in self._read(key):
                if self._since_ms <= record.ended_at_ms < self._until_ms:
                    heapq.heappush(heap, (record.ended_at_ms, next(serial), record))
        while heap:
            yield heapq.heappop(heap)[2]

    def _objects(self) -> Iterator[tuple[int, str]]:
        lane = self._lane()
        prefix = lane.keys.history
        for key in walk(lane.store, prefix, prefix + hour_name(self._since_ms)):
            first_ms = first_ended_at_ms(key, prefix)
            if first_ms is None:
                lane.events.emit("error", error=CorruptObject(key, "it is foreign"), doing="reading history")
            elif first_ms >= self._until_ms:
                return
            else:
                yield first_ms, key

    def _read(self, key: str) -> Sequence[HistoryRecord]:
        lane = self._lane()
        try:
            return decode_history(fetch(lane.store, key).body, key)
        except NotFound:
            return ()  # it was kept for as long as it should be
        except CorruptObject as error:
            lane.events.emit("error", error=error, doing="reading history")
            return ()


def record_row(record: HistoryRecord) -> dict[str, Any]:
    """Return the row of a record: its fields, and as :data:`COLUMNS` has them its times."""
    return asdict(record) | {name: getattr(record, f"{name}_ms") for name in COLUMNS if name.endswith("_at")}


def first_ended_at_ms(key: str, prefix: str) -> int | None:
    """Return when the first attempt in the history object at ``key`` ended; None for a foreign key."""
    return parse_history(key[len(prefix) : -len(SUFFIX)]) if key.endswith(SUFFIX) else None


def _ms(name: str, at: Any, default: int) -> int:
    if at is None:
        return default
    try:
        return to_ms(at)
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidSetting(
            f"{name} is {at!r}: {error}.", remedy="Use an aware datetime: datetime.now(UTC) - timedelta(hours=1)."
        ) from None
