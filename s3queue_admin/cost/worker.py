"""A worker, played: the loop of :class:`s3queue.runtime.worker.Worker` and one commit of it, on numbers."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Generator
from math import ceil, inf
from typing import TYPE_CHECKING

from s3queue.core.claiming import CURSOR_MARGIN_MS
from s3queue.core.dispatch import MAX_PARTS
from s3queue.protocol.committer import GET_PRICE_OF_PUT, Crowding
from s3queue.protocol.consumer import ASIDE_S, TURN_S
from s3queue.protocol.coordinator import CROWDED, LEASE_MS, idle_poll_s
from s3queue.protocol.janitor import DELETE_AFTER_S, DELETE_AT
from s3queue.protocol.search import MAX_OBJECTS
from s3queue.runtime.pace import ENOUGH, Polling, Prefetch
from s3queue.runtime.readers import READERS
from s3queue.runtime.worker import LINGER_S
from s3queue_admin.cost.books import Attention, Part, Plan

if TYPE_CHECKING:
    from s3queue_admin.cost.play import Play

UPKEEP_S = 0.25
"""How often the maintenance thread looks for what is to be deleted."""
LEDGER_AGE_S = 2.0
"""How old the ledger in hand of a coordinator may be for a look. This and the next are the engine's own, which tests ensure."""
JUST_NOW_S, BACKOFF_S, MAX_BACKOFF_S = 0.05, 0.02, 1.0
LISTING_KEPT_S = {"fifo": 10.0, "lifo": 1.0, "strict": 0.5, "strict-group": 0.5}
READ_SHARE_S, TTL_MARGIN_S, MEASURED_FROM, CACHED_OBJECTS = 0.25, 5.0, 16, 16
HELD_MOST = 1000
"""How many messages a worker holds at most (``prefetch``)."""
PAGE = 1000

Steps = Generator[float, None, None]
"""What is done, and between its steps for how long it waits."""


class Worker:
    """One worker; the first coordinates the lane."""

    def __init__(self, play: Play, number: int) -> None:
        lane = play.lane
        self.play, self.lane, self.number, self.leads = play, lane, number, number == 0
        idle_s = min(lane.max_poll_s, LEASE_MS / 4000) if self.leads else idle_poll_s(lane.fleet, lane.max_poll_s)
        self.polling = Polling(lane.poll_s, max(idle_s, lane.poll_s))
        self.prefetch = Prefetch(lane.concurrency, max(HELD_MOST // lane.unit, lane.concurrency))
        self.attention = Attention()
        self.turn, self.stale, self.seen_version, self.mean_read_s = 0, 0.5, 0, 0.0
        self.read_at = self.claimed_at = self.listed_at = self.renewed_at = -inf
        self.listing, self.pages, self.shown = 0, 1, 0
        self.settled = 0
        self.waiting: list[int] = []
        self.running: list[tuple[float, int]] = []
        self.pending: list[int] = []
        self.pending_since: float | None = None
        self.others_wait, self.idle, self.crowding, self.turn_at = False, True, Crowding(), -inf
        self.leases: list[list[float]] = []
        self.cached: OrderedDict[int, None] = OrderedDict()
        self.to_delete, self.delete_at = 0, inf
        self.busy_since: float | None = None
        self.polling.due_at = play.random() * idle_s
        self.steps = self._live()
        if not lane.strict or self.leads:
            play.books.rooms[number] = self._want()

    # -- the loop --

    def holds(self, count: int, ends_at: list[float]) -> None:
        """Begin with so many messages in hand, whose handlers end then."""
        self.running = sorted((at, 0) for at in ends_at)
        self.leases = [[float(count), self.play.now - self.lane.lease_s / 2 * self.play.random()]]
        self.play.books.held[self.number] = count
        for _ in range(ENOUGH):  # it has been at work for long
            self.prefetch.observe(self.lane.handler_s)
        self.play.books.rooms[self.number] = self.prefetch.capacity(self.lane.lease_s, 1.0, 0.0)
        self.busy_since = self.play.now

    def due_at(self) -> float:
        """Return when it has something to do again."""
        asks_at = self.polling.next_at(self._room(), leads=self.leads)
        if self.pending_since is not None:
            asks_at = min(asks_at, self.pending_since + LINGER_S)
        times = [max(asks_at, self.turn_at), self.delete_at, self._extends_at()]
        if self.running:
            times.append(self.running[0][0])
        return min(times)

    def hinted(self) -> None:
        """Look soon."""
        self.polling.hint(self.play.now, self.play.random())
        if self.idle:
            self.play.push(self.due_at(), self.steps, self)

    def _live(self) -> Steps:
        while True:
            self.idle = False
            yield from self._cycle()
            self.idle = True
            yield max(1e-4, self.due_at() - self.play.now)

    def _cycle(self) -> Steps:
        now = self.play.now
        self._handle(now)
        room = self._room()
        lingered = self.pending_since is not None and now - self.pending_since >= LINGER_S
        follows = lingered or (self.pending_since is not None and self.others_wait)
        looks = (room > 0 and follows) or now >= self.polling.next_at(room, leads=self.leads)
        looks, lingered = looks and now >= self.turn_at, lingered and now >= self.turn_at
        if looks or lingered or now >= self._extends_at():
            yield from self._exchange(room if looks else 0, now, looks=looks)
            self._handle(self.play.now)
        self._delete(self.play.now)

    def _want(self) -> int:
        if not self.lane.retries:
            return self.lane.concurrency
        return self.prefetch.want(self.lane.lease_s, 1.0)

    def _room(self) -> int:
        want = self._want()
        return 0 if len(self.waiting) > want // 2 else max(0, want - len(self.waiting) - len(self.running))

    def _handle(self, now: float) -> None:
        """End the handlers that are done by now, and begin others."""
        while self.running and self.running[0][0] <= now:
            at, number = heapq.heappop(self.running)
            self.pending.append(number)
            self.prefetch.observe(max(self.lane.handler_s, 0.0005))
            self.pending_since = now if self.pending_since is None else self.pending_since
            self._begin(at)
        while self.waiting and len(self.running) < self.lane.concurrency:
            self._begin(now)
        holds = bool(self.waiting or self.running or self.pending)
        if holds and self.busy_since is None:
            self.busy_since = now
        elif not holds and self.busy_since is not None:
            self.play.counts["busy_ms"] += round(1000 * (now - self.busy_since))
            self.busy_since = None

    def _begin(self, at: float) -> None:
        if self.waiting:
            heapq.heappush(self.running, (at + self.lane.handler_s, self.waiting.pop(0)))

    def _extends_at(self) -> float:
        return min((since for left, since in self.leases if left > 0), default=inf) + self.lane.lease_s / 2

    def _delete(self, now: float) -> None:
        if self.to_delete and (now >= self.delete_at or self.to_delete >= DELETE_AT):
            self.play.counts["deletes"] += 1
            self.play.books.deleted += self.to_delete
            self.to_delete, self.delete_at = 0, inf

    # -- a commit --

    def _exchange(self, room: int, now: float, *, looks: bool) -> Steps:
        short = not self.waiting or now - self.claimed_at < LINGER_S
        self.pending_since = None
        asks = looks and (room > 0 or self.leads)
        if looks:
            self.polling.look(now)
        wanted = 0
        if asks:
            yield from self._refresh()
            wanted = yield from self._look(room)
        ended, self.pending = self.pending, []
        got: list[Part] = []
        yield from self._commit(ended, asks, wanted, got)
        yield from self._read(got)
        if looks:
            taken, random = sum(count for _, count in got), self.play.random()
            full = bool(got) and (taken >= wanted or len(got) >= MAX_OBJECTS)
            if short and full:
                self.prefetch.grow()
            self.claimed_at = now if got else self.claimed_at
            if room:
                self.polling.found(self.play.now, room if full else taken, room, random)
            if self.leads:
                wait_s = self.lane.poll_s if len(self.play.books.rooms) > 1 else LEASE_MS / 4000
                self.polling.looked_for_others(now, wait_s, random)
        if turn_s := self._turn_s():
            self.turn_at = self.play.now + turn_s * (0.75 + 0.5 * self.play.random())

    def _turn_s(self) -> float:
        """Return how long to leave the ledger to others; see :class:`s3queue.protocol.consumer.LaneConsumer`."""
        if self.leads or (self.lane.strict and (self.waiting or self.running or self.pending)):
            return 0.0
        return (ASIDE_S if self.lane.strict else TURN_S) * self.crowding.at(self.play.now)

    def _refresh(self) -> Steps:
        age_s = self.play.now - self.read_at
        most_s = LEDGER_AGE_S if self.leads else 0.0
        if age_s > most_s or (age_s > JUST_NOW_S and self.stale > GET_PRICE_OF_PUT):
            yield from self._get()

    def _get(self) -> Steps:
        play = self.play
        play.counts["reads"] += 1
        yield play.takes(self.lane.latency.get / 2)
        version = play.books.version
        yield play.takes(self.lane.latency.get / 2)
        self.stale += 0.2 * ((version != self.seen_version) - self.stale)
        self.seen_version, self.read_at = version, play.now

    def _look(self, room: int) -> Generator[float, None, int]:
        """List if there is not enough in hand; return how much it claims at most."""
        play, lane, books = self.play, self.lane, self.play.books
        if self.leads:
            self.attention.watch(books, play.now)
            if len(books.rooms) > 1 and self.mean_read_s:
                room = min(room, max(1, int(READ_SHARE_S / self.mean_read_s)))
        self.shown = 0
        if not self.leads and not lane.strict:
            return room
        if lane.strict:
            ending = frozenset(number % play.turns.groups for number in self.pending)
            begun = sum(play.turns.is_begun(group) for group in play.turns.ready(play.arrived(play.now), ending))
            wanted = (
                min(room, int(0 not in play.turns.busy or 0 in ending)) if lane.order == "strict" else room
            ) - begun
            have = len(play.turns.ready(self._kept(), ending)) - begun
        else:
            wanted, have = room + self._demand(), books.listed(self._kept())
        if wanted > 0 or not lane.strict:
            if self._lists(have, wanted):
                yield from self._list(wanted)
            self.shown = self._kept()
        return room

    def _demand(self) -> int:
        """Return how many messages to look for beside one's own; see :class:`s3queue.protocol.coordinator.Coordinator`."""
        books, me = self.play.books, self.number
        room = sum(max(0, most - books.on_hand(other)) for other, most in books.rooms.items() if other != me)
        crew = sum(books.rooms.get(other, 0) for other in (me, *self.attention.awake(self.play.now)))
        return min(room, 2 * crew, max(0, MAX_PARTS - books.parts()))

    def _kept(self) -> int:
        """Return how many objects the listing in hand shows, if it is young enough."""
        return self.listing if self.play.now - self.listed_at <= LISTING_KEPT_S["fifo"] else 0

    def _lists(self, have: int, wanted: int) -> bool:
        """Whether to list anew; see :class:`s3queue.protocol.inbox.Scanner`."""
        age_s, kept_s = self.play.now - self.listed_at, LISTING_KEPT_S[self.lane.order] * self.pages
        if age_s > LISTING_KEPT_S["fifo"] or self.lane.order == "lifo":
            return age_s > kept_s
        patient = self.lane.strict and (have > 0 or self.pages > 1)
        return have < wanted and (not patient or age_s > kept_s)

    def _list(self, wanted: int) -> Steps:
        play, books = self.play, self.play.books
        self.listed_at = play.now
        recent = play.arrived(play.now) - play.arrived(max(0.0, play.now - CURSOR_MARGIN_MS / 1000))
        known = max(0, min(books.taken - books.deleted, recent))
        new = min(play.arrived(play.now) - books.taken, ceil(wanted / books.batch))
        self.pages = max(1, ceil((known + new) / PAGE))
        play.counts["looks"] += self.pages
        yield play.takes(self.lane.latency.list / 2)
        self.listing = play.arrived(play.now)
        yield play.takes((self.pages - 0.5) * self.lane.latency.list)

    def _commit(self, ended: list[int], asks: bool, room: int, got: list[Part]) -> Steps:
        play, lane, losses = self.play, self.lane, 0
        seen = self.shown if asks else 0
        while True:
            age_s = play.now - self.read_at
            if losses or not (age_s < JUST_NOW_S or self.stale < GET_PRICE_OF_PUT):
                yield from self._get()
            act = self._composed(ended, asks, room, seen)
            if act is None:
                self.others_wait = asks and lane.strict and play.turns.waits(seen)
                return
            version = self.seen_version
            yield play.takes(lane.latency.put / 2)
            if play.books.version == version:
                play.books.version += 1
                self.seen_version = play.books.version
                got += act()
                yield play.takes(lane.latency.put / 2)
                play.counts["commits"] += 1
                self.stale *= 0.8
                self.read_at = play.now
                self._after(ended)
                return
            yield play.takes(lane.latency.put / 2)
            play.counts["lost"] += 1
            self.stale += 0.2 * (1 - self.stale)
            self.crowding.lost(play.now)
            losses += 1
            yield play.random() * min(BACKOFF_S * 2 ** (1 if self.leads else losses), MAX_BACKOFF_S)

    def _composed(self, ended: list[int], asks: bool, room: int, seen: int) -> Callable[[], list[Part]] | None:
        """Return what a commit would do, or None if it would change nothing."""
        play, books, now = self.play, self.play.books, self.play.now
        extends = now >= self._extends_at()
        plan: Plan | None = None
        if self.lane.strict:
            ending = frozenset(number % play.turns.groups for number in ended)
            claims = asks and room > 0 and bool(play.turns.ready(seen, ending))
        elif self.leads:
            todo = books.listed(seen) + sum(count for _, count in books.free)
            claims = asks and room > 0 and todo > 0
            late = any(until <= now for mine in books.assigned.values() for _, until in mine)
            plan = self._plan(max(0, todo - room)) if asks else None
            claims = claims or late or (plan is not None and todo > room and plan.next() is not None)
        else:
            claims = asks and ((room > 0 and bool(books.assigned.get(self.number))) or self.number not in books.rooms)
        renews = self.leads and asks and now - self.renewed_at >= LEASE_MS / 3000
        if not (ended or extends or claims or renews):
            return None

        def act() -> list[Part]:
            if ended:
                books.settle(self.number, len(ended))
                play.turns.end(ended if self.lane.strict else [])
            if extends:
                for lease in self.leases:
                    lease[1] = now
            if not asks:
                return []
            return self._claim(room, seen, plan)

        return act

    def _plan(self, todo: int) -> Plan:
        ttl_s = 2 * idle_poll_s(len(self.play.books.rooms), self.lane.max_poll_s) + TTL_MARGIN_S
        awake, now = self.attention.awake(self.play.now), self.play.now
        short, crowded = self.attention.is_short(now), self.crowding.at(now) > CROWDED
        return Plan(self.play.books, self.number, awake, todo, short=short, crowded=crowded, ttl_s=ttl_s)

    def _claim(self, room: int, seen: int, plan: Plan | None) -> list[Part]:
        play, books = self.play, self.play.books
        if self.leads:
            self.renewed_at = play.now
        if self.lane.strict:
            got = play.turns.claim(self.number, room, seen) if room > 0 else []
            self.others_wait = len(got) < room and play.turns.waits(seen)
            return got
        lane = self.lane
        want = self.prefetch.capacity(lane.lease_s, 1.0, self.mean_read_s) if lane.retries else lane.concurrency
        books.rooms[self.number] = want
        if not self.leads:
            return books.claim_assigned(self.number, room) if room > 0 else []
        books.take_back(play.now)
        got = books.claim_free(self.number, room, seen) if room > 0 else []
        if plan is not None:
            given = books.assign(plan, seen, play.now)
            for other in given if lane.hints_all else ():
                play.workers[other].hinted()
            self.attention.gave(play.now, behind=plan.behind)
        return got

    def _after(self, ended: list[int]) -> None:
        """Take note of what may be deleted."""
        if not ended:
            return
        self.play.counts["ended"] += len(ended)
        self.settled += 1
        left = len(ended)
        for lease in self.leases:
            used = min(lease[0], left)
            lease[0] -= used
            left -= round(used)
        self.leases = [lease for lease in self.leases if lease[0] > 0]
        if not self.to_delete:
            self.delete_at = self.play.now + DELETE_AFTER_S + UPKEEP_S
        self.to_delete += len(set(ended))

    def _reading_s(self, count: int) -> float:
        """Return how long it takes to read so many objects, some at a time."""
        ends = [0.0] * min(count, READERS)
        for _ in range(count):
            each = self.play.takes(self.lane.latency.get / 2) + self.play.takes(self.lane.latency.get / 2)
            heapq.heapreplace(ends, ends[0] + each)
        return max(ends, default=0.0)

    def _read(self, got: list[Part]) -> Steps:
        """Read the objects that were claimed, some at a time; one that was read in part lately is in hand."""
        if not got:
            return
        asked = 0
        for number, count in got:
            if number in self.cached:
                continue
            asked += 1
            if count < self.play.books.size(number):
                self.cached[number] = None
                if len(self.cached) > CACHED_OBJECTS:
                    self.cached.popitem(last=False)
        self.play.counts["objects"] += asked
        seconds = self._reading_s(asked)
        if seconds:
            yield seconds
        numbers = [number for number, count in got for _ in range(count)]
        if len(got) >= MEASURED_FROM and asked:
            each = seconds / len(numbers)
            self.mean_read_s = self.mean_read_s + 0.2 * (each - self.mean_read_s) if self.mean_read_s else each
        self.leases.append([float(len(numbers)), self.play.now])
        self.waiting += numbers
