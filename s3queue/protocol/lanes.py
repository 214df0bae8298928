"""All lanes of a queue as one process works on them, and one consumer over them.

A lane has its own ledger, inbox and coordinator; messages of different lanes know nothing of each other. A worker is *at
home* in one lane, where it takes assignments; it works in the lanes it coordinates, and visits the others now and then,
so that none is left without a coordinator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from s3queue.core.message import Failure
from s3queue.core.settings import Settings
from s3queue.core.transitions import Leave
from s3queue.errors import S3QueueError
from s3queue.protocol.consumer import LaneConsumer
from s3queue.protocol.coordinator import LEASE_MS, MAX_POLL_S, Coordinator, idle_poll_s
from s3queue.protocol.janitor import Janitor
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.protocol.register import REFRESH_S
from s3queue.protocol.sweeper import Sweep, Sweeper

VISIT_POLLS = 4
"""Lanes that are not home are looked at this much more seldom than an idle worker looks at its own."""
_DEFERRED_S = 2.0


@dataclass(slots=True)
class Agents:
    """A lane and who acts on it in this process."""

    lane: Lane
    janitor: Janitor
    consumer: LaneConsumer
    sweeper: Sweeper
    visited_at: float = float("-inf")
    _commits: int = 0
    _commits_seen_at: float = 0.0

    @classmethod
    def of(cls, lane: Lane) -> Agents:
        """Return new agents for a lane."""
        janitor = Janitor(lane)
        return cls(lane, janitor, LaneConsumer(lane, janitor), Sweeper(lane, janitor))

    def beside(self) -> Agents:
        """Return the same agents, but for one that claims for another caller."""
        return replace(self, consumer=LaneConsumer(self.lane, self.janitor))

    def sweep(self) -> Sweep | None:
        """Sweep if it is time, and this process' turn."""
        return self.sweeper.step() if self.consumer.search.is_on_duty else None

    def flush_deferred(self) -> None:
        """Write deferred requests if no commit has taken them along for a while."""
        committer, now = self.lane.committer, self.lane.clock.monotonic()
        if committer.commits != self._commits or not committer.has_deferred:
            self._commits, self._commits_seen_at = committer.commits, now
        elif now - self._commits_seen_at > _DEFERRED_S:
            committer.commit()

    def flush(self) -> None:
        """Commit what waits for a commit to ride with."""
        if self.lane.committer.has_deferred:
            self.lane.committer.commit()


class Lanes:
    """The lanes in use, made as the settings ask for them; safe to share between threads."""

    def __init__(self, make: Callable[[int], Agents], settings: Callable[[], Settings]) -> None:
        self._make, self._settings = make, settings
        self.first = make(0)
        self._agents = {0: self.first}
        self._lock = threading.Lock()

    @property
    def known(self) -> list[Agents]:
        """The lanes that this process has had to do with."""
        return list(self._agents.values())

    def all(self) -> list[Agents]:
        """Return the agents of every lane that may hold messages, by number."""
        return [self.of(number) for number in range(self._settings().lanes_served)]

    def of(self, number: int) -> Agents:
        """Return the agents of a lane, even of one that the settings in hand do not know (yet): a dead letter may name it."""
        found = self._agents.get(number)
        if found is not None:  # asked some times for each message, by all handlers: a lock would hold them up
            return found
        with self._lock:
            if number not in self._agents:
                # A new mapping each time, so that others may go through the old one meanwhile.
                self._agents = {**self._agents, number: self._make(number)}
            return self._agents[number]

    def beside(self) -> Lanes:
        """Return the same lanes for another caller: what one claims, the other neither keeps, waits for nor gets."""
        return Lanes(lambda number: self.of(number).beside(), self._settings)


class Consumer:
    """One process' claims on all lanes, with the face of :class:`LaneConsumer`; safe to share between threads."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.lane = lanes.first.lane
        """The first lane: its clock, ids, events and settings are those of all."""
        self.claimed_in_full = False
        self.others_wait = False
        self.may_be_more = False
        self._coordinates: Callable[[Lane], Coordinator] | None = None
        self._max_poll_s = MAX_POLL_S
        self._home = 0
        self._homes = 0
        self._turn = 0

    # -- coordination --

    def coordinate(self, *, candidate: bool = True, max_poll_s: float = MAX_POLL_S) -> None:
        """Take part in coordination from now on: follow coordinators, and be one unless it is no ``candidate``.

        ``max_poll_s``: how seldom an idle worker of a small fleet looks.
        """
        self._max_poll_s = max_poll_s
        self._coordinates = lambda lane: Coordinator(lane, candidate=candidate, max_poll_s=max_poll_s)

    @property
    def leads(self) -> bool:
        """Whether this process coordinates a lane."""
        return any(agents.consumer.leads for agents in self._lanes.known)

    @property
    def led(self) -> bool:
        """Whether all that this process does is wait for what the coordinator of its home assigns to it."""
        return not self.leads and self._lanes.of(self._home).consumer.search.is_led()

    @property
    def coordinated(self) -> bool:
        """Whether a look along with outcomes costs little: a coordinator looks often anyway, and who follows lists nothing."""
        return self.leads or self.led

    @property
    def turn_s(self) -> float:
        """How long to wait after a commit until the next, in seconds; 0 unless races are lost at home, and for who leads."""
        return 0.0 if self.leads else self._lanes.of(self._home).consumer.turn_s

    @property
    def idle_poll_s(self) -> float:
        """How seldom an idle worker of this fleet looks at most, in seconds."""
        seen = self._lanes.of(self._home).lane.committer.record.cached
        leader = seen.value.leader if seen is not None and seen.value is not None else None
        return idle_poll_s(leader.fleet if leader is not None else 0, self._max_poll_s)

    def most_idle_s(self, max_poll_s: float) -> float:
        """Return how long this process may wait between two looks: a coordinator must renew its term, others need not."""
        if self.leads:
            return min(max_poll_s, LEASE_MS / 4000)
        return self.idle_poll_s if self.led else max_poll_s

    def others_poll_s(self, poll_s: float) -> float:
        """Return how often a coordinator without room for itself looks: for others, or to keep its term if there are none."""
        led = [agents.lane.committer.ledger for agents in self._lanes.known if agents.consumer.leads]
        return poll_s if any(len(ledger.rooms) > 1 for ledger in led) else LEASE_MS / 4000

    @property
    def settings_age_s(self) -> float:
        """How old the settings in hand may be: those that do nothing follow more slowly, as each look is billed."""
        return REFRESH_S if self.held() or not self.led else max(REFRESH_S, 5 * self.idle_poll_s)

    @property
    def lanes_worked_in(self) -> tuple[int, ...]:
        """The numbers of its home and of the lanes it coordinates."""
        led = {agents.lane.number for agents in self._lanes.all() if agents.consumer.leads}
        return tuple(sorted({self._home, *led}))

    def leave(self) -> None:
        """Give up the lead and what is assigned; take part no more."""
        if self._coordinates is None:
            return
        self._coordinates = None

        def leave(agents: Agents) -> None:
            coordinator, agents.consumer.search.coordinator = agents.consumer.search.coordinator, None
            if coordinator is not None:
                coordinator.withdraw()
                agents.lane.committer.commit(Leave(agents.lane.worker, coordinator.instance))

        self._in_each(self._lanes.all(), leave)

    def _settle_in(self) -> None:
        """Choose a home, and another when the number of lanes has changed or home cannot be worked in."""
        lanes = self.lane.settings().lanes
        homes = [number for number in range(lanes) if not self._lanes.of(number).lane.is_aside] or list(range(lanes))
        if lanes == self._homes and self._home in homes:
            return
        before, self._homes = self._home, lanes
        self._home = homes[int(self.lane.ids.random() * len(homes))]
        for agents in self._lanes.all():
            search = agents.consumer.search
            if search.coordinator is None and self._coordinates is not None:
                search.coordinator = self._coordinates(agents.lane)
            if search.coordinator is not None:
                search.coordinator.at_home = agents.lane.number == self._home
        if before != self._home:
            old = self._lanes.of(before).lane
            if not old.is_aside and old.worker in old.committer.ledger.rooms:
                old.committer.commit(Leave(old.worker))

    def _to_visit(self) -> list[Agents]:
        """Return the lanes to look at now: home, those coordinated, and one more if its turn has come."""
        every = self._lanes.all()
        served = [agents for agents in every if not agents.lane.is_aside] or every
        if self._coordinates is None:  # everybody's guest: all lanes, another one first each time
            self._turn = (self._turn + 1) % len(served)
            return [*served[self._turn :], *served[: self._turn]]
        self._settle_in()
        now = self.lane.clock.monotonic()
        chosen = [agents for agents in served if agents.lane.number == self._home or agents.consumer.leads]
        rest = [agents for agents in served if agents not in chosen]
        if rest:
            longest = min(rest, key=lambda agents: agents.visited_at)
            if now - longest.visited_at > VISIT_POLLS * self.idle_poll_s:
                chosen.append(longest)
        for agents in chosen:
            agents.visited_at = now
        return chosen

    # -- what this process holds --

    @property
    def _at_work(self) -> list[Agents]:
        """The lanes this process has had to do with, but for those that are left alone: nothing there can be recorded."""
        return [agents for agents in self._lanes.known if not agents.lane.is_aside]

    def held(self) -> int:
        """Return how many messages this process holds without an outcome."""
        return sum(agents.consumer.held() for agents in self._at_work)

    def pending(self) -> int:
        """Return how many outcomes wait to be recorded."""
        return sum(agents.consumer.pending() for agents in self._at_work)

    def needs_extension(self) -> bool:
        """Whether a lease has half run out."""
        return any(agents.consumer.needs_extension() for agents in self._at_work)

    @property
    def mean_bytes(self) -> float:
        """How large a payload is, on average of the lane with the largest."""
        return max(agents.lane.inbox.mean_bytes for agents in self._lanes.known)

    @property
    def mean_read_s(self) -> float:
        """How long reading a message takes when there are many, in the slowest lane."""
        return max(agents.consumer.mean_read_s for agents in self._lanes.known)

    def _of(self, delivery: Delivery) -> LaneConsumer:
        return self._lanes.of(delivery.lease.lane).consumer

    def lane_of(self, delivery: Delivery) -> Lane:
        """Return the lane a message was claimed in."""
        return self._of(delivery).lane

    def is_trusted(self, delivery: Delivery) -> bool:
        """Whether the claim can be relied on for the moment."""
        return self._of(delivery).is_trusted(delivery)

    # -- outcomes --

    def completed(self, delivery: Delivery) -> Recorded:
        """Return the outcome *completed*."""
        return self._of(delivery).completed(delivery)

    def failed(self, delivery: Delivery, failure: Failure) -> Recorded:
        """Return the outcome of a failed attempt."""
        return self._of(delivery).failed(delivery, failure)

    def record(self, recorded: Recorded) -> None:
        """Let an outcome be recorded with the next :meth:`exchange`."""
        self._of(recorded.delivery).record(recorded)

    def settle(self, recorded: Recorded) -> None:
        """Record an outcome now; LeaseLost if the claim is over."""
        self._of(recorded.delivery).settle(recorded)

    def extend(self, delivery: Delivery, lease_ms: int | None = None) -> None:
        """Let a message's lease end ``lease_ms`` (default: the visibility timeout) from now, or raise LeaseLost."""
        self._of(delivery).extend(delivery, lease_ms)

    def drop(self, delivery: Delivery) -> None:
        """Give back a message whose lease is not to be relied on any more, with the next commit."""
        self._of(delivery).drop(delivery)

    def release(self, deliveries: Iterable[Delivery]) -> None:
        """Give messages back untried."""
        by_lane: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            by_lane.setdefault(delivery.lease.lane, []).append(delivery)
        self._in_each(
            [self._lanes.of(number) for number in by_lane],
            lambda agents: agents.consumer.release(by_lane[agents.lane.number]),
        )

    @staticmethod
    def _in_each(lanes: Iterable[Agents], act: Callable[[Agents], object]) -> None:
        """Act in each lane though it fails in some; raise the first error then, but for those of unreadable ledgers."""
        failed: S3QueueError | None = None
        for agents in lanes:
            try:
                act(agents)
            except S3QueueError as error:
                failed = failed or (None if agents.lane.sets_aside(error) else error)
        if failed is not None:
            raise failed

    def exchange(
        self,
        room: int,
        *,
        look: bool | None = None,
        deliver: Callable[[Delivery], None] | None = None,
        keep_leases: bool = True,
    ) -> list[Delivery]:
        """Record the pending outcomes, extend what runs long, and claim up to ``room`` messages: a commit a lane.

        ``look`` (default: if there is room): whether to look for messages, and as coordinator to assign what there is no
        room for. A lane that fails does not stop the others; its error is raised if nothing was claimed. One whose ledger
        cannot be read is left alone for a while; CorruptObject is raised when that is true of every lane.
        """
        looks = room > 0 if look is None else look
        visits = self._to_visit() if looks else []
        got: list[Delivery] = []
        failed: S3QueueError | None = None
        self.claimed_in_full = False
        if looks:
            self.others_wait = self.may_be_more = False
        others = [agents for agents in self._at_work if agents not in visits]
        for agents in (*visits, *others):
            consumer, mine = agents.consumer, agents in visits
            left = room - len(got)
            if not mine and not consumer.pending() and not consumer.needs_extension():
                continue
            try:
                got += consumer.exchange(left if mine else 0, look=mine, deliver=deliver, keep_leases=keep_leases)
            except S3QueueError as error:
                if agents.lane.sets_aside(error) and not all(every.lane.is_aside for every in self._lanes.all()):
                    continue
                if failed is not None or got:
                    self.lane.events.emit("error", error=error, doing=f"committing to lane {agents.lane.number}")
                failed = failed or error
            else:
                agents.lane.is_back()
                self.claimed_in_full = self.claimed_in_full or (mine and consumer.claimed_in_full)
                self.others_wait = self.others_wait or (mine and consumer.others_wait)
                self.may_be_more = self.may_be_more or (mine and consumer.may_be_more)
        if failed is not None and not got:
            raise failed
        return got
