"""Deduplication keys over hours, in storms: producers die between message and mark, and ask for the key again at night.

A key is one message, which is processed and does not come back, however long ago that was: ledger and journal have
forgotten its name by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from s3queue.core.keys import Keys
from s3queue.errors import S3QueueError
from s3queue.protocol import dedup
from s3queue.protocol.janitor import Janitor
from s3queue.queue import Queue
from s3queue.store.port import Object
from tests.simulation.bucket import Faults
from tests.simulation.mutant import Mutant
from tests.simulation.scenario import Outcome
from tests.simulation.storms import CALM
from tests.simulation.troupe import Troupe
from tests.simulation.world import START_S, Actor

ONCE = tuple(f"key-{number}" for number in range(40))
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
class KeysRun(Troupe):
    """Two days with a night between them, when workers alone are awake, now and then.

    On the first day each key is asked for once, by producers that may die of it; on the second by all, until they are told.
    """

    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    written: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    night: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.keys, self.todo = Keys(self.root()), list(ONCE)
        self.bucket.on_put = self._note

    def play(self) -> None:
        """Run to the end."""
        storm, end_s = self.faults, START_S
        for faults, length_s in ((storm, DAY_S), (CALM, NIGHT_S), (storm, DAY_S), (CALM, CALM_S)):
            self.faults, self.night = faults, length_s == NIGHT_S
            self._begin_anew()
            end_s += length_s
            self.world.run(end_s, 60_000)
        self.end()
        for key in ONCE:
            if len(self.told[key]) != 1 or len(self.written[key]) != 1:
                self.found.append(f"a key is one message: {key} was {self.written[key]}, told were {self.told[key]}")
        (ledger,) = self.ledgers.values()
        if ledger.tickets or ledger.counters["completed"] != len(ONCE):
            self.found.append(f"each is processed: {ledger.counters}, {ledger.tickets}")

    def _begin_anew(self) -> None:
        """Let everybody die, whatever they were at, and live again; at night workers alone."""
        alive = [actor for actor in self.world.actors if not actor.done]
        for actor in alive:
            self.world.kill(actor)
        for name, run in (("w1", self._work), ("w2", self._work), ("p1", self._produce), ("p2", self._produce)):
            if not any(actor.name.startswith(name) for actor in alive):
                self.spawn(name, run)

    def spawn(self, name: str, run: Callable[[Actor], None]) -> None:
        if not self.night or not name.startswith("p"):
            super().spawn(name, run)

    def _note(self, key: str, before: Any, after: Object) -> None:  # noqa: ARG002 - the face of the hook
        if key == self.keys.ledger(0):
            self.follow(key, after.body)
        elif key.startswith(self.keys.dedup):
            self.seen["keys marked by workers"] += self.bucket.hand.startswith("w")
        elif key.startswith(self.keys.inbox(0)):
            self.seen["settled messages written again"] += self.has_left(self.keys.name_in(self.keys.inbox(0), key))
            self.written[next(once for once in ONCE if f'"{once}"'.encode() in after.body)].add(key)

    def _open(self, actor: Actor) -> Queue:
        return self.queue(actor, max_attempts=100)

    def _produce(self, actor: Actor) -> None:
        queue = self._open(actor)
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
        queue = self._open(actor)
        while True:
            try:
                queue.process_once(lambda payload: self.world.note(f"{actor.name} runs {payload}"))
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            self.world.park(actor, self.world.random.uniform(1, 90 if self.night else 10))


def play_keys(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed: the storms take turns."""
    run = KeysRun(seed, list(STORMS.values())[seed % len(STORMS)], keep_trace)
    run.play()
    return run.outcome(len(ONCE))


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
    Mutant("marked later", "a key is marked before its name is forgotten", _marked_later),
)
"""Each must be caught; :mod:`tests.simulation.test_mutants` says how."""
