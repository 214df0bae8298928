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
    """What a coordinator's proposal came to: tickets assigned. ``refused``: somebody else leads, or nobody does."""

    tickets: tuple[Ticket, ...] = ()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """Assign what is free to workers with room: available tickets first, then what the listings show.

    **Packed**: who holds messages gets more before anybody else is woken, so that idle workers need not write. The
    coordinator itself takes by :class:`Claim` and comes before all. Assignments end after ``ttl_ms``; who let one end is
    not given another until it says again that it is there. Replies with :class:`Published`.
    """

    worker: str
    instance: str
    epoch: int
    ttl_ms: int
    listings: tuple[Listing, ...] = ()
    skip: frozenset[str] = frozenset()

    def apply(self, draft: Draft, now: int) -> Published:
        """Make tickets of it; refused in whole if the term is over."""
        leader = draft.leader
        if leader is None or (leader.instance, leader.epoch) != (self.instance, self.epoch) or leader.until_ms <= now:
            return Published(refused=True)
        if draft.paused:
            return Published()
        self._take_back(draft, now)
        rooms = _Rooms(draft, besides=self.worker)
        made = [*self._assign_free(draft, rooms, now), *self._assign_listed(draft, rooms, now)]
        return Published(tuple(made))

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
            left = [] if ticket.claimed or ticket.assigned_to else list(ticket.parts)
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

    def _assign_listed(self, draft: Draft, rooms: _Rooms, now: int) -> list[Ticket]:
        parts: dict[str, list[Part]] = {}
        room = MAX_PARTS - sum(len(ticket.parts) for ticket in draft.tickets.values())
        for part in self._listed(draft, now)[: max(room, 0)]:
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
        return replace(ticket, assigned_to=worker, assigned_until_ms=now + self.ttl_ms, epoch=self.epoch)


class _Rooms:
    """How much each worker can be given, the busy ones first."""

    def __init__(self, draft: Draft, besides: str) -> None:
        held = held_by(draft.tickets.values())
        self._left = {worker: room - held.get(worker, 0) for worker, room in draft.rooms.items() if worker != besides}
        self._order = sorted(self._left, key=lambda worker: (-held.get(worker, 0), worker), reverse=True)

    def next(self) -> str | None:
        """Return the worker to fill next; None if all are full."""
        while self._order and self._left[self._order[-1]] <= 0:
            self._order.pop()
        return self._order[-1] if self._order else None

    def left(self, worker: str) -> int:
        return self._left[worker]

    def use(self, worker: str, count: int) -> None:
        self._left[worker] -= count


def unassigned(ticket: Ticket) -> Ticket:
    """Return the ticket as it is when nobody in particular is meant to claim it."""
    return replace(ticket, assigned_to="", assigned_until_ms=0, epoch=0)
