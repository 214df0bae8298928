"""A queue at one time, as an operator sees it: frozen, and pure to judge.

Times are aware datetimes in UTC, by the store's clock; None for what has not happened. ``now`` is :attr:`QueueSnapshot.taken_at`
throughout: a snapshot does not age by being looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from s3queue.core.ledger import Ledger
from s3queue.core.presence import Presence
from s3queue.core.settings import Settings
from s3queue.errors import S3QueueError
from s3queue.protocol.census import Stats
from s3queue.protocol.locks import LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue.store.metered import S3_STANDARD, Counts, Prices, usd

TicketState = Literal["available", "assigned", "claimed", "stalled"]
WorkerState = Literal["alive", "late", "dead", "unlisted"]
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be read, so that the snapshot lacks it: which part, which key, why, and the error's class.

    ``kind`` is ``Throttled`` where the store asked to slow down.
    """

    part: str
    key: str
    error: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs attention, of ``queue`` (or of the whole bucket: '').

    ``code`` names the check (:data:`s3queue_admin.catalogue.KINDS`), ``title`` says what is the matter, ``evidence`` what
    was seen, ``remedy`` what to do; ``keys`` are the objects concerned, the first hundred.
    """

    code: str
    severity: Severity
    title: str
    evidence: str
    remedy: str
    keys: tuple[str, ...] = ()
    queue: str = ""


@dataclass(frozen=True, slots=True)
class TicketView:
    """A ticket of a lane: *available* to all, *assigned* to one worker, *claimed*, or *stalled*: claimed past its lease."""

    lane: int
    id: str
    state: TicketState
    size: int
    worker: str = ""
    token: int = 0
    claimed_at: datetime | None = None
    expires_at: datetime | None = None
    assigned_until: datetime | None = None
    epoch: int = 0
    rescues: int = 0
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker by its own account (``presence``) and by the ledgers': how many messages they say it has ``claimed``.

    *late*: its heartbeat is overdue; *dead*: so long that its claims are rescued; *unlisted*: it is in a ledger and not in
    the registry, as ``receive``, ``process_once`` and bursts are, and who died long ago; it has no ``presence``.
    """

    worker: str
    state: WorkerState
    presence: Presence | None
    beat_at: datetime | None
    due_at: datetime | None
    claimed: int
    leads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CoordinatorView:
    """Who coordinates a lane, in which term (``epoch``), until when; ``leads`` is false if that is past, or resigned."""

    worker: str
    epoch: int
    until: datetime | None
    leads: bool
    fleet: int


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane's books. ``ledger`` is what they are as the engine has them; ``error`` says why there are none."""

    number: int
    key: str
    ledger: Ledger
    coordinator: CoordinatorView | None
    tickets: tuple[TicketView, ...]
    bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """How many messages are in a state, and the times of the oldest and the newest (when visible, claimed, or dead)."""

    count: int = 0
    oldest_at: datetime | None = None
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened a second, between two snapshots ``seconds`` apart; ``p50_ms`` and ``p99_ms`` of what completed then.

    Upper bounds of the histogram's buckets; 0 if nothing completed.
    """

    seconds: float
    completed: float = 0.0
    failed: float = 0.0
    died: float = 0.0
    ticketed: float = 0.0
    p50_ms: int = 0
    p99_ms: int = 0
    requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """A queue at ``taken_at``. ``listed_at``: when its inbox and dead letters were last listed, which is done less often.

    ``requests``: what taking it cost, by (verb, area, outcome). ``stats`` counts messages by state and has the lifetime
    counters; ``spans`` tells ages by state. ``rates`` is None in a first snapshot. ``problems`` are what could not be read,
    ``findings`` what needs attention, the worst first.
    """

    queue: str
    location: str
    root: str
    taken_at: datetime
    listed_at: datetime
    took_s: float
    requests: Counts
    settings: Settings
    stats: Stats
    spans: Mapping[str, Span]
    lanes: tuple[LaneView, ...]
    workers: tuple[WorkerView, ...]
    locks: tuple[LockInfo, ...]
    schedules: tuple[Schedule, ...]
    rates: Rates | None = None
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def tickets(self) -> tuple[TicketView, ...]:
        """The tickets of all lanes."""
        return tuple(ticket for lane in self.lanes for ticket in lane.tickets)

    @property
    def is_led(self) -> bool:
        """Whether every lane has a coordinator."""
        return all(lane.coordinator is not None and lane.coordinator.leads for lane in self.lanes)

    @property
    def living(self) -> tuple[WorkerView, ...]:
        """The workers whose heartbeat has not stopped."""
        return tuple(worker for worker in self.workers if worker.state in ("alive", "late"))

    def age_s(self, now: datetime) -> float:
        """Return how old the snapshot is at ``now``, in seconds."""
        return (now - self.taken_at).total_seconds()

    def usd(self, prices: Prices = S3_STANDARD) -> float:
        """Return what taking it cost, in US dollars."""
        return usd(self.requests, prices)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it; nothing is asked of the store."""
        from s3queue_admin.notebook import queue_html

        return queue_html(self)


@dataclass(frozen=True, slots=True)
class BucketSnapshot:
    """The queues of a bucket by name, each as it was; ``failed``: those that could not be read at all, and why.

    ``causes`` are the errors behind ``failed``.
    """

    location: str
    prefix: str
    taken_at: datetime
    took_s: float
    requests: Counts
    queues: Mapping[str, QueueSnapshot]
    failed: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[str, S3QueueError] = field(default_factory=dict, repr=False, compare=False)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it; nothing is asked of the store."""
        from s3queue_admin.notebook import bucket_html

        return bucket_html(self)


def rates_between(before: QueueSnapshot, after: QueueSnapshot) -> Rates | None:
    """Return what happened a second from one snapshot to the next; None if no time passed or the queue was made anew."""
    seconds = (after.taken_at - before.taken_at).total_seconds()
    was, is_ = before.stats, after.stats
    if seconds <= 0 or is_.completed < was.completed or is_.failed < was.failed:
        return None
    waits = {bound: count - was.latency_ms.get(bound, 0) for bound, count in is_.latency_ms.items()}
    return Rates(
        seconds,
        completed=(is_.completed - was.completed) / seconds,
        failed=(is_.failed - was.failed) / seconds,
        died=(is_.died - was.died) / seconds,
        ticketed=max(0, _ticketed(after) - _ticketed(before)) / seconds,
        p50_ms=percentile(waits, 0.50),
        p99_ms=percentile(waits, 0.99),
        requests=_requests_per_s(before, after, seconds),
    )


def percentile(histogram: Mapping[int, int], share: float) -> int:
    """Return the bound below which ``share`` of a histogram (upper bound → count) lies; 0 for an empty one."""
    total, seen = sum(histogram.values()), 0
    for bound in sorted(histogram):
        seen += histogram[bound]
        if total and seen >= share * total:
            return bound
    return 0


def _ticketed(snapshot: QueueSnapshot) -> int:
    return sum(lane.ledger.counters.get("ticketed", 0) for lane in snapshot.lanes)


def _requests_per_s(before: QueueSnapshot, after: QueueSnapshot, seconds: float) -> dict[str, float]:
    """Return the workers' requests a second by line of their meters, of those that were there before."""
    was = {worker.presence.instance: worker.presence.requests for worker in before.workers if worker.presence}
    sums: dict[str, float] = {}
    for worker in after.workers:
        if worker.presence is None or worker.presence.instance not in was:
            continue
        for line, count in worker.presence.requests.items():
            sums[line] = sums.get(line, 0.0) + max(0, count - was[worker.presence.instance].get(line, 0)) / seconds
    return sums
