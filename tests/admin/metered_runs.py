"""Fleets that run in virtual time, their requests metered where they are billed, and what the request model says of them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.fleet import Fleet
from benchmarks.played import PlayedWorker
from s3queue.core.message import Failure
from s3queue.core.settings import Settings
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.store.metered import billed
from s3queue_admin.cost import Load, estimate_usage
from s3queue_admin.cost.bill import price_class
from tests.simulation.world import Actor, SimClock

WITHIN = 0.10
STEADY_S = 1260.0
"""After which heartbeats of idle workers are as seldom as they get."""


@dataclass(frozen=True)
class Run:
    """A fleet, and how long it runs: ``quiet_s`` without messages, ``settle_s`` with, then ``seconds`` that count."""

    workers: int
    rate: float = 0.0
    batch: int = 1
    lanes: int = 1
    handler_s: float = 0.0
    failing: float = 0.0
    quiet_s: float = 0.0
    settle_s: float = 20.0
    seconds: float = 20.0

    def __str__(self) -> str:
        work = f"{self.handler_s:g} s each, {self.failing:.0%} fail"
        return f"{self.workers} workers, {self.rate:g} a second by {self.batch}, {self.lanes} lanes, {work}"


class Produced(Fleet):
    """A fleet whose producer begins late, and enqueues so many at once."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.workers, run.rate, lanes=run.lanes, handler_ms=run.handler_s * 1000)
        self.spec = run

    def _produce(self, actor: Actor) -> None:
        clock = SimClock(self.world, actor)
        clock.sleep(self.spec.quiet_s)
        if self.spec.batch == 1:
            super()._produce(actor)
        queue, _ = self.open(actor)
        queue.connect()
        due_s = self.world.now_s
        while True:
            queue.enqueue_many([{"n": number} for number in range(self.spec.batch)])
            self.enqueued += self.spec.batch
            due_s += self.spec.batch / self.rate
            clock.sleep(max(0.001, due_s - self.world.now_s))

    def _work(self, actor: Actor) -> None:
        worker = PlayedWorker(self, actor)
        completed = worker.consumer.completed

        def end(delivery: Delivery) -> Recorded:
            if self.world.random.random() < self.spec.failing:
                return worker.consumer.failed(delivery, Failure("Boom", "no"))
            return completed(delivery)

        worker.consumer.completed = end  # type: ignore[method-assign]
        self.played.append(worker)
        worker.run()

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Let it run, and return what was asked of the store in the time that counts."""
        self._begin()
        self._pass(self.spec.quiet_s + self.spec.settle_s)
        before = self._counts()
        self._pass(self.spec.seconds)
        after = self._counts()
        self.world.kill_all()
        assert all(actor.error is None for actor in self.world.actors)
        return {line: count - before.get(line, 0) for line, count in after.items()}


def errors(run: Run) -> dict[str, float]:
    """Return how far the estimate is off: its share above (below, if negative) what was metered, by class and in dollars."""
    sums = billed(Produced(run).counts())
    load = Load(run.rate, run.workers, run.batch, run.handler_s, failing=run.failing)
    said = estimate_usage(Settings(lanes=run.lanes), load)
    rates = {
        kind: sum(rate.per_second for rate in said.rates if price_class(rate) == kind) for kind in ("put_list", "get")
    }
    metered = {kind: sums[kind] / run.seconds for kind in rates}
    rates["usd"] = sum(charge.usd_an_hour for charge in said.bill().charges)
    metered["usd"] = (metered["put_list"] * 5.00 + metered["get"] * 0.40) * 3600 / 1e6
    return {kind: rates[kind] / metered[kind] - 1 for kind in rates}


def check(run: Run) -> None:
    """Hold the estimate against the run."""
    off = errors(run)
    assert all(abs(error) <= WITHIN for error in off.values()), f"{run}: {off}"
