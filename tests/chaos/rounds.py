"""A round: a fresh queue, processes that work on it, a monkey among them; then calm, then the checks."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from signal import SIGKILL
from threading import Event
from typing import Any

from s3queue import Queue, RetryPolicy
from s3queue.clock import SystemClock
from s3queue.core.keys import Keys
from s3queue.devserver import MiniStack, wait_until
from s3queue.store.s3 import S3Store
from tests.chaos.crew import Member, environment, producer, worker
from tests.chaos.proxy import FaultProxy, Faults
from tests.chaos.tape import Account, Execution, Refusal, read_tape

LEASE_S = 2.0
CALM_LEASE_S = 5.0  # in a round without faults no claim may be lost, and this machine may be busy
MAX_ATTEMPTS = 4
WORKERS, PRODUCERS, MESSAGES = 3, 2, 45
PRODUCING_S = 2.5
STORM_S = 3.0
MUSTER_TIMEOUT_S = 10.0
SETTLE_TIMEOUT_S = 40.0
_EXIT_TIMEOUT_S = 15.0
_TICK_S = 0.05
CALM_EVERY = 10

WEATHER = (
    Faults(latency_ms=5),
    Faults(slow_down=0.3, conflict=0.2, latency_ms=5),
    Faults(cut=0.1, lost_answer=0.15, torn_answer=0.1, latency_ms=5),
    Faults(late=0.25, latency_ms=5),
    Faults(error_after=0.2, latency_ms=5),
    Faults(latency_ms=40),
    Faults(
        slow_down=0.05, conflict=0.05, cut=0.05, lost_answer=0.05, torn_answer=0.03, error_after=0.05, late=0.08,
        latency_ms=10,
    ),
)  # fmt: skip


@dataclass
class Outcome:
    """What came of a round. ``duplicates``: executions for nothing, as their claim was lost."""

    seed: int
    folder: str
    messages: int = 0
    acknowledged: int = 0
    executions: int = 0
    duplicates: int = 0
    dead: int = 0
    ledger_versions: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    kills: int = 0
    stops: int = 0
    seconds: float = 0.0
    settled_after_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Round:
    """One round. ``folder`` must not be there yet; it is removed if nothing was violated, and kept otherwise."""

    def __init__(self, seed: int, server: MiniStack, proxy: FaultProxy, bucket: str, folder: Path) -> None:
        self.seed, self.proxy, self.folder = seed, proxy, folder
        self.calm = seed % CALM_EVERY == 0
        self.random = Random(seed)
        self.clock = SystemClock()
        self.lease_s = CALM_LEASE_S if self.calm else LEASE_S
        folder.mkdir(parents=True)
        self.name = f"chaos-{seed}-{self.random.getrandbits(32):08x}-{self.clock.now_ms()}"
        self._access: dict[str, str] = {"region": server.region, "access_key_id": server.access_key_id}
        self._access["secret_access_key"] = server.secret_access_key
        self._bucket, self._server = bucket, server
        self.queue = Queue(
            self.name,
            bucket,
            store=S3Store(bucket, endpoint_url=proxy.endpoint_url, **self._access),  # type: ignore[arg-type]
            visibility_timeout=self.lease_s,
            max_attempts=MAX_ATTEMPTS,
            retry=RetryPolicy(base_s=0.2, cap_s=0.5),
        )
        env = environment(folder, server.access_key_id, server.secret_access_key, server.region)
        place = {"bucket": bucket, "endpoint_url": proxy.endpoint_url, "queue": self.name}
        self.workers = [worker(f"worker-{number}", place, folder, env) for number in range(WORKERS)]
        shares = {"messages": MESSAGES, "seconds": PRODUCING_S}
        self.producers = [
            producer(f"producer-{number}", place | shares | {"seed": f"{seed}/{number}"}, folder, env)
            for number in range(PRODUCERS)
        ]
        self.outcome = Outcome(seed, str(folder))

    def play(self) -> Outcome:
        """Play it to its end; no process of it is left when this returns or raises."""
        started, outcome = self.clock.monotonic(), self.outcome
        before = Counter(self.proxy.order(seed=self.seed, tape=str(self.folder / "tape.jsonl"), faults={})["injected"])
        try:
            self.queue.connect()
            for member in (*self.producers, *self.workers):
                member.start()
            if self.calm:
                self._until(lambda: not any(one.running for one in self.producers), SETTLE_TIMEOUT_S)
            else:
                Monkey(self).rage()
            self._end()
        finally:
            self.proxy.set(Faults())
            for member in (*self.producers, *self.workers):
                member.kill()
        injected = Counter(self.proxy.order()["injected"]) - before
        outcome.requests = injected.pop("requests", 0)
        outcome.faults = dict(sorted(injected.items()))
        self._judge()
        self.queue.close()
        outcome.seconds = round(self.clock.monotonic() - started, 1)
        if not outcome.violations:
            shutil.rmtree(self.folder)
        return outcome

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        return wait_until(condition, timeout_s, self.clock)

    # -- calm --

    def _end(self) -> None:
        """Let the queue come to rest, stop everybody in good order, and see to it that it stays at rest."""
        started = self.clock.monotonic()
        if not self._until(lambda: not any(one.running for one in self.producers), SETTLE_TIMEOUT_S):
            self._violation("liveness: a producer does not end")
        if not self._until(self._is_settled, SETTLE_TIMEOUT_S):
            self._violation(f"liveness: not settled {SETTLE_TIMEOUT_S} s after the last fault: {self.queue.stats()}")
        self.outcome.settled_after_s = round(self.clock.monotonic() - started, 1)
        # One that has not reported yet may not know SIGTERM either.
        self._until(lambda: all(one.report or not one.running for one in self.workers), _EXIT_TIMEOUT_S)
        for one in self.workers:
            one.ask_to_stop()
        for one in (*self.producers, *self.workers):
            code = one.exit_code(_EXIT_TIMEOUT_S)
            if code != (-SIGKILL if one.killed else 0):
                self._violation(f"{one.name} ended with {code}: {one.last_words()}")
        adopted = self.queue.connect().lanes.first.sweeper.sweep().adopted
        if adopted:
            self._violation(f"completes once: a sweep adopts {adopted} messages after all were settled")

    def _is_settled(self) -> bool:
        Event().wait(_TICK_S)
        if self.proxy.order()["held"]:
            return False
        committer = self.queue.connect().lane.committer
        committer.read()
        ledger = committer.ledger
        return not ledger.tickets and not ledger.outbox and self.queue.stats().unfinished == 0

    # -- the checks --

    def _violation(self, text: str) -> None:
        self.outcome.violations.append(text)

    def _judge(self) -> None:
        outcome = self.outcome
        for torn in self.proxy.order()["torn"]:
            self._violation(f"the tape is torn, so this round proves nothing: {torn}")
        account = Account(Keys(self.queue.root), self.lease_s, MAX_ATTEMPTS)
        account.replay(read_tape(self.folder / "tape.jsonl"))
        # A producer that is killed may leave half a line.
        acked = {id_ for path in self.folder.glob("acked-*.txt") for id_ in path.read_text().split("\n")[:-1]}
        account.check_end(acked, self._runs(), self._refusals(), self._objects())
        outcome.violations += account.found
        outcome.messages = len(account.plans)
        outcome.acknowledged = len(acked)
        outcome.executions = sum(account.history.executed.values())
        outcome.duplicates = len(account.wasted)
        outcome.dead = account.history.letters().total()
        outcome.ledger_versions = account.versions
        if outcome.duplicates and not (outcome.kills or outcome.stops or outcome.faults):
            self._violation(f"{outcome.duplicates} duplicates without a fault: {account.wasted}")

    def _runs(self) -> list[Execution]:
        lines = [line.split() for path in self.folder.glob("runs-*.txt") for line in path.read_text().split("\n")[:-1]]
        return [(id_, int(attempt), int(token)) for id_, attempt, token in lines]

    def _refusals(self) -> list[Refusal]:
        """Return the outcomes that workers were told are not recorded."""
        lines = [line for one in self.workers for line in one.log.read_text().split("\n")]
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [(event["id"], event["token"]) for event in events if event.get("event") == "lease-lost"]

    def _objects(self) -> dict[str, bytes]:
        """Return what lies in inbox and dead letter queue, seen without the proxy."""
        store = S3Store(self._bucket, endpoint_url=self._server.endpoint_url, **self._access)  # type: ignore[arg-type]
        keys = Keys(self.queue.root)
        found = {}
        for prefix in (keys.inbox(0), keys.dlq):
            page = store.list(prefix)
            assert not page.more
            for entry in page.entries:
                there = store.get(entry.key)
                assert there is not None
                found[entry.key] = there.body
        store.close()
        return found


class Monkey:
    """Kills workers, stops one past its lease, changes the weather."""

    def __init__(self, stage: Round) -> None:
        self._round, self._random = stage, stage.random
        self._started = stage.clock.monotonic()
        self._plan: list[tuple[float, Callable[[], None]]] = []
        self._over = False

    def rage(self) -> None:
        """Return when the storm is over: faults off, everybody awake."""
        self._later(0, self._change_weather)
        self._later(0, self._muster)
        while self._plan:
            self._plan.sort(key=lambda item: item[0])
            wait_s = self._plan[0][0] - self._now_s()
            if wait_s > 0:
                Event().wait(wait_s)
            self._plan.pop(0)[1]()

    def _now_s(self) -> float:
        return self._round.clock.monotonic() - self._started

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        self._plan.append((self._now_s() + after_s, act))

    def _muster(self) -> None:
        """Plan the worst of it for when the workers are there, which takes a while in bad weather."""
        random = self._random
        if self._now_s() < MUSTER_TIMEOUT_S and not all(one.report for one in self._round.workers):
            self._later(_TICK_S, self._muster)
            return
        for _ in range(random.choice((1, 2, 2, 3))):
            self._later(random.uniform(0, STORM_S), self._kill)
        self._later(random.uniform(0, STORM_S / 2), self._stop)
        if random.random() < 0.3:
            self._later(random.uniform(0, PRODUCING_S / 2), self._kill_producer)
        self._later(STORM_S, self._clear_up)

    def _change_weather(self) -> None:
        if not self._over:
            self._round.proxy.set(self._random.choice(WEATHER))
            self._later(self._random.uniform(0.3, 0.9), self._change_weather)

    def _clear_up(self) -> None:
        self._over = True
        self._round.proxy.set(Faults())

    def _victim(self) -> Member | None:
        """Return the worker with most to do, so that it is missed."""
        awake = [one for one in self._round.workers if one.running and not one.paused]
        return max(awake, key=lambda one: (one.busy, self._random.random()), default=None)

    def _kill(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.kill()
            self._round.outcome.kills += 1
            self._later(self._random.uniform(0.1, 0.6), victim.start)

    def _kill_producer(self) -> None:
        victim = self._random.choice(self._round.producers)
        if victim.running:
            victim.kill()
            self._round.outcome.kills += 1

    def _stop(self) -> None:
        victim = self._victim()
        if not self._over and (victim is None or not victim.busy[0]):
            self._later(_TICK_S, self._stop)  # it is to come back with an outcome that is nobody's any more
        elif victim is not None:
            victim.pause()
            self._round.outcome.stops += 1
            self._later(LEASE_S + self._random.uniform(0.8, 2.0), victim.wake)
