"""What a worker counts while it works, and how it is: the source of its metrics and of its health."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

from s3queue.clock import Clock, iso, to_datetime
from s3queue.core.transitions import Outcome
from s3queue.errors import S3QueueError
from s3queue.metrics import Fleet, Histogram, Rates, Seen, Snapshot, by_verb, fleet_of
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Recorded
from s3queue.queue import Queue

STALLED_S = 30.0
"""How long the loop may take for a turn: some times what a commit takes on a slow day."""
_FAULTS = ("error", "throttled")
_AGES_S = 1e6
"""The age of a ledger that was never read: a time that can be reckoned with."""

Phase = Literal["new", "starting", "running", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer to a probe: whether it is well, in one word or sentence, and facts beside it."""

    ok: bool
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Monitor:
    """Counts and judges one worker; safe to share between threads. Asks nothing of the store.

    ``coordinated``: whether the worker's lanes are to have a coordinator, so that to have none is a reason to wait.
    """

    def __init__(self, queue: Queue, clock: Clock, *, coordinated: bool) -> None:
        self._processed = 0
        self._failed = 0
        self._ended: deque[tuple[Outcome, float]] = deque()
        self.phase: Phase = "new"
        self.last_error: S3QueueError | None = None
        self._queue, self._clock, self._coordinated = queue, clock, coordinated
        self._lock = Lock()
        self._rates = Rates()
        self._made_at = self._turned_at = clock.monotonic()
        self._latency, self._handling = Histogram(), Histogram()
        self._answers = (0, 0)
        self._unreachable_since_ms: int | None = None
        self._lanes: Callable[[], Sequence[Lane]] = tuple
        self._held: Callable[[], int] = int
        self._running: Callable[[], int] = int

    # -- told by the worker --

    def begin(
        self, *, lanes: Callable[[], Sequence[Lane]], held: Callable[[], int], running: Callable[[], int]
    ) -> None:
        """Take note that the worker is connected, and where to ask for its lanes, messages in hand, and handlers."""
        self._lanes, self._held, self._running = lanes, held, running
        self.phase = "running"
        self.turned()

    def turned(self) -> None:
        """Take note of a turn of the loop."""
        self._turned_at = self._clock.monotonic()

    def took(self, recorded: Recorded, seconds: float) -> None:
        """Take note of an attempt that ended after its handler's ``seconds``."""
        self._ended.append((recorded.outcome, seconds))  # counted later: handlers must not wait for each other here

    def _count(self) -> None:
        """Count what ended since the last time; for who holds the lock."""
        outcomes = []
        while self._ended:
            outcomes.append(self._ended.popleft())
        if not outcomes:
            return
        completed = [outcome.latency_ms / 1000 for outcome, _ in outcomes if outcome.kind == "completed"]
        self._handling = self._handling.with_more(seconds for _, seconds in outcomes)
        self._latency = self._latency.with_more(completed)
        self._processed += len(outcomes)
        self._failed += len(outcomes) - len(completed)

    @property
    def processed(self) -> int:
        """How many attempts were made."""
        with self._lock:
            self._count()
            return self._processed

    @property
    def failed(self) -> int:
        """How many of them failed."""
        with self._lock:
            self._count()
            return self._failed

    def sample(self) -> None:
        """Take note of the totals, for rates, and of whether the store answers; to be called about once a second."""
        requests = self._queue.meter.snapshot()
        good = sum(count for (_, _, outcome), count in requests.items() if outcome not in _FAULTS)
        bad = sum(requests.values()) - good
        with self._lock:
            before, self._answers = self._answers, (good, bad)
            if good > before[0]:
                self._unreachable_since_ms = None
            elif bad > before[1] and self._unreachable_since_ms is None:
                self._unreachable_since_ms = self._clock.now_ms()
            self._count()
            self._rates.note(self._clock.monotonic(), self._totals(by_verb(requests)))

    # -- asked by others --

    def snapshot(self) -> Snapshot:
        """Return the worker in numbers."""
        self.sample()
        requests = self._queue.meter.snapshot()
        committers = [lane.committer for lane in self._lanes()]
        with self._lock:
            self._count()
            now = self._clock.monotonic()
            rates = self._rates.per_second(now, self._totals(by_verb(requests)))
            return Snapshot(
                worker=self._queue.worker_id,
                queue=self._queue.name,
                at_ms=self._now_ms(),
                uptime_s=round(now - self._made_at, 3),
                processed=self._processed,
                failed=self._failed,
                processed_per_s=rates.pop("processed"),
                running=self._running(),
                held=self._held(),
                commits=sum(committer.commits for committer in committers),
                lost_races=sum(committer.lost_races for committer in committers),
                requests=requests,
                requests_per_s=rates,
                fleet=self.fleet(),
                latency=self._latency,
                handling=self._handling,
            )

    def fleet(self) -> Fleet:
        """Return what the ledgers in hand tell; they are as old as the worker's last look."""
        lanes = self._lanes()
        return fleet_of(
            [
                Seen(lane.number, version.value, lane.now_ms() - round(min(lane.committer.age_s, _AGES_S) * 1000))
                for lane in lanes
                if (version := lane.committer.record.cached) is not None and version.value is not None
            ],
            worker=self._queue.worker_id,
            instances=frozenset(lane.committer.writer for lane in lanes),
        )

    def alive(self) -> Verdict:
        """Whether the process should go on: its loop turns, or waits for what no restart would mend."""
        self.sample()
        still_s = round(self._clock.monotonic() - self._turned_at, 1)
        well = still_s <= STALLED_S or self.phase != "running" or self._unreachable_since_ms is not None
        reason = "alive" if well else f"stalled: loop has not turned for {still_s:g} s"
        return Verdict(well, reason, {"loop_turned_s_ago": still_s})

    def ready(self) -> Verdict:
        """Whether it takes messages, or would if there were any and the queue is not paused; else why not."""
        alive, since_ms, fleet = self.alive(), self._unreachable_since_ms, self.fleet()
        facts = {
            "paused": fleet.paused,
            "coordinators": {str(leader.lane): leader.worker or None for leader in fleet.leaders},
        }
        unreadable = {str(lane.number): lane.trouble.key for lane in self._lanes() if lane.trouble is not None}
        if unreadable:
            facts["unreadable"] = unreadable
        if self.phase in ("stopping", "ended"):
            return Verdict(False, "stopping", facts)
        if since_ms is not None:
            told = {"error": str(self.last_error)} if self.last_error else {}
            return Verdict(False, f"store unreachable since {iso(to_datetime(since_ms))}", facts | told)
        if self.phase != "running":
            return Verdict(False, "starting", facts)
        if not alive.ok:
            return Verdict(False, alive.reason, facts)
        if self._coordinated and not any(leader.worker for leader in fleet.leaders):
            return Verdict(False, "no coordinator yet", facts)
        return Verdict(True, "paused" if fleet.paused else "ready", facts)

    # -- inside --

    def _totals(self, requests: Mapping[str, int]) -> dict[str, int]:
        return {"processed": self._processed, **requests}

    def _now_ms(self) -> int:
        """Return store time if the store has been reached."""
        lanes = self._lanes()
        return lanes[0].now_ms() if lanes else self._clock.now_ms()
