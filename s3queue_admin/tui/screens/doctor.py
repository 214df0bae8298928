"""What is wrong: findings of the last look, and of the doctor and the check of the books when they were asked."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from s3queue.protocol.viewing import MessageView
from s3queue.text import counted
from s3queue_admin.catalogue import KINDS
from s3queue_admin.checkup import doctor
from s3queue_admin.invariants import FsckReport, fsck
from s3queue_admin.snapshot import BucketSnapshot, Finding
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.listing import Listing
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.shown import ago, dollars
from s3queue_admin.tui.sought import sought
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.table import Cell, Column

_TONES: Final = {"error": "bad", "warning": "warn", "info": "dim"}
_ORDER: Final = tuple(_TONES)
LOOK, DOCTOR, BOOKS = "look", "doctor", "books"


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, who found it (a look, the doctor, or the check of the books), and the how-manieth of its kind it is."""

    finding: Finding
    source: str
    number: int = 0


class Doctor(Listing[Found]):
    """One finding a row, the worst first; of one queue, or of all."""

    NAME = "doctor"
    BINDINGS: ClassVar[list[BindingType]] = bindings("doctor")
    EMPTY = "Nothing is wrong, as far as the last look tells. x asks the doctor, f checks the books."

    def __init__(self, queue: str = "") -> None:
        super().__init__(queue)
        self._checked: dict[str, tuple[datetime, list[Finding]]] = {}
        self._reports: list[FsckReport] = []
        self._busy: dict[str, str] = {}
        self._trouble: dict[str, str] = {}

    def body(self) -> ComposeResult:
        """Make the line that tells who was asked, the table, and the box."""
        yield Static(id="told")
        yield from super().body()

    def columns(self) -> Sequence[Column[Found]]:
        """Return the columns."""
        return (
            Column("", _severity, 7, order=lambda row: _ORDER.index(row.finding.severity)),
            Column("queue", lambda row: row.finding.queue or "(bucket)", 12, order=lambda row: row.finding.queue),
            Column("what", lambda row: row.finding.title, 24, grow=2, order=lambda row: row.finding.title),
            Column("found by", lambda row: (row.source, "dim"), 8, order=lambda row: row.source),
            Column("code", lambda row: (row.finding.code, "dim"), 18, need=100, order=lambda row: row.finding.code),
            Column("evidence", lambda row: row.finding.evidence, 20, grow=3, need=110),
        )

    def key(self, row: Found) -> Hashable:
        """Return what names the finding: its evidence changes from look to look."""
        return row.source, row.finding.queue, row.finding.code, row.number

    def rows(self, snapshot: BucketSnapshot) -> Iterable[Found]:
        """Return all findings; what a look shows now is not shown again as the doctor saw it before."""
        looks = [finding for seen in snapshot.queues.values() for finding in seen.findings]
        looks += [KINDS["unread"].found(why, (), name) for name, why in snapshot.failed.items()]
        found = [*_numbered(LOOK, looks)]
        known = {(row.finding.queue, row.finding.code) for row in found}
        for source in (DOCTOR, BOOKS):
            _, checked = self._checked.get(source, (None, []))
            some = [each for each in checked if source == BOOKS or (each.queue, each.code) not in known]
            found += _numbered(source, some)
        mine = (row for row in found if not self.queue or row.finding.queue in ("", self.queue))
        return sorted(mine, key=lambda row: (_ORDER.index(row.finding.severity), row.finding.queue, row.source))

    def settle(self) -> None:
        """Say who was asked, too."""
        super().settle()
        self.query_one("#told", Static).update(self._told().content())

    def _told(self) -> Told:
        told, now = Told(), self.board.source.now()
        words: list[str | tuple[str, str]] = []
        for source, name, key in ((DOCTOR, "doctor", "x"), (BOOKS, "check of the books", "f")):
            if source in self._busy:
                words.append((f"{name}: {self._busy[source]}   ", "accent"))
            elif source in self._trouble:
                words.append((f"{name}: {self._trouble[source]}   ", "bad"))
            elif source in self._checked:
                at, found = self._checked[source]
                told_of = counted(len(found), "finding") if found else "nothing"
                words.append(f"{name}: {told_of}, {ago(at, now)} ago   ")
            else:
                words.append((f"{name}: not asked yet ({key})   ", "dim"))
        told.line(*words)
        for report in self._reports:
            objects = sum(report.objects.values())
            cost = f"{counted(sum(report.requests.values()), 'request')}, {dollars(report.usd())}"
            told.line(
                (f"{report.queue}: ", "dim"),
                (report.status, {"errors": "bad", "warnings": "warn"}.get(report.status, "good")),
                (
                    f", {counted(objects, 'object')}, {cost}, {'every object read' if report.deep else 'names alone'}",
                    "dim",
                ),
            )
        return told

    def sought(self, row: Found) -> MessageView:
        """Return the finding as filters see it."""
        finding = row.finding
        facts = {
            "severity": finding.severity,
            "code": finding.code,
            "title": finding.title,
            "evidence": finding.evidence,
            "keys": finding.keys,
        }
        return sought(finding.code, facts, queue=finding.queue, reason=finding.title)

    def about(self, row: Found) -> Told:
        """Return the finding with evidence and remedy."""
        finding = row.finding
        where = f"  {finding.queue}" if finding.queue else "  the bucket"
        told = Told().line(
            (finding.severity, _TONES[finding.severity]), (f" {finding.title}", "strong"), (where, "dim")
        )
        told.line(finding.evidence).line((f"→ {finding.remedy}", "good"))
        told.line((f"[{finding.code}]", "dim"))
        for key in finding.keys:
            told.line("  ", (key, "dim"))
        return told

    # -- asking --

    def do_examine(self) -> None:
        """Ask the doctor, in a thread, through a door of its own: the feed looks at the same time."""
        if not self._begin_check(DOCTOR, "asking …"):
            return
        source, name = self.board.source, self.queue or None

        def call(_stop: Stop) -> list[Finding]:
            with source.bucket.again() as apart:
                try:
                    return doctor(apart, name)
                finally:
                    source.spend(apart.requests())

        self.ask(DOCTOR, call, lambda found: self._take_found(DOCTOR, found))

    def do_fsck(self) -> None:
        """Check the books of the queue, or of all."""
        self._check_books(deep=False)

    def do_fsck_deep(self) -> None:
        """The same, and read every object."""
        self._check_books(deep=True)

    def _check_books(self, *, deep: bool) -> None:
        names = [self.queue] if self.queue else self.board.queue_names()
        if not self._begin_check(BOOKS, f"reading {', '.join(names)[:40]} …"):
            return
        source = self.board.source
        self._reports = []

        def call(stop: Stop) -> Iterator[FsckReport]:
            for name in names:
                if stop():
                    return
                report = fsck(source.bucket, name, deep=deep)
                source.spend(report.requests)
                yield report

        self.stream(BOOKS, call, self._add_reports, lambda _complete: self._end_check())

    def _begin_check(self, source: str, words: str) -> bool:
        if source in self._busy:
            self.notify("It is being asked already.", severity="warning")
            return False
        self._busy[source] = words
        self._trouble.pop(source, None)
        self.settle()
        return True

    def _add_reports(self, reports: list[FsckReport]) -> None:
        self._reports += reports

    def _end_check(self) -> None:
        self._take_found(BOOKS, [finding for report in self._reports for finding in report.findings])

    def _take_found(self, source: str, found: list[Finding]) -> None:
        self._busy.pop(source, None)
        self._checked[source] = (self.board.source.now(), found)
        snapshot = self.board.feed.snapshot
        if snapshot is not None:
            self.show(snapshot)
        else:
            self.settle()
        self.tell()

    def refused(self, what: str, error: Exception) -> None:
        """Say in the screen that it could not be found out."""
        if what not in (DOCTOR, BOOKS):
            super().refused(what, error)
            return
        self._busy.pop(what, None)
        self._trouble[what] = str(error)
        self.settle()


def _numbered(source: str, found: Iterable[Finding]) -> Iterator[Found]:
    counts: dict[tuple[str, str], int] = {}
    for finding in found:
        kind = (finding.queue, finding.code)
        counts[kind] = counts.get(kind, 0) + 1
        yield Found(finding, source, counts[kind])


def _severity(row: Found) -> Cell:
    return row.finding.severity, _TONES[row.finding.severity]
