"""A lane of workers, played, so that how often they look, commit and collide is not reckoned but seen.

Messages come evenly, requests take what they take on average (more or less), a ledger takes one commit after the other and
whoever was overtaken loses its race. What is decided is decided by the engine's rules (:mod:`.books`), constants, and its
own :class:`~s3queue.runtime.pace.Polling` and :class:`~s3queue.runtime.pace.Prefetch`. Nothing in it is fitted to runs.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from math import exp, log

from s3queue.core.dispatch import CALLED_WITH
from s3queue.core.presence import BEAT_MS
from s3queue.ids import SeededIds
from s3queue_admin.cost.books import Books, Turns
from s3queue_admin.cost.lane import Lane, Rhythm
from s3queue_admin.cost.worker import Steps, Worker

TAIL = 0.5
"""How far times of requests spread: the standard deviation of their logarithms."""
_GROUPS_PLAYED = 500
_LONG_S = 5.0
_SETTLE_S = 30.0
_PLAYED_S = (60.0, 1200.0)
_EVENTS = 3000
_MOST = 60_000


class Play:
    """The lane, its clock, and who has a turn when."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.now, self.books = lane, 0.0, Books(lane.batch, max(1, CALLED_WITH // lane.unit))
        self.turns = Turns(self.books, min(lane.groups, _GROUPS_PLAYED) if lane.order == "strict-group" else 1)
        self.counts: Counter[str] = Counter()
        self.random = SeededIds("cost").random
        self._heap: list[tuple[float, int, Steps, Worker | None, int]] = []
        self._serial = 0
        self._arrivals = [0.0]
        self.workers = [Worker(self, number) for number in range(lane.workers)]
        self._fill()
        for worker in self.workers:
            self.push(worker.due_at(), worker.steps, worker)
        if lane.hints_s is not None and lane.objects_per_s:
            self.push(0.0, self._announce(lane.hints_s), None)

    def push(self, at: float, steps: Steps, worker: Worker | None) -> None:
        """Let the steps go on at that time, unless the worker has had a turn before."""
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, steps, worker, worker.turn if worker else 0))

    def _fill(self) -> None:
        """Begin in the middle of long handlers: else the first would have to be waited for."""
        lane = self.lane
        in_hand = (
            round(lane.objects_per_s * lane.batch * lane.handler_s)
            if lane.handler_s > _LONG_S and not lane.strict
            else 0
        )
        for worker in self.workers:
            mine = min(in_hand, lane.concurrency)
            if mine:
                worker.holds(mine, [lane.handler_s * (number + self.random()) / mine for number in range(mine)])
            in_hand -= mine

    def run(self, until: float, most: int) -> None:
        """Play until then, or until so many steps have been made and messages ended."""
        stop = self._serial + self.counts["ended"] + most
        while self._heap and self._heap[0][0] <= until and self._serial + self.counts["ended"] < stop:
            at, _, steps, worker, turn = heapq.heappop(self._heap)
            if worker is not None:
                if worker.turn != turn:
                    continue
                worker.turn += 1
            self.now = max(self.now, at)
            self.push(self.now + next(steps), steps, worker)

    def arrived(self, at: float) -> int:
        """Return how many objects have come by then."""
        if not self.lane.scattered:
            return int(self.lane.objects_per_s * at + 0.5)
        while self.lane.objects_per_s and self._arrivals[-1] <= at:
            self._arrivals.append(self._arrivals[-1] - log(1 - self.random()) / self.lane.objects_per_s)
        return bisect_right(self._arrivals, at) - 1

    def takes(self, seconds: float) -> float:
        """Return how long something takes this time that takes so long on average: seldom much longer, as stores are."""
        return seconds * exp(TAIL * (2 * (self.random() + self.random() + self.random()) - 3) - TAIL * TAIL / 2)

    def close_busy(self) -> None:
        """Count the time in which workers were busy up to now."""
        for worker in self.workers:
            if worker.busy_since is not None:
                self.counts["busy_ms"] += round(1000 * (self.now - worker.busy_since))
                worker.busy_since = self.now

    def _announce(self, spacing_s: float) -> Steps:
        """Send a hint whenever something has come, to those who list."""
        told = 0
        while True:
            come = self.arrived(self.now)
            if come > told:
                told = come
                self.counts["hints"] += 1
                self.workers[0].hinted()
            yield max(spacing_s, (told + 0.5) / self.lane.objects_per_s - self.now, 1e-3)


@lru_cache(512)
def played(lane: Lane) -> Rhythm:
    """Return the rhythm of a lane, some time after work began to come to a fleet at rest."""
    play = Play(lane)
    rate = lane.objects_per_s * lane.batch
    wanted_s = _EVENTS / rate if rate else _PLAYED_S[1]
    play.run(_SETTLE_S, _MOST)
    play.close_busy()
    began, before, settled = play.now, Counter(play.counts), [worker.settled for worker in play.workers]
    play.run(began + min(max(wanted_s, _PLAYED_S[0]), _PLAYED_S[1]), _MOST)
    play.close_busy()
    seconds = max(play.now - began, 1e-3)
    each = {name: (count - before[name]) / seconds for name, count in play.counts.items()}
    beats = seconds * 1000 / BEAT_MS
    active = sum(min(1.0, (worker.settled - was) / beats) for worker, was in zip(play.workers, settled, strict=True))
    names = ("looks", "commits", "lost", "reads", "objects", "deletes")
    counts = {name: each.get(name, 0.0) for name in names}
    ended = each.get("ended", 0.0) * lane.unit
    return Rhythm(
        **counts, busy=each.get("busy_ms", 0.0) / 1000, active=active, hints=each.get("hints", 0.0), ended=ended
    )
