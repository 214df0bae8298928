"""What the smaller kinds of runs have in common: actors on one bucket who live again when they die, and the books they write."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from s3queue.core.codec import decode_ledger
from s3queue.core.invariants import step_violations, violations
from s3queue.core.ledger import Ledger
from s3queue.ids import SeededIds
from s3queue.queue import Queue
from tests.simulation.bucket import Bucket, Faults, SimStore
from tests.simulation.history import _places
from tests.simulation.scenario import Outcome
from tests.simulation.world import Actor, SimClock, World


@dataclass
class Troupe:
    """A run to be: subclasses send actors on, by :meth:`spawn`, and watch the bucket. ``found``: what was wrong."""

    seed: int
    faults: Faults
    keep_trace: bool = False
    found: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    """Situations, and how often the run came into them."""

    def __post_init__(self) -> None:
        self.world, self.bucket = World(self.seed, keep_trace=self.keep_trace), Bucket()
        self.ledgers: dict[str, Ledger] = defaultdict(Ledger)
        """The books as they are now, by their keys."""
        self._left: set[tuple[str, str, int]] = set()
        self._lives = Counter[str]()
        self.world.on_death = self.revive

    def spawn(self, name: str, run: Callable[[Actor], None]) -> None:
        """Let an actor begin in a second; those after the first of a name get a number."""
        self._lives[name] += 1
        skew_s = self.world.random.uniform(-1, 1) * self.faults.skew_s
        self.world.spawn(f"{name}.{self._lives[name]}", run, at_s=self.world.now_s + 1, skew_s=skew_s)

    def revive(self, actor: Actor) -> None:
        """Do what is to be done when an actor has died."""
        self.spawn(actor.name.split(".")[0], actor.run)

    def queue(self, actor: Actor, name: str = "sim", **options: Any) -> Queue:
        """Return a queue as this actor's process has it."""
        return Queue(
            name,
            store=SimStore(self.world, self.bucket, actor, lambda: self.faults),
            clock=SimClock(self.world, actor),
            ids=SeededIds(f"{self.seed}/{actor.name}/{name}"),
            worker_id=actor.name,
            probe=False,
            **options,
        )

    def root(self, name: str = "sim") -> str:
        """Return what the keys of a queue begin with."""
        return self.queue(Actor("keys", lambda actor: None), name).root

    def follow(self, key: str, body: bytes) -> tuple[Ledger, Ledger]:
        """Check a ledger that was written, and that no message comes back which had left it; return it before and now."""
        before, after = self.ledgers[key], decode_ledger(body, key)
        self.found += [*violations(after), *step_violations(before, after)]
        was, now = _places(before), _places(after)
        self._left |= {(key, *spot) for spot in was.keys() - now.keys()}
        back = [spot for spot in now if (key, *spot) in self._left]
        if back:
            self.found.append(f"completes once: {back} comes back after it was settled")
        self.ledgers[key] = after
        self.world.halted = bool(self.found)
        return before, after

    def has_left(self, name: str) -> bool:
        """Whether a message of this object was settled."""
        return any(name == spot[1] for spot in self._left)

    def end(self) -> None:
        """Let everybody die for good."""
        self.world.kill_all()
        self.found += [f"{actor.name} failed: {actor.error!r}" for actor in self.world.actors if actor.error]

    def outcome(self, messages: int) -> Outcome:
        """Return what came of it."""
        world, seen = self.world, dict(self.seen)
        return Outcome(
            self.seed, world.steps, world.digest(), self.found, dict(world.faults), {}, messages, seen, world.trace
        )
