"""The books balance whatever operators do: what came in is done, dead, thrown away or waits, and each is counted once."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from s3queue import NonRetriable, Queue
from s3queue.protocol.census import Stats
from s3queue_admin.actions import plan
from s3queue_admin.filters import parse
from tests.admin.test_snapshot import Site

STEPS = 400


class Operated:
    """Two queues, and an operator who does anything to them."""

    def __init__(self, seed: int) -> None:
        self.site, self.random = Site(), Random(seed)
        self.jobs, self.other = self.site.queue(lanes=1 + seed % 2), self.site.queue("other")
        self.enqueued = 0
        self.did: set[str] = set()

    def step(self) -> None:
        """Do something."""
        random, queue = self.random, self.random.choice((self.jobs, self.jobs, self.other))
        name = random.choice((
            "enqueue", "work", "work", "plain", "edited", "to", "discard", "purge", "engine", "cancel", "delay",
            "reprioritise", "reset", "truncate", "wait", "bury",
        ))  # fmt: skip
        self.did.add(name)
        if name == "enqueue":
            self.enqueued += len(queue.enqueue_many([{"n": number} for number in range(random.choice((1, 3, 12)))]))
        elif name == "work":
            queue.process_once(self._handle, max_messages=random.choice((3, 8, None)))
        elif name == "wait":
            self.site.clock.advance(random.choice((5, 40, 4000)))
        elif name == "truncate":
            if random.random() < 0.2:
                queue.truncate()
        elif name == "engine":
            queue.dlq.replay(filter=lambda letter: random.random() < 0.5)
        elif name == "bury":
            queue.dlq.discard(filter=lambda letter: random.random() < 0.3)
        elif name == "purge":
            if random.random() < 0.2:
                plan(queue, "purge").apply()
        else:
            self._plan(queue, name)

    def _plan(self, queue: Queue, name: str) -> None:
        random = self.random
        options: dict[str, Any] = {
            "edited": {"patch": {"mended": True}},
            "to": {"to": self.other if queue is self.jobs else self.jobs},
            "delay": {"seconds": random.choice((0, 20))},
            "reprioritise": {"priority": random.choice((0, 5))},
        }
        if name == "reset":
            queue.receive(3)
        verb = "replay" if name in ("plain", "edited", "to") else name
        where = parse(f"payload.n<{random.choice((1, 2, 5))}")
        made = plan(queue, verb, where, **options.get(name, {}))
        made.apply()

    def _handle(self, payload: Any) -> None:
        if not payload.get("mended") and self.random.random() < 0.5:
            raise (NonRetriable if self.random.random() < 0.7 else ValueError)("planned")

    def check(self) -> None:
        """Hold what came in against what the queues say became of it, and the letters against their books."""
        stats = [queue.stats() for queue in (self.jobs, self.other)]
        assert self.enqueued == sum(map(_accounted, stats)), stats
        for queue, each in zip((self.jobs, self.other), stats, strict=True):
            books = [agents.lane.committer.ledger.counters for agents in queue.connect().lanes.all()]
            buried = sum(counters.get("buried", 0) for counters in books)
            assert each.dead == each.died - each.replayed - buried == len(list(queue.dlq.names()))
            assert each.discarded == buried + sum(counters.get("discarded", 0) for counters in books)


def _accounted(stats: Stats) -> int:
    return stats.completed + stats.discarded + stats.missing + stats.dead + stats.unfinished


@pytest.mark.parametrize("seed", range(4))
def test_all_that_came_in_is_accounted_for(seed: int) -> None:
    site = Operated(seed)
    for _ in range(STEPS):
        site.step()
        site.check()
    assert len(site.did) == 15
    snapshot = site.site.bucket.inspect("jobs").stats
    assert (snapshot.discarded, snapshot.replayed) == (site.jobs.stats().discarded, site.jobs.stats().replayed)
    assert snapshot.discarded > 0
    assert snapshot.replayed > 0
