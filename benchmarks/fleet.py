"""``python -m benchmarks.fleet``: what a fleet of workers asks of S3 and costs, in virtual time. See docs/benchmarks.md.

The engine is the real one: committers, coordinators, registry, sweepers, on the simulated bucket of the tests with S3's
latencies; only threads, handlers and time are played. So fleets larger than any machine can be billed exactly.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from benchmarks.played import FleetStore, PlayedWorker, Traffic
from s3queue import connection
from s3queue.core.codec import decode_ledger
from s3queue.core.ledger import Leader, Ledger
from s3queue.ids import SeededIds
from s3queue.protocol.outcomes import Delivery
from s3queue.queue import Queue
from s3queue.runtime.tuning import Tuning
from s3queue.store.metered import billed, usd
from tests.simulation.bucket import Bucket, Faults
from tests.simulation.world import START_S, Actor, SimClock, World

MONTH_S = 30 * 86_400
SEED_USD_A_MONTH = 3_327.0
"""The guide this project was born from: 100 pods, optimised, 6.7 PUT, 50 LIST and 2,500 GET a second, at list price."""
GOALS = {(100, 100.0): 10.0, (100, 1000.0): 9.0}
"""By workers and messages a second: US dollars a million single messages, at most."""
LOST_RACES_GOAL = 0.3
IDLE_GOAL_USD_A_MONTH = 20.0
PREFIX_LIMITS = {"writes": 3_500, "reads": 5_500}
"""What S3 takes a second for one prefix (Amazon S3 User Guide, "Best practices design patterns")."""


_CALM = Faults()
_LEDGERS_KEPT = 256


@dataclass(frozen=True)
class Load:
    """What the busiest prefixes had to bear, a second: ``inbox/{lane}/``, ``settled/{lane}/``, each other area as a whole."""

    writes_per_s: float
    written_most: str
    reads_per_s: float
    read_most: str
    ledger_puts_per_s: float
    """Of the ledger written most often, lost races included: one key takes one PUT after the other."""

    @classmethod
    def of(cls, traffic: Traffic, seconds: float) -> Load:
        """Return the load of requests made within so many seconds."""
        writes, reads, ledgers = Counter[str](), Counter[str](), Counter[str]({"": 0})
        for (area, lane, verb), count in traffic.items():
            prefix = f"{area}/{lane}/" if lane and area != "ledger" else f"{area}/"
            (reads if verb in ("GET", "LIST") else writes)[prefix] += count
            if (area, verb) == ("ledger", "PUT"):
                ledgers[lane] += count
        (written_most, most_writes), (read_most, most_reads) = (
            max(kind.items(), key=lambda item: item[1], default=("", 0)) for kind in (writes, reads)
        )
        return cls(
            round(most_writes / seconds, 1),
            written_most,
            round(most_reads / seconds, 1),
            read_most,
            round(max(ledgers.values()) / seconds, 1),
        )


@dataclass(frozen=True)
class Bill:
    """What a fleet did in ``seconds`` of virtual time after it had settled in, and what it cost at list prices."""

    workers: int
    rate: float
    lanes: int
    handler_ms: float
    seconds: float
    enqueued: int
    completed: int
    put_list_per_message: float
    get_per_message: float
    lost_races_per_message: float
    usd_per_million: float
    usd_a_month: float
    start_p50_ms: float
    start_p99_ms: float
    workers_that_wrote: int
    load: Load
    billed: dict[str, int]
    steps: int


class Fleet:
    """Workers, and producers that enqueue one by one at an even rate."""

    def __init__(
        self,
        workers: int,
        rate: float,
        *,
        lanes: int | str = 1,
        handler_ms: float = 0.0,
        seed: int = 0,
        tuning: Tuning | None = None,
        **options: Any,
    ) -> None:
        """``options`` are those of :class:`s3queue.Queue`."""
        self.workers, self.rate, self.lanes, self.handler_s = workers, rate, lanes, handler_ms / 1000
        self.objects_per_s = rate
        self.tuning, self.options = tuning or Tuning(), options
        self.world, self.bucket = World(seed), Bucket()
        self.queues: list[Queue] = []
        self.enqueued = 0
        self.completed = 0
        self.waits_ms: list[float] = []
        self.played: list[PlayedWorker] = []
        self.traffic: Traffic = Counter()
        self._decode = lru_cache(_LEDGERS_KEPT)(decode_ledger)

    def run(self, seconds: float, *, settle_s: float = 10.0) -> Bill:
        """Run the fleet and return the bill of ``seconds`` after the first ``settle_s``, in which everybody comes to work."""
        self._begin()
        self._pass(settle_s)
        before, traffic, enqueued, completed = self._counts(), self.traffic.copy(), self.enqueued, self.completed
        self.waits_ms.clear()
        self._pass(seconds)
        counts = {line: count - before.get(line, 0) for line, count in self._counts().items()}
        load = Load.of(self.traffic - traffic, seconds)
        for actor in self.world.actors:
            if actor.error is not None:
                raise actor.error
        self.world.kill_all()
        return self._bill(counts, load, self.enqueued - enqueued, self.completed - completed, seconds)

    def _begin(self) -> None:
        """Let everybody come to work, once."""
        if self.world.actors:
            return
        for number in range(self.workers):
            self.world.spawn(f"w{number}", self._work, at_s=START_S + self.world.random.random())
        if self.rate:
            self.world.spawn("p", self._produce, at_s=START_S + 1)

    def _pass(self, seconds: float) -> None:
        # A ledger is decoded once for all who read it, as decoding it for each would take most of the time.
        with patch.object(connection, "decode_ledger", self._decode):
            self.world.run(self.world.now_s + seconds, max_steps=1_000_000_000)

    def lead_after(self, seconds: float) -> Leader:
        """Let time pass and return who coordinates the first lane then; LookupError if nobody does."""
        self._begin()
        self._pass(seconds)
        leader = self.ledger(0).led_at(int(self.world.now_s * 1000))
        if leader is None:
            raise LookupError(f"nobody coordinates at {self.world.now_s - START_S:.0f} s")
        return leader

    def ledger(self, lane: int) -> Ledger:
        """Return a lane's books as they are in the bucket."""
        key = self.played[0].connection.keys.ledger(lane)
        return decode_ledger(self.bucket.objects[key].body, key)

    def kill(self, worker: str) -> None:
        """End a worker in the middle of whatever it does."""
        for actor in self.world.actors:
            if actor.name == worker:
                self.world.kill(actor)

    def _bill(
        self, counts: dict[tuple[str, str, str], int], load: Load, enqueued: int, completed: int, seconds: float
    ) -> Bill:
        sums, each = billed(counts), max(enqueued, 1)
        lost = sum(count for (verb, _, outcome), count in counts.items() if (verb, outcome) == ("PUT", "lost"))
        waits = sorted(self.waits_ms) or [0.0]
        return Bill(
            self.workers,
            self.rate,
            self.played[0].connection.lane.settings().lanes,
            self.handler_s * 1000,
            seconds,
            enqueued,
            completed,
            round(sums["put_list"] / each, 3),
            round(sums["get"] / each, 3),
            round(lost / each, 3),
            round(usd(counts) / each * 1e6, 2),
            round(usd(counts) / seconds * MONTH_S, 2),
            round(statistics.median(waits), 1),
            round(waits[int(len(waits) * 0.99)], 1),
            sum(1 for worker in self.played if worker.prefetch.mean_s > 0),
            load,
            {f"{verb} {area}": count for (verb, area), count in sorted(_by_area(counts).items())},
            self.world.steps,
        )

    def _counts(self) -> dict[tuple[str, str, str], int]:
        counts: dict[tuple[str, str, str], int] = {}
        for queue in self.queues:
            for line, count in queue.meter.snapshot().items():
                counts[line] = counts.get(line, 0) + count
        return counts

    def open(self, actor: Actor) -> tuple[Queue, FleetStore]:
        """Return the production queue on this actor's store, clock and ids."""
        store = FleetStore(self.traffic, self.world, self.bucket, actor, lambda: _CALM)
        queue = Queue(
            "fleet",
            store=store,
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.world.seed}/{actor.name}"),
            worker_id=actor.name,
            probe=False,
            lanes=self.lanes,
            **self.options,
        )
        self.queues.append(queue)
        return queue, store

    def started(self, delivery: Delivery) -> None:
        """Take note that a handler begins."""
        self.waits_ms.append(self.world.now_s * 1000 - delivery.message.enqueued_at_ms)

    def _produce(self, actor: Actor) -> None:
        """Enqueue every twentieth of a second what is due since the last time, each message by itself."""
        queue, store = self.open(actor)
        clock, owed, tick_s = SimClock(self.world, actor), 0.0, 0.05
        queue.connect()
        while True:
            began = self.world.now_s
            owed += self.objects_per_s * tick_s
            count, owed = int(owed), owed - int(owed)
            with store.together(max(count, 1)):
                for _ in range(count):
                    self._enqueue(queue)
            late = self.world.now_s - began
            owed += self.objects_per_s * max(0.0, late - tick_s)
            clock.sleep(max(0.0, tick_s - late))

    def _enqueue(self, queue: Queue) -> None:
        """Enqueue an object."""
        queue.enqueue({"n": self.enqueued})
        self.enqueued += 1

    def _work(self, actor: Actor) -> None:
        worker = PlayedWorker(self, actor)
        self.played.append(worker)
        worker.run()


def _by_area(counts: dict[tuple[str, str, str], int]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for (verb, area, _), count in counts.items():
        if count:
            sums[verb, area] = sums.get((verb, area), 0) + count
    return sums


def judge(bill: Bill) -> list[tuple[str, bool]]:
    """Return each goal that the bill can be held against, and whether it is met."""
    found = []
    if not bill.rate:
        found.append((f"idle ≤ ${IDLE_GOAL_USD_A_MONTH:g} a month", bill.usd_a_month <= IDLE_GOAL_USD_A_MONTH))
        return found
    goal = GOALS.get((bill.workers, bill.rate))
    if goal is not None:
        found.append((f"≤ ${goal:g} a million", bill.usd_per_million <= goal))
    found.append((f"≤ {LOST_RACES_GOAL:g} lost races a message", bill.lost_races_per_message <= LOST_RACES_GOAL))
    found.append(("keeps up", bill.completed >= 0.97 * bill.enqueued))
    within = bill.load.writes_per_s <= PREFIX_LIMITS["writes"] and bill.load.reads_per_s <= PREFIX_LIMITS["reads"]
    found.append(("within S3's limits of a prefix", within))
    return found


def main(argv: list[str] | None = None) -> int:
    """Run a fleet, print its bill, and return 1 if it misses a goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=100.0, help="single messages a second; 0 for an idle queue")
    parser.add_argument("--lanes", default="1", help="a number, or auto")
    parser.add_argument("--handler-ms", type=float, default=0.0, help="how long a handler takes")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long, in virtual time, after settling in")
    parser.add_argument("--settle-seconds", type=float, default=10.0, help="how long the fleet gets to settle in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    lanes = given.lanes if given.lanes == "auto" else int(given.lanes)
    fleet = Fleet(given.workers, given.rate, lanes=lanes, handler_ms=given.handler_ms, seed=given.seed)
    bill = fleet.run(given.seconds, settle_s=given.settle_seconds)
    goals = judge(bill)
    if given.json:
        print(json.dumps({**asdict(bill), "goals": dict(goals), "seed_guide_usd_a_month": SEED_USD_A_MONTH}, indent=1))
    else:
        for name, value in asdict(replace(bill, billed={})).items():
            print(f"{name:<26} {value}")
        print(f"{'the guide, 100 pods':<26} ${SEED_USD_A_MONTH:,.0f} a month")
        for goal, met in goals:
            print(f"{'met' if met else 'MISSED':<8} {goal}")
    return 0 if all(met for _, met in goals) else 1


if __name__ == "__main__":
    raise SystemExit(main())
