"""What operators did: who, when, why, and what came of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import ClassVar, Final

from textual.binding import BindingType

from s3queue.clock import to_ms
from s3queue.protocol.viewing import MessageView
from s3queue_admin.actions import AuditEntry, Plan, Result, audit, undo
from s3queue_admin.actions.undoing import WHY_NOT
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.text import json_text
from s3queue_admin.tui.acting import Told as Progress
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.listing import Listing, named
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.shown import number, span
from s3queue_admin.tui.sought import sought
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.table import Cell, Column

DAYS: Final = (7, 31, 366, 0)
"""How far back is read, step by step; 0: all there is. An entry costs two GETs."""


class Audit(Listing[AuditEntry]):
    """One action a row, the newest first; of one queue, or of all. Read when the screen opens, by ``r``, and after an undo."""

    NAME = "audit"
    BINDINGS: ClassVar[list[BindingType]] = bindings("audit")

    def __init__(self, queue: str = "") -> None:
        super().__init__(queue)
        self._back = 0
        self._read: list[AuditEntry] = []
        self._begun = False

    def title_text(self) -> str:
        """Return what is shown."""
        days = DAYS[self._back]
        return f"audit, {f'the last {days} days' if days else 'from the beginning'}"

    def columns(self) -> Sequence[Column[AuditEntry]]:
        """Return the columns."""
        return (
            Column("when (UTC)", lambda row: f"{row.at:%m-%d %H:%M:%S}", 14, order=lambda row: row.at),
            Column("queue", lambda row: row.queue, 10, order=lambda row: row.queue),
            Column("action", lambda row: (row.verb, "strong"), 12, order=lambda row: row.verb),
            Column("done", _done, 6, right=True, order=lambda row: row.count),
            Column("came to", outcome, 12, order=lambda row: outcome(row)[0]),
            Column("who", lambda row: row.who, 10, grow=1, order=lambda row: row.who),
            Column("why", lambda row: row.reason, 8, grow=2, order=lambda row: row.reason),
            Column(
                "which", lambda row: row.where or (json_text(row.options) if row.options else ""), 20, grow=2, need=110
            ),
        )

    def key(self, row: AuditEntry) -> Hashable:
        """Return what names the entry."""
        return row.queue, row.id

    def sought(self, row: AuditEntry) -> MessageView:
        """Return the entry as filters see it."""
        facts = {"verb": row.verb, "who": row.who, "where": row.where, "ids": row.ids, "came_to": outcome(row)[0]}
        return sought(row.id, facts, at_ms=to_ms(row.at), queue=row.queue, reason=row.reason)

    def about(self, row: AuditEntry) -> Told:
        """Return all about the action."""
        took = span((row.ended_at - row.at).total_seconds()) if row.ended_at else ""
        words, tone = outcome(row)
        told = Told().line((f"{row.verb} ", "strong"), f"{row.queue}  ", (words, tone), (f"  {row.id}", "dim"))
        told.facts(
            ("when", f"{row.at:%Y-%m-%d %H:%M:%S}Z{f', took {took}' if took else ''}"),
            ("who", row.who),
            ("why", row.reason),
            ("which", row.where),
            ("with", json_text(row.options) if row.options else ""),
            ("meant", f"{row.planned:,}; done {row.count:,}, refused {row.refusals:,}, not known {row.unknown:,}"),
            ("before", json_text(row.before) if row.before else ""),
            ("after", json_text(row.after) if row.after else ""),
            ("error", row.error, "bad"),
            ("asked for", ", ".join(f"{count:,} {verb}" for verb, count in row.requests.items())),
            ("undo", f"not possible: {WHY_NOT[row.verb]}" if row.verb in WHY_NOT else "I, as far as it goes", "dim"),
            ("ids", named(row.ids)),
        )
        for id_, why in list(row.refused.items())[:20]:
            told.line((f"  refused {id_}: {why}", "warn"))
        return told

    # -- reading --

    def show(self, snapshot: BucketSnapshot) -> None:
        """Read the trail when there is something to be seen for the first time."""
        if not self._begun:
            self._begun = True
            self.read(snapshot)

    def read(self, snapshot: BucketSnapshot) -> None:
        """Read the trail anew, in a thread."""
        names = [self.queue] if self.queue else list(snapshot.queues)
        source, days = self.board.source, DAYS[self._back]
        since = source.now() - timedelta(days=days) if days else None
        self._read = []
        if not self.grid.total:
            self.put((), empty="Reading …")

        def call(stop: Stop) -> Iterator[AuditEntry]:
            for name in names:
                for entry in audit(source.queue(name), since=since):
                    if stop():
                        return
                    yield entry

        self.stream("audit", call, self._add, lambda _complete: self._show_read())

    def _add(self, entries: list[AuditEntry]) -> None:
        self._read += entries

    def _show_read(self) -> None:
        days = DAYS[self._back]
        since = f"in the last {days} days; b looks further back." if days else "ever."
        newest_first: Iterable[AuditEntry] = sorted(self._read, key=lambda row: (row.at, row.id), reverse=True)
        self.put(newest_first, empty=f"No operator changed anything here {since}")
        self.tell()

    def refused(self, what: str, error: Exception) -> None:
        """Say in the table that the trail cannot be read."""
        if what == "audit" and not self._read and not self.grid.total:
            self.put((), empty=f"The trail cannot be read: {error}")
        else:
            super().refused(what, error)

    # -- actions --

    def do_refresh(self) -> None:
        """Read the trail anew, and look at the bucket."""
        self._begun = False
        self.board.do_refresh()

    def do_further(self) -> None:
        """Read what was done before, too."""
        if self._back == len(DAYS) - 1:
            self.notify("All there is was read.")
            return
        self._back += 1
        if self.board.feed.snapshot is not None:
            self.read(self.board.feed.snapshot)
        self.tell()

    def do_undo(self) -> None:
        """Plan to take the action under the cursor back, ask, do it."""
        entry = self.grid.current
        if entry is None:
            self.notify("There is no action to undo.", severity="warning")
            return
        source = self.board.source

        def make(_stop: Stop, _told: Progress) -> list[Plan]:
            return [undo(source.writable(entry.queue), entry, redactor=source.bucket.redactor)]

        self.act_on("undo", make, destructive=True)

    def acted(self, result: Result) -> None:
        """Read the trail anew, too."""
        self._begun = False
        super().acted(result)


def outcome(row: AuditEntry) -> tuple[str, str]:
    """Return what an action came to, and its tone."""
    if row.ended_at is None:
        return "not ended", "warn"
    if row.error:
        return "failed", "bad"
    if row.stopped:
        return "stopped", "warn"
    return ("partly", "warn") if row.refusals or row.unknown else ("done", "good")


def _done(row: AuditEntry) -> Cell:
    return number(row.count) if row.ended_at is not None else "–"
