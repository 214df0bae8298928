"""The books of a lane while it is played: who holds and is assigned how much, what is left, whose turn it is; counts alone.

What :mod:`s3queue.core` decides on ledgers is decided here on numbers, by the same rules and constants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from s3queue.core.dispatch import AWAKE_TTL_MS, CALLED_WITH
from s3queue.protocol.attention import AWAKE_S, PATIENCE_S
from s3queue.protocol.search import MAX_OBJECTS

Part = tuple[int, int]
"""A share of an object: its number, and how many of its messages."""


@dataclass(slots=True)
class Books:
    """A ledger in numbers. Objects are numbered as they come; number ``k`` has ``sizes(k)`` messages.

    ``version`` grows with each commit. Objects below ``taken`` are ticketed; ``free`` are shares that nobody has.
    ``rooms``: what each worker would hold; ``traces``: how often each has claimed or settled something.
    """

    batch: float
    called_with: int = CALLED_WITH
    version: int = 0
    taken: int = 0
    deleted: int = 0
    free: list[Part] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    rooms: dict[int, int] = field(default_factory=dict)
    traces: dict[int, int] = field(default_factory=dict)
    assigned: dict[int, list[tuple[Part, float]]] = field(default_factory=dict)

    def size(self, number: int) -> int:
        """Return how many messages an object has: ``batch``, which is 1 or more, on average."""
        return int((number + 1) * self.batch) - int(number * self.batch)

    def listed(self, seen: int) -> int:
        """Return how many messages a listing shows of which nobody has taken note."""
        return max(0, int(seen * self.batch) - int(self.taken * self.batch))

    def on_hand(self, worker: int) -> int:
        """Return how many messages a worker holds or is assigned."""
        return self.held.get(worker, 0) + sum(part[1] for part, _ in self.assigned.get(worker, ()))

    def parts(self) -> int:
        """Return how many shares are assigned or free."""
        return len(self.free) + sum(len(mine) for mine in self.assigned.values())

    def settle(self, worker: int, count: int) -> None:
        """Record that a worker has ended so many messages."""
        self.held[worker] = self.held.get(worker, 0) - count
        self._trace(worker)

    def claim_assigned(self, worker: int, room: int) -> list[Part]:
        """Let a worker have up to ``room`` messages of those assigned to it."""
        mine, left = self.assigned.pop(worker, []), []
        got: list[Part] = []
        for (number, count), until in mine:
            if room > 0 and len(got) < MAX_OBJECTS:
                got.append((number, min(count, room)))
                left += [((number, count - room), until)] if count > room else []
                room -= min(count, room)
            else:
                left.append(((number, count), until))
        if left:
            self.assigned[worker] = left
        return self._hold(worker, got)

    def claim_free(self, worker: int, room: int, seen: int) -> list[Part]:
        """Let a worker have up to ``room`` messages that nobody has, those that a listing showed last."""
        got: list[Part] = []
        for number, count in self._unheld(seen, room):
            got.append((number, min(count, room)))
            if count > room:
                self.free.insert(0, (number, count - room))
            room -= min(count, room)
            if room <= 0 or len(got) >= MAX_OBJECTS:
                break
        return self._hold(worker, got)

    def _unheld(self, seen: int, room: int) -> Iterator[Part]:
        """Yield shares as they are taken: the free ones, then new objects."""
        while room > 0 and self.free:
            yield self.free.pop(0)
        while room > 0 and self.taken < seen:
            self.taken += 1
            yield self.taken - 1, self.size(self.taken - 1)

    def _hold(self, worker: int, got: list[Part]) -> list[Part]:
        if got:
            self.held[worker] = self.held.get(worker, 0) + sum(count for _, count in got)
            self._trace(worker)
        return got

    def _trace(self, worker: int) -> None:
        self.traces[worker] = self.traces.get(worker, 0) + 1

    def take_back(self, now: float) -> bool:
        """End the assignments that nobody claimed in time; return whether there were some."""
        late = [worker for worker, mine in self.assigned.items() if any(until <= now for _, until in mine)]
        for worker in late:
            self.free += [part for part, _ in self.assigned.pop(worker)]
            self.rooms.pop(worker, None)
        return bool(late)

    def assign(self, plan: Plan, seen: int, now: float) -> list[int]:
        """Give what nobody has to the workers of a plan; return who was given something."""
        given: dict[int, None] = {}
        while (place := plan.next()) is not None:
            worker, room = place
            part = next(self._unheld(seen, 1), None)
            if part is None:
                break
            number, count = part
            mine = min(count, room)
            if count > mine:
                self.free.insert(0, (number, count - mine))
            plan.use(worker, mine)
            ttl_s = AWAKE_TTL_MS / 1000 if worker in plan.awake else plan.ttl_s
            self.assigned.setdefault(worker, []).append(((number, mine), now + ttl_s))
            given[worker] = None
        return list(given)


class Plan:
    """Whom a coordinator gives how much, as :class:`s3queue.core.dispatch.Publish` does.

    Those awake half of what they hold, then all of it; where races are lost (``crowded``) all at once, one after the other.
    Sleepers are given a little, and only if the others are behind.
    """

    def __init__(
        self,
        books: Books,
        leader: int,
        awake: list[int],
        todo: int,
        *,
        short: bool,
        ttl_s: float,
        crowded: bool = False,
    ) -> None:
        self._rooms = {worker: room for worker, room in books.rooms.items() if worker != leader}
        self.awake, self.ttl_s = [worker for worker in awake if worker in self._rooms], ttl_s
        self._on_hand = {worker: books.on_hand(worker) for worker in self._rooms}
        assigned = {worker: sum(part[1] for part, _ in mine) for worker, mine in books.assigned.items()}
        waiting = todo + sum(assigned.get(worker, 0) for worker in self.awake)
        second = sum(books.rooms.get(worker, 0) for worker in (leader, *self.awake))
        self.behind = waiting > second // 2
        called = self._call(waiting - second // 2, assigned) if short or waiting > second else []
        busy = sorted(self.awake, key=lambda worker: -self._on_hand[worker])
        plan = [(worker, min(self._on_hand[worker] + books.called_with, self._rooms[worker])) for worker in called]
        plan += [(worker, self._rooms[worker] // 2) for worker in busy if not crowded]
        plan += [(worker, self._rooms[worker]) for worker in busy]
        self._plan = plan[::-1]

    def _call(self, short: int, assigned: dict[int, int]) -> list[int]:
        left = {worker: room - self._on_hand[worker] for worker, room in self._rooms.items()}
        asleep = sorted((each for each in left if each not in self.awake), key=lambda each: (-left[each], each))
        short -= sum(left[each] for each in asleep if each in assigned)
        called = []
        for each in asleep:
            if short > 0 and left[each] > 0 and each not in assigned:
                short -= left[each]
                called.append(each)
        return called

    def next(self) -> tuple[int, int] | None:
        """Return who is to be given something next, and how much at most."""
        while self._plan and self._plan[-1][1] <= self._on_hand[self._plan[-1][0]]:
            self._plan.pop()
        return (self._plan[-1][0], self._plan[-1][1] - self._on_hand[self._plan[-1][0]]) if self._plan else None

    def use(self, worker: int, count: int) -> None:
        """Take note that a worker was given so many."""
        self._on_hand[worker] += count


class Attention:
    """Which followers look often, as a coordinator sees it: :class:`s3queue.protocol.attention.Attention` in numbers."""

    def __init__(self) -> None:
        self._traces: dict[int, int] = {}
        self._awake_at: dict[int, float] = {}
        self._short_since = inf

    def watch(self, books: Books, now: float) -> None:
        """Take note of who has claimed or settled something."""
        for worker, count in books.traces.items():
            if self._traces.get(worker, 0) != count:
                self._traces[worker], self._awake_at[worker] = count, now

    def awake(self, now: float) -> list[int]:
        """Return who is awake, who did something last first."""
        found = [worker for worker, at in self._awake_at.items() if now - at < AWAKE_S]
        return sorted(found, key=lambda worker: (-self._awake_at[worker], worker))

    def gave(self, now: float, *, behind: bool) -> None:
        """Take note of whether those who are awake are behind."""
        self._short_since = min(self._short_since, now) if behind else inf

    def is_short(self, now: float) -> bool:
        """Whether they have been for some time."""
        return now - self._short_since >= PATIENCE_S


class Turns:
    """The groups of an ordered lane, of each of which one message is held at most. Objects go round the groups."""

    def __init__(self, books: Books, groups: int) -> None:
        self._books, self.groups = books, groups
        self._at = {group: (group, 0) for group in range(groups)}
        self.busy: dict[int, int] = {}
        """Who holds a message of which group."""

    def ready(self, seen: int, ending: frozenset[int] = frozenset()) -> list[int]:
        """Return the groups that have a message to be had in a listing, in its order; ``ending`` are about to be free."""
        found = [
            (number, group)
            for group, (number, _) in self._at.items()
            if number < seen and (group not in self.busy or group in ending)
        ]
        return [group for _, group in sorted(found)]

    def waits(self, seen: int) -> bool:
        """Whether messages wait for others of their group."""
        return any(self._at[group][0] < seen for group in self.busy)

    def is_begun(self, group: int) -> bool:
        """Whether the group's next message is the rest of an object that a ticket has."""
        return self._at[group][1] > 0

    def claim(self, worker: int, room: int, seen: int) -> list[Part]:
        """Let a worker have the next message of up to ``room`` groups."""
        got: list[Part] = []
        for group in self.ready(seen)[:room]:
            number, index = self._at[group]
            last = index + 1 >= self._books.size(number)
            self._at[group] = (number + self.groups, 0) if last else (number, index + 1)
            self._books.taken += last
            self.busy[group] = worker
            got.append((number, 1))
        if got:
            self._books.held[worker] = self._books.held.get(worker, 0) + len(got)
        return got

    def end(self, numbers: list[int]) -> None:
        """Take note that messages of these objects have ended."""
        for number in numbers:
            self.busy.pop(number % self.groups, None)
