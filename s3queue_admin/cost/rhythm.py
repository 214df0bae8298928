"""How often the coordinator of a lane looks, commits and deletes: its loop, played with the engine's own intervals.

The loop is :meth:`s3queue.runtime.worker.Worker._cycle` without threads: messages come evenly, requests take what they
take on average, and only counts are kept.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import ceil, inf

from s3queue.protocol.coordinator import LEASE_MS
from s3queue.protocol.janitor import DELETE_AFTER_S, DELETE_AT
from s3queue.runtime.pace import HINTED_S, SPREAD_S, Polling
from s3queue.runtime.readers import READERS
from s3queue.runtime.worker import LINGER_S

LEDGER_AGE_S = 2.0
"""A coordinator alone reads its ledger anew when it is older than that."""
UPKEEP_S = 0.25
"""How often the maintenance thread looks for what is to be deleted."""
_EVENTS = 4000
_PLAYED_S = (60.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a request takes on average, in seconds."""

    get: float = 0.031
    put: float = 0.057
    list: float = 0.045


S3_LATENCY = Latency()
"""Means of S3 Standard for small objects: published medians (27, 50, 40 ms; arXiv 2501.07771) with their long tail."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What comes to a lane and how it is looked for. ``objects_per_s`` of ``batch`` messages each; times in seconds."""

    objects_per_s: float
    batch: float
    handler_s: float
    concurrency: int
    poll_s: float
    max_poll_s: float
    latency: Latency
    hinted: bool = False


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Per second: looks (a LIST each), commits, ledgers read, and requests that delete."""

    looks: float
    commits: float
    reads: float
    deletes: float


class _Play:
    """One coordinator that does all the work of its lane."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.now = 0.0
        self.polling = Polling(lane.poll_s, min(max(lane.max_poll_s, lane.poll_s), LEASE_MS / 4000))
        self.taken = self.looks = self.commits = self.reads = self.deletes = 0
        self.running: list[float] = []
        self.free_at = [0.0] * max(1, int(lane.concurrency / lane.batch))
        self.object_s = lane.handler_s * max(1.0, lane.batch / lane.concurrency)
        self.pending_since: float | None = None
        self.ended = self.to_delete = 0
        self.delete_at = inf
        self.read_at = self.renewed_at = self.hinted_at = -inf

    def run(self, seconds: float) -> None:
        """Play until so many seconds have passed."""
        while self.now < seconds:
            self._end()
            lingered = self.pending_since is not None and self.now - self.pending_since >= LINGER_S
            if lingered or self.now >= self._look_at():
                self._look()
            self._upkeep()
            self._end()
            times = [self._look_at(), self.running[0] if self.running else inf]
            times.append(self.pending_since + LINGER_S if self.pending_since is not None else inf)
            self.now = max(self.now + 1e-4, min(times))

    def _arrived(self, at: float) -> int:
        return int(self.lane.objects_per_s * at + 0.5)

    def _look_at(self) -> float:
        """Return when to look next: as polls go, or soon after the next arrival that is hinted at."""
        if not self.lane.hinted or not self.lane.objects_per_s:
            return self.polling.due_at
        arrives_at = (self.taken + 0.5) / self.lane.objects_per_s
        return min(self.polling.due_at, max(arrives_at + SPREAD_S / 2, self.hinted_at + HINTED_S))

    def _end(self) -> None:
        while self.running and self.running[0] <= self.now:
            heapq.heappop(self.running)
            self.ended += 1
            self.pending_since = self.now if self.pending_since is None else self.pending_since

    def _look(self) -> None:
        latency = self.lane.latency
        self.hinted_at = self.now
        if self.now - self.read_at > LEDGER_AGE_S:
            self.reads += 1
            self.now += latency.get
        self.looks += 1
        self.now += latency.list
        found = max(0, self._arrived(self.now - latency.list / 2) - self.taken)
        self.pending_since = None
        if found or self.ended or self.now - self.renewed_at >= LEASE_MS / 3000:
            self.now += latency.put
            self.commits += 1
            self.renewed_at = self.now
            if self.ended and self.delete_at == inf:
                self.delete_at = self.now + DELETE_AFTER_S + UPKEEP_S
            self.to_delete += self.ended
            self.ended = 0
        self.read_at = self.now
        self.taken += found
        self.now += ceil(found / READERS) * latency.get
        for _ in range(found):
            end = max(self.free_at[0], self.now) + self.object_s
            heapq.heapreplace(self.free_at, end)
            heapq.heappush(self.running, end)
        self.polling.found(self.now, min(found, 1), 2, 0.5)

    def _upkeep(self) -> None:
        if self.to_delete and (self.now >= self.delete_at or self.to_delete >= DELETE_AT):
            self.deletes += 1
            self.to_delete, self.delete_at = 0, inf


def coordinator(lane: Lane) -> Rhythm:
    """Return the rhythm of a coordinator that does all the work of its lane, or waits for some."""
    wanted_s = _EVENTS / lane.objects_per_s if lane.objects_per_s else _PLAYED_S[1]
    seconds = min(max(wanted_s, _PLAYED_S[0]), _PLAYED_S[1])
    play = _Play(lane)
    play.run(seconds)
    return Rhythm(*(count / play.now for count in (play.looks, play.commits, play.reads, play.deletes)))
