"""A worker played in virtual time: the engine's agents and pace, with threads and handlers that only take time."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from s3queue.coordination import NoHints
from s3queue.core.presence import Presence
from s3queue.errors import S3QueueError
from s3queue.ids import SeededIds
from s3queue.protocol.outcomes import Delivery
from s3queue.protocol.registry import Registration
from s3queue.runtime.heeding import Heeding
from s3queue.runtime.pace import Polling, Prefetch
from s3queue.runtime.readers import READERS
from s3queue.runtime.worker import LINGER_S
from tests.simulation.bucket import SimStore
from tests.simulation.world import Actor, SimClock

if TYPE_CHECKING:
    from benchmarks.fleet import Fleet

T = TypeVar("T")

MAINTENANCE_S = 0.25
_HEARS_S = 0.02
"""How soon a sleeping worker notices a hint."""

Traffic = Counter[tuple[str, str, str]]
"""Requests by (area, lane, verb), lane being '' in areas that have none. An object that a ``POST`` deletes is a DELETE beside
it: S3 counts it too."""


def place_of(key: str) -> tuple[str, str]:
    """Return the area of a key, and its lane if it has one."""
    _, area, lane, *_ = f"{key}//".split("/")
    return area, lane.removesuffix(".json") if area in ("inbox", "settled", "ledger") else ""


class FleetStore(SimStore):
    """A process' store, in which the calls of a block are made by a pool of threads; they are counted in ``traffic``."""

    def __init__(self, traffic: Traffic, *given: Any) -> None:
        super().__init__(*given)
        self._traffic = traffic
        self._together: list[float] | None = None

    def _call(self, verb: str, key: str, act: Callable[[], T], *, writes: bool = False) -> T:
        self._traffic[*place_of(key), verb] += 1
        return super()._call(verb, key, act, writes=writes)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self._traffic[*place_of(keys[0]), "DELETE"] += len(keys)
        return super().delete_many(keys)

    @contextmanager
    def together(self, width: int) -> Iterator[None]:
        """Let the calls of the block run ``width`` at a time."""
        times: list[float] = []
        self._together = times
        try:
            yield
        finally:
            self._together = None
            ends = [0.0] * width  # when each of so many threads is free again
            for way_there, way_back in zip(times[::2], times[1::2], strict=False):
                heapq.heapreplace(ends, ends[0] + way_there + way_back)
            self._world.park(self._actor, max(ends))

    @contextmanager
    def aside(self) -> Iterator[list[float]]:
        """Let the calls of the block be made by another thread: yields how long they take it."""
        times: list[float] = []
        self._together = times
        try:
            yield times
        finally:
            self._together = None

    def _latency(self, verb: str) -> float:
        seconds = super()._latency(verb)
        if self._together is None:
            return seconds
        self._together.append(seconds)
        return 0.0


class PlayedWorker:
    """A worker as :class:`s3queue.Worker` is one, with handlers that take ``handler_s`` each and do nothing."""

    def __init__(self, fleet: Fleet, actor: Actor) -> None:
        self.fleet, self.world = fleet, fleet.world
        self.queue, self.store = fleet.open(actor)
        self.clock, self.ids, self.tuning = SimClock(fleet.world, actor), SeededIds(actor.name), fleet.tuning
        self.connection = self.queue.connect()
        self.consumer = self.connection.consumer
        self.consumer.coordinate(max_poll_s=self.tuning.max_poll_interval)
        self.connection.standing.spread = self._spread
        self.polling = Polling(self.tuning.poll_interval, self.tuning.max_poll_interval)
        self.prefetch = Prefetch(self.tuning.concurrency, self.tuning.prefetch)
        self.heeding = Heeding(self.connection.hints, self.consumer, self.tuning.concurrency, self._hinted)
        self.registration = Registration(self.connection.lane, self._describe)
        self.waiting: deque[Delivery] = deque()
        self.running: list[tuple[float, int, Delivery]] = []
        self.pending_since: float | None = None
        self.claimed_at = self.turn_at = float("-inf")
        self.maintained_at = float("-inf")

    def _spread(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
        todo = list(items)
        if len(todo) < 2:
            return [function(item) for item in todo]
        with self.store.together(READERS):
            return [function(item) for item in todo]

    def _hinted(self) -> None:
        self.polling.hint(self.world.now_s, self.ids.random())

    def _describe(self) -> Presence:
        committers = [agents.lane.committer for agents in self.connection.lanes.known]
        return Presence(
            self.queue.worker_id,
            "",
            0,
            0,
            self._want(),
            lanes=self.consumer.lanes_worked_in,
            held=self.consumer.held(),
            commits=sum(committer.commits for committer in committers),
            lost_races=sum(committer.lost_races for committer in committers),
        )

    def _want(self) -> int:
        lease_s, bytes_each = self.consumer.lane.settings().lease_ms / 1000, self.consumer.mean_bytes
        standing, read_s = self.connection.standing, self.consumer.mean_read_s
        standing.capacity = self.prefetch.capacity(lease_s, bytes_each, read_s)
        return self.prefetch.want(lease_s, bytes_each)

    def run(self) -> None:
        """Work for ever."""
        self.registration.step()
        with self.heeding:
            self._run()

    def _run(self) -> None:
        while True:
            self._handle()
            now = self.world.now_s
            room = self._room()
            lingered = self.pending_since is not None and now - self.pending_since >= LINGER_S
            follows = self.pending_since is not None and self.consumer.others_wait
            follows = follows or (lingered and self.consumer.coordinated)
            looks = (room > 0 and follows) or now >= self.polling.next_at(room, leads=self.consumer.leads)
            looks, lingered = looks and now >= self.turn_at, lingered and now >= self.turn_at
            if looks or lingered or self.consumer.needs_extension():
                self._exchange(room if looks else 0, now, looks=looks)
                self._handle()
            if now - self.maintained_at >= MAINTENANCE_S:
                self._maintain()
            self._wait(room)

    def _room(self) -> int:
        want = self._want()
        if len(self.waiting) > want // 2:
            return 0
        return max(0, want - len(self.waiting) - len(self.running))

    def _handle(self) -> None:
        """End the handlers that are done by now, and begin others."""
        now = self.world.now_s
        while self.running and self.running[0][0] <= now:
            at, _, delivery = heapq.heappop(self.running)
            self.consumer.record(self.consumer.completed(delivery))
            self.prefetch.observe(max(self.fleet.handler_s, 0.0005))
            self.pending_since = self.pending_since or now
            self.fleet.completed += 1
            self._begin(at)
        while self.waiting and len(self.running) < self.tuning.concurrency:
            self._begin(now)

    def _begin(self, at: float) -> None:
        if self.waiting:
            delivery = self.waiting.popleft()
            self.fleet.started(delivery)
            heapq.heappush(self.running, (at + self.fleet.handler_s, id(delivery), delivery))

    def _exchange(self, room: int, now: float, *, looks: bool) -> None:
        short = not self.waiting or now - self.claimed_at < LINGER_S
        self.pending_since = None
        if looks:
            self.polling.look(now)
        try:
            got = self.consumer.exchange(room, look=looks, deliver=self.waiting.append)
        except S3QueueError:
            self.polling.failed(self.world.now_s, self.ids.random())
            return
        if looks:
            self.polling.max_interval_s = max(
                self.consumer.most_idle_s(self.tuning.max_poll_interval), self.polling.interval_s
            )
            full = self.consumer.claimed_in_full
            if short and full:
                self.prefetch.grow()
            self.claimed_at = now if got else self.claimed_at
            if room:
                self.polling.found(self.world.now_s, room if full else len(got), room, self.ids.random())
            if self.consumer.leads:
                wait_s = self.consumer.others_poll_s(self.polling.interval_s)
                self.polling.looked_for_others(now, wait_s, self.ids.random())
        if turn_s := self.consumer.turn_s:
            self.turn_at = self.world.now_s + turn_s * (0.75 + 0.5 * self.ids.random())

    def _maintain(self) -> None:
        """Do what the maintenance thread does beside: its requests take no time of this one's, only of its own."""
        steps: list[Callable[[], object]] = [
            lambda: self.connection.register.refresh(self.consumer.settings_age_s),
            self.connection.history.step,
            self.registration.step,
            self.connection.duties.step,
            self.heeding.step,
        ]
        for agents in self.connection.lanes.all():
            steps += [agents.janitor.tick, agents.sweep, agents.flush_deferred]
        with self.store.aside() as times:
            for step in steps:
                with suppress(S3QueueError):
                    step()
        self.maintained_at = self.world.now_s + sum(times)

    def _wait(self, room: int) -> None:
        """Sleep until something is due; the rounds in which maintenance has nothing to do are left out when idle."""
        now = self.world.now_s
        idle = not self.consumer.held() and self.pending_since is None
        due_at = self.polling.next_at(room, leads=self.consumer.leads)
        if self.pending_since is not None:
            due_at = min(due_at, self.pending_since + LINGER_S)
        times = [now + (2.0 if idle else MAINTENANCE_S), max(due_at, self.turn_at)]
        if self.running:
            times.append(self.running[0][0])
        until = max(now + 0.001, min(times))
        if isinstance(self.connection.hints, NoHints):
            self.clock.sleep(until - now)
        while self.world.now_s < min(until, max(self.turn_at, self.polling.next_at(room, leads=self.consumer.leads))):
            self.clock.sleep(min(_HEARS_S, until - self.world.now_s))
