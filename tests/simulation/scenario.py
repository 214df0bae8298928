"""One run: producers, workers and an operator on one queue under faults, then calm, then the checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

from s3queue.connection import Connection
from s3queue.core.keys import Keys
from s3queue.core.lane_count import Contention
from s3queue.core.message import Failure
from s3queue.core.presence import Presence
from s3queue.core.retry import RetryPolicy
from s3queue.errors import NonRetriable, S3QueueError
from s3queue.events import Event
from s3queue.ids import SeededIds
from s3queue.protocol import duties
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.protocol.registry import Registration
from s3queue.queue import Queue
from tests.simulation.bucket import Bucket, SimStore
from tests.simulation.causes import Blow
from tests.simulation.history import History
from tests.simulation.operators import Operators
from tests.simulation.plots import (
    CALM_S,
    LEAVES,
    LOOK_S,
    MAX_STEPS,
    ONCE_KEYS,
    SETTLE_S,
    STORM_S,
    Scenario,
    scenario,
)
from tests.simulation.storms import CALM
from tests.simulation.vandals import Vandals
from tests.simulation.world import START_S, Actor, Crashed, SimClock, World


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
    situations: dict[str, int]
    trace: list[str] | None


class Run(Operators):
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
        within = scenario.faults.skew_s <= 1.0 and not scenario.faults.stopped_clock
        self.history = History(
            self.world,
            self.bucket,
            keys,
            scenario.lease_s,
            scenario.max_attempts,
            check_leases=within,
            operated=scenario.operator,
        )
        self.history.fleet.lanes = scenario.lanes
        self.history.fleet.leading = self._leading
        self.history.fleet.instance = self._instance
        self.members: dict[str, Connection] = {}
        self.processes: dict[str, Connection] = {}
        self.vandals = Vandals(self.world, self.bucket, self.history)
        self.world.on_death = self._revive

    def queue(self, actor: Actor) -> Queue:
        """Return the production queue on this actor's store, clock and ids."""
        queue = Queue(
            "sim",
            store=SimStore(self.world, self.bucket, actor, lambda: self.faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.scenario.seed}/{actor.name}"),
            worker_id=actor.worker_id or actor.name,
            probe=False,
            visibility_timeout=self.scenario.lease_s,
            max_attempts=self.scenario.max_attempts,
            retry=RetryPolicy(base_s=1, cap_s=10),
            lanes="auto" if self.scenario.tuned == "auto" else self.scenario.lanes,
        )
        queue.on("lease-lost", self._on_lease_lost)
        return queue

    def _on_lease_lost(self, event: Event) -> None:
        self.history.on_lease_lost(event)

    # -- playing --

    def play(self) -> Outcome:
        """Play the run to its end and return what came of it."""
        with self.history.fleet.watching(), patch.object(duties, "advise", self._advise):
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
            {name: count for name, count in self.history.fleet.seen.items() if count},
            self.world.trace,
        )

    def _spawn(self) -> None:
        """Start the actors."""
        world, random = self.world, self.world.random
        for number in range(self.scenario.producers):
            self.producing += 1
            world.spawn(f"p{number}", self.produce, at_s=START_S + random.uniform(0, 5), skew_s=self._skew())
        for number in range(self.scenario.workers):
            worker = world.spawn(f"w{number}", self.work, at_s=START_S + random.uniform(0, 5), skew_s=self._skew())
            worker.worker_id = "w0" if self.scenario.namesakes and number == 1 else ""
        if self.scenario.operator:
            world.spawn("op", self.operate, at_s=START_S + 10, skew_s=self._skew())
            for number in range(2):
                world.spawn(f"replayer{number}", self.replay, at_s=START_S + 5, skew_s=self._skew())

        for number in range(2 if self.scenario.tuned and not self.scenario.night_s else 0):
            self.producing += 1
            world.spawn(f"pk{number}", self.produce_at_once, at_s=START_S + 2, skew_s=self._skew())
        if self.scenario.tuned == "operator":
            world.spawn("tuner", self.tune, at_s=START_S + 5, skew_s=self._skew())

    def _storm(self) -> None:
        """Play on while faults happen."""
        world, random = self.world, self.world.random
        for _ in range(self.scenario.faults.vandals):
            self.vandals.come(START_S + random.uniform(5, self.scenario.storm_s))
        if self.scenario.night_s:
            world.run(START_S + random.uniform(30, self.scenario.storm_s), MAX_STEPS, self._is_worst_moment)
            world.night(self.scenario.night_s)
        world.run(START_S + self.scenario.night_s + self.scenario.storm_s, MAX_STEPS)

    def _calm(self) -> None:
        """Stop the faults, let the queue drain, and wait until late copies have landed and sweeps have cleared them away."""
        world = self.world
        self.vandals.mend()
        self.faults = CALM
        world.note("calm")
        if not any(not actor.done and actor.name.startswith("w") for actor in world.actors):
            world.spawn("w-last", self.work)

        until_s = world.now_s
        for _ in range(int(CALM_S / LOOK_S)):
            until_s += LOOK_S
            world.run(until_s, MAX_STEPS)
            if self._is_broken() or self._is_over():
                break
        world.run(world.now_s + SETTLE_S + self.scenario.faults.late_put_s, MAX_STEPS)
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
        return self._is_broken() or any(
            self.history.has_left((line.target, 0)) and line.target not in ledger.settled
            for ledger in self.history.ledgers.values()
            for line in ledger.outbox.values()
            if line.kind != "dead"
        )

    def _is_over(self) -> bool:
        return not self.producing and not self.history.unsettled and not self.history.unfinished()

    def _skew(self) -> float:
        return self.world.random.uniform(-1, 1) * self.scenario.faults.skew_s

    def _revive(self, actor: Actor) -> None:
        """Start a dead worker anew, under another name, a while later; a dead producer is gone."""
        self.members.pop(actor.name, None)
        if actor.name.startswith("p"):
            self.producing -= 1
        elif actor.name.startswith("op"):
            self.world.spawn("op-resumes", self.resume, at_s=self.world.now_s + 5)
        elif actor.name.startswith("tuner"):
            self.incarnations += 1
            self.world.spawn(f"tuner.{self.incarnations}", self.tune, at_s=self.world.now_s + 1, skew_s=self._skew())
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
                self._enqueue_once(actor, queue, f"key-{random.randrange(ONCE_KEYS)}")
                continue
            count = min(left, random.choice((1, 1, 1, 2, 5, 12)))
            left -= count
            payloads = [{"plan": self._plan()} for _ in range(count)]
            delay, priority = random.choice((0, 0, 0, 2, 8)), random.choice((0, 0, 0, 0, 5))
            try:
                self.history.acked.update(queue.enqueue_many(payloads, delay=delay, priority=priority))
            except S3QueueError as error:
                self.world.note(f"{actor.name} is not told: {error}")
            clock.sleep(random.uniform(0, 3) * self.scenario.storm_s / STORM_S)
        self.producing -= 1

    def produce_at_once(self, actor: Actor) -> None:
        """Enqueue under the keys that another uses at the same moment, while it may be in the lane of another."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        for number in range(4):
            clock.sleep(7 - self.world.now_s % 7 + random.uniform(0, 0.2))
            self._enqueue_once(actor, queue, f"both-{number}")
        self.producing -= 1

    def _enqueue_once(self, actor: Actor, queue: Queue, key: str) -> None:
        """Enqueue under a key that others use too, and try again if it is in doubt."""
        clock = SimClock(self.world, actor)
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
        member = random.random() < self.scenario.members or (self.scenario.namesakes and actor.name in ("w0", "w1"))
        registration = None
        while not self.stopping:
            try:
                connection = queue.connect()
                consumer = connection.consumer
                if registration is not None and self.faults is not CALM and random.random() < LEAVES:
                    self._leave(actor, consumer, registration)
                    return
                if member and registration is None:
                    consumer.coordinate()
                    self.members[actor.name] = self.processes[actor.name] = connection
                    registration = Registration(connection.lane, partial(self._presence, consumer))
                if registration is not None:
                    self._beat(actor, connection, registration)
                room, looks = random.choice((0, 1, 3, 8, 20)), connection.lane.is_present
                got = consumer.exchange(room if looks else 0, look=looks)
                for delivery in got:
                    self._execute(actor, consumer, delivery)
                    if consumer.needs_extension():
                        consumer.exchange(0)
                if random.random() < (0.5 if consumer.pending() else 0.3):  # else with the next claim
                    consumer.exchange(0)
                if registration is not None:
                    connection.duties.step()
                    if self.scenario.tuned == "auto" and random.random() < (0.1 if consumer.leads else 0.02):
                        connection.duties.tune_lanes()  # sooner than due, and by two at once
                self._tidy(connection)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
                got = []
            busy = 0.5 if got else 3 if self.faults is not CALM else 30
            clock.sleep(random.uniform(0.1, 1) * busy)

    def _leave(self, actor: Actor, consumer: Consumer, registration: Registration) -> None:
        """End in peace, as far as faults let it; another takes the place."""
        try:
            consumer.exchange(0)
            consumer.leave()
            registration.leave()
            self.history.fleet.seen["workers left"] += 1
        except S3QueueError as error:
            self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
        self._revive(actor)

    def _beat(self, actor: Actor, connection: Connection, registration: Registration) -> None:
        before = connection.lane.worker
        try:
            registration.step()
            self.history.fleet.seen["workers that took another name"] += connection.lane.worker != before
        except S3QueueError as error:
            self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")

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

    def _advise(self, lanes: int, workers: int, seen: Contention) -> int:
        """Return how many lanes there should be: such a handful of workers never gets into each other's way that much."""
        del workers, seen
        if self.faults is CALM:
            return lanes
        return self.world.random.choice((lanes, min(lanes * 2, 4), max(lanes // 2, 1)))

    def _instance(self, name: str, lane: int) -> str:
        """Return the name of a process in a lane's ledger; '' if it takes no part in coordination."""
        connection = self.processes.get(name)
        return connection.lanes.of(lane).lane.committer.writer if connection is not None else ""

    def _leading(self, lane: int) -> list[str]:
        """Return who takes itself for the coordinator of a lane."""
        return [
            name
            for name, connection in self.members.items()
            for agents in connection.lanes.known
            if agents.lane.number == lane and agents.consumer.leads
        ]


def play(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed."""
    return Run(scenario(seed), keep_trace=keep_trace).play()
