"""The locks that somebody holds, and the schedules, of a queue."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import DescendantFocus
from textual.widgets import Label

from s3queue.clock import to_ms
from s3queue.protocol.locks import LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue.protocol.viewing import MessageView
from s3queue_admin.actions import Plan, plan
from s3queue_admin.filters import Filter
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.text import json_text
from s3queue_admin.tui.acting import Told as Progress
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.listing import NOT_SEEN, Listing
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.shown import ago, until
from s3queue_admin.tui.sought import sought
from s3queue_admin.tui.widgets.detail import Detail, Told
from s3queue_admin.tui.widgets.table import Cell, Column, Table

Row = LockInfo | Schedule
NO_LOCKS = "There are no locks: nobody holds one."
NO_SCHEDULES = "There are no schedules."


class Locks(Listing[Row]):
    """Two tables, one below the other; keys and filter's marks are about the one that has the focus."""

    NAME = "locks"
    BINDINGS: ClassVar[list[BindingType]] = bindings("locks")
    AUTO_FOCUS = "#locks"
    _at = "locks"

    def title_text(self) -> str:
        """Return what is shown."""
        return "locks and schedules"

    def body(self) -> ComposeResult:
        """Make the tables, and the box below them."""
        yield Label("Locks", classes="heading")
        yield Table[Row](self._lock_columns(), self.key, empty=NOT_SEEN, id="locks")
        yield Label("Schedules", classes="heading")
        yield Table[Row](self._schedule_columns(), self.key, empty=NOT_SEEN, id="schedules")
        yield Detail(id="detail")

    def _lock_columns(self) -> Sequence[Column[Any]]:
        return (
            Column("lock", lambda row: row.name, 16, grow=1, order=lambda row: row.name),
            Column("state", _lock_state, 8, order=lambda row: row.expired),
            Column("holder", lambda row: row.holder, 16, grow=1, order=lambda row: row.holder),
            Column("token", lambda row: str(row.token), 13, right=True, order=lambda row: row.token),
            Column("held", lambda row: self._ago(row.acquired_at), 6, right=True, order=lambda row: row.acquired_at),
            Column("left", lambda row: self._until(row.expires_at), 6, right=True, order=lambda row: row.expires_at),
        )

    def _schedule_columns(self) -> Sequence[Column[Any]]:
        return (
            Column("schedule", lambda row: row.name, 14, grow=1, order=lambda row: row.name),
            Column("cron", lambda row: row.cron, 14, order=lambda row: row.cron),
            Column("time zone", lambda row: row.timezone, 12, order=lambda row: row.timezone),
            Column("next", self._next, 7, right=True, order=lambda row: to_ms(row.next_at) if row.next_at else 0),
            Column("last", lambda row: self._ago(row.last_at) or "never", 7, right=True,
                   order=lambda row: to_ms(row.last_at) if row.last_at else 0),
            Column("catch up", lambda row: row.catch_up, 8, need=100, order=lambda row: row.catch_up),
            Column("payload", lambda row: json_text(self._payload(row)), 10, grow=2),
        )  # fmt: skip

    def key(self, row: Row) -> Hashable:
        """Return what kind of thing it is, and its name."""
        return isinstance(row, LockInfo), row.name

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show both."""
        seen = snapshot.queues.get(self.queue)
        gone = f"There is no queue {self.queue} in the bucket." if seen is None else ""
        self.fill(self._of("locks"), seen.locks if seen is not None else (), gone or NO_LOCKS)
        self.fill(self._of("schedules"), seen.schedules if seen is not None else (), gone or NO_SCHEDULES)
        self.settle()

    def _of(self, id_: str) -> Table[Row]:
        return cast("Table[Row]", self.query_one(f"#{id_}", Table))

    @property
    def grid(self) -> Table[Row]:
        """The table that has the focus, or had it last."""
        if isinstance(self.focused, Table):
            self._at = str(self.focused.id)
        return self._of(self._at)

    @property
    def table(self) -> Table[Any]:
        """The same."""
        return self.grid

    def use_filter(self, chosen: Filter, *, final: bool) -> None:  # noqa: ARG002 - as in the base
        """Show only what the filter matches, in both."""
        for name in ("locks", "schedules"):
            self.narrow(self._of(name), chosen)
        self.settle()

    @on(DescendantFocus)
    def _focused(self) -> None:
        self.settle()

    def do_other(self) -> None:
        """Give the other table the keys."""
        self._of("schedules" if self.grid.id == "locks" else "locks").focus()

    def do_take_away(self) -> None:
        """Take the locks from their holders, or remove the schedules."""
        rows: list[Row] = self.rows_meant()
        name, source = self.queue, self.board.source
        if not rows:
            self.notify("There is nothing under the cursor.", severity="warning")
            return

        def make(_stop: Stop, _told: Progress) -> list[Plan]:
            queue, redactor = source.writable(name), source.bucket.redactor
            meant = [taking_away(row) for row in rows]
            return [plan(queue, verb, redactor=redactor, **options) for verb, options in meant]

        self.act_on(taking_away(rows[0])[0], make, destructive=True)

    def sought(self, row: Row) -> MessageView:
        """Return the lock or schedule as filters see it."""
        if isinstance(row, LockInfo):
            facts = {"holder": row.holder, "state": _lock_state(row)[0]}
            return sought(row.name, facts, at_ms=to_ms(row.acquired_at), queue=self.queue, worker=row.holder)
        facts = {"cron": row.cron, "timezone": row.timezone, "payload": self._payload(row)}
        return sought(row.name, facts, at_ms=to_ms(row.last_at) if row.last_at else 0, queue=self.queue)

    def about(self, row: Row) -> Told:
        """Return all about the lock or the schedule."""
        if isinstance(row, LockInfo):
            return self._about_lock(row)
        next_at, last_at = row.next_at, row.last_at
        headers = self.board.source.bucket.redactor.value(row.headers, "headers")
        shape = f"priority {row.priority}, group {row.group or 'none'}, attempts {row.max_attempts or 'as the queue'}"
        return (
            Told()
            .head(f"schedule {row.name}")
            .facts(
                ("cron", f"{row.cron}  in {row.timezone}, catch up: {row.catch_up}"),
                ("next", f"{next_at:%Y-%m-%d %H:%M:%S}Z, in {self._until(next_at)}" if next_at else "never again"),
                ("last", f"{last_at:%Y-%m-%d %H:%M:%S}Z, {self._ago(last_at)} ago" if last_at else "never yet"),
                ("payload", json_text(self._payload(row))),
                ("headers", json_text(headers) if row.headers else ""),
                ("message", shape),
            )
        )

    def _about_lock(self, row: LockInfo) -> Told:
        tone = "warn" if row.expired else ""
        left = (
            f"expired {self._ago(row.expires_at)} ago: others may take it"
            if row.expired
            else f"{self._until(row.expires_at)} left"
        )
        return (
            Told()
            .head(f"lock {row.name}")
            .facts(
                ("holder", row.holder),
                ("token", f"{row.token}; a guarded resource refuses lower ones"),
                ("held", f"since {row.acquired_at:%Y-%m-%d %H:%M:%S}Z, {self._ago(row.acquired_at)}"),
                ("until", f"{row.expires_at:%H:%M:%S}Z, {left}", tone),
            )
        )

    def _payload(self, row: Schedule) -> Any:
        return self.board.source.bucket.redactor.value(row.payload, "payload")

    def _ago(self, at: datetime | None) -> str:
        return ago(at, self.seen.taken_at) if self.seen is not None else ""

    def _until(self, at: datetime | None) -> str:
        return until(at, self.seen.taken_at) if self.seen is not None else ""

    def _next(self, row: Schedule) -> Cell:
        return self._until(row.next_at) or ("never", "dim")


class Schedules(Locks):
    """The same, begun at the schedules."""

    AUTO_FOCUS = "#schedules"
    _at = "schedules"


def taking_away(row: Row) -> tuple[str, dict[str, Any]]:
    """Return the verb that takes it away, and its options."""
    if isinstance(row, LockInfo):
        return "unlock", {"name": row.name, "token": row.token}
    return "unschedule", {"name": row.name}


def _lock_state(row: LockInfo) -> tuple[str, str]:
    return ("expired", "warn") if row.expired else ("held", "good")
