"""Locks under faults: actors that take the same few, work on a fenced resource, fall asleep, die; then the checks.

A run of its own (:func:`play_locks`), on the same world and bucket as that of messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from s3queue.core import lease
from s3queue.core.keys import Keys
from s3queue.core.lease import Bid, LockState, Refused, decode_lock
from s3queue.errors import LockHeld, LockLost, OutcomeUnknown, S3QueueError
from s3queue.ids import SeededIds
from s3queue.protocol import locks
from s3queue.protocol.lane import Lane
from s3queue.protocol.locks import Lock
from s3queue.queue import Queue
from s3queue.store.port import Object, PutMode
from s3queue.store.record import Record, Version
from tests.simulation.bucket import Bucket, Faults, SimStore
from tests.simulation.mutant import Mutant
from tests.simulation.world import START_S, Actor, SimClock, World

NAMES = ("a", "b")
MANY = ("a", "b", "c", "d", "e", "f")
"""In runs with a night, so that some are unused when the sweeps begin."""
STORM_S = 240.0
NIGHT_S = 86_400.0 + 3600.0
MAX_STEPS = 20_000
CALM = Faults()
LIVELY_S = 1200.0
"""How long a lock may be out of reach after the last fault: until what a sweep left doomed can be taken again."""

STORMS: dict[str, Faults] = {
    "calm": CALM,
    "crashes": Faults(crash_before=0.02, crash_after=0.02),
    "lost answers": Faults(lost_answer=0.15, crash_after=0.01),
    "late puts": Faults(late_put=0.1, late_put_s=20.0, lost_answer=0.05),
    "pauses": Faults(pause=0.06, pause_s=25.0, lost_answer=0.02),
    "skew": Faults(skew_s=1.0, pause=0.03, pause_s=12.0),
    "everything": Faults(
        crash_before=0.01, crash_after=0.01, lost_answer=0.05, late_put=0.04, late_put_s=15.0, pause=0.03, pause_s=20.0,
        skew_s=0.9, throttled=0.03, conflict=0.03, unavailable=0.02,
    ),
    "night": Faults(lost_answer=0.2, crash_after=0.01, late_put=0.03),
    "drowsy sweeps": Faults(lost_answer=0.02),
}  # fmt: skip
NIGHTLY = ("night", "drowsy sweeps")
DROWSY_S = 2400.0
"""In drowsy sweeps, how long at most a sweep falls asleep right after it has doomed a lock."""


class Drowsy(SimStore):
    """The way to the bucket of a sweep that falls asleep at the worst moment."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        etag = super().put(key, body, mode)
        if decode_lock(body, key).doomed_at_ms:
            self._world.faults["drowsy"] += 1
            self._world.park(self._actor, self._world.random.uniform(0, DROWSY_S))
        return etag


@dataclass
class Resource:
    """What the locks guard: it takes no work under a token lower than one it has seen."""

    fenced: bool = True
    seen: dict[str, int] = field(default_factory=dict)
    accepted: list[tuple[str, int]] = field(default_factory=list)

    def use(self, name: str, token: int) -> bool:
        """Do a piece of work under a token, and return whether it was accepted."""
        if self.fenced and token < self.seen.get(name, 0):
            return False
        self.seen[name] = max(token, self.seen.get(name, 0))
        self.accepted.append((name, token))
        return True


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    steps: int
    digest: str
    violations: list[str]
    faults: dict[str, int]
    acquired: int
    lost: int
    refused: int
    broken: int
    swept: int
    late: int
    trace: list[str] | None

    @property
    def situations(self) -> dict[str, int]:
        """What the run came into, and how often."""
        return {
            "locks taken": self.acquired,
            "holders that woke too late": self.late,
            "refused by the resource": self.refused,
            "told that a lock was lost": self.lost,
            "locks broken": self.broken,
            "locks deleted by sweeps": self.swept,
        }


class Run:
    """A run of one seed: the storms take turns, every other one with an operator who breaks locks."""

    def __init__(self, seed: int, *, keep_trace: bool = False, resource: Resource | None = None) -> None:
        names = list(STORMS)
        self.storm = names[seed % len(names)]
        self.names = MANY if self.storm in NIGHTLY else NAMES
        self.operator = seed // len(names) % 2 == 1
        self.world, self.bucket = World(seed, keep_trace=keep_trace), Bucket()
        self.faults = STORMS[self.storm]
        self.resource = resource or Resource()
        self.found: list[str] = []
        self.stopping = False
        self.incarnations = self.acquired = self.lost = self.refused = self.swept = self.rushes = self.late = 0
        self.users: dict[str, Lock] = {}
        self.tokens: dict[str, int] = {}
        self.states: dict[str, LockState] = {}
        self.written: set[tuple[str, int, str]] = set()
        self.taken: set[tuple[str, int]] = set()
        self.broken: set[tuple[str, int]] = set()
        self.keys = Keys(self.queue(Actor("keys", lambda actor: None)).root)
        self.bucket.on_put = self._on_put
        self.world.on_death = self._revive
        self.world.after_step = self._check_trust

    def queue(self, actor: Actor, store: type[SimStore] | None = None) -> Queue:
        """Return the production queue on this actor's store, clock and ids."""
        return Queue(
            "sim",
            store=(store or SimStore)(self.world, self.bucket, actor, lambda: self.faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.world.seed}/{actor.name}"),
            worker_id=actor.name,
            probe=False,
        )

    # -- rules --

    def violation(self, text: str) -> None:
        """Note that a rule was broken."""
        self.found.append(f"{self.world.now_s:.3f} {text}")
        self.world.note(f"VIOLATION {text}")

    def _check_trust(self) -> None:
        """No two rely on one lock at one moment of true time, unless an operator has taken it from one of them."""
        for name in self.names:
            trusting = [
                actor
                for actor, lock in self.users.items()
                if lock.name == name and lock.held and (name, lock.token) not in self.broken
            ]
            if len(trusting) > 1:
                self.violation(f"one holder: {' and '.join(trusting)} rely on {name!r}")

    def _on_put(self, key: str, before: Object | None, after: Object) -> None:  # noqa: ARG002 - the face of a listener
        if not key.startswith(self.keys.locks):
            return
        state = decode_lock(after.body, key)
        was, last = self.states.get(state.name), self.tokens.get(state.name, 0)
        taken = was is None or was.nonce != state.nonce
        if (state.token <= last) if taken else (state.token != last):
            self.violation(f"tokens grow: {state.name!r} goes from {last} to {state.token}")
        if taken and not state.holder:
            self.broken.add((state.name, last))
        if state.doomed_at_ms:
            self._rush(state.name)
        self.states[state.name], self.tokens[state.name] = state, max(last, state.token)
        self.written.add((state.name, state.token, state.holder))

    def _rush(self, name: str) -> None:
        """Let two want the lock at the very moment when a sweep begins to delete it."""
        if self.rushes < (2 if self.storm == "drowsy sweeps" else 100):
            self.rushes += 1
            for number in range(2):
                self.world.spawn(f"r{self.rushes}-{number}", partial(self.rush, name), skew_s=self._skew())

    def on_acquired(self, actor: Actor, lock: Lock) -> None:
        """Check that what an actor believes to hold was written in its name, and given to nobody else."""
        self.acquired += 1
        if (lock.name, lock.token, actor.name) not in self.written:
            self.violation(
                f"{actor.name} believes to hold {lock.name!r} with token {lock.token}, which was never written"
            )
        if (lock.name, lock.token) in self.taken:
            self.violation(f"tokens grow: token {lock.token} of {lock.name!r} is given twice")
        self.taken.add((lock.name, lock.token))

    def use(self, lock: Lock) -> None:
        """Work under the lock; whoever may rely on it must not be refused."""
        trusted = lock.held and (lock.name, lock.token) not in self.broken
        self.late += not lock.held
        if not self.resource.use(lock.name, lock.token):
            self.refused += 1
            if trusted:
                self.violation(f"a holder that may rely on {lock.name!r} is refused: token {lock.token}")

    def _check_resource(self) -> None:
        newest: dict[str, int] = {}
        for name, token in self.resource.accepted:
            if token < newest.get(name, 0):
                self.violation(f"fencing: {name!r} is used under token {token} after {newest[name]}")
            newest[name] = max(token, newest.get(name, 0))

    # -- playing --

    def play(self) -> Outcome:
        """Play the run to its end and return what came of it."""
        world = self.world
        for number in range(4):
            world.spawn(f"u{number}", self.take_turns, at_s=START_S + world.random.uniform(0, 3), skew_s=self._skew())
        if self.operator:
            world.spawn("op", self.operate, at_s=START_S + 10, skew_s=self._skew())
        end_s = START_S + STORM_S
        if self.storm in NIGHTLY:
            self.faults = CALM
            world.run(START_S + 40, MAX_STEPS, self._is_broken)
            self.faults = STORMS[self.storm]
            end_s += NIGHT_S
            nights, day_s = (1, DROWSY_S + 600) if self.storm == "drowsy sweeps" else (3, 40)
            for _ in range(nights):
                self._sleep_and_sweep()
                world.run(world.now_s + day_s, MAX_STEPS, self._is_broken)
                end_s = max(end_s, world.now_s)
        world.run(end_s, MAX_STEPS, self._is_broken)
        self._end()
        return Outcome(
            world.seed, world.steps, world.digest(), self.found, dict(world.faults), self.acquired, self.lost,
            self.refused, len(self.broken), self.swept, self.late, world.trace,
        )  # fmt: skip

    def _sleep_and_sweep(self) -> None:
        """Let a day pass unused, then sweep, by two at once, as everybody wakes up."""
        self.world.night(NIGHT_S)
        for _ in range(2):
            self.incarnations += 1
            self.world.spawn(f"s{self.incarnations}", self.sweep, skew_s=self._skew())

    def _end(self) -> None:
        """Check that every lock is to be had again once the faults are over."""
        world = self.world
        self.faults, self.stopping = CALM, True
        world.note("calm")
        last = world.spawn("last", self.take_each)
        world.run(world.now_s + LIVELY_S, MAX_STEPS * 2, lambda: self._is_broken() or last.done)
        if not self._is_broken() and not last.done:
            self.violation(f"liveness: a lock is not to be had {LIVELY_S} s after the last fault")
        world.after_step = lambda: None
        world.kill_all()
        self._check_resource()
        for actor in world.actors:
            if actor.error is not None:
                self.violation(f"{actor.name} failed: {type(actor.error).__name__}: {actor.error}")

    def _is_broken(self) -> bool:
        return bool(self.found)

    def _skew(self) -> float:
        return self.world.random.uniform(-1, 1) * self.faults.skew_s

    def _revive(self, actor: Actor) -> None:
        self.users.pop(actor.name, None)
        if actor.name.startswith("u") and not self.stopping:
            self.incarnations += 1
            name = f"{actor.name.partition('.')[0]}.{self.incarnations}"
            at_s = self.world.now_s + self.world.random.uniform(0.5, 8)
            self.world.spawn(name, self.take_turns, at_s=at_s, skew_s=self._skew())

    # -- the actors --

    def take_turns(self, actor: Actor) -> None:
        """Take a lock, work, renew it or not, oversleep or not, leave; again and again."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        while not self.stopping:
            try:
                lock = queue.lock(
                    random.choice(self.names), random.choice((4, 6, 10)), wait=random.choice((0, 5, 20)), renew=False
                )
                self.users[actor.name] = lock
                with lock:
                    self.on_acquired(actor, lock)
                    self.world.note(f"{actor.name} holds {lock.name} with token {lock.token}")
                    self._work(clock, lock)
            except LockHeld:
                pass
            except LockLost as error:
                self.lost += 1
                self.world.note(f"{actor.name} {error}")
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            self.users.pop(actor.name, None)
            slow = 300 if self.storm == "drowsy sweeps" and self.world.now_s > START_S + NIGHT_S else 1
            clock.sleep(random.uniform(0, 3) * slow)

    def _work(self, clock: SimClock, lock: Lock) -> None:
        random = self.world.random
        for _ in range(random.choice((1, 2, 5))):
            clock.sleep(random.choice((0.1, 0.5, 2.0)))
            self.use(lock)
            if random.random() < 0.6:
                lock.renew()
        if random.random() < 0.3:
            clock.sleep(random.uniform(3, 25))
            self.use(lock)  # it looked before it fell asleep

    def take_each(self, actor: Actor) -> None:
        """Take each lock, waiting as long as it takes."""
        queue = self.queue(actor)
        for name in self.names:
            with queue.lock(name, 5, wait=None, renew=False) as lock:
                self.on_acquired(actor, lock)

    def rush(self, name: str, actor: Actor) -> None:
        """Take a lock as soon as possible, and keep it for long."""
        drowsy, clock = self.storm == "drowsy sweeps", SimClock(self.world, actor)
        lock = self.queue(actor).lock(name, 30, wait=DROWSY_S if drowsy else 10, renew=False)
        self.users[actor.name] = lock
        until_s = self.world.now_s + (DROWSY_S if drowsy else 10)
        try:
            with lock:
                self.on_acquired(actor, lock)
                while self.world.now_s < until_s and not self.stopping:
                    self.use(lock)
                    clock.sleep(8)
                    lock.renew()
        except S3QueueError as error:
            self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
        self.users.pop(actor.name, None)

    def operate(self, actor: Actor) -> None:
        """Break a lock now and then."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        while not self.stopping:
            try:
                queue.break_lock(random.choice(self.names))
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(5, 40))

    def sweep(self, actor: Actor) -> None:
        """Sweep a few times."""
        store = Drowsy if self.storm == "drowsy sweeps" else SimStore
        lane, random, clock = self.queue(actor, store).connect().lane, self.world.random, SimClock(self.world, actor)
        for _ in range(6):
            try:
                self.swept += locks.sweep_locks(lane)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(0, 1))


def play_locks(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play the run of a seed and return what came of it."""
    return Run(seed, keep_trace=keep_trace).play()


# -- each rule taken away ---------------------------------------------------------------------------------------------


def _renew_any(found: LockState | None, nonce: str, ttl_ms: int, now: int) -> LockState | Refused:
    return replace(found, nonce=nonce, expires_at_ms=now + ttl_ms) if found else Refused("gone")


def _release_any(found: LockState | None, nonce: str, now: int) -> LockState | Refused:  # noqa: ARG001 - not looked at
    return replace(found, holder="", expires_at_ms=now) if found else Refused("gone")


def _take_doomed() -> Any:
    original = lease.acquire

    def acquire(found: LockState | None, bid: Bid, now: int) -> LockState | Refused:
        return original(replace(found, doomed_at_ms=0) if found else None, bid, now)

    return patch.object(lease, "acquire", acquire)


def _unknown_is_won() -> Any:
    def write(self: Lock, wanted: LockState, over: Version[LockState]) -> Version[LockState]:
        try:
            return original(self, wanted, over)
        except OutcomeUnknown:
            return Version(wanted, over.etag)

    original: Callable[..., Version[LockState]] = lambda self, wanted, over: self._record.write(wanted, over)  # noqa: E731
    return patch.object(Lock, "_write", write)


def _trust_from_the_answer() -> Any:
    original = Lock._gripped

    def gripped(self: Lock, version: Version[LockState], found: LockState, begun: float) -> Any:  # noqa: ARG001
        return original(self, version, found, self._lane.clock.monotonic())

    return patch.object(Lock, "_gripped", gripped)


def _delete_repeatedly() -> Any:
    original = locks._sweep

    def sweep(lane: Lane, record: Record[LockState]) -> bool:
        return original(replace(lane, once=lane.store), record)

    return patch.object(locks, "_sweep", sweep)


def _token(of: Callable[[LockState | None, int], int]) -> Callable[[], Any]:
    return lambda: patch.object(lease, "_next_token", of)


LOCK_MUTANTS = (
    Mutant(
        "no margin for clocks",
        "a lock is left alone for as long as clocks may differ",
        lambda: patch.object(lease, "MARGIN_MS", 0),
        ("skew",),
    ),
    Mutant("trust from the answer", "trust counts from before the request", _trust_from_the_answer, ("pauses", "skew")),
    Mutant(
        "token does not grow",
        "each holder has a higher token",
        _token(lambda found, now: found.token if found else now),
    ),
    Mutant(
        "token forgets deletions",
        "tokens grow across deletions",
        _token(lambda found, now: found.token + 1 if found else 1),
        NIGHTLY,
    ),
    Mutant(
        "renewed by anybody",
        "only its holder renews a lock",
        lambda: patch.object(lease, "renew", _renew_any),
        ("pauses",),
    ),
    Mutant(
        "released by anybody",
        "only its holder gives a lock back",
        lambda: patch.object(lease, "release", _release_any),
        ("pauses",),
    ),
    Mutant(
        "lost answer is success", "a lost answer is resolved by reading", _unknown_is_won, ("lost answers", "late puts")
    ),
    Mutant("a doomed lock is taken", "a doomed lock is left alone", _take_doomed, ("night",)),
    Mutant("deletion is repeated", "a deletion is sent once", _delete_repeatedly, ("night",)),
    Mutant(
        "deletion is sent late",
        "a deletion is sent soon after dooming, or not at all",
        lambda: patch.object(lease, "DELETE_WITHIN_S", float("inf")),
        ("drowsy sweeps",),
    ),
)
