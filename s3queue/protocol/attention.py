"""Which followers look for assignments often, as their coordinator can tell from the ledgers that it sees anyway.

A follower that has just taken or settled something looks again within a moment; one that found nothing for long does so
ever more seldom. What is assigned to the latter waits until it wakes up.
"""

from __future__ import annotations

from collections.abc import Iterable

from s3queue.core.ledger import Ledger, Ticket

AWAKE_S = 3.0
"""How long after its last trace a follower counts as awake: by then its looks are about a second apart."""
PATIENCE_S = 1.0
"""How long messages wait for those who are awake before others are woken for them."""

Trace = frozenset[tuple[str, int]]


class Attention:
    """What a coordinator remembers of its followers; ``now`` is monotonic time in seconds."""

    def __init__(self) -> None:
        self._traces: dict[str, Trace] = {}
        self._awake_at: dict[str, float] = {}
        self._given: dict[str, str] = {}
        self._short_since: float | None = None

    def watch(self, ledger: Ledger, now: float) -> None:
        """Take note of what has changed: who claimed or settled something, or took what it was given."""
        claimed: dict[str, set[tuple[str, int]]] = {}
        for ticket in ledger.tickets.values():
            if ticket.claimed:
                claimed.setdefault(ticket.worker, set()).add((ticket.id, ticket.size))
        traces = {worker: frozenset(tickets) for worker, tickets in claimed.items()}
        for worker in self._traces | traces:
            if self._traces.get(worker) != traces.get(worker):
                self._awake_at[worker] = now
        self._traces = traces
        for ticket_id, worker in list(self._given.items()):
            if ticket_id not in ledger.tickets:
                del self._given[ticket_id]
                self._awake_at[worker] = now

    def gave(self, tickets: Iterable[Ticket], now: float, *, behind: bool) -> None:
        """Take note of tickets that were assigned, and whether those who are awake are ``behind``."""
        self._given |= {ticket.id: ticket.assigned_to for ticket in tickets}
        if not behind:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now

    def awake(self, now: float) -> tuple[str, ...]:
        """Return who looks often now: who did something last comes first."""
        self._awake_at = {worker: at for worker, at in self._awake_at.items() if now - at < AWAKE_S}
        return tuple(sorted(self._awake_at, key=lambda worker: (-self._awake_at[worker], worker)))

    def is_short(self, now: float) -> bool:
        """Whether those who are awake have been behind for some time."""
        return self._short_since is not None and now - self._short_since >= PATIENCE_S
