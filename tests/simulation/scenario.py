"""One run: producers, workers and an operator on one queue under faults, then calm, then the checks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from s3queue.connection import Connection
from s3queue.core.keys import Keys
from s3queue.core.message import Failure
from s3queue.core.presence import Presence
from s3queue.core.retry import RetryPolicy
from s3queue.core.transitions import Reset
from s3queue.errors import NonRetriable, S3QueueError
from s3queue.events import Event
from s3queue.ids import SeededIds
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.protocol.registry import Registration
from s3queue.queue import Queue
from tests.simulation.bucket import Bucket, Faults, SimStore
from tests.simulation.causes import Blow
from tests.simulation.history import History
from tests.simulation.storms import CALM, STORMS
from tests.simulation.vandals import Vandals
from tests.simulation.world import START_S, Actor, Crashed, SimClock, World

LEASE_S = 10.0
STORM_S = 90.0
CALM_S = 4 * 3600.0
SETTLE_S = 300.0
MAX_STEPS = 60_000
ONCE_KEYS = 8
"""How many deduplication keys the producers share."""


@dataclass(frozen=True)
class Scenario:
    """What a seed makes of a run."""

    seed: int
    workers: int = 3
    producers: int = 2
    messages: int = 30
    max_attempts: int = 3
    faults: Faults = field(default_factory=Faults)
    operator: bool = False
    poison: bool = True
    night_s: float = 0.0
    members: float = 0.8
    """How likely a worker takes part in coordination; the others claim for themselves, whoever leads."""


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    steps: int
    digest: str
    violations: list[str]
    faults: dict[str, int]
    duplicates: dict[str, int]
    """How often messages were executed that had been executed before, by cause."""
    messages: int
    trace: list[str] | None


class Run:
    """A scenario being played."""

    def __init__(self, scenario: Scenario, *, keep_trace: bool = False) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed, keep_trace=keep_trace)
        self.bucket = Bucket()
        self.faults = scenario.faults
        self.stopping = False
        self.producing = 0
        self.incarnations = 0
        keys = Keys(self.queue(Actor("keys", lambda actor: None)).root)
        within = scenario.faults.skew_s <= 1.0
        self.history = History(
            self.world,
            self.bucket,
            keys,
            LEASE_S,
            scenario.max_attempts,
            check_leases=within,
            operated=scenario.operator,
        )
        self.vandals = Vandals(self.world, self.bucket, self.history)
        self.world.on_death = self._revive

    def queue(self, actor: Actor) -> Queue:
        """Return the production queue on this actor's store, clock and ids."""
        queue = Queue(
            "sim",
            store=SimStore(self.world, self.bucket, actor, lambda: self.faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.scenario.seed}/{actor.name}"),
            worker_id=actor.name,
            probe=False,
            visibility_timeout=LEASE_S,
            max_attempts=self.scenario.max_attempts,
            retry=RetryPolicy(base_s=1, cap_s=10),
        )
        queue.on("lease-lost", self._on_lease_lost)
        return queue

    def _on_lease_lost(self, event: Event) -> None:
        self.history.on_lease_lost(event)

    # -- playing --

    def play(self) -> Outcome:
        """Play the run to its end and return what came of it."""
        self._spawn()
        self._storm()
        self._calm()
        self.stopping = True
        self.world.kill_all()
        self._check()
        return Outcome(
            self.scenario.seed,
            self.world.steps,
            self.world.digest(),
            self.history.found,
            dict(self.world.faults),
            dict(self.history.again.by_cause),
            len(self.history.ids),
            self.world.trace,
        )

    def _spawn(self) -> None:
        """Start the actors."""
        world, random = self.world, self.world.random
        for number in range(self.scenario.producers):
            self.producing += 1
            world.spawn(f"p{number}", self.produce, at_s=START_S + random.uniform(0, 5), skew_s=self._skew())
        for number in range(self.scenario.workers):
            world.spawn(f"w{number}", self.work, at_s=START_S + random.uniform(0, 5), skew_s=self._skew())
        if self.scenario.operator:
            world.spawn("op", self.operate, at_s=START_S + 10, skew_s=self._skew())
            for number in range(2):
                world.spawn(f"replayer{number}", self.replay, at_s=START_S + 5, skew_s=self._skew())

    def _storm(self) -> None:
        """Play on while faults happen."""
        world, random = self.world, self.world.random
        for _ in range(self.scenario.faults.vandals):
            self.vandals.come(START_S + random.uniform(5, STORM_S))
        if self.scenario.night_s:
            world.run(START_S + random.uniform(30, STORM_S), MAX_STEPS, self._is_worst_moment)
            world.night(self.scenario.night_s)
        world.run(START_S + self.scenario.night_s + STORM_S, MAX_STEPS, self._is_broken)

    def _calm(self) -> None:
        """Stop the faults, let the queue drain, and wait until late copies have landed and sweeps have cleared them away."""
        world = self.world
        self.vandals.mend()
        self.faults = CALM
        world.note("calm")
        if not any(not actor.done and actor.name.startswith("w") for actor in world.actors):
            world.spawn("w-last", self.work)

        def ends() -> bool:
            return self._is_broken() or (world.steps % 50 == 0 and self._is_over())

        world.run(world.now_s + CALM_S, MAX_STEPS, ends)
        world.run(world.now_s + SETTLE_S + self.scenario.faults.late_put_s, MAX_STEPS, self._is_broken)
        if not self._is_broken() and not self._is_over():
            self.history.violation(f"liveness: not drained {CALM_S} s after the last fault")

    def _check(self) -> None:
        """Check what is left."""
        self.vandals.check()
        for actor in self.world.actors:
            if actor.error is not None:
                self.history.violation(f"{actor.name} failed: {type(actor.error).__name__}: {actor.error}")
        if not self._is_broken():
            self.history.check_end()

    def _is_broken(self) -> bool:
        return bool(self.history.found)

    def _is_worst_moment(self) -> bool:
        """Whether a line stands whose target has been processed and forgotten: no engine of ours gets there."""
        ledger = self.history.ledger
        return self._is_broken() or any(
            self.history.has_left((line.target, 0)) and line.target not in ledger.settled
            for line in ledger.outbox.values()
            if line.kind != "dead"
        )

    def _is_over(self) -> bool:
        if self.producing:
            return False
        ledger = self.history.ledger
        return not ledger.tickets and not ledger.outbox and not self.history.unfinished()

    def _skew(self) -> float:
        return self.world.random.uniform(-1, 1) * self.scenario.faults.skew_s

    def _revive(self, actor: Actor) -> None:
        """Start a dead worker anew, under another name, a while later; a dead producer is gone."""
        if actor.name.startswith("p"):
            self.producing -= 1
        elif actor.name.startswith("op"):
            self.world.spawn("op-resumes", self.resume, at_s=self.world.now_s + 5)
        elif actor.name.startswith("w") and not self.stopping:
            self.incarnations += 1
            name = f"{actor.name.partition('.')[0]}.{self.incarnations}"
            at_s = self.world.now_s + self.world.random.uniform(0.5, 15)
            self.world.spawn(name, self.work, at_s=at_s, skew_s=self._skew())

    # -- the actors --

    def produce(self, actor: Actor) -> None:
        """Enqueue messages in ones and in many, some delayed, some urgent."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        left = self.scenario.messages
        while left > 0:
            if not self.scenario.night_s and random.random() < 0.15:  # what lies unwritten for a night may run again
                left -= 1
                self._enqueue_once(actor, queue)
                continue
            count = min(left, random.choice((1, 1, 1, 2, 5, 12)))
            left -= count
            payloads = [{"plan": self._plan()} for _ in range(count)]
            delay, priority = random.choice((0, 0, 0, 2, 8)), random.choice((0, 0, 0, 0, 5))
            try:
                self.history.acked.update(queue.enqueue_many(payloads, delay=delay, priority=priority))
            except S3QueueError as error:
                self.world.note(f"{actor.name} is not told: {error}")
            clock.sleep(random.uniform(0, 3))
        self.producing -= 1

    def _enqueue_once(self, actor: Actor, queue: Queue) -> None:
        """Enqueue under a key that others use too, and try again if it is in doubt."""
        key, clock = f"key-{self.world.random.randrange(ONCE_KEYS)}", SimClock(self.world, actor)
        for _ in range(3):
            try:
                told = queue.enqueue({"plan": self._plan(), "once": key}, dedup_id=key)
            except S3QueueError as error:
                self.world.note(f"{actor.name} is not told about {key}: {error}")
                clock.sleep(self.world.random.uniform(0, 3))
            else:
                self.history.on_told(key, told)
                return

    def _plan(self) -> str:
        plans = ["ok"] * 8 + ["fail-once", "fail", "never"] + (["poison"] if self.scenario.poison else [])
        return self.world.random.choice(plans)

    def work(self, actor: Actor) -> None:
        """Do what a worker does, one step at a time, until the run is over."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        member, registration = random.random() < self.scenario.members, None
        while not self.stopping:
            try:
                connection = queue.connect()
                consumer = connection.consumer
                if member and registration is None:
                    consumer.coordinate()
                    registration = Registration(connection.lane, partial(self._presence, consumer))
                if registration is not None:
                    registration.step()
                got = consumer.exchange(random.choice((0, 1, 3, 8, 20)), look=True)
                for delivery in got:
                    self._execute(actor, consumer, delivery)
                    if consumer.needs_extension():
                        consumer.exchange(0)
                if random.random() < (0.5 if consumer.pending() else 0.3):  # else with the next claim
                    consumer.exchange(0)
                if registration is not None:
                    connection.duties.step()
                self._tidy(connection)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
                got = []
            busy = 0.5 if got else 3 if self.faults is not CALM else 30
            clock.sleep(random.uniform(0.1, 1) * busy)

    @staticmethod
    def _presence(consumer: Consumer) -> Presence:
        return Presence(consumer.lane.worker, "", 0, 0, 20, lanes=consumer.lanes_worked_in, held=consumer.held())

    def _tidy(self, connection: Connection) -> None:
        random = self.world.random
        for agents in connection.lanes.all():
            agents.janitor.tick(flush=random.random() < 0.3)
            if random.random() < self.faults.extra_sweep:
                agents.sweeper.sweep()
            if random.random() >= self.faults.no_sweep:
                agents.sweep()
            if random.random() < 0.5:
                agents.flush()

    def _execute(self, actor: Actor, consumer: Consumer, delivery: Delivery) -> None:
        if not consumer.is_trusted(delivery):
            consumer.drop(delivery)
            return
        history, world = self.history, self.world
        history.on_run(delivery)
        world.note(f"{actor.name} runs {delivery.id} attempt {delivery.attempt}")
        world.park(actor, world.random.choice((0.001, 0.01, 0.1, 0.1, 1.0, 4.0)))
        plan = delivery.message.payload["plan"]
        if plan == "poison":
            world.faults["poison"] += 1
            world.causes.died(Blow(world.now_s, actor.name, "poison"))
            actor.doomed = True
            raise Crashed
        consumer.record(self._outcome(consumer, delivery, plan))

    @staticmethod
    def _outcome(consumer: Consumer, delivery: Delivery, plan: str) -> Recorded:
        if plan == "fail" or (plan == "fail-once" and delivery.attempt == 1):
            return consumer.failed(delivery, Failure("ValueError", "planned"))
        if plan == "never":
            return consumer.failed(delivery, Failure.of(NonRetriable("planned")))
        return consumer.completed(delivery)

    def operate(self, actor: Actor) -> None:
        """Pause, resume, replay dead letters, take claims away, truncate: in the middle of everything."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        acts: list[Callable[[], object]] = [
            queue.pause,
            queue.resume,
            lambda: queue.dlq.replay(filter=lambda letter: letter.payload["plan"] != "poison"),
            queue.truncate,
            queue.stats,
            lambda: self._reset(queue),
        ]
        while self.world.now_s < START_S + STORM_S - 15:
            try:
                random.choice(acts)()
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(2, 20))
        self.resume(actor)

    @staticmethod
    def _reset(queue: Queue) -> None:
        """Take every claim from its holder."""
        committer = queue.connect().lane.committer
        committer.commit(Reset(frozenset(ticket.id for ticket in committer.ledger.tickets.values())), fresh=True)

    def replay(self, actor: Actor) -> None:
        """Replay dead letters, as somebody else does at the same time."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        while self.world.now_s < START_S + STORM_S - 15:
            try:
                queue.dlq.replay(filter=lambda letter: letter.payload["plan"] == "never")
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(10 - self.world.now_s % 10 + random.uniform(0, 0.2))

    def resume(self, actor: Actor) -> None:
        """Leave the queue running."""
        queue, clock = self.queue(actor), SimClock(self.world, actor)
        while True:
            try:
                queue.resume()
            except S3QueueError:
                clock.sleep(1)
            else:
                return


NIGHT_S = 2 * 3600.0
"""Longer than the journal is kept."""


def seeds(storms: tuple[str, ...] = (), first: int = 0) -> Iterator[int]:
    """Yield the seeds, from ``first``, of runs in these storms (default: all)."""
    names = list(STORMS)
    return (seed for seed in itertools.count(first) if not storms or names[seed % len(names)] in storms)


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: the storms take turns, every other one with an operator, by turns many coordinate or few."""
    names = list(STORMS)
    storm = STORMS[names[seed % len(names)]]
    turn = seed // len(names)
    return Scenario(
        seed,
        workers=2 + seed % 3,
        faults=replace(storm),
        operator=turn % 2 == 1,
        members=0.8 if turn // 2 % 2 == 0 else 0.2,
        poison=storm != CALM,
        night_s=NIGHT_S if names[seed % len(names)] == "night" else 0.0,
    )


def play(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed."""
    return Run(scenario(seed), keep_trace=keep_trace).play()
