"""Schedules: what is enqueued when, which ticks are due, and what is made up for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from s3queue.clock import to_datetime
from s3queue.core.cron import Timetable
from s3queue.core.keys import ObjectName, message_id_at, rank_of
from s3queue.core.ledger import Line
from s3queue.core.message import Message
from s3queue.ids import encode

CATCH_UP = ("one", "none", "all")
"""Of the ticks that were missed, the latest is made up for; none is; all are, up to :data:`CATCH_UP_LIMIT`."""
CATCH_UP_LIMIT = 100
MISSED_MS = 60_000
"""A tick that could not be fired for this long was missed; the younger ones are fired, each of them."""
NAME_HEADER = "s3queue-schedule"
TICK_HEADER = "s3queue-tick"


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule as it lies in the bucket. ``message`` is what each tick enqueues, but for its id and times.

    ``id`` stays when the schedule is changed, or made again after it was removed. Ticks up to ``since_ms`` are none of
    its. ``write_id`` differs with each version. One that was removed stays as such, so that no write that lands late
    brings it back.
    """

    id: str
    name: str
    cron: str
    timezone: str
    message: Message
    catch_up: str
    since_ms: int
    write_id: str
    removed_at_ms: int = 0

    def line(self, tick_ms: int, now_ms: int, group: str = "") -> Line:
        """Return the move that enqueues the message of a tick, ``group`` being the mark of its ordered group, if any.

        Its id is derived, and so the same whoever makes it.
        """
        digest = hashlib.sha256(f"{self.id}/{tick_ms}".encode()).digest()
        id_ = encode(tick_ms, 10) + encode(int.from_bytes(digest[:8]) >> 14, 10)
        target = ObjectName(rank_of(self.message.priority), now_ms, id_, 1, group)
        return Line(id_, "tick", self.name, tick_ms, str(target), message_id_at(id_, 0), now_ms)

    def message_of(self, line: Line) -> Message:
        """Return the message that a line of this schedule enqueues: headers tell schedule and tick."""
        told = {NAME_HEADER: self.name, TICK_HEADER: to_datetime(line.index).isoformat()}
        headers = {**self.message.headers, **told}
        return replace(self.message, id=line.message_id, enqueued_at_ms=line.decided_at_ms, headers=headers)


def due(timetable: Timetable, catch_up: str, after_ms: int, now_ms: int) -> tuple[Sequence[int], int]:
    """Return the ticks to be fired, in order, and the last tick that has come, whether it is fired or not.

    All that are due within a minute are fired; of older ones what ``catch_up`` says, the latest only if no younger is due.
    """
    ticks = timetable.newest(after_ms, now_ms, CATCH_UP_LIMIT)
    last = ticks[-1] if ticks else after_ms
    if catch_up == "all":
        return ticks, last
    fresh = [tick for tick in ticks if now_ms - tick <= MISSED_MS]
    return (ticks[-1:] if catch_up == "one" and not fresh else fresh), last
