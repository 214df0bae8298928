"""A worker and its queue in numbers: what the metrics event, ``/metrics`` and ``--report`` tell. Data and arithmetic only."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from s3queue.core.ledger import Ledger
from s3queue.store.metered import Counts, billed

RATE_WINDOW_S = 60.0
"""How far back a rate looks."""
_SAMPLE_S = 1.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds of a histogram's buckets in seconds; there is one more without an end."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations there were up to each of :data:`BUCKETS_S` and beyond (not cumulative), and their sum."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)
    sum_s: float = 0.0

    def with_more(self, seconds: Iterable[float]) -> Histogram:
        """Return the histogram with more observations."""
        counts, sum_s = list(self.counts), self.sum_s
        for each in seconds:
            counts[bisect_left(BUCKETS_S, each)] += 1
            sum_s += each
        return Histogram(tuple(counts), sum_s)

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by upper bound in seconds as text, with ``+Inf``, ``sum_s`` and ``count``."""
        bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
        return {"buckets": dict(zip(bounds, self.counts, strict=True)), "sum_s": self.sum_s, "count": self.count}


@dataclass(frozen=True, slots=True)
class Leadership:
    """A lane's coordinator: its worker ('' for none), its term, and whether it is this process."""

    lane: int
    worker: str = ""
    epoch: int = 0
    mine: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A lane's ledger, and when it was the newest (store time): idle workers look seldom."""

    lane: int
    ledger: Ledger
    at_ms: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the ledgers in hand tell of all workers, each as it was when it was read.

    ``active_workers``: this one and all who lately claimed, or as many as a coordinator knows of, if that is more.
    ``tickets_stalled`` are claims past the end of their lease; they are not counted as claimed.
    """

    active_workers: int = 1
    leaders: tuple[Leadership, ...] = ()
    tickets_available: int = 0
    tickets_claimed: int = 0
    tickets_stalled: int = 0
    paused: bool = False


def fleet_of(seen: Sequence[Seen], *, worker: str, instances: frozenset[str]) -> Fleet:
    """Return what the ledgers tell.

    ``worker`` is this worker's id, ``instances`` the names of this process by which a ledger may call its coordinator.
    """
    tickets = [(ticket, look.at_ms) for look in seen for ticket in look.ledger.tickets.values()]
    claims = [(ticket.worker, ticket.expires_at_ms >= at_ms) for ticket, at_ms in tickets if ticket.claimed]
    claimed = sum(lasts for _, lasts in claims)
    known = [leader.fleet for look in seen if (leader := look.ledger.led_at(look.at_ms)) is not None]
    workers = {worker, *(holder for holder, lasts in claims if lasts)}
    workers.update(*(look.ledger.rooms for look in seen))
    return Fleet(
        active_workers=max([*known, len(workers)]),
        leaders=tuple(_leadership(look, instances) for look in seen),
        tickets_available=len(tickets) - len(claims),
        tickets_claimed=claimed,
        tickets_stalled=len(claims) - claimed,
        paused=any(look.ledger.paused for look in seen),
    )


def _leadership(look: Seen, instances: frozenset[str]) -> Leadership:
    leader, last = look.ledger.led_at(look.at_ms), look.ledger.leader
    if leader is None:
        return Leadership(look.lane, epoch=last.epoch if last is not None else 0)
    return Leadership(look.lane, leader.worker, leader.epoch, leader.instance in instances)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worker at ``at_ms`` (store time). Counts are since it was made, rates are per second over the last minute.

    ``processed``: attempts that ended, of which ``failed``; ``running``: handlers at work; ``held``: claimed messages
    without an outcome, those included. ``requests``: to the store, by (verb, area, outcome), as they are billed; of the
    whole queue object, what it enqueues included. ``latency``: enqueue to completion; ``handling``: a handler's time.
    """

    worker: str
    queue: str
    at_ms: int
    uptime_s: float = 0.0
    processed: int = 0
    failed: int = 0
    processed_per_s: float = 0.0
    running: int = 0
    held: int = 0
    commits: int = 0
    lost_races: int = 0
    requests: Counts = field(default_factory=dict)
    requests_per_s: Mapping[str, float] = field(default_factory=dict)
    fleet: Fleet = field(default_factory=Fleet)
    latency: Histogram = field(default_factory=Histogram)
    handling: Histogram = field(default_factory=Histogram)

    @property
    def throttled(self) -> int:
        """How often the store asked to slow down."""
        return sum(count for (_, _, outcome), count in self.requests.items() if outcome == "throttled")

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them, flat: ``requests`` by verb, ``leader`` and ``epoch`` of lane 0."""
        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "fleet"}
        numbers |= {item.name: getattr(self.fleet, item.name) for item in fields(Fleet) if item.name != "leaders"}
        first = self.fleet.leaders[0] if self.fleet.leaders else Leadership(0)
        return numbers | {
            "requests": by_verb(self.requests),
            "requests_per_s": dict(self.requests_per_s),
            "s3_operations_per_s": round(sum(self.requests_per_s.values()), 3),
            "throttled": self.throttled,
            "billed": billed(self.requests),
            "leader": first.worker or None,
            "epoch": first.epoch,
            "leads": [leader.lane for leader in self.fleet.leaders if leader.mine],
            "latency": self.latency.as_dict(),
            "handling": self.handling.as_dict(),
        }


def by_verb(counts: Counts) -> dict[str, int]:
    """Return requests by verb."""
    sums: dict[str, int] = {}
    for (verb, _, _), count in counts.items():
        sums[verb] = sums.get(verb, 0) + count
    return sums


class Rates:
    """Rates of totals that only grow, over the last :data:`RATE_WINDOW_S`; the caller says what time it is."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, int]]] = deque()

    def note(self, now: float, totals: Mapping[str, int]) -> None:
        """Take note of the totals at ``now`` (monotonic seconds); what comes within a second of the last is left out."""
        if self._samples and now - self._samples[-1][0] < _SAMPLE_S:
            return
        self._samples.append((now, dict(totals)))
        while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_WINDOW_S:
            self._samples.popleft()

    def per_second(self, now: float, totals: Mapping[str, int]) -> dict[str, float]:
        """Return each total's growth per second since the oldest sample in the window; 0 if there is none before now."""
        since, before = self._samples[0] if self._samples else (now, dict(totals))
        passed_s = max(now - since, _SAMPLE_S)
        return {name: round((total - before.get(name, 0)) / passed_s, 3) for name, total in totals.items()}
