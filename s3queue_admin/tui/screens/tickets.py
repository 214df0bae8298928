"""The tickets of a queue: which messages are claimed as one, by whom, until when."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar, Final

from textual.binding import BindingType

from s3queue.clock import to_ms
from s3queue.protocol.viewing import MessageView
from s3queue.text import counted
from s3queue_admin.filters import Filter, parse
from s3queue_admin.snapshot import BucketSnapshot, TicketView
from s3queue_admin.tui.acting import Where
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.listing import Listing
from s3queue_admin.tui.shown import ago, number, until
from s3queue_admin.tui.sought import exactly, sought
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.table import Cell, Column

_TONES: Final = {"stalled": "bad", "claimed": "good", "assigned": "accent", "available": "dim"}
_ORDER: Final = tuple(_TONES)
_MEANINGS: Final = {
    "stalled": "its lease has ended; a sweep gives the messages back",
    "claimed": "a worker holds it",
    "assigned": "the coordinator has set it aside for a worker",
    "available": "anybody may claim it",
}


class Tickets(Listing[TicketView]):
    """One ticket a row: the stalled ones first, then those that are held longest."""

    NAME = "tickets"
    BINDINGS: ClassVar[list[BindingType]] = bindings("tickets")
    EMPTY = "There are no tickets: nothing is claimed, and nothing is set aside."

    def title_text(self) -> str:
        """Return what is shown."""
        seen = self.seen
        return f"tickets ({number(len(seen.tickets))})" if seen is not None else "tickets"

    def columns(self) -> Sequence[Column[TicketView]]:
        """Return the columns."""
        return (
            Column("ticket", lambda row: row.id, 20, grow=1, order=lambda row: row.id),
            Column("state", _state, 9, order=lambda row: _ORDER.index(row.state)),
            Column("msgs", lambda row: number(row.size), 5, right=True, order=lambda row: row.size),
            Column("worker", lambda row: row.worker, 10, grow=1, order=lambda row: row.worker),
            Column("held", self._held, 6, right=True, order=lambda row: to_ms(row.claimed_at) if row.claimed_at else 0),
            Column("lease", self._lease, 6, right=True, order=_until_ms),
            Column("rescued", _rescued, 7, right=True, order=lambda row: row.rescues),
            Column("token", lambda row: str(row.token or ""), 9, right=True, need=110, order=lambda row: row.token),
            Column("lane", lambda row: str(row.lane), 4, right=True, need=90, order=lambda row: row.lane),
            Column("first object", lambda row: next(iter(row.objects), ""), 20, grow=2, need=130),
        )

    def key(self, row: TicketView) -> Hashable:
        """Return what names the ticket."""
        return row.lane, row.id

    def rows(self, snapshot: BucketSnapshot) -> Iterable[TicketView]:
        """Return the tickets, what needs attention first."""
        found = snapshot.queues[self.queue].tickets
        return sorted(found, key=lambda row: (_ORDER.index(row.state), row.claimed_at is None, row.claimed_at, row.id))

    def sought(self, row: TicketView) -> MessageView:
        """Return the ticket as filters see it."""
        held = row.state in ("claimed", "stalled")
        return sought(
            row.id,
            {"state": row.state, "worker": row.worker, "objects": row.objects},
            state="processing" if held else "pending",
            at_ms=to_ms(row.claimed_at) if row.claimed_at else 0,
            expires_at_ms=to_ms(row.expires_at) if row.expires_at else 0,
            queue=self.queue,
            worker=row.worker,
            ticket=row.id,
            lane=row.lane,
            rescues=row.rescues,
        )

    def about(self, row: TicketView) -> Told:
        """Return all about the ticket."""
        now = self.seen.taken_at if self.seen is not None else None
        told = Told().head(f"ticket {row.id}  ", (row.state, _TONES[row.state]), (f"  {_MEANINGS[row.state]}", "dim"))
        if row.claimed_at and row.expires_at and now:
            left = (
                f"{until(row.expires_at, now)} left"
                if row.expires_at > now
                else f"ended {ago(row.expires_at, now)} ago"
            )
            told.facts(
                ("held by", f"{row.worker}, for {ago(row.claimed_at, now)}, under fencing token {row.token}"),
                ("lease", f"until {row.expires_at:%H:%M:%S}Z, {left}", "bad" if row.state == "stalled" else ""),
            )
        elif row.state == "assigned" and row.assigned_until and now:
            told.facts(
                ("set aside", f"for {row.worker}, {until(row.assigned_until, now)} more, in term {row.epoch}"),
            )
        told.facts(
            ("rescued", f"{counted(row.rescues, 'time')} from workers that died with it", "warn")
            if row.rescues
            else ("", "")
        )
        what = f"{counted(row.size, 'message')} in {counted(len(row.objects), 'object')} of lane {row.lane}"
        told.line((what, "dim"))
        for name in row.objects:
            told.line("  ", name)
        return told

    def chosen(self) -> Where:
        """Return the messages of the tickets that are marked, else of the one under the cursor."""
        rows = self.rows_meant()
        return exactly("ticket", [row.id for row in rows]) if rows else []

    def do_held(self) -> None:
        """Show the messages of the ticket."""
        row = self.grid.current
        if row is not None:
            state = "processing" if row.token else "pending"
            self.board.go("messages", self.queue, state=state, chosen=_of_ticket(row))

    def _held(self, row: TicketView) -> Cell:
        return ago(row.claimed_at, self.seen.taken_at) if self.seen is not None else ""

    def _lease(self, row: TicketView) -> Cell:
        at = row.expires_at or (row.assigned_until if row.state == "assigned" else None)
        text = until(at, self.seen.taken_at) if self.seen is not None else ""
        return (text, "bad") if row.state == "stalled" else text


def _state(row: TicketView) -> Cell:
    return row.state, _TONES[row.state]


def _rescued(row: TicketView) -> Cell:
    return (str(row.rescues), "warn") if row.rescues else ""


def _until_ms(row: TicketView) -> int:
    return to_ms(row.expires_at) if row.expires_at else 0


def _of_ticket(row: TicketView) -> Filter:
    return parse(f"ticket={row.id}")
