"""The names that a process gives to its message objects: those of ordered groups sort as they were given."""

from __future__ import annotations

import threading

from s3queue.core.keys import ObjectName
from s3queue.ids import Ids, successor


class Naming:
    """Makes names; safe to share between threads. Clocks may go back and stand still: ordered names do not."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._lock = threading.Lock()
        self._last = (0, "")

    def name(self, rank: int, at_ms: int, count: int, group: str = "", dedup: str = "") -> ObjectName:
        """Return a name nobody else will make, with these marks; one with a ``group`` sorts behind all made before."""
        if not group:
            return ObjectName(rank, at_ms, self._ids.new(at_ms), count, dedup=dedup)
        with self._lock:
            at_ms = max(at_ms, self._last[0])
            id_ = self._ids.new(at_ms)
            if (at_ms, id_) <= self._last:
                id_ = successor(self._last[1])
            self._last = (at_ms, id_)
        return ObjectName(rank, at_ms, id_, count, group, dedup)
