"""How messages come to be claimed, and claims to an end without an outcome: publish, claim, rescue, reset."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

from s3queue.core.draft import Draft
from s3queue.core.keys import bound_name, count_of, group_of, rank_in, visible_at_ms_of
from s3queue.core.ledger import Part, Rescue, Ticket
from s3queue.core.ordering import CROWD, Turns, make_way, share

RESCUE_MARGIN_MS = 2_000
"""How long past its end a lease is left alone: as much as clocks may differ."""
CURSOR_MARGIN_MS = 3_000
"""How far the cursor trails the time of listing: more than a PUT takes plus what clocks differ, as keys are made before
they land."""
SUSPECT_GROUP = 16
"""How many suspects are claimed together at first; see :func:`_suspect_limit`."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a LIST of one rank showed: every valid name after some cursor, in order; ``listed_at_ms`` is when it began.

    ``first_page``: the last name of its first page, if it took several. ``whole``: it was not cut off behind its last name.
    """

    rank: int
    names: tuple[str, ...]
    listed_at_ms: int
    first_page: str = ""
    whole: bool = False

    def visible(self, now: int) -> tuple[str, ...]:
        """Return the names whose time has come."""
        return self.names[: bisect_left(self.names, bound_name(self.rank, now + 1))]

    def is_whole_before(self, name: str) -> bool:
        """Whether it shows all that was there when the object of this name, which it shows, was named.

        A page is of one moment, several are not: what is behind the first may have been enqueued after that was listed,
        unless it is older by a margin.
        """
        if not self.first_page or name <= self.first_page:
            return True
        return visible_at_ms_of(name) <= self.listed_at_ms - CURSOR_MARGIN_MS


@dataclass(frozen=True, slots=True)
class Claim:
    """Take up to ``room`` messages: available tickets first, then what the listings show, the urgent ranks first.

    Replies with :class:`Claimed`. At most ``max_objects`` are touched; names in ``skip`` are left to others.
    ``suspects``: whether messages whose claim ran out may be taken (a worker holds one group of them at a time, as one
    of them may kill it). Who ``follows`` takes only what is assigned to it while a coordinator other than its own
    process (``instance``) has the lead, and leaves listings and rescues to that; anybody else takes what is free. What
    it would hold (``capacity``) is written down for the coordinator, with the next commit or, if it ``joins``, at once.
    ``newest``: of a listing the newest objects first. Of an ordered group it takes one message at most, the one whose turn it is
    (:mod:`.ordering`).
    """

    worker: str
    room: int
    lease_ms: int
    listings: tuple[Listing, ...] = ()
    skip: frozenset[str] = frozenset()
    suspects: bool = True
    max_attempts: int = 3
    max_objects: int = 1000
    instance: str = ""
    follows: bool = False
    joins: bool = False
    capacity: int = 0
    newest: bool = False

    def apply(self, draft: Draft, now: int) -> Claimed:
        """Rescue what stalled, then take; the cursor moves over what is ticketed."""
        if draft.paused:
            return Claimed(paused=True)
        led = self._is_led(draft, now)
        rescued = () if led else rescue(draft, now)
        if self.follows:
            draft.dirty = draft.dirty or (self.joins and self.worker not in draft.rooms)
            held = sum(ticket.size for ticket in draft.tickets.values() if ticket.worker == self.worker)
            draft.rooms[self.worker] = self.capacity or self.room + held
        taking = _Taking(self, draft, now)
        current = () if led else (listing for listing in self.listings if draft.is_current(listing.listed_at_ms))
        listings = {listing.rank: listing for listing in current}
        free = (
            [ticket for ticket in draft.tickets.values() if self._may_take(ticket, now, led=led)] if self.room else []
        )
        ranks = {part_rank for ticket in free for part_rank in {rank_in(part.name) for part in ticket.parts}}
        for rank in sorted(ranks | listings.keys()):
            taking.from_available(rank, free)
            if rank in listings:
                taking.from_listing(listings[rank])
        tickets = taking.tickets()
        for listing in listings.values():
            make_way(draft, listing.rank, filter(listing.is_whole_before, listing.visible(now)), now)
            advance_cursor(draft, listing)
        return Claimed(tickets, rescued, full=taking.room <= 0, led=led, waits=taking.waits)

    def _is_led(self, draft: Draft, now: int) -> bool:
        leader = draft.leader
        return self.follows and leader is not None and leader.until_ms > now and leader.instance != self.instance

    def _may_take(self, ticket: Ticket, now: int, *, led: bool) -> bool:
        if ticket.claimed or ticket.assigned_to == self.worker:
            return not ticket.claimed
        return not led and ticket.assigned_until_ms <= now


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim got: tickets that hold the caller's token; and the tickets that were rescued on the way.

    ``full``: there was no room for more, so there may be more. ``led``: only what is assigned was to be had.
    ``waits``: messages wait for others of their group.
    """

    tickets: tuple[Ticket, ...] = ()
    rescued: tuple[Ticket, ...] = ()
    paused: bool = False
    full: bool = False
    led: bool = False
    waits: bool = False


class _Taking:
    """The state of one claim: what has been taken and how much room is left."""

    def __init__(self, claim: Claim, draft: Draft, now: int) -> None:
        self.claim, self.draft, self.now = claim, draft, now
        self.room = claim.room
        self.objects = claim.max_objects
        self.taken: list[Part] = []
        self.suspects: list[Part] = []
        self.suspect_level = 0
        self.suspect_room = 0
        self.turns = Turns(draft.tickets.values(), draft.held_back)
        self.waits = False

    def from_available(self, rank: int, free: list[Ticket]) -> None:
        for ticket in free:
            current = self.draft.tickets.get(ticket.id)
            if current is None or self.room <= 0:
                continue
            left: list[Part] = []
            for part in current.parts:
                fits = rank_in(part.name) == rank and part.name not in self.claim.skip
                fits = fits and visible_at_ms_of(part.name) <= self.now
                rest = self._take(part) if fits and self.turns.may_take(part) else part
                self.waits = self.waits or (rest is not None and self.turns.is_busy(group_of(part.name)))
                if rest is not None:
                    left.append(rest)
            if len(left) != len(current.parts) or any(a is not b for a, b in zip(left, current.parts, strict=True)):
                self.draft.put(replace(current, parts=tuple(left)))

    def _take(self, part: Part) -> Part | None:
        """Take what there is room for of ``part`` and return the rest."""
        room = self._suspect_room(part) if part.rescues else self.room
        if room <= 0:
            return part
        mine, rest = share(part, room)
        self._use(mine)
        if part.rescues:
            self.suspect_room -= mine.size
            self.suspects.append(mine)
        else:
            self.taken.append(mine)
        return rest

    def _use(self, part: Part) -> None:
        # In no ticket until the end: it must not be taken for new, or for settled, meanwhile.
        self.draft.pin(part.name, 1)
        self.turns.close(part.name)
        self.objects -= 1
        self.room = self.room - part.size if self.objects > 0 else 0

    def _suspect_room(self, part: Part) -> int:
        level = len(part.rescues)
        if self.claim.suspects and not self.suspect_level:
            self.suspect_level = level
            self.suspect_room = _suspect_limit(level, self.claim.max_attempts)
        return min(self.room, self.suspect_room) if level == self.suspect_level else 0

    def from_listing(self, listing: Listing) -> None:
        draft, cursor = self.draft, self.draft.cursors.get(listing.rank, "")
        names = listing.visible(self.now)
        if self.claim.newest and len(draft.settled) < CROWD:
            names = names[::-1]
        for name in names:
            if self.room <= 0:
                return
            if name <= cursor or draft.known(name):
                continue
            if not self._has_turn(name, listing):
                continue
            if name in self.claim.skip:
                self.turns.close(name)
                continue
            count = count_of(name)
            draft.count("ticketed", count)
            draft.seen(name, self.now)
            mine, rest = share(Part(name, ((0, count),)), self.room)
            self._use(mine)
            self.taken.append(mine)
            self.waits = self.waits or (rest is not None and self.turns.is_busy(group_of(name)))
            draft.available([rest] if rest else [])

    def _has_turn(self, name: str, listing: Listing) -> bool:
        """Whether an ordered message may be taken from the listing; any other may."""
        group = group_of(name)
        if not group or self.turns.next(group) == (name, 0):
            return not self.turns.is_busy(group)
        self.waits = self.waits or self.turns.is_busy(group)
        return self.turns.may_list(name) and listing.is_whole_before(name)

    def tickets(self) -> tuple[Ticket, ...]:
        made = []
        for parts in (self.taken, self.suspects):
            if parts:
                ticket = Ticket(
                    self.draft.new_ticket_id(),
                    tuple(parts),
                    worker=self.claim.worker,
                    token=self.draft.revision,
                    claimed_at_ms=self.now,
                    expires_at_ms=self.now + self.claim.lease_ms,
                )
                self.draft.put(ticket)
                self.draft.count("claimed", ticket.size)
                for part in parts:
                    self.draft.pin(part.name, -1)
                made.append(ticket)
        return tuple(made)


def _suspect_limit(rescues: int, max_attempts: int) -> int:
    """Return how many messages that lost a worker ``rescues`` times are claimed together.

    One of them may have killed it. While one more lost claim still leaves each an attempt of its own, they are tried in
    groups, then one by one: what kills workers meets ``max_attempts`` alone, and its neighbours live.
    """
    return SUSPECT_GROUP if rescues + 1 < max_attempts else 1


def advance_cursor(draft: Draft, listing: Listing) -> None:
    """Move the cursor as far as there is nothing but names that are known, and not into the margin before the listing.

    What is settled may be deleted, and so in no listing any more: the cursor passes it all the same, where the listing
    shows nothing unknown before it. This alone is no reason to write: the cursor goes with the next commit that has one.
    """
    rank, cursor = listing.rank, draft.cursors.get(listing.rank, "")
    end = bound_name(rank, listing.listed_at_ms - CURSOR_MARGIN_MS)
    end = min([end, *(name for name in draft.expected if rank_in(name) == rank)])
    passed = cursor
    for name in listing.names:
        if name >= end:
            break
        if name > cursor:
            if not draft.known(name):
                end = name
                break
            passed = name
    else:
        end = end if listing.whole else passed
    settled = (name for name in draft.settled if rank_in(name) == rank and passed < name < end)
    passed = max(settled, default=passed)
    if passed:
        draft.cursors[rank] = passed


def rescue(draft: Draft, now: int, only: frozenset[str] | None = None) -> tuple[Ticket, ...]:
    """Make stalled tickets available again (or, for an operator, the tickets in ``only``); return them as they were."""
    stalled = [
        ticket
        for ticket in draft.tickets.values()
        if ticket.claimed and (ticket.expires_at_ms + RESCUE_MARGIN_MS <= now if only is None else ticket.id in only)
    ]
    for ticket in stalled:
        lost = Rescue(ticket.worker, ticket.claimed_at_ms, now)
        draft.drop(ticket.id)
        draft.available([replace(part, rescues=(*part.rescues, lost)) for part in ticket.parts])
        draft.count("rescued", ticket.size)
    return tuple(stalled)


@dataclass(frozen=True, slots=True)
class Reset:
    """Take these tickets from their holders, whose tokens are void from then on. Replies with the tickets taken.

    ``lapsed``: only those whose lease has ended.
    """

    ticket_ids: frozenset[str]
    lapsed: bool = False

    def apply(self, draft: Draft, now: int) -> tuple[Ticket, ...]:
        """Rescue them, stalled or not."""
        wanted = self.ticket_ids
        if self.lapsed:
            ended = {ticket.id for ticket in draft.tickets.values() if ticket.claimed and ticket.expires_at_ms <= now}
            wanted = wanted & ended
        return rescue(draft, now, wanted)


@dataclass(frozen=True, slots=True)
class Swept:
    """Note that a sweep was made, so that others need not; with what it listed, rescue and move the cursor."""

    listings: tuple[Listing, ...] = ()

    def apply(self, draft: Draft, now: int) -> tuple[Ticket, ...]:
        """Rescue what stalled; reply with it as it was."""
        rescued = rescue(draft, now)
        for listing in self.listings:
            advance_cursor(draft, listing)
        draft.swept_at_ms = now
        draft.dirty = True
        return rescued
