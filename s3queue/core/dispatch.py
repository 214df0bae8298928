"""Who coordinates a lane, and how the coordinator hands out what others may claim.

The coordinator is a lease inside the ledger, so that whoever proposes something as coordinator is judged in the same
commit. It is an economy and nothing more: two that take themselves for it only propose, and a claim is a claim whoever
published the ticket.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from s3queue.core.claiming import RESCUE_MARGIN_MS, Listing
from s3queue.core.draft import Draft
from s3queue.core.keys import count_of, visible_at_ms_of
from s3queue.core.ledger import Leader, Part, Ticket, held_by, split

MAX_PARTS = 3_000
"""How many shares of objects a ledger may hold before no more are assigned: each commit writes them all."""
CALLED_WITH = 8
"""How many messages a worker that has to be woken is given at first: they wait for it, the others need not."""
AWAKE_TTL_MS = 10_000
"""How long an assignment to a worker that is awake lasts."""


@dataclass(frozen=True, slots=True)
class Lead:
    """Become or stay the lane's coordinator for ``lease_ms``; replies with whoever is it after that.

    A term is renewed once a third of it is over, earlier if the commit is made anyway. ``instance`` names the process:
    two may share a worker id. A term that has run out is over, even for who held it: the next has a higher epoch.
    """

    worker: str
    instance: str
    lease_ms: int

    def apply(self, draft: Draft, now: int) -> Leader:
        """Take the lead if nobody has it, or renew it."""
        leader, fleet = draft.leader, len(draft.rooms)
        if leader is not None and leader.until_ms > now and leader.instance == self.instance:
            if leader.until_ms - now < self.lease_ms * 2 // 3 or draft.dirty:
                leader = replace(leader, until_ms=now + self.lease_ms, fleet=fleet)
                draft.lead(leader)
            return leader
        mine = leader is not None and leader.instance == self.instance
        margin_ms = 0 if mine else RESCUE_MARGIN_MS
        if leader is not None and leader.until_ms and leader.until_ms + margin_ms > now:
            return leader
        elected = Leader(self.worker, self.instance, (leader.epoch if leader else 0) + 1, now + self.lease_ms, fleet)
        draft.lead(elected)
        return elected


@dataclass(frozen=True, slots=True)
class Leave:
    """Say that a worker takes no more: its lead ends, and what is assigned to it is anybody's.

    With ``instance`` '' a coordinator says it of a dead one.
    """

    worker: str
    instance: str = ""

    def apply(self, draft: Draft, now: int) -> None:  # noqa: ARG002 - the face of every request
        """End the term and the assignments."""
        if draft.leader is not None and draft.leader.instance == self.instance and draft.leader.until_ms:
            draft.lead(replace(draft.leader, until_ms=0))
        for ticket in list(draft.tickets.values()):
            if ticket.assigned_to == self.worker:
                draft.put(unassigned(ticket))
        if draft.rooms.pop(self.worker, None) is not None:
            draft.dirty = True


@dataclass(frozen=True, slots=True)
class Published:
    """What a coordinator's proposal came to: tickets assigned.

    ``refused``: somebody else leads, or nobody does. ``behind``: more waited than those awake do in half a second.
    """

    tickets: tuple[Ticket, ...] = ()
    refused: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """Assign what is free to workers with room: available tickets first, then what the listings show.

    **Packed**: those who are ``awake``, the busiest first, are given what there is, half of what they can hold at first,
    so that idle workers need not write, and nothing waits for them that others do sooner. Sleepers are *called*, with a
    few messages each and no more than are needed, if more waits than those awake do in a second, or more than half of
    that for some time (``short``). Where races are lost (``crowded``) one is filled before the next is given anything, as
    fewer writers lose fewer. The coordinator itself takes by :class:`Claim` and comes before all. Assignments end after
    ``ttl_ms``, to those awake sooner; who let one end is not given another until it says again that it is there.
    Replies with :class:`Published`.
    """

    worker: str
    instance: str
    epoch: int
    ttl_ms: int
    listings: tuple[Listing, ...] = ()
    skip: frozenset[str] = frozenset()
    awake: tuple[str, ...] = ()
    short: bool = False
    crowded: bool = False

    def apply(self, draft: Draft, now: int) -> Published:
        """Make tickets of it; refused in whole if the term is over."""
        leader = draft.leader
        if leader is None or (leader.instance, leader.epoch) != (self.instance, self.epoch) or leader.until_ms <= now:
            return Published(refused=True)
        if draft.paused:
            return Published()
        self._take_back(draft, now)
        listed = self._listed(draft, now)
        free = sum(ticket.size for ticket in draft.tickets.values() if _is_free(ticket, now))
        rooms = _Rooms(self, draft, free + sum(part.size for part in listed))
        made = [*self._assign_free(draft, rooms, now), *self._assign_listed(draft, listed, rooms, now)]
        return Published(tuple(made), behind=rooms.behind)

    @staticmethod
    def _take_back(draft: Draft, now: int) -> None:
        """End the assignments that nobody claimed in time."""
        for ticket in list(draft.tickets.values()):
            if ticket.assigned_to and ticket.assigned_until_ms <= now:
                draft.rooms.pop(ticket.assigned_to, None)
                draft.put(unassigned(ticket))

    def _assign_free(self, draft: Draft, rooms: _Rooms, now: int) -> list[Ticket]:
        made = []
        for ticket in list(draft.tickets.values()):
            left = list(ticket.parts) if _is_free(ticket, now) else []
            while left and (worker := rooms.next()) is not None:
                mine: list[Part] = []
                while left and rooms.left(worker) > 0:
                    part, rest = split(left[0], rooms.left(worker))
                    left[:1] = [rest] if rest else []
                    rooms.use(worker, part.size)
                    mine.append(part)
                draft.put(replace(ticket, parts=tuple(left)))
                made.append(self._assigned(Ticket(draft.new_ticket_id(), tuple(mine)), worker, now))
                draft.put(made[-1])
        return made

    def _assign_listed(self, draft: Draft, listed: list[Part], rooms: _Rooms, now: int) -> list[Ticket]:
        parts: dict[str, list[Part]] = {}
        room = MAX_PARTS - sum(len(ticket.parts) for ticket in draft.tickets.values())
        for part in listed[: max(room, 0)]:
            left: Part | None = part
            while left is not None:
                worker = rooms.next()
                if worker is None:  # the cursor may pass an object only if it is ticketed whole
                    draft.available([left] if left is not part else [])
                    break
                mine, left = split(left, rooms.left(worker))
                rooms.use(worker, mine.size)
                parts.setdefault(worker, []).append(mine)
            if left is part:
                break
            draft.pin(part.name, 1)
            draft.count("ticketed", part.size)
            draft.seen(part.name, now)
        made = []
        for worker, shares in parts.items():
            ticket = self._assigned(Ticket(draft.new_ticket_id(), tuple(shares)), worker, now)
            draft.put(ticket)
            made.append(ticket)
        for name in dict.fromkeys(part.name for shares in parts.values() for part in shares):
            draft.pin(name, -1)
        return made

    def _listed(self, draft: Draft, now: int) -> list[Part]:
        """Return what the listings show that nobody has, whole objects, urgent ranks first."""
        found = []
        for listing in sorted(self.listings, key=lambda listing: listing.rank):
            cursor = draft.cursors.get(listing.rank, "")
            for name in listing.names if draft.is_current(listing.listed_at_ms) else ():
                if visible_at_ms_of(name) > now:
                    break
                if name > cursor and name not in self.skip and not draft.known(name):
                    found.append(Part(name, ((0, count_of(name)),)))
        return found

    def _assigned(self, ticket: Ticket, worker: str, now: int) -> Ticket:
        ttl_ms = min(self.ttl_ms, AWAKE_TTL_MS) if worker in self.awake else self.ttl_ms
        return replace(ticket, assigned_to=worker, assigned_until_ms=now + ttl_ms, epoch=self.epoch)


class _Rooms:
    """Whom to give how much: the called a little; those awake, the busy ones first, half of what they hold, then all of it.

    ``todo``: how many messages are still to be given out.
    """

    def __init__(self, publish: Publish, draft: Draft, todo: int) -> None:
        self.todo = todo
        self._rooms = {worker: room for worker, room in draft.rooms.items() if worker != publish.worker}
        self._held = held_by(draft.tickets.values())
        self._assigned: dict[str, int] = {}
        for ticket in draft.tickets.values():
            if ticket.assigned_to:
                self._assigned[ticket.assigned_to] = self._assigned.get(ticket.assigned_to, 0) + ticket.size
        self._awake = [worker for worker in publish.awake if worker in self._rooms]
        waiting = todo + sum(self._assigned.get(worker, 0) for worker in self._awake)
        second = sum(draft.rooms.get(worker, 0) for worker in (publish.worker, *self._awake))
        self.behind = waiting > second // 2
        called = self._call(waiting - second // 2) if publish.short or waiting > second else []
        busy = sorted(self._awake, key=lambda worker: -self._held.get(worker, 0))
        plan = [(worker, min(self._held.get(worker, 0) + CALLED_WITH, self._rooms[worker])) for worker in called]
        plan += [(worker, self._rooms[worker] // 2) for worker in busy if not publish.crowded]
        plan += [(worker, self._rooms[worker]) for worker in busy]
        self._plan = plan[::-1]

    def _call(self, short: int) -> list[str]:
        """Return which sleepers to wake for so many messages, beside those that were called before."""
        left = {worker: room - self._held.get(worker, 0) for worker, room in self._rooms.items()}
        asleep = [worker for worker in left if worker not in self._awake]
        asleep.sort(key=lambda worker: (-left[worker], worker))
        short -= sum(left[worker] for worker in asleep if worker in self._assigned)
        called = []
        for worker in asleep:
            if short > 0 and left[worker] > 0 and worker not in self._assigned:
                short -= left[worker]
                called.append(worker)
        return called

    def next(self) -> str | None:
        """Return the worker to fill next; None if all are full that are to be given something."""
        while self._plan and self.left(self._plan[-1][0]) <= 0:
            self._plan.pop()
        return self._plan[-1][0] if self._plan else None

    def left(self, worker: str) -> int:
        """Return how much of its part in the plan the worker that is filled now has not been given."""
        return self._plan[-1][1] - self._held.get(worker, 0)

    def use(self, worker: str, count: int) -> None:
        self._held[worker] = self._held.get(worker, 0) + count
        self.todo -= count


def _is_free(ticket: Ticket, now: int) -> bool:
    if ticket.claimed or ticket.assigned_to:
        return False
    return all(visible_at_ms_of(part.name) <= now for part in ticket.parts)


def unassigned(ticket: Ticket) -> Ticket:
    """Return the ticket as it is when nobody in particular is meant to claim it."""
    return replace(ticket, assigned_to="", assigned_until_ms=0, epoch=0)
