"""Who coordinates each lane of a queue: in which term, until when, and who did before, as far as it was watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from s3queue.clock import to_datetime, to_ms
from s3queue.protocol.viewing import MessageView
from s3queue.text import counted
from s3queue_admin.snapshot import BucketSnapshot, LaneView
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.chronicle import Term
from s3queue_admin.tui.screens.listing import Listing
from s3queue_admin.tui.shown import ago, bytes_text, number, rate, until
from s3queue_admin.tui.sought import sought
from s3queue_admin.tui.widgets.chart import Chart
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.table import Cell, Column


class Coordinator(Listing[LaneView]):
    """One lane a row."""

    NAME = "coordinator"
    BINDINGS: ClassVar[list[BindingType]] = bindings("coordinator")
    EMPTY = "There are no lanes."

    def columns(self) -> Sequence[Column[LaneView]]:
        """Return the columns."""
        return (
            Column("lane", lambda row: str(row.number), 4, right=True, order=lambda row: row.number),
            Column("coordinator", _who, 14, grow=2, order=lambda row: row.coordinator.worker if row.coordinator else ""),
            Column("term", lambda row: str(row.coordinator.epoch) if row.coordinator else "", 5, right=True,
                   order=lambda row: row.coordinator.epoch if row.coordinator else 0),
            Column("until", self._until, 9, right=True,
                   order=lambda row: to_ms(row.coordinator.until) if row.coordinator and row.coordinator.until else 0),
            Column("fleet", lambda row: str(row.coordinator.fleet) if row.coordinator else "", 5, right=True,
                   order=lambda row: row.coordinator.fleet if row.coordinator else 0),
            Column("tickets", lambda row: number(len(row.tickets)), 7, right=True, order=lambda row: len(row.tickets)),
            Column("swept", self._swept, 6, right=True, order=lambda row: row.ledger.swept_at_ms),
            Column("ledger", lambda row: bytes_text(row.bytes), 8, right=True, order=lambda row: row.bytes),
            Column("revision", lambda row: f"{row.ledger.revision:,}", 9, right=True, need=100,
                   order=lambda row: row.ledger.revision),
            Column("tickets by state", _by_state, 24, grow=2, need=130),
        )  # fmt: skip

    def extra(self) -> Iterable[Widget]:
        """Return the charts."""
        charts = [
            Chart("pending and processing", unit=number, id="chart-0"),
            Chart("done a second", unit=rate, id="chart-1"),
        ]
        return [Horizontal(*charts, classes="charts")]

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show the lanes, and how the queue fared under their coordinators."""
        super().show(snapshot)
        trail = self.board.feed.trail
        self.query_one("#chart-0", Chart).set_values(trail.series(self.queue, lambda point: point.depth))
        self.query_one("#chart-1", Chart).set_values(trail.series(self.queue, lambda point: point.completed))

    def key(self, row: LaneView) -> Hashable:
        """Return the lane's number."""
        return row.number

    def rows(self, snapshot: BucketSnapshot) -> Iterable[LaneView]:
        """Return the lanes."""
        return snapshot.queues[self.queue].lanes

    def sought(self, row: LaneView) -> MessageView:
        """Return the lane as filters see it."""
        leader = row.coordinator
        facts = {"lane": row.number, "leads": leader is not None and leader.leads, "error": row.error}
        worker = leader.worker if leader is not None else ""
        return sought(str(row.number), {**facts, "worker": worker}, queue=self.queue, worker=worker, lane=row.number)

    def about(self, row: LaneView) -> Told:
        """Return all about the lane and its terms."""
        told = Told().head(f"lane {row.number}  ", _who(row))
        seen, leader = self.seen, row.coordinator
        now = seen.taken_at if seen is not None else None
        if row.error:
            told.line((f"Its ledger cannot be read: {row.error}", "bad"))
        if leader is not None and leader.leads and leader.until is not None and now is not None:
            told.facts(
                (
                    "term",
                    f"{leader.epoch}, until {leader.until:%H:%M:%S}Z, {until(leader.until, now)} more unless renewed",
                ),
                ("fleet", f"{counted(leader.fleet, 'worker')} that it gives tickets to"),
            )
        elif leader is None:
            told.line(("None so far: workers list and claim for themselves.", "warn"))
        else:
            told.line((f"{leader.worker} had term {leader.epoch}; it has ended. Workers list for themselves.", "warn"))
        told.facts(
            ("paused", "yes" if row.ledger.paused else "", "warn"),
            (
                "outbox",
                f"{counted(len(row.ledger.outbox), 'move is', 'moves are')} under way" if row.ledger.outbox else "",
            ),
            ("key", row.key),
        )
        return self._history(told, row)

    def _history(self, told: Told, row: LaneView) -> Told:
        terms = self.board.feed.chronicle.terms(self.queue, row.number)
        told.head("terms", ("  seen while this dashboard watched, newest first", "dim"))
        if not terms:
            return told.line(("none", "dim"))
        for term in terms:
            told.line(f"{term.epoch:>6}  {term.worker}  ", (_period(term), "dim" if term.ended else "good"))
            if term.missed:
                told.line(
                    (f"        {counted(term.missed, 'term')} before it began and ended between two looks", "warn")
                )
        return told

    def _until(self, row: LaneView) -> Cell:
        leader = row.coordinator
        if leader is None or self.seen is None:
            return ""
        text = until(leader.until, self.seen.taken_at)
        return text if leader.leads else (text or "resigned", "warn")

    def _swept(self, row: LaneView) -> Cell:
        at_ms = row.ledger.swept_at_ms
        return ago(to_datetime(at_ms), self.seen.taken_at) if at_ms and self.seen is not None else "never"


def _who(row: LaneView) -> tuple[str, str]:
    if row.error:
        return "cannot be read", "bad"
    if row.coordinator is None or not row.coordinator.leads:
        return "none", "warn"
    return row.coordinator.worker, "good"


def _by_state(row: LaneView) -> str:
    states = Counter(ticket.state for ticket in row.tickets)
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _period(term: Term) -> str:
    if term.ended:
        return f"seen {term.from_at:%H:%M:%S}Z to {term.seen_at:%H:%M:%S}Z"
    return f"since {term.from_at:%H:%M:%S}Z or before"
