"""Fleets larger than this machine, in virtual time: the real engine with S3's latencies, and what it asks of the bucket."""

from __future__ import annotations

from dataclasses import dataclass

from s3queue.core.retry import RetryPolicy
from s3queue.errors import S3QueueError
from s3queue.ids import SeededIds
from s3queue.queue import Queue
from s3queue.runtime.pace import Polling, Prefetch
from s3queue.store.metered import billed, usd
from tests.simulation.bucket import Bucket, Faults, SimStore
from tests.simulation.world import START_S, Actor, SimClock, World

CONCURRENCY = 8
LINGER_S = 0.2


@dataclass(frozen=True)
class Bill:
    """What a fleet did in ``seconds`` of virtual time, and what its requests cost at list prices."""

    workers: int
    messages: int
    completed: int
    seconds: float
    put_list_per_message: float
    get_per_message: float
    lost_races_per_message: float
    usd_per_million: float
    steps: int


class Fleet:
    """Workers that each look for themselves, and producers that enqueue one by one at an even rate."""

    def __init__(self, workers: int, rate: float, seconds: float, *, seed: int = 0, producers: int = 8) -> None:
        self.workers, self.rate, self.seconds, self.producers = workers, rate, seconds, producers
        self.world, self.bucket = World(seed), Bucket()
        self.queues: list[Queue] = []
        self.enqueued = 0
        self.completed = 0

    def run(self) -> Bill:
        """Run the fleet and return its bill; what is enqueued in the last moments may not be completed yet."""
        for number in range(self.producers):
            self.world.spawn(f"p{number}", self._produce, at_s=START_S + number / self.rate)
        for number in range(self.workers):
            self.world.spawn(f"w{number}", self._work, at_s=START_S + self.world.random.random())
        self.world.run(START_S + self.seconds, max_steps=100_000_000)
        self.world.kill_all()
        counts: dict[tuple[str, str, str], int] = {}
        for queue in self.queues:
            for line, count in queue.meter.snapshot().items():
                counts[line] = counts.get(line, 0) + count
        sums, each = billed(counts), max(self.enqueued, 1)
        lost = sum(count for (verb, _, outcome), count in counts.items() if (verb, outcome) == ("PUT", "lost"))
        return Bill(
            self.workers,
            self.enqueued,
            self.completed,
            self.seconds,
            round(sums["put_list"] / each, 3),
            round(sums["get"] / each, 3),
            round(lost / each, 3),
            round(usd(counts) / each * 1e6, 2),
            self.world.steps,
        )

    def _open(self, actor: Actor) -> Queue:
        queue = Queue(
            "fleet",
            store=SimStore(self.world, self.bucket, actor, Faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.world.seed}/{actor.name}"),
            worker_id=actor.name,
            probe=False,
            retry=RetryPolicy(),
        )
        self.queues.append(queue)
        return queue

    def _produce(self, actor: Actor) -> None:
        queue, clock, due = self._open(actor), SimClock(self.world, actor), self.world.now_s
        while True:
            queue.enqueue({"n": self.enqueued})
            self.enqueued += 1
            due += self.producers / self.rate
            clock.sleep(max(0.0, due - self.world.now_s))

    def _work(self, actor: Actor) -> None:
        """Step as a worker does whose handlers take no time: pace, exchange, tidy up."""
        queue, clock, ids = self._open(actor), SimClock(self.world, actor), SeededIds(actor.name)
        connection = queue.connect()
        consumer = connection.consumer
        polling, prefetch = Polling(0.25, 5.0), Prefetch(CONCURRENCY, 1000)
        while True:
            room = prefetch.want(30.0, 100.0)
            try:
                got = consumer.exchange(room)
                for delivery in got:
                    consumer.record(consumer.completed(delivery))
                    prefetch.observe(0.001)
                self.completed += len(got)
                if consumer.claimed_in_full:
                    prefetch.grow()
                polling.found(self.world.now_s, room if consumer.claimed_in_full else len(got), room, ids.random())
                connection.janitor.tick()
                connection.sweeper.step()
            except S3QueueError:
                polling.failed(self.world.now_s, ids.random())
            clock.sleep(max(0.001, polling.due_at - self.world.now_s))
            if consumer.pending() and polling.due_at - self.world.now_s > LINGER_S:
                consumer.exchange(0)
