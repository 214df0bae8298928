"""From the engine's books to what an operator sees: pure functions of ledgers, names and heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from s3queue.clock import to_datetime
from s3queue.core.keys import count_of, parse_letter, visible_at_ms_of
from s3queue.core.ledger import Leader, Ledger, Ticket
from s3queue.core.presence import Presence
from s3queue_admin.snapshot import (
    CoordinatorView,
    LaneView,
    Span,
    TicketState,
    TicketView,
    WorkerState,
    WorkerView,
)

LATE_MS = 5_000
"""How long after it is due a heartbeat is late."""


@dataclass(frozen=True, slots=True)
class Books:
    """A lane's ledger as it was read, and how many bytes it had; or why it could not be."""

    number: int
    key: str
    ledger: Ledger = field(default_factory=Ledger)
    bytes: int = 0
    error: str = ""


def show_lane(books: Books, now: int) -> LaneView:
    """Return the lane as an operator sees it at ``now`` (store time in ms)."""
    tickets = tuple(_ticket(books.number, ticket, now) for ticket in books.ledger.tickets.values())
    coordinator = _coordinator(books.ledger.leader, now)
    return LaneView(books.number, books.key, books.ledger, coordinator, tickets, books.bytes, books.error)


def _coordinator(leader: Leader | None, now: int) -> CoordinatorView | None:
    if leader is None:
        return None
    return CoordinatorView(leader.worker, leader.epoch, _at(leader.until_ms), leader.until_ms > now, leader.fleet)


def _ticket(lane: int, ticket: Ticket, now: int) -> TicketView:
    return TicketView(
        lane,
        ticket.id,
        _state(ticket, now),
        ticket.size,
        ticket.worker or ticket.assigned_to,
        ticket.token,
        _at(ticket.claimed_at_ms),
        _at(ticket.expires_at_ms),
        _at(ticket.assigned_until_ms),
        ticket.epoch,
        max((len(part.rescues) for part in ticket.parts), default=0),
        tuple(part.name for part in ticket.parts),
    )


def _state(ticket: Ticket, now: int) -> TicketState:
    if ticket.claimed:
        return "stalled" if ticket.expires_at_ms < now else "claimed"
    return "assigned" if ticket.assigned_to and ticket.assigned_until_ms > now else "available"


def show_workers(entries: Iterable[Presence], books: Sequence[Books], now: int) -> tuple[WorkerView, ...]:
    """Return every worker of the registry, and those that only a ledger still knows, by id."""
    claimed, leads = _claimed(books), _leading(books, now)
    known = {entry.worker: entry for entry in entries}
    found = []
    for name in sorted({*known, *claimed}):
        entry = known.get(name)
        beat_at = due_at = None
        state: WorkerState = "unlisted"
        if entry is not None:
            due_ms = entry.beat_at_ms + entry.interval_ms
            state = "dead" if entry.is_dead(now) else "late" if due_ms + LATE_MS < now else "alive"
            beat_at, due_at = _at(entry.beat_at_ms), _at(due_ms)
        found.append(WorkerView(name, state, entry, beat_at, due_at, claimed.get(name, 0), leads.get(name, ())))
    return tuple(found)


def _claimed(books: Sequence[Books]) -> dict[str, int]:
    claimed: dict[str, int] = {}
    for each in books:
        for ticket in each.ledger.tickets.values():
            if ticket.claimed:
                claimed[ticket.worker] = claimed.get(ticket.worker, 0) + ticket.size
    return claimed


def _leading(books: Sequence[Books], now: int) -> dict[str, tuple[int, ...]]:
    leads: dict[str, tuple[int, ...]] = {}
    for each in books:
        leader = each.ledger.led_at(now)
        if leader is not None:
            leads[leader.worker] = (*leads.get(leader.worker, ()), each.number)
    return leads


def spans(
    books: Sequence[Books], inbox: Mapping[int, Sequence[str]], letters: Sequence[str], now: int
) -> dict[str, Span]:
    """Return count, oldest and newest by state: when visible (pending, scheduled), claimed (processing), dead."""
    ranges = {state: _Range() for state in ("pending", "scheduled", "processing", "stalled", "dead")}
    for each in books:
        held = each.ledger.held_names() | each.ledger.settled.keys()
        for name in inbox.get(each.number, ()):
            if name not in held:
                at_ms = visible_at_ms_of(name)
                ranges["pending" if at_ms <= now else "scheduled"].add(at_ms, count_of(name))
        for state, at_ms, count in _in_tickets(each.ledger, now):
            ranges[state].add(at_ms, count)
    for letter in letters:
        parsed = parse_letter(letter)
        if parsed is not None:
            ranges["dead"].add(parsed[0], 1)
    return {state: span.close() for state, span in ranges.items()}


def _in_tickets(ledger: Ledger, now: int) -> Iterator[tuple[str, int, int]]:
    for ticket in ledger.tickets.values():
        if not ticket.claimed:
            for part in ticket.parts:
                at_ms = visible_at_ms_of(part.name)
                yield "pending" if at_ms <= now else "scheduled", at_ms, part.size
            continue
        yield "processing", ticket.claimed_at_ms, ticket.size
        if ticket.expires_at_ms < now:
            yield "stalled", ticket.claimed_at_ms, ticket.size


@dataclass(slots=True)
class _Range:
    count: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0

    def add(self, at_ms: int, count: int) -> None:
        self.oldest_ms = min(self.oldest_ms, at_ms) if self.count else at_ms
        self.newest_ms = max(self.newest_ms, at_ms)
        self.count += count

    def close(self) -> Span:
        return Span(self.count, _at(self.oldest_ms), _at(self.newest_ms))


def _at(at_ms: int) -> datetime | None:
    return to_datetime(at_ms) if at_ms else None
