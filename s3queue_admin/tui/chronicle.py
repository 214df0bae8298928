"""What the last snapshots showed and no later one tells: terms of coordinators, heartbeats, a look to measure from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from s3queue.core.presence import Presence
from s3queue.store.metered import Counts
from s3queue_admin.snapshot import BucketSnapshot, CoordinatorView, QueueSnapshot

TERMS: Final = 200
"""Terms of a lane that are kept."""
MEASURED_S: Final = 600.0
"""A measurement is over the last ten minutes, up to twice that: an idle worker tells of itself as seldom."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a lane's coordinator as it was seen: from when to when, and until when it had said it would lead.

    ``ended``: there was a later look at which it did not lead any more. ``missed``: terms that began and ended unseen
    right before it.
    """

    worker: str
    epoch: int
    from_at: datetime
    seen_at: datetime
    until: datetime | None
    ended: bool = False
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Beats:
    """The last heartbeat of a worker, and the one before it, of the same process; None where there was none."""

    before: Presence | None
    last: Presence

    @property
    def seconds(self) -> float:
        """What time :attr:`grown` is over: between the two, or since the start; 0 if nothing can be told yet."""
        since_ms = self.before.beat_at_ms if self.before is not None else self.last.started_at_ms
        return max(0, self.last.beat_at_ms - since_ms) / 1000 if since_ms else 0.0

    def per_s(self, last: int, before: int) -> float | None:
        """Return how many more a second there were than before; None if it cannot be told."""
        return max(0, last - (before if self.before is not None else 0)) / self.seconds if self.seconds else None

    @property
    def processed_per_s(self) -> float | None:
        """Messages a second that its handlers completed."""
        return self.per_s(self.last.processed, self.before.processed if self.before else 0)

    @property
    def failed_per_s(self) -> float | None:
        """Attempts a second that failed."""
        return self.per_s(self.last.failed, self.before.failed if self.before else 0)

    @property
    def requests_per_s(self) -> float | None:
        """Requests a second to the store."""
        before = sum(self.before.requests.values()) if self.before else 0
        return self.per_s(sum(self.last.requests.values()), before)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A snapshot, and what all looks at the queue had cost until then."""

    seen: QueueSnapshot
    spent: dict[tuple[str, str, str], int]


class Chronicle:
    """A bounded memory, queue by queue; what is gone from the bucket is forgotten."""

    def __init__(self) -> None:
        self._terms: dict[tuple[str, int], deque[Term]] = {}
        self._beats: dict[tuple[str, str], Beats] = {}
        self._spent: dict[str, dict[tuple[str, str, str], int]] = {}
        self._marks: dict[str, tuple[_Mark, _Mark]] = {}
        self._last_at: dict[str, datetime] = {}

    def add(self, seen: BucketSnapshot) -> None:
        """Take note of what is new in a snapshot."""
        self._forget(seen)
        for name, queue in seen.queues.items():
            if self._last_at.get(name) == queue.taken_at:
                continue  # kept from an earlier look, as this one failed
            self._last_at[name] = queue.taken_at
            self._note_terms(queue)
            for worker in queue.workers:
                if worker.presence is not None:
                    self._note_beat(name, worker.presence)
            self._note_mark(queue)

    def _forget(self, seen: BucketSnapshot) -> None:
        lanes = {(name, lane.number) for name, queue in seen.queues.items() for lane in queue.lanes}
        workers = {(name, worker.worker) for name, queue in seen.queues.items() for worker in queue.workers}
        self._terms = {key: terms for key, terms in self._terms.items() if key in lanes}
        self._beats = {key: beats for key, beats in self._beats.items() if key in workers}
        self._spent = {name: each for name, each in self._spent.items() if name in seen.queues}
        self._marks = {name: each for name, each in self._marks.items() if name in seen.queues}
        self._last_at = {name: each for name, each in self._last_at.items() if name in seen.queues}

    # -- terms --

    def terms(self, queue: str, lane: int) -> list[Term]:
        """Return the terms that were seen, the newest first."""
        return list(reversed(self._terms.get((queue, lane), ())))

    def _note_terms(self, queue: QueueSnapshot) -> None:
        for lane in queue.lanes:
            terms = self._terms.setdefault((queue.queue, lane.number), deque(maxlen=TERMS))
            _note_term(terms, lane.coordinator, queue.taken_at)

    # -- heartbeats --

    def beats(self, queue: str, worker: str) -> Beats | None:
        """Return what is known of a worker's heartbeats."""
        return self._beats.get((queue, worker))

    def _note_beat(self, queue: str, entry: Presence) -> None:
        known = self._beats.get((queue, entry.worker))
        if known is None or known.last.instance != entry.instance:
            self._beats[queue, entry.worker] = Beats(None, entry)
        elif entry.beat_at_ms > known.last.beat_at_ms:
            self._beats[queue, entry.worker] = Beats(known.last, entry)

    # -- a look to measure from --

    def since(self, queue: str) -> tuple[QueueSnapshot, Counts] | None:
        """Return an earlier snapshot, and what looking has cost since; None if there is none of this queue."""
        marks = self._marks.get(queue)
        if marks is None:
            return None
        spent = self._spent[queue]
        return marks[0].seen, {line: count - marks[0].spent.get(line, 0) for line, count in spent.items()}

    def _note_mark(self, queue: QueueSnapshot) -> None:
        name = queue.queue
        spent = self._spent.setdefault(name, {})
        for line, count in queue.requests.items():
            spent[line] = spent.get(line, 0) + count
        mark, marks = _Mark(queue, dict(spent)), self._marks.get(name)
        if marks is None:
            self._marks[name] = (mark, mark)
        elif (queue.taken_at - marks[1].seen.taken_at).total_seconds() >= MEASURED_S:
            self._marks[name] = (marks[1], mark)


def _note_term(terms: deque[Term], found: CoordinatorView | None, at: datetime) -> None:
    last = terms[-1] if terms else None
    same = last is not None and found is not None and (last.worker, last.epoch) == (found.worker, found.epoch)
    leads = found is not None and found.leads
    if last is not None and found is not None and same:
        terms[-1] = replace(last, seen_at=at if leads else last.seen_at, until=found.until, ended=not leads)
        return
    if last is not None and not last.ended:
        terms[-1] = replace(last, ended=True)
    if found is not None and (leads or last is not None):
        missed = found.epoch - last.epoch - 1 if last is not None else 0
        terms.append(Term(found.worker, found.epoch, at, at, found.until, ended=not leads, missed=max(0, missed)))
