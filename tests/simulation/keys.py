"""Deduplication keys over hours, in storms: producers die between message and mark, and ask for the key again at night.

A key is one message, which is processed and does not come back, however long ago that was: ledger and journal have
forgotten its name by then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from s3queue.core.codec import decode_ledger
from s3queue.core.invariants import step_violations, violations
from s3queue.core.keys import Keys
from s3queue.core.ledger import Ledger
from s3queue.errors import S3QueueError
from s3queue.ids import SeededIds
from s3queue.protocol import dedup
from s3queue.protocol.janitor import Janitor
from s3queue.queue import Queue
from s3queue.store.port import Object
from tests.simulation.bucket import Bucket, Faults, SimStore
from tests.simulation.history import _places
from tests.simulation.mutant import Mutant
from tests.simulation.scenario import Outcome
from tests.simulation.storms import CALM
from tests.simulation.world import START_S, Actor, SimClock, World

ONCE = tuple(f"key-{number}" for number in range(20))
DAY_S = 400.0
NIGHT_S = 2 * 3600.0
"""Longer than the journal is kept."""
CALM_S = 1800.0
STORMS = {
    "crashes": Faults(crash_before=0.04, crash_after=0.04),
    "lost answers": Faults(lost_answer=0.2, crash_after=0.04),
    "late puts": Faults(late_put=0.1, crash_before=0.04),
    "throttling": Faults(throttled=0.85, crash_before=0.01),
    "pauses": Faults(pause=0.05, pause_s=40.0, crash_after=0.04),
}


@dataclass
class KeysRun:
    """Two days with a night between them, when workers alone are awake, now and then.

    On the first day each key is asked for once, by producers that may die of it; on the second by all, until they are told.
    """

    seed: int
    faults: Faults
    keep_trace: bool = False
    found: list[str] = field(default_factory=list)
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    written: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.world, self.bucket = World(self.seed, keep_trace=self.keep_trace), Bucket()
        self.lives = Counter[str]()
        self.ledger = Ledger()
        self.left: set[tuple[str, int]] = set()
        self.night, self.todo = False, list(ONCE)
        self.bucket.on_put = self._note
        self.world.on_death = lambda actor: self._spawn(actor.name.split(".")[0], actor.run)

    def play(self) -> list[str]:
        """Run to the end and return what was wrong."""
        self.keys = Keys(self._queue(Actor("keys", lambda actor: None)).root)
        storm, end_s = self.faults, START_S
        for faults, length_s in ((storm, DAY_S), (CALM, NIGHT_S), (storm, DAY_S), (CALM, CALM_S)):
            self.faults, self.night = faults, length_s == NIGHT_S
            self._begin_anew()
            end_s += length_s
            self.world.run(end_s, 60_000)
        self.world.kill_all()
        self.found += [f"{actor.name} failed: {actor.error!r}" for actor in self.world.actors if actor.error]
        self._check()
        return self.found

    def _begin_anew(self) -> None:
        """Let everybody die, whatever they were at, and live again."""
        alive = [actor for actor in self.world.actors if not actor.done]
        for actor in alive:
            self.world.kill(actor)
        for name, run in (("w1", self._work), ("w2", self._work), ("p1", self._produce), ("p2", self._produce)):
            if not any(actor.name.startswith(name) for actor in alive):
                self._spawn(name, run)

    def _check(self) -> None:
        for key in ONCE:
            if len(self.told[key]) != 1 or len(self.written[key]) != 1:
                self.found.append(f"a key is one message: {key} was {self.written[key]}, told were {self.told[key]}")
        if self.ledger.tickets or self.ledger.counters["completed"] != len(ONCE):
            self.found.append(f"each is processed: {self.ledger.counters}, {self.ledger.tickets}")

    def _note(self, key: str, before: Any, after: Object) -> None:  # noqa: ARG002 - the face of the hook
        if key == self.keys.ledger(0):
            self._on_ledger(decode_ledger(after.body, key))
        elif key.startswith(self.keys.dedup):
            self.seen["keys marked by workers"] += self.bucket.hand.startswith("w")
        elif key.startswith(self.keys.inbox(0)):
            name = self.keys.name_in(self.keys.inbox(0), key)
            self.seen["settled messages written again"] += any(name == spot for spot, _ in self.left)
            self.written[self._key_of(after)].add(key)

    def _key_of(self, after: Object) -> str:
        return next(key for key in ONCE if f'"{key}"'.encode() in after.body)

    def _on_ledger(self, after: Ledger) -> None:
        self.found += [*violations(after), *step_violations(self.ledger, after)]
        was, now = _places(self.ledger), _places(after)
        self.left |= was.keys() - now.keys()
        back = self.left & now.keys()
        if back:
            self.found.append(f"completes once: {sorted(back)} comes back after it was settled")
        self.ledger = after
        self.world.halted = bool(self.found)

    def _spawn(self, name: str, run: Callable[[Actor], None]) -> None:
        if name.startswith("p") and self.night:
            return
        self.lives[name] += 1
        self.world.spawn(f"{name}.{self.lives[name]}", run, at_s=self.world.now_s + 1)

    def _queue(self, actor: Actor) -> Queue:
        return Queue(
            "sim",
            store=SimStore(self.world, self.bucket, actor, lambda: self.faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.seed}/{actor.name}"),
            worker_id=actor.name,
            probe=False,
            max_attempts=100,
        )

    def _produce(self, actor: Actor) -> None:
        queue = self._queue(actor)
        while self.todo:
            self._ask(actor, queue, self.todo.pop())
        mine = list(ONCE) if self.world.now_s > START_S + DAY_S else []
        while mine:
            if self._ask(actor, queue, mine[-1]):
                mine.pop()

    def _ask(self, actor: Actor, queue: Queue, key: str) -> bool:
        self.world.park(actor, self.world.random.uniform(0.1, 2 * DAY_S / len(ONCE)))
        try:
            self.told[key].add(queue.enqueue({"once": key}, dedup_id=key))
        except S3QueueError as error:
            self.world.note(f"{actor.name} is not told: {error}")
            return False
        return True

    def _work(self, actor: Actor) -> None:
        queue = self._queue(actor)
        while True:
            try:
                queue.process_once(lambda payload: self.world.note(f"{actor.name} runs {payload}"))
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            self.world.park(actor, self.world.random.uniform(1, 90 if self.night else 10))


def play_keys(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed: the storms take turns."""
    run = KeysRun(seed, list(STORMS.values())[seed % len(STORMS)], keep_trace=keep_trace)
    found, world = run.play(), run.world
    return Outcome(
        seed, world.steps, world.digest(), found, dict(world.faults), {}, len(ONCE), dict(run.seen), world.trace
    )


def _never_marked() -> Any:
    return patch.object(dedup, "note_written", lambda lane, names: set())


def _marked_later() -> Any:
    """Let the ledger forget names first, and mark their keys when it is about to forget the next ones."""
    original = Janitor._without_open_keys
    forgotten: dict[int, list[str]] = {}

    def without_open_keys(self: Janitor, names: list[str]) -> list[str]:
        original(self, forgotten.pop(id(self), []))
        forgotten[id(self)] = names
        return names

    return patch.object(Janitor, "_without_open_keys", without_open_keys)


KEY_MUTANTS = (
    Mutant("key never marked", "a name is forgotten when its key is marked", _never_marked),
    Mutant("marked later", "a key is marked before its name is forgotten", _marked_later, ("lost answers",)),
)
"""Each must be caught; :mod:`tests.simulation.test_mutants` says how."""
