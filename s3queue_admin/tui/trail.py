"""What the last snapshots showed, queue by queue, for the charts: a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot

KEPT: Final = 600
"""Points of a queue that are kept: twenty minutes, at one in two seconds."""


@dataclass(frozen=True, slots=True)
class Point:
    """A queue at one look. Rates are a second, and None where there is no look before to tell from."""

    at: datetime
    depth: int
    dead: int
    completed: float | None = None
    failed: float | None = None
    requests: float | None = None
    p50_ms: int = 0
    p99_ms: int = 0


class Trail:
    """Points by queue, oldest first; what is gone from the bucket is forgotten."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._points: dict[str, deque[Point]] = {}

    def add(self, seen: BucketSnapshot) -> None:
        """Take note of what is new in a snapshot."""
        for name in [name for name in self._points if name not in seen.queues]:
            del self._points[name]
        for name, queue in seen.queues.items():
            points = self._points.setdefault(name, deque(maxlen=self._kept))
            if not points or points[-1].at < queue.taken_at:
                points.append(_point(queue))

    def points(self, queue: str) -> list[Point]:
        """Return what is known of a queue, oldest first."""
        return list(self._points.get(queue, ()))

    def series(self, queue: str, value: Callable[[Point], float | None]) -> list[float]:
        """Return one value of each point that has it, oldest first."""
        found = (value(point) for point in self._points.get(queue, ()))
        return [each for each in found if each is not None]

    def dead_growth(self, queue: str) -> int:
        """Return how many more dead letters there are than at the first look that is remembered."""
        points = self._points.get(queue)
        return points[-1].dead - points[0].dead if points else 0


def _point(queue: QueueSnapshot) -> Point:
    stats, rates = queue.stats, queue.rates
    depth = stats.pending + stats.processing
    if rates is None:
        return Point(queue.taken_at, depth, stats.dead)
    requests = sum(rates.requests.values())
    return Point(queue.taken_at, depth, stats.dead, rates.completed, rates.failed, requests, rates.p50_ms, rates.p99_ms)
