"""Deduplication keys used and forgotten in storms: within its time a key stands for one message, whoever dies or sleeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from s3queue.core.codec import decode_reservation
from s3queue.core.keys import Keys
from s3queue.errors import S3QueueError
from s3queue.protocol import retention
from s3queue.protocol.retention import Retention
from s3queue.store.port import Object
from tests.simulation.bucket import Faults
from tests.simulation.scenario import Outcome
from tests.simulation.troupe import Troupe
from tests.simulation.world import START_S, Actor

KEYS = ("a", "b", "c")
TTL_S = 150.0
RUN_S = 3600.0
STORMS = {
    "calm": Faults(),
    "crashes": Faults(crash_before=0.02, crash_after=0.02),
    "lost answers": Faults(lost_answer=0.1, crash_after=0.01),
    "pauses": Faults(pause=0.2, pause_s=12.0, lost_answer=0.02),
    "skew": Faults(skew_s=1.0, pause=0.1, pause_s=10.0),
}


@dataclass
class ForgettingRun(Troupe):
    """Producers that want the same few keys whenever they are about to be free, and sweepers that forget them."""

    told: dict[str, dict[str, int]] = field(default_factory=dict)

    def play(self) -> None:
        """Run to the end. Keys are forgotten as soon as they are free."""
        self.dedup = Keys(self.root()).dedup
        self.since: dict[str, int] = {}
        self.until: dict[str, int] = {}
        self.bucket.on_put = self._note
        for number in range(3):
            self.spawn(f"producer{number}", self._produce)
        for number in range(2):
            self.spawn(f"sweeper{number}", self._sweep)
        with patch.object(retention, "DEDUP_KEPT_MS", 5_000):
            self.world.run(START_S + RUN_S + 600, 60_000)
            self.end()
        self.found += [text for key in KEYS for text in self._overlaps(key)]

    def _overlaps(self, key: str) -> list[str]:
        """Return the messages of a key that were handed out though another one's time was not over."""
        told = sorted(self.told.get(key, {}).items(), key=lambda item: item[1])
        skew_ms = round(2 * self.faults.skew_s * 1000)
        return [
            f"{key}: {second} at {at_ms}, {first} until {self.until[first]}"
            for (first, _), (second, at_ms) in pairwise(told)
            if at_ms + skew_ms < self.until[first]
        ]

    def _note(self, key: str, before: Any, after: Object) -> None:  # noqa: ARG002 - the face of the hook
        if key.startswith(self.dedup):
            held = decode_reservation(after.body, key)
            self.until[held.message_id] = held.expires_at_ms
            self.since.setdefault(held.message_id, round(self.world.now_s * 1000))

    def revive(self, actor: Actor) -> None:
        if self.world.now_s < START_S + RUN_S:
            super().revive(actor)

    def _produce(self, actor: Actor) -> None:
        queue = self.queue(actor, dedup_ttl=TTL_S)
        while self.world.now_s < START_S + RUN_S:
            key = self.world.random.choice(KEYS)
            try:
                id_ = queue.enqueue(key, dedup_id=key)
            except S3QueueError:
                continue
            finally:
                self.world.park(actor, 0.1)
            self.told.setdefault(key, {}).setdefault(id_, self.since[id_])
            self.world.park(actor, self.world.random.choice((0.05, 1, 20, 120)))

    def _sweep(self, actor: Actor) -> None:
        agent: Retention | None = None
        while self.world.now_s < START_S + RUN_S:
            try:
                agent = agent or Retention(self.queue(actor, dedup_ttl=TTL_S).connect().lane, interval_s=5)
                agent._dedup.due_at = 0.0  # not every half of dedup_ttl: all the time
                done = agent.step()
            except S3QueueError:
                done = None
            self.seen["reservations forgotten"] += done.reservations if done else 0
            self.world.park(actor, self.world.random.uniform(0.5, 4))


def play_forgetting(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed: the storms take turns."""
    run = ForgettingRun(seed, list(STORMS.values())[seed % len(STORMS)], keep_trace)
    run.play()
    return run.outcome(sum(map(len, run.told.values())))
