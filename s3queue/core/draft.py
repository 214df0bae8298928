"""A ledger in the making: the working copy on which the transitions of one commit are applied."""

from __future__ import annotations

from dataclasses import replace

from s3queue.core.keys import group_of
from s3queue.core.ledger import Counter, Leader, Ledger, Line, Part, Ticket

WRITER_KEPT_MS = 3_600_000
"""A writer unheard of for an hour is dropped: its lost answers are long past (S3 refuses a signature after 15 minutes)."""


class Draft:
    """A mutable copy of a ledger with the indexes that transitions need; ``finish`` makes it a ledger again.

    It is private to one call of :func:`s3queue.core.transitions.apply`, which is pure as a whole.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.base = ledger
        self.revision = ledger.revision + 1
        self.dirty = False
        self.paused = ledger.paused
        self.swept_at_ms = ledger.swept_at_ms
        self.forgotten_at_revision = ledger.forgotten_at_revision
        self.forgotten_above_at_ms = ledger.forgotten_above_at_ms
        self.cursors = dict(ledger.cursors)
        self.tickets = dict(ledger.tickets)
        self.settled = dict(ledger.settled)
        self.outbox = dict(ledger.outbox)
        self.counters = dict(ledger.counters)
        self.latency_ms = dict(ledger.latency_ms)
        self.leader = ledger.leader
        self.rooms = dict(ledger.rooms)
        self.ticks = dict(ledger.ticks)
        self.scheduled_at_revision = ledger.scheduled_at_revision
        self.held_back = dict(ledger.held_back)
        self.expected = dict(ledger.expected)
        self._serial = 0
        self._holders: dict[str, int] = {}
        self._line_to: dict[str, str] = {}
        for ticket in self.tickets.values():
            self._hold(ticket.parts, 1)
        for line in self.outbox.values():
            self._line_to[line.target] = line.id
            if line.holds_source:
                self._holders[line.source] = self._holders.get(line.source, 0) + 1

    def _hold(self, parts: tuple[Part, ...], by: int) -> None:
        for part in parts:
            self._holders[part.name] = self._holders.get(part.name, 0) + by

    def pin(self, name: str, by: int) -> None:
        """Hold an object (or, with -1, let it go) while its messages are on their way from one ticket to another."""
        self._holders[name] = self._holders.get(name, 0) + by

    def new_ticket_id(self) -> str:
        """Return an id no other ticket of this ledger has or had: revisions never repeat."""
        self._serial += 1
        return f"{self.revision}.{self._serial}"

    def held(self, name: str) -> bool:
        """Whether a ticket or line still needs the object."""
        return self._holders.get(name, 0) > 0

    def known(self, name: str) -> bool:
        """Whether the object is held, or settled and not forgotten yet."""
        return self._holders.get(name, 0) > 0 or name in self.settled

    def is_current(self, listed_at_ms: int) -> bool:
        """Whether a listing begun then shows no name that was deleted and forgotten above the cursor since.

        Clocks that differ may let one pass that was begun moments before: a message gone is then claimed, and counted as
        missing. To refuse listings for as long as clocks may differ would hold up what waits.
        """
        return listed_at_ms >= self.forgotten_above_at_ms

    def count(self, counter: Counter, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[counter] = self.counters.get(counter, 0) + by

    def put(self, ticket: Ticket) -> None:
        """Add a ticket, or replace the one of its id; one without parts is dropped."""
        self.drop(ticket.id)
        if ticket.parts:
            self.tickets[ticket.id] = ticket
            self._hold(ticket.parts, 1)
        self.dirty = True

    def drop(self, ticket_id: str) -> None:
        """Take a ticket out."""
        old = self.tickets.pop(ticket_id, None)
        if old is not None:
            self._hold(old.parts, -1)
            self.dirty = True

    def available(self, parts: list[Part]) -> None:
        """Add an available ticket of these parts."""
        if parts:
            self.put(Ticket(self.new_ticket_id(), tuple(parts)))

    def add_line(self, line: Line) -> None:
        """Put a decided move into the outbox."""
        self.outbox[line.id] = line
        self._line_to[line.target] = line.id
        if line.holds_source:
            self._holders[line.source] = self._holders.get(line.source, 0) + 1
        self.dirty = True

    def strike(self, line_id: str, now: int) -> Line | None:
        """Take a line out: its target is written. Its source may be settled with that."""
        line = self.outbox.pop(line_id, None)
        if line is None:
            return None
        self.dirty = True
        if self._line_to.get(line.target) == line.id:
            del self._line_to[line.target]
        if line.holds_source:
            self._holders[line.source] -= 1
            self.close(line.source, now)
        return line

    def is_awaited(self, target: str) -> bool:
        """Whether a line is still to write the object."""
        return target in self._line_to

    def seen(self, target: str, now: int) -> None:
        """Advance the line that was to write ``target``: it has evidently been written. It is expected no more.

        Else whoever finds the line later would write the target again, after it was processed and deleted.
        """
        self.expected.pop(target, None)
        line_id = self._line_to.get(target)
        if line_id is None:
            return
        line = self.outbox[line_id]
        if line.kind not in ("replay", "import"):
            self.strike(line_id, now)
        elif not line.written:  # its letter, or what was staged, is still to be deleted
            self.outbox[line_id] = replace(line, written=True)
            self.dirty = True

    def lead(self, leader: Leader) -> None:
        """Write down who coordinates."""
        self.leader = leader
        self.dirty = True

    def close(self, name: str, now: int) -> None:
        """Settle the object if nothing needs it any more."""
        if not self.known(name):
            self.settled[name] = now
            self.dirty = True
            self.pass_turn(name)

    def pass_turn(self, name: str, target: str = "") -> None:
        """Let what follows a message in its group go on, or let it wait for the retry ``target`` that takes its place."""
        group = group_of(name)
        if group and group == group_of(target or name):
            if target:
                self.held_back[group] = target
            elif self.held_back.get(group) == name:
                del self.held_back[group]

    def finish(self) -> Ledger:
        """Return the ledger as changed; the very one it began with if nothing changed."""
        if not self.dirty:
            return self.base
        return replace(
            self.base,
            revision=self.revision,
            paused=self.paused,
            swept_at_ms=self.swept_at_ms,
            forgotten_at_revision=self.forgotten_at_revision,
            forgotten_above_at_ms=self.forgotten_above_at_ms,
            cursors=self.cursors,
            tickets=self.tickets,
            settled=self.settled,
            outbox=self.outbox,
            counters=self.counters,
            latency_ms=self.latency_ms,
            leader=self.leader,
            rooms=self.rooms,
            ticks=self.ticks,
            scheduled_at_revision=self.scheduled_at_revision,
            held_back=self.held_back,
            expected=self.expected,
        )


def stamp(ledger: Ledger, *, writer: str, number: int, write_id: str, now: int) -> Ledger:
    """Return the ledger signed by its writer, so that the writer can recognise it; no two bodies are ever the same."""
    writers = {name: entry for name, entry in ledger.writers.items() if entry[1] > now - WRITER_KEPT_MS}
    writers[writer] = (number, now)
    return replace(ledger, write_id=write_id, writers=writers)
