"""Fleets that run in virtual time, their requests metered where they are billed, and what the request model says of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.fleet import Fleet
from benchmarks.played import FleetStore, PlayedWorker
from benchmarks.wires import Wire, WiredHints
from s3queue.core.message import Failure
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.queue import Queue
from s3queue.runtime.handler import store_result
from s3queue.runtime.tuning import Tuning
from s3queue_admin.cost import Load, Purpose, estimate_usage, load_prices, purpose
from s3queue_admin.cost.bill import HINT, Rate, merge, price_class
from tests.simulation.world import Actor, SimClock

STEADY_S = 1260.0
"""After which heartbeats of idle workers are as seldom as they get."""


@dataclass(frozen=True)
class Run:
    """A fleet under a load, and how long it runs: ``quiet_s`` without messages, ``settle_s`` with, then ``seconds`` that count.

    ``options`` are the queue's, as :class:`s3queue.Queue` takes them; ``delay_s``: of each message.
    """

    load: Load
    options: dict[str, Any] = field(default_factory=dict)
    quiet_s: float = 60.0
    settle_s: float = 30.0
    seconds: float = 40.0
    delay_s: float = 0.0
    seed: int = 0

    def with_seed(self, seed: int) -> Run:
        """Return the same run with other accidents."""
        return replace(self, seed=seed)

    def __str__(self) -> str:
        load, said = self.load, []
        said.append(f"{load.workers} workers" if load.workers > 1 else "1 worker")
        said.append(f"{load.messages_per_s:g}/s" if load.messages_per_s else "idle")
        said += [f"{load.batch} an object"] * (load.batch > 1)
        said += [f"handlers {load.handler_s:g} s"] * bool(load.handler_s)
        said += [f"{load.failing:.0%} fail"] * bool(load.failing)
        said += [f"{load.groups} groups"] * ("strict-group" in self.options.values())
        said += [f"concurrency {load.concurrency}"] * (load.concurrency != 8)
        said += [f"polls {load.poll_interval_s:g} to {load.max_poll_interval_s:g} s"] * (
            (load.poll_interval_s, load.max_poll_interval_s) != (0.25, 5.0)
        )
        said += [f"delayed {self.delay_s:g} s"] * bool(self.delay_s)
        said += [load.coordination] * (load.coordination != "s3")
        said += [f"{name}={value}" for name, value in self.options.items()]
        return ", ".join(said)


@dataclass(frozen=True)
class Compared:
    """What was metered and what the model says, in requests a second by verb and purpose; and whether the fleet kept up."""

    run: Run
    metered: tuple[Rate, ...]
    estimated: tuple[Rate, ...]
    kept_up: bool

    def usd_a_month(self) -> tuple[float, float]:
        """Return dollars at list price, metered and estimated."""
        prices = load_prices()
        s3, hint = prices.bucket("s3"), prices.services["sqs"].request
        each = {"put_list": s3.put_list, "get": s3.get, "free": 0.0}

        def usd(rates: tuple[Rate, ...]) -> float:
            prices = [hint if rate.verb == HINT else each[price_class(rate)] for rate in rates]
            return sum(rate.per_second * price for rate, price in zip(rates, prices, strict=True)) * 2.592

        return usd(self.metered), usd(self.estimated)

    def errors(self) -> dict[str, float]:
        """Return how far the estimate is off: its share above (below, if negative) what was metered, by class and in dollars."""
        off = {}
        for kind in ("put_list", "get"):
            was, said = (
                sum(rate.per_second for rate in rates if rate.verb != HINT and price_class(rate) == kind)
                for rates in (self.metered, self.estimated)
            )
            off[kind] = said / was - 1
        was, said = self.usd_a_month()
        return off | {"usd": said / was - 1}


class Produced(Fleet):
    """A fleet whose producer begins late, and enqueues so many at once."""

    def __init__(self, run: Run) -> None:
        load = run.load
        tuning = Tuning(
            concurrency=load.concurrency, poll_interval=load.poll_interval_s, max_poll_interval=load.max_poll_interval_s
        )
        options = {"lanes": 1} | run.options
        super().__init__(
            load.workers, load.messages_per_s, handler_ms=load.handler_s * 1000, seed=run.seed, tuning=tuning, **options
        )
        self.spec, self.objects_per_s = run, load.messages_per_s / load.batch
        self.wire = Wire(load.coordination, self.world) if load.coordination != "s3" else None

    def open(self, actor: Actor) -> tuple[Queue, FleetStore]:
        queue, store = super().open(actor)
        if self.wire is not None:
            queue.connect().hints = WiredHints(self.wire)
            queue.events.on("tickets-published", queue._announce_tickets)  # noqa: SLF001 - as a queue with a backend does
        return queue, store

    def _produce(self, actor: Actor) -> None:
        SimClock(self.world, actor).sleep(self.spec.quiet_s)
        super()._produce(actor)

    def _enqueue(self, queue: Queue) -> None:
        load = self.spec.load
        group = f"g{self.enqueued // load.batch % load.groups}" if queue.connect().register.current().strict else None
        numbers = [{"n": self.enqueued + number} for number in range(load.batch)]
        if load.batch == 1:
            key = f"k{self.enqueued}" if self.world.random.random() < load.deduplicated else None
            queue.enqueue(numbers[0], group=group, delay=self.spec.delay_s, dedup_id=key)
        else:
            queue.enqueue_many(numbers, group=group, delay=self.spec.delay_s)
        self.enqueued += load.batch

    def _work(self, actor: Actor) -> None:
        worker = PlayedWorker(self, actor)
        completed = worker.consumer.completed

        def end(delivery: Delivery) -> Recorded:
            if self.world.random.random() < self.spec.load.failing:
                return worker.consumer.failed(delivery, Failure("Boom", "no"))
            if not self.options.get("results"):
                return completed(delivery)
            worker.consumer.completed = completed  # type: ignore[method-assign]
            with worker.store.aside():  # handlers write their results, each in its own thread
                recorded = store_result(worker.consumer, delivery, delivery.message.payload)
            worker.consumer.completed = end  # type: ignore[method-assign]
            return recorded

        worker.consumer.completed = end  # type: ignore[method-assign]
        self.played.append(worker)
        worker.run()

    def metered(self) -> tuple[tuple[Rate, ...], bool]:
        """Let it run; return what was asked for a second, by purpose, in the time that counts, and whether it kept up."""
        self._begin()
        self._pass(self.spec.quiet_s + self.spec.settle_s)
        before, calls, done = self._counts(), self._calls(), (self.enqueued, self.completed)
        self._pass(self.spec.seconds)
        after, calls_after = self._counts(), self._calls()
        self.world.kill_all()
        for actor in self.world.actors:
            if actor.error is not None:
                raise actor.error
        rates = [
            Rate(line[0], purpose(*line), (count - before.get(line, 0)) / self.spec.seconds)
            for line, count in after.items()
        ]
        rates.append(Rate(HINT, Purpose.HINTS, (calls_after - calls) / self.spec.seconds))
        kept_up = self.completed - done[1] >= 0.95 * (self.enqueued - done[0])
        return merge(rates), kept_up

    def _calls(self) -> int:
        return sum(self.wire.calls.values()) if self.wire is not None else 0


def compare(run: Run) -> Compared:
    """Let the fleet run, and say of the same load what the model says."""
    fleet = Produced(run)
    metered, kept_up = fleet.metered()
    settings = fleet.played[0].connection.lane.settings()
    return Compared(run, metered, estimate_usage(settings, run.load).rates, kept_up)
